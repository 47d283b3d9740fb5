package state

import (
	"cmp"
	"maps"
	"slices"

	"surety/base/errs"
	"surety/sys/inode"
)

// node is an inode in memory. Everything of it but the content of chunks is here.
type node struct {
	number inode.Number
	mode   uint32
	uid    uint32
	gid    uint32
	size   uint64 // of content; zero for what has none
	atime  int64
	mtime  int64
	ctime  int64
	target string
	xattrs map[string]string

	links   uint32                  // names that point here; a directory has one
	parent  inode.Number            // of a directory
	entries map[string]inode.Number // of a directory

	chunks map[uint64]ref    // in the log
	dirty  map[uint64][]byte // content that is newer than the log's

	// What the last commit does not have.
	moved map[uint64]struct{} // indexes whose ref changed
	kept  uint64              // chunks from this index on were dropped meanwhile; keepAll: none

	known bool // a commit has it

	holds  uint64
	stored uint64 // bytes of chunks, dirty ones included
}

func newNode(number inode.Number, mode uint32) *node {
	n := &node{number: number, mode: mode, kept: keepAll}
	switch mode & inode.TypeMask {
	case inode.Directory:
		n.entries = map[string]inode.Number{}
	case inode.Regular:
		n.chunks = map[uint64]ref{}
		n.dirty = map[uint64][]byte{}
		n.moved = map[uint64]struct{}{}
	}
	return n
}

func (n *node) setXattr(name, value string) {
	if n.xattrs == nil {
		n.xattrs = map[string]string{}
	}
	n.xattrs[name] = value
}

func (n *node) kind() uint32 { return n.mode & inode.TypeMask }
func (n *node) isDir() bool  { return n.entries != nil }
func (n *node) isFile() bool { return n.chunks != nil }

// attr says what is known of n; subdirectories count as links, as Linux has it.
func (n *node) attr(t *tree) inode.Attr {
	a := inode.Attr{Number: n.number, Mode: n.mode, Links: n.links, UID: n.uid, GID: n.gid,
		Size: n.size, Stored: n.stored, Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime}
	if n.target != "" {
		a.Size = uint64(len(n.target))
	}
	if n.isDir() && n.links > 0 {
		a.Links = 2 + t.subdirs[n.number]
	}
	return a
}

// tree is all inodes.
type tree struct {
	nodes   map[inode.Number]*node
	subdirs map[inode.Number]uint32 // directories directly below a directory; absent: none
	next    inode.Number
	used    uint64 // bytes of contents: the sum of the nodes' stored
}

func newTree() *tree {
	return &tree{nodes: map[inode.Number]*node{}, subdirs: map[inode.Number]uint32{},
		next: inode.Root + 1}
}

// plant makes the root directory of an empty tree.
func (t *tree) plant(now int64) *node {
	root := newNode(inode.Root, inode.Directory|0o755)
	root.atime, root.mtime, root.ctime = now, now, now
	root.links, root.parent = 1, inode.Root
	t.nodes[inode.Root] = root
	return root
}

// loader builds a tree from commits, and checks what they say against each other.
type loader struct {
	*tree
	segments map[uint64]header // that chunks may stand in
	chunks   []ref             // of the last body
}

var _ visitor = (*loader)(nil)

func (l *loader) segment(h header) error {
	if _, known := l.segments[h.number]; known || h.number == 0 || len(l.segments) >= maxSegments {
		return errs.New(errs.Corrupt, "segment %d is named wrongly", h.number)
	}
	l.segments[h.number] = h
	return nil
}

func (l *loader) node(n *node, kept uint64) error {
	if err := n.check(l.next); err != nil {
		return err
	}
	old := l.nodes[n.number]
	if old == nil {
		if len(l.nodes) >= MaxInodes {
			return errs.New(errs.Corrupt, "more than %d inodes", MaxInodes)
		}
		l.nodes[n.number] = n
		return nil
	}
	if old.kind() != n.kind() {
		return errs.New(errs.Corrupt, "inode %d changed its type", n.number)
	}
	n.entries, n.chunks = old.entries, old.chunks
	if kept != keepAll {
		maps.DeleteFunc(n.chunks, func(i uint64, _ ref) bool { return i >= kept })
	}
	l.nodes[n.number] = n
	return nil
}

