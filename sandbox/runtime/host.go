package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"time"

	"gvisor.dev/gvisor/runsc/config"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/wallclock"
)

// Config says where sandboxes of this host keep their state.
type Config struct {
	Root   string // instances, images and the audit key; made with mode 0700
	Trails string // audit trails, one directory per sandbox; "" is Root/trails
	Log    *slog.Logger
	Clock  wallclock.Clock // nil: the machine's
	Debug  string          // directory that gVisor writes its own logs to; "" for none
}

// Host is one state directory and the sandboxes in it. Several processes may hold it at once.
type Host struct{ config Config }

// Open makes the directories where they are absent.
func Open(c Config) (*Host, error) {
	root, err := filepath.Abs(c.Root)
	if err != nil || c.Root == "" {
		return nil, errs.New(errs.Invalid, "runtime.Open: state directory %q", c.Root)
	}
	c.Root = root
	if c.Trails == "" {
		c.Trails = filepath.Join(root, "trails")
	}
	if c.Trails, err = filepath.Abs(c.Trails); err != nil {
		return nil, errs.Wrap(err, "runtime.Open: trails directory")
	}
	if c.Clock == nil {
		c.Clock = wallclock.System()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for _, dir := range []string{c.Root, filepath.Join(c.Root, "instances"), c.Trails} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, errs.Wrap(err, "runtime.Open")
		}
	}
	return &Host{config: c}, nil
}

// now is the time of state files and logs, in UTC.
func (h *Host) now() time.Time { return time.Unix(0, int64(h.config.Clock.Now())).UTC() }

// after fires once.
func (h *Host) after(d time.Duration) wallclock.Timer {
	return h.config.Clock.NewTimer(clock.Duration(d))
}

// Root is the state directory, absolute.
func (h *Host) Root() string { return h.config.Root }

// Find returns the sandbox with the id: kind NotFound when there is none.
func (h *Host) Find(id string) (*Sandbox, error) {
	if !idForm.MatchString(id) {
		return nil, errs.New(errs.Invalid, "sandbox id %q is not of the form %s", id, idForm)
	}
	s := h.handle(id)
	if _, err := os.Stat(s.file(specFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, errs.New(errs.NotFound, "no sandbox %s in %s", id, h.config.Root)
	} else if err != nil {
		return nil, errs.Wrap(err, "sandbox %s", id)
	}
	return s, nil
}

// List returns all sandboxes, oldest first. Those whose supervisor died are finished on the way.
func (h *Host) List() ([]*Sandbox, error) {
	entries, err := os.ReadDir(filepath.Join(h.config.Root, "instances"))
	if err != nil {
		return nil, errs.Wrap(err, "list sandboxes")
	}
	type aged struct {
		s    *Sandbox
		made int64
	}
	var found []aged
	for _, e := range entries {
		if info, err := e.Info(); err == nil && idForm.MatchString(e.Name()) {
			found = append(found, aged{h.handle(e.Name()), info.ModTime().UnixNano()})
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].made < found[j].made })
	var all []*Sandbox
	for _, f := range found {
		if _, err := os.Stat(f.s.file(specFile)); err != nil {
			continue // being made, or being removed
		}
		if _, err := f.s.State(); err != nil {
			h.config.Log.Warn("sandbox cannot be read", "id", f.s.id, "error", err)
		}
		all = append(all, f.s)
	}
	return all, nil
}

func (h *Host) handle(id string) *Sandbox {
	return &Sandbox{host: h, id: id, dir: filepath.Join(h.config.Root, "instances", id)}
}

// Create boots a sandbox up to the point where the program would run, in a supervisor process of
// its own, and returns once the birth record has been read from it. An id that is taken is kind
// Exists; a spec that cannot be is Invalid and leaves nothing behind.
func (h *Host) Create(ctx context.Context, spec Spec, io Stdio) (*Sandbox, error) {
	s, content, err := h.begin(&spec)
	if err != nil {
		return nil, err
	}
	if err := s.launch(ctx, content, &spec, io); err != nil {
		s.undo()
		return nil, err
	}
	return s, nil
}

// Possible reports whether this program can start sandboxes at all: it is linked statically.
func Possible() bool { return !config.CgoEnabled }

// begin checks a spec and takes its id.
func (h *Host) begin(spec *Spec) (*Sandbox, []byte, error) {
	if err := spec.Check(); err != nil {
		return nil, nil, err
	}
	if !Possible() {
		return nil, nil, errs.New(errs.Unavailable, "sandbox %s: the kernel inside starts where no library "+
			"is: this program has to be built with CGO_ENABLED=0", spec.ID)
	}
	content, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return nil, nil, errs.Wrap(err, "sandbox %s: encode spec", spec.ID)
	}
	if len(content) > maxSpecBytes {
		return nil, nil, errs.New(errs.TooLarge, "sandbox %s: spec of %d bytes, at most %d", spec.ID,
			len(content), maxSpecBytes)
	}
	s := h.handle(spec.ID)
	s.lent = spec.secrets()
	return s, content, s.claim()
}

// undo removes what a start that failed left. A trail that was begun is ended, and stays.
func (s *Sandbox) undo() {
	if st, err := s.readState(); err == nil && st.Trail != "" {
		s.endTrail(st.Trail)
	}
	if err := s.clear(); err != nil {
		s.host.config.Log.Warn("remains of a failed start", "id", s.id, "error", err)
	}
}

// endTrail ends what a supervisor that was killed while starting had begun.
func (s *Sandbox) endTrail(dir string) {
	if os.Remove(dir) == nil {
		return // nothing was in it
	}
	s.sweep()
	if err := s.recoverTrail(dir, "its start was given up"); err != nil {
		s.host.config.Log.Warn("trail of a failed start", "id", s.id, "error", err)
	}
}

// claim makes the instance directory; whoever makes it owns the id.
func (s *Sandbox) claim() error {
	err := os.Mkdir(s.dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return errs.New(errs.Exists, "sandbox %s exists: remove it or take another id", s.id)
	}
	return errs.Wrap(err, "sandbox %s: instance directory", s.id)
}
