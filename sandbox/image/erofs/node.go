package erofs

import (
	"io"
	"slices"
	"strings"

	"surety/base/errs"
)

// Content is where a file's bytes are read from when the image is written.
type Content interface {
	// Open returns a reader of exactly the node's Size bytes.
	Open() (io.ReadCloser, error)
}

// Node is a file of the image: what stat(2) says of it, and what it holds. A node put under
// several names is one file with several names; a directory may stand under one only.
type Node struct {
	Mode    uint16 // type and permissions
	UID     uint32
	GID     uint32
	Seconds int64  // of the modification, since 1970; not negative
	Nanos   uint32 // < 1e9
	Size    uint64 // of a regular file, in bytes
	Content Content
	Target  string // of a symbolic link
	Device  uint32 // of a device; see DeviceNumber

	children map[string]*Node
	place    place
}

// place is what Plan gives a node.
type place struct {
	plan   *Plan  // that the rest belongs to
	index  uint32 // in the order of the plan
	links  uint32
	parent *Node  // of a directory
	size   uint64 // of what is stored: entries, target or content
	block  uint64 // where that begins
}

// nid is the number of an inode: its place in the image in slots.
func (p *place) nid() uint64 {
	return (firstInode + uint64(p.index)*inodeBytes) / slotBytes
}

// Is reports whether the node is of the type.
func (n *Node) Is(kind uint16) bool { return n.Mode&TypeMask == kind }

// Child returns what a directory has under a name, nil where it has nothing.
func (n *Node) Child(name string) *Node { return n.children[name] }

// Names returns a directory's names in the order of their bytes, without "." and "..".
func (n *Node) Names() []string {
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Remove takes a name out of a directory; a name that is not there is no error.
func (n *Node) Remove(name string) { delete(n.children, name) }

// Clear takes every name out of a directory.
func (n *Node) Clear() { n.children = nil }

// Put gives a directory a child, in the place of what had the name. Kind Invalid for a name that
// no file can have or where n is no directory, TooLarge for one of more than MaxName bytes.
func (n *Node) Put(name string, child *Node) error {
	if !n.Is(Directory) {
		return errs.New(errs.Invalid, "erofs.put: %q: its parent is not a directory", name)
	}
	if err := checkName(name); err != nil {
		return err
	}
	if n.children == nil {
		n.children = map[string]*Node{}
	}
	n.children[name] = child
	return nil
}

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return errs.New(errs.Invalid, "erofs.put: %q is not a file's name", name)
	}
	if len(name) > MaxName {
		return errs.New(errs.TooLarge, "erofs.put: the name %.40q... has %d bytes, the limit is %d",
			name, len(name), MaxName)
	}
	return nil
}
