package egress

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
)

// resolver answers the sandbox's questions at the gateway's port 53, on UDP and TCP.
type resolver struct {
	g       *Gateway
	lookups chan struct{} // a slot for each question in work
	streams chan struct{} // a slot for each TCP connection
}

// startResolver opens port 53 on the gateway's addresses.
func (g *Gateway) startResolver() error {
	if err := g.noteHost(); err != nil {
		return err
	}
	r := &resolver{g: g, lookups: make(chan struct{}, maxLookups),
		streams: make(chan struct{}, maxStreams)}
	if err := r.listen(g.config.Addresses.Gateway4, ipv4.ProtocolNumber); err != nil {
		return err
	}
	if g.config.Addresses.Gateway6.IsValid() {
		return r.listen(g.config.Addresses.Gateway6, ipv6.ProtocolNumber)
	}
	return nil
}

func (r *resolver) listen(at netip.Addr, protocol tcpip.NetworkProtocolNumber) error {
	local := tcpip.FullAddress{NIC: nicID, Addr: stackAddr(at), Port: portDNS}
	packets, err := gonet.DialUDP(r.g.stack, &local, nil, protocol)
	if err != nil {
		return errs.As(errs.Internal, err, "egress: resolver at %s udp", at)
	}
	streams, err := gonet.ListenTCP(r.g.stack, local, protocol)
	if err != nil {
		packets.Close()
		return errs.As(errs.Internal, err, "egress: resolver at %s tcp", at)
	}
	held := r.g.hold(packets) && r.g.hold(&shutter{streams})
	if !held || !r.g.start(func() { r.servePackets(packets) }) ||
		!r.g.start(func() { r.serveStreams(streams) }) {
		packets.Close()
		streams.Close()
		return errClosed()
	}
	return nil
}

// shutter ends a listener of the stack: its Close alone leaves Accept waiting.
type shutter struct{ *gonet.TCPListener }

func (s *shutter) Close() error {
	s.Shutdown()
	return s.TCPListener.Close()
}

func (r *resolver) servePackets(conn net.PacketConn) {
	buf := make([]byte, messageBytes)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			if r.g.isClosing() {
				return
			}
			continue // an ICMP error from the sandbox, to an earlier answer
		}
		q, code, ok := parseQuestion(buf[:n])
		if !ok {
			continue
		}
		select {
		case r.lookups <- struct{}{}:
		default:
			conn.WriteTo(answer{code: dnsmessage.RCodeServerFailure}.encode(q, q.limit), from)
			continue
		}
		started := r.g.start(func() {
			defer func() { <-r.lookups }()
			conn.WriteTo(r.answer(q, code).encode(q, q.limit), from)
		})
		if !started {
			return
		}
	}
}

func (r *resolver) serveStreams(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case r.streams <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		started := r.g.hold(conn) && r.g.start(func() {
			defer func() { <-r.streams }()
			defer conn.Close()
			defer r.g.release(conn)
			r.serveStream(conn)
		})
		if !started {
			conn.Close()
			return
		}
	}
}

// serveStream answers the questions of one TCP connection in turn, until it is silent for too long.
func (r *resolver) serveStream(conn net.Conn) {
	for {
		conn.SetDeadline(r.g.deadline(streamIdle))
		message, err := readMessage(conn)
		if err != nil {
			return
		}
		q, code, ok := parseQuestion(message)
		if !ok {
			return
		}
		reply := r.answer(q, code).encode(q, messageBytes)
		conn.SetDeadline(r.g.deadline(streamIdle))
		if _, err := conn.Write(withLength(reply)); err != nil {
			return
		}
	}
}

// readMessage reads a message behind its length (RFC 1035 section 4.2.2).
func readMessage(from io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(from, message)
	return message, err
}

