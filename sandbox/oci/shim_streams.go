package oci

import (
	"context"
	"io"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/runtime"
)

// drainPatience is how long a terminal's last output may take to be read after its process ended.
const drainPatience = 2 * time.Second

// streamNames say where a process's streams go: named pipes, or file:// for output; "" for nowhere.
type streamNames struct {
	stdin, stdout, stderr string
	terminal              bool
}

// streams are one process's. A process without a terminal writes to the named pipes themselves, so
// that its output does not pass through the shim and outlives it; the shim keeps their far ends open,
// so that a reader that goes away and comes back does not break them. Its input is copied: it ends
// when the last writer has closed the named pipe, or with closeInput.
type streams struct {
	files [3]*os.File // the process's ends
	keep  []*os.File  // far ends of its output

	source string   // named pipe of its input; "" for none
	input  *os.File // what is copied to: a pipe to files[0]

	master *os.File // of its terminal
	copies sync.WaitGroup
	once   sync.Once

	mu     sync.Mutex
	reader *os.File // of source, once a writer has come
	shut   bool     // no more input
}

// openStreams opens what is named. When it fails nothing stays open.
func openStreams(n streamNames) (s *streams, err error) {
	s = &streams{source: n.stdin}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.files[1], err = s.openOutput(n.stdout); err != nil {
		return s, errs.Wrap(err, "stdout")
	}
	if n.terminal {
		return s, nil // which has one output, and is its own input
	}
	if s.files[2], err = s.openOutput(n.stderr); err != nil {
		return s, errs.Wrap(err, "stderr")
	}
	if n.stdin == "" {
		s.files[0], err = os.Open(os.DevNull)
		return s, errs.Wrap(err, "stdin")
	}
	if s.files[0], s.input, err = os.Pipe(); err != nil {
		return s, errs.Wrap(err, "stdin")
	}
	go s.feed(s.input)
	return s, nil
}

// feed copies the named pipe to a process, and closes the way where it is not a terminal.
func (s *streams) feed(to *os.File) {
	if s.awaitWriter() {
		_, _ = io.Copy(to, s.reader) // ends when either side has gone
	}
	if to != s.master {
		_ = to.Close()
	}
}

// awaitWriter opens the named pipe, which waits for a writer. It reports false where closeInput came
// first, or where there is no pipe.
func (s *streams) awaitWriter() bool {
	fd, err := unix.Open(s.source, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut || unix.SetNonblock(fd, true) != nil { // so that closing it ends a read
		_ = unix.Close(fd)
		return false
	}
	s.reader = os.NewFile(uintptr(fd), s.source)
	return true
}

// closeInput ends the process's input, and whoever waits for it.
func (s *streams) closeInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut || s.source == "" {
		return
	}
	s.shut = true
	if s.reader != nil {
		_ = s.reader.Close()
		return
	}
	// Somebody who may write lets awaitWriter go on, and see that it is over.
	if fd, err := unix.Open(s.source, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
		s.keep = append(s.keep, os.NewFile(uintptr(fd), s.source))
	}
}

func (s *streams) openOutput(name string) (*os.File, error) {
	if name == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	u, err := url.Parse(name)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "%q", name)
	}
	switch u.Scheme {
	case "", "fifo":
	case "file":
		return os.OpenFile(u.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	default:
		return nil, errs.New(errs.Invalid, "scheme %q is neither fifo nor file", u.Scheme)
	}
	far, err := unix.Open(u.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s.keep = append(s.keep, os.NewFile(uintptr(far), name))
	fd, err := unix.Open(u.Path, unix.O_WRONLY|unix.O_CLOEXEC, 0) // a reader is there
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// stdio are the streams as the runtime takes them.
func (s *streams) stdio() runtime.Stdio {
	return runtime.Stdio{Stdin: s.files[0], Stdout: s.files[1], Stderr: s.files[2]}
}

// handedOver closes the process's ends, once it has its own.
func (s *streams) handedOver() {
	for i, f := range s.files {
		if f != nil {
			_ = f.Close()
			s.files[i] = nil
		}
	}
}

// attach copies between a terminal and the pipes.
func (s *streams) attach(master *os.File) {
	out := s.files[1]
	s.files[1] = nil
	s.master = master
	if s.source != "" {
		go s.feed(master)
	}
	s.copies.Add(1)
	go func() {
		defer s.copies.Done()
		_, _ = io.Copy(out, master) // ends with EIO, when the last process has closed the terminal
		_ = out.Close()
	}()
}

// resize tells the terminal its size.
func (s *streams) resize(width, height uint32) error {
	if s.master == nil {
		return errs.New(errs.Refused, "it has no terminal")
	}
	size := unix.Winsize{Col: uint16(width), Row: uint16(height)}
	raw, err := s.master.SyscallConn()
	if err != nil {
		return errs.Wrap(err, "resize")
	}
	failed := raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &size)
	})
	if failed != nil {
		err = failed
	}
	return errs.Wrap(err, "resize")
}

// close lets go of everything. The process has ended, or never began.
func (s *streams) close() {
	s.once.Do(func() {
		s.handedOver()
		if s.master != nil {
			ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
			go func() {
				s.copies.Wait()
				cancel()
			}()
			<-ctx.Done()
			_ = s.master.Close()
		}
		s.closeInput()
		for _, f := range s.keep {
			_ = f.Close()
		}
	})
}
