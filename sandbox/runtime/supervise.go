package runtime

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/egress"
	"surety/sandbox/trail"
)

// Descriptors a supervisor is started with, after its three streams.
const (
	answerFD    = 3 // where its word on the start goes
	lockFD      = 4 // the lock that says it lives
	complaintFD = 5 // its own log
	layerFD     = 6 // the first of its secret layers
)

// supervisor answers for one sandbox: everything outside the boundary.
type supervisor struct {
	s    *Sandbox
	spec Spec
	log  *slog.Logger

	key       trail.SigningKey
	body      body
	policy    *sandbox.Compiled
	names     func(netip.Addr, string, clock.Instant) error // ring.SetName, wherever the ring is
	collector *collector
	gateway   *egress.Gateway // nil without a network of its own
	door      *net.UnixListener
	held      *heldStreams // of a pool's sandbox, until it is taken
	started   chan error   // what begin returned, once the gate was opened
	cleanup   []func()     // in reverse, when the sandbox has ended

	saving   sync.Mutex // held while a snapshot is taken and recorded
	mu       sync.Mutex
	sessions map[string]int32 // pids of what exec started
	state    State
	reason   string // the first cause of an end that is not the program's own
	ended    chan struct{}
}

// IsSupervisor reports whether the process was started to be a supervisor.
func IsSupervisor(argv []string) bool {
	return len(argv) == 2 && argv[0] == supervisorName
}

// SupervisorMain is the whole life of a supervisor process. It returns the program's exit code.
func SupervisorMain(argv []string) int {
	own := os.NewFile(complaintFD, errorLog)
	unix.CloseOnExec(complaintFD)
	unix.CloseOnExec(lockFD)
	unix.CloseOnExec(answerFD)
	v := newSupervisor(own)
	word := os.NewFile(answerFD, "answer")
	code, err := v.live(argv[1], func() { reply(word, nil) })
	if err != nil {
		v.log.Error("sandbox", "error", err)
		reply(word, err)
		return exitLost
	}
	return code
}

// reply gives the supervisor's word on the start; only the first one counts.
func reply(to *os.File, err error) {
	var said launched
	if err != nil {
		said = launched{Kind: errs.KindOf(err), Text: err.Error()}
	}
	if content, err := json.Marshal(said); err == nil {
		_, _ = to.Write(content) // who asked may be gone
	}
	_ = to.Close()
}

func newSupervisor(complaints io.Writer) *supervisor {
	return &supervisor{
		log:      slog.New(slog.NewTextHandler(complaints, nil)),
		ended:    make(chan struct{}),
		sessions: map[string]int32{},
		started:  make(chan error, 1),
	}
}

// live brings the sandbox up, says so, and returns when it has ended: a supervisor process.
func (v *supervisor) live(line string, up func()) (code int, err error) {
	var told order
	if err := json.Unmarshal([]byte(line), &told); err != nil {
		return 0, errs.As(errs.Invalid, err, "supervisor: order")
	}
	host, err := Open(Config{Root: told.Root, Trails: told.Trails, Log: v.log})
	if err != nil {
		return 0, err
	}
	v.s = host.handle(told.ID)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	if err := v.s.readJSON(specFile, &v.spec); err != nil {
		return 0, err
	}
	if err := v.spec.receiveSecrets(); err != nil {
		return 0, err
	}
	go func() {
		for range signals {
			v.end("the supervisor was told to end")
		}
	}()
	return v.govern(&told, up)
}

// govern is a sandbox's whole life: boot, up, end.
func (v *supervisor) govern(told *order, up func()) (code int, err error) {
	defer v.clean()
	if err := v.boot(told); err != nil {
		v.abandon(err)
		return 0, err
	}
	v.setState(func(st *State) { st.Status = Created })
	go v.serve()
	up()
	return v.finish()
}

// boot takes every step up to the birth record.
func (v *supervisor) boot(told *order) error {
	v.state = State{Status: Created, Supervisor: os.Getpid(), Made: v.s.host.now(),
		Trail: told.Trail}
	for _, step := range [...]func(*order) error{
		v.capture, v.loadKey, v.listen, v.incarnate, v.awaken,
	} {
		if err := step(told); err != nil {
			return err
		}
	}
	return nil
}

