package sandbox

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func allowed(rule uint16) Decision        { return Decision{Allowed, rule, 0} }
func refused(rule, errno uint16) Decision { return Decision{Refused, rule, errno} }

func expect(t *testing.T, what string, got, want Decision) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// The zero policy judges nothing.
func TestZeroPolicy(t *testing.T) {
	c := mustCompile(t, Policy{})
	to := netip.MustParseAddrPort("1.1.1.1:1")
	for i, got := range []Decision{
		c.Exec("/x", Digest{}), c.File("/x", allAccess), c.Net(Connect, TCP, to, "x"),
		c.Unix(Bind, "/x"), c.NameLookup("x"), c.Ptrace(), c.SetID(), c.Mount(), c.ExecMemory(),
		c.Capability(0), c.Clone(1 << 20),
	} {
		expect(t, strconv.Itoa(i), got, Decision{Unjudged, NoRule, 0})
	}
}

// A default of deny alone refuses each act, with its error; observing, it says so and lets it be.
func TestDefaultDeny(t *testing.T) {
	to := netip.MustParseAddrPort("1.1.1.1:1")
	p := Policy{Mode: "enforce", Default: "deny", Exec: []ExecRule{{Allow: "/init"}}}
	enforce := mustCompile(t, p)
	p.Mode = "observe"
	observe := mustCompile(t, p)
	for _, row := range []struct {
		name  string
		errno uint16
		do    func(c *Compiled) Decision
	}{
		{"exec", EACCES, func(c *Compiled) Decision { return c.Exec("/x", Digest{1}) }},
		{"file", EACCES, func(c *Compiled) Decision { return c.File("/x", Read) }},
		{"no access", EACCES, func(c *Compiled) Decision { return c.File("/x", 0) }},
		{"no path", EACCES, func(c *Compiled) Decision { return c.File("", Read) }},
		{"net", EACCES, func(c *Compiled) Decision { return c.Net(Send, UDP, to, "") }},
		{"unix", EACCES, func(c *Compiled) Decision { return c.Unix(Connect, "/x") }},
		{"name", EACCES, func(c *Compiled) Decision { return c.NameLookup("x.org") }},
		{"ptrace", EPERM, (*Compiled).Ptrace},
		{"setid", EPERM, (*Compiled).SetID},
		{"mount", EPERM, (*Compiled).Mount},
		{"exec-memory", EACCES, (*Compiled).ExecMemory},
		{"capability", EPERM, func(c *Compiled) Decision { return c.Capability(0) }},
	} {
		expect(t, row.name, row.do(enforce), refused(NoRule, row.errno))
		expect(t, row.name+" observed", row.do(observe), Decision{WouldRefuse, NoRule, 0})
	}
	expect(t, "clone without a limit", enforce.Clone(1<<20), Decision{Unjudged, NoRule, 0})
}

