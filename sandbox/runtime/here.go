package runtime

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// Run is Create, Start and Wait in one, with this process as the sandbox's supervisor: one process
// less to start. The sandbox ends with this process; when ctx is done its program is asked to end,
// and killed after patience. Meanwhile this process's own streams are the program's. Where another
// process has to be the supervisor (without root, with a terminal, in a virtual machine), it is.
func (h *Host) Run(ctx context.Context, spec Spec, io Stdio, patience time.Duration) (State, error) {
	if os.Geteuid() != 0 || spec.Terminal || spec.Class == VM {
		return h.runElsewhere(ctx, spec, io, patience)
	}
	s, content, err := h.begin(&spec)
	if err != nil {
		return State{}, err
	}
	told, lock, err := s.prepare(content)
	if err != nil {
		s.undo()
		return State{}, err
	}
	defer lock.Close()
	complaints, err := os.OpenFile(s.file(errorLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return State{}, errs.Wrap(err, "sandbox %s", s.id)
	}
	defer complaints.Close()
	lend, err := lendStreams(&told, io)
	if err != nil {
		return State{}, err
	}
	defer lend()
	v := newSupervisor(complaints)
	v.s, v.spec = s, spec
	stop := context.AfterFunc(ctx, func() { v.ask(patience) })
	defer stop()
	var refused error
	_, err = v.govern(&told, func() {
		io.handOver()
		if refused = v.start(nil); refused != nil {
			v.end("it could not be started: " + refused.Error())
			return
		}
		io.began()
	})
	if err != nil {
		s.undo()
		return State{}, err
	}
	st, err := s.readState()
	if refused != nil {
		err = refused
	}
	return st, err
}

func (h *Host) runElsewhere(ctx context.Context, spec Spec, io Stdio,
	patience time.Duration) (State, error) {
	s, err := h.Create(ctx, spec, io)
	io.handOver()
	if err != nil {
		return State{}, err
	}
	if err := s.Start(ctx); err != nil {
		return State{}, err
	}
	io.began()
	st, err := s.Wait(ctx)
	if ctx.Err() == nil {
		return st, err
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience+stopPatience)
	defer cancel()
	if err := s.Stop(ending, patience); err != nil {
		return st, err
	}
	return s.State()
}

// handOver tells the caller that the program has the streams.
func (io *Stdio) handOver() {
	if io.HandedOver != nil {
		io.HandedOver()
	}
}

// began tells the caller that the program runs.
func (io *Stdio) began() {
	if io.Began != nil {
		io.Began()
	}
}

// ask asks the program to end, and ends the sandbox when it does not.
func (v *supervisor) ask(patience time.Duration) {
	v.mu.Lock()
	running := v.state.Status == Running
	v.mu.Unlock()
	if running && v.body.signal(unix.SIGTERM, false) == nil {
		late := v.s.host.after(patience)
		defer late.Stop()
		select {
		case <-v.ended:
			return
		case <-late.C():
		}
	}
	v.end("it was told to end")
}

// lendStreams makes the given streams this process's own, which gVisor gives to the program, until
// the function returned is called.
func lendStreams(told *order, io Stdio) (func(), error) {
	told.LogOut, told.LogErr = io.Stdout == nil, io.Stderr == nil
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, errs.Wrap(err, "streams")
	}
	in, out, complaints := os.Stdin, os.Stdout, os.Stderr
	os.Stdin = null
	if io.Stdin != nil {
		os.Stdin = io.Stdin
	}
	if io.Stdout != nil {
		os.Stdout = io.Stdout
	}
	if io.Stderr != nil {
		os.Stderr = io.Stderr
	}
	return func() {
		os.Stdin, os.Stdout, os.Stderr = in, out, complaints
		_ = null.Close()
	}, nil
}
