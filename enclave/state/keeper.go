package state

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"surety/base/errs"
	"surety/enclave"
)

const (
	// keeperSocket is the socket's name in the state's directory (sandbox.KeeperSocket).
	keeperSocket = "keeper"

	// commitPatience is how long an anchor may take to answer.
	commitPatience = 30 * time.Second
)

// ServeConfig says which state is kept for a sandbox. Disk, Clock and Entropy of the Config are the
// guest's own and not used.
type ServeConfig struct {
	Config
	// Log gets the state's sentences for people; nil: none. It is called from another goroutine.
	Log func(text string)
}

// Served is a state that is kept for one sandbox: keys and anchor are here, and the files are read
// and written by the sandbox's file server.
type Served struct {
	config   ServeConfig
	listener *net.UnixListener
	ended    chan struct{} // the accepting goroutine has

	mu      sync.Mutex
	conn    net.Conn // the guest's: nil where there is none
	granted bool     // the present guest has the keys
	refusal error
	idle    chan struct{} // closed while there is no guest
	closed  bool
}

// Serve makes the directory and listens in it for the sandbox's file server: one at a time, of this
// program and this user. The returned Served has to be closed when the sandbox has ended, and before
// the lease is. Nothing is read of the state before the sandbox is made: where it refuses, making
// the sandbox fails, and Refusal says why.
func Serve(c ServeConfig) (*Served, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, errs.As(errs.Internal, err, "state.serve")
	}
	listener, err := listen(filepath.Join(c.Dir, keeperSocket))
	if err != nil {
		return nil, err
	}
	s := &Served{config: c, listener: listener, ended: make(chan struct{}), idle: make(chan struct{})}
	close(s.idle)
	if c.Anchor == nil {
		s.say("no rollback protection")
	}
	go s.accept()
	return s, nil
}

// listen listens at a path of any length: the kernel's limit of 107 bytes is met by going through a
// descriptor of the directory. What an earlier keeper left is replaced; two keepers at once are kept
// apart by the lease.
func listen(path string) (*net.UnixListener, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, errs.As(errs.Internal, err, "state.serve")
	}
	defer dir.Close() // nothing was written
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, errs.As(errs.Internal, err, "state.serve")
	}
	through := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: through, Net: "unix"})
	if err != nil {
		return nil, errs.As(errs.Internal, err, "state.serve: listen at %s", path)
	}
	l.SetUnlinkOnClose(false) // the name it knows is gone by then
	return l, nil
}

// Dir is what runtime.Sealed takes as the volume's directory.
func (s *Served) Dir() string { return s.config.Dir }

// Protected reports whether an old copy of the directory would be noticed.
func (s *Served) Protected() bool { return s.config.Anchor != nil }

// Refusal is why the state was not opened, with the kinds of Open; nil where it was or nobody asked.
func (s *Served) Refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusal
}

// Close waits for the sandbox's file server to end, as it does after it made its last commit, and
// stops listening. When ctx ends before, the connection is cut: what the program did not sync may be
// lost. It may be called more than once.
func (s *Served) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	idle := s.idle
	s.mu.Unlock()
	_ = s.listener.Close() // of a socket nobody may connect to any more
	<-s.ended
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		s.mu.Lock()
		if s.conn != nil {
			_ = s.conn.Close() // the guest sees that
		}
		s.mu.Unlock()
		<-idle
		err = errs.As(errs.Canceled, ctx.Err(), "state.close: its file server lives")
	}
	_ = os.Remove(filepath.Join(s.config.Dir, keeperSocket))
	return err
}

// accept takes one guest after another until the listener is closed.
func (s *Served) accept() {
	defer close(s.ended)
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			return
		}
		if err := trusted(conn); err != nil {
			s.say(reasonOf(err))
			_ = conn.Close()
			continue
		}
		if !s.admit(conn) {
			s.say("a second file server was turned away")
			_ = conn.Close()
		}
	}
}

// admit makes conn the guest's, unless there is one that has the keys, and serves it in its own
// goroutine. A guest that asked for nothing gives way: the file server of a sandbox without root
// executes itself once more after it has connected.
func (s *Served) admit(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.conn != nil && s.granted {
		return false
	}
	if s.conn != nil {
		_ = s.conn.Close() // its goroutine sees that
	}
	idle := make(chan struct{})
	s.conn, s.granted, s.idle = conn, false, idle
	go func() {
		s.attend(conn)
		_ = conn.Close()
		s.mu.Lock()
		if s.conn == conn {
			s.conn = nil
		}
		s.mu.Unlock()
		close(idle)
	}()
	return true
}

// attend answers one guest until it goes or breaks the form.
func (s *Served) attend(conn net.Conn) {
	for {
		var r request
		if err := receive(conn, &r); err != nil {
			return
		}
		a := s.answer(conn, &r)
		if err := send(conn, a); err != nil || a.Kind == errs.Invalid && a.Text != "" {
			return
		}
	}
}

