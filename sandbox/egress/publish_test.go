package egress_test

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/egress"
	"surety/sys/wallclock"
)

func TestPublishRefused(t *testing.T) {
	w := newWire(t, nil)
	any := netip.MustParseAddrPort("127.0.0.1:0")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	takenUDP, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer takenUDP.Close()
	for _, row := range []struct {
		name   string
		proto  sandbox.Proto
		host   netip.AddrPort
		inside uint16
		kind   errs.Kind
		text   string
	}{
		{"a protocol", sandbox.RawIP, any, 80, errs.Invalid, "protocol 255"},
		{"no port inside", sandbox.TCP, any, 0, errs.Invalid, "port 0 inside"},
		{"taken", sandbox.TCP, addrPort(taken.Addr()), 80, errs.Locked, "tcp port " + port(taken.Addr())},
		{"taken UDP", sandbox.UDP, addrPort(takenUDP.LocalAddr()), 80, errs.Locked,
			"udp port " + port(takenUDP.LocalAddr())},
		{"not ours", sandbox.TCP, netip.MustParseAddrPort("192.0.2.1:8080"), 80, errs.Invalid,
			"tcp port 8080 at 192.0.2.1"},
	} {
		_, err := w.gateway.Publish(row.proto, row.host, row.inside)
		if !errs.Is(err, row.kind) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	for i := range 129 {
		_, err := w.gateway.Publish(sandbox.UDP, any, 80)
		if i < 128 && err != nil || i == 128 && !errs.Is(err, errs.TooLarge) {
			t.Fatalf("port %d: %v", i, err)
		}
	}
	w.gateway.Close()
	if _, err := w.gateway.Publish(sandbox.TCP, any, 80); err == nil {
		t.Error("published on a closed gateway")
	}
}

func addrPort(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

func port(a net.Addr) string { return strconv.Itoa(int(addrPort(a).Port())) }

func TestOpenRefused(t *testing.T) {
	ns, err := egress.NewNamespace(egress.Wire{})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	good := egress.Config{Link: ns.Link(), Clock: wallclock.System()}
	for name, spoil := range map[string]func(*egress.Config){
		"link":                func(c *egress.Config) { c.Link = nil },
		"clock":               func(c *egress.Config) { c.Clock = nil },
		"IPv4 addresses":      func(c *egress.Config) { c.Addresses.Gateway4 = netip.IPv6Loopback() },
		"limits.connections":  func(c *egress.Config) { c.Limits.Connections = 1025 },
		"limits.sessions":     func(c *egress.Config) { c.Limits.Sessions = -1 },
		"limits.session_idle": func(c *egress.Config) { c.Limits.SessionIdle = -1 },
		"limits.dial":         func(c *egress.Config) { c.Limits.Dial = 1 << 60 },
		`static name "Upper"`: func(c *egress.Config) { c.Hosts = map[string][]netip.Addr{"Upper": nil} },
		`static name "a..b"`:  func(c *egress.Config) { c.Hosts = map[string][]netip.Addr{"a..b": nil} },
		`static name "zero"`:  func(c *egress.Config) { c.Hosts = map[string][]netip.Addr{"zero": {{}}} },
	} {
		c := good
		spoil(&c)
		if _, err := egress.Open(c); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
