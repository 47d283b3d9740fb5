package egress_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/egress"
	"surety/sys/wallclock"
)

// socketPair returns two connected unix sockets of a kind.
func socketPair(t testing.TB, kind int) (net.Conn, net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20)
		file := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	return ends[0], ends[1]
}

// pump carries frames between two links until one ends, as a virtual machine monitor does between
// its socket and its guest.
func pump(from, to egress.Link) {
	buf := make([]byte, 65550)
	for {
		n, err := from.ReadFrame([][]byte{buf[:100], buf[100:]})
		if err != nil {
			return
		}
		to.WriteFrame(egress.Segments{}, [][]byte{buf[:min(n, 20)], buf[min(n, 20):n]})
	}
}

// newSocketWire puts a socket between the namespace and its gateway.
func newSocketWire(t testing.TB, kind int, makeLink func(net.Conn, int) (egress.Link, error)) *wire {
	t.Helper()
	guest, err := egress.NewNamespace(egress.Wire{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := socketPair(t, kind)
	near, err := makeLink(a, 1500)
	if err != nil {
		t.Fatal(err)
	}
	far, err := makeLink(b, 1500)
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, func(c *egress.Config) {
		allowHost(t)(c)
		c.Link = far
	})
	w.ns = guest // dial from the namespace behind the socket
	var pumps sync.WaitGroup
	pumps.Go(func() { pump(w.ns.Link(), near) })
	pumps.Go(func() { pump(near, w.ns.Link()) })
	t.Cleanup(func() {
		w.gateway.Close()
		w.ns.Close()
		near.Close()
		pumps.Wait()
	})
	return w
}

func TestSocketLinks(t *testing.T) {
	for _, row := range []struct {
		name string
		kind int
		make func(net.Conn, int) (egress.Link, error)
	}{{"stream", unix.SOCK_STREAM, egress.NewStreamLink},
		{"datagram", unix.SOCK_SEQPACKET, egress.NewDatagramLink}} {
		t.Run(row.name, func(t *testing.T) {
			w := newSocketWire(t, row.kind, row.make)
			at := serve(t, echo)
			conn := w.mustDial("tcp", hostAlias(at))
			const size = 8 << 20
			go func() {
				io.CopyN(conn, zeros{}, size)
				conn.(*net.TCPConn).CloseWrite()
			}()
			if n, err := io.Copy(io.Discard, conn); n != size || err != nil {
				t.Fatalf("%d bytes came back, %v", n, err)
			}
		})
	}
}

// runOn runs a gateway on a link and returns what Run does.
func runOn(t *testing.T, link egress.Link) error {
	t.Helper()
	g, err := egress.Open(egress.Config{Link: link, Clock: wallclock.System()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return g.Run(ctx)
}

func TestStreamEnds(t *testing.T) {
	for _, row := range []struct {
		name  string
		bytes []byte
		kind  errs.Kind
	}{
		{"at once", nil, errs.Unavailable},
		{"in a length", []byte{0, 0}, errs.Unavailable},
		{"in a frame", []byte{0, 0, 0, 60, 1, 2, 3}, errs.Unavailable},
		{"a length that cannot be", []byte{0, 1, 0, 14}, errs.Corrupt},
	} {
		a, b := socketPair(t, unix.SOCK_STREAM)
		link, err := egress.NewStreamLink(b, 1500)
		if err != nil {
			t.Fatal(err)
		}
		a.Write(row.bytes)
		a.(*net.UnixConn).CloseWrite()
		if err := runOn(t, link); !errs.Is(err, row.kind) {
			t.Errorf("%s: %v", row.name, err)
		}
		a.Close()
	}
}

// TestStreamFull writes to a monitor that does not read: frames are dropped, nothing waits.
func TestStreamFull(t *testing.T) {
	a, b := socketPair(t, unix.SOCK_STREAM)
	defer a.Close()
	link, err := egress.NewStreamLink(b, 1500)
	if err != nil {
		t.Fatal(err)
	}
	frame, dropped := make([]byte, 60000), 0
	for range 2000 {
		if err := link.WriteFrame(egress.Segments{}, [][]byte{frame}); errs.Is(err, errs.Busy) {
			dropped++
		}
	}
	if dropped < 1000 {
		t.Errorf("%d of 2000 frames dropped", dropped)
	}
	for range 2 {
		if err := link.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := link.WriteFrame(egress.Segments{}, [][]byte{frame}); err == nil {
		t.Error("wrote to a closed link")
	}
	if _, err := link.ReadFrame([][]byte{frame}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read from a closed link: %v", err)
	}
}

// TestStreamLongFrame reads a frame into less room than it needs, and then the next one.
func TestStreamLongFrame(t *testing.T) {
	a, b := socketPair(t, unix.SOCK_STREAM)
	defer a.Close()
	link, err := egress.NewStreamLink(b, 1500)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	for _, size := range []uint32{100, 3} {
		a.Write(append(binary.BigEndian.AppendUint32(nil, size), make([]byte, size)...))
	}
	room := make([]byte, 10)
	for _, want := range []int{10, 3} {
		if n, err := link.ReadFrame([][]byte{room[:4], room[4:]}); n != want || err != nil {
			t.Fatalf("%d bytes, %v; want %d", n, err, want)
		}
	}
}
