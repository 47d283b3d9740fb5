package oci

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/runtime"
)

// proxyMark in the environment says that this process stands for one inside, detached: its pid is
// what the caller watches and signals, and its exit code is the other's.
const proxyMark = "SURETY_RUNTIME_PROXY"

// execution is exec's command line.
type execution struct {
	id, process, console, pidFile string
	cwd, user                     string
	env, caps                     []string
	detach, tty                   bool
	args                          []string
}

func (e *execution) parse(args []string) error {
	set := newFlags("exec")
	set.string(&e.process, "process", "")
	set.string(&e.process, "p", "")
	set.string(&e.console, "console-socket", "")
	set.string(&e.pidFile, "pid-file", "")
	set.string(&e.cwd, "cwd", "")
	set.string(&e.user, "user", "")
	set.string(&e.user, "u", "")
	set.list(&e.env, "env", "e")
	set.list(&e.caps, "cap", "c")
	set.bool(&e.detach, "detach", "d")
	set.bool(&e.tty, "tty", "t")
	set.string(new(string), "preserve-fds", "")
	set.ignored("no-new-privs", "ignore-paused")
	rest, err := set.parse(args)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return errs.New(errs.Invalid, "takes a container id")
	}
	e.id, e.args = rest[0], rest[1:]
	if len(e.caps) > 0 {
		return errs.New(errs.Invalid, "--cap: a process gets its container's capabilities")
	}
	return nil
}

func (c *call) exec(ctx context.Context, args []string) (int, error) {
	var e execution
	if err := e.parse(args); err != nil {
		return 0, err
	}
	if e.detach && c.lookup.or(proxyMark, "") == "" {
		return 0, e.spawnProxy()
	}
	p, err := e.wanted()
	if err != nil {
		return 0, err
	}
	s, err := c.find([]string{e.id})
	if err != nil {
		return 0, err
	}
	streams := runtime.Stdio{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if p.Terminal {
		if streams, err = e.terminal(); err != nil {
			return 0, err
		}
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	defer signal.Stop(signals)
	streams.Signals = signals
	if c.lookup.or(proxyMark, "") == "" {
		return s.Exec(ctx, *p, streams)
	}
	word := os.NewFile(proxyWord, "word")
	unix.CloseOnExec(proxyWord)
	streams.Began = func() { _, _ = word.WriteString(proxyBegan) }
	code, err := s.Exec(context.WithoutCancel(ctx), *p, streams) // signals are the other process's
	if err != nil {
		_, _ = word.WriteString(err.Error()) // lost where it has said that it began
	}
	return code, err
}

// A proxy says on descriptor proxyWord that the process inside runs, or why it does not.
const (
	proxyWord  = 3
	proxyBegan = "began"
)

// wanted is the process to run: of the file, or of the command line.
func (e *execution) wanted() (*runtime.Process, error) {
	if e.process == "" {
		p := &runtime.Process{Args: e.args, Env: e.env, Cwd: e.cwd, Terminal: e.tty}
		if e.user == "" {
			return p, nil
		}
		uid, gid, both := strings.Cut(e.user, ":")
		if !both {
			gid = uid
		}
		u, err1 := strconv.ParseUint(uid, 10, 32)
		g, err2 := strconv.ParseUint(gid, 10, 32)
		if err1 != nil || err2 != nil {
			return nil, errs.New(errs.Invalid, "--user %q is not UID or UID:GID", e.user)
		}
		p.User = &runtime.User{UID: uint32(u), GID: uint32(g)}
		return p, nil
	}
	content, err := os.ReadFile(e.process)
	if err != nil {
		return nil, errs.Wrap(err, "--process")
	}
	var of specs.Process
	if err := json.Unmarshal(content, &of); err != nil {
		return nil, errs.As(errs.Invalid, err, "--process %s", e.process)
	}
	p := processOf(&of)
	p.Terminal = of.Terminal || e.tty
	return p, nil
}

// processOf is a process of the specification, as far as a process beside the program may differ
// from it.
func processOf(of *specs.Process) *runtime.Process {
	return &runtime.Process{Args: of.Args, Env: of.Env, Cwd: of.Cwd, Terminal: of.Terminal,
		User: &runtime.User{UID: of.User.UID, GID: of.User.GID, Groups: of.User.AdditionalGids}}
}

// spawnProxy starts this command line again as a process that outlives this one, and gives its pid
// to the caller.
func (e *execution) spawnProxy() error {
	ready, write, err := os.Pipe()
	if err != nil {
		return errs.Wrap(err, "exec")
	}
	defer ready.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), proxyMark+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	write.Close()
	if err != nil {
		return errs.Wrap(err, "exec")
	}
	said, err := io.ReadAll(io.LimitReader(onlyFirst{ready}, maxWord))
	if err != nil || string(said) != proxyBegan {
		_ = cmd.Wait()
		return errs.New(errs.Invalid, "%s", said)
	}
	if e.pidFile == "" {
		return nil
	}
	return writePid(e.pidFile, cmd.Process.Pid)
}

// maxWord bounds what a proxy says.
const maxWord = 4096

// onlyFirst reads one message of a pipe: its writer keeps it open.
type onlyFirst struct{ from *os.File }

func (r onlyFirst) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil {
		return n, err
	}
	return n, io.EOF
}

// terminal makes a terminal, sends its master side to the console socket and returns its slave.
func (e *execution) terminal() (runtime.Stdio, error) {
	master, slave, err := runtime.OpenTerminal()
	if err != nil {
		return runtime.Stdio{}, err
	}
	defer master.Close()
	if e.console == "" {
		return runtime.Stdio{}, errs.New(errs.Invalid, "--tty: --console-socket says where it goes")
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: e.console, Net: "unix"})
	if err != nil {
		return runtime.Stdio{}, errs.Wrap(err, "--console-socket")
	}
	defer conn.Close()
	_, _, err = conn.WriteMsgUnix([]byte(master.Name()), unix.UnixRights(int(master.Fd())), nil)
	if err != nil {
		return runtime.Stdio{}, errs.Wrap(err, "--console-socket")
	}
	return runtime.Stdio{Stdin: slave, Stdout: slave, Stderr: slave}, nil
}
