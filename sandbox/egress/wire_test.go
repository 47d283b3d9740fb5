package egress_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"surety/sandbox"
	"surety/sandbox/egress"
	"surety/sys/wallclock"
)

// wire is a namespace and the gateway at its far end, on a real tap device.
type wire struct {
	t       testing.TB
	ns      *egress.Namespace
	gateway *egress.Gateway

	mu      sync.Mutex
	records []*sandbox.Record
	seen    chan struct{} // has a slot for each record
}

// newWire makes a wire and takes it down with the test. The machine has root and /dev/net/tun;
// without them this test fails, and says what is missing.
func newWire(t testing.TB, change func(*egress.Config)) *wire {
	t.Helper()
	return newWireMTU(t, 1500, change)
}

func newWireMTU(t testing.TB, mtu int, change func(*egress.Config)) *wire {
	t.Helper()
	ns, err := egress.NewNamespace(egress.Wire{MTU: mtu})
	if err != nil {
		t.Fatal(err)
	}
	awaitIPv6(t, ns)
	w := &wire{t: t, ns: ns, seen: make(chan struct{}, 1<<16)}
	config := egress.Config{Addresses: ns.Addresses(), Link: ns.Link(),
		Clock: wallclock.System(), Observe: w.observe,
		Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}}
	if change != nil {
		change(&config)
	}
	if w.gateway, err = egress.Open(config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- w.gateway.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// awaitIPv6 waits until the host's kernel delivers to the namespace's IPv6 address, which it makes
// ready on a work queue of its own. A sandbox does not depend on it: its kernel takes the address over.
func awaitIPv6(t testing.TB, ns *egress.Namespace) {
	t.Helper()
	addr := ns.Addresses().Sandbox6
	if !addr.IsValid() {
		return
	}
	eventually(t, "a route to the IPv6 address", func() bool {
		var routes []byte
		err := ns.Do(func() (err error) {
			routes, err = os.ReadFile("/proc/thread-self/net/ipv6_route")
			return err
		})
		return err == nil && strings.Contains(string(routes), fmt.Sprintf("%x 80", addr.As16()))
	})
}

func (w *wire) observe(r *sandbox.Record) {
	w.mu.Lock()
	w.records = append(w.records, r)
	w.mu.Unlock()
	w.seen <- struct{}{}
}

// taken returns the records so far.
func (w *wire) taken() []*sandbox.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*sandbox.Record(nil), w.records...)
}

// dial connects from inside. The namespace is that of the thread on which the socket is made, and
// addresses are literal, so no other thread takes part.
func (w *wire) dial(network, to string) (net.Conn, error) {
	var conn net.Conn
	err := w.ns.Do(func() error {
		var err error
		conn, err = (&net.Dialer{Timeout: 20 * time.Second}).Dial(network, to)
		return err
	})
	return conn, err
}

func (w *wire) mustDial(network, to string) net.Conn {
	w.t.Helper()
	conn, err := w.dial(network, to)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// hostAlias is how the sandbox reaches a loopback port of the host.
func hostAlias(at net.Addr) string {
	port := netip.MustParseAddrPort(at.String()).Port()
	return netip.AddrPortFrom(egress.DefaultAddresses().Host4, port).String()
}

// withPolicy makes an enforcing policy that allows what the rules allow and no more.
func withPolicy(t testing.TB, rules ...sandbox.NetRule) *sandbox.Compiled {
	t.Helper()
	compiled, err := sandbox.Compile(sandbox.Policy{Version: "v1", Mode: "enforce",
		Default: "deny", Exec: []sandbox.ExecRule{{Allow: "/**"}}, Network: rules})
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// allowHost lets the sandbox reach the host's loopback, by name and by alias.
func allowHost(t testing.TB) func(*egress.Config) {
	return func(c *egress.Config) {
		c.Policy = withPolicy(t, sandbox.NetRule{Allow: egress.HostName})
	}
}

// serve runs a TCP server on the host's loopback.
func serve(t testing.TB, handle func(*net.TCPConn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				handle(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr()
}

// echo sends back what comes, until its end.
func echo(conn *net.TCPConn) {
	io.Copy(conn, conn)
	conn.CloseWrite()
}

func readAll(t testing.TB, conn net.Conn) string {
	t.Helper()
	data, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// toOne is a way out on which every TCP connection but the name server's leads to one address.
func toOne(server netip.AddrPort, at net.Addr) func(context.Context, string, netip.AddrPort) (net.Conn,
	error) {
	return func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
		if to != server {
			to = netip.MustParseAddrPort(at.String())
		}
		return (&net.Dialer{}).DialContext(ctx, network, to.String())
	}
}