// check refuses what no program could have made.
func (n *node) check(next inode.Number) error {
	sound := n.number >= inode.Root && n.number < next && n.size <= maxFileBytes &&
		(n.isFile() || n.size == 0) && len(n.target) <= maxTargetBytes &&
		(n.kind() == inode.Link) == (n.target != "") && (n.number != inode.Root || n.isDir())
	switch n.kind() {
	case inode.Regular, inode.Directory, inode.Link, inode.Pipe, inode.Socket:
	default:
		sound = false
	}
	if !sound || n.mode&^(inode.TypeMask|0o7777) != 0 {
		return errs.New(errs.Corrupt, "inode %d makes no sense", n.number)
	}
	return nil
}

func (l *loader) chunk(number inode.Number, index uint64, r ref) error {
	n := l.nodes[number]
	_, known := l.segments[r.segment]
	if n == nil || !n.isFile() || index >= maxFileBytes/chunkBytes || !known ||
		r.offset < int64(headerBytes) || r.length == 0 || r.length > chunkBytes {
		return errs.New(errs.Corrupt, "chunk %d of inode %d makes no sense", index, number)
	}
	n.chunks[index] = r
	l.chunks = append(l.chunks, r)
	return nil
}

func (l *loader) entry(parent, n inode.Number, name string) error {
	dir := l.nodes[parent]
	if dir == nil || !dir.isDir() || l.nodes[n] == nil || n == inode.Root || checkName(name) != nil {
		return errs.New(errs.Corrupt, "the entry %.40q of inode %d makes no sense", name, parent)
	}
	dir.entries[name] = n
	return nil
}

func (l *loader) unentry(parent inode.Number, name string) error {
	dir := l.nodes[parent]
	if dir == nil || !dir.isDir() {
		return errs.New(errs.Corrupt, "the entry %.40q of inode %d was never there", name, parent)
	}
	delete(dir.entries, name)
	return nil
}

func (l *loader) gone(n inode.Number) error {
	if l.nodes[n] == nil || n == inode.Root {
		return errs.New(errs.Corrupt, "inode %d goes and was never there", n)
	}
	delete(l.nodes, n)
	return nil
}

// finish works out what follows from the records, and refuses a tree that hangs together wrongly:
// each inode has a name, each directory exactly one, and all are below the root.
func (l *loader) finish() error {
	root := l.nodes[inode.Root]
	if root == nil {
		return errs.New(errs.Corrupt, "there is no root directory")
	}
	for _, n := range l.nodes {
		n.links = 0
	}
	root.links, root.parent, root.known = 1, inode.Root, true
	seen := 1
	for pending := []*node{root}; len(pending) > 0; {
		dir := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		for name, number := range dir.entries {
			n := l.nodes[number]
			if n == nil || n.isDir() && n.links > 0 {
				return errs.New(errs.Corrupt, "the entry %.40q of inode %d leads astray", name, dir.number)
			}
			if n.links == 0 {
				seen++
			}
			n.known = true
			n.links++
			if n.isDir() {
				n.parent = dir.number
				l.subdirs[dir.number]++
				pending = append(pending, n)
			}
		}
	}
	if seen != len(l.nodes) {
		return errs.New(errs.Corrupt, "%d of %d inodes have no name", len(l.nodes)-seen, len(l.nodes))
	}
	return l.measure()
}

// measure sums what contents take.
func (l *loader) measure() error {
	for _, n := range l.nodes {
		for index, r := range n.chunks {
			if index*chunkBytes+uint64(r.length) > n.size {
				return errs.New(errs.Corrupt, "chunk %d of inode %d lies behind its end", index, n.number)
			}
			n.stored += uint64(r.length)
		}
		l.used += n.stored
	}
	return nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
