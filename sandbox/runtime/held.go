package runtime

import (
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// heldStreams are the supervisor's ends of pipes whose other ends a waiting program was given: what
// they are connected with is known only when somebody takes the sandbox.
type heldStreams struct {
	input  *os.File    // written to
	output [2]*os.File // read from: standard output and error
	ours   []*os.File  // the program's ends, closed when it has its own
	copies sync.WaitGroup
}

// holdStreams gives this process, and so the program, pipes for streams.
func (v *supervisor) holdStreams() error {
	h := &heldStreams{}
	read, write, err := os.Pipe()
	if err != nil {
		return errs.Wrap(err, "sandbox %s: streams", v.s.id)
	}
	os.Stdin, h.input, h.ours = read, write, append(h.ours, read)
	for i, stream := range [...]**os.File{&os.Stdout, &os.Stderr} {
		read, write, err := os.Pipe()
		if err != nil {
			return errs.Wrap(err, "sandbox %s: streams", v.s.id)
		}
		*stream, h.output[i], h.ours = write, read, append(h.ours, write)
	}
	v.held = h
	v.later(h.close)
	return nil
}

// connect begins to copy between the pipes and the streams given, which are duplicated.
func (h *heldStreams) connect(files []*os.File) error {
	if len(files) != 3 {
		return errs.New(errs.Invalid, "%d streams, wants 3", len(files))
	}
	var own [3]*os.File
	for i, f := range files {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return errs.Wrap(err, "streams")
		}
		own[i] = os.NewFile(uintptr(fd), "stream")
	}
	go func() { // ends with the input, or with the program
		_, _ = io.Copy(h.input, own[0])
		_ = h.input.Close()
		_ = own[0].Close()
	}()
	for i, from := range h.output {
		h.copies.Add(1)
		go func() {
			defer h.copies.Done()
			_, _ = io.Copy(own[i+1], from)
			_ = own[i+1].Close()
		}()
	}
	return nil
}

// close waits until what the program wrote has been passed on. The program is gone by then.
func (h *heldStreams) close() {
	for _, f := range h.ours {
		_ = f.Close()
	}
	h.copies.Wait()
	_ = h.input.Close()
	for _, f := range h.output {
		_ = f.Close()
	}
}
