// Package vfs is the file system as the platform sees it: few operations, each with a stated
// meaning when the power fails.
//
// Think of a file as two contents: what reads see now, and what a power cut would leave. WriteAt
// changes the first; Sync makes the second equal to it. Names are apart from contents: a created,
// renamed or removed name is certain only after SyncDir of its directory. Code that is right under
// Memory, which forgets all that was not synced and tears what was being written, is right on a
// disk.
//
// # Invariants
//
// A write that Sync covered survives every crash, unless a Sync of that file ever failed: after a
// failure the kernel may have dropped the data and forgotten that it did, so the only safe answer
// is to stop writing. Nobody retries a Sync.
//
// # Boundaries
//
// There is no append, no seek and no mode bits: callers own offsets, and files are private to the
// user. Errors carry an errs.Kind: NoSpace for a full disk or quota, Forbidden for a read-only
// file system or a missing permission, NotFound, Exists, Locked; Internal for the rest.
//
// # Concurrency
//
// An FS may be used by many goroutines; so may a File, except that concurrent writes to one range
// leave either content.
//
// # Sources
//
// "Can Applications Recover from fsync Failures?" (Rebello et al., USENIX ATC 2020); open(2),
// fdatasync(2), flock(2) and fallocate(2).
package vfs

import (
	"io"
	"unsafe"
)

// Mode says how a file is opened; modes are combined with |. The zero mode reads a file that
// exists.
type Mode uint8

// The modes.
const (
	Writable  Mode = 1 << 0 // reads and writes
	Create    Mode = 1 << 1 // makes the file where it is missing; implies Writable
	Exclusive Mode = 1 << 2 // with Create: an existing file is an error of kind Exists
	Direct    Mode = 1 << 3 // past the page cache where the disk allows it; see Aligned
)

// FS is a tree of files.
type FS interface {
	// Open opens the named file.
	Open(name string, mode Mode) (File, error)
	// Remove removes the name; kind NotFound where there is none.
	Remove(name string) error
	// Rename gives a file another name, replacing what had it, in one step.
	Rename(from, to string) error
	// List returns the names in a directory, sorted, without the directory's own path.
	List(dir string) ([]string, error)
	// MakeDir makes a directory and its parents; one that exists is no error.
	MakeDir(dir string) error
	// SyncDir makes the names in the directory survive a power cut.
	SyncDir(dir string) error
	// Lock takes the named file as a lock for this process until the returned Closer is closed
	// or the process ends. Kind Locked where another holder has it; the text names its process.
	Lock(name string) (io.Closer, error)
}

// File is an open file. Offsets are absolute.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync returns when all earlier writes, and the size they need, survive a power cut. After an
	// error nothing may be assumed about any write since the last good Sync, for ever.
	Sync() error
	// Allocate makes the file at least size bytes long, new bytes reading as zero, and reserves
	// the room; kind NoSpace where there is not enough, with nothing promised about the size.
	Allocate(size int64) error
	// Size returns the length in bytes.
	Size() (int64, error)
}

// PageSize is the alignment, in bytes, that Direct asks of offsets, lengths and memory. It is the
// block of the file systems and disks in use; smaller writes make them read before they write.
const PageSize = 4096

// Aligned returns size zero bytes whose first lies on a page boundary, fit for Direct.
func Aligned(size int) []byte {
	whole := make([]byte, size+PageSize)
	start := 0
	if over := int(uintptr(unsafe.Pointer(&whole[0])) % PageSize); over != 0 {
		start = PageSize - over
	}
	return whole[start : start+size : start+size]
}

// ReadFull reads exactly len(into) bytes at the offset; a file that ends before is an error of
// kind Corrupt naming both lengths.
func ReadFull(f File, into []byte, offset int64) error {
	n, err := f.ReadAt(into, offset)
	if n == len(into) {
		return nil
	}
	if err == nil || err == io.EOF {
		return shortRead(offset, len(into), n)
	}
	return err
}
