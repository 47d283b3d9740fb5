package egress_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
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

func TestTCPRefused(t *testing.T) {
	w := newWire(t, allowHost(t))
	at := serve(t, echo)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := w.dial("tcp", hostAlias(closed.Addr())); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("nothing listens: %v", err)
	}
	_ = at
}
