package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox/runtime"
)

// making are the options of create, run and restore.
type making struct {
	bundle, console, pidFile, image string
	detach                          bool
}

func (m *making) parse(name string, args []string) (id string, err error) {
	set := newFlags(name)
	set.string(&m.bundle, "bundle", ".")
	set.string(&m.bundle, "b", ".")
	set.string(&m.console, "console-socket", "")
	set.string(&m.pidFile, "pid-file", "")
	set.string(&m.image, "image-path", "")
	set.bool(&m.detach, "detach", "d")
	set.string(new(string), "work-path", "")
	set.ignored("no-pivot", "no-new-keyring", "no-subreaper", "keep", "tcp-established",
		"ext-unix-sk", "shell-job", "file-locks")
	rest, err := set.mixed(args)
	if err != nil {
		return "", err
	}
	if len(rest) != 1 {
		return "", errs.New(errs.Invalid, "takes one container id, got %q", rest)
	}
	return rest[0], nil
}

// make creates a container of a bundle.
func (c *call) make(ctx context.Context, m *making, id string) (*runtime.Sandbox, error) {
	spec, err := ReadBundle(m.bundle, id)
	if err != nil {
		return nil, err
	}
	if spec.Terminal && m.console == "" {
		return nil, errs.New(errs.Invalid, "process.terminal: --console-socket says where it goes")
	}
	if m.image != "" {
		if spec.Snapshot, err = filepath.Abs(m.image); err != nil {
			return nil, errs.Wrap(err, "--image-path")
		}
	}
	host, err := c.host()
	if err != nil {
		return nil, err
	}
	s, err := host.Create(ctx, *spec, runtime.Stdio{Stdin: os.Stdin, Stdout: os.Stdout,
		Stderr: os.Stderr, ConsoleSocket: m.console})
	if err != nil {
		return nil, err
	}
	if m.pidFile != "" {
		if err := writePid(m.pidFile, s.Supervisor()); err != nil {
			_ = s.Remove(ctx, true)
			return nil, err
		}
	}
	return s, nil
}

// writePid is the last step of a creation: callers wait for the file.
func writePid(path string, pid int) error {
	draft := path + ".new"
	if err := os.WriteFile(draft, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return errs.Wrap(err, "--pid-file")
	}
	return errs.Wrap(os.Rename(draft, path), "--pid-file")
}

func (c *call) create(ctx context.Context, args []string) (int, error) {
	var m making
	id, err := m.parse("create", args)
	if err != nil {
		return 0, err
	}
	_, err = c.make(ctx, &m, id)
	return 0, err
}

func (c *call) start(ctx context.Context, args []string) (int, error) {
	s, err := c.find(args)
	if err != nil {
		return 0, err
	}
	return 0, s.Start(ctx)
}

func (c *call) runBundle(ctx context.Context, args []string) (int, error) {
	var m making
	id, err := m.parse("run", args)
	if err != nil {
		return 0, err
	}
	return c.runToEnd(ctx, &m, id)
}

func (c *call) runToEnd(ctx context.Context, m *making, id string) (int, error) {
	s, err := c.make(ctx, m, id)
	if err != nil {
		return 0, err
	}
	if err := s.Start(ctx); err != nil {
		_ = s.Remove(context.WithoutCancel(ctx), true)
		return 0, err
	}
	if m.detach {
		return 0, nil
	}
	st, err := s.Wait(ctx)
	last := context.WithoutCancel(ctx)
	if err != nil && ctx.Err() == nil {
		return 0, err
	}
	if err := s.Remove(last, true); err != nil {
		return 0, err
	}
	return st.ExitCode, nil
}

func (c *call) restore(ctx context.Context, args []string) (int, error) {
	var m making
	id, err := m.parse("restore", args)
	if err != nil {
		return 0, err
	}
	if m.image == "" {
		return 0, errs.New(errs.Invalid, "--image-path says what to restore from")
	}
	return c.runToEnd(ctx, &m, id)
}

func (c *call) checkpoint(ctx context.Context, args []string) (int, error) {
	set := newFlags("checkpoint")
	image := set.string(new(string), "image-path", "checkpoint")
	var leave bool
	set.bool(&leave, "leave-running")
	set.string(new(string), "work-path", "")
	set.string(new(string), "parent-path", "")
	set.ignored("tcp-established", "ext-unix-sk", "shell-job", "file-locks", "pre-dump")
	rest, err := set.mixed(args)
	if err != nil {
		return 0, err
	}
	s, err := c.find(rest)
	if err != nil {
		return 0, err
	}
	if err := vacate(*image); err != nil {
		return 0, errs.Wrap(err, "--image-path")
	}
	return 0, s.Checkpoint(ctx, *image, leave)
}

// vacate removes an empty directory: callers make the one that a snapshot goes to, and a snapshot
// makes its own.
func vacate(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		return nil // the snapshot says what is wrong with it
	}
	return os.Remove(dir)
}

func (c *call) state(_ context.Context, args []string) (int, error) {
	s, err := c.find(args)
	if err != nil {
		return 0, err
	}
	st, err := s.State()
	if err != nil {
		return 0, err
	}
	return 0, c.show(stateOf(s.ID(), &st))
}

// stateOf is a container's state as the specification has it.
func stateOf(id string, st *runtime.State) *specs.State {
	out := &specs.State{Version: specVersion, ID: id, Status: specs.ContainerState(st.Status),
		Pid: st.Supervisor, Bundle: st.Spec.Bundle, Annotations: st.Spec.Labels}
	if st.Status == runtime.Paused {
		out.Status = "paused" // beyond the specification, and what callers of runc know
	}
	return out
}

