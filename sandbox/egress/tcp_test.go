package egress_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"surety/base/clock"
	"surety/sandbox"
	"surety/sandbox/egress"
)

func TestTCPHalfClose(t *testing.T) {
	w := newWire(t, allowHost(t))
	at := serve(t, func(c *net.TCPConn) { // answers only after the other half has ended
		data, _ := io.ReadAll(c)
		c.Write(append([]byte("got "), data...))
	})
	conn := w.mustDial("tcp", hostAlias(at))
	conn.Write([]byte("all of it"))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, conn); got != "got all of it" {
		t.Fatalf("got %q", got)
	}
}

func TestTCPHostClosesFirst(t *testing.T) {
	w := newWire(t, allowHost(t))
	got := make(chan string, 1)
	at := serve(t, func(c *net.TCPConn) { // ends its half, and still listens
		c.Write([]byte("hello"))
		c.CloseWrite()
		data, _ := io.ReadAll(c)
		got <- string(data)
	})
	conn := w.mustDial("tcp", hostAlias(at))
	if hello := readAll(t, conn); hello != "hello" {
		t.Fatalf("got %q", hello)
	}
	conn.Write([]byte("late"))
	conn.Close()
	if late := <-got; late != "late" {
		t.Fatalf("the host got %q", late)
	}
}

// TestTCPBulk sends random bytes both ways at once, larger than every buffer.
func TestTCPBulk(t *testing.T) {
	for _, row := range []struct {
		mtu int
		to  string
	}{{1280, "192.0.2.7:80"}, {1500, "192.0.2.7:80"}, {65521, "192.0.2.7:80"},
		{1280, "[2001:db8::7]:80"}, {1500, "[2001:db8::7]:80"}, {65521, "[2001:db8::7]:80"}} {
		at := serve(t, echo)
		w := newWireMTU(t, row.mtu, func(c *egress.Config) { c.Dial = toOne(netip.AddrPort{}, at) })
		conn := w.mustDial("tcp", row.to)
		source := rand.NewChaCha8([32]byte{byte(row.mtu)})
		sent := sha256.New()
		const size = 8 << 20
		go func() {
			io.CopyN(io.MultiWriter(conn, sent), source, size)
			conn.(*net.TCPConn).CloseWrite()
		}()
		received := sha256.New()
		n, err := io.Copy(received, conn)
		if err != nil || n != size || !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
			t.Fatalf("mtu %d to %s: %d bytes came back, %v", row.mtu, row.to, n, err)
		}
		counts := w.gateway.Counts()
		if counts.BytesOut != size || counts.BytesIn != size || counts.Connections > 1 {
			t.Fatalf("counts %+v", counts)
		}
	}
}

func TestTCPRefusedByHost(t *testing.T) {
	w := newWire(t, allowHost(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := w.dial("tcp", hostAlias(l.Addr())); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("nothing listens: %v", err)
	}
	if len(w.taken()) != 0 {
		t.Fatalf("a refusal of the network is none of the policy: %+v", w.taken()[0])
	}
}

// TestTCPDialPatience has the host hang: the sandbox is told when patience ends.
func TestTCPDialPatience(t *testing.T) {
	w := newWire(t, func(c *egress.Config) {
		c.Limits.Dial = 50 * clock.Millisecond
		c.Dial = func(ctx context.Context, _ string, _ netip.AddrPort) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	if _, err := w.dial("tcp", "192.0.2.1:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("a host that hangs: %v", err)
	}
}

func TestTCPResetFromHost(t *testing.T) {
	w := newWire(t, allowHost(t))
	at := serve(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		c.SetLinger(0)
	})
	conn := w.mustDial("tcp", hostAlias(at))
	conn.Write([]byte("x"))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("a reset of the host: %v", err)
	}
}

func TestTCPResetFromSandbox(t *testing.T) {
	w := newWire(t, allowHost(t))
	got := make(chan error, 1)
	at := serve(t, func(c *net.TCPConn) {
		c.Write([]byte("x"))
		_, err := c.Read(make([]byte, 1))
		got <- err
	})
	conn := w.mustDial("tcp", hostAlias(at))
	conn.Read(make([]byte, 1))
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("a reset of the sandbox: %v", err)
	}
}

func TestTCPCloseOfGateway(t *testing.T) {
	w := newWire(t, allowHost(t))
	got := make(chan error, 1)
	at := serve(t, func(c *net.TCPConn) {
		c.Write([]byte("x"))
		_, err := c.Read(make([]byte, 1))
		got <- err
	})
	conn := w.mustDial("tcp", hostAlias(at))
	conn.Read(make([]byte, 1))
	if err := w.gateway.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the host after the gateway closed: %v", err)
	}
}

