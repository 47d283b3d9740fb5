package vfs

import (
	"io"
	"slices"

	"surety/base/errs"
)

// memoryFile is a handle on an inode of a Memory.
type memoryFile struct {
	m        *Memory
	name     string
	node     *inode
	powered  int
	writable bool
	closed   bool
}

// begin checks that the handle is alive and lets the fault decide. The lock is held.
func (f *memoryFile) begin(op Op) error {
	if f.closed {
		return memoryError(errs.Internal, op.Kind.String(), f.name, "file already closed")
	}
	if f.powered != f.m.powered {
		return ErrPowerOff
	}
	op.Name = f.name
	return f.m.begin(op)
}

// ReadAt implements File.
func (f *memoryFile) ReadAt(p []byte, offset int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin(Op{Kind: OpRead, Offset: offset, Size: int64(len(p))}); err != nil {
		return 0, err
	}
	if offset >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements File. On a full disk the part that fits is written.
func (f *memoryFile) WriteAt(p []byte, offset int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin(Op{Kind: OpWrite, Offset: offset, Size: int64(len(p))}); err != nil {
		return 0, err
	}
	if !f.writable {
		return 0, memoryError(errs.Forbidden, "write", f.name, "bad file descriptor")
	}
	fits := len(p)
	grows := offset + int64(len(p)) - int64(len(f.node.data))
	if free := f.m.free(); grows > free {
		fits = int(max(0, int64(len(p))-(grows-free)))
	}
	f.write(p[:fits], offset)
	if fits < len(p) {
		return fits, memoryError(errs.NoSpace, "write", f.name, "no space left on device")
	}
	return len(p), nil
}

func (f *memoryFile) write(p []byte, offset int64) {
	if len(p) == 0 {
		return
	}
	f.node.data = grow(f.node.data, offset+int64(len(p)))
	copy(f.node.data[offset:], p)
	f.node.dirty = append(f.node.dirty, extent{offset: offset, data: slices.Clone(p)})
}

// Sync implements File. A fault at Sync drops the unsynced writes: reads still see them, no later
// Sync saves them. That is what kernels do, and why nobody retries.
func (f *memoryFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.begin(Op{Kind: OpSync})
	if err == ErrPowerOff {
		return err // the crash decides what of the dirty writes stays
	}
	if err == nil {
		for _, e := range f.node.dirty {
			f.node.settled = grow(f.node.settled, e.offset+int64(len(e.data)))
			copy(f.node.settled[e.offset:], e.data)
		}
	}
	f.node.dirty = nil
	return err
}

// Allocate implements File.
func (f *memoryFile) Allocate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin(Op{Kind: OpAllocate, Size: size}); err != nil {
		return err
	}
	grows := size - int64(len(f.node.data))
	if grows <= 0 {
		return nil
	}
	if grows > f.m.free() {
		return memoryError(errs.NoSpace, "allocate", f.name, "no space left on device")
	}
	f.node.data = grow(f.node.data, size)
	f.node.dirty = append(f.node.dirty, extent{offset: size})
	return nil
}

// Size implements File.
func (f *memoryFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.powered != f.m.powered {
		return 0, ErrPowerOff
	}
	return int64(len(f.node.data)), nil
}

// Close implements File.
func (f *memoryFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.closed = true
	return nil
}

// free returns the bytes that may still be added. The lock is held.
func (m *Memory) free() int64 {
	if m.capacity == 0 {
		return 1 << 62
	}
	return max(0, m.capacity-m.used())
}
