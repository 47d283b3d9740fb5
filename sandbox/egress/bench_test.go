package egress_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// childEnv makes the test binary a program inside a namespace instead of a test.
const childEnv = "EGRESS_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := child(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child does one thing and ends.
func child(args []string) error {
	switch args[0] {
	case "send": // address, bytes
		return childStream(args[1], args[2], func(c net.Conn, n int64) error {
			_, err := io.CopyN(c, zeros{}, n)
			return err
		})
	case "receive": // address, bytes
		return childStream(args[1], args[2], func(c net.Conn, n int64) error {
			_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{io.LimitReader(c, n)},
				make([]byte, 256<<10))
			return err
		})
	case "ask": // address, times: one byte there and back
		return childStream(args[1], args[2], func(c net.Conn, n int64) error {
			one := make([]byte, 1)
			for range n {
				if _, err := c.Write(one); err != nil {
					return err
				}
				if _, err := io.ReadFull(c, one); err != nil {
					return err
				}
			}
			return nil
		})
	case "connect": // address, times
		n, err := strconv.Atoi(args[2])
		for i := 0; i < n && err == nil; i++ {
			var c net.Conn
			if c, err = net.Dial("tcp", args[1]); err == nil {
				_, err = io.Copy(io.Discard, c)
				c.Close()
			}
		}
		return err
	case "hold":
		return childHold()
	case "rootless":
		return childRootless()
	}
	return fmt.Errorf("no child %q", args[0])
}

func childStream(to, count string, use func(net.Conn, int64) error) error {
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	return use(conn, n)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// run runs a child inside the namespace to its end.
func (w *wire) run(args ...string) error {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	if err := w.ns.Do(cmd.Start); err != nil {
		return err
	}
	return cmd.Wait()
}

const streamBytes = 1 << 30

// BenchmarkTCPOut moves a gibibyte from a process inside to one of the host.
func BenchmarkTCPOut(b *testing.B) {
	benchmarkStream(b, "send", func(c *net.TCPConn) {
		io.CopyBuffer(io.Discard, struct{ io.Reader }{c}, make([]byte, 256<<10))
	})
}

// BenchmarkTCPIn moves a gibibyte from the host to a process inside.
func BenchmarkTCPIn(b *testing.B) {
	benchmarkStream(b, "receive", func(c *net.TCPConn) { io.CopyN(c, zeros{}, streamBytes) })
}

func benchmarkStream(b *testing.B, what string, handle func(*net.TCPConn)) {
	for _, mtu := range []int{1500, 9000, 65521} {
		b.Run(fmt.Sprintf("mtu=%d", mtu), func(b *testing.B) {
			w := newWireMTU(b, mtu, allowHost(b))
			at := serve(b, handle)
			b.SetBytes(streamBytes)
			for b.Loop() {
				if err := w.run(what, hostAlias(at), strconv.Itoa(streamBytes)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRequest sends one byte there and back on one connection.
func BenchmarkRequest(b *testing.B) {
	w := newWire(b, allowHost(b))
	at := serve(b, echo)
	b.ResetTimer()
	if err := w.run("ask", hostAlias(at), strconv.Itoa(b.N)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkConnect opens a connection, reads to its end and closes it.
func BenchmarkConnect(b *testing.B) {
	w := newWire(b, allowHost(b))
	at := serve(b, func(*net.TCPConn) {})
	b.ResetTimer()
	if err := w.run("connect", hostAlias(at), strconv.Itoa(b.N)); err != nil {
		b.Fatal(err)
	}
}
