package policyfile

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"surety/base/errs"
	"surety/sandbox"
)

// example is a file with each key; docs/reference/sandbox-policy.md shows it.
const example = `policy: v1
name: web
mode: enforce
default: deny
audit: full
exec:
  - allow: sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f
    note: /usr/bin/web
  - deny: /usr/bin/su
files:
  - allow: /srv/**
    access: [read, write, create]
  - deny: "/srv/?eys/*"
network:
  - allow: 10.0.0.0/8
    ports: [443, 8000-8100, "9000"]
    protocol: tcp
    act: [connect]
  - allow: "*.example.com"
  - allow: unix:/run/log.sock
ptrace: deny
setid: allow
mount: deny
exec-memory: deny
capabilities: [CAP_CHOWN]
processes: 16
`

func wantExample() sandbox.Policy {
	return sandbox.Policy{
		Version: "v1", Name: "web", Mode: "enforce", Default: "deny", Audit: "full",
		Exec: []sandbox.ExecRule{
			{Allow: "sha256:" + strings.Repeat("0f", 32), Note: "/usr/bin/web"}, {Deny: "/usr/bin/su"}},
		Files: []sandbox.FileRule{
			{Allow: "/srv/**", Access: []string{"read", "write", "create"}}, {Deny: "/srv/?eys/*"}},
		Network: []sandbox.NetRule{
			{Allow: "10.0.0.0/8", Ports: []string{"443", "8000-8100", "9000"}, Protocol: "tcp",
				Act: []string{"connect"}},
			{Allow: "*.example.com"}, {Allow: "unix:/run/log.sock"}},
		Ptrace: "deny", SetID: "allow", Mount: "deny", ExecMemory: "deny",
		Capabilities: []string{"CAP_CHOWN"}, Processes: 16,
	}
}

func TestParse(t *testing.T) {
	p, err := Parse([]byte(example))
	if err != nil || !reflect.DeepEqual(p, wantExample()) {
		t.Errorf("\n got %+v, %v\nwant %+v", p, err, wantExample())
	}
	_, c, err := Compile([]byte(example))
	if err != nil || c.Name() != "web" || c.Processes() != 16 {
		t.Errorf("%v", err)
	}
	// Flow style is the same, and so are folded lines and comments.
	p, err = Parse([]byte("{policy: v1, mode: observe, files: [{deny: /a, access: []}]} # all\n"))
	want := sandbox.Policy{Version: "v1", Mode: "observe", Files: []sandbox.FileRule{{Deny: "/a"}}}
	if err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestParseRefuses(t *testing.T) {
	const head = "policy: v1\nmode: enforce\n"
	for _, row := range []struct{ want, file string }{
		{"line 1: the file is empty", ""},
		{"line 1: the file is empty", "# nothing\n"},
		{"line 1: 2 documents", head + "---\nname: x\n"},
		{"line 1: the file is no mapping", "- policy: v1\n"},
		{"line 1: the file is no mapping", "policy\n"},
		{"line 1: sequence end token", "policy: ["},
		{"line 1: key policy is missing", "mode: enforce\n"},
		{"line 1: key mode is missing", "policy: v1\n"},
		{`line 1: policy "v2" is not one of v1`, "policy: v2\nmode: enforce\n"},
		{"line 3: key rules is unknown", head + "rules: []\n"},
		{"line 3: key Name is unknown", head + "Name: x\n"},
		{"line 4: key exec[0].path is unknown", head + "exec:\n  - path: /x\n"},
		{"line 5: key files[0].mode is unknown", head + "files:\n  - deny: /x\n    mode: read\n"},
		{"line 5: key network[0].port is unknown", head + "network:\n  - deny: x\n    port: 1\n"},
		{`line 3: mapping key "mode" already defined`, head + "mode: observe\n"},
		{"line 3: exec: text where a list", head + "exec: /x\n"},
		{"line 4: exec[0]: text where keys", head + "exec:\n  - /x\n"},
		{"line 4: files[0].deny: a list where text", head + "files:\n  - deny: [/x]\n"},
		{"line 3: name: a truth value where text", head + "name: true\n"},
		{`line 3: name: "12" where text`, head + "name: 12\n"},
		{`line 3: processes: "1.5" where a whole number`, head + "processes: 1.5\n"},
		{"line 3: processes: text where a whole number", head + "processes: \"7\"\n"},
		{`line 3: processes: "0x10" where a whole number`, head + "processes: 0x10\n"},
		{`line 4: network[0].ports[0]: "1.5" where text`,
			head + "network:\n  - {deny: x, ports: [1.5]}\n"},
		{"line 3: more than 8 levels", head + "exec: " + strings.Repeat("[", 1<<17)},
		{"line 3: more than 8 levels", head + "exec: " + strings.Repeat("{a: ", 1<<15)},
		{"line 3: more than 8 levels", head + strings.Repeat("- ", 1<<16)},
		{"line 3: more than 8 levels", head + strings.Repeat("? ", 1<<16)},
		{"line 3: a key without a value", head + "exec:\n"},
		{"line 3: a key without a value", head + "name: ~\n"},
		{"line 2: anchors, aliases", "policy: v1\nmode: &m enforce\n"},
		{"line 3: tags have no place", head + "name: !!str 1\n"},
	} {
		_, err := Parse([]byte(row.file))
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "policy: "+row.want) {
			t.Errorf("%q: %v, want %q", row.file, err, row.want)
		}
	}
	big := []byte(head + strings.Repeat("#", MaxFile))
	if _, err := Parse(big); !errs.Is(err, errs.TooLarge) {
		t.Errorf("%v", err)
	}
}