// capture sets this process's streams, which gVisor gives to the program.
func (v *supervisor) capture(told *order) error {
	if told.Later {
		return v.holdStreams()
	}
	if !told.LogOut && !told.LogErr {
		return nil
	}
	book, err := openLog(v.s.file(outputLog), v.s.host.now)
	if err != nil {
		return err
	}
	var writers []*os.File
	v.later(func() {
		for _, w := range writers {
			_ = w.Close() // the kernel's copies are gone by now
		}
		_ = book.close()
	})
	for _, stream := range [...]struct {
		on   bool
		name string
		file **os.File
	}{{told.LogOut, "stdout", &os.Stdout}, {told.LogErr, "stderr", &os.Stderr}} {
		if !stream.on {
			continue
		}
		read, write, err := os.Pipe()
		if err != nil {
			return errs.Wrap(err, "sandbox %s: %s", v.s.id, stream.name)
		}
		*stream.file = write
		writers = append(writers, write)
		book.follow(stream.name, read)
	}
	return nil
}

// listen opens the control socket.
func (v *supervisor) listen(*order) error {
	path := v.s.file(controlFile)
	door, err := listenUnix("unixpacket", path)
	if err != nil {
		return err
	}
	v.door = door
	v.later(func() {
		_ = door.Close()
		_ = os.Remove(path)
	})
	return nil
}

// finish waits for the end and closes everything in its order: the program is gone, then the last
// record is in the trail, then the state says stopped, then the lock is let go.
func (v *supervisor) finish() (int, error) {
	code, reason := v.outlast()
	v.mu.Lock()
	if v.reason != "" {
		reason = v.reason
	}
	v.mu.Unlock()
	if err := v.closeTrail(reason, code); err != nil {
		v.log.Error("close the trail", "error", err)
		reason = fmt.Sprintf("%s; and its trail could not be closed: %v", reason, err)
	}
	v.destroy()
	v.clean()
	v.setState(func(st *State) {
		st.Status, st.ExitCode, st.Ended = Stopped, code, v.s.host.now()
		st.Supervisor, st.Kernel, st.Reason = 0, 0, reason
	})
	close(v.ended)
	return code, nil
}

// closeTrail writes the last record, behind that of a snapshot which is just being taken.
func (v *supervisor) closeTrail(reason string, code int) error {
	v.saving.Lock()
	defer v.saving.Unlock()
	return v.collector.finish(reason, code)
}

// outlast waits for the program's end, or for the kernel's where the program never began.
func (v *supervisor) outlast() (code int, reason string) {
	if err := <-v.started; err != nil {
		return exitLost, "did not start: " + err.Error()
	}
	return v.body.wait()
}

// end kills the sandbox; the first reason stands.
func (v *supervisor) end(reason string) {
	v.mu.Lock()
	if v.reason == "" {
		v.reason = reason
	}
	pid := v.state.Kernel
	v.mu.Unlock()
	if pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// abandon writes down a start that failed, when there is a trail to write it to.
func (v *supervisor) abandon(cause error) {
	v.end("start failed")
	if v.collector != nil {
		if err := v.collector.finish("did not start: "+cause.Error(), 125); err != nil {
			v.log.Warn("close the trail", "error", err)
		}
	}
	v.destroy()
}

// destroy removes what the kernel left on the host.
func (v *supervisor) destroy() {
	if v.body == nil {
		return
	}
	if err := v.body.destroy(); err != nil {
		v.log.Warn("remove what the kernel left", "error", err)
	}
}

func (v *supervisor) later(f func()) { v.cleanup = append(v.cleanup, f) }

func (v *supervisor) clean() {
	for len(v.cleanup) > 0 {
		last := len(v.cleanup) - 1
		f := v.cleanup[last]
		v.cleanup = v.cleanup[:last]
		f()
	}
}

func (v *supervisor) setState(change func(*State)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(&v.state)
	if err := v.s.writeState(&v.state); err != nil {
		v.log.Error("write state", "error", err)
	}
}
