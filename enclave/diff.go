package enclave

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Difference is one field that two manifests have differently.
type Difference struct {
	Field  string `json:"field"`  // such as "command[2]" or "layers.models.root"
	Before string `json:"before"` // empty: absent
	After  string `json:"after"`
}

// Diff names every field that differs, in the manifest's order; none where the measurements are
// equal, and at least one where they are not. Layers, states, brokers, shown directories, entries
// and variables are named by what they are called and not by their number, so that one more names
// itself alone; where only their order changed, that is the field "layers (order)".
func Diff(before, after *Manifest) []Difference {
	d := &differ{}
	d.number("format", before.Format, after.Format)
	d.text("name", before.Name, after.Name)
	d.text("product", before.Product, after.Product)
	d.number("svn", before.SVN, after.SVN)
	d.flag("debug", before.Debug, after.Debug)
	byName(d, "layers", before.Layers, after.Layers, func(l Layer) string { return l.Name }, Layer.fields)
	d.list("command", before.Command, after.Command)
	itself := func(text string) string { return text }
	byName(d, "entries", before.Entries, after.Entries, itself, whole)
	variable := func(text string) string { name, _, _ := strings.Cut(text, "="); return name }
	byName(d, "env", before.Env, after.Env, variable, whole)
	byName(d, "env_names", before.EnvNames, after.EnvNames, itself, whole)
	d.text("cwd", before.Cwd, after.Cwd)
	d.number("uid", uint64(before.UID), uint64(after.UID))
	d.number("gid", uint64(before.GID), uint64(after.GID))
	d.flag("args", before.Args, after.Args)
	d.lines("policy", string(before.Policy), string(after.Policy))
	d.text("network", before.Network, after.Network)
	byName(d, "shown", before.Shown, after.Shown, func(s Shown) string { return s.Target }, Shown.fields)
	d.flag("overlay", before.Overlay, after.Overlay)
	d.number("limits.memory", before.Limits.Memory, after.Limits.Memory)
	d.number("limits.cpu", before.Limits.CPU, after.Limits.CPU)
	d.number("limits.processes", before.Limits.Processes, after.Limits.Processes)
	byName(d, "state", before.State, after.State, func(s State) string { return s.Name }, State.fields)
	byName(d, "brokers", before.Brokers, after.Brokers, func(b Broker) string { return b.Name },
		Broker.fields)
	d.text("contract", before.Contract.String(), after.Contract.String())
	return d.found
}

// differ collects differences.
type differ struct{ found []Difference }

func (d *differ) text(field, before, after string) {
	if before != after {
		d.found = append(d.found, Difference{field, before, after})
	}
}

func (d *differ) number(field string, before, after uint64) {
	d.text(field, strconv.FormatUint(before, 10), strconv.FormatUint(after, 10))
}

func (d *differ) flag(field string, before, after bool) {
	d.text(field, strconv.FormatBool(before), strconv.FormatBool(after))
}

// list compares by number: of arguments the place is the meaning.
func (d *differ) list(field string, before, after []string) {
	at := func(list []string, i int) string {
		if i >= len(list) {
			return ""
		}
		return strconv.Quote(list[i])
	}
	for i := range max(len(before), len(after)) {
		d.text(fmt.Sprintf("%s[%d]", field, i), at(before, i), at(after, i))
	}
}

// lines names the first line of a text that differs.
func (d *differ) lines(field, before, after string) {
	if before == after {
		return
	}
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	n := 0
	for n < len(old) && n < len(now) && old[n] == now[n] {
		n++
	}
	at := func(lines []string) string {
		if n >= len(lines) {
			return ""
		}
		return strconv.Quote(lines[n])
	}
	d.text(fmt.Sprintf("%s line %d", field, n+1), at(old), at(now))
}

// part is one field of a thing that has a name; empty where it has none.
type part struct{ name, value string }

// whole shows a text that is a thing of its own.
func whole(text string) []part { return []part{{"", text}} }

// byName compares two lists of things that have names.
func byName[T any](d *differ, field string, before, after []T, name func(T) string,
	parts func(T) []part) {
	find := func(list []T, wanted string) (T, bool) {
		for _, item := range list {
			if name(item) == wanted {
				return item, true
			}
		}
		var none T
		return none, false
	}
	var common, kept []string
	for _, item := range before {
		if _, still := find(after, name(item)); still {
			common = append(common, name(item))
		}
	}
	for _, item := range after {
		if _, was := find(before, name(item)); was {
			kept = append(kept, name(item))
		}
	}
	if !slices.Equal(common, kept) {
		d.text(field+" (order)", strings.Join(common, " "), strings.Join(kept, " "))
	}
	for _, item := range before {
		other, still := find(after, name(item))
		d.parts(field+"."+name(item), parts(item), parts(other), still)
	}
	for _, item := range after {
		if _, was := find(before, name(item)); !was {
			for _, p := range parts(item) {
				d.text(dotted(field+"."+name(item), p.name), "", p.value)
			}
		}
	}
}

// parts compares a thing with what became of it.
func (d *differ) parts(field string, before, after []part, still bool) {
	for i, p := range before {
		now := ""
		if still {
			now = after[i].value
		}
		d.text(dotted(field, p.name), p.value, now)
	}
}

func dotted(field, name string) string {
	if name == "" {
		return field
	}
	return field + "." + name
}

func (l Layer) fields() []part {
	return []part{{"kind", string(l.Kind)}, {"target", l.Target},
		{"bytes", strconv.FormatUint(l.Bytes, 10)},
		{"digest", hexadecimal(l.Digest[:])}, {"verity", hexadecimal(l.Verity[:])},
		{"salt", hexadecimal(l.Salt[:])}, {"id", hexadecimal(l.ID[:])}, {"root", l.Root.String()},
		{"key", l.Key}}
}

func (s Shown) fields() []part { return []part{{"read_only", strconv.FormatBool(s.ReadOnly)}} }

func (s State) fields() []part {
	return []part{{"target", s.Target}, {"bytes", strconv.FormatUint(s.Bytes, 10)}, {"broker", s.Broker}}
}

// fields shows a key that is not pinned as such: a broker that is there has to show something.
func (b Broker) fields() []part {
	if b.Key.IsZero() {
		return []part{{"key", "any"}}
	}
	return []part{{"key", b.Key.String()}}
}

// hexadecimal is empty for bytes that are all zero: they are absent.
func hexadecimal(data []byte) string {
	for _, b := range data {
		if b != 0 {
			return hex.EncodeToString(data)
		}
	}
	return ""
}
