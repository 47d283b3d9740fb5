package erofs

import (
	"surety/base/errs"
)

// Plan is a tree with a place for each of its nodes. The tree must not change until it is written.
type Plan struct {
	nodes []*Node // in the order of the walk: the root first, a directory before what it holds
	bytes uint64  // of the image
}

// NewPlan gives every node below root its place. Kind TooLarge where the tree goes past a limit of
// this package, Invalid where a node makes no sense; the text names the path. A tree may be planned
// again after it has changed.
func NewPlan(root *Node) (*Plan, error) {
	if !root.Is(Directory) {
		return nil, errs.New(errs.Invalid, "erofs.plan: the root has mode %o, want a directory", root.Mode)
	}
	p := &Plan{}
	if err := p.visit(root, root, "", 0); err != nil {
		return nil, err
	}
	next := blocks(firstInode + uint64(len(p.nodes))*inodeBytes)
	for _, content := range [...]bool{false, true} {
		for _, n := range p.nodes {
			if n.Is(Regular) != content || n.place.size == 0 {
				continue
			}
			n.place.block = next
			next += blocks(n.place.size)
			if next > MaxBytes/BlockBytes {
				return nil, errs.New(errs.TooLarge,
					"erofs.plan: the image has more than %d bytes, which is the limit", uint64(MaxBytes))
			}
		}
	}
	p.bytes = next * BlockBytes
	return p, nil
}

// Size returns the image's size in bytes, a multiple of BlockBytes.
func (p *Plan) Size() int64 { return int64(p.bytes) }

// Files returns how many nodes the image has, directories and links among them.
func (p *Plan) Files() int { return len(p.nodes) }

// visit places n and what is below it. A regular file is placed where it is first met.
func (p *Plan) visit(n, parent *Node, path string, depth int) error {
	if len(path) > MaxPath || depth > maxDepth {
		return errs.New(errs.TooLarge, "erofs.plan: the path %.40q... has %d bytes, the limit is %d",
			path, len(path), MaxPath)
	}
	if n.place.plan == p {
		n.place.links++
		if n.Is(Directory) || n.place.links > MaxLinks {
			return errs.New(errs.Invalid,
				"erofs.plan: %q: a directory with two names, or a file with more than %d", path, MaxLinks)
		}
		return nil
	}
	if err := p.admit(n, path); err != nil {
		return err
	}
	n.place = place{plan: p, index: uint32(len(p.nodes)), links: 1, parent: parent,
		size: n.Size}
	p.nodes = append(p.nodes, n)
	switch n.Mode & TypeMask {
	case Symlink:
		n.place.size = uint64(len(n.Target))
	case Directory:
		return p.directory(n, path, depth)
	}
	return nil
}

func (p *Plan) directory(n *Node, path string, depth int) error {
	n.place.links = 2 // its name, and its own "."
	var size dirSize
	for _, name := range withDots(n.Names()) {
		size.add(name)
		if name == "." || name == ".." {
			continue
		}
		child := n.children[name]
		if child.Is(Directory) {
			n.place.links++
		}
		if err := p.visit(child, n, join(path, name), depth+1); err != nil {
			return err
		}
	}
	n.place.size = size.total()
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// admit refuses a node that no image can hold.
func (p *Plan) admit(n *Node, path string) error {
	switch {
	case len(p.nodes) >= MaxNodes:
		return errs.New(errs.TooLarge, "erofs.plan: %q is file number %d, the limit is %d", path,
			len(p.nodes)+1, MaxNodes)
	case direntType(n.Mode) == 0:
		return errs.New(errs.Invalid, "erofs.plan: %q has mode %o, which is of no type", path, n.Mode)
	case n.Seconds < 0 || n.Nanos >= 1e9:
		return errs.New(errs.Invalid, "erofs.plan: %q has time %d s %d ns", path, n.Seconds, n.Nanos)
	case n.Is(Symlink) && len(n.Target) > MaxTarget:
		return errs.New(errs.TooLarge, "erofs.plan: the target of %q has %d bytes, the limit is %d",
			path, len(n.Target), MaxTarget)
	case n.Is(Symlink) && n.Target == "":
		return errs.New(errs.Invalid, "erofs.plan: the symbolic link %q has no target", path)
	case !n.Is(Regular) && n.Size != 0:
		return errs.New(errs.Invalid, "erofs.plan: %q has a size and is not a file", path)
	case n.Size > MaxBytes:
		return errs.New(errs.TooLarge, "erofs.plan: %q has %d bytes, the limit is %d", path, n.Size,
			uint64(MaxBytes))
	case n.Size > 0 && n.Content == nil:
		return errs.New(errs.Invalid, "erofs.plan: %q has %d bytes and no content", path, n.Size)
	}
	return nil
}

// withDots returns sorted names with "." and ".." in their places.
func withDots(names []string) []string {
	all := make([]string, 0, len(names)+2)
	dots := []string{".", ".."}
	for _, name := range names {
		for len(dots) > 0 && dots[0] < name {
			all = append(all, dots[0])
			dots = dots[1:]
		}
		all = append(all, name)
	}
	return append(all, dots...)
}

// dirSize counts the bytes of a directory's entries as fillDirectory lays them out: a block is
// closed when the next entry does not fit.
type dirSize struct {
	closed uint64 // blocks
	used   uint64 // bytes of the open block
}

func (d *dirSize) add(name string) {
	need := uint64(direntBytes + len(name))
	if d.used+need > BlockBytes {
		d.closed++
		d.used = 0
	}
	d.used += need
}

func (d *dirSize) total() uint64 { return d.closed*BlockBytes + d.used }