func TestDecisions(t *testing.T) {
	c := mustCompile(t, fullPolicy())
	digest := Digest([]byte(strings.Repeat("\x0f", 32)))
	at := netip.MustParseAddrPort
	for _, row := range []struct {
		name      string
		got, want Decision
	}{
		{"exec by digest", c.Exec("/x", digest), allowed(0)},
		{"exec by path", c.Exec("/usr/bin/ls", Digest{1}), allowed(1)},
		{"exec denied by path, allowed by digest", c.Exec("/usr/bin/su", digest), refused(2, EACCES)},
		{"exec below the pattern", c.Exec("/usr/bin/x/y", Digest{1}), refused(NoRule, EACCES)},
		{"exec without a digest", c.Exec("/x", Digest{}), refused(NoRule, EACCES)},

		{"one bit", c.File("/srv/a", Write), allowed(3)},
		{"the folder itself", c.File("/srv", Read), allowed(3)},
		{"all bits but one", c.File("/srv/a", Read|Attr), refused(NoRule, EACCES)},
		{"a rule of all", c.File("/tmp/a", allAccess), allowed(5)},
		{"deny beats allow", c.File("/srv/keys/a", Read), refused(6, EACCES)},
		{"deny beats allow for the folder", c.File("/srv/keys", Read), refused(6, EACCES)},
		{"a name that begins alike", c.File("/srv/keysafe", Read), allowed(3)},

		{"net", c.Net(Connect, TCP, at("10.1.1.1:443"), ""), allowed(7)},
		{"net, last of a range", c.Net(Connect, TCP, at("10.1.1.1:8100"), ""), allowed(7)},
		{"net, as IPv6", c.Net(Connect, TCP, at("[::ffff:10.1.1.1]:443"), ""), allowed(7)},
		{"net, other port", c.Net(Connect, TCP, at("10.1.1.1:8101"), ""), refused(NoRule, EACCES)},
		{"net, other protocol", c.Net(Connect, UDP, at("10.1.1.1:443"), ""), refused(NoRule, EACCES)},
		{"net, other act", c.Net(Bind, TCP, at("10.1.1.1:443"), ""), refused(NoRule, EACCES)},
		{"net, two acts", c.Net(Bind|Connect, TCP, at("10.1.1.1:443"), ""), refused(NoRule, EACCES)},
		{"net denied", c.Net(Connect, TCP, at("10.9.1.1:443"), ""), refused(8, EACCES)},
		{"net denied, name allowed", c.Net(Connect, TCP, at("10.9.1.1:443"), "api.example.com"),
			refused(8, EACCES)},
		{"net, zone", c.Net(Bind, UDP, at("[::1%lo]:9"), ""), allowed(9)},
		{"name", c.Net(Connect, TCP, at("1.1.1.1:443"), "API.example.com."), allowed(11)},
		{"name not given", c.Net(Connect, TCP, at("1.1.1.1:443"), ""), refused(NoRule, EACCES)},
		{"name for lookup alone", c.Net(Connect, TCP, at("1.1.1.1:443"), "x.example.com"),
			refused(NoRule, EACCES)},
		{"lookup", c.NameLookup("a.b.EXAMPLE.com"), allowed(10)},
		{"lookup of a name with ports", c.NameLookup("api.example.com"), allowed(10)},
		{"lookup of the suffix itself", c.NameLookup("example.com"), refused(NoRule, EACCES)},
		{"lookup of another", c.NameLookup("badexample.com"), refused(NoRule, EACCES)},
		{"unix", c.Unix(Connect, "/run/x.sock"), allowed(12)},
		{"unix elsewhere", c.Unix(Connect, "/run/x/y.sock"), refused(NoRule, EACCES)},
		{"abstract", c.Unix(Bind, "@name"), allowed(13)},
		{"abstract, other", c.Unix(Bind, "@names"), refused(NoRule, EACCES)},

		{"ptrace", c.Ptrace(), refused(14, EPERM)},
		{"setid", c.SetID(), allowed(15)},
		{"mount", c.Mount(), refused(16, EPERM)},
		{"exec-memory", c.ExecMemory(), allowed(17)},
		{"capability", c.Capability(10), allowed(18)},
		{"capability, other", c.Capability(1), refused(18, EPERM)},
		{"capability that is none", c.Capability(-1), refused(18, EPERM)},
		{"capability beyond", c.Capability(64), refused(18, EPERM)},
		{"clone", c.Clone(15), allowed(19)},
		{"clone, one too many", c.Clone(16), refused(19, EAGAIN)},
	} {
		expect(t, row.name, row.got, row.want)
	}
}

// Denies under a default of allow: the kinds they speak of are judged, the others are not.
func TestDefaultAllow(t *testing.T) {
	c := mustCompile(t, Policy{Mode: "enforce",
		Exec:    []ExecRule{{Deny: someDigest}, {Deny: "/bin/su"}},
		Files:   []FileRule{{Deny: "/etc/shadow", Access: []string{"read", "write"}}, {Deny: "/k/**"}},
		Network: []NetRule{{Deny: "*.ads.org"}, {Deny: "x.org", Ports: []string{"25"}}},
	})
	digest := Digest([]byte(strings.Repeat("\x0f", 32)))
	at := netip.MustParseAddrPort("1.1.1.1:25")
	for _, row := range []struct {
		name      string
		got, want Decision
	}{
		{"exec", c.Exec("/bin/ls", Digest{1}), allowed(NoRule)},
		{"exec denied by digest", c.Exec("/bin/ls", digest), refused(0, EACCES)},
		{"exec denied by both", c.Exec("/bin/su", digest), refused(0, EACCES)},
		{"exec of bytes unknown", c.Exec("/bin/ls", Digest{}), refused(0, EACCES)},
		{"bit that is not denied", c.File("/etc/shadow", Attr), allowed(NoRule)},
		{"bit that is denied among others", c.File("/etc/shadow", Attr|Read), refused(0+2, EACCES)},
		{"other file", c.File("/etc/passwd", Read), allowed(NoRule)},
		{"name denied", c.Net(Connect, TCP, at, "a.ads.org"), refused(4, EACCES)},
		{"port denied", c.Net(Connect, TCP, at, "x.org"), refused(5, EACCES)},
		{"name not known", c.Net(Connect, TCP, at, ""), allowed(NoRule)},
		{"lookup denied", c.NameLookup("a.ads.org"), refused(4, EACCES)},
		{"lookup, port denied", c.NameLookup("x.org"), allowed(NoRule)},
		{"unix", c.Unix(Connect, "/x"), allowed(NoRule)},
		{"ptrace", c.Ptrace(), Decision{Unjudged, NoRule, 0}},
		{"capability", c.Capability(1), Decision{Unjudged, NoRule, 0}},
	} {
		expect(t, row.name, row.got, row.want)
	}
	for list, want := range map[string]Decision{ // each by itself: the order cannot show
		"all": allowed(0), "none": refused(0, EPERM),
	} {
		c := mustCompile(t, Policy{Mode: "enforce", Capabilities: []string{list}})
		expect(t, list, c.Capability(21), want)
	}
}

