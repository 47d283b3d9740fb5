package image

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// secretName is what the kernel shows a secret image's memory as: it says nothing of what is in it.
const secretName = "surety-secret"

// Memory is room for an image that is in no file of a disk: it is filled, sealed, and from then on
// cannot be changed. No notice of it is published, so that no other sandbox comes by it.
//
// While a Memory is open its pages are locked: they are never written to swap. The lock is taken
// before the first byte is written. A process that may not lock so much (RLIMIT_MEMLOCK, no
// CAP_IPC_LOCK) goes without, and Locked says so. The kernel clears pages before it gives them to
// another process, which is what becomes of the contents once the last holder has gone.
type Memory struct {
	f      *os.File // reads; writes too until it is sealed
	held   []byte   // mapping that locks the pages
	size   int64
	locked bool
	sealed bool
}

// NewMemory makes room for size bytes, which are zero: a multiple of 4,096, at most the largest image.
func NewMemory(size int64) (*Memory, error) {
	if size <= 0 || size%erofs.BlockBytes != 0 || size > erofs.MaxBytes {
		return nil, errs.New(errs.Invalid, "image.memory: %d bytes are no image's size", size)
	}
	fd, err := unix.MemfdCreate(secretName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, diskError(err, "image.memory")
	}
	m := &Memory{f: os.NewFile(uintptr(fd), secretName), size: size}
	if err := m.f.Truncate(size); err != nil {
		return nil, errors.Join(diskError(err, "image.memory: %d bytes", size), m.f.Close())
	}
	if err := m.hold(); err != nil {
		return nil, errors.Join(err, m.f.Close())
	}
	return m, nil
}

// AdoptMemory takes memory that another process sealed and sent. f is the Memory's from then on, and
// closed where it is refused: kind Refused where somebody may yet change it.
func AdoptMemory(f *os.File) (*Memory, error) {
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals&sealAll != sealAll {
		return nil, errors.Join(errs.New(errs.Refused, "image.memory: what was sent has seals %#x, want %#x",
			max(seals, 0), sealAll), f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(diskError(err, "image.memory"), f.Close())
	}
	m := &Memory{f: f, size: info.Size(), sealed: true}
	if err := m.hold(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// hold maps the memory and locks it. The mapping is of an opening that only reads: the kernel does not
// seal what may be written through a mapping.
func (m *Memory) hold() error {
	read, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", m.f.Fd()))
	if err != nil {
		return diskError(err, "image.memory")
	}
	defer read.Close() // the mapping stays
	m.held, err = unix.Mmap(int(read.Fd()), 0, int(m.size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return diskError(err, "image.memory: map %d bytes", m.size)
	}
	m.locked = unix.Mlock(m.held) == nil
	return diskError(unix.Madvise(m.held, unix.MADV_DONTDUMP), "image.memory")
}

// WriteAt implements io.WriterAt, until it is sealed. Parts may be written at once.
func (m *Memory) WriteAt(p []byte, at int64) (int, error) {
	if at < 0 || at > m.size || int64(len(p)) > m.size-at {
		return 0, errs.New(errs.Invalid, "image.memory: %d bytes at %d do not fit in %d", len(p), at, m.size)
	}
	n, err := m.f.WriteAt(p, at)
	return n, diskError(err, "image.memory: at %d", at)
}

// Seal makes the contents what they are for good. Sealing again is nothing.
func (m *Memory) Seal() error {
	if m.sealed {
		return nil
	}
	if _, err := unix.FcntlInt(m.f.Fd(), unix.F_ADD_SEALS, sealAll); err != nil {
		return diskError(err, "image.memory: seal")
	}
	read, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", m.f.Fd()))
	if err != nil {
		return diskError(err, "image.memory: open again")
	}
	old := m.f
	m.f, m.sealed = read, true
	return diskError(old.Close(), "image.memory")
}

// Sealed reports whether the contents can no longer be changed.
func (m *Memory) Sealed() bool { return m.sealed }

// Locked reports whether the kernel keeps the pages out of swap.
func (m *Memory) Locked() bool { return m.locked }

// Size is in bytes.
func (m *Memory) Size() int64 { return m.size }

// File returns the open memory, to be sent. It stays the Memory's.
func (m *Memory) File() *os.File { return m.f }

// ReadAt implements io.ReaderAt.
func (m *Memory) ReadAt(p []byte, at int64) (int, error) { return m.f.ReadAt(p, at) }

// Close lets go of the memory. Whoever mapped or was sent it keeps it.
func (m *Memory) Close() error {
	if m.held == nil {
		return nil
	}
	err := unix.Munmap(m.held) // unlocks as well
	m.held = nil
	return errors.Join(diskError(err, "image.memory"), m.f.Close())
}
