package image

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// spool is a file without a name that holds the contents of layers until the image is written. The
// kernel frees it when the process ends, however it ends.
type spool struct {
	f    *os.File
	size int64
}

// newSpool makes an empty spool on the file system of the directory.
func newSpool(dir string) (*spool, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) {
		f, err = unnamed(dir) // a file system that cannot make files without names
	}
	if err != nil {
		return nil, diskError(err, "image.spool")
	}
	return &spool{f: f}, nil
}

func unnamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "spool-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Write appends.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.f.WriteAt(p, s.size)
	s.size += int64(n)
	return n, diskError(err, "image.spool")
}

// Close frees the spool.
func (s *spool) Close() error { return s.f.Close() }

// section is a content within a spool. It stays good until the spool is closed.
type section struct {
	s        *spool
	at, size int64
}

// Open implements erofs.Content.
func (c section) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(c.s.f, c.at, c.size)), nil
}

// diskError gives an error of the file system its kind; nil stays nil.
func diskError(err error, format string, args ...any) error {
	kind := errs.Internal
	var typed *errs.Error
	switch {
	case errors.As(err, &typed) && typed.Kind != errs.Internal:
		kind = typed.Kind
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind = errs.NoSpace
	case errors.Is(err, os.ErrNotExist):
		kind = errs.NotFound
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.EROFS):
		kind = errs.Forbidden
	}
	return errs.As(kind, err, format, args...)
}
