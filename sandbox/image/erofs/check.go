package erofs

import (
	"slices"

	"surety/base/errs"
)

// Walk calls visit for every name of the image, directories before what they hold, names in order.
// The root's path is "". It stops at the first error. Kind Corrupt where the tree is none: a
// directory that has two names; TooLarge where it has more than MaxNodes names.
func (e *Reader) Walk(visit func(path string, i Inode) error) error {
	root, err := e.Root()
	if err != nil {
		return err
	}
	w := walker{e: e, directories: map[uint64]string{}, visit: visit}
	return w.walk(root, "", 0)
}

// walker goes through an image once.
type walker struct {
	e           *Reader
	names       int
	directories map[uint64]string // met so far: by number, the path
	visit       func(path string, i Inode) error
	list        func(path string, dir Inode, entries []Entry) error // may be nil
}

func (w *walker) walk(i Inode, path string, depth int) error {
	if w.names++; w.names > MaxNodes {
		return errs.New(errs.TooLarge, "erofs.walk: %q is name number %d, the limit is %d", path, w.names,
			MaxNodes)
	}
	if depth > maxDepth || len(path) > MaxPath {
		return errs.New(errs.Corrupt, "erofs.walk: the path %.40q... has %d bytes, the limit is %d", path,
			len(path), MaxPath)
	}
	if err := w.visit(path, i); err != nil || !i.Is(Directory) {
		return err
	}
	if other, met := w.directories[i.Number]; met {
		return errs.New(errs.Corrupt, "erofs.walk: %q and %q are one directory", other, path)
	}
	w.directories[i.Number] = path
	entries, err := w.e.entries(i)
	if err == nil && w.list != nil {
		err = w.list(path, i, entries)
	}
	if err != nil {
		return errs.Wrap(err, "%q", path)
	}
	return w.children(entries, path, depth+1)
}

func (w *walker) children(entries []Entry, path string, depth int) error {
	for _, entry := range entries {
		if entry.Name == "." || entry.Name == ".." {
			continue
		}
		child, err := w.e.Inode(entry)
		if err != nil {
			return errs.Wrap(err, "%q", join(path, entry.Name))
		}
		if err := w.walk(child, join(path, entry.Name), depth); err != nil {
			return err
		}
	}
	return nil
}

// Tally is what Check counted.
type Tally struct {
	Files       int    // inodes
	Names       int    // entries of directories, and the root
	Directories int    // of the inodes
	Bytes       uint64 // of content of regular files
}

// Check reads all of an image's structure and returns what it counted. Kind Corrupt where a rule of
// the format is broken: counts of links that do not agree with the names, "." or ".." that lead
// elsewhere, two files on the same blocks, or a superblock that counts other inodes.
func (e *Reader) Check() (Tally, error) {
	c := checker{seen: map[uint64]*counted{}}
	root, err := e.Root()
	if err != nil {
		return c.tally, err
	}
	c.parents = map[string]uint64{"": root.Number}
	w := walker{e: e, directories: map[uint64]string{}, visit: c.visit, list: c.list}
	if err := w.walk(root, "", 0); err != nil {
		return c.tally, err
	}
	if err := c.links(); err != nil {
		return c.tally, err
	}
	if uint64(c.tally.Files) != e.inodes {
		return c.tally, errs.New(errs.Corrupt, "erofs.check: %d inodes, the superblock counts %d",
			c.tally.Files, e.inodes)
	}
	return c.tally, c.overlaps()
}

type checker struct {
	tally   Tally
	seen    map[uint64]*counted
	parents map[string]uint64 // of directories, by their path
	extents []extent
}

// counted is an inode with the names found for it.
type counted struct {
	path string
	want uint32
	have uint32
}

type extent struct {
	first, end uint64 // blocks
	path       string
}

func (c *checker) visit(path string, i Inode) error {
	c.tally.Names++
	known := c.seen[i.Number]
	if known == nil {
		known = &counted{path: path, want: i.Links}
		c.seen[i.Number] = known
		c.tally.Files++
		if at, whole := i.at/BlockBytes, stored(i); whole > 0 {
			c.extents = append(c.extents, extent{at, at + whole, path})
		}
		if i.Is(Regular) {
			c.tally.Bytes += i.Size
		}
	}
	known.have++
	return nil
}

// stored returns how many whole blocks an inode's content takes.
func stored(i Inode) uint64 {
	if !i.Is(Regular) && !i.Is(Directory) && !i.Is(Symlink) {
		return 0
	}
	if i.tail != 0 {
		return i.Size / BlockBytes
	}
	return blocks(i.Size)
}

// list holds a directory's "." and ".." to where they must lead, and counts them.
func (c *checker) list(path string, i Inode, entries []Entry) error {
	known := c.seen[i.Number]
	known.have++ // its own "."
	c.tally.Directories++
	dots := 0
	for _, entry := range entries {
		switch entry.Name {
		case ".", "..":
			want := i.Number
			if entry.Name == ".." {
				want = c.parents[path]
			}
			if entry.nid != want || entry.kind != direntType(Directory) {
				return errs.New(errs.Corrupt, "erofs.check: %q of %q leads to inode %d, want %d", entry.Name,
					path, entry.nid, want)
			}
			dots++
			continue
		}
		if entry.kind == direntType(Directory) {
			known.have++ // its child's ".."
			c.parents[join(path, entry.Name)] = i.Number
		}
	}
	if dots != 2 {
		return errs.New(errs.Corrupt, "erofs.check: %q lacks \".\" or \"..\"", path)
	}
	return nil
}

func (c *checker) links() error {
	numbers := make([]uint64, 0, len(c.seen))
	for number := range c.seen {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		if i := c.seen[number]; i.have != i.want {
			return errs.New(errs.Corrupt, "erofs.check: %q has %d links, its inode says %d", i.path, i.have,
				i.want)
		}
	}
	return nil
}

func (c *checker) overlaps() error {
	slices.SortFunc(c.extents, func(a, b extent) int {
		if a.first != b.first {
			return int(int64(a.first) - int64(b.first))
		}
		return int(int64(a.end) - int64(b.end))
	})
	for i := 1; i < len(c.extents); i++ {
		if before := c.extents[i-1]; before.end > c.extents[i].first {
			return errs.New(errs.Corrupt, "erofs.check: %q and %q lie on the same blocks", before.path,
				c.extents[i].path)
		}
	}
	return nil
}
