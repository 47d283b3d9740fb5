package egress

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// tap is a tap device: one frame per read and write, each behind an offload header.
type tap struct {
	file *os.File
	raw  syscall.RawConn
	mtu  int
}

// openTap makes the device in the network namespace of the calling thread, with a file that the
// runtime can poll. The device goes when the file is closed.
func openTap(name string, mtu int) (*tap, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, errs.As(kindOfErrno(err), err, "egress: open /dev/net/tun")
	}
	if err := attachTap(fd, name); err != nil {
		unix.Close(fd)
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "/dev/net/tun") // pollable: the descriptor does not block
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, errs.As(errs.Internal, err, "egress: poll tap %s", name)
	}
	return &tap{file: file, raw: raw, mtu: mtu}, nil
}

// attachTap turns a descriptor of /dev/net/tun into the device. With an offload header and TCP
// segmentation the kernel inside hands over 64 KiB at a time, whatever the MTU.
func attachTap(fd int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return errs.As(errs.Invalid, err, "egress: tap name %q", name)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return errs.As(kindOfErrno(err), err, "egress: make tap %s (needs CAP_NET_ADMIN in the "+
			"network namespace)", name)
	}
	err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6)
	return errs.As(errs.Internal, err, "egress: offloads of tap %s", name)
}

func (t *tap) MTU() int       { return t.mtu }
func (t *tap) Offloads() bool { return true }

func (t *tap) Close() error {
	if err := t.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return errs.As(errs.Internal, err, "egress: close tap")
	}
	return nil
}

// ReadFrame drops the offload header: the length of the frame says how long the run is, and a
// checksum that never leaves this machine's memory needs no second look.
func (t *tap) ReadFrame(bufs [][]byte) (int, error) {
	var head [offloadBytes]byte
	var iov [9][]byte
	iov[0] = head[:]
	n := copy(iov[1:], bufs)
	var read int
	var errno error
	err := t.raw.Read(func(fd uintptr) bool {
		for {
			read, errno = unix.Readv(int(fd), iov[:n+1])
			if errno != unix.EINTR {
				return errno != unix.EAGAIN
			}
		}
	})
	switch {
	case errors.Is(err, os.ErrClosed):
		return 0, net.ErrClosed
	case err != nil:
		return 0, errs.As(errs.Internal, err, "egress: poll tap")
	case errno != nil:
		return 0, errs.As(errs.Unavailable, errno, "egress: read tap")
	case read == 0:
		return 0, io.EOF
	}
	return max(read-offloadBytes, 0), nil
}

func (t *tap) WriteFrame(segments Segments, bufs [][]byte) error {
	var head [offloadBytes]byte
	segments.encode(&head)
	var few [8]unix.Iovec
	iov := append(few[:0], iovec(head[:]))
	for _, b := range bufs {
		if len(b) > 0 {
			iov = append(iov, iovec(b))
		}
	}
	var errno unix.Errno
	err := t.raw.Write(func(fd uintptr) bool {
		for {
			_, _, errno = unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&iov[0])),
				uintptr(len(iov)))
			if errno != unix.EINTR {
				return true // never waits: a frame that does not fit is dropped
			}
		}
	})
	if errors.Is(err, os.ErrClosed) {
		return net.ErrClosed
	}
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}

func iovec(b []byte) unix.Iovec {
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	return v
}

// kindOfErrno gives an error of a system call its kind.
func kindOfErrno(err error) errs.Kind {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return errs.Forbidden
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return errs.Unavailable
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOSPC),
		errors.Is(err, unix.EUSERS):
		return errs.Busy
	}
	return errs.Internal
}
