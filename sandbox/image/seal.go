package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// sealAll is every seal that keeps bytes as they are, and keeps the seals themselves.
const sealAll = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// memoryName is what the kernel shows a sealed image as; its digest follows.
const memoryName = "surety-image-"

// Sealed is an image in memory that nobody can change, not even we: its digest was taken of these
// very bytes. The memory is the kernel's as long as any process has it open or mapped.
type Sealed struct {
	Digest string
	Size   int64

	f      *os.File
	notice string // of the directory it is shared by, empty where it is not
}

// Seal copies an image file into memory, hashing it on the way, and seals it. Kind Corrupt where
// the digest is another than the wanted one: nothing is kept then.
func Seal(ctx context.Context, path, digest string) (*Sealed, error) {
	if !digestForm(digest) {
		return nil, errs.New(errs.Invalid, "image.seal: %q is not a digest", digest)
	}
	from, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, diskError(err, "image.seal: %s", path)
	}
	defer from.Close() // nothing was written
	fd, err := unix.MemfdCreate(memoryName+hexOf(digest), unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, diskError(err, "image.seal: memory")
	}
	to := os.NewFile(uintptr(fd), memoryName+hexOf(digest))
	got, size, err := copyHashed(ctx, to, from)
	if err == nil && got != digest {
		err = errs.New(errs.Corrupt, "image.seal: %s has digest %s, want %s", path, got, digest)
	}
	if err == nil {
		_, err = unix.FcntlInt(to.Fd(), unix.F_ADD_SEALS, sealAll)
	}
	if err != nil {
		return nil, errors.Join(diskError(err, "image.seal: %s", path), to.Close())
	}
	return reopen(to, digest, size)
}

// copyHashed copies a file and hashes what it wrote.
func copyHashed(ctx context.Context, to io.Writer, from io.Reader) (string, int64, error) {
	h := newHashed(to)
	buffer := make([]byte, copyBytes)
	limited := io.LimitReader(canceling{ctx.Err, from}, erofs.MaxBytes+1)
	size, err := io.CopyBuffer(onlyWriter{h}, onlyReader{limited}, buffer)
	if err == nil && size > erofs.MaxBytes {
		err = errs.New(errs.TooLarge, "more than %d bytes, which is the limit", int64(erofs.MaxBytes))
	}
	return digestOf(h.sum), size, err
}

// onlyReader and onlyWriter hide shorter ways that would pass by the buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

// reopen exchanges the opening that could write, before the seals, for one that only reads.
func reopen(f *os.File, digest string, size int64) (*Sealed, error) {
	read, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, diskError(err, "image.seal: open again")
	}
	return &Sealed{Digest: digest, Size: size, f: read}, nil
}

// Adopt takes a sealed image that another process opened or sent. It checks that the file is
// memory with all seals, made for this digest; and, unless the other process is one that hashed it
// for us, hashes it again. f is the Sealed's from then on, and closed where it is refused, with
// kind Refused or Corrupt.
func Adopt(ctx context.Context, f *os.File, digest string, hashedForUs bool) (*Sealed, error) {
	size, err := checkSeals(f, digest)
	if err == nil && !hashedForUs {
		var got string
		got, _, err = copyHashed(ctx, io.Discard, io.NewSectionReader(f, 0, size))
		if err == nil && got != digest {
			err = errs.New(errs.Corrupt, "image.adopt: the memory has digest %s, want %s", got, digest)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Sealed{Digest: digest, Size: size, f: f}, nil
}

// checkSeals refuses a file that somebody may yet change, and one that was sealed for another
// digest; it returns its size.
func checkSeals(f *os.File, digest string) (int64, error) {
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals&sealAll != sealAll {
		return 0, errs.New(errs.Refused, "image.adopt: %s has seals %#x, want %#x", f.Name(), max(seals, 0),
			sealAll)
	}
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	want := "/memfd:" + memoryName + hexOf(digest)
	if err != nil || strings.TrimSuffix(link, " (deleted)") != want {
		return 0, errs.New(errs.Refused, "image.adopt: the memory is %q, want %q", link, want)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, diskError(err, "image.adopt")
	}
	return info.Size(), nil
}

// Path returns a path that opens the image while this process has it, from every process that may
// look into this one.
func (s *Sealed) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.f.Fd()) }

// File returns the open image, to be mapped or sent. It stays the Sealed's.
func (s *Sealed) File() *os.File { return s.f }

// Close lets go of the image. Whoever mapped or opened it keeps it.
func (s *Sealed) Close() error {
	var err error
	if s.notice != "" {
		if err = os.Remove(s.notice); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(diskError(err, "image.close"), s.f.Close())
}

// Verify reads an image's file again and says whether it is what it was: its digest, and the whole
// structure of the file system. Kind Corrupt where it is not.
func Verify(ctx context.Context, image Image) (erofs.Tally, error) {
	f, err := os.Open(image.Path)
	if err != nil {
		return erofs.Tally{}, diskError(err, "image.verify: %s", image.Name)
	}
	defer f.Close() // nothing was written
	sum := sha256.New()
	size, err := io.Copy(sum, canceling{ctx.Err, f})
	if err != nil {
		return erofs.Tally{}, diskError(err, "image.verify: %s", image.Name)
	}
	if got := digestOf(sum); got != image.Digest {
		return erofs.Tally{}, errs.New(errs.Corrupt, "image.verify: %s has digest %s, want %s", image.Path,
			got, image.Digest)
	}
	r, err := erofs.Open(f, size)
	if err != nil {
		return erofs.Tally{}, errs.Wrap(err, "image.verify: %s", image.Name)
	}
	tally, err := r.Check()
	return tally, errs.Wrap(err, "image.verify: %s", image.Name)
}
