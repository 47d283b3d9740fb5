package embed

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// lock takes the exclusive advisory lock on the file at path, creating it. It does not wait: a
// lock that another process holds is an error of kind Locked. The kernel gives the lock up when the
// process dies, so that a crash leaves nothing to clean away.
func lock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errs.As(fileKind(err), err, "embed.open: lock")
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return file, nil
	}
	closeErr := file.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errs.New(errs.Locked, "embed.open: %s is in use by another process", path)
	}
	return nil, errs.As(errs.Internal, errors.Join(err, closeErr), "embed.open: lock %s", path)
}
