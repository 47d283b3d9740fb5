package egress

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"surety/base/clock"
	"surety/base/errs"
)

// Gateway is the far end of one sandbox's wire.
type Gateway struct {
	config Config
	judge  *judge
	names  nameTable
	device *device
	stack  *stack.Stack
	slots  slots
	audit  audit
	copies sync.Pool // of *[]byte, copyBytes long

	closing chan struct{}  // closed by Close, before it waits
	tasks   sync.WaitGroup // added to under mu while not closed

	mu      sync.Mutex
	closed  bool
	closers map[io.Closer]struct{} // what Close closes
}

const nicID = 1

// Open makes a gateway on a link. Nothing passes before Run. The link is the caller's; it is closed
// by Close. Errors: Invalid naming the field.
func Open(c Config) (*Gateway, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	judge, err := newJudge(c.Addresses, c.Policy)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		config:  c,
		judge:   judge,
		device:  newDevice(c.Link, c.Addresses),
		slots:   slots{connections: c.Limits.Connections, sessions: c.Limits.Sessions},
		audit:   audit{observe: c.Observe, clock: c.Clock},
		closing: make(chan struct{}),
		closers: map[io.Closer]struct{}{},
	}
	if err := g.build(); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// build makes the stack: one interface that takes every address for its own, so that it ends each
// connection here, wherever it was going.
func (g *Gateway) build() error {
	g.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol,
			ipv6.NewProtocolWithOptions(ipv6.Options{})},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol,
			icmp.NewProtocol4, icmp.NewProtocol6},
	})
	g.tune()
	requests := tcp.NewForwarder(g.stack, maxBuffer, connectionFlood, g.takeTCP)
	g.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, requests.HandlePacket)
	g.stack.SetTransportProtocolHandler(udp.ProtocolNumber,
		udp.NewForwarder(g.stack, g.takeUDP).HandlePacket)
	if err := g.stack.CreateNIC(nicID, g.device); err != nil {
		return errs.New(errs.Internal, "egress: interface of the gateway: %s", err)
	}
	g.stack.SetPromiscuousMode(nicID, true)
	g.stack.SetSpoofing(nicID, true)
	a := g.config.Addresses
	routes := []tcpip.Route{}
	if err := g.own(netip.PrefixFrom(a.Gateway4, 30), ipv4.ProtocolNumber); err != nil {
		return err
	}
	all4, _ := tcpip.NewSubnet(tcpip.AddrFrom4([4]byte{}), tcpip.MaskFromBytes(make([]byte, 4)))
	routes = append(routes, tcpip.Route{Destination: all4, NIC: nicID})
	if a.Gateway6.IsValid() {
		if err := g.own(netip.PrefixFrom(a.Gateway6, 126), ipv6.ProtocolNumber); err != nil {
			return err
		}
		all6, _ := tcpip.NewSubnet(tcpip.AddrFrom16([16]byte{}), tcpip.MaskFromBytes(make([]byte, 16)))
		routes = append(routes, tcpip.Route{Destination: all6, NIC: nicID})
	}
	g.stack.SetRouteTable(routes)
	return nil
}

// own gives the gateway one of its addresses.
func (g *Gateway) own(prefix netip.Prefix, protocol tcpip.NetworkProtocolNumber) error {
	err := g.stack.AddProtocolAddress(nicID, tcpip.ProtocolAddress{Protocol: protocol,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: stackAddr(prefix.Addr()),
			PrefixLen: prefix.Bits()}}, stack.AddressProperties{})
	if err != nil {
		return errs.New(errs.Internal, "egress: address %s of the gateway: %s", prefix, err)
	}
	return nil
}

// tune sets the stack up for a wire that neither delays nor reorders. TIME-WAIT guards against old
// segments on a slow path: there is none, and thousands of short connections would pile up in it.
// Time-based loss detection (RFC 8985) takes a reader that waits for its turn for a loss, and sends
// what has arrived again: on a tap, which hardly drops, three duplicate acknowledgements and the
// retransmission timer are enough. A socket drops when a burst fills it, and keeps it.
func (g *Gateway) tune() {
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(false)
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	linger := tcpip.TCPLingerTimeoutOption(finWait)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: minBuffer, Default: maxBuffer,
		Max: maxBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: minBuffer, Default: maxBuffer, Max: maxBuffer}
	g.stack.SetOption(tcpip.ReceiveBufferSizeOption{Min: minBuffer, Default: sessionBuffer,
		Max: sessionBuffer})
	g.stack.SetOption(tcpip.SendBufferSizeOption{Min: minBuffer, Default: sessionBuffer,
		Max: sessionBuffer})
	recovery := tcpip.TCPRACKLossDetection
	if g.config.Link.Offloads() {
		recovery = 0
	}
	for _, option := range []tcpip.SettableTransportProtocolOption{&recovery, &sack, &moderate, &wait,
		&linger, &receive, &send} {
		g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option)
	}
}

