// Package server serves a ledger to other processes over the binary batch protocol: full batches at
// the speed of the ledger itself.
//
// A connection begins with a token and is then a stream of numbered requests, answered in any
// order; package wire has the frames. The server is a thin thing between sockets and a
// client.Ledger: it decides who may call, that a frame is one, and how much is under way. What a
// record may be is the ledger's to say.
//
// # Invariants
//
// Whatever bytes arrive, the server answers with an error or closes the connection, and goes on. A
// frame that is not one (wrong magic, version, length, or a sum that differs) is answered with why
// and ends its connection, since what follows cannot be trusted; a body that makes no sense in an
// intact frame is answered and the connection goes on.
//
// Memory is bounded by MemoryMax, whatever the number and behaviour of clients: bytes that do not
// fit are left in the socket.
//
// # Boundaries
//
// Callers are told the kind of an error and its sentence; of errors of kind Internal and Corrupt
// only that they happened, and the log has the rest.
//
// # Concurrency
//
// One goroutine for each connection reads; one for each request under way waits for the ledger and
// writes the answer. Close waits for all of them.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger/client"
	"surety/sys/access"
)

// Doorkeeper finds out who is calling; access.Doorkeeper is one.
type Doorkeeper interface {
	// Token returns whose token it is; kind Unauthorized where it is nobody's.
	Token(remote, text string) (access.Principal, error)
	// Local returns who calls through an open door without a token.
	Local() access.Principal
}

// Config says how a server behaves. Zero numbers are the constants of their names.
type Config struct {
	// LedgerID is the ledger's own id, which clients are told.
	LedgerID ident.ID
	// Open lets callers without a token in as the doorkeeper's local principal. It is refused for
	// a listener that others than this machine can reach.
	Open bool
	// TLS, where not nil, is spoken on every connection.
	TLS            *tls.Config
	ConnectionsMax int
	InFlightMax    int
	MemoryMax      int
}

// Server serves one ledger on any number of listeners.
type Server struct {
	config Config
	ledger client.Ledger
	door   Doorkeeper
	log    *slog.Logger
	memory *budget
	large  sync.Pool // of *[]byte with room for a full body

	ctx    context.Context // ends with Close; every request's context is its child
	cancel context.CancelFunc

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	running   sync.WaitGroup
}

// New returns a server of the ledger. A nil log is silent.
func New(of client.Ledger, config Config, door Doorkeeper, log *slog.Logger) *Server {
	if config.ConnectionsMax <= 0 {
		config.ConnectionsMax = ConnectionsMax
	}
	if config.InFlightMax <= 0 {
		config.InFlightMax = InFlightMax
	}
	if config.MemoryMax <= 0 {
		config.MemoryMax = MemoryMax
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		config: config, ledger: of, door: door, log: log, memory: newBudget(config.MemoryMax),
		ctx: ctx, cancel: cancel,
		listeners: map[net.Listener]bool{}, conns: map[*conn]bool{},
	}
}

// Serve accepts connections until the listener fails or Close is called, which makes it return nil.
// It closes the listener. Kind Invalid for an open door that is not on loopback or a Unix socket.
func (s *Server) Serve(listener net.Listener) error {
	if s.config.Open && !local(listener.Addr()) {
		return errors.Join(errs.New(errs.Invalid,
			"ledger.serve: %s can be reached from other machines and asks for no token", listener.Addr()),
			listener.Close())
	}
	if !s.add(listener) {
		return listener.Close()
	}
	defer s.running.Done()
	for {
		accepted, err := listener.Accept()
		if err != nil {
			return s.remove(listener, err)
		}
		s.welcome(accepted)
	}
}

// local reports whether only this machine reaches the address.
func local(address net.Addr) bool {
	return address.Network() == "unix" || access.Loopback(address)
}

func (s *Server) add(listener net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[listener] = true
	s.running.Add(1)
	return true
}

func (s *Server) remove(listener net.Listener, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, listener)
	if s.closed {
		return nil
	}
	err := errors.Join(cause, listener.Close())
	return errs.As(errs.Unavailable, err, "ledger.serve: %s", listener.Addr())
}

// welcome starts a connection, or turns it away where there are too many.
func (s *Server) welcome(accepted net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= s.config.ConnectionsMax {
		s.log.Warn("ledger server: too many connections", "remote", accepted.RemoteAddr().String(),
			"limit", s.config.ConnectionsMax)
		_ = accepted.Close() // it was never used
		return
	}
	if s.config.TLS != nil {
		accepted = tls.Server(accepted, s.config.TLS)
	}
	c := newConn(s, accepted)
	s.conns[c] = true
	s.running.Go(func() {
		c.run()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	})
}

// Close closes listeners and connections and waits for the requests under way; what they have
// changed is durable, and their clients may not learn it.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	var all []error
	for listener := range s.listeners {
		all = append(all, listener.Close())
	}
	for c := range s.conns {
		_ = c.conn.Close() // its goroutine sees the same
	}
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	return errors.Join(all...)
}

// body returns a buffer of the size and a function that takes it back.
func (s *Server) body(size int) ([]byte, func()) {
	if size <= smallBody {
		return make([]byte, size), func() {}
	}
	b, ok := s.large.Get().(*[]byte)
	if !ok {
		whole := make([]byte, largeBody)
		b = &whole
	}
	return (*b)[:size], func() { s.large.Put(b) }
}
