//go:build amd64

package kernel

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"surety/sandbox"
)

// newTimes is the change that sets both times to now.
func newTimes() *change {
	return &change{access: sandbox.Attr, stat: vfs.SetStatOptions{Stat: linux.Statx{
		Mask:  linux.STATX_ATIME | linux.STATX_MTIME,
		Atime: linux.StatxTimestamp{Nsec: linux.UTIME_NOW},
		Mtime: linux.StatxTimestamp{Nsec: linux.UTIME_NOW}}}}
}

func utime(c *call) (uintptr, *kernel.SyscallControl, error) {
	ch := newTimes()
	if addr := c.args[1].Pointer(); addr != 0 {
		var times linux.Utime
		if _, err := times.CopyIn(c.t, addr); err != nil {
			return 0, nil, err
		}
		ch.stat.Stat.Atime = linux.StatxTimestamp{Sec: times.Actime}
		ch.stat.Stat.Mtime = linux.StatxTimestamp{Sec: times.Modtime}
	}
	return 0, nil, c.times(linux.AT_FDCWD, c.args[0].Pointer(), 0, ch)
}

func utimes(c *call) (uintptr, *kernel.SyscallControl, error) {
	ch, err := copyTimevals(c.t, c.args[1].Pointer())
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, c.times(linux.AT_FDCWD, c.args[0].Pointer(), 0, ch)
}

func futimesat(c *call) (uintptr, *kernel.SyscallControl, error) {
	ch, err := copyTimevals(c.t, c.args[2].Pointer())
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, c.times(c.args[0].Int(), c.args[1].Pointer(), 0, ch)
}

func utimensat(c *call) (uintptr, *kernel.SyscallControl, error) {
	ch, err := copyTimespecs(c.t, c.args[2].Pointer())
	if err != nil {
		return 0, nil, err
	}
	flags := c.args[3].Int()
	if ch.stat.Stat.Mask == 0 {
		return 0, nil, nil // both times are to stay: Linux looks at nothing else
	}
	if flags&^(linux.AT_SYMLINK_NOFOLLOW|linux.AT_EMPTY_PATH) != 0 {
		return 0, nil, linuxerr.EINVAL
	}
	return 0, nil, c.times(c.args[0].Int(), c.args[1].Pointer(), flags, ch)
}

// times makes the change to the file at a path, or of a descriptor where there is no path.
func (c *call) times(dirfd int32, addr hostarch.Addr, flags int32, ch *change) error {
	if dirfd != linux.AT_FDCWD && addr == 0 {
		return c.of(dirfd, ch)
	}
	return c.at(dirfd, addr, emptyFor(flags), flags&linux.AT_SYMLINK_NOFOLLOW == 0, ch)
}

func copyTimevals(t *kernel.Task, addr hostarch.Addr) (*change, error) {
	ch := newTimes()
	if addr == 0 {
		return ch, nil
	}
	var times [2]linux.Timeval
	if _, err := linux.CopyTimevalSliceIn(t, addr, times[:]); err != nil {
		return nil, err
	}
	for i, into := range []*linux.StatxTimestamp{&ch.stat.Stat.Atime, &ch.stat.Stat.Mtime} {
		if times[i].Usec < 0 || times[i].Usec > 999999 {
			return nil, linuxerr.EINVAL
		}
		*into = linux.StatxTimestamp{Sec: times[i].Sec, Nsec: uint32(times[i].Usec * 1000)}
	}
	return ch, nil
}

func copyTimespecs(t *kernel.Task, addr hostarch.Addr) (*change, error) {
	ch := newTimes()
	if addr == 0 {
		return ch, nil
	}
	var times [2]linux.Timespec
	if _, err := linux.CopyTimespecSliceIn(t, addr, times[:]); err != nil {
		return nil, err
	}
	ch.stat.Stat.Mask = 0
	for i, one := range []struct {
		into *linux.StatxTimestamp
		bit  uint32
	}{{&ch.stat.Stat.Atime, linux.STATX_ATIME}, {&ch.stat.Stat.Mtime, linux.STATX_MTIME}} {
		nanos := times[i].Nsec
		if nanos == linux.UTIME_OMIT {
			continue
		}
		if nanos != linux.UTIME_NOW && (nanos < 0 || nanos > 999999999) {
			return nil, linuxerr.EINVAL
		}
		ch.stat.Stat.Mask |= one.bit
		*one.into = linux.StatxTimestamp{Sec: times[i].Sec, Nsec: uint32(nanos)}
	}
	return ch, nil
}
