package image

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/wallclock"
)

// lock is a byte of a lock file, held by this opening of it. The kernel lets go of it when the
// process ends, and no file is left for each thing that was ever locked.
type lock struct{ f *os.File }

// acquire waits until the byte is ours, or ctx is done: kind Canceled.
func acquire(ctx context.Context, path string, at int64) (*lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, diskError(err, "image.lock: %s", path)
	}
	clk := wallclock.System()
	want := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1}
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &want)
		if err == nil {
			return &lock{f}, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(diskError(err, "image.lock: %s", path), f.Close())
		}
		timer := clk.NewTimer(clock.Duration(lockPoll))
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			err := errs.As(errs.Canceled, ctx.Err(), "image.lock: waiting for another process")
			return nil, errors.Join(err, f.Close())
		}
	}
}

// release lets go of the byte.
func (l *lock) release() error { return l.f.Close() }

// storeByte is the lock of a whole store; every other byte is that of a build.
const storeByte = 0

// byteOf returns the byte that stands for a key. Two keys may share one: then they wait for each
// other, and nothing worse.
func byteOf(key string) int64 {
	sum := sha256.Sum256([]byte(key))
	return int64(binary.BigEndian.Uint64(sum[:])>>2) + 1
}
