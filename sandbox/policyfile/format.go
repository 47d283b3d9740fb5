package policyfile

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"surety/sandbox"
)

// about says above each key of a written file what it is for.
var about = [...]struct{ key, text string }{
	{"mode", "enforce refuses; observe only records what enforce would refuse"},
	{"default", "what becomes of an act that no rule names; deny rules beat allow rules"},
	{"audit", "core records the acts below; full records every system call"},
	{"exec", "programs, by the digest of their bytes or by path"},
	{"files", "paths as the kernel resolves them; ** is any run, * and ? stay within a folder"},
	{"network", "addresses, DNS names and unix sockets"},
	{"ptrace", "reading or steering another process"},
	{"setid", "changing user, group or capability sets"},
	{"mount", "changing what is mounted, or the root"},
	{"exec-memory", "making memory executable that no file backs"},
	{"capabilities", "the only ones that may be used"},
	{"processes", "at most so many at once"},
}

func aboutOf(key string) string {
	for _, row := range about {
		if row.key == key {
			return row.text
		}
	}
	return ""
}

// Format writes the policy as a file with a comment at each key. Keys that are empty are left out,
// but for policy and mode, without which Parse would not read it: they become v1 and observe. For a
// policy that says both, Parse gives the same policy again.
func Format(p sandbox.Policy) []byte {
	w := &writer{}
	w.plain("policy", orElse(p.Version, "v1"))
	w.plain("name", p.Name)
	w.said("mode", orElse(p.Mode, "observe"))
	w.said("default", p.Default)
	w.said("audit", p.Audit)
	w.rules("exec", len(p.Exec), func(i int) {
		w.side(p.Exec[i].Allow, p.Exec[i].Deny)
		if note := p.Exec[i].Note; note != "" {
			fmt.Fprintf(w, "    note: %s\n", scalar(note))
		}
	})
	w.rules("files", len(p.Files), func(i int) {
		w.side(p.Files[i].Allow, p.Files[i].Deny)
		w.more("access", p.Files[i].Access)
	})
	w.rules("network", len(p.Network), func(i int) {
		r := p.Network[i]
		w.side(r.Allow, r.Deny)
		w.more("ports", r.Ports)
		if r.Protocol != "" {
			fmt.Fprintf(w, "    protocol: %s\n", scalar(r.Protocol))
		}
		w.more("act", r.Act)
	})
	w.said("ptrace", p.Ptrace)
	w.said("setid", p.SetID)
	w.said("mount", p.Mount)
	w.said("exec-memory", p.ExecMemory)
	if len(p.Capabilities) > 0 {
		w.head("capabilities")
		fmt.Fprintf(w, "capabilities: %s\n", flow(p.Capabilities))
	}
	if p.Processes != 0 {
		w.head("processes")
		fmt.Fprintf(w, "processes: %d\n", p.Processes)
	}
	return w.Bytes()
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

type writer struct{ bytes.Buffer }

func (w *writer) plain(key, value string) {
	if value != "" {
		fmt.Fprintf(w, "%s: %s\n", key, scalar(value))
	}
}

func (w *writer) said(key, value string) {
	if value != "" {
		w.head(key)
		w.plain(key, value)
	}
}

func (w *writer) head(key string) { fmt.Fprintf(w, "\n# %s\n", aboutOf(key)) }

func (w *writer) rules(key string, count int, rule func(i int)) {
	if count == 0 {
		return
	}
	w.head(key)
	fmt.Fprintf(w, "%s:\n", key)
	for i := range count {
		rule(i)
	}
}

// side writes the first key of a rule; one with neither or both is written as it is.
func (w *writer) side(allow, deny string) {
	switch {
	case allow != "" && deny != "":
		fmt.Fprintf(w, "  - allow: %s\n    deny: %s\n", scalar(allow), scalar(deny))
	case deny != "":
		fmt.Fprintf(w, "  - deny: %s\n", scalar(deny))
	default:
		fmt.Fprintf(w, "  - allow: %s\n", scalar(allow))
	}
}

func (w *writer) more(key string, list []string) {
	if len(list) > 0 {
		fmt.Fprintf(w, "    %s: %s\n", key, flow(list))
	}
}

func flow(list []string) string {
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = scalar(text)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// scalar writes a string so that YAML reads a string: as it is where nothing in it could mean
// something else, in double quotes otherwise. Go's escapes are all YAML's too.
func scalar(text string) string {
	if isPlain(text) {
		return text
	}
	return strconv.Quote(text)
}

// isPlain reports whether a string is letters, digits and marks that YAML gives no meaning, begins
// with a letter or slash, and is no word for a truth value or nothing.
func isPlain(text string) bool {
	switch strings.ToLower(text) {
	case "", "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return false
	}
	if !isLetter(text[0]) && text[0] != '/' {
		return false
	}
	for i := range len(text) {
		char := text[i]
		marks := strings.IndexByte("/._-*?@+=", char) >= 0
		colon := char == ':' && i+1 < len(text)
		if !isLetter(char) && (char < '0' || char > '9') && !marks && !colon {
			return false
		}
	}
	return true
}

func isLetter(char byte) bool {
	return char >= 'a' && char <= 'z' || char >= 'A' && char <= 'Z'
}