func (c *call) show(value any) error {
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")
	return errs.Wrap(encoder.Encode(value), "write answer")
}

func (c *call) list(context.Context, []string) (int, error) {
	host, err := c.host()
	if err != nil {
		return 0, err
	}
	found, err := host.List()
	if err != nil {
		return 0, err
	}
	all := []*specs.State{}
	for _, s := range found {
		if st, err := s.State(); err == nil {
			all = append(all, stateOf(s.ID(), &st))
		}
	}
	return 0, c.show(all)
}

func (c *call) kill(ctx context.Context, args []string) (int, error) {
	set := newFlags("kill")
	var all bool
	set.bool(&all, "all", "a")
	rest, err := set.mixed(args)
	if err != nil {
		return 0, err
	}
	if len(rest) == 1 {
		rest = append(rest, "TERM")
	}
	if len(rest) != 2 {
		return 0, errs.New(errs.Invalid, "takes a container id and a signal, got %q", rest)
	}
	signal, err := runtime.ParseSignal(rest[1])
	if err != nil {
		return 0, err
	}
	s, err := c.find(rest[:1])
	if err != nil {
		return 0, err
	}
	err = s.Kill(ctx, signal, all)
	if st, stateErr := s.State(); err != nil && stateErr == nil && st.Status == runtime.Stopped {
		return 0, errs.New(errs.Refused, "container not running") // callers of runc know these words
	}
	return 0, err
}

func (c *call) delete(ctx context.Context, args []string) (int, error) {
	set := newFlags("delete")
	var force bool
	set.bool(&force, "force", "f")
	rest, err := set.mixed(args)
	if err != nil {
		return 0, err
	}
	s, err := c.find(rest)
	if errs.Is(err, errs.NotFound) && force {
		return 0, nil // as runc has it
	}
	if err != nil {
		return 0, err
	}
	st, err := s.State()
	if err == nil && st.Status == runtime.Created {
		force = true // the program never began: the specification lets such a one go
	}
	return 0, s.Remove(ctx, force)
}

func (c *call) pause(ctx context.Context, args []string) (int, error) {
	s, err := c.find(args)
	if err != nil {
		return 0, err
	}
	return 0, s.Pause(ctx)
}

func (c *call) resume(ctx context.Context, args []string) (int, error) {
	s, err := c.find(args)
	if err != nil {
		return 0, err
	}
	return 0, s.Resume(ctx)
}

// ps lists processes. The ids are those inside: the host has none for them. As JSON it is what
// containerd reads, ids of the host: the supervisor alone.
func (c *call) ps(ctx context.Context, args []string) (int, error) {
	set := newFlags("ps")
	format := set.string(new(string), "format", "table")
	rest, err := set.mixed(args)
	if err != nil {
		return 0, err
	}
	if len(rest) == 0 {
		return 0, errs.New(errs.Invalid, "takes a container id")
	}
	s, err := c.find(rest[:1])
	if err != nil {
		return 0, err
	}
	if *format == "json" {
		st, err := s.State()
		if err != nil {
			return 0, err
		}
		return 0, c.show([]int{st.Supervisor})
	}
	list, err := s.Processes(ctx)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(c.out, "%8s %8s %8s %s\n", "UID", "PID", "PPID", "CMD")
	for _, p := range list {
		fmt.Fprintf(c.out, "%8d %8d %8d %s\n", p.User, p.PID, p.Parent, p.Command)
	}
	return 0, nil
}

// event is one line of events, as runc has it.
type event struct {
	Type string     `json:"type"`
	ID   string     `json:"id"`
	Data eventStats `json:"data"`
}

type eventStats struct {
	CPU struct {
		Usage struct {
			Total uint64 `json:"total"`
		} `json:"usage"`
	} `json:"cpu"`
	Memory struct {
		Usage struct {
			Limit uint64 `json:"limit"`
			Usage uint64 `json:"usage"`
			Max   uint64 `json:"max"`
		} `json:"usage"`
	} `json:"memory"`
	Pids struct {
		Current uint64 `json:"current"`
	} `json:"pids"`
	Audit struct {
		Records uint64 `json:"records"`
		Refused uint64 `json:"refused"`
	} `json:"audit"`
}

func (c *call) events(ctx context.Context, args []string) (int, error) {
	set := newFlags("events")
	var once bool
	set.bool(&once, "stats")
	pace := set.string(new(string), "interval", "5s")
	rest, err := set.mixed(args)
	if err != nil {
		return 0, err
	}
	interval, err := time.ParseDuration(*pace)
	if err != nil || interval <= 0 {
		return 0, errs.New(errs.Invalid, "--interval %q is no time", *pace)
	}
	s, err := c.find(rest)
	if err != nil {
		return 0, err
	}
	for {
		st, err := s.Stats(ctx)
		if err != nil {
			return 0, err
		}
		e := event{Type: "stats", ID: s.ID()}
		e.Data.CPU.Usage.Total = uint64(st.CPU)
		e.Data.Memory.Usage.Limit = st.MemoryLimit
		e.Data.Memory.Usage.Usage = st.Memory
		e.Data.Memory.Usage.Max = st.MemoryPeak
		e.Data.Pids.Current = st.Processes
		e.Data.Audit.Records, e.Data.Audit.Refused = st.Records, st.Refused
		if err := json.NewEncoder(c.out).Encode(e); err != nil {
			return 0, errs.Wrap(err, "write answer")
		}
		if once {
			return 0, nil
		}
		timer := c.clock.NewTimer(clock.Duration(interval))
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0, nil
		case <-timer.C():
		}
	}
}
