package egress_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"surety/base/clock"
	"surety/sandbox"
	"surety/sandbox/egress"
)

// stub is an upstream name server with a table of answers.
type stub struct {
	addresses map[string][]string // by name; an absent one does not exist
	ttl       uint32
	truncate  bool // in datagrams
	code      dnsmessage.RCode
	silent    bool

	mu    sync.Mutex
	asked []string
}

// start serves datagrams and streams at one port.
func (s *stub) start(t testing.TB) netip.AddrPort {
	t.Helper()
	var at net.Addr
	var l net.Listener
	eventually(t, "a port free for both", func() (ok bool) {
		at = servePackets(t, func(q []byte) []byte { return s.answer(q, s.truncate) })
		var err error
		l, err = net.Listen("tcp", at.String())
		return err == nil
	})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if reply := s.answer(readFramed(conn), false); reply != nil {
				conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
			}
			conn.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		done.Wait()
	})
	return addrPort(at)
}

func readFramed(conn io.Reader) []byte {
	var length [2]byte
	io.ReadFull(conn, length[:])
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	io.ReadFull(conn, message)
	return message
}

// answer makes the answer: an alias first, as the world's servers do.
func (s *stub) answer(query []byte, truncate bool) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 || s.silent {
		return nil
	}
	q := m.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	s.mu.Lock()
	s.asked = append(s.asked, name)
	s.mu.Unlock()
	reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RCode: s.code,
		Truncated: truncate}, Questions: m.Questions}
	texts, known := s.addresses[name]
	if !known && s.code == 0 {
		reply.RCode = dnsmessage.RCodeNameError
	}
	alias := dnsmessage.MustNewName("edge.cdn.example.")
	head := dnsmessage.ResourceHeader{Class: dnsmessage.ClassINET, TTL: s.ttl}
	if len(texts) > 0 {
		head.Name, head.Type = q.Name, dnsmessage.TypeCNAME
		reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: head,
			Body: &dnsmessage.CNAMEResource{CNAME: alias}})
	}
	for _, text := range texts {
		addr := netip.MustParseAddr(text)
		head.Name = alias
		var body dnsmessage.ResourceBody = &dnsmessage.AResource{}
		if addr.Is4() {
			body = &dnsmessage.AResource{A: addr.As4()}
		} else {
			body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
		}
		if head.Type = dnsmessage.TypeA; addr.Is6() {
			head.Type = dnsmessage.TypeAAAA
		}
		if head.Type == q.Type && !truncate {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: head, Body: body})
		}
	}
	packed, err := reply.Pack()
	if err != nil {
		panic(err)
	}
	return packed
}

// ask sends one question to the gateway and returns the whole answer.
func (w *wire) ask(network, name string, kind dnsmessage.Type) dnsmessage.Message {
	w.t.Helper()
	query := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind,
			Class: dnsmessage.ClassINET}}}
	packed, err := query.Pack()
	if err != nil {
		w.t.Fatal(err)
	}
	conn := w.mustDial(network, "10.90.0.1:53")
	var reply []byte
	if network == "tcp" {
		conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
		reply = readFramed(conn)
	} else {
		conn.Write(packed)
		buf := make([]byte, 65535)
		n, err := conn.Read(buf)
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		if n > 512 {
			w.t.Errorf("%d bytes to one who takes 512", n)
		}
		reply = buf[:n]
	}
	var m dnsmessage.Message
	if err := m.Unpack(reply); err != nil {
		w.t.Fatal(err)
	}
	if m.ID != 7 || !m.Response || !m.RecursionAvailable {
		w.t.Fatalf("answer %+v", m.Header)
	}
	return m
}

func addresses(m dnsmessage.Message) []string {
	var all []string
	for _, r := range m.Answers {
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			all = append(all, netip.AddrFrom4(body.A).String())
		case *dnsmessage.AAAAResource:
			all = append(all, netip.AddrFrom16(body.AAAA).String())
		}
	}
	return all
}

// noted is what the gateway told of names.
type noted struct {
	mu    sync.Mutex
	until map[string]clock.Instant // by "address name"
	fail  error
}

