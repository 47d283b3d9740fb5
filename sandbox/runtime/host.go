package runtime

import (
	"context"
	"log/slog"
	"os"
	"time"

	"surety/base/ident"
)

// Config says where sandboxes of this host keep their state.
type Config struct {
	Root   string // instances and images; 0700
	Trails string // audit trails: one directory per sandbox, kept after it is removed
	Log    *slog.Logger
}

// Host is one state directory and the sandboxes in it. Several processes may hold it at once.
type Host struct{ config Config }

// Open makes the directories where they are absent.
func Open(c Config) (*Host, error) { panic("unimplemented") }

// Stdio are the program's streams; nil Stdin is empty, nil Stdout and Stderr go to the sandbox's
// log. With Spec.Terminal they must all be nil and Console gets the master side.
type Stdio struct {
	Stdin, Stdout, Stderr *os.File
	Console               func(master *os.File)
}

// Create boots a sandbox up to the point where the program would run, in a supervisor process of
// its own, and returns once the first audit record has been read from it.
func (h *Host) Create(ctx context.Context, spec Spec, io Stdio) (*Sandbox, error) {
	panic("unimplemented")
}

// Find returns the sandbox with the id: kind NotFound when there is none.
func (h *Host) Find(id string) (*Sandbox, error) { panic("unimplemented") }

// List returns all sandboxes, oldest first. A sandbox whose supervisor died is brought to Stopped
// here: its ring is drained into the trail and the final record written.
func (h *Host) List() ([]*Sandbox, error) { panic("unimplemented") }

// Sandbox is a handle on one sandbox; any process of the same user may hold one.
type Sandbox struct{}

// Status is where in its life a sandbox is.
type Status string

const (
	Created Status = "created" // booted, the program has not begun
	Running Status = "running"
	Paused  Status = "paused"
	Stopped Status = "stopped"
)

// State is what is known of a sandbox from outside.
type State struct {
	Spec       Spec
	Status     Status
	Supervisor int // pid on the host; 0 once stopped
	Started    time.Time
	Ended      time.Time
	ExitCode   int
	Reason     string // why it ended, where not by the program's own exit
	Image      string // digest of the root file system, sha256:hex
	Trail      string // directory
}

func (s *Sandbox) State() (State, error) { panic("unimplemented") }

// Start lets the program run.
func (s *Sandbox) Start(ctx context.Context) error { panic("unimplemented") }

// Wait returns when the sandbox has stopped and its trail is closed.
func (s *Sandbox) Wait(ctx context.Context) (State, error) { panic("unimplemented") }

// Process says what Exec runs.
type Process struct {
	Args, Env []string
	Cwd       string
	User      User
	Terminal  bool
}

// Exec runs a process inside and returns its exit code.
func (s *Sandbox) Exec(ctx context.Context, p Process, io Stdio) (int, error) {
	panic("unimplemented")
}

// Kill sends a signal to the program, or to every process inside.
func (s *Sandbox) Kill(ctx context.Context, signal int, all bool) error { panic("unimplemented") }

func (s *Sandbox) Pause(ctx context.Context) error  { panic("unimplemented") }
func (s *Sandbox) Resume(ctx context.Context) error { panic("unimplemented") }

// Checkpoint writes a snapshot into dir; the sandbox goes on if leave is set, else it stops.
func (s *Sandbox) Checkpoint(ctx context.Context, dir string, leave bool) error {
	panic("unimplemented")
}

// Remove deletes a stopped sandbox's state; force kills it first. The trail stays.
func (s *Sandbox) Remove(ctx context.Context, force bool) error { panic("unimplemented") }

// SetTrace stamps following audit records with the id of the request being served.
func (s *Sandbox) SetTrace(id ident.ID) error { panic("unimplemented") }
