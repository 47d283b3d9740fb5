package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
)

// Publish listens on an address of the host and passes what comes there to a port inside; it returns
// the address listened on, whose port is chosen by the host where it was 0. Inside, connections come
// from the gateway's address. The port is published until the gateway closes. Errors: Locked where
// another process has the port, Forbidden for a port below 1024 without the right to it, Invalid for
// a protocol other than TCP and UDP or a port 0 inside, TooLarge above 128 ports, Unavailable when
// the gateway is closed.
func (g *Gateway) Publish(proto sandbox.Proto, host netip.AddrPort, inside uint16) (netip.AddrPort,
	error) {
	if proto != sandbox.TCP && proto != sandbox.UDP || inside == 0 {
		return netip.AddrPort{}, errs.New(errs.Invalid, "egress: publish %s: protocol %d, port %d inside",
			host, proto, inside)
	}
	if !g.slots.publish() {
		return netip.AddrPort{}, errs.New(errs.TooLarge, "egress: publish %s: %d ports are published, "+
			"the limit", host, maxPublished)
	}
	var at netip.AddrPort
	var err error
	if proto == sandbox.TCP {
		at, err = g.publishTCP(host, inside)
	} else {
		at, err = g.publishUDP(host, inside)
	}
	if err != nil {
		g.slots.unpublish()
	}
	return at, err
}

// portError says which port cannot be had, and why.
func portError(err error, network string, host netip.AddrPort) error {
	kind := kindOfErrno(err)
	if errors.Is(err, unix.EADDRINUSE) {
		kind = errs.Locked
	} else if errors.Is(err, unix.EADDRNOTAVAIL) {
		kind = errs.Invalid
	}
	return errs.As(kind, err, "egress: publish %s port %d at %s", network, host.Port(), host.Addr())
}

func (g *Gateway) publishTCP(host netip.AddrPort, inside uint16) (netip.AddrPort, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(host))
	if err != nil {
		return netip.AddrPort{}, portError(err, "tcp", host)
	}
	if !g.hold(l) || !g.start(func() { g.acceptHost(l, inside) }) {
		l.Close()
		return netip.AddrPort{}, errClosed()
	}
	return l.Addr().(*net.TCPAddr).AddrPort(), nil
}

// Enter carries a connection of the host to a port inside, as Publish does with one that it has
// accepted: for a caller that decides itself who may come in. The connection is the gateway's from
// then on. Errors: Invalid for port 0, Unavailable when the gateway is closed.
func (g *Gateway) Enter(conn *net.TCPConn, inside uint16) error {
	if inside == 0 {
		return errors.Join(errs.New(errs.Invalid, "egress: enter: port 0 inside"), conn.Close())
	}
	if !g.start(func() { g.enterTCP(conn, inside) }) {
		return errors.Join(errClosed(), conn.Close())
	}
	return nil
}

func (g *Gateway) acceptHost(l *net.TCPListener, inside uint16) {
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			if !g.pause(100 * clock.Millisecond) { // until a descriptor is free
				return
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client went away before it was taken
		}
		if !g.start(func() { g.enterTCP(conn, inside) }) {
			conn.Close()
			return
		}
	}
}

// pause waits for d; false where the gateway closes.
func (g *Gateway) pause(d clock.Duration) bool {
	timer := g.config.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-g.closing:
		return false
	}
}

// enterTCP carries one connection from the host into the sandbox. Where nothing listens inside, the
// client sees a reset.
func (g *Gateway) enterTCP(host *net.TCPConn, inside uint16) {
	f := &flow{g: g, host: host}
	size, ok := g.slots.connect()
	if !ok {
		f.resetHost()
		return
	}
	defer g.slots.disconnect(size)
	ctx, cancel := g.within(g.config.Limits.Dial)
	defer cancel()
	ep, err := g.dialInside(ctx, &f.queue, inside)
	if err != nil {
		g.config.Log.Debug("published connection not made", "inside", inside, "error", err)
		f.resetHost()
		return
	}
	f.run(ep, size)
}

// dialInside connects to a port of the sandbox.
func (g *Gateway) dialInside(ctx context.Context, queue *waiter.Queue, port uint16) (tcpip.Endpoint,
	error) {
	ep, failed := g.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, queue)
	if failed != nil {
		return nil, errs.New(errs.Internal, "egress: endpoint: %s", failed)
	}
	wake, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	queue.EventRegister(&wake)
	defer queue.EventUnregister(&wake)
	failed = ep.Connect(g.insideAddress(port))
	if _, started := failed.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ready:
			failed = ep.LastError()
		case <-ctx.Done():
			ep.Abort()
			ep.Close()
			return nil, errs.As(errs.Unavailable, ctx.Err(), "egress: port %d inside", port)
		}
	}
	if failed != nil {
		ep.Close()
		return nil, errs.New(errs.Unavailable, "egress: port %d inside: %s", port, failed)
	}
	return ep, nil
}

