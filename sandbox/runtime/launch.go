package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// supervisorName is what a supervisor process is called, and how it knows that it is one.
const supervisorName = "surety-supervisor"

// Stdio are the program's streams. A nil Stdin is empty; a nil Stdout or Stderr goes to the
// sandbox's log. With Spec.Terminal they are not used: the terminal's master side goes to Console,
// or, as the OCI runtime has it, to whoever listens on the unix socket ConsoleSocket.
type Stdio struct {
	Stdin, Stdout, Stderr *os.File
	Console               func(master *os.File)
	ConsoleSocket         string
	Attached              bool // the sandbox ends when this process does

	Later bool // the streams come with the start, from a pool

	// HandedOver is called by Run when the program has the streams: the caller may close its own.
	HandedOver func()

	Began func() // called by Run and Exec once the program, or the process, runs

	// Of Exec alone.
	Signals <-chan os.Signal // passed on to the process inside
}

// order is what a supervisor is told on its start, besides the spec.
type order struct {
	Root, Trails, ID string
	Trail            string // directory of the trail, new
	LogOut, LogErr   bool   // capture the stream
	Later            bool   // the streams come with the start
	Debug            string // directory of gVisor's own logs; "" for none
	Rootless         bool   // the supervisor is root in a user namespace, and nobody outside
	ConsoleSocket    string // where the terminal's master goes
}

// launched is a supervisor's answer: the sandbox is created, or why not.
type launched struct {
	Kind errs.Kind `json:"kind"`
	Text string    `json:"text"`
}

// prepare writes what a supervisor starts from and takes its lock.
func (s *Sandbox) prepare(content []byte) (order, *os.File, error) {
	told := order{Root: s.host.config.Root, Trails: s.host.config.Trails, ID: s.id,
		Debug: s.host.config.Debug}
	if err := os.WriteFile(s.file(specFile), content, 0o600); err != nil {
		return told, nil, errs.Wrap(err, "sandbox %s", s.id)
	}
	lock, err := s.lock(unix.LOCK_EX | unix.LOCK_NB)
	if err != nil {
		return told, nil, err
	}
	if told.Trail, err = s.host.newTrail(s.id); err != nil {
		lock.Close()
		return told, nil, err
	}
	made := State{Status: Created, Made: s.host.now(), Trail: told.Trail}
	if err := s.writeState(&made); err != nil {
		lock.Close()
		return told, nil, err
	}
	return told, lock, nil
}

// launch starts the supervisor and waits for its word. When it fails, the supervisor is gone.
func (s *Sandbox) launch(ctx context.Context, content []byte, spec *Spec, io Stdio) error {
	told, lock, err := s.prepare(content)
	if err != nil {
		return err
	}
	defer lock.Close()
	if told.Rootless = os.Geteuid() != 0; told.Rootless {
		if err := rootless(spec); err != nil {
			return err
		}
	}
	var console *consoleDoor
	if spec.Terminal {
		if told.ConsoleSocket = io.ConsoleSocket; told.ConsoleSocket == "" {
			if console, err = openConsole(s.file("console.sock")); err != nil {
				return err
			}
			defer console.close()
			told.ConsoleSocket = console.path
		}
	} else {
		told.Later = io.Later
		told.LogOut, told.LogErr = io.Stdout == nil && !io.Later, io.Stderr == nil && !io.Later
	}
	answer, done, err := s.spawn(told, lock, io)
	if err != nil {
		return err
	}
	patience := bootPatience
	if spec.Class == VM {
		patience = machinePatience
	}
	if err := s.await(ctx, patience, answer, done); err != nil {
		return err
	}
	if console != nil {
		master, err := console.receive()
		if err != nil {
			return err
		}
		io.Console(master)
	}
	return nil
}

// newTrail reserves the directory of a new trail: the sandbox's name, and a number behind it where
// an earlier sandbox of that name left its own.
func (h *Host) newTrail(id string) (string, error) {
	for n := 1; n <= maxNamesakes; n++ {
		dir := filepath.Join(h.config.Trails, id)
		if n > 1 {
			dir = fmt.Sprintf("%s.%d", dir, n)
		}
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", errs.Wrap(err, "sandbox %s: trail", id)
		}
	}
	return "", errs.New(errs.TooLarge, "sandbox %s: %d trails of that name in %s", id, maxNamesakes,
		h.config.Trails)
}

// FindTrail returns the directory of the latest trail of a sandbox of that name, the one last written
// to where earlier ones may have been taken away: kind NotFound.
func (h *Host) FindTrail(id string) (string, error) {
	if !idForm.MatchString(id) {
		return "", errs.New(errs.Invalid, "sandbox id %q is not of the form %s", id, idForm)
	}
	if st, err := h.handle(id).readState(); err == nil && st.Trail != "" {
		return st.Trail, nil
	}
	entries, err := os.ReadDir(h.config.Trails)
	if err != nil {
		return "", errs.Wrap(err, "trails")
	}
	var latest string
	var written time.Time
	for _, e := range entries {
		number, namesake := strings.CutPrefix(e.Name(), id+".")
		if _, err := strconv.ParseUint(number, 10, 32); e.Name() != id && (!namesake || err != nil) {
			continue
		}
		if info, err := e.Info(); err == nil && !info.ModTime().Before(written) {
			latest, written = e.Name(), info.ModTime()
		}
	}
	if latest == "" {
		return "", errs.New(errs.NotFound, "no trail of %s in %s", id, h.config.Trails)
	}
	return filepath.Join(h.config.Trails, latest), nil
}

