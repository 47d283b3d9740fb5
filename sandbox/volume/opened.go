//go:build amd64

package volume

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
	"gvisor.dev/gvisor/pkg/marshal/primitive"

	"surety/sys/inode"
)

// opened is an inode that is open to be read or written. gVisor keeps the control it was opened by
// for as long.
type opened struct {
	lisafs.OpenFD
	of *control

	mu      sync.Mutex
	entries []inode.Entry // of a directory: what is still to be listed
	begun   bool
	next    uint64 // what the next entry's offset is
}

var _ lisafs.OpenFDImpl = (*opened)(nil)

// FD implements lisafs.OpenFDImpl.
func (o *opened) FD() *lisafs.OpenFD {
	if o == nil {
		return nil
	}
	return &o.OpenFD
}

// Close implements lisafs.OpenFDImpl.
func (o *opened) Close() {}

// Stat implements lisafs.OpenFDImpl.
func (o *opened) Stat() (lisafs.Statx, error) { return o.of.Stat() }

// Sync implements lisafs.OpenFDImpl.
func (o *opened) Sync() error { return failure(o.of.fs.Sync(context.Background())) }

// Write implements lisafs.OpenFDImpl. What was written before an error counts.
func (o *opened) Write(p []byte, offset uint64) (uint64, error) {
	n, err := o.of.fs.Write(o.of.number, p, offset)
	if n > 0 {
		return uint64(n), nil
	}
	return 0, failure(err)
}

// Read implements lisafs.OpenFDImpl.
func (o *opened) Read(p []byte, offset uint64) (uint64, error) {
	n, err := o.of.fs.Read(o.of.number, p, offset)
	if n > 0 {
		return uint64(n), nil
	}
	return 0, failure(err)
}

// Allocate implements lisafs.OpenFDImpl: it makes the file as long as asked for, and reserves
// nothing, since what is written goes elsewhere anyway.
func (o *opened) Allocate(mode, offset, length uint64) error {
	if mode != 0 {
		return unix.EOPNOTSUPP
	}
	a, err := o.of.fs.Stat(o.of.number)
	if err != nil {
		return failure(err)
	}
	end := offset + length
	switch {
	case end < offset:
		return unix.EFBIG
	case end <= a.Size:
		return nil
	case end-a.Size > o.of.fs.Space().BytesFree:
		return unix.ENOSPC
	}
	_, err = o.of.fs.Change(o.of.number, inode.Change{Size: &end})
	return failure(err)
}

// Flush implements lisafs.OpenFDImpl: close(2) makes nothing survive.
func (o *opened) Flush() error { return nil }

// entryBytes is what an entry takes of the caller's count, beside its name (linux_dirent64).
const entryBytes = 19

// Getdent64 implements lisafs.OpenFDImpl: the list is that of when it was begun.
func (o *opened) Getdent64(count uint32, again bool, record func(lisafs.Dirent64)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if again || !o.begun {
		list, err := o.of.fs.Entries(o.of.number)
		if err != nil {
			return failure(err)
		}
		o.entries, o.begun, o.next = list, true, 0
	}
	for used := uint32(0); len(o.entries) > 0; o.entries = o.entries[1:] {
		e := o.entries[0]
		used += entryBytes + uint32(len(e.Name)) + 1
		if used > count {
			return nil
		}
		o.next++
		record(lisafs.Dirent64{Ino: primitive.Uint64(e.Number), Off: primitive.Uint64(o.next),
			Type: primitive.Uint8(e.Type >> 12), Name: lisafs.SizedString(e.Name)})
	}
	return nil
}

// Renamed implements lisafs.OpenFDImpl.
func (o *opened) Renamed() {}
