// Package inode is the vocabulary of a tree of files that is served to programs: what an inode is
// and what can be asked of a file system.
//
// Think of Linux's own division: an inode is a number with attributes and content, a name is an
// entry of a directory that points to one. Whoever serves a tree (a sealed state) implements FS;
// whoever shows it to a program (the file server of a sandbox) uses it; neither knows the other.
//
// # Boundaries
//
// There are no permissions here: who may do what is decided by the kernel that the program runs
// under. Names are single components, never paths.
//
// # Concurrency
//
// An FS is used by many goroutines at once. Every operation is atomic with regard to the others.
package inode

import "context"

// Number names an inode. It is never used again for another one.
type Number uint64

// Root is the directory at the top.
const Root Number = 1

// The types, in the bits of a mode, as in stat(2).
const (
	TypeMask  uint32 = 0o170000
	Socket    uint32 = 0o140000
	Link      uint32 = 0o120000 // symbolic
	Regular   uint32 = 0o100000
	Directory uint32 = 0o040000
	Pipe      uint32 = 0o010000
)

// Attr is what is known of an inode without reading its content.
type Attr struct {
	Number Number
	Mode   uint32 // type and permissions
	Links  uint32 // zero: unlinked and still held
	UID    uint32
	GID    uint32
	Size   uint64 // bytes; of a link, of its target
	Stored uint64 // bytes of content that take room: less than Size where there are holes
	Atime  int64  // nanoseconds since 1970
	Mtime  int64
	Ctime  int64
}

// Type is the type's bits of the mode.
func (a Attr) Type() uint32 { return a.Mode & TypeMask }

// Change says which attributes to set: the fields that are not nil.
type Change struct {
	Mode  *uint32 // permissions; the type's bits are ignored
	UID   *uint32
	GID   *uint32
	Size  *uint64 // of a regular file
	Atime *int64
	Mtime *int64
	Now   uint8 // SetAtime, SetMtime: to the present time
}

// What Change.Now sets.
const (
	SetAtime uint8 = 1 << 0
	SetMtime uint8 = 1 << 1
)

// New describes an inode to make.
type New struct {
	Mode   uint32 // type and permissions
	UID    uint32
	GID    uint32
	Target string // of a symbolic link
}

// Entry is a name in a directory.
type Entry struct {
	Name   string
	Number Number
	Type   uint32
}

// Space is how full a file system is.
type Space struct {
	Bytes      uint64 // limit of contents
	BytesFree  uint64
	Inodes     uint64
	InodesFree uint64
	NameBytes  uint64
}

// How Rename treats a name that is there.
const (
	NoReplace uint32 = 1 << 0
	Exchange  uint32 = 1 << 1
)

// FS is a tree of files. Refusals are a syscall.Errno as Linux has it for the call (ENOENT, EEXIST,
// ENOTEMPTY, ENOSPC, ENAMETOOLONG and so on). Other errors carry an errs.Kind, and are EIO to a
// program.
type FS interface {
	Stat(n Number) (Attr, error)
	Change(n Number, c Change) (Attr, error)
	Lookup(parent Number, name string) (Attr, error)
	// Make adds an inode under the name: EEXIST where the name is there.
	Make(parent Number, name string, m New) (Attr, error)
	Link(n, parent Number, name string) (Attr, error)
	// Unlink removes a name of anything but a directory; Rmdir that of an empty directory.
	Unlink(parent Number, name string) error
	Rmdir(parent Number, name string) error
	Rename(from Number, old string, to Number, name string, how uint32) error
	Readlink(n Number) (string, error)
	// Entries lists a directory by name, without . and .., sorted.
	Entries(n Number) ([]Entry, error)
	// Read fills p from the offset as far as the file goes; zero bytes at its end.
	Read(n Number, p []byte, offset uint64) (int, error)
	// Write returns how many bytes it took: fewer than len(p) only with an error.
	Write(n Number, p []byte, offset uint64) (int, error)
	// Sync returns when everything that was done before, to any inode, survives a crash.
	Sync(ctx context.Context) error
	// Hold keeps an inode's content though its last name goes; each is undone by one Drop.
	Hold(n Number) error
	Drop(n Number)
	Space() Space

	Xattr(n Number, name string) (string, error)
	SetXattr(n Number, name, value string, flags uint32) error
	Xattrs(n Number) ([]string, error)
	RemoveXattr(n Number, name string) error

	// Close makes everything survive and ends the tree: nothing is asked of it afterwards.
	Close(ctx context.Context) error
}
