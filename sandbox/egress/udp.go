package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"surety/base/clock"
	"surety/sandbox"
)

// takeUDP decides on the first datagram between two addresses. It runs where packets are delivered
// and does not block. It always takes the datagram: what is refused is answered here.
func (g *Gateway) takeUDP(r *udp.ForwarderRequest) bool {
	id := r.ID()
	from := netip.AddrPortFrom(addrOf(id.RemoteAddress), id.RemotePort)
	to := netip.AddrPortFrom(addrOf(id.LocalAddress), id.LocalPort)
	if to.Addr().IsMulticast() || to.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true // noise of a starting system, to nobody
	}
	name := g.names.of(to.Addr(), g.config.Clock.Now())
	ruling := g.judge.decide(sandbox.UDP, to, name)
	if ruling.refused == "" && !g.slots.begin() {
		ruling.refused = fmt.Sprintf("%d UDP sessions are open, the limit", g.config.Limits.Sessions)
	} else if ruling.refused == "" {
		g.beginSession(r, from, to, ruling.target)
		return true
	}
	g.audit.refuse(sandbox.UDP, to, name, ruling)
	why := reasonProhibited
	if to.Addr() == g.config.Addresses.Gateway4 || to.Addr() == g.config.Addresses.Gateway6 {
		why = reasonPort
	}
	g.device.unreachable(quote(udp.ProtocolNumber, from, to), why)
	return true
}

// beginSession has a slot and gives it back when the session ends.
func (g *Gateway) beginSession(r *udp.ForwarderRequest, from, to, target netip.AddrPort) {
	s := &session{g: g, from: from, to: to, ended: make(chan struct{})}
	ep, err := r.CreateEndpoint(&s.queue)
	if err != nil {
		g.slots.end()
		return
	}
	s.ep = ep
	if !g.start(func() { s.run(target) }) {
		ep.Close()
		g.slots.end()
	}
}

// session is the datagrams between one address inside and one outside.
type session struct {
	g        *Gateway
	from, to netip.AddrPort // as the sandbox sees them
	ep       tcpip.Endpoint
	queue    waiter.Queue
	host     net.Conn
	last     atomic.Uint64 // clock.Instant of the last datagram, either way
	ended    chan struct{} // closed when the host's side has ended
}

func (s *session) run(target netip.AddrPort) {
	defer s.g.slots.end()
	defer s.ep.Close()
	host, err := s.g.dial("udp", target)
	if err != nil {
		s.g.config.Log.Debug("session not begun", "to", s.to, "error", err)
		s.tell(err)
		return
	}
	s.host = host
	if !s.g.hold(host) {
		host.Close()
	}
	s.last.Store(uint64(s.g.config.Clock.Now()))
	var in sync.WaitGroup
	in.Go(s.copyIn)
	s.copyOut()
	s.g.release(host)
	host.Close()
	in.Wait()
}

// idle is how long the session may be silent.
func (s *session) idle() clock.Duration {
	if s.to.Port() == portDNS {
		return min(questionIdle, s.g.config.Limits.SessionIdle)
	}
	return s.g.config.Limits.SessionIdle
}

// copyOut moves datagrams to the host's side until the session has been silent for long enough, or
// its host side ended.
func (s *session) copyOut() {
	wake, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp)
	s.queue.EventRegister(&wake)
	defer s.queue.EventUnregister(&wake)
	timer := s.g.config.Clock.NewTimer(s.idle())
	defer func() { timer.Stop() }()
	for s.drain() {
		select {
		case <-ready:
		case <-s.ended:
			return
		case <-timer.C():
			left := s.idle() - s.g.config.Clock.Now().Sub(clock.Instant(s.last.Load()))
			if left <= 0 {
				return
			}
			timer = s.g.config.Clock.NewTimer(left)
		}
	}
}

// drain sends all that waits; false where the session is over.
func (s *session) drain() bool {
	buf := s.g.takeCopy()
	defer s.g.giveCopy(buf)
	for {
		writer := tcpip.SliceWriter(*buf)
		result, err := s.ep.Read(&writer, tcpip.ReadOptions{})
		switch err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			return true
		case *tcpip.ErrConnectionRefused, *tcpip.ErrHostUnreachable, *tcpip.ErrNetworkUnreachable:
			continue // an ICMP error from the sandbox: whoever asked there is gone, others may ask
		default:
			return false
		}
		s.last.Store(uint64(s.g.config.Clock.Now()))
		if err := s.send((*buf)[:result.Count]); errors.Is(err, net.ErrClosed) {
			return false
		}
	}
}

// send writes a datagram to the host's side. A refusal reported here is that of an earlier datagram:
// the sandbox is told, and this one still goes.
func (s *session) send(data []byte) error {
	_, err := s.host.Write(data)
	if errors.Is(err, unix.ECONNREFUSED) {
		s.tell(err)
		_, err = s.host.Write(data)
	}
	if err != nil {
		s.tell(err)
	}
	return err
}

// copyIn moves datagrams to the sandbox until the host's side is closed.
func (s *session) copyIn() {
	defer close(s.ended)
	buf := s.g.takeCopy()
	defer s.g.giveCopy(buf)
	for {
		n, err := s.host.Read(*buf)
		if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) ||
			errors.Is(err, unix.ENETUNREACH) {
			s.tell(err)
			continue
		}
		if err != nil {
			return
		}
		s.last.Store(uint64(s.g.config.Clock.Now()))
		writePacket(s.ep, (*buf)[:n], tcpip.WriteOptions{})
	}
}

// tell the sandbox, as ICMP, why the host's side failed; other failures than these are silent, as
// lost datagrams are.
func (s *session) tell(err error) {
	why := reasonHost
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		why = reasonPort
	case errors.Is(err, unix.ENETUNREACH):
		why = reasonNet
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM),
		errors.Is(err, unix.EMFILE):
	default:
		return
	}
	s.g.device.unreachable(quote(udp.ProtocolNumber, s.from, s.to), why)
}
