package image

import (
	"slices"
	"strings"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// tree is a root file system while layers are laid over each other.
type tree struct {
	root *erofs.Node
	mine map[slot]struct{} // names given by the layer that is being applied
}

// slot is a name in a directory.
type slot struct {
	dir  *erofs.Node
	name string
}

// newTree returns an empty root, for layers that say nothing about it.
func newTree() *tree { return &tree{root: newDirectory(0o755)} }

func newDirectory(perm uint16) *erofs.Node { return &erofs.Node{Mode: erofs.Directory | perm} }

// apply lays a layer over the tree. The error names the entry that cannot be applied; the tree is
// of no use then. What a layer takes away is taken from the layers below it and never from itself,
// wherever in the archive it says so.
func (t *tree) apply(l *layer) error {
	t.mine = map[slot]struct{}{}
	for _, e := range l.opaque {
		dir, err := t.find(e.names, false)
		if err != nil {
			return errs.Wrap(err, "entry %q", e.path+"/"+opaqueMarker)
		}
		if dir != nil && dir.Is(erofs.Directory) {
			dir.Clear()
		}
	}
	for _, e := range l.gone {
		dir, err := t.find(e.names[:len(e.names)-1], false)
		if err != nil {
			return errs.Wrap(err, "entry %q, a whiteout", e.path)
		}
		if dir != nil {
			dir.Remove(e.names[len(e.names)-1])
		}
	}
	var links []entry
	for _, e := range l.entries {
		if e.link != "" {
			links = append(links, e)
			continue
		}
		if err := t.put(e); err != nil {
			return errs.Wrap(err, "entry %q", e.path)
		}
	}
	return t.link(links)
}

// put gives an entry its place.
func (t *tree) put(e entry) error {
	if len(e.names) == 0 {
		t.restate(t.root, e.node)
		return nil
	}
	dir, err := t.find(e.names[:len(e.names)-1], true)
	if err != nil {
		return err
	}
	name := e.names[len(e.names)-1]
	here := slot{dir, name}
	before := dir.Child(name)
	both := before != nil && before.Is(erofs.Directory) && e.node.Is(erofs.Directory)
	if _, ours := t.mine[here]; ours && !both {
		return errs.New(errs.Invalid, "another entry needs the name, by way of a symbolic link")
	}
	t.mine[here] = struct{}{}
	if both {
		t.restate(before, e.node)
		return nil
	}
	return dir.Put(name, e.node)
}

// restate gives a directory that is there what an upper layer says of it.
func (t *tree) restate(dir, said *erofs.Node) {
	dir.Mode, dir.UID, dir.GID = said.Mode, said.UID, said.GID
	dir.Seconds, dir.Nanos = said.Seconds, said.Nanos
}

// link gives files their further names, once everything else is in place. A link may lead to a
// file of this layer or of one below, or to another link: they are tried until none gets anywhere.
func (t *tree) link(links []entry) error {
	for len(links) > 0 {
		var waiting []entry
		for _, e := range links {
			linked, err := t.linkOne(e)
			if err != nil {
				return errs.Wrap(err, "entry %q, a hard link to %q", e.path, e.link)
			}
			if !linked {
				waiting = append(waiting, e)
			}
		}
		if len(waiting) == len(links) {
			return errs.New(errs.Invalid, "entry %q: a hard link to %q, which is not there", links[0].path,
				links[0].link)
		}
		links = waiting
	}
	return nil
}

func (t *tree) linkOne(e entry) (linked bool, err error) {
	names := strings.Split(e.link, "/")
	dir, err := t.find(names[:len(names)-1], false)
	if dir == nil || err != nil {
		return false, err
	}
	target := dir.Child(names[len(names)-1])
	if target == nil {
		return false, nil
	}
	if target.Is(erofs.Directory) {
		return false, errs.New(errs.Invalid, "its target is a directory")
	}
	return true, t.put(entry{path: e.path, names: e.names, node: target})
}

// find returns the directory that names lead to, within the image: symbolic links are followed,
// absolute ones from the image's root. It makes what is missing where make is set, and otherwise
// returns nil for it. A link that leads above the root is refused: the image's author meant a file
// that is not of the image.
func (t *tree) find(names []string, make bool) (*erofs.Node, error) {
	at, stack, followed := t.root, []*erofs.Node(nil), 0
	for names = slices.Clone(names); len(names) > 0; {
		name := names[0]
		names = names[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if len(stack) == 0 {
				return nil, errs.New(errs.Invalid, "a symbolic link on its way leads out of the image")
			}
			at, stack = stack[len(stack)-1], stack[:len(stack)-1]
			continue
		}
		child := at.Child(name)
		if child == nil {
			if !make {
				return nil, nil
			}
			child = newDirectory(0o755)
			if err := at.Put(name, child); err != nil {
				return nil, err
			}
			t.mine[slot{at, name}] = struct{}{} // so that nothing else takes the name, and the files
		}
		switch {
		case child.Is(erofs.Directory):
			at, stack = child, append(stack, at)
		case !child.Is(erofs.Symlink):
			if !make {
				return nil, nil
			}
			return nil, errs.New(errs.Invalid, "%q on its way is not a directory", name)
		default:
			if followed++; followed > maxFollowed {
				return nil, errs.New(errs.Invalid, "more than %d symbolic links on its way", maxFollowed)
			}
			if strings.HasPrefix(child.Target, "/") {
				at, stack = t.root, nil
			}
			names = append(strings.Split(child.Target, "/"), names...)
		}
	}
	return at, nil
}

// complete adds the directories that the kernel inside mounts on, where the image has nothing of
// the name: a root that is read only cannot be given them later.
func (t *tree) complete() error {
	for _, name := range [...]string{"dev", "proc", "sys"} {
		if t.root.Child(name) != nil {
			continue
		}
		if err := t.root.Put(name, newDirectory(0o755)); err != nil {
			return err
		}
	}
	return nil
}
