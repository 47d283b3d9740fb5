package vm

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// Config says what machine to run, and what in it.
type Config struct {
	ID        string // of the sandbox: names the process
	Kernel    string // root of the guest kernel, as FindKernel takes it; "" to look for one
	Cache     string // directory of the initial file systems; made with mode 0700
	Emulation bool   // software emulation, asked for by name

	Image       *os.File // the root file system, nil for none; stays the caller's
	MemoryBytes int64    // the program's share; 0: 256 MiB
	CPUMillis   int64    // rounded up to whole processors; 0: all of the host's
	Wire        *os.File // the guest's end of a Wire, nil for no network; stays the caller's

	Log *slog.Logger // nil: none
}

// Stdio are the host's ends of a process's streams. A nil Stdin is empty, a nil Stdout or Stderr
// goes nowhere.
type Stdio struct {
	Stdin          *os.File
	Stdout, Stderr io.Writer
}

// Machine is one running virtual machine with one sandbox in it.
type Machine struct {
	config  Config
	qemu    *qemu
	calls   *caller
	streams *streams
	trail   *Frames
	readers sync.WaitGroup // one for each port, and the console
	awake   chan struct{}  // closed by the guest's hello
	rouse   sync.Once

	mu      sync.Mutex
	process uint32 // the last number given to a process
	program *pumps // of the sandbox's own program
	closing bool
}

// Run starts a machine and returns when its guest is up; then come Create, with somebody who takes
// frames from Trail meanwhile, and Start. Errors: Unavailable when this machine runs no such guests,
// with what the probe found, or when the guest does not boot, with its last words; TooLarge. Nothing
// is left then.
func Run(ctx context.Context, c Config) (*Machine, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	report := look(c.Kernel)
	if !c.Emulation {
		report = Probe(ctx, c.Kernel)
	}
	with, err := report.usable(c.Emulation)
	if err != nil {
		return nil, err
	}
	if with == software {
		c.Log.Warn("class vm: SOFTWARE EMULATION, many times slower than hardware: for tests alone",
			"sandbox", c.ID)
	}
	q, ends, err := startQEMU(c, report, with)
	if err != nil {
		return nil, err
	}
	m := &Machine{config: c, qemu: q, awake: make(chan struct{}), streams: newStreams(ends.stdio),
		calls: newCaller(ends.control), trail: newFrames(ends.trail)}
	m.serve(controlPort, m.serveControl)
	m.serve(stdioPort, m.streams.serve)
	m.serve(trailPort, m.trail.serve)
	patient, cancel := context.WithTimeout(ctx, bootPatience)
	defer cancel()
	select {
	case <-m.awake:
		return m, nil
	case <-q.gone:
		err = errs.New(errs.Unavailable, "class vm: the guest did not boot")
	case <-patient.Done():
		err = errs.New(errs.Unavailable, "class vm: the guest did not say hello within %s", bootPatience)
		if ctx.Err() != nil {
			err = errs.As(errs.Canceled, ctx.Err(), "class vm: boot")
		}
	}
	m.qemu.kill()
	err = m.explain(err)
	_ = m.Close() // the first error is the one to tell
	return nil, err
}

// serve runs the reader of a port. A port that breaks while the machine is wanted ends the machine:
// the guest is not what it was.
func (m *Machine) serve(name string, read func() error) {
	m.readers.Go(func() {
		err := read()
		m.mu.Lock()
		wanted := !m.closing
		m.mu.Unlock()
		if wanted && errs.Is(err, errs.Corrupt) {
			m.config.Log.Error("class vm: the guest sent what it must not; ending it", "port", name, "error", err)
			m.qemu.kill()
		}
	})
}

// serveControl reads answers; the first message is the guest's hello.
func (m *Machine) serveControl() error {
	for {
		said, err := readMessage(m.calls.port.file)
		if err == nil && said.kind == hello {
			m.rouse.Do(func() { close(m.awake) })
			continue
		}
		if err == nil {
			err = m.calls.take(said)
		}
		if err != nil {
			m.calls.fail(err)
			return err
		}
	}
}

// Create boots the sandbox that order describes, in the runtime's own words, up to its gate. It can
// be called once. The birth record is on its way before it returns: it may have to be taken from
// Trail first. Errors: what Inside.Create said.
func (m *Machine) Create(ctx context.Context, order json.RawMessage, io Stdio) error {
	what := call{Op: opCreate, Order: order, Image: m.config.Image != nil}
	p, err := m.plug(0, io)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.program = p
	m.mu.Unlock()
	if _, err := m.calls.ask(ctx, what); err != nil {
		return m.explain(err)
	}
	return p.feed()
}

// Start opens the gate: the program's first instruction runs.
func (m *Machine) Start(ctx context.Context) error {
	_, err := m.calls.ask(ctx, call{Op: opStart})
	return m.explain(err)
}