// What the rules refuse is said with the line of the field, or of what should hold it.
func TestCompileNamesTheLine(t *testing.T) {
	for _, row := range []struct{ want, from, to string }{
		{`line 3: mode: "learn" is not one of`, "mode: enforce", "mode: learn"},
		{"line 9: exec[1].deny: ", "deny: /usr/bin/su", "deny: su"},
		{`line 12: files[0].access[2]: "chmod"`, "create]", "chmod]"},
		{"line 13: files[1].deny: ", `"/srv/?eys/*"`, "/srv/../keys"},
		{"line 16: network[0].ports[1]: ", "8000-8100", "8100-8000"},
		{"line 24: exec-memory: ", "exec-memory: deny", "exec-memory: no-way"},
		{"line 7: exec: allows nothing", "- allow: sha", "- deny: sha"},
		{"line 11: files[0]: never decides", `"/srv/?eys/*"`, "/srv/**"},
	} {
		file := strings.Replace(example, row.from, row.to, 1)
		_, _, err := Compile([]byte(file))
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "policy: "+row.want) {
			t.Errorf("%s: %v, want %q", row.to, err, row.want)
		}
	}
	if _, _, err := Compile([]byte("mode: x")); !errs.Is(err, errs.Invalid) {
		t.Errorf("%v", err)
	}
}

// The keys of a file are those of the canonical form, one by one.
func TestKeysAreTheTags(t *testing.T) {
	var check func(prefix string, kind reflect.Type)
	check = func(prefix string, kind reflect.Type) {
		for i := range kind.NumField() {
			field := kind.Field(i)
			key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !strings.Contains(example, prefix+key+": ") && !strings.Contains(example, key+":\n") {
				t.Errorf("%s: key %q is not in the example, or the tag is wrong", field.Name, key)
			}
			if field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() == reflect.Struct {
				check("", field.Type.Elem())
			}
		}
	}
	check("", reflect.TypeFor[sandbox.Policy]())
}

