package enclave

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"surety/base/errs"
)

// FormatNow is the Format of the manifests that this package makes and takes.
const FormatNow = 1

// LocalBroker is the name of the broker of the machine that an enclave runs on. It alone need not
// have its key pinned: whoever starts the enclave then chooses who holds its secrets, which is for
// trying things out, and no bundle that is packaged has it.
const LocalBroker = "local"

// Networks that a manifest may ask for.
const (
	NetworkNone  = "none"  // no network but loopback
	NetworkStack = "stack" // the sandbox's own, under its policy
)

// Check returns the first field that is wrong, by its CBOR name: kind Invalid or TooLarge.
func (m *Manifest) Check() error {
	c := &checker{}
	c.ok(m.Format == FormatNow, "format", "%d, want %d", m.Format, FormatNow)
	c.name("name", m.Name)
	c.name("product", m.Product)
	c.brokers(m.Brokers)
	c.layers(m)
	c.program(m)
	c.data("policy", m.Policy)
	c.ok(m.Network == NetworkNone || m.Network == NetworkStack, "network", "%.40q, want %s or %s",
		m.Network, NetworkNone, NetworkStack)
	c.most("shown", len(m.Shown), MaxStrings)
	for i, s := range m.Shown {
		c.target(field("shown", i), s.Target)
	}
	c.states(m)
	c.apart()
	return c.err
}

// FieldError is what Check's error wraps: which field is wrong, and how.
type FieldError struct {
	Field string // by its CBOR name, such as "layers[1].target"
	Text  string
}

// Error returns both.
func (e *FieldError) Error() string { return e.Field + ": " + e.Text }

// checker remembers the first field that is wrong.
type checker struct {
	err     error
	pinned  map[string]bool // brokers by name
	targets []target
}

// target is where something is mounted.
type target struct{ field, path string }

