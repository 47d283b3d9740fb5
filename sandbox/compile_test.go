package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"surety/base/errs"
)

var someDigest = "sha256:" + strings.Repeat("0f", 32)

// fullPolicy uses each key, in the one form of each value.
func fullPolicy() Policy {
	return Policy{
		Version: "v1", Name: "web", Mode: "enforce", Default: "deny", Audit: "full",
		Exec: []ExecRule{{Allow: someDigest}, {Allow: "/usr/bin/*"}, {Deny: "/usr/bin/su"}},
		Files: []FileRule{
			{Allow: "/srv/**", Access: []string{"read", "write", "create", "unlink", "rename"}},
			{Allow: "/lib/**", Access: []string{"read", "exec"}}, {Allow: "/tmp/**"},
			{Deny: "/srv/keys/**"},
		},
		Network: []NetRule{
			{Allow: "10.0.0.0/8", Ports: []string{"443", "8000-8100"}, Protocol: "tcp",
				Act: []string{"connect"}},
			{Deny: "10.9.0.0/16"}, {Allow: "::1"}, {Allow: "*.example.com", Act: []string{"lookup"}},
			{Allow: "api.example.com", Ports: []string{"443"}}, {Allow: "unix:/run/*.sock"},
			{Allow: "unix:@name"},
		},
		Ptrace: "deny", SetID: "allow", Mount: "deny", ExecMemory: "allow",
		Capabilities: []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE"}, Processes: 16,
	}
}