// TestDestinations tries where the gateway leads, under policies from none to many. Every refusal is
// a reset, at once, and a record that says why.
func TestDestinations(t *testing.T) {
	allow := func(rules ...sandbox.NetRule) *sandbox.Compiled { return withPolicy(t, rules...) }
	host, everywhere := sandbox.NetRule{Allow: egress.HostName}, sandbox.NetRule{Allow: "0.0.0.0/0"}
	for _, row := range []struct {
		name   string
		policy *sandbox.Compiled
		to     string
		dialed string // "" when refused
		why    string
		rule   uint16
	}{
		{"no policy", nil, "192.0.2.7:80", "192.0.2.7:80", "", 0},
		{"no policy, IPv6", nil, "[2001:db8::7]:80", "[2001:db8::7]:80", "", 0},
		{"no policy, host", nil, "10.90.0.254:80", "", "loopback", sandbox.NoRule},
		{"no policy, host, IPv6", nil, "[fd5e:7e7e:90::fe]:80", "", "loopback", sandbox.NoRule},
		{"no policy, metadata", nil, "169.254.169.254:80", "", "link-local", sandbox.NoRule},
		{"no policy, gateway", nil, "10.90.0.1:80", "", "nowhere", sandbox.NoRule},
		{"no policy, wire", nil, "10.90.0.3:80", "", "", sandbox.NoRule},
		{"no policy, class E", nil, "240.0.0.1:80", "", "nowhere", sandbox.NoRule},
		{"default", allow(host), "192.0.2.7:80", "", "policy", sandbox.NoRule},
		{"a rule", allow(sandbox.NetRule{Allow: "192.0.2.0/24", Ports: []string{"80"}}),
			"192.0.2.7:80", "192.0.2.7:80", "", 0},
		{"a rule, another port", allow(sandbox.NetRule{Allow: "192.0.2.0/24", Ports: []string{"80"}}),
			"192.0.2.7:81", "", "policy", sandbox.NoRule},
		{"a deny", allow(everywhere, sandbox.NetRule{Deny: "192.0.2.7"}), "192.0.2.7:80", "", "policy", 2},
		{"host by name", allow(host), "10.90.0.254:80", "127.0.0.1:80", "", 0},
		{"host by name, IPv6", allow(host), "[fd5e:7e7e:90::fe]:80", "[::1]:80", "", 0},
		{"host by alias", allow(sandbox.NetRule{Allow: "10.90.0.254"}), "10.90.0.254:80", "127.0.0.1:80",
			"", 0},
		{"host by all", allow(everywhere), "10.90.0.254:80", "", "loopback", sandbox.NoRule},
		{"host on one port", allow(everywhere, sandbox.NetRule{Allow: egress.HostName,
			Ports: []string{"443"}}), "10.90.0.254:80", "", "loopback", sandbox.NoRule},
		{"host named and denied", allow(host, sandbox.NetRule{Deny: "10.90.0.0/24"}),
			"10.90.0.254:80", "", "policy", 2},
		{"metadata by all", allow(everywhere), "169.254.169.254:80", "", "link-local", sandbox.NoRule},
		{"metadata by name", allow(everywhere, sandbox.NetRule{Allow: "169.254.169.254",
			Ports: []string{"80"}}), "169.254.169.254:80", "169.254.169.254:80", "", 0},
		{"metadata, another", allow(everywhere, sandbox.NetRule{Allow: "169.254.169.254"}),
			"169.254.169.253:80", "", "link-local", sandbox.NoRule},
	} {
		t.Run(row.name, func(t *testing.T) {
			var dialed atomic.Value
			w := newWire(t, func(c *egress.Config) {
				c.Policy = row.policy
				c.Dial = func(_ context.Context, network string, to netip.AddrPort) (net.Conn, error) {
					dialed.Store(to.String())
					return nil, syscall.ECONNREFUSED
				}
			})
			began := time.Now()
			if _, err := w.dial("tcp", row.to); err == nil {
				t.Fatal("connected")
			} else if !errors.Is(err, syscall.ECONNREFUSED) && row.name != "no policy, wire" {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
			got, _ := dialed.Load().(string)
			if got != row.dialed {
				t.Fatalf("dialed %q, want %q", got, row.dialed)
			}
			if row.why == "" {
				return
			}
			records := w.taken()
			if len(records) != 1 {
				t.Fatalf("%d records", len(records))
			}
			r := records[0]
			if r.Kind != sandbox.KindConnect || r.Verdict != sandbox.Refused || !r.Outside ||
				r.Addr.String() != row.to || r.Proto != sandbox.TCP || r.Errno != sandbox.EACCES ||
				!strings.Contains(r.Text, row.why) || row.rule == sandbox.NoRule && r.Rule != row.rule ||
				row.rule != sandbox.NoRule && r.Rule == sandbox.NoRule {
				t.Fatalf("record %+v", r)
			}
		})
	}
}

// TestObserve lets through what an observing policy would refuse, but not to the host's loopback.
func TestObserve(t *testing.T) {
	compiled, err := sandbox.Compile(sandbox.Policy{Version: "v1", Mode: "observe", Default: "deny"})
	if err != nil {
		t.Fatal(err)
	}
	var dialed atomic.Int64
	w := newWire(t, func(c *egress.Config) {
		c.Policy = compiled
		c.Dial = func(context.Context, string, netip.AddrPort) (net.Conn, error) {
			dialed.Add(1)
			return nil, syscall.ECONNREFUSED
		}
	})
	w.dial("tcp", "192.0.2.1:80")
	w.dial("tcp", "10.90.0.254:80")
	if dialed.Load() != 1 {
		t.Fatalf("%d dialed, want 1", dialed.Load())
	}
}

// TestConnectionLimit floods a gateway: those above the limit are reset, and with a record.
func TestConnectionLimit(t *testing.T) {
	const limit, flood = 8, 40
	w := newWire(t, func(c *egress.Config) {
		allowHost(t)(c)
		c.Limits.Connections = limit
	})
	at := serve(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	var all sync.WaitGroup
	var made, refused atomic.Int64
	for range flood {
		all.Go(func() {
			conn, err := w.dial("tcp", hostAlias(at))
			switch {
			case err == nil:
				made.Add(1)
				t.Cleanup(func() { conn.Close() })
			case errors.Is(err, syscall.ECONNREFUSED):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made.Load() != limit || refused.Load() != flood-limit {
		t.Fatalf("%d made, %d refused", made.Load(), refused.Load())
	}
	records := w.taken()
	if len(records) != flood-limit || !strings.Contains(records[0].Text, "8 connections are open") {
		t.Fatalf("%d records: %+v", len(records), records)
	}
}

// TestRefusalsAreBounded refuses more than may be recorded in a second; none is lost from the count.
func TestRefusalsAreBounded(t *testing.T) {
	w := newWire(t, func(c *egress.Config) { c.Policy = withPolicy(t) })
	const tries = 400
	for range tries {
		if conn, err := w.dial("tcp", "192.0.2.1:80"); err == nil {
			conn.Close()
			t.Fatal("connected")
		}
	}
	if got := w.gateway.Counts().Refused; got != tries {
		t.Fatalf("%d refused, want %d", got, tries)
	}
	if got := len(w.taken()); got == 0 || got >= tries {
		t.Fatalf("%d records of %d refusals", got, tries)
	}
}

// TestShortConnections makes thousands of them; nothing stays.
func TestShortConnections(t *testing.T) {
	w := newWire(t, allowHost(t))
	at := serve(t, echo)
	one := func() {
		conn, err := w.dial("tcp", hostAlias(at))
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		conn.Write([]byte("ping"))
		conn.(*net.TCPConn).CloseWrite()
		if data, err := io.ReadAll(conn); err != nil || string(data) != "ping" {
			t.Errorf("%q %v", data, err)
		}
	}
	one()
	eventually(t, "the first is gone", func() bool { return w.gateway.Counts().Connections == 0 })
	files, routines := openFiles(t), runtime.NumGoroutine()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 125 {
				one()
			}
		})
	}
	all.Wait()
	eventually(t, "all are gone", func() bool {
		return w.gateway.Counts().Connections == 0 && openFiles(t) <= files &&
			runtime.NumGoroutine() <= routines
	})
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestGatewayLeavesNothing closes gateways with everything open on them.
func TestGatewayLeavesNothing(t *testing.T) {
	at := serve(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	before, files := -1, 0
	for round := range 6 {
		t.Run("", func(t *testing.T) {
			w := newWire(t, allowHost(t))
			for range 20 {
				w.mustDial("tcp", hostAlias(at)).Write([]byte("x"))
				w.mustDial("udp", hostAlias(at)).Write([]byte("x"))
			}
			if _, err := w.gateway.Publish(sandbox.TCP, netip.MustParseAddrPort("127.0.0.1:0"),
				80); err != nil {
				t.Fatal(err)
			}
		})
		if round == 0 {
			before, files = runtime.NumGoroutine(), openFiles(t)
		}
	}
	eventually(t, "all are gone", func() bool {
		return runtime.NumGoroutine() <= before && openFiles(t) <= files
	})
}
