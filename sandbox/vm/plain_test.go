package vm

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/sandbox"
)

// TestMain lets the test's own binary be the guest's, as the product's is.
func TestMain(m *testing.M) {
	if IsGuest(os.Args) {
		os.Exit(GuestMain(os.Args, plain{}))
	}
	if len(os.Args) > 1 && os.Args[0] == "program" {
		os.Exit(program(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// plain runs programs as they are: the machine without the sandbox.
type plain struct{}

type plainBox struct {
	cmd   *exec.Cmd
	trail *Trail
	done  chan struct{}
	err   error
}

// plainOrder is what plain takes: arguments of this binary as "program", and how many records it
// puts into the trail before the program runs.
type plainOrder struct {
	Args    []string
	Records int
}

func (plain) Create(_ context.Context, order []byte, in Place, io Streams) (Box, error) {
	var o plainOrder
	if err := json.Unmarshal(order, &o); err != nil {
		return nil, errs.As(errs.Invalid, err, "order")
	}
	if len(o.Args) == 0 {
		return nil, errs.New(errs.Invalid, "args: nothing to run")
	}
	trail, err := OpenTrail()
	if err != nil {
		return nil, err
	}
	b := &plainBox{cmd: plainCommand(o, io), trail: trail, done: make(chan struct{})}
	var frames []byte
	for i := range o.Records {
		r := sandbox.Record{Seq: uint64(i + 1), Kind: sandbox.KindOpen, Path: "/x"}
		frames = append(r.Append(frames), make([]byte, 32)...)
	}
	return b, trail.Append(frames)
}

func plainCommand(o plainOrder, io Streams) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"program"}, o.Args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.Stdin, io.Stdout, io.Stderr
	return cmd
}

func (b *plainBox) Start(context.Context) error {
	err := b.cmd.Start()
	closeAll(b.cmd)
	go func() {
		if err == nil {
			err = b.cmd.Wait()
		}
		b.err = errors.Join(err, b.trail.Close())
		close(b.done)
	}()
	return err
}

func closeAll(cmd *exec.Cmd) {
	for _, f := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		f.(*os.File).Close()
	}
}

func (b *plainBox) Wait(context.Context) (Exit, error) {
	<-b.done
	return Exit{Code: code(b.cmd.ProcessState)}, nil
}

func code(s *os.ProcessState) int {
	if status := s.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal())
	}
	return s.ExitCode()
}

func (b *plainBox) Exec(_ context.Context, process []byte, io Streams,
	began func(func(int) error)) (int, error) {
	var o plainOrder
	if err := json.Unmarshal(process, &o); err != nil {
		return 0, errs.As(errs.Invalid, err, "process")
	}
	cmd := plainCommand(o, io)
	err := cmd.Start()
	closeAll(cmd)
	if err == nil {
		began(func(signal int) error { return cmd.Process.Signal(syscall.Signal(signal)) })
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return code(cmd.ProcessState), err
}

func (b *plainBox) Call(_ context.Context, order []byte) ([]byte, error) { return order, nil }

func (b *plainBox) Kill(_ context.Context, signal int, _ bool) error {
	return b.cmd.Process.Signal(syscall.Signal(signal))
}

func (b *plainBox) SetTrace(ident.ID) error { return nil }

func (b *plainBox) SetName(netip.Addr, string, clock.Instant) error { return nil }

func (b *plainBox) Close() error { return nil }
