package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/sandbox/image"
	"surety/sandbox/ring"
	"surety/sandbox/vm"
)

// Guest is what runs in a virtual machine's guest: the same cell as on a host, its records sent out.
type Guest struct{}

// guestDir is where a guest's cell keeps its files: memory.
const guestDir = "/run/surety"

// Create boots the cell that order describes, up to its gate.
func (Guest) Create(_ context.Context, order []byte, in vm.Place, io vm.Streams) (vm.Box, error) {
	var told guestOrder
	if err := json.Unmarshal(order, &told); err != nil {
		return nil, errs.As(errs.Invalid, err, "order")
	}
	if err := os.MkdirAll(guestDir, 0o700); err != nil {
		return nil, errs.Wrap(err, "guest")
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	// The machine is the limit: no cgroup inside is needed.
	told.Spec.Limits = Limits{Processes: told.Spec.Limits.Processes}
	c, err := newCell(told.Spec.ID, guestDir, &told.Spec, log)
	if err != nil {
		return nil, err
	}
	b := &guestBox{cell: c, started: make(chan error, 1), sent: make(chan struct{}),
		failed: make(chan error, 1), streams: io}
	if err := b.boot(&told, in); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// guestBox is the cell of a guest, with what carries its records out.
type guestBox struct {
	cell    *cell
	sealed  *image.Sealed // held as long as the guest lives: the kernel opens it by path; may be nil
	streams vm.Streams
	started chan error
	failed  chan error    // of carrying records out
	sent    chan struct{} // closed when all records have been carried out
	stop    context.CancelFunc
}

// boot measures the image, starts the kernel and sends out its birth record.
func (b *guestBox) boot(told *guestOrder, in vm.Place) error {
	path := ""
	if in.Disk != "" {
		var err error
		if b.sealed, err = image.Seal(context.Background(), in.Disk, told.Digest); err != nil {
			return err
		}
		path = b.sealed.Path()
	}
	if err := b.cell.compose(path); err != nil {
		return err
	}
	if err := wireGuest(b.cell, in.Wire); err != nil {
		return err
	}
	birth, err := b.cell.birth(told.Digest, told.Binary, told.Key, told.Host)
	if err != nil {
		return err
	}
	out, err := vm.OpenTrail()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	born := make(chan struct{})
	go b.carry(ctx, out, born)
	os.Stdin, os.Stdout, os.Stderr = b.streams.Stdin, b.streams.Stdout, b.streams.Stderr
	err = b.cell.ignite(birth, "")
	for _, f := range []*os.File{b.streams.Stdin, b.streams.Stdout, b.streams.Stderr} {
		_ = f.Close() // the kernel process has its own
	}
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		err := b.cell.begin()
		if err != nil {
			failed <- err
		}
		b.started <- err
	}()
	select {
	case <-born:
		return nil
	case err := <-failed:
		return err
	case err := <-b.failed:
		return err
	}
}

// carry takes frames from the ring to the host. What the host has not stored stays in the ring.
func (b *guestBox) carry(ctx context.Context, out *vm.Trail, born chan struct{}) {
	defer close(b.sent)
	const pace = 100 * time.Millisecond
	from := ring.NewConsumer(b.cell.ring)
	defer from.Close()
	for {
		stopping := ctx.Err() != nil
		wait := pace
		if stopping {
			wait = 0
		}
		frames, err := from.Next(wait)
		if err == nil && len(frames) > 0 {
			err = out.Append(frames)
		}
		if err != nil {
			b.failed <- err
			return
		}
		if len(frames) > 0 && born != nil {
			close(born)
			born = nil
		}
		from.Advance(len(frames))
		if stopping && len(frames) == 0 {
			if err := out.Close(); err != nil {
				b.failed <- err
			}
			return
		}
	}
}

// Start opens the gate.
func (b *guestBox) Start(context.Context) error { return b.cell.release() }

// Wait returns when the program has ended and every record of it has been sent.
func (b *guestBox) Wait(context.Context) (vm.Exit, error) {
	exit := vm.Exit{Code: exitLost}
	if err := <-b.started; err != nil {
		exit.Reason = "did not start: " + err.Error()
	} else {
		exit.Code, exit.Reason = b.cell.wait()
	}
	b.stop()
	<-b.sent
	select {
	case err := <-b.failed:
		exit.Reason = "audit: " + err.Error()
	default:
	}
	return exit, nil
}

// Exec runs a process to its end; it is killed when ctx is done.
func (b *guestBox) Exec(ctx context.Context, process []byte, io vm.Streams,
	began func(func(int) error)) (int, error) {
	files := []*os.File{io.Stdin, io.Stdout, io.Stderr}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	var p Process
	if err := json.Unmarshal(process, &p); err != nil {
		return 0, errs.As(errs.Invalid, err, "process")
	}
	done := make(chan struct{})
	defer close(done)
	return b.cell.exec(&p, files, func(pid int32) {
		for _, f := range files {
			_ = f.Close()
		}
		began(func(signal int) error { return b.cell.signalProcess(pid, unix.Signal(signal)) })
		go func() {
			select {
			case <-ctx.Done():
				_ = b.cell.signalProcess(pid, unix.SIGKILL)
			case <-done:
			}
		}()
	})
}

// Call carries out a request of the supervisor's.
func (b *guestBox) Call(_ context.Context, order []byte) ([]byte, error) {
	var r request
	if err := json.Unmarshal(order, &r); err != nil {
		return nil, errs.As(errs.Invalid, err, "request")
	}
	var value any
	var err error
	switch r.Op {
	case "pause":
		err = b.cell.pause()
	case "resume":
		err = b.cell.resume()
	case "processes":
		value, err = b.cell.processes()
	case "stats":
		value, err = b.cell.stats()
	default:
		err = errs.New(errs.Invalid, "no such request: %q", r.Op)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// Kill sends a signal to the program, or to all processes.
func (b *guestBox) Kill(_ context.Context, signal int, all bool) error {
	return b.cell.signal(unix.Signal(signal), all)
}

// SetTrace stamps following records.
func (b *guestBox) SetTrace(id ident.ID) error {
	b.cell.ring.SetTrace(id)
	return nil
}

// SetName tells the kernel inside what name an address stands for.
func (b *guestBox) SetName(addr netip.Addr, name string, until clock.Instant) error {
	return b.cell.ring.SetName(addr, name, until)
}

// Close ends the sandbox.
func (b *guestBox) Close() error {
	if b.stop != nil {
		b.stop()
	}
	err := b.cell.destroy()
	if b.sealed != nil {
		err = errors.Join(err, b.sealed.Close())
	}
	return err
}