func withLength(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

// answer finds the answer to a question, notes the addresses in it and records the name.
func (r *resolver) answer(q question, code dnsmessage.RCode) answer {
	if code != dnsmessage.RCodeSuccess {
		return answer{code: code}
	}
	kind := strings.TrimPrefix(q.asked.Type.String(), "Type")
	decision := sandbox.Decision{Verdict: sandbox.Refused, Rule: sandbox.NoRule, Errno: sandbox.EACCES}
	if q.asked.Class == dnsmessage.ClassINET && plainName(q.name) {
		decision = r.g.judge.lookup(q.name)
	}
	if decision.Verdict == sandbox.Refused {
		r.g.audit.named(clipName(q.name), kind+": refused", netip.Addr{}, decision)
		return answer{code: dnsmessage.RCodeRefused}
	}
	a := r.find(q)
	if err := r.note(q.name, a.addresses); err != nil {
		r.g.config.Log.Warn("name not noted", "name", q.name, "error", err)
		a = answer{code: dnsmessage.RCodeServerFailure}
	}
	outcome, first := kind+": "+strings.TrimPrefix(a.code.String(), "RCode"), netip.Addr{}
	for i, one := range a.addresses {
		if i == 0 {
			outcome, first = kind+":", one.addr
		}
		outcome += " " + one.addr.String()
	}
	r.g.audit.named(q.name, outcome, first, decision)
	return a
}

// clipName bounds what a name that is none puts into a record.
func clipName(name string) string { return name[:min(len(name), 255)] }

// find looks a name up: in what is configured, then upstream. Only addresses are passed on; a
// question of another type about an allowed name has an empty answer.
func (r *resolver) find(q question) answer {
	if addrs, known := r.static(q.name); known {
		a := answer{}
		for _, addr := range addrs {
			if addr.Is4() == (q.asked.Type == dnsmessage.TypeA) &&
				(q.asked.Type == dnsmessage.TypeA || q.asked.Type == dnsmessage.TypeAAAA) {
				a.addresses = append(a.addresses, address{addr, uint32(nameFloor / clock.Second)})
			}
		}
		return a
	}
	if q.asked.Type != dnsmessage.TypeA && q.asked.Type != dnsmessage.TypeAAAA {
		return answer{}
	}
	a, err := r.upstream(q.asked)
	if err != nil {
		r.g.config.Log.Debug("name not found", "name", q.name, "error", err)
		return answer{code: dnsmessage.RCodeServerFailure}
	}
	kept := a.addresses[:0]
	for _, one := range a.addresses {
		// An outside server must not lead inward: to a loopback, the wire or a metadata service.
		if r.g.config.Addresses.blockOf(one.addr) == blockOpen {
			one.ttl = min(one.ttl, uint32(nameCap/clock.Second))
			kept = append(kept, one)
		}
	}
	a.addresses = kept
	return a
}

// static returns the configured addresses of a name, and those of the host's alias.
func (r *resolver) static(name string) ([]netip.Addr, bool) {
	if name == HostName {
		addrs := []netip.Addr{r.g.config.Addresses.Host4}
		if r.g.config.Addresses.Host6.IsValid() {
			addrs = append(addrs, r.g.config.Addresses.Host6)
		}
		return addrs, true
	}
	addrs, known := r.g.config.Hosts[name]
	return addrs, known
}

// note tells inside and outside that the addresses have the name, before the sandbox can use it.
func (r *resolver) note(name string, addresses []address) error {
	if name == HostName {
		return nil // since the start, and for longer
	}
	now := r.g.config.Clock.Now()
	for _, one := range addresses {
		until := now.Add(lifetime(one.ttl))
		if r.g.config.Names != nil {
			if err := r.g.config.Names(one.addr, name, until); err != nil {
				return err
			}
		}
		r.g.names.set(one.addr, name, until)
	}
	return nil
}

// noteHost gives the host's alias its name for as long as a sandbox may live, where a rule names it:
// a program may know the address and never ask.
func (g *Gateway) noteHost() error {
	if !g.judge.host || g.config.Names == nil {
		return nil
	}
	until := g.config.Clock.Now().Add(hostNamed)
	for _, addr := range []netip.Addr{g.config.Addresses.Host4, g.config.Addresses.Host6} {
		if addr.IsValid() {
			if err := g.config.Names(addr, HostName, until); err != nil {
				return errs.Wrap(err, "egress: name of the host")
			}
		}
	}
	return nil
}

// upstream asks the servers in turn. A server that says "no such name" has answered; one that fails
// or refuses has not.
func (r *resolver) upstream(asked dnsmessage.Question) (answer, error) {
	err := errs.New(errs.Unavailable, "egress: no name server")
	last, any := answer{}, false
	for _, server := range r.g.config.Servers {
		var a answer
		if a, err = r.ask(server, asked); err != nil {
			continue
		}
		if a.code == dnsmessage.RCodeSuccess || a.code == dnsmessage.RCodeNameError {
			return a, nil
		}
		last, any = a, true
	}
	if any {
		return answer{code: dnsmessage.RCodeServerFailure, addresses: last.addresses[:0]}, nil
	}
	return answer{}, err
}

// ask puts the question to one server, over a stream where the answer does not fit a datagram. Its
// number and its port are random: an answer is believed only from where the question went.
func (r *resolver) ask(server netip.AddrPort, asked dnsmessage.Question) (answer, error) {
	ctx, cancel := r.g.within(serverPatience)
	defer cancel()
	id := uint16(rand.Uint32())
	query, err := encodeQuery(id, asked)
	if err != nil {
		return answer{}, errs.As(errs.Internal, err, "egress: encode a question")
	}
	a, cut, err := r.exchange(ctx, "udp", server, query, id, asked)
	if err == nil && cut {
		a, _, err = r.exchange(ctx, "tcp", server, query, id, asked)
	}
	return a, errs.Wrap(err, "egress: name server %s", server)
}

// exchange sends query, which has two bytes of room at its front, and waits for its answer.
func (r *resolver) exchange(ctx context.Context, network string, server netip.AddrPort, query []byte,
	id uint16, asked dnsmessage.Question) (answer, bool, error) {
	conn, err := r.g.config.Dial(ctx, network, server)
	if err != nil {
		return answer{}, false, errs.As(errs.Unavailable, err, "dial")
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if network == "tcp" {
		binary.BigEndian.PutUint16(query, uint16(len(query)-2))
		if _, err := conn.Write(query); err != nil {
			return answer{}, false, errs.As(errs.Unavailable, err, "write")
		}
		message, err := readMessage(conn)
		if err != nil {
			return answer{}, false, errs.As(errs.Unavailable, err, "read")
		}
		return parseAnswer(message, id, asked)
	}
	if _, err := conn.Write(query[2:]); err != nil {
		return answer{}, false, errs.As(errs.Unavailable, err, "write")
	}
	buf := make([]byte, datagramAnswer+plainAnswer)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return answer{}, false, errs.As(errs.Unavailable, err, "read")
		}
		if a, cut, err := parseAnswer(buf[:n], id, asked); err == nil || cut {
			return a, cut, nil // anything else is not the answer: it may still come
		}
	}
}