// slowly decides by the text of the rules, one after the other. spoken gives the bits of the act
// that a rule speaks of, 0 where it does not match.
func slowly(c *Compiled, want Access, rules int, spoken func(i int) (Access, bool)) Decision {
	first, left, allow := uint16(NoRule), want, uint16(NoRule)
	for i := range rules {
		bits, deny := spoken(i)
		switch {
		case bits&want == 0:
		case deny:
			first = min(first, uint16(i))
		default:
			left &^= bits
			allow = min(allow, uint16(i))
		}
	}
	switch {
	case first != NoRule:
		return Decision{Refused, first, EACCES}
	case left != 0:
		return Decision{Refused, NoRule, EACCES}
	}
	return Decision{Allowed, allow, 0}
}

func TestFileAsTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, err := Compile(genPolicy(t))
		if err != nil {
			return
		}
		p := c.Policy()
		path := genPath(t, "path")
		if len(p.Files) > 0 {
			path = genPathOf(t, p.Files[0].Allow+p.Files[0].Deny)
		}
		want := Access(rapid.Uint16Range(1, uint16(allAccess)).Draw(t, "want"))
		slow := slowly(c, want, len(p.Files), func(i int) (Access, bool) {
			r := p.Files[i]
			if !matchSlowly(r.Allow+r.Deny, path, true) {
				return 0, false
			}
			if len(r.Access) == 0 {
				return allAccess, r.Deny != ""
			}
			var bits Access
			for bit, word := range accesses {
				if slices.Contains(r.Access, word) {
					bits |= 1 << bit
				}
			}
			return bits, r.Deny != ""
		})
		got := c.File(path, want)
		if got.Rule != NoRule {
			got.Rule -= uint16(len(p.Exec))
		}
		if got != slow {
			t.Fatalf("%s %q: %+v, want %+v by %s", want, path, got, slow, c.Canonical())
		}
	})
}

func TestNetAsTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, err := Compile(genPolicy(t))
		if err != nil {
			return
		}
		p := c.Policy()
		addr := netip.MustParseAddr(rapid.SampledFrom([]string{"10.1.1.1", "10.2.0.0", "11.0.0.1",
			"::1", "::2", "::ffff:10.1.1.1"}).Draw(t, "addr"))
		port := rapid.SampledFrom([]uint16{0, 1, 443, 1000, 1001}).Draw(t, "port")
		proto := rapid.SampledFrom([]Proto{TCP, UDP, RawIP}).Draw(t, "proto")
		name := rapid.SampledFrom([]string{"", "x.org", "a.x.org", "b.a.x.org", "o.X.org."}).
			Draw(t, "name")
		act := NetAct(rapid.Uint16Range(1, 7).Draw(t, "act"))
		first := uint16(len(p.Exec) + len(p.Files))
		slow := slowly(c, Access(act), len(p.Network), func(i int) (Access, bool) {
			return spokenSlowly(p.Network[i], proto, netip.AddrPortFrom(addr, port), name)
		})
		got := c.Net(act, proto, netip.AddrPortFrom(addr, port), name)
		if got.Rule != NoRule {
			got.Rule -= first
		}
		if got != slow {
			t.Fatalf("%s %s %s %s: %+v, want %+v by %s", act, proto, addr, name, got, slow,
				c.Canonical())
		}
	})
}

func spokenSlowly(r NetRule, proto Proto, to netip.AddrPort, name string) (Access, bool) {
	text, deny := r.Allow+r.Deny, r.Deny != ""
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	prefix, err := netip.ParsePrefix(text)
	if addr, single := netip.ParseAddr(text); single == nil {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	suffix, isSuffix := strings.CutPrefix(text, "*")
	switch {
	case err == nil && prefix.Contains(to.Addr().Unmap()):
	case isSuffix && strings.HasSuffix(name, suffix), name != "" && name == text:
	default:
		return 0, deny
	}
	if r.Protocol != "" && r.Protocol != proto.String() {
		return 0, deny
	}
	inPorts := len(r.Ports) == 0
	for _, text := range r.Ports {
		low, high, isRange := strings.Cut(text, "-")
		if !isRange {
			high = low
		}
		l, _ := strconv.Atoi(low)
		h, _ := strconv.Atoi(high)
		inPorts = inPorts || l <= int(to.Port()) && int(to.Port()) <= h
	}
	if !inPorts {
		return 0, deny
	}
	var bits Access
	for bit, word := range netActs {
		if len(r.Act) == 0 || slices.Contains(r.Act, word) {
			bits |= 1 << bit
		}
	}
	return bits, deny
}

// Deciding does not allocate: it is in the path of every judged call.
func TestDecidingAllocatesNothing(t *testing.T) {
	c := mustCompile(t, fullPolicy())
	to, digest := netip.MustParseAddrPort("10.1.1.1:443"), Digest{1}
	if n := testing.AllocsPerRun(100, func() {
		c.Exec("/usr/bin/ls", digest)
		c.File("/srv/a/b/c", Read)
		c.Net(Connect, TCP, to, "api.example.com")
		c.Unix(Connect, "/run/x.sock")
		c.NameLookup("api.example.com")
		c.Capability(1)
		c.Clone(1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