// Wait returns when the program has ended and all it wrote has been passed on. Errors: Unavailable
// when the machine was gone before, with its last words.
func (m *Machine) Wait(ctx context.Context) (Exit, error) {
	o, err := m.calls.ask(ctx, call{Op: opWait})
	if err != nil {
		return Exit{}, m.explain(err)
	}
	m.program.drain()
	return o.Exit, nil
}

// Exec runs a process, described in the runtime's own words, to its end and returns its exit code.
// began, where it is not nil, is called once the process has its streams, with its number for
// Signal. When ctx is done the process is killed.
func (m *Machine) Exec(ctx context.Context, process json.RawMessage, io Stdio,
	began func(process uint32)) (int, error) {
	m.mu.Lock()
	m.process++
	number := m.process
	m.mu.Unlock()
	p, err := m.plug(number, io)
	if err != nil {
		return 0, err
	}
	defer p.unplug()
	if _, err := m.calls.ask(ctx, call{Op: opExec, Process: number, Order: process}); err != nil {
		return 0, m.explain(err)
	}
	if err := p.feed(); err != nil {
		return 0, err
	}
	if began != nil {
		began(number)
	}
	defer context.AfterFunc(ctx, func() {
		_ = m.Signal(context.Background(), number, int(unix.SIGKILL)) // it may have ended
	})()
	o, err := m.calls.ask(context.WithoutCancel(ctx), call{Op: opJoin, Process: number})
	if err != nil {
		return 0, m.explain(err)
	}
	p.drain()
	return o.Exit.Code, nil
}

// Signal sends a signal to a process that Exec runs: kind NotFound when it has ended.
func (m *Machine) Signal(ctx context.Context, process uint32, signal int) error {
	_, err := m.calls.ask(ctx, call{Op: opSignal, Process: process, Signal: signal})
	return m.explain(err)
}

// Call is a request of the runtime to itself, inside.
func (m *Machine) Call(ctx context.Context, order json.RawMessage) (json.RawMessage, error) {
	o, err := m.calls.ask(ctx, call{Op: opCall, Order: order})
	return o.Body, m.explain(err)
}

// Kill sends a signal to the program, or to every process inside.
func (m *Machine) Kill(ctx context.Context, signal int, all bool) error {
	_, err := m.calls.ask(ctx, call{Op: opKill, Signal: signal, All: all})
	return m.explain(err)
}

// SetTrace stamps following audit records with the id of the request being served.
func (m *Machine) SetTrace(ctx context.Context, id ident.ID) error {
	_, err := m.calls.ask(ctx, call{Op: opTrace, Trace: id})
	return m.explain(err)
}

// SetName tells the kernel inside what name an address was given out for. It returns when the
// kernel knows, so that an answer sent afterwards cannot be used before.
func (m *Machine) SetName(addr netip.Addr, name string, until clock.Instant) error {
	ctx, cancel := context.WithTimeout(context.Background(), nameTime)
	defer cancel()
	_, err := m.calls.ask(ctx, call{Op: opName, Addr: addr, Name: name, Until: until})
	return m.explain(err)
}

// Trail is where the audit's frames come out.
func (m *Machine) Trail() *Frames { return m.trail }

// Next and Advance are those of Trail.
func (m *Machine) Next(wait time.Duration) ([]byte, error) { return m.trail.Next(wait) }
func (m *Machine) Advance(n int) error                     { m.trail.Advance(n); return nil }

// Gone is closed when the machine has ended, by whatever cause.
func (m *Machine) Gone() <-chan struct{} { return m.qemu.gone }

// PID is QEMU's process on the host.
func (m *Machine) PID() int { return m.qemu.pid }

// Cut ends the machine at once, as pulling its plug would.
func (m *Machine) Cut() { m.qemu.kill() }

// Close ends the sandbox and the machine, gives the guest a few seconds to do so itself, and waits
// until nothing of it is left. It may be called again.
func (m *Machine) Close() error {
	m.mu.Lock()
	first := !m.closing
	m.closing = true
	m.mu.Unlock()
	if first {
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		if _, err := m.calls.ask(ctx, call{Op: opEnd}); err == nil {
			select {
			case <-m.qemu.gone:
			case <-ctx.Done():
			}
		}
		m.qemu.kill()
	}
	<-m.qemu.gone
	m.readers.Wait()
	m.mu.Lock()
	program := m.program
	m.mu.Unlock()
	if program != nil {
		program.unplug()
	}
	return nil
}

// explain adds the guest's last words to an error that says only that it is gone.
func (m *Machine) explain(err error) error {
	if err == nil || !errs.Is(err, errs.Unavailable) {
		return err
	}
	if !within(noticeTime, m.qemu.gone) { // its end may not have been noticed yet
		return err
	}
	if words := m.qemu.lastWords(); words != "" {
		return errs.As(errs.Unavailable, err, "%s", words)
	}
	return err
}

// within waits for a channel to be closed, and reports whether it was.
func within(d time.Duration, closed <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	select {
	case <-closed:
		return true
	case <-ctx.Done():
		return false
	}
}
