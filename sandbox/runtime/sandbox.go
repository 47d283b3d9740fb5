package runtime

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sandbox/ring"
	"surety/sys/entropy"
)

// Sandbox is a handle on one sandbox; any process of the same user may hold one.
type Sandbox struct {
	host *Host
	id   string
	dir  string
	pid  int // of the supervisor, where this process started it

	lent []*os.File // secret layers, for the supervisor that is being started

	mu     sync.Mutex
	shared *ring.Ring // for SetTrace; nil until first used
}

// ID is the sandbox's name.
func (s *Sandbox) ID() string { return s.id }

// Supervisor is the pid of the process that lives as long as the sandbox and exits with its code;
// 0 where another process started it.
func (s *Sandbox) Supervisor() int { return s.pid }

// Start lets the program run; kind Refused when it runs already or has ended.
func (s *Sandbox) Start(ctx context.Context) error {
	_, err := s.ask(ctx, request{Op: "start"})
	return err
}

// startWith starts a pool's sandbox with streams.
func (s *Sandbox) startWith(ctx context.Context, io Stdio) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return errs.Wrap(err, "sandbox %s", s.id)
	}
	defer null.Close()
	files := []*os.File{io.Stdin, io.Stdout, io.Stderr}
	for i := range files {
		if files[i] == nil {
			files[i] = null
		}
	}
	_, err = s.ask(ctx, request{Op: "start"}, files...)
	return err
}

// Wait returns when the sandbox has stopped and its trail is closed.
func (s *Sandbox) Wait(ctx context.Context) (State, error) {
	for {
		st, err := s.State()
		if err != nil || st.Status == Stopped {
			return st, err
		}
		if _, err := s.ask(ctx, request{Op: "wait"}); err != nil {
			if ctx.Err() != nil {
				return st, err
			}
		}
		if err := s.gone(ctx); err != nil {
			return st, err
		}
	}
}

// gone waits until the supervisor has let go of its lock: then its state file is the last one.
func (s *Sandbox) gone(ctx context.Context) error {
	const pace = 2 * time.Millisecond
	for {
		lock, err := s.lock(unix.LOCK_SH | unix.LOCK_NB)
		if err == nil {
			return lock.Close()
		}
		if !errs.Is(err, errs.Locked) {
			return err
		}
		next := s.host.after(pace)
		select {
		case <-ctx.Done():
			next.Stop()
			return errs.As(errs.Canceled, ctx.Err(), "sandbox %s: wait", s.id)
		case <-next.C():
		}
	}
}

// Process says what Exec runs.
type Process struct {
	Args     []string `json:"args"`
	Env      []string `json:"env,omitempty"` // added to the program's own
	Cwd      string   `json:"cwd,omitempty"` // "": the program's own
	User     *User    `json:"user,omitempty"`
	Terminal bool     `json:"terminal,omitempty"`
}

// Exec runs a process inside and returns its exit code, 128+n after signal n. With Terminal, the
// three streams are the slave side of one. When ctx is done, or this process dies, the process inside
// is killed.
func (s *Sandbox) Exec(ctx context.Context, p Process, io Stdio) (int, error) {
	if len(p.Args) == 0 || len(p.Args) > maxArgs {
		return 0, errs.New(errs.Invalid, "exec: %d arguments, of 1 to %d", len(p.Args), maxArgs)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, errs.Wrap(err, "exec")
	}
	defer null.Close()
	files := []*os.File{io.Stdin, io.Stdout, io.Stderr}
	for i := range files {
		if files[i] == nil {
			files[i] = null
		}
	}
	r := request{Op: "exec", Process: p}
	if io.Signals != nil {
		r.Session = newSession()
		done := make(chan struct{})
		defer close(done)
		go s.forward(r.Session, io.Signals, done)
	}
	a, err := s.converse(ctx, r, io.Began, files...)
	return a.ExitCode, err
}

// forward passes signals on to a process that Exec started.
func (s *Sandbox) forward(session string, signals <-chan os.Signal, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case got := <-signals:
			n, ok := got.(syscall.Signal)
			if !ok || n == unix.SIGCHLD || n == unix.SIGURG || n == unix.SIGPIPE {
				continue // this process's own
			}
			// The process may have ended meanwhile: nobody is left to tell.
			_, _ = s.ask(context.Background(), request{Op: "signal", Session: session, Signal: int(n)})
		}
	}
}

// newSession is a word that no other session of the sandbox has.
func newSession() string {
	var raw [8]byte
	entropy.System().Fill(raw[:])
	return hex.EncodeToString(raw[:])
}

// Kill sends a signal to the program, or to every process inside.
func (s *Sandbox) Kill(ctx context.Context, signal int, all bool) error {
	_, err := s.ask(ctx, request{Op: "kill", Signal: signal, All: all})
	if !errs.Is(err, errs.Unavailable) {
		return err
	}
	ending, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	if _, waitErr := s.Wait(ending); waitErr != nil {
		return err
	}
	return nil // its supervisor ended with it before it could answer
}

