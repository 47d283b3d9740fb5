package egress

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"surety/base/clock"
)

func TestHostServers(t *testing.T) {
	for _, row := range []struct {
		text string
		want string
	}{
		{"", "[127.0.0.1:53]"},
		{"# nameserver 192.0.2.1\nsearch example.com\n", "[127.0.0.1:53]"},
		{"nameserver 192.0.2.1\nnameserver\t2001:db8::1\noptions edns0\n",
			"[192.0.2.1:53 [2001:db8::1]:53]"},
		{"nameserver not-an-address\nnameserver ::ffff:192.0.2.2", "[192.0.2.2:53]"},
	} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, server := range hostServers(path) {
			texts = append(texts, server.String())
		}
		if got := "[" + strings.Join(texts, " ") + "]"; got != row.want {
			t.Errorf("%q: %s, want %s", row.text, got, row.want)
		}
	}
	if got := hostServers(filepath.Join(t.TempDir(), "absent")); len(got) != 1 {
		t.Errorf("no file: %v", got)
	}
}

func TestNameTable(t *testing.T) {
	var table nameTable
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}) }
	for i := range maxNames + 1 { // the first, which lapses first, makes room
		table.set(addr(i), "n", clock.Instant(10+i))
	}
	if table.of(addr(0), 1) != "" || table.of(addr(1), 1) != "n" || len(table.names) != maxNames {
		t.Errorf("%d names", len(table.names))
	}
	if table.of(addr(1), 11) != "" || table.of(addr(maxNames), 11) != "n" {
		t.Error("a name does not lapse at its instant")
	}
	table.set(addr(2), "m", 100)
	if table.of(addr(2), 99) != "m" {
		t.Error("the last name does not stand")
	}
}

func TestPlainName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, want := range map[string]bool{"a": true, "a.b-c._d.9": true, long: true, "": false,
		".": false, "a..b": false, ".a": false, "a.": false, "A": false, "a b": false, "a\x00": false,
		long + "a": false, strings.Repeat("aa.", 84) + "aa": false} {
		if plainName(name) != want {
			t.Errorf("%q", name)
		}
	}
}

func TestLifetime(t *testing.T) {
	for ttl, want := range map[uint32]clock.Duration{0: nameFloor, 59: nameFloor,
		61: 61 * clock.Second, 1 << 31: nameCap} {
		if got := lifetime(ttl); got != want+nameGrace {
			t.Errorf("ttl %d: %d", ttl, got)
		}
	}
}

// TestBlocks sorts the special addresses of RFC 6890 as a gateway sees them.
func TestBlocks(t *testing.T) {
	own := DefaultAddresses()
	for text, want := range map[string]block{
		"8.8.8.8": blockOpen, "10.1.2.3": blockOpen, "192.168.0.1": blockOpen, "2001:db8::1": blockOpen,
		"fd00::1": blockOpen, "10.90.0.4": blockOpen, "10.90.0.253": blockOpen,
		"10.90.0.254": blockHost, "fd5e:7e7e:90::fe": blockHost,
		"169.254.0.1": blockLinkLocal, "169.254.169.254": blockLinkLocal, "fe80::1": blockLinkLocal,
		"0.0.0.0": blockNever, "0.1.2.3": blockNever, "127.0.0.1": blockNever, "127.9.9.9": blockNever,
		"224.0.0.1": blockNever, "239.1.1.1": blockNever, "240.0.0.1": blockNever,
		"255.255.255.255": blockNever, "10.90.0.0": blockNever, "10.90.0.1": blockNever,
		"10.90.0.2": blockNever, "10.90.0.3": blockNever, "::": blockNever, "::1": blockNever,
		"ff02::1": blockNever, "fd5e:7e7e:90::1": blockNever, "fd5e:7e7e:90::2": blockNever,
	} {
		if got := own.blockOf(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

// TestBuffersAreBounded opens every connection there may be: the buffers promised stay in bounds.
func TestBuffersAreBounded(t *testing.T) {
	s := slots{connections: maxConnections}
	first, _ := s.connect()
	for range maxConnections - 1 {
		if size, ok := s.connect(); !ok || size < minBuffer || size > first {
			t.Fatalf("%d bytes", size)
		}
	}
	if _, ok := s.connect(); ok || first != maxBuffer {
		t.Errorf("beyond the limit: %t; the first had %d bytes", ok, first)
	}
	if most := bufferBudget + 2*minBuffer*maxConnections; s.buffered > most {
		t.Errorf("%d bytes promised, more than %d", s.buffered, most)
	}
}

func asked(name string, kind dnsmessage.Type) dnsmessage.Question {
	return dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind,
		Class: dnsmessage.ClassINET}
}

// FuzzQuestion reads questions from code we do not trust: what is read is answered within its limit,
// and the answer can be read.
func FuzzQuestion(f *testing.F) {
	query, err := encodeQuery(7, asked("a.example.com.", dnsmessage.TypeAAAA))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(query[2:])
	f.Add([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		q, code, ok := parseQuestion(data)
		if !ok {
			return
		}
		a := answer{code: code}
		for i := range maxAnswers {
			a.addresses = append(a.addresses, address{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 60})
		}
		message := a.encode(q, q.limit)
		if len(message) == 0 || len(message) > q.limit {
			t.Fatalf("%d bytes, the limit is %d", len(message), q.limit)
		}
		var m dnsmessage.Message
		if err := m.Unpack(message); err != nil || m.ID != q.id || !m.Response {
			t.Fatalf("%+v: %v", m.Header, err)
		}
	})
}

// FuzzAnswer reads answers from the network: an address comes only from a record of the type asked.
func FuzzAnswer(f *testing.F) {
	q := question{id: 7, asked: asked("a.example.com.", dnsmessage.TypeA), extend: true}
	whole := answer{addresses: []address{{netip.MustParseAddr("192.0.2.1"), 60}}}.encode(q, messageBytes)
	a, cut, err := parseAnswer(whole, 7, q.asked)
	if err != nil || cut || !slices.Equal(a.addresses,
		[]address{{netip.MustParseAddr("192.0.2.1"), 60}}) {
		f.Fatalf("%+v %t %v", a, cut, err)
	}
	if _, _, err := parseAnswer(whole, 8, q.asked); err == nil {
		f.Fatal("took an answer with another number")
	}
	if _, _, err := parseAnswer(whole, 7, asked("b.example.com.", dnsmessage.TypeA)); err == nil {
		f.Fatal("took an answer to another question")
	}
	f.Add(whole, true)
	f.Add(whole[:20], false)
	f.Fuzz(func(t *testing.T, data []byte, four bool) {
		kind := dnsmessage.TypeAAAA
		if four {
			kind = dnsmessage.TypeA
		}
		a, _, err := parseAnswer(data, 7, asked("a.example.com.", kind))
		if len(a.addresses) > maxAnswers || err != nil && len(a.addresses) > 0 {
			t.Fatalf("%d addresses, %v", len(a.addresses), err)
		}
		for _, one := range a.addresses {
			if one.addr.Is4() != four || one.addr.Is4In6() {
				t.Fatalf("%s in an answer of type %s", one.addr, kind)
			}
		}
	})
}