func (n *noted) set(addr netip.Addr, name string, until clock.Instant) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail != nil {
		return n.fail
	}
	if n.until == nil {
		n.until = map[string]clock.Instant{}
	}
	n.until[addr.String()+" "+name] = until
	return nil
}

func TestResolver(t *testing.T) {
	up := &stub{ttl: 5, addresses: map[string][]string{
		"api.example.com": {"192.0.2.10", "192.0.2.11", "2001:db8::10"},
		"inward.example.com": {"127.0.0.1", "169.254.169.254", "10.90.0.254", "10.90.0.1", "::1",
			"192.0.2.12"},
		"empty.example.com": {},
		"other.example.org": {"192.0.2.13"},
	}}
	server := up.start(t)
	var names noted
	w := newWire(t, func(c *egress.Config) {
		c.Servers = []netip.AddrPort{server}
		c.Names = names.set
		c.Hosts = map[string][]netip.Addr{"db.internal": {netip.MustParseAddr("10.1.2.3")}}
		c.Policy = withPolicy(t, sandbox.NetRule{Allow: "*.example.com", Ports: []string{"443"}},
			sandbox.NetRule{Allow: "db.internal"}, sandbox.NetRule{Allow: "10.90.0.254"},
			sandbox.NetRule{Deny: "secret.example.com"})
	})
	const ok, none, refused = dnsmessage.RCodeSuccess, dnsmessage.RCodeNameError, dnsmessage.RCodeRefused
	for _, row := range []struct {
		name    string
		kind    dnsmessage.Type
		code    dnsmessage.RCode
		answers []string
		text    string // of the record
	}{
		{"api.example.com.", dnsmessage.TypeA, ok, []string{"192.0.2.10", "192.0.2.11"},
			"A: 192.0.2.10 192.0.2.11"},
		{"API.Example.COM.", dnsmessage.TypeAAAA, ok, []string{"2001:db8::10"}, "AAAA: 2001:db8::10"},
		{"api.example.com.", dnsmessage.TypeMX, ok, nil, "MX: Success"},
		{"inward.example.com.", dnsmessage.TypeA, ok, []string{"192.0.2.12"}, "A: 192.0.2.12"},
		{"inward.example.com.", dnsmessage.TypeAAAA, ok, nil, "AAAA: Success"},
		{"empty.example.com.", dnsmessage.TypeA, ok, nil, "A: Success"},
		{"absent.example.com.", dnsmessage.TypeA, none, nil, "A: NameError"},
		{"secret.example.com.", dnsmessage.TypeA, refused, nil, "A: refused"},
		{"other.example.org.", dnsmessage.TypeA, refused, nil, "A: refused"},
		{"bad name.example.com.", dnsmessage.TypeA, refused, nil, "A: refused"},
		{"db.internal.", dnsmessage.TypeA, ok, []string{"10.1.2.3"}, "A: 10.1.2.3"},
		{"db.internal.", dnsmessage.TypeAAAA, ok, nil, "AAAA: Success"},
		{"db.internal.", dnsmessage.TypeTXT, ok, nil, "TXT: Success"},
		{"host.surety.internal.", dnsmessage.TypeA, ok, []string{"10.90.0.254"}, "A: 10.90.0.254"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := w.ask(network, row.name, row.kind)
			if m.RCode != row.code || !slices.Equal(addresses(m), row.answers) {
				t.Errorf("%s %s %s: %s %v", network, row.name, row.kind, m.RCode, addresses(m))
			}
			records := w.taken()
			r := records[len(records)-1]
			if r.Kind != sandbox.KindName || !r.Outside || r.Text != row.text ||
				r.Path != strings.ToLower(strings.TrimSuffix(row.name, ".")) ||
				(r.Verdict == sandbox.Refused) != (row.code == refused) {
				t.Errorf("%s: record %+v", row.name, r)
			}
		}
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	for _, name := range up.asked {
		if strings.Contains(name, "secret") || strings.Contains(name, "other") {
			t.Errorf("asked upstream for %s", name)
		}
	}
	names.mu.Lock()
	defer names.mu.Unlock()
	if len(names.until) != 7 {
		t.Errorf("noted %v", names.until)
	}
	if host := names.until["10.90.0.254 host.surety.internal"]; host < names.until["10.1.2.3 db.internal"] {
		t.Errorf("the host's name lapses at %d", host)
	}
	for key := range names.until {
		if strings.Contains(key, "127.0.0.1") || strings.Contains(key, "169.254") {
			t.Errorf("noted %s", key)
		}
	}
}

// TestNameRule connects to an address that is allowed by the name it was given for, and not before.
func TestNameRule(t *testing.T) {
	up := &stub{addresses: map[string][]string{"api.example.com": {"192.0.2.10"}}}
	server := up.start(t)
	at := serve(t, echo)
	w := newWire(t, func(c *egress.Config) {
		c.Servers = []netip.AddrPort{server}
		c.Policy = withPolicy(t, sandbox.NetRule{Allow: "api.example.com", Ports: []string{"443"}})
		c.Dial = toOne(server, at)
	})
	if _, err := w.dial("tcp", "192.0.2.10:443"); err == nil {
		t.Fatal("connected before the name was known")
	}
	w.ask("udp", "api.example.com.", dnsmessage.TypeA)
	conn := w.mustDial("tcp", "192.0.2.10:443")
	conn.Write([]byte("x"))
	conn.(*net.TCPConn).CloseWrite()
	if got := readAll(t, conn); got != "x" {
		t.Fatalf("got %q", got)
	}
	if _, err := w.dial("tcp", "192.0.2.10:80"); err == nil {
		t.Fatal("connected to another port")
	}
	records := w.taken()
	if r := records[len(records)-1]; r.Path != "api.example.com" {
		t.Errorf("record %+v", r)
	}
}

func TestResolverFails(t *testing.T) {
	good := &stub{addresses: map[string][]string{"a.example.com": {"192.0.2.1"}}}
	for _, row := range []struct {
		name   string
		first  *stub
		fail   error
		code   dnsmessage.RCode
		answer []string
	}{
		{"a server that fails", &stub{code: dnsmessage.RCodeServerFailure}, nil, 0, []string{"192.0.2.1"}},
		{"a server that is silent", &stub{silent: true}, nil, 0, []string{"192.0.2.1"}},
		{"an answer that is cut", &stub{truncate: true, addresses: map[string][]string{
			"a.example.com": {"192.0.2.2"}}}, nil, 0, []string{"192.0.2.2"}},
		{"a name that is not noted", good, errors.New("full"), dnsmessage.RCodeServerFailure, nil},
	} {
		names := noted{fail: row.fail}
		first, second := row.first.start(t), good.start(t)
		w := newWire(t, func(c *egress.Config) {
			c.Names = names.set
			c.Servers = []netip.AddrPort{first, second}
		})
		m := w.ask("udp", "a.example.com.", dnsmessage.TypeA)
		if m.RCode != row.code || !slices.Equal(addresses(m), row.answer) {
			t.Errorf("%s: %s %v", row.name, m.RCode, addresses(m))
		}
	}
	w := newWire(t, nil) // its server is a port on which nobody listens
	if m := w.ask("udp", "a.example.com.", dnsmessage.TypeA); m.RCode != dnsmessage.RCodeServerFailure {
		t.Errorf("no server: %s", m.RCode)
	}
}

// TestResolverCuts answers with more addresses than a datagram takes.
func TestResolverCuts(t *testing.T) {
	up := &stub{addresses: map[string][]string{}}
	for i := range 60 {
		up.addresses["many.example.com"] = append(up.addresses["many.example.com"],
			fmt.Sprintf("192.0.2.%d", i))
	}
	server := up.start(t)
	w := newWire(t, func(c *egress.Config) { c.Servers = []netip.AddrPort{server} })
	if m := w.ask("udp", "many.example.com.", dnsmessage.TypeA); !m.Truncated || len(m.Answers) == 0 {
		t.Errorf("%d answers, truncated %t", len(m.Answers), m.Truncated)
	}
	if m := w.ask("tcp", "many.example.com.", dnsmessage.TypeA); m.Truncated || len(m.Answers) != 60 {
		t.Errorf("%d answers, truncated %t", len(m.Answers), m.Truncated)
	}
}