func field(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// ok records that a field is wrong.
func (c *checker) ok(good bool, name, format string, args ...any) {
	if !good && c.err == nil {
		c.err = errs.As(errs.Invalid, &FieldError{name, fmt.Sprintf(format, args...)}, "enclave.manifest")
	}
}

// most records that a field has too many or too long parts.
func (c *checker) most(name string, n, limit int) {
	if n > limit && c.err == nil {
		c.err = errs.As(errs.TooLarge, &FieldError{name, fmt.Sprintf("%d, the limit is %d", n, limit)},
			"enclave.manifest")
	}
}

func (c *checker) name(field, text string) {
	c.most(field, len(text), MaxName)
	c.ok(ValidName(text), field, "%.80q: want a letter or digit, then letters, digits, . "+
		"and -, in lower case", text)
}

// ValidName reports whether a text may name an enclave, a product, a layer, a state or a broker:
// [a-z0-9][a-z0-9.-]{0,63}.
func ValidName(text string) bool {
	if text == "" || len(text) > MaxName || text[0] == '.' || text[0] == '-' {
		return false
	}
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") == ""
}

// data checks bytes that somebody else makes sense of.
func (c *checker) data(field string, data []byte) {
	c.most(field, len(data), MaxPolicy)
	c.ok(utf8.Valid(data), field, "it is not UTF-8")
}

// text checks a string that the program will see.
func (c *checker) text(field, text string) {
	c.most(field, len(text), MaxString)
	c.ok(utf8.ValidString(text) && !strings.Contains(text, "\x00"), field,
		"%.80q: want UTF-8 without NUL", text)
}

// path checks an absolute path in the one form that it has.
func (c *checker) path(field, text string) {
	c.most(field, len(text), MaxPath)
	c.text(field, text)
	c.ok(strings.HasPrefix(text, "/") && path.Clean(text) == text, field, "%.80q is no clean absolute path",
		text)
}

// target checks where something is mounted, beside the root.
func (c *checker) target(field, text string) {
	c.path(field, text)
	c.ok(text != "/", field, "only the first layer is mounted at /")
	for _, own := range [...]string{"/dev", "/proc", "/sys"} {
		c.ok(!within(text, own), field, "%.80q is the kernel's own", text)
	}
	c.targets = append(c.targets, target{field, text})
}

// within reports whether a path is the directory or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// apart sees that no mount hides another or part of one.
func (c *checker) apart() {
	if c.err != nil {
		return
	}
	for i, a := range c.targets {
		for _, b := range c.targets[:i] {
			c.ok(!within(a.path, b.path) && !within(b.path, a.path), a.field, "%q and %s, %q, lie in each other",
				a.path, b.field, b.path)
		}
	}
}

func (c *checker) brokers(all []Broker) {
	c.most("brokers", len(all), MaxBrokers)
	c.pinned = map[string]bool{}
	for i, b := range all {
		at := field("brokers", i)
		c.name(at+".name", b.Name)
		c.ok(!c.pinned[b.Name], at+".name", "%q is there twice", b.Name)
		c.ok(!b.Key.IsZero() || b.Name == LocalBroker, at+".key", "it is missing: only the broker %q may be "+
			"without", LocalBroker)
		c.pinned[b.Name] = true
	}
}

func (c *checker) layers(m *Manifest) {
	c.ok(len(m.Layers) > 0, "layers", "there are none: the first is the root file system")
	c.most("layers", len(m.Layers), MaxLayers)
	seen := map[string]bool{}
	for i := range m.Layers {
		l, at := &m.Layers[i], field("layers", i)
		c.name(at+".name", l.Name)
		c.ok(!seen[l.Name], at+".name", "%q is there twice", l.Name)
		seen[l.Name] = true
		if i == 0 {
			c.ok(l.Kind == Public, at+".kind", "%.40q: the root is %s", l.Kind, Public)
			c.ok(l.Target == "/", at+".target", "%.80q: the root's is /", l.Target)
		} else {
			c.target(at+".target", l.Target)
		}
		c.ok(l.Bytes > 0 && l.Bytes%LayerBlock == 0 && l.Bytes <= MaxLayerBytes, at+".bytes",
			"%d: want a multiple of %d up to %d", l.Bytes, LayerBlock, int64(MaxLayerBytes))
		c.layer(at, l)
	}
}

// layer checks that a layer has what its kind has, and nothing of the other's.
func (c *checker) layer(at string, l *Layer) {
	none := [32]byte{}
	switch l.Kind {
	case Public:
		c.ok(l.Digest != none, at+".digest", "it is missing")
		c.ok(l.Verity != none, at+".verity", "it is missing")
		c.ok(l.Salt == LayerSalt(l.Name), at+".salt", "it is not the SHA-256 of %q", l.Name)
		c.ok(l.ID == [16]byte{}, at+".id", "a %s layer has none", Public)
		c.ok(l.Root.IsZero(), at+".root", "a %s layer has none", Public)
		c.ok(l.Key == "", at+".key", "a %s layer has none", Public)
	case Secret:
		c.ok(l.Digest == none, at+".digest", "a %s layer has none: it would confirm a guess", Secret)
		c.ok(l.Verity == none, at+".verity", "a %s layer has none: it would confirm a guess", Secret)
		c.ok(l.Salt == none, at+".salt", "a %s layer has none", Secret)
		c.ok(l.ID != [16]byte{}, at+".id", "it is missing")
		c.ok(!l.Root.IsZero(), at+".root", "it is missing")
		c.resource(at+".key", l.Key)
	default:
		c.ok(false, at+".kind", "%.40q, want %s or %s", l.Kind, Public, Secret)
	}
}

// LayerSalt is the salt of a public layer's dm-verity tree: fixed, so that anyone who builds the
// layer again gets its root.
func LayerSalt(name string) [32]byte { return sha256.Sum256([]byte(name)) }

// resource checks where a key is asked for.
func (c *checker) resource(field, text string) {
	parts := strings.Split(text, "/")
	if len(parts) != 4 {
		c.ok(false, field, "%.80q, want BROKER/REPOSITORY/TYPE/TAG", text)
		return
	}
	c.ok(c.pinned[parts[0]], field, "%.80q: brokers has no %.80q", text, parts[0])
	for _, part := range parts[1:] {
		c.most(field, len(part), MaxName)
		c.ok(part != "" && part[0] != '.' && !strings.ContainsFunc(part, notOfResource), field,
			"%.200q: want letters, digits, . _ and - in each part, and no . before", text)
	}
}

func notOfResource(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		return false
	}
	return true
}