func mustCompile(t interface{ Fatal(...any) }, p Policy) *Compiled {
	c, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompileRefuses(t *testing.T) {
	for _, row := range []struct {
		field, want string
		spoil       func(p *Policy)
	}{
		{"policy", `"v2" is not one of v1`, func(p *Policy) { p.Version = "v2" }},
		{"name", "129 bytes, limit 128", func(p *Policy) { p.Name = strings.Repeat("x", 129) }},
		{"name", "does not print", func(p *Policy) { p.Name = "a\nb" }},
		{"name", "does not print", func(p *Policy) { p.Name = "a\xff" }},
		{"mode", `"learn" is not one of observe, enforce`, func(p *Policy) { p.Mode = "learn" }},
		{"default", `"no" is not one of allow, deny`, func(p *Policy) { p.Default = "no" }},
		{"audit", `"all" is not one of core, full`, func(p *Policy) { p.Audit = "all" }},
		{"exec", "not even the first program", func(p *Policy) { p.Exec = nil }},
		{"exec", "not even the first program", func(p *Policy) {
			p.Exec = []ExecRule{{Deny: "/bin/su"}}
		}},
		{"exec[1]", "neither allow nor deny", func(p *Policy) { p.Exec[1] = ExecRule{} }},
		{"exec[1]", "both allow and deny", func(p *Policy) { p.Exec[1].Deny = "/x" }},
		{"exec[0].allow", "64 lower-case", func(p *Policy) { p.Exec[0].Allow = "sha256:0f" }},
		{"exec[0].allow", "64 lower-case", func(p *Policy) {
			p.Exec[0].Allow = "sha256:" + strings.Repeat("0F", 32)
		}},
		{"exec[0].allow", "64 lower-case", func(p *Policy) {
			p.Exec[0].Allow = "sha256:" + strings.Repeat("0g", 32)
		}},
		{"exec[0].allow", "is zero", func(p *Policy) {
			p.Exec[0].Allow = "sha256:" + strings.Repeat("00", 32)
		}},
		{"exec[1].allow", "not absolute", func(p *Policy) { p.Exec[1].Allow = "bin/ls" }},
		{"exec[1].allow", "not absolute", func(p *Policy) { p.Exec[1].Allow = "sha1:0f" }},
		{"exec[1].deny", "exec[0] speaks of the same digest", func(p *Policy) {
			p.Exec[1] = ExecRule{Deny: someDigest}
		}},
		{"exec[2]", "says the same as exec[1]", func(p *Policy) { p.Exec[2] = p.Exec[1] }},
		{"exec[2]", "exec[1] (deny /usr/**) denies all", func(p *Policy) {
			p.Exec = []ExecRule{{Allow: "/bin/**"}, {Deny: "/usr/**"}, {Allow: "/usr/bin/ls"}}
		}},
		{"files[0]", "neither", func(p *Policy) { p.Files[0] = FileRule{Access: []string{"read"}} }},
		{"files[1].allow", "not clean", func(p *Policy) { p.Files[1].Allow = "/a/../b" }},
		{"files[3].deny", "ends in a slash", func(p *Policy) { p.Files[3].Deny = "/srv/keys/" }},
		{"files[3].deny", "/proc/self is a link", func(p *Policy) {
			p.Files[3].Deny = "/proc/self/mem"
		}},
		{"files[3].deny", "/proc/thread-self is a link", func(p *Policy) {
			p.Files[3].Deny = "/proc/thread-self"
		}},
		{"files[0].access[1]", `"change" is not one of read`, func(p *Policy) {
			p.Files[0].Access[1] = "change"
		}},
		{"files[0].access[1]", "twice", func(p *Policy) { p.Files[0].Access[1] = "read" }},
		{"files[2]", "says the same as files[1]", func(p *Policy) {
			p.Files[2] = FileRule{Allow: "/lib/**", Access: []string{"exec", "read"}}
		}},
		{"files[0]", "files[3] (deny /srv/** ", func(p *Policy) {
			p.Files[0].Access = []string{"read"}
			p.Files[3] = FileRule{Deny: "/srv/**", Access: []string{"write", "read"}}
		}},
		{"files[3]", "files[2] (deny /srv/**)", func(p *Policy) {
			p.Files[0].Allow, p.Files[2] = "/s", FileRule{Deny: "/srv/**"}
		}},
		{"network[0]", "both", func(p *Policy) { p.Network[0].Deny = "::1" }},
		{"network[0].allow", "bits behind its length: the block is 10.0.0.0/8", func(p *Policy) {
			p.Network[0].Allow = "10.1.0.0/8"
		}},
		{"network[0].allow", "not an address", func(p *Policy) { p.Network[0].Allow = "10.0.0.0/33" }},
		{"network[0].allow", "not an address", func(p *Policy) { p.Network[0].Allow = "300.1.1.1" }},
		{"network[0].allow", "not an address", func(p *Policy) { p.Network[0].Allow = "10.1" }},
		{"network[0].allow", "mixes IPv4 and IPv6", func(p *Policy) {
			p.Network[0].Allow = "::ffff:0:0/90"
		}},
		{"network[0].allow", "has a zone", func(p *Policy) { p.Network[0].Allow = "fe80::1%eth0" }},
		{"network[3].allow", "a label of 0 bytes", func(p *Policy) { p.Network[3].Allow = "*.a..b" }},
		{"network[3].allow", "a label of 0 bytes", func(p *Policy) { p.Network[3].Allow = ".a" }},
		{"network[3].allow", "label \"*\"", func(p *Policy) { p.Network[3].Allow = "*." }},
		{"network[3].allow", "a label of 64 bytes", func(p *Policy) {
			p.Network[3].Allow = strings.Repeat("a", 64) + ".b"
		}},
		{"network[3].allow", "label \"a*\"", func(p *Policy) { p.Network[3].Allow = "a*.b" }},
		{"network[3].allow", "label \"*\"", func(p *Policy) { p.Network[3].Allow = "*" }},
		{"network[3].allow", "label \"-a\"", func(p *Policy) { p.Network[3].Allow = "-a.b" }},
		{"network[5].allow", "is empty", func(p *Policy) { p.Network[5].Allow = "unix:" }},
		{"network[5].allow", "not absolute", func(p *Policy) { p.Network[5].Allow = "unix:a" }},
		{"network[6].allow", "three *", func(p *Policy) { p.Network[6].Allow = "unix:@***" }},
		{"network[0].ports[1]", "is not a port", func(p *Policy) { p.Network[0].Ports[1] = "65536" }},
		{"network[0].ports[1]", "is not a port", func(p *Policy) { p.Network[0].Ports[1] = "http" }},
		{"network[0].ports[1]", "is not a port", func(p *Policy) { p.Network[0].Ports[1] = "" }},
		{"network[0].ports[1]", "is an empty range", func(p *Policy) { p.Network[0].Ports[1] = "9-8" }},
		{"network[0].ports[1]", "443 and 400-500 overlap", func(p *Policy) {
			p.Network[0].Ports[1] = "400-500"
		}},
		{"network[0].protocol", `"sctp" is not one of tcp`, func(p *Policy) {
			p.Network[0].Protocol = "sctp"
		}},
		{"network[0].ports", "raw sockets have none", func(p *Policy) {
			p.Network[0].Protocol = "raw"
		}},
		{"network[0].act[0]", `"listen" is not one of connect`, func(p *Policy) {
			p.Network[0].Act[0] = "listen"
		}},
		{"network[0].act", "lookup is of a name", func(p *Policy) { p.Network[0].Act[0] = "lookup" }},
		{"network[3].act", "bind is to an address", func(p *Policy) { p.Network[3].Act[0] = "bind" }},
		{"network[5].ports", "a unix socket has none", func(p *Policy) {
			p.Network[5].Ports = []string{"1"}
		}},
		{"network[5].protocol", "a unix socket has none", func(p *Policy) {
			p.Network[5].Protocol = "tcp"
		}},
		{"network[2]", "says the same as network[1]", func(p *Policy) {
			p.Network[1] = NetRule{Allow: "::1/128"}
		}},
		{"network[0]", "network[1] (deny 10.0.0.0/8 ports 1-9000) denies all", func(p *Policy) {
			p.Network[1] = NetRule{Deny: "10.0.0.0/8", Ports: []string{"1-9000"}}
		}},
		{"network[3]", "network[1] (deny *.com) denies all", func(p *Policy) {
			p.Network[1] = NetRule{Deny: "*.COM."}
		}},
		{"network[5]", "network[1] (deny unix:/run/**) denies all", func(p *Policy) {
			p.Network[1] = NetRule{Deny: "unix:/run/**"}
		}},
		{"network[6]", "network[1] (deny unix:@n*) denies all", func(p *Policy) {
			p.Network[1] = NetRule{Deny: "unix:@n*"}
		}},
		{"ptrace", `"no" is not one of allow, deny`, func(p *Policy) { p.Ptrace = "no" }},
		{"setid", "is not one of", func(p *Policy) { p.SetID = "no" }},
		{"mount", "is not one of", func(p *Policy) { p.Mount = "no" }},
		{"exec-memory", "is not one of", func(p *Policy) { p.ExecMemory = "no" }},
		{"capabilities[1]", `"NET_RAW" is no capability`, func(p *Policy) {
			p.Capabilities[1] = "NET_RAW"
		}},
		{"capabilities[1]", `"all" is no capability`, func(p *Policy) { p.Capabilities[1] = "all" }},
		{"capabilities[1]", "CAP_CHOWN stands there twice", func(p *Policy) {
			p.Capabilities[1] = "CAP_CHOWN"
		}},
		{"processes", "-1 is not within", func(p *Policy) { p.Processes = -1 }},
		{"processes", "is not within 0 and 4194304", func(p *Policy) { p.Processes = 4<<20 + 1 }},
		{"exec[0].allow", "the default is allow", func(p *Policy) { p.Default = "" }},
		{"files[0].allow", "the default is allow", func(p *Policy) { p.Default, p.Exec = "allow", nil }},
	} {
		p := fullPolicy()
		row.spoil(&p)
		_, err := Compile(p)
		var field *FieldError
		if !errors.As(err, &field) || !errs.Is(err, errs.Invalid) || field.Field != row.field ||
			!strings.Contains(field.Text, row.want) {
			t.Errorf("%s: %v, want %q", row.field, err, row.want)
		}
	}
}

func TestCompileTooMany(t *testing.T) {
	p := Policy{Files: slices.Repeat([]FileRule{{Deny: "/x"}}, MaxRules+1)}
	if _, err := Compile(p); !errs.Is(err, errs.TooLarge) ||
		!strings.Contains(err.Error(), "4097 rules, limit 4096") {
		t.Errorf("%v", err)
	}
}

// However the patterns are made, a policy compiles in a second or so.
func TestCompileIsBounded(t *testing.T) {
	for name, pattern := range map[string]string{ // each by itself: the order cannot show
		"short": "/**/a*-%d-*", "long": "/?" + strings.Repeat("?*", 200) + "%d*",
	} {
		var p Policy
		for i := range MaxRules {
			p.Files = append(p.Files, FileRule{Deny: fmt.Sprintf(pattern, MaxRules+i)})
		}
		c := mustCompile(t, p)
		if d := c.File("/usr/lib/x/y", Read); d.Verdict != Allowed {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestCanonical(t *testing.T) {
	c := mustCompile(t, fullPolicy())
	if got := c.Policy(); !reflect.DeepEqual(got, fullPolicy()) {
		t.Errorf("policy\n got %+v\nwant %+v", got, fullPolicy())
	}
	back, err := DecodePolicy(c.Canonical())
	if err != nil || !reflect.DeepEqual(back, fullPolicy()) {
		t.Errorf("decoded %+v, %v", back, err)
	}
	// Other words for the same thing.
	p := fullPolicy()
	p.Version, p.Exec[0].Note = "", "the shell"
	p.Files[0].Access = []string{"rename", "read", "create", "write", "unlink"}
	p.Files[2].Access = slices.Clone(accesses[:])
	p.Network[0].Ports = []string{"443-443", "8000-08100"}
	p.Network[1].Deny, p.Network[2].Allow = "::ffff:10.9.0.0/112", "0:0::1/128"
	p.Network[3].Allow = "*.Example.COM."
	p.Capabilities = []string{"CAP_NET_BIND_SERVICE", "CAP_CHOWN"}
	other := mustCompile(t, p)
	if !bytes.Equal(other.Canonical(), c.Canonical()) || other.Digest() != c.Digest() {
		t.Errorf("\n got %s\nwant %s", other.Canonical(), c.Canonical())
	}
	const want = `{"policy":"v1","mode":"observe","default":"allow","audit":"core"}`
	zero := mustCompile(t, Policy{})
	if got := string(zero.Canonical()); got != want {
		t.Errorf("zero policy: %s, want %s", got, want)
	}
	if zero.Digest() == c.Digest() {
		t.Error("two policies, one digest")
	}
}

func TestDecodePolicyRefuses(t *testing.T) {
	for _, bad := range []string{"x", `{"rules":[]}`, `{} {}`, `{"files":{}}`, `{"processes":1.5}`} {
		if _, err := DecodePolicy([]byte(bad)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if p, err := DecodePolicy(nil); err != nil || !reflect.DeepEqual(p, Policy{}) {
		t.Errorf("no bytes: %+v, %v", p, err)
	}
}

func TestRules(t *testing.T) {
	c := mustCompile(t, fullPolicy())
	want := []string{
		"exec[0]: allow " + someDigest, "exec[1]: allow /usr/bin/*", "exec[2]: deny /usr/bin/su",
		"files[0]: allow /srv/** read,write,create,unlink,rename", "files[1]: allow /lib/** read,exec",
		"files[2]: allow /tmp/**", "files[3]: deny /srv/keys/**",
		"network[0]: allow 10.0.0.0/8 ports 443,8000-8100 protocol tcp act connect",
		"network[1]: deny 10.9.0.0/16", "network[2]: allow ::1",
		"network[3]: allow *.example.com act lookup", "network[4]: allow api.example.com ports 443",
		"network[5]: allow unix:/run/*.sock", "network[6]: allow unix:@name",
		"ptrace: deny", "setid: allow", "mount: deny", "exec-memory: allow",
		"capabilities: only CAP_CHOWN, CAP_NET_BIND_SERVICE", "processes: at most 16",
	}
	var got []string
	for i := range c.Rules() {
		got = append(got, c.Rule(uint16(i)))
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	if got := c.Rule(NoRule) + ", " + c.Rule(999); got != "default: deny, rule 999" {
		t.Error(got)
	}
	if c.Mode() != Enforce || c.Level() != FullAudit || c.Name() != "web" || c.Processes() != 16 ||
		!c.NeedsDigest() {
		t.Errorf("%v %v %s %d", c.Mode(), c.Level(), c.Name(), c.Processes())
	}
	zero := mustCompile(t, Policy{})
	if zero.Mode() != Observe || zero.Level() != CoreAudit || zero.NeedsDigest() || zero.Rules() != 0 {
		t.Errorf("zero policy: %v %v", zero.Mode(), zero.Level())
	}
}

// genPolicy draws a policy that Compile may take or refuse.
func genPolicy(t *rapid.T) Policy {
	side := func(i int, text string) (allow, deny string) {
		if rapid.Bool().Draw(t, "allow") {
			return text, ""
		}
		return "", text
	}
	p := Policy{Mode: "enforce", Default: "deny", Exec: []ExecRule{{Allow: "/init"}}}
	for i := range rapid.IntRange(0, 3).Draw(t, "exec") {
		allow, deny := side(i, genPattern(t, "program"))
		p.Exec = append(p.Exec, ExecRule{Allow: allow, Deny: deny})
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "files") {
		allow, deny := side(i, genPattern(t, "file"))
		bits := rapid.Uint16Range(0, uint16(allAccess)).Draw(t, "access")
		p.Files = append(p.Files, FileRule{allow, deny, bitWords(bits, accesses[:])})
	}
	target := rapid.SampledFrom([]string{"10.0.0.0/8", "10.1.0.0/16", "10.1.1.1", "::/0", "::1",
		"*.x.org", "a.x.org", "*.a.x.org", "unix:/a/**", "unix:@a*", "0.0.0.0/0"})
	for i := range rapid.IntRange(0, 5).Draw(t, "network") {
		allow, deny := side(i, target.Draw(t, "target"))
		r := NetRule{Allow: allow, Deny: deny}
		if !strings.Contains(allow+deny, "unix") {
			r.Ports = rapid.SampledFrom([][]string{nil, {"443"}, {"1-1000"}}).Draw(t, "ports")
			r.Protocol = rapid.SampledFrom([]string{"", "tcp", "udp"}).Draw(t, "protocol")
		}
		r.Act = rapid.SampledFrom([][]string{nil, {"connect"}, {"send"}}).Draw(t, "act")
		p.Network = append(p.Network, r)
	}
	return p
}

// What a compiled policy says of itself compiles to the same.
func TestCompileIsIdempotent(t *testing.T) {
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		c, err := Compile(genPolicy(t))
		if err != nil {
			return
		}
		taken++
		again := mustCompile(t, c.Policy())
		if !bytes.Equal(again.Canonical(), c.Canonical()) {
			t.Fatalf("\n got %s\nwant %s", again.Canonical(), c.Canonical())
		}
	})
	if taken == 0 {
		t.Error("no policy was taken: the test shows nothing")
	}
}

func FuzzCompile(f *testing.F) {
	full := mustCompile(f, fullPolicy())
	f.Add(full.Canonical())
	f.Add([]byte(`{"default":"deny","files":[{"allow":"/**/a?*"},{"deny":"/a/**"}]}`))
	f.Add([]byte(`{"network":[{"deny":"*.x"},{"deny":"::ffff:1.2.3.0/120","ports":["1-2"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := DecodePolicy(data)
		if err != nil {
			return
		}
		c, err := Compile(p)
		if err != nil {
			if kind := errs.KindOf(err); kind != errs.Invalid && kind != errs.TooLarge {
				t.Fatalf("%v: %v", kind, err)
			}
			return
		}
		if again := mustCompile(t, c.Policy()); !bytes.Equal(again.Canonical(), c.Canonical()) {
			t.Fatalf("\n got %s\nwant %s", again.Canonical(), c.Canonical())
		}
		for i := range c.Rules() {
			c.Rule(uint16(i))
		}
		for _, path := range []string{"/", "/a", "/a/b/c", "/srv/keys"} {
			c.File(path, Read|Write)
			c.Exec(path, Digest{1})
			c.Unix(Connect, "@"+path)
		}
	})
}

func TestBirth(t *testing.T) {
	b := Birth{Sandbox: "s", Image: "sha256:00", Policy: "sha256:01", Binary: "sha256:02",
		Config: "sha256:03", Class: "sentry", Mode: "enforce", Audit: "core", Key: "ed25519:04",
		Host: "h", Platform: "systrap"}
	text, err := b.Encode()
	const want = `{"sandbox":"s","image":"sha256:00","policy":"sha256:01","binary":"sha256:02",` +
		`"config":"sha256:03","class":"sentry","mode":"enforce","audit":"core",` +
		`"key":"ed25519:04","host":"h","platform":"systrap"}`
	if err != nil || text != want {
		t.Errorf("%s, %v", text, err)
	}
	layered := b
	layered.Layers = []BirthLayer{{Target: "/models", Digest: "sha384:05"}}
	for _, b := range []Birth{b, layered} {
		text, err := b.Encode()
		if back, bad := DecodeBirth(text); err != nil || bad != nil || !reflect.DeepEqual(back, b) {
			t.Errorf("%+v, %v, %v", back, err, bad)
		}
	}
	for _, bad := range []string{"", "{}", want + " ", want[:len(want)-1],
		strings.Replace(want, "{", `{"sandbox":"x",`, 1), strings.Replace(want, "{", `{"x":1,`, 1)} {
		if _, err := DecodeBirth(bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	b.Host = strings.Repeat("h", MaxText)
	if _, err := b.Encode(); !errs.Is(err, errs.TooLarge) {
		t.Errorf("%v", err)
	}
}