func (g *Gateway) insideAddress(port uint16) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nicID, Addr: stackAddr(g.config.Addresses.Sandbox4), Port: port}
}

func (g *Gateway) publishUDP(host netip.AddrPort, inside uint16) (netip.AddrPort, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(host))
	if err != nil {
		return netip.AddrPort{}, portError(err, "udp", host)
	}
	p := &publishedUDP{g: g, conn: conn, inside: inside, clients: map[netip.AddrPort]*client{}}
	if !g.hold(conn) || !g.start(p.serve) {
		conn.Close()
		return netip.AddrPort{}, errClosed()
	}
	return conn.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}

// publishedUDP is one published UDP port: a session for each client.
type publishedUDP struct {
	g      *Gateway
	conn   *net.UDPConn
	inside uint16

	mu      sync.Mutex
	clients map[netip.AddrPort]*client
}

// client is one address of the host's network that sends to a published port.
type client struct {
	ep   tcpip.Endpoint
	last clock.Instant // guarded by publishedUDP.mu
}

func (p *publishedUDP) serve() {
	buf := make([]byte, copyBytes)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error, to an earlier answer
		}
		if ep := p.clientAt(from); ep != nil {
			writePacket(ep, buf[:n], tcpip.WriteOptions{})
		}
	}
}

// clientAt returns the endpoint for a client, nil where no session is free.
func (p *publishedUDP) clientAt(from netip.AddrPort) tcpip.Endpoint {
	now := p.g.config.Clock.Now()
	p.mu.Lock()
	c := p.clients[from]
	if c != nil {
		c.last = now
	}
	p.mu.Unlock()
	if c != nil {
		return c.ep
	}
	if !p.g.slots.begin() {
		return nil
	}
	queue := new(waiter.Queue)
	ep, failed := p.g.stack.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, queue)
	if failed != nil {
		p.g.slots.end()
		return nil
	}
	c = &client{ep: ep, last: now}
	p.mu.Lock()
	p.clients[from] = c
	p.mu.Unlock()
	if failed := ep.Connect(p.g.insideAddress(p.inside)); failed != nil ||
		!p.g.start(func() { p.answer(from, c, queue) }) {
		p.forget(from, c)
		return nil
	}
	return ep
}

func (p *publishedUDP) forget(from netip.AddrPort, c *client) {
	p.mu.Lock()
	delete(p.clients, from)
	p.mu.Unlock()
	c.ep.Close()
	p.g.slots.end()
}

// answer carries datagrams back to a client until both have been silent for long enough.
func (p *publishedUDP) answer(from netip.AddrPort, c *client, queue *waiter.Queue) {
	defer p.forget(from, c)
	wake, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp)
	queue.EventRegister(&wake)
	defer queue.EventUnregister(&wake)
	idle := p.g.config.Limits.SessionIdle
	timer := p.g.config.Clock.NewTimer(idle)
	defer func() { timer.Stop() }()
	for {
		p.drain(from, c)
		select {
		case <-ready:
		case <-p.g.closing:
			return
		case <-timer.C():
			p.mu.Lock()
			left := idle - p.g.config.Clock.Now().Sub(c.last)
			p.mu.Unlock()
			if left <= 0 {
				return
			}
			timer = p.g.config.Clock.NewTimer(left)
		}
	}
}

// drain sends all that waits for the client.
func (p *publishedUDP) drain(from netip.AddrPort, c *client) {
	buf := p.g.takeCopy()
	defer p.g.giveCopy(buf)
	for {
		writer := tcpip.SliceWriter(*buf)
		result, err := c.ep.Read(&writer, tcpip.ReadOptions{})
		switch err.(type) {
		case nil:
			p.conn.WriteToUDPAddrPort((*buf)[:result.Count], from)
			p.mu.Lock()
			c.last = p.g.config.Clock.Now()
			p.mu.Unlock()
		case *tcpip.ErrConnectionRefused, *tcpip.ErrHostUnreachable, *tcpip.ErrNetworkUnreachable:
		default:
			return
		}
	}
}