// Run moves packets until ctx is done, the gateway is closed or the link ends. It returns nil after
// the first two; an error of kind Unavailable where the link's other side went away, or Corrupt
// where what came over it was no frames. It closes the gateway in any case.
func (g *Gateway) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	err := g.startResolver()
	if err != nil || !g.start(func() { ended <- g.device.read() }) {
		closed := g.isClosing() // by another, before anything ran
		if failed := g.Close(); closed {
			return failed
		}
		return err
	}
	select {
	case <-ctx.Done():
	case <-g.closing:
	case err = <-ended:
	}
	closed := g.Close()
	if errors.Is(err, io.EOF) {
		return errs.New(errs.Unavailable, "egress: the wire's other side went away")
	}
	if err == nil {
		err = closed
	}
	return err
}

// errClosed is what starting anything on a closed gateway gives.
func errClosed() error { return errs.New(errs.Unavailable, "egress: the gateway is closed") }

// start runs f as a task of the gateway, which Close waits for; false where it is closed.
func (g *Gateway) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.tasks.Go(f)
	return true
}

// enter makes the calling goroutine a task, until tasks.Done; false where the gateway is closed.
func (g *Gateway) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.tasks.Add(1)
	}
	return !g.closed
}

// isClosing reports whether Close has begun.
func (g *Gateway) isClosing() bool {
	select {
	case <-g.closing:
		return true
	default:
		return false
	}
}

// hold has Close close c, unless it is released before; false where the gateway is closed.
func (g *Gateway) hold(c io.Closer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closers[c] = struct{}{}
	}
	return !g.closed
}

func (g *Gateway) release(c io.Closer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.closers, c)
}

// canceler is a context that Close may cancel.
type canceler struct{ cancel context.CancelFunc }

func (c *canceler) Close() error {
	c.cancel()
	return nil
}

// within returns a context that ends after d or with the gateway, and what lets go of it.
func (g *Gateway) within(d clock.Duration) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(d))
	c := &canceler{cancel}
	if !g.hold(c) {
		cancel()
	}
	return ctx, func() {
		g.release(c)
		cancel()
	}
}

// deadline is an instant d from now, as connections take it.
func (g *Gateway) deadline(d clock.Duration) time.Time {
	return time.Unix(0, int64(g.config.Clock.Now().Add(d)))
}

// Close cuts every connection, closes the link and waits until nothing of the gateway runs. Closing
// again waits for the first.
func (g *Gateway) Close() error {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.closing)
	}
	closers := g.closers
	g.closers = map[io.Closer]struct{}{}
	g.mu.Unlock()
	for c := range closers {
		c.Close()
	}
	err := g.config.Link.Close()
	g.await()
	g.stack.RemoveNIC(nicID)
	g.stack.Destroy()
	return err
}

// await waits for the tasks. One of them may be shaking hands with a sandbox that cannot be heard any
// more, and only an abort of its endpoint ends that; it may make the endpoint after we looked.
func (g *Gateway) await() {
	ended := make(chan struct{})
	go func() {
		g.tasks.Wait()
		close(ended)
	}()
	for {
		g.stack.Close()
		again := g.config.Clock.NewTimer(20 * clock.Millisecond)
		select {
		case <-ended:
			again.Stop()
			return
		case <-again.C():
		}
	}
}

// Counts are totals since the gateway was opened, and what is open now.
type Counts struct {
	Connections, Sessions int    // now
	Opened                uint64 // connections and sessions
	Refused               uint64 // by policy, by address or by a limit
	FramesIn, FramesOut   uint64
	FramesRefused         uint64 // malformed, or not from the sandbox's address
	FramesDropped         uint64 // the link was full
	BytesOut, BytesIn     uint64 // of TCP payload: to the host's network, and from it
	Lookups               uint64
}

// Counts may be read at any time.
func (g *Gateway) Counts() Counts {
	c := Counts{
		FramesIn: g.device.counts.in.Load(), FramesOut: g.device.counts.out.Load(),
		FramesRefused: g.device.counts.refused.Load(), FramesDropped: g.device.counts.dropped.Load(),
		BytesOut: g.slots.out.Load(), BytesIn: g.slots.in.Load(),
		Refused: g.audit.refused.Load(), Lookups: g.audit.lookups.Load(),
	}
	c.Connections, c.Sessions, c.Opened = g.slots.now()
	return c
}
