package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"surety/base/errs"
)

// wireName is what the guest's kernel calls its only network interface.
const wireName = "eth0"

// imageDisk is the read-only disk that the image comes on.
const imageDisk = "/dev/vda"

// agent serves the host's calls. Each call has a goroutine, ended by its answer.
type agent struct {
	inside  Inside
	console io.Writer // the inside may give os.Stderr to its program
	wire    string
	control *port
	streams *streams

	mu        sync.Mutex
	box       Box
	processes map[uint32]*process
	end       chan struct{} // closed by the host's call to end
	ending    sync.Once
}

// process is one started from outside.
type process struct {
	began chan struct{} // closed when signal is there
	done  chan struct{} // closed when exit and err are there

	signal func(int) error
	exit   Exit
	err    error
}

// agentMain is the whole life of the agent. It ends with the host's word or with the control port.
func agentMain(words []string, inside Inside) int {
	a := &agent{inside: inside, console: os.Stderr, processes: map[uint32]*process{},
		end: make(chan struct{})}
	if hasWire(words) {
		a.wire = wireName
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // until the network device is there
		fmt.Fprintln(a.console, "surety: agent:", err)
		return 1
	}
	if err := a.open(); err != nil {
		fmt.Fprintln(a.console, "surety: agent:", err)
		return 1
	}
	go func() { _ = a.streams.serve() }() // ends with the machine
	broken := make(chan error, 1)
	go func() { broken <- a.serve() }()
	select {
	case <-a.end:
	case err := <-broken:
		fmt.Fprintln(a.console, "surety: agent:", err)
	}
	if err := a.close(); err != nil {
		fmt.Fprintln(a.console, "surety: agent:", err)
	}
	return 0
}

// open opens the ports. The hello on the control port comes last: the host asks from then on.
func (a *agent) open() error {
	stdio, err := openPort(stdioPort)
	if err != nil {
		return err
	}
	a.streams = newStreams(stdio)
	a.control, err = openPort(controlPort)
	return err
}

// serve reads calls until the port ends.
func (a *agent) serve() error {
	for {
		m, err := readMessage(a.control.file)
		if err != nil {
			return err
		}
		var what call
		if err := json.Unmarshal(m.payload, &what); err != nil || m.kind != request {
			return errs.New(errs.Corrupt, "a message of kind %d that is no call", m.kind)
		}
		go a.reply(m.id, what)
	}
}

// reply carries out one call and answers it.
func (a *agent) reply(id uint32, what call) {
	result, err := a.perform(context.Background(), what)
	if err != nil {
		err = a.control.sendJSON(failure, id, complaint{Kind: errs.KindOf(err), Text: err.Error()})
	} else {
		err = a.control.sendJSON(answer, id, result)
	}
	if err != nil {
		fmt.Fprintln(a.console, "surety: agent: answer:", err)
	}
	if what.Op == opEnd {
		a.ending.Do(func() { close(a.end) })
	}
}

func (a *agent) perform(ctx context.Context, what call) (outcome, error) {
	switch what.Op {
	case opCreate:
		return outcome{}, a.create(ctx, what)
	case opEnd:
		return outcome{}, nil
	}
	a.mu.Lock()
	box := a.box
	a.mu.Unlock()
	if box == nil {
		return outcome{}, errs.New(errs.Refused, "%s: there is no sandbox yet", what.Op)
	}
	switch what.Op {
	case opStart:
		return outcome{}, box.Start(ctx)
	case opWait:
		exit, err := box.Wait(ctx)
		return outcome{Exit: exit}, err
	case opExec:
		return outcome{}, a.exec(ctx, box, what)
	case opJoin:
		return a.join(ctx, what.Process)
	case opSignal:
		return outcome{}, a.signal(ctx, what.Process, what.Signal)
	case opKill:
		return outcome{}, box.Kill(ctx, what.Signal, what.All)
	case opCall:
		body, err := box.Call(ctx, what.Order)
		return outcome{Body: body}, err
	case opTrace:
		return outcome{}, box.SetTrace(what.Trace)
	case opName:
		return outcome{}, box.SetName(what.Addr, what.Name, what.Until)
	}
	return outcome{}, errs.New(errs.Invalid, "no call is named %q", what.Op)
}

// create boots the sandbox.
func (a *agent) create(ctx context.Context, what call) error {
	place := Place{Wire: a.wire}
	if what.Image {
		place.Disk = imageDisk
	}
	streams, err := a.plug(0)
	if err != nil {
		return err
	}
	box, err := a.inside.Create(ctx, what.Order, place, streams)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.box = box
	return nil
}

// exec starts a process and returns when its streams are open.
func (a *agent) exec(ctx context.Context, box Box, what call) error {
	a.mu.Lock()
	if n := len(a.processes); n >= maxProcesses {
		a.mu.Unlock()
		return errs.New(errs.Busy, "%d processes started from outside are running, limit %d", n,
			maxProcesses)
	}
	p := &process{began: make(chan struct{}), done: make(chan struct{})}
	a.processes[what.Process] = p
	a.mu.Unlock()
	streams, err := a.plug(what.Process)
	if err != nil {
		a.forget(what.Process)
		return err
	}
	go func() {
		p.exit.Code, p.err = box.Exec(ctx, what.Order, streams, func(signal func(int) error) {
			p.signal = signal
			close(p.began)
		})
		close(p.done)
	}()
	return nil
}

// join waits for a process; whoever asks first learns how it ended.
func (a *agent) join(ctx context.Context, number uint32) (outcome, error) {
	a.mu.Lock()
	p := a.processes[number]
	a.mu.Unlock()
	if p == nil {
		return outcome{}, errs.New(errs.NotFound, "process %d was not started from outside", number)
	}
	defer a.forget(number)
	select {
	case <-p.done:
		return outcome{Exit: p.exit}, p.err
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
}

// signal sends a signal to a process, once it runs. One that has ended needs none.
func (a *agent) signal(ctx context.Context, number uint32, signal int) error {
	a.mu.Lock()
	p := a.processes[number]
	a.mu.Unlock()
	if p == nil {
		return errs.New(errs.NotFound, "process %d was not started from outside, or has ended", number)
	}
	select {
	case <-p.began:
		return p.signal(signal)
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *agent) forget(number uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.processes, number)
}

// plug makes the three pipes of a process and moves bytes between them and the port. What moves
// them ends with the pipes' other ends.
func (a *agent) plug(number uint32) (Streams, error) {
	var s Streams
	in, err := a.streams.reader(streamID(number, 0))
	if err != nil {
		return s, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		_ = in.Close()
		return s, errs.Wrap(err, "standard input")
	}
	s.Stdin = read
	go func() {
		_, _ = io.Copy(write, in) // ends with either end
		_ = write.Close()
		_ = in.Close()
	}()
	for i, file := range [...]**os.File{&s.Stdout, &s.Stderr} {
		out, err := a.streams.writer(streamID(number, i+1))
		if err != nil {
			return s, err
		}
		read, write, err := os.Pipe()
		if err != nil {
			return s, errs.Wrap(err, "standard output")
		}
		*file = write
		go func() {
			_, _ = io.Copy(out, read) // likewise
			_ = out.Close()
			_ = read.Close()
		}()
	}
	return s, nil
}

// close ends the sandbox.
func (a *agent) close() error {
	a.mu.Lock()
	box := a.box
	a.mu.Unlock()
	if box == nil {
		return nil
	}
	return box.Close()
}