// Pause stops every process inside until Resume.
func (s *Sandbox) Pause(ctx context.Context) error {
	_, err := s.ask(ctx, request{Op: "pause"})
	return err
}

// Resume lets a paused sandbox go on.
func (s *Sandbox) Resume(ctx context.Context) error {
	_, err := s.ask(ctx, request{Op: "resume"})
	return err
}

// Checkpoint writes a snapshot into dir, which is made and must not exist; the sandbox goes on if
// leave is set, else it stops.
func (s *Sandbox) Checkpoint(ctx context.Context, dir string, leave bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return errs.Wrap(err, "checkpoint")
	}
	_, err = s.ask(ctx, request{Op: "checkpoint", Dir: dir, Leave: leave})
	return err
}

// Stop asks the program to end, kills it after patience, and waits until it is gone.
func (s *Sandbox) Stop(ctx context.Context, patience time.Duration) error {
	err := s.Kill(ctx, int(unix.SIGTERM), false)
	if err == nil {
		gentle, cancel := context.WithTimeout(ctx, patience)
		_, err = s.Wait(gentle)
		cancel()
		if err == nil {
			return nil
		}
	}
	if st, stateErr := s.State(); stateErr == nil && st.Status == Stopped {
		return nil
	}
	_, err = s.ask(ctx, request{Op: "end"})
	if err != nil && !errs.Is(err, errs.Refused) && !errs.Is(err, errs.Unavailable) {
		return err // a supervisor that went away meanwhile has ended what it had
	}
	_, err = s.Wait(ctx)
	return err
}

// Remove deletes a stopped sandbox's state; force ends it first. The trail stays.
func (s *Sandbox) Remove(ctx context.Context, force bool) error {
	st, err := s.State()
	if errs.Is(err, errs.NotFound) {
		return err
	}
	if err == nil && st.Status != Stopped {
		if !force {
			return errs.New(errs.Refused, "sandbox %s is %s: stop it, or remove it by force", s.id,
				st.Status)
		}
		if err := s.Stop(ctx, 0); err != nil {
			return err
		}
	}
	if err := s.clear(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errs.Wrap(err, "sandbox %s: remove", s.id)
	}
	return nil
}

// ProcessInfo is one process inside.
type ProcessInfo struct {
	PID     int32         `json:"pid"`
	Parent  int32         `json:"parent"`
	User    uint32        `json:"user"`
	Threads []int32       `json:"threads"`
	Started string        `json:"started"`
	CPU     time.Duration `json:"cpu_ns"`
	Command string        `json:"command"`
}

// Processes lists the processes inside.
func (s *Sandbox) Processes(ctx context.Context) ([]ProcessInfo, error) {
	var list []ProcessInfo
	return list, s.askFor(ctx, "processes", &list)
}

// Stats are what a sandbox uses and how much it has been watched.
type Stats struct {
	CPU         time.Duration `json:"cpu_ns"`
	Memory      uint64        `json:"memory_bytes"`
	MemoryPeak  uint64        `json:"memory_peak_bytes"`
	MemoryLimit uint64        `json:"memory_limit_bytes"`
	Processes   uint64        `json:"processes"`
	Received    uint64        `json:"received_bytes"`
	Sent        uint64        `json:"sent_bytes"`
	Records     uint64        `json:"records"`
	Refused     uint64        `json:"refused"`
	WouldRefuse uint64        `json:"would_refuse"`
	AuditWaits  uint64        `json:"audit_waits"` // times an act waited for the trail
	AuditBytes  uint64        `json:"audit_bytes"`
}

// Stats asks the supervisor.
func (s *Sandbox) Stats(ctx context.Context) (Stats, error) {
	var st Stats
	return st, s.askFor(ctx, "stats", &st)
}

func (s *Sandbox) askFor(ctx context.Context, op string, into any) error {
	a, err := s.ask(ctx, request{Op: op})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.Body, into); err != nil {
		return errs.As(errs.Internal, err, "sandbox %s: %s: answer", s.id, op)
	}
	return nil
}

// SetTrace stamps following audit records with the id of the request being served: a store into
// the memory shared with the kernel inside, without a call to anybody. A virtual machine's kernel
// shares none, and is told.
func (s *Sandbox) SetTrace(id ident.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared == nil {
		r, err := ring.Open(s.file(ringFile))
		if errs.Is(err, errs.NotFound) {
			_, err = s.ask(context.Background(), request{Op: "trace", Trace: id.String()})
			return err
		}
		if err != nil {
			return errs.Wrap(err, "sandbox %s: trace", s.id)
		}
		s.shared = r
	}
	s.shared.SetTrace(id)
	return nil
}

// Close lets go of what the handle holds; the sandbox itself is not touched.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared == nil {
		return nil
	}
	err := s.shared.Close()
	s.shared = nil
	return err
}