func (s *Served) answer(conn net.Conn, r *request) *answer {
	if r.Ask == askOpen {
		return s.grant(conn)
	}
	s.mu.Lock()
	present := s.conn == conn && s.granted
	s.mu.Unlock()
	if !present {
		return &answer{Kind: errs.Invalid, Text: "state.keeper: a guest has to ask for the keys first"}
	}
	switch r.Ask {
	case askOpened:
		s.note(r)
		return &answer{}
	case askCommit:
		return s.commit(r)
	case askClosed:
		s.say(fmt.Sprintf("closed at epoch %d", r.Epoch))
		return &answer{}
	}
	return &answer{Kind: errs.Invalid, Text: fmt.Sprintf("state.keeper: %.40q is no request", r.Ask)}
}

// grant gives the keys to the present guest alone.
func (s *Served) grant(conn net.Conn) *answer {
	s.mu.Lock()
	present := s.conn == conn && !s.granted
	s.granted = s.granted || present
	s.mu.Unlock()
	if !present {
		return &answer{Kind: errs.Invalid, Text: "state.keeper: the keys are given once"}
	}
	g := &grant{Bytes: s.config.Bytes, Anchored: s.config.Anchor != nil}
	for _, k := range s.config.Keys {
		g.Keys = append(g.Keys, grantedKey{SVN: k.SVN, Key: k.Key[:]})
	}
	if g.Anchored {
		g.Epoch, g.Root = s.config.Anchor.Last()
	}
	return &answer{Grant: g}
}

// note takes over how opening went.
func (s *Served) note(r *request) {
	s.mu.Lock()
	s.refusal = nil
	if r.Text != "" {
		s.refusal = errs.New(r.Kind, "%.*s", maxReason, r.Text)
	}
	s.mu.Unlock()
	if r.Text != "" {
		s.say(r.Text)
	} else {
		s.say(fmt.Sprintf("open at epoch %d", r.Epoch))
	}
}

func (s *Served) commit(r *request) *answer {
	if s.config.Anchor == nil {
		return &answer{Kind: errs.Invalid, Text: "state.keeper: a commit, and no anchor"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitPatience)
	defer cancel()
	err := s.config.Anchor.Commit(ctx, r.Epoch, r.Root)
	if err == nil {
		return &answer{}
	}
	s.say(reasonOf(err))
	return &answer{Kind: errs.KindOf(err), Text: reasonOf(err)}
}

func (s *Served) say(text string) {
	if s.config.Log != nil {
		s.config.Log(text)
	}
}

// trusted refuses a peer that is not this program of this user. It does not keep out who runs the
// machine: nothing here does.
func trusted(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return errs.As(errs.Internal, err, "state.keeper: who connects")
	}
	var peer *syscall.Ucred
	var bad error
	if err := raw.Control(func(fd uintptr) {
		peer, bad = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || bad != nil {
		return errs.New(errs.Internal, "state.keeper: who connects: %v, %v", err, bad)
	}
	if int(peer.Uid) != os.Geteuid() {
		return errs.New(errs.Forbidden, "state.keeper: process %d of user %d asked for the keys; they are "+
			"for user %d", peer.Pid, peer.Uid, os.Geteuid())
	}
	ours, err := os.Stat("/proc/self/exe")
	if err != nil {
		return errs.As(errs.Internal, err, "state.keeper: this program")
	}
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", peer.Pid))
	if err != nil || !os.SameFile(ours, theirs) {
		return errs.New(errs.Forbidden, "state.keeper: process %d asked for the keys and is another "+
			"program", peer.Pid)
	}
	return nil
}

// remote is a guest's anchor: the keeper's.
type remote struct {
	mu    sync.Mutex
	conn  net.Conn
	last  mark
	ended error // the connection is of no more use
}

var _ Anchor = (*remote)(nil)

// Last implements Anchor.
func (r *remote) Last() (uint64, enclave.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.epoch, r.last.root
}

// Commit implements Anchor.
func (r *remote) Commit(_ context.Context, epoch uint64, root enclave.Digest) error {
	a, err := r.ask(&request{Ask: askCommit, Epoch: epoch, Root: root})
	if err == nil {
		err = a.err()
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = mark{epoch, root}
	return nil
}

// ask sends a request and waits for its answer, which the keeper owes within commitPatience. After an
// error of the connection none is sent any more: an answer could be another request's.
func (r *remote) ask(q *request) (*answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended != nil {
		return nil, r.ended
	}
	a := new(answer)
	err := send(r.conn, q)
	if err == nil {
		err = receive(r.conn, a)
	}
	if err != nil {
		r.ended = errs.As(errs.Unavailable, err, "state: its keeper is gone")
		return nil, r.ended
	}
	return a, nil
}
