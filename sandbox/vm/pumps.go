package vm

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// pumps move the streams of one process between the port and the host's ends.
type pumps struct {
	in    *outlet
	from  *os.File
	stop  *os.File // the writing end of a pipe: closed, it ends the input
	stops *os.File
	out   [2]*inlet
	moved sync.WaitGroup // of out
	done  chan struct{}  // closed when both are moved
	fed   sync.WaitGroup
	once  sync.Once
}

// streamID numbers the streams of a process: 0 its input, 1 and 2 its output.
func streamID(process uint32, stream int) uint32 { return process*4 + uint32(stream) }

// plug opens the host's ends of a process's streams; its output is moved from now on.
func (m *Machine) plug(process uint32, to Stdio) (*pumps, error) {
	p := &pumps{from: to.Stdin, done: make(chan struct{})}
	var err error
	if p.in, err = m.streams.writer(streamID(process, 0)); err != nil {
		return nil, err
	}
	for i, w := range [...]io.Writer{to.Stdout, to.Stderr} {
		if p.out[i], err = m.streams.reader(streamID(process, i+1)); err != nil {
			p.unplug()
			return nil, err
		}
		if w == nil {
			w = io.Discard
		}
		p.moved.Go(func() {
			if _, err := io.Copy(w, p.out[i]); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				_ = p.out[i].Close() // nobody takes it: its writer is told
			}
		})
	}
	go func() {
		p.moved.Wait()
		close(p.done)
	}()
	return p, nil
}

// feed begins to move the input, once the guest has opened its end. It ends with the input, or with
// unplug.
func (p *pumps) feed() error {
	if p.from == nil {
		return p.in.Close()
	}
	var err error
	if p.stops, p.stop, err = os.Pipe(); err != nil {
		return errs.Wrap(err, "vm: standard input")
	}
	p.fed.Go(func() {
		_, _ = io.Copy(p.in, patient{p.from, p.stops}) // a port that fails is noticed where it is read
		_ = p.in.Close()
		_ = p.stops.Close()
	})
	return nil
}

// drain returns when all output has been moved, or after a time when somebody who was left behind
// holds it open.
func (p *pumps) drain() { within(drainPatience, p.done) }

// unplug closes what is open and waits for who moves the input. It may be called again.
func (p *pumps) unplug() {
	p.once.Do(func() {
		_ = p.in.Close()
		for _, i := range p.out {
			if i != nil {
				_ = i.Close()
			}
		}
		if p.stop != nil {
			_ = p.stop.Close()
		}
		p.fed.Wait()
	})
}

// patient reads a file only when there is something to read, until stop can be read too. Its read
// therefore never takes what was typed for whoever reads the same terminal next.
type patient struct{ from, stop *os.File }

func (r patient) Read(into []byte) (int, error) {
	fds := []unix.PollFd{
		{Fd: int32(r.from.Fd()), Events: unix.POLLIN}, {Fd: int32(r.stop.Fd()), Events: unix.POLLIN},
	}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, errs.Wrap(err, "vm: standard input")
		case fds[1].Revents != 0:
			return 0, io.EOF
		default:
			return r.from.Read(into)
		}
	}
}
