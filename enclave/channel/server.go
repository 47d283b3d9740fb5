package channel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"syscall"
	"time"

	"surety/base/errs"
	"surety/enclave"
	"surety/sys/wallclock"
)

// Attester makes evidence for the enclave behind the server.
type Attester interface {
	Evidence(ctx context.Context, b enclave.Binding) (*enclave.Evidence, error)
}

// Config says what a server stands in front of.
type Config struct {
	Attester Attester
	// Dial connects to the program's own port.
	Dial func(ctx context.Context) (net.Conn, error)
	Log  *slog.Logger // nil: none

	Clock wallclock.Clock // nil: the machine's
}

// Server takes attested sessions and carries them to the program.
type Server struct {
	config Config
	tls    *tls.Config
	slots  chan struct{} // of connections
	proofs chan struct{} // of evidence being made

}

// NewServer makes the server's key and certificate, which live in this process's memory alone.
func NewServer(c Config) (*Server, error) {
	if c.Attester == nil || c.Dial == nil {
		return nil, errs.New(errs.Invalid, "channel.server: no attester, or nothing to connect to")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = wallclock.System()
	}
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	return &Server{config: c, slots: make(chan struct{}, maxConnections),
		proofs: make(chan struct{}, maxProofs),
		tls: &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{Protocol},
			Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true}}, nil
}

// selfSigned is a certificate that says nothing, as TLS wants one. It names no time: what counts for
// how long is the evidence.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, errs.Wrap(err, "channel.server: key")
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1),
		Subject:   pkix.Name{CommonName: "identity is in the evidence, not here"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(endOfTime, 0)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, errs.Wrap(err, "channel.server: certificate")
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Serve takes connections until ctx is done, which is no error, or the listener fails. It closes the
// listener and every connection, and returns when nothing of it runs any more.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var served sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	var failed error
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			break
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ECONNABORTED) {
			s.config.Log.Warn("an attested connection was not taken", "error", err)
			s.pause(ctx)
			continue
		}
		if err != nil {
			failed = errs.As(errs.Unavailable, err, "channel.serve")
			break
		}
		select {
		case s.slots <- struct{}{}:
		default:
			_ = conn.Close() // the limit of connections
			continue
		}
		served.Go(func() {
			defer func() { <-s.slots }()
			s.handle(ctx, conn)
		})
	}
	cancel()
	if stop() {
		_ = l.Close()
	}
	served.Wait()
	return failed
}

// pause waits a moment, for a descriptor to become free.
func (s *Server) pause(ctx context.Context) {
	timer := s.config.Clock.NewTimer(acceptPause)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
}

// handle leads one connection from the handshake to its end.
func (s *Server) handle(ctx context.Context, raw net.Conn) {
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	session := tls.Server(raw, s.tls)
	if err := s.prove(ctx, raw, session); err != nil {
		s.config.Log.Info("an attested session was not made", "from", raw.RemoteAddr().String(), "error", err)
		return
	}
	inner, err := s.config.Dial(ctx)
	if err != nil {
		s.config.Log.Warn("the program behind an attested session does not answer", "error", err)
		return
	}
	defer inner.Close()
	stopInner := context.AfterFunc(ctx, func() { _ = inner.Close() })
	defer stopInner()
	Join(session, inner)
}

// prove takes a challenge and answers it.
func (s *Server) prove(ctx context.Context, raw net.Conn, session *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, provePatience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := session.HandshakeContext(ctx); err != nil {
		return errs.As(errs.Unavailable, err, "channel.serve: handshake")
	}
	nonce := make([]byte, nonceBytes)
	if _, err := io.ReadFull(session, nonce); err != nil {
		return errs.As(errs.Unavailable, err, "channel.serve: challenge")
	}
	state := session.ConnectionState()
	want, err := binding(&state, nonce)
	if err != nil {
		return err
	}
	data, err := s.evidence(ctx, want)
	if err != nil {
		return err
	}
	if _, err := session.Write(data); err != nil {
		return errs.As(errs.Unavailable, err, "channel.serve: evidence")
	}
	if !stop() {
		return errs.As(errs.Canceled, ctx.Err(), "channel.serve")
	}
	return nil
}

// evidence is the framed answer to a challenge.
func (s *Server) evidence(ctx context.Context, b enclave.Binding) ([]byte, error) {
	select {
	case s.proofs <- struct{}{}:
		defer func() { <-s.proofs }()
	case <-ctx.Done():
		return nil, errs.As(errs.Busy, ctx.Err(), "channel.serve: %d others wait for evidence", maxProofs)
	}
	e, err := s.config.Attester.Evidence(ctx, b)
	if err != nil {
		return nil, errs.Wrap(err, "channel.serve")
	}
	data, err := e.Encode()
	if err != nil {
		return nil, errs.Wrap(err, "channel.serve")
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...), nil
}
