package vm

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/egress"
)

// Wire is an ethernet wire between a machine and whoever reads frames here: a pair of datagram
// sockets, one frame in each datagram. It is an egress.Link.
type Wire struct {
	Guest *os.File // for Config.Wire; may be closed once the machine runs

	file *os.File
	raw  syscall.RawConn
}

// WireMTU is the longest IP packet on the wire: the guest's network device takes no more.
const WireMTU = 1500

// NewWire makes a wire.
func NewWire() (*Wire, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errs.Wrap(err, "vm: wire")
	}
	if err := unix.SetNonblock(pair[0], true); err != nil {
		_, _ = unix.Close(pair[0]), unix.Close(pair[1])
		return nil, errs.Wrap(err, "vm: wire")
	}
	w := &Wire{file: os.NewFile(uintptr(pair[0]), "wire"), Guest: os.NewFile(uintptr(pair[1]), "wire")}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return nil, errors.Join(errs.Wrap(err, "vm: wire"), w.Close(), w.Guest.Close())
	}
	return w, nil
}

// ReadFrame implements egress.Link.
func (w *Wire) ReadFrame(bufs [][]byte) (n int, err error) {
	var errno error
	err = w.raw.Read(func(fd uintptr) bool {
		n, errno = unix.Readv(int(fd), bufs)
		return !errors.Is(errno, unix.EAGAIN) && !errors.Is(errno, unix.EINTR)
	})
	switch {
	case errors.Is(err, os.ErrClosed), err == nil && errno == nil && n == 0:
		return 0, net.ErrClosed
	case err != nil:
		return 0, errs.Wrap(err, "vm: wire")
	}
	return n, errs.Wrap(errno, "vm: wire")
}

// WriteFrame implements egress.Link. A frame that the guest does not take at once is dropped.
func (w *Wire) WriteFrame(segments egress.Segments, bufs [][]byte) error {
	if segments != (egress.Segments{}) {
		return errs.New(errs.Invalid, "vm: the wire takes whole frames")
	}
	var errno error
	err := w.raw.Write(func(fd uintptr) bool {
		_, errno = unix.Writev(int(fd), bufs)
		return true
	})
	if err == nil {
		err = errno
	}
	return errs.Wrap(err, "vm: wire")
}

// MTU implements egress.Link.
func (w *Wire) MTU() int { return WireMTU }

// Offloads implements egress.Link: a datagram is one finished frame.
func (w *Wire) Offloads() bool { return false }

// Close ends the wire's reads and writes. It may be called again.
func (w *Wire) Close() error {
	if err := w.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return errs.Wrap(err, "vm: wire")
	}
	return nil
}
