package egress_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"surety/base/clock"
	"surety/sandbox"
	"surety/sandbox/egress"
)

// servePackets runs a UDP server on the host's loopback that answers each datagram.
func servePackets(t testing.TB, answer func([]byte) []byte) net.Addr {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := answer(buf[:n]); reply != nil {
				conn.WriteTo(reply, from)
			}
		}
	})
	t.Cleanup(func() {
		conn.Close()
		done.Wait()
	})
	return conn.LocalAddr()
}

func echoPacket(p []byte) []byte { return p }

func TestUDP(t *testing.T) {
	w := newWire(t, allowHost(t))
	at := servePackets(t, echoPacket)
	conn := w.mustDial("udp", hostAlias(at))
	buf := make([]byte, 65536)
	for _, size := range []int{0, 1, 1472, 1473, 9000, 65507} { // up to the largest, in fragments
		sent := bytes.Repeat([]byte{byte(size)}, size)
		conn.Write(sent)
		n, err := conn.Read(buf)
		if err != nil || !bytes.Equal(buf[:n], sent) {
			t.Fatalf("%d bytes: %d came back, %v", size, n, err)
		}
	}
	if c := w.gateway.Counts(); c.Sessions != 1 || c.Opened != 1 {
		t.Fatalf("counts %+v", c)
	}
}

func TestUDPRefusedByHost(t *testing.T) {
	w := newWire(t, allowHost(t))
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	conn := w.mustDial("udp", hostAlias(gone.LocalAddr()))
	for range 2 { // each datagram is answered, not the first alone
		conn.Write([]byte("x"))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("nothing listens: %v", err)
		}
	}
}

func TestUDPRefusedByPolicy(t *testing.T) {
	w := newWire(t, func(c *egress.Config) {
		c.Policy = withPolicy(t, sandbox.NetRule{Allow: "192.0.2.1", Protocol: "tcp"})
	})
	for _, to := range []string{"192.0.2.1:53", "[2001:db8::1]:53", "10.90.0.254:53",
		"169.254.169.254:123"} {
		conn := w.mustDial("udp", to)
		conn.Write([]byte("x"))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.EHOSTUNREACH) &&
			!errors.Is(err, syscall.EACCES) {
			t.Fatalf("%s: %v", to, err)
		}
		records := w.taken()
		r := records[len(records)-1]
		if r.Kind != sandbox.KindSend || r.Proto != sandbox.UDP || r.Addr.String() != to ||
			r.Verdict != sandbox.Refused || r.Text == "" {
			t.Fatalf("record %+v", r)
		}
	}
}

func TestUDPSendRule(t *testing.T) {
	w := newWire(t, func(c *egress.Config) {
		c.Policy = withPolicy(t, sandbox.NetRule{Allow: egress.HostName, Act: []string{"send"}})
	})
	at := servePackets(t, echoPacket)
	conn := w.mustDial("udp", hostAlias(at))
	conn.Write([]byte("x"))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestUDPSessionEnds(t *testing.T) {
	w := newWire(t, func(c *egress.Config) {
		allowHost(t)(c)
		c.Limits.SessionIdle = 30 * clock.Millisecond
	})
	at := servePackets(t, echoPacket)
	conn := w.mustDial("udp", hostAlias(at))
	for range 2 { // a new session after the first has ended
		conn.Write([]byte("x"))
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "session ended", func() bool { return w.gateway.Counts().Sessions == 0 })
	}
	if c := w.gateway.Counts(); c.Opened != 2 {
		t.Fatalf("counts %+v", c)
	}
}

func TestUDPLimit(t *testing.T) {
	w := newWire(t, func(c *egress.Config) {
		allowHost(t)(c)
		c.Limits.Sessions = 2
	})
	at := servePackets(t, echoPacket)
	for i := range 3 {
		conn := w.mustDial("udp", hostAlias(at))
		conn.Write([]byte("x"))
		_, err := conn.Read(make([]byte, 1))
		if i < 2 && err != nil || i == 2 && !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Fatalf("session %d: %v", i, err)
		}
	}
	if r := w.taken(); len(r) != 1 || !strings.Contains(r[0].Text, "2 UDP sessions are open") {
		t.Fatalf("records %+v", r)
	}
}

// TestEcho pings: the gateway answers for itself and says that nobody else may be asked.
func TestEcho(t *testing.T) {
	w := newWire(t, nil)
	for _, row := range []struct {
		network, to string
		up          bool
	}{{"ip4:icmp", "10.90.0.1", true}, {"ip4:icmp", "192.0.2.1", false},
		{"ip4:icmp", "10.90.0.254", false}} {
		conn := w.mustDial(row.network, row.to)
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		conn.Write([]byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1}) // an echo request, its checksum, 1, 1
		n, err := conn.Read(make([]byte, 100))
		if row.up && (err != nil || n == 0) || !row.up && !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("%s: %d bytes, %v", row.to, n, err)
		}
	}
}

func TestPublish(t *testing.T) {
	w := newWire(t, nil)
	var inside net.Listener
	err := w.ns.Do(func() (err error) {
		inside, err = net.Listen("tcp", "10.90.0.2:8080")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	at, err := w.gateway.Publish(sandbox.TCP, netip.MustParseAddrPort("127.0.0.1:0"), 8080)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := inside.Accept()
		if err == nil {
			echo(conn.(*net.TCPConn))
			conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("in and out"))
	conn.(*net.TCPConn).CloseWrite()
	if got := readAll(t, conn); got != "in and out" {
		t.Fatalf("got %q", got)
	}
	inside.Close()
	refused, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	if _, err := refused.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("nothing listens inside: %v", err)
	}
}

func TestPublishUDP(t *testing.T) {
	w := newWire(t, func(c *egress.Config) { c.Limits.SessionIdle = 200 * clock.Millisecond })
	var inside net.PacketConn
	err := w.ns.Do(func() (err error) {
		inside, err = net.ListenPacket("udp", "10.90.0.2:5353")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := inside.ReadFrom(buf)
			if err != nil {
				return
			}
			inside.WriteTo(buf[:n], from)
		}
	}()
	at, err := w.gateway.Publish(sandbox.UDP, netip.MustParseAddrPort("127.0.0.1:0"), 5353)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} { // two clients, each with its answer
		conn, err := net.Dial("udp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write([]byte(text))
		buf := make([]byte, 100)
		if n, err := conn.Read(buf); err != nil || string(buf[:n]) != text {
			t.Fatalf("%q %v", buf[:n], err)
		}
	}
	eventually(t, "sessions ended", func() bool { return w.gateway.Counts().Sessions == 0 })
}
