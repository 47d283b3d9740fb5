package vm

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sys/wallclock"
)

// qemu is the process outside.
type qemu struct {
	pid  int
	proc *os.Process
	gone chan struct{} // closed when it has ended and its last words are in

	mu    sync.Mutex
	words tail  // of the guest's console, and QEMU's own
	err   error // how it ended
}

// ends are the host's ends of the ports.
type ends struct{ control, stdio, trail *port }

// startQEMU starts the process with the files it needs and no other. When it fails, nothing is left.
func startQEMU(c Config, r Report, with accelerator) (*qemu, ends, error) {
	p := parcel{next: 3}
	defer p.close()
	m := machine{id: c.ID, with: with}
	if with == software {
		m.pace = pace(wallclock.System())
	}
	err := p.pack(c, r, &m)
	if err != nil {
		p.abandon()
		return nil, ends{}, err
	}
	cmd := exec.Command(r.QEMU, m.args()...)
	cmd.ExtraFiles = p.files
	cmd.Env = []string{}
	cmd.Dir = "/"
	if cmd.SysProcAttr, err = confine(c.ID, with); err != nil {
		p.abandon()
		return nil, ends{}, err
	}
	q := &qemu{gone: make(chan struct{})}
	complaints := &chatter{q: q}
	cmd.Stdout, cmd.Stderr = complaints, complaints
	console := p.ours[0]
	started := make(chan error)
	go q.live(cmd, console, p.ours, started)
	if err := <-started; err != nil {
		p.abandon()
		return nil, ends{}, errs.Wrap(err, "class vm: start %s", r.QEMU)
	}
	return q, ends{control: &port{name: controlPort, file: p.ours[1]},
		stdio: &port{name: stdioPort, file: p.ours[2]},
		trail: &port{name: trailPort, file: p.ours[3]}}, nil
}

// live is the process's whole life. It keeps its thread: the process is to die with the thread that
// started it, which must therefore not end before the process that it belongs to.
func (q *qemu) live(cmd *exec.Cmd, console io.Reader, ours []*os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	q.pid, q.proc = cmd.Process.Pid, cmd.Process
	heard := make(chan struct{})
	go func() {
		_, _ = io.Copy(&chatter{q: q}, console) // ends with the process, which has the other end
		close(heard)
	}()
	started <- nil
	err := cmd.Wait()
	<-heard
	q.mu.Lock()
	q.err = err
	q.mu.Unlock()
	for _, f := range ours {
		_ = f.Close() // lets go of who reads: nothing comes any more
	}
	close(q.gone)
}

// kill ends the process; live notices.
func (q *qemu) kill() { _ = q.proc.Kill() } // one that has ended stays so

// lastWords is what the guest's console and QEMU said, and how QEMU ended.
func (q *qemu) lastWords() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var parts []string
	if q.err != nil {
		parts = append(parts, "QEMU: "+q.err.Error())
	}
	text, _, _ := strings.Cut(q.words.String(), "Call Trace:") // the kernel's own is of no use here
	if text = strings.TrimSpace(text); text != "" {
		parts = append(parts, "last words: "+text)
	}
	return strings.Join(parts, "; ")
}

// chatter collects what QEMU and the guest's console say.
type chatter struct{ q *qemu }

func (c *chatter) Write(p []byte) (int, error) {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	return c.q.words.Write(p)
}

// tail keeps the last consoleTail bytes written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - consoleTail; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// String is what was kept, printable: it came from a guest.
func (t *tail) String() string {
	return string(bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f && r < 0x80 {
			return r
		}
		return -1
	}, t.kept))
}

// parcel is the files a process is started with, and our ends of its sockets.
type parcel struct {
	next  int
	files []*os.File // theirs, from descriptor 3 on
	ours  []*os.File // console, control, stdio, trail
	own   []*os.File // of files, those that are not the caller's
}

// pack opens everything and writes down its numbers.
func (p *parcel) pack(c Config, r Report, m *machine) error {
	initial, err := prepareInitial(c.Cache, "/proc/self/exe", r.Kernel)
	if err != nil {
		return err
	}
	if m.kernel, err = p.open(r.Kernel.Image); err != nil {
		return err
	}
	if m.initial, err = p.open(initial); err != nil {
		return err
	}
	var imageBytes int64
	if c.Image != nil {
		info, err := c.Image.Stat()
		if err != nil {
			return errs.Wrap(err, "class vm: image")
		}
		imageBytes = info.Size()
		image, err := readOnly(c.Image)
		if err != nil {
			return err
		}
		m.image = p.add(image, true)
	}
	if m.memory, m.cpus, err = size(imageBytes, c.MemoryBytes, c.CPUMillis, runtime.NumCPU()); err != nil {
		return err
	}
	for _, number := range [...]*int{&m.console, &m.control, &m.stdio, &m.trail} {
		if *number, err = p.socket(); err != nil {
			return err
		}
	}
	if c.Wire != nil {
		m.wire = p.add(c.Wire, false)
	}
	return nil
}

func (p *parcel) open(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, errs.Wrap(err, "class vm")
	}
	return p.add(f, true), nil
}

// add returns the number the file will have.
func (p *parcel) add(f *os.File, own bool) int {
	p.files = append(p.files, f)
	if own {
		p.own = append(p.own, f)
	}
	p.next++
	return p.next - 1
}

// socket makes a pair: one end theirs, one end ours.
func (p *parcel) socket() (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, errs.Wrap(err, "class vm: socket")
	}
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return 0, errs.Wrap(err, "class vm: socket")
	}
	p.ours = append(p.ours, os.NewFile(uintptr(pair[0]), "port"))
	return p.add(os.NewFile(uintptr(pair[1]), "port"), true), nil
}

// close gives up what is now the process's.
func (p *parcel) close() {
	for _, f := range p.own {
		_ = f.Close()
	}
}

// abandon gives up our ends too.
func (p *parcel) abandon() {
	for _, f := range p.ours {
		_ = f.Close()
	}
}

// firstOwner is where the users begin that machines run as when we are root: a number of each
// machine's own, in a range that nobody gives to people, so that no machine can touch another.
const firstOwner = 0x70000000

// confine says as whom and in what the process runs. As root: a user of its own without groups but
// that of the hardware, and without the host's network, processes and host name. Otherwise as who
// we are.
func confine(id string, with accelerator) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	sum := sha256.Sum256([]byte(id))
	owner := uint32(firstOwner) + uint32(sum[0])<<16 + uint32(sum[1])<<8 + uint32(sum[2])
	attr.Credential = &syscall.Credential{Uid: owner, Gid: owner}
	attr.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS |
		syscall.CLONE_NEWPID
	if with == hardware {
		info, err := os.Stat("/dev/kvm")
		if err != nil {
			return nil, errs.Wrap(err, "class vm")
		}
		status, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil, errors.New("class vm: /dev/kvm has no group")
		}
		attr.Credential.Groups = []uint32{status.Gid}
	}
	return attr, nil
}