// spawn starts the supervisor process. The channel is closed when it has ended.
func (s *Sandbox) spawn(told order, lock *os.File, io Stdio) (*os.File, chan struct{}, error) {
	line, err := json.Marshal(told)
	if err != nil {
		return nil, nil, errs.Wrap(err, "sandbox %s: encode order", s.id)
	}
	answer, write, err := os.Pipe()
	if err != nil {
		return nil, nil, errs.Wrap(err, "sandbox %s", s.id)
	}
	defer write.Close()
	complaints, err := os.OpenFile(s.file(errorLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, errs.Wrap(err, "sandbox %s", s.id)
	}
	defer complaints.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{supervisorName, string(line)}
	cmd.Dir = "/"
	cmd.Env = []string{defaultPath}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if told.Rootless {
		inOwnNamespace(cmd.SysProcAttr)
	}
	if io.Attached {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	}
	streams := [3]**os.File{&io.Stdin, &io.Stdout, &io.Stderr}
	for i, f := range streams {
		if *f == nil {
			*streams[i] = complaints // replaced by the supervisor
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.Stdin, io.Stdout, io.Stderr
	cmd.ExtraFiles = append([]*os.File{write, lock, complaints}, s.lent...)
	if io.Stdin == complaints {
		cmd.Stdin = nil
	}
	if err := cmd.Start(); err != nil {
		answer.Close()
		if told.Rootless {
			return nil, nil, errs.As(errs.Forbidden, err, "sandbox %s: a user namespace, which sandboxes "+
				"need where root is not to be had (user.max_user_namespaces, "+
				"kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)", s.id)
		}
		return nil, nil, errs.Wrap(err, "sandbox %s: start its supervisor", s.id)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended stands in the state file
		close(done)
	}()
	s.pid = cmd.Process.Pid
	return answer, done, nil
}

// inOwnNamespace makes the process root of a user namespace in which only its own user exists.
func inOwnNamespace(a *syscall.SysProcAttr) {
	a.Cloneflags |= syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
}

// rootless refuses what only root can have.
func rootless(spec *Spec) error {
	switch l := spec.Limits; {
	case l.MemoryBytes > 0:
		return errs.New(errs.Forbidden, "limits.memory_bytes: cgroups are root's")
	case l.CPUMillis > 0:
		return errs.New(errs.Forbidden, "limits.cpu_millis: cgroups are root's")
	case spec.OCI != nil:
		return errs.New(errs.Forbidden, "bundles are run by root: their users and cgroups are many")
	}
	return nil
}

// await reads the supervisor's word, and ends the supervisor when it is a bad one.
func (s *Sandbox) await(ctx context.Context, patience time.Duration, answer *os.File,
	done chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type word struct {
		content []byte
		err     error
	}
	words := make(chan word, 1)
	go func() {
		content, err := io.ReadAll(io.LimitReader(answer, maxControlMessage))
		answer.Close()
		words <- word{content, err}
	}()
	select {
	case w := <-words:
		var said launched
		if err := json.Unmarshal(w.content, &said); err != nil || w.err != nil {
			<-done
			return errs.New(errs.Internal, "sandbox %s: its supervisor died while starting: %s", s.id,
				s.complaint())
		}
		if said.Text != "" {
			<-done
			return errs.New(said.Kind, "%s", said.Text)
		}
		return nil
	case <-ctx.Done():
		_ = unix.Kill(s.pid, unix.SIGKILL) // the kernel process dies with it
		<-done
		return errs.As(errs.Canceled, ctx.Err(), "sandbox %s: not up within %s", s.id, patience)
	}
}

// complaint is the end of the supervisor's log, for an error that has nothing better to say.
func (s *Sandbox) complaint() string {
	content, err := os.ReadFile(s.file(errorLog))
	if err != nil || len(content) == 0 {
		return "it left no word"
	}
	const tail = 600
	if len(content) > tail {
		content = content[len(content)-tail:]
	}
	return strings.TrimSpace(string(content))
}

// lock takes the supervisor's lock, which says that somebody answers for the sandbox.
func (s *Sandbox) lock(how int) (*os.File, error) {
	f, err := os.OpenFile(s.file(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errs.Wrap(err, "sandbox %s", s.id)
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, errs.As(errs.Locked, err, "sandbox %s: its supervisor lives", s.id)
	}
	return f, nil
}

// consoleDoor receives the master side of the program's terminal.
type consoleDoor struct {
	path     string
	listener *net.UnixListener
}

func openConsole(path string) (*consoleDoor, error) {
	listener, err := listenUnix("unix", path)
	if err != nil {
		return nil, err
	}
	return &consoleDoor{path: path, listener: listener}, nil
}

func (d *consoleDoor) close() {
	_ = d.listener.Close()
	_ = os.Remove(d.path)
}

func (d *consoleDoor) receive() (*os.File, error) {
	conn, err := d.listener.AcceptUnix()
	if err != nil {
		return nil, errs.Wrap(err, "receive the terminal")
	}
	defer conn.Close()
	_, files, err := readMessage(conn)
	if err != nil {
		return nil, errs.Wrap(err, "receive the terminal")
	}
	if len(files) != 1 {
		return nil, errs.New(errs.Internal, "receive the terminal: %d files", len(files))
	}
	return files[0], nil
}

// listenUnix listens at a path of any length: the kernel's limit of 107 bytes is met by going
// through a descriptor of the directory.
func listenUnix(network, path string) (*net.UnixListener, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, errs.Wrap(err, "listen")
	}
	defer dir.Close()
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: throughDir(dir, path), Net: network})
	if err != nil {
		return nil, errs.Wrap(err, "listen at %s", path)
	}
	l.SetUnlinkOnClose(false) // the name it knows is gone by then
	return l, nil
}

func dialUnix(network, path string) (*net.UnixConn, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return net.DialUnix(network, nil, &net.UnixAddr{Name: throughDir(dir, path), Net: network})
}