func TestFormat(t *testing.T) {
	const want = `policy: v1
name: "12"

# enforce refuses; observe only records what enforce would refuse
mode: observe

# programs, by the digest of their bytes or by path
exec:
  - deny: /bin/su
    note: "the \"old\" one"

# paths as the kernel resolves them; ** is any run, * and ? stay within a folder
files:
  - deny: /a b
    access: [read]

# addresses, DNS names and unix sockets
network:
  - deny: "10.0.0.0/8"
    ports: ["443", "1-2"]
    protocol: tcp
    act: [connect]
  - deny: "*.x.org"

# the only ones that may be used
capabilities: [none]

# at most so many at once
processes: 3
`
	got := string(Format(sandbox.Policy{Name: "12",
		Exec:  []sandbox.ExecRule{{Deny: "/bin/su", Note: `the "old" one`}},
		Files: []sandbox.FileRule{{Deny: "/a b", Access: []string{"read"}}},
		Network: []sandbox.NetRule{{Deny: "10.0.0.0/8", Ports: []string{"443", "1-2"}, Protocol: "tcp",
			Act: []string{"connect"}}, {Deny: "*.x.org"}},
		Capabilities: []string{"none"}, Processes: 3}))
	if got != strings.Replace(want, "/a b", `"/a b"`, 1) {
		t.Errorf("got\n%s", got)
	}
}

// genPolicy draws a policy of any strings at all.
func genPolicy(t *rapid.T) sandbox.Policy {
	word := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"true", "no", "~", "1", "1.5", "",
		"*", "@", "- a", "a: b", "a #b", "'", `"`, "\x00", "\u0085", "\u2028", "\ufeff", "\U0001f600",
		" a ", "a\n b", "%", "0x1", "<<", "null", "::1", "[", "{", "\t", "a:", "\x7f", "\\", "é",
		"1e3", "2001-01-01", ".inf", "y", "=", "!x", "&x", "|", ">", "?", "-", "--- ", "a\r\nb"}))
	text := func(name string) string { return word.Draw(t, name) }
	list := rapid.Map(rapid.SliceOfN(word, 0, 4), func(s []string) []string {
		if len(s) == 0 {
			return nil
		}
		return s
	})
	p := sandbox.Policy{Version: "v1", Name: text("name"), Mode: "observe", Default: text("default"),
		Audit: text("audit"), Ptrace: text("ptrace"), SetID: text("setid"), Mount: text("mount"),
		ExecMemory: text("memory"), Capabilities: list.Draw(t, "capabilities"),
		Processes: rapid.Int().Draw(t, "processes")}
	for range rapid.IntRange(0, 3).Draw(t, "exec") {
		p.Exec = append(p.Exec, sandbox.ExecRule{Allow: text("a"), Deny: text("d"), Note: text("n")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "files") {
		p.Files = append(p.Files, sandbox.FileRule{Allow: text("a"), Deny: text("d"),
			Access: list.Draw(t, "access")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "network") {
		p.Network = append(p.Network, sandbox.NetRule{Allow: text("a"), Deny: text("d"),
			Ports: list.Draw(t, "ports"), Protocol: text("p"), Act: list.Draw(t, "act")})
	}
	return p
}

// Whatever is in a policy, its file says just that.
func TestFormatRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPolicy(t)
		file := Format(p)
		back, err := Parse(file)
		if err != nil || !reflect.DeepEqual(back, p) {
			t.Fatalf("%v\n got %+v\nwant %+v\n%s", err, back, p, file)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("{policy: v1, mode: observe, network: [{deny: x, ports: [1]}]}"))
	f.Add(Format(wantExample()))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, _, err := Compile(data)
		if err != nil {
			if kind := errs.KindOf(err); kind != errs.Invalid && kind != errs.TooLarge {
				t.Fatalf("%v: %v", kind, err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("not one line: %q", err)
			}
			return
		}
		back, err := Parse(Format(p))
		if err != nil || !reflect.DeepEqual(back, p) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, back, p)
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	p := wantExample()
	p.Files = slices.Repeat(p.Files[:1], 200)
	for i := range p.Files {
		p.Files[i].Allow = "/srv/" + strings.Repeat("x", i+1)
	}
	file := Format(p)
	for b.Loop() {
		if _, _, err := Compile(file); err != nil {
			b.Fatal(err)
		}
	}
}
