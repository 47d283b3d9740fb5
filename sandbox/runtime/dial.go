package runtime

import (
	"context"
	"encoding/json"
	"net"

	"surety/base/errs"
)

// Dial connects to a TCP port inside, as from the sandbox's gateway, without a port of the host that
// others could come to. Where nothing listens inside, the connection is reset. Kind Refused where the
// sandbox has no network of its own.
func (s *Sandbox) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	a, err := s.ask(ctx, request{Op: "dial", Port: port})
	if err != nil {
		return nil, err
	}
	if a.file == nil {
		return nil, errs.New(errs.Internal, "sandbox %s: dial: no connection came", s.id)
	}
	defer a.file.Close() // the connection has its own
	conn, err := net.FileConn(a.file)
	return conn, errs.Wrap(err, "sandbox %s: dial", s.id)
}

// dial answers with one end of a connection whose other end enters the sandbox.
func (v *supervisor) dial(r *request, to *net.UnixConn) error {
	if err := v.require(Running, Paused); err != nil {
		return err
	}
	if v.gateway == nil {
		return errs.New(errs.Refused, "network %q has no gateway to come in by, stack has",
			v.spec.Network.Mode)
	}
	theirs, ours, err := tcpPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	if err := v.gateway.Enter(ours, r.Port); err != nil {
		return err
	}
	content, err := json.Marshal(answer{})
	if err != nil {
		return errs.Wrap(err, "encode answer")
	}
	f, err := theirs.File()
	if err != nil {
		return errs.Wrap(err, "dial")
	}
	defer f.Close()
	return errs.Wrap(writeMessage(to, content, f), "dial")
}

// tcpPair is two ends of one connection over loopback. Whoever else comes to the door while it is open
// is turned away.
func tcpPair() (a, b *net.TCPConn, err error) {
	door, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, errs.Wrap(err, "connection pair")
	}
	defer door.Close()
	if a, err = net.DialTCP("tcp4", nil, door.Addr().(*net.TCPAddr)); err != nil {
		return nil, nil, errs.Wrap(err, "connection pair")
	}
	for range maxStrangers {
		b, err = door.AcceptTCP()
		if err != nil {
			break
		}
		if b.RemoteAddr().String() == a.LocalAddr().String() {
			return a, b, nil
		}
		_ = b.Close()
		err = errs.New(errs.Busy, "%d others came to it", maxStrangers)
	}
	_ = a.Close()
	return nil, nil, errs.Wrap(err, "connection pair")
}