// program checks what is run and as whom.
func (c *checker) program(m *Manifest) {
	c.ok(len(m.Command) > 0, "command", "it is missing")
	c.most("command", len(m.Command), MaxStrings)
	for i, text := range m.Command {
		if i == 0 {
			c.path(field("command", i), text)
		}
		c.text(field("command", i), text)
	}
	c.most("entries", len(m.Entries), MaxStrings)
	for i, text := range m.Entries {
		c.path(field("entries", i), text)
	}
	c.sorted("entries", m.Entries)
	c.most("env", len(m.Env), MaxStrings)
	names := map[string]bool{}
	for i, text := range m.Env {
		name, _, found := strings.Cut(text, "=")
		c.text(field("env", i), text)
		c.ok(found && validVariable(name), field("env", i), "%.80q, want NAME=value", text)
		c.ok(!names[name], field("env", i), "%.80q is set twice", name)
		names[name] = true
	}
	c.most("env_names", len(m.EnvNames), MaxStrings)
	for i, text := range m.EnvNames {
		c.text(field("env_names", i), text)
		c.ok(validVariable(text), field("env_names", i), "%.80q is no name of a variable", text)
	}
	c.sorted("env_names", m.EnvNames)
	c.path("cwd", m.Cwd)
	c.ok(m.UID != math.MaxUint32, "uid", "%d is nobody's number", m.UID)
	c.ok(m.GID != math.MaxUint32, "gid", "%d is nobody's number", m.GID)
}

// validVariable reports whether a text names an environment variable.
func validVariable(text string) bool {
	return text != "" && (text[0] < '0' || text[0] > '9') && !strings.ContainsFunc(text, func(r rune) bool {
		return notOfResource(r) || r == '.' || r == '-'
	})
}

// sorted sees that a set has one order.
func (c *checker) sorted(field string, list []string) {
	for i := 1; i < len(list); i++ {
		c.ok(list[i-1] < list[i], field, "%.80q does not stand after %.80q", list[i], list[i-1])
	}
}

func (c *checker) states(m *Manifest) {
	c.most("state", len(m.State), MaxStates)
	seen := map[string]bool{}
	for i, s := range m.State {
		at := field("state", i)
		c.name(at+".name", s.Name)
		c.ok(!seen[s.Name], at+".name", "%q is there twice", s.Name)
		seen[s.Name] = true
		c.target(at+".target", s.Target)
		c.ok(s.Bytes > 0 && s.Bytes <= MaxLayerBytes, at+".bytes", "%d: want 1 to %d", s.Bytes,
			int64(MaxLayerBytes))
		c.ok(c.pinned[s.Broker], at+".broker", "brokers has no %.80q", s.Broker)
	}
}

// Unpinned returns the names of the brokers whose key the manifest does not pin.
func (m *Manifest) Unpinned() []string {
	var names []string
	for _, b := range m.Brokers {
		if b.Key.IsZero() {
			names = append(names, b.Name)
		}
	}
	return names
}

// Clone returns a copy that shares nothing with the manifest.
func (m *Manifest) Clone() *Manifest {
	c := *m
	c.Layers, c.Shown = slices.Clone(m.Layers), slices.Clone(m.Shown)
	c.State, c.Brokers = slices.Clone(m.State), slices.Clone(m.Brokers)
	c.Command, c.Entries = slices.Clone(m.Command), slices.Clone(m.Entries)
	c.Env, c.EnvNames = slices.Clone(m.Env), slices.Clone(m.EnvNames)
	c.Policy = bytes.Clone(m.Policy)
	return &c
}
