package runtime

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"surety/base/errs"
	"surety/sys/vfs"
)

// Files of an instance directory.
const (
	specFile    = "spec.json"
	stateFile   = "state.json"
	ringFile    = "ring"
	policyFile  = "audit.json" // what the kernel inside is told: policy, birth, ring
	bundleDir   = "bundle"
	gvisorDir   = "gvisor"
	controlFile = "control.sock"
	lockFile    = "supervisor.lock"
	errorLog    = "supervisor.log"
	outputLog   = "output.log"
)

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
	Spec       Spec      `json:"-"`
	Status     Status    `json:"status"`
	Supervisor int       `json:"supervisor"` // pid on the host; 0 once stopped
	Kernel     int       `json:"kernel"`     // pid of the kernel process; 0 once stopped
	Made       time.Time `json:"made"`
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended"`
	ExitCode   int       `json:"exit_code"` // 128+n after signal n
	Reason     string    `json:"reason,omitempty"`
	Image      string    `json:"image"` // digest of the root file system, sha256:hex; "" for a directory
	Policy     string    `json:"policy"`
	Trail      string    `json:"trail"` // directory
}

// State reads what the supervisor last wrote. A supervisor that died unfinished is finished first.
func (s *Sandbox) State() (State, error) {
	st, err := s.readState()
	if err != nil || st.Status == Stopped {
		return st, err
	}
	dead, err := s.orphaned()
	if err != nil || !dead {
		return st, err
	}
	if err := s.recover(); err != nil {
		return st, errs.Wrap(err, "sandbox %s: its supervisor died; finishing it", s.id)
	}
	return s.readState()
}

func (s *Sandbox) readState() (State, error) {
	var st State
	if err := s.readJSON(specFile, &st.Spec); err != nil {
		return st, err
	}
	err := s.readJSON(stateFile, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return State{Spec: st.Spec, Status: Created}, nil
	}
	return st, err
}

func (s *Sandbox) writeState(st *State) error {
	content, err := json.Marshal(st)
	if err != nil {
		return errs.Wrap(err, "sandbox %s: encode state", s.id)
	}
	return replaceFile(s.file(stateFile), content)
}

func (s *Sandbox) readJSON(name string, into any) error {
	content, err := vfs.ReadWhole(vfs.OS{}, s.file(name), maxSpecBytes)
	if err != nil {
		return errs.Wrap(err, "sandbox %s", s.id)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return errs.As(errs.Corrupt, err, "sandbox %s: %s", s.id, name)
	}
	return nil
}

func (s *Sandbox) file(name string) string { return filepath.Join(s.dir, name) }

// clear removes the instance directory and all below it.
func (s *Sandbox) clear() error { return os.RemoveAll(s.dir) }
