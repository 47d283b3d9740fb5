package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"surety/sandbox"
)

// dialHost opens an ordinary socket of the host.
func dialHost(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, to.String())
}

// takeTCP decides on a connection request of the sandbox, on a goroutine the stack made for it. The
// handshake with the sandbox is only finished when the host has connected, so that a program inside
// learns of a refusal from connect and not from its first read.
func (g *Gateway) takeTCP(r *tcp.ForwarderRequest) {
	if !g.enter() {
		r.Complete(true)
		return
	}
	defer g.tasks.Done()
	id := r.ID()
	to := netip.AddrPortFrom(addrOf(id.LocalAddress), id.LocalPort)
	name := g.names.of(to.Addr(), g.config.Clock.Now())
	ruling := g.judge.decide(sandbox.TCP, to, name)
	if ruling.refused != "" {
		g.audit.refuse(sandbox.TCP, to, name, ruling)
		r.Complete(true)
		return
	}
	size, ok := g.slots.connect()
	if !ok {
		ruling.refused = fmt.Sprintf("%d connections are open, the limit", g.config.Limits.Connections)
		g.audit.refuse(sandbox.TCP, to, name, ruling)
		r.Complete(true)
		return
	}
	defer g.slots.disconnect(size)
	host, err := g.dial("tcp", ruling.target)
	if err != nil {
		g.config.Log.Debug("connection not made", "to", to, "name", name, "error", err)
		r.Complete(true)
		return
	}
	f := &flow{g: g, host: host}
	ep, failed := r.CreateEndpoint(&f.queue)
	r.Complete(failed != nil)
	if failed != nil {
		f.resetHost()
		return
	}
	f.run(ep, size)
}

func (g *Gateway) dial(network string, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := g.within(g.config.Limits.Dial)
	defer cancel()
	return g.config.Dial(ctx, network, to)
}

// flow is one TCP connection in two halves: the sandbox's ends in ep, the host's in host.
type flow struct {
	g     *Gateway
	ep    tcpip.Endpoint
	queue waiter.Queue
	host  net.Conn
	once  sync.Once
	cut   atomic.Bool
}

// run copies both ways until both sides have closed, or one broke off.
func (f *flow) run(ep tcpip.Endpoint, buffer int) {
	f.ep = ep
	ep.SocketOptions().SetReceiveBufferSize(int64(buffer), true)
	ep.SocketOptions().SetSendBufferSize(int64(buffer), true)
	ep.SocketOptions().SetDelayOption(false)
	if !f.g.hold(f) {
		f.Close()
	}
	var out sync.WaitGroup
	out.Go(func() {
		if err := f.copyOut(); err != nil {
			f.Close()
		}
	})
	if err := f.copyIn(); err != nil {
		f.Close()
	}
	out.Wait()
	f.g.release(f)
	f.once.Do(func() {}) // waits for a Close under way
	if !f.cut.Load() {
		f.host.Close()
	}
	ep.Close()
}

// Close breaks the connection off: both sides see a reset.
func (f *flow) Close() error {
	f.once.Do(func() {
		f.cut.Store(true)
		f.ep.Abort()
		f.resetHost()
	})
	return nil
}

// resetHost closes the host's half with a reset where it is TCP.
func (f *flow) resetHost() {
	if c, ok := f.host.(interface{ SetLinger(int) error }); ok {
		c.SetLinger(0)
	}
	f.host.Close()
}

// copyOut moves what the sandbox sends to the host's side, and its end. An error means that a side
// broke off.
func (f *flow) copyOut() error {
	wake, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp)
	f.queue.EventRegister(&wake)
	defer f.queue.EventUnregister(&wake)
	buf := f.g.takeCopy()
	for {
		writer := tcpip.SliceWriter(*buf)
		result, err := f.ep.Read(&writer, tcpip.ReadOptions{})
		switch err.(type) {
		case nil:
			if _, err := f.host.Write((*buf)[:result.Count]); err != nil {
				f.g.giveCopy(buf)
				return err
			}
			f.g.slots.out.Add(uint64(result.Count))
		case *tcpip.ErrWouldBlock:
			f.g.giveCopy(buf) // an idle connection holds none
			<-ready
			buf = f.g.takeCopy()
		case *tcpip.ErrClosedForReceive:
			f.g.giveCopy(buf)
			if f.cut.Load() {
				return net.ErrClosed
			}
			return closeWrite(f.host)
		default:
			f.g.giveCopy(buf)
			return errors.New(err.String())
		}
	}
}

// closeWrite ends the writing half; a connection without halves is left as it is, to be closed with
// the other.
func closeWrite(c net.Conn) error {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	if err := half.CloseWrite(); err != nil && !errors.Is(err, unix.ENOTCONN) {
		return err
	}
	return nil // ENOTCONN: the other side has closed both
}

// copyIn moves what the host's side sends to the sandbox, and its end.
func (f *flow) copyIn() error {
	wake, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	f.queue.EventRegister(&wake)
	defer f.queue.EventUnregister(&wake)
	for {
		buf, n, err := f.readHost()
		if n > 0 {
			if lost := f.write((*buf)[:n], ready); lost != nil {
				f.g.giveCopy(buf)
				return lost
			}
			f.g.slots.in.Add(uint64(n))
		}
		f.g.giveCopy(buf)
		if err == io.EOF {
			if failed := f.ep.Shutdown(tcpip.ShutdownWrite); failed != nil {
				return errors.New(failed.String())
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readHost reads once from the host's side. Where it can wait without a buffer it does, so that a
// thousand idle connections cost a thousand goroutines and no more.
func (f *flow) readHost() (*[]byte, int, error) {
	conn, ok := f.host.(*net.TCPConn)
	if !ok {
		buf := f.g.takeCopy()
		n, err := f.host.Read(*buf)
		return buf, n, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, 0, err
	}
	var buf *[]byte
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		buf = f.g.takeCopy()
		for {
			n, failed = unix.Read(int(fd), *buf)
			if failed != unix.EINTR {
				break
			}
		}
		if failed == unix.EAGAIN {
			f.g.giveCopy(buf)
			buf = nil
			return false
		}
		return true
	})
	switch {
	case err != nil:
		return buf, 0, err
	case failed != nil:
		return buf, 0, failed
	case n == 0:
		return buf, 0, io.EOF
	}
	return buf, n, nil
}

// write gives all of data to the sandbox's side, waiting while its buffer is full.
func (f *flow) write(data []byte, ready <-chan struct{}) error {
	var rest bytes.Reader
	rest.Reset(data)
	for rest.Len() > 0 {
		n, err := f.ep.Write(&rest, tcpip.WriteOptions{})
		switch err.(type) {
		case nil:
			if n == 0 {
				<-ready
			}
		case *tcpip.ErrWouldBlock:
			<-ready
		default:
			return errors.New(err.String())
		}
	}
	return nil
}
