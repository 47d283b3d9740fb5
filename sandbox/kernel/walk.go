//go:build amd64

package kernel

import (
	"path"
	"strings"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// emptyPath says what a call makes of the path "".
type emptyPath uint8

const (
	refuseEmpty emptyPath = iota // ENOENT
	allowEmpty                   // the descriptor itself
	ownEmpty                     // as allowEmpty, if the caller opened it with its present rights
)

// walk is a path the program gave, copied out of its memory, and where it starts. It holds a
// reference on both ends: done gives them back.
type walk struct {
	t       *kernel.Task
	root    vfs.VirtualDentry
	start   vfs.VirtualDentry
	text    string
	resolve uint64 // RESOLVE_ flags of openat2
}

// walkFrom copies the path at addr and finds its start, with the errors of gVisor's path calls.
func (c *call) walkFrom(dirfd int32, addr hostarch.Addr, empty emptyPath) (walk, error) {
	text, err := c.t.CopyInString(addr, linux.PATH_MAX)
	if err != nil {
		return walk{}, err
	}
	c.given = text
	return startWalk(c.t, dirfd, text, empty, 0)
}

// startWalk finds where the path text starts.
func startWalk(t *kernel.Task, dirfd int32, text string, empty emptyPath, resolve uint64) (
	walk, error) {
	absolute := strings.HasPrefix(text, "/")
	if text == "" && empty == refuseEmpty {
		return walk{}, linuxerr.ENOENT
	}
	if resolve&linux.RESOLVE_BENEATH != 0 && absolute {
		return walk{}, linuxerr.EXDEV
	}
	w := walk{t: t, text: text, resolve: resolve}
	if !absolute || resolve&linux.RESOLVE_IN_ROOT != 0 {
		var err error
		if w.start, err = startOf(t, dirfd, text, empty); err != nil {
			return walk{}, err
		}
	}
	w.root = t.FSContext().RootDirectory()
	if !w.start.Ok() {
		w.start = w.root
		w.start.IncRef()
	}
	return w, nil
}

// startOf returns the directory of dirfd, with a reference.
func startOf(t *kernel.Task, dirfd int32, text string, empty emptyPath) (vfs.VirtualDentry, error) {
	if dirfd == linux.AT_FDCWD {
		return t.FSContext().WorkingDirectory(), nil
	}
	file := t.GetFile(dirfd)
	if file == nil {
		return vfs.VirtualDentry{}, linuxerr.EBADF
	}
	defer file.DecRef(t)
	if empty == ownEmpty && text == "" && file.Credentials() != t.Credentials() &&
		!t.HasCapabilityIn(linux.CAP_DAC_READ_SEARCH, file.Credentials().UserNamespace) {
		return vfs.VirtualDentry{}, linuxerr.ENOENT
	}
	start := file.VirtualDentry()
	start.IncRef()
	return start, nil
}

func (w *walk) done() {
	w.root.DecRef(w.t)
	w.start.DecRef(w.t)
}

// inDirectory reports whether the path says that its end is a directory.
func (w *walk) inDirectory() bool { return strings.HasSuffix(w.text, "/") }

// operation is the walk as the VFS takes it.
func (w *walk) operation(follow bool) vfs.PathOperation {
	return vfs.PathOperation{Root: w.root, Start: w.start, Path: fspath.Parse(w.text),
		FollowFinalSymlink: follow, ResolveFlags: w.resolve}
}

// object walks to the end of the path and returns what is there, with a reference.
func (w *walk) object(follow bool) (vfs.VirtualDentry, error) {
	pop := w.operation(follow)
	return w.t.Kernel().VFS().GetDentryAt(w.t, w.t.Credentials(), &pop, &vfs.GetDentryOptions{})
}

// pinned is one thing held: the object itself, or the directory it is in and its name there. path
// is what the policy knows it by.
type pinned struct {
	t    *kernel.Task
	root vfs.VirtualDentry
	at   vfs.VirtualDentry
	name string // in at; "" for at itself
	path string
}

// operation is the pinned thing as the VFS takes it. It walks one component at most, and follows no
// link at its end.
func (p *pinned) operation() vfs.PathOperation {
	return vfs.PathOperation{Root: p.root, Start: p.at, Path: fspath.Parse(p.name)}
}

func (p *pinned) done() {
	p.root.DecRef(p.t)
	p.at.DecRef(p.t)
}

// pin walks to the end of the path and holds the object there.
func (w *walk) pin(follow bool) (pinned, error) {
	at, err := w.object(follow)
	if err != nil {
		return pinned{}, err
	}
	return w.hold(at, "")
}

// pinName walks to the directory of the path's last component and holds that directory and the
// name, which nothing need answer to. A path without a name (of slashes alone) gives the root and
// "/", at which the VFS refuses whatever is tried.
func (w *walk) pinName() (pinned, error) {
	dir, name := split(w.text)
	if name == "/" {
		at := w.root
		at.IncRef()
		return w.hold(at, name)
	}
	pop := w.operation(true)
	pop.Path = fspath.Parse(dir)
	at, err := w.t.Kernel().VFS().GetDentryAt(w.t, w.t.Credentials(), &pop,
		&vfs.GetDentryOptions{CheckSearchable: true})
	if err != nil {
		return pinned{}, err
	}
	return w.hold(at, name)
}

// hold makes a pinned thing of at, whose reference it takes.
func (w *walk) hold(at vfs.VirtualDentry, name string) (pinned, error) {
	text, err := pathOf(w.t, at)
	if err != nil {
		at.DecRef(w.t)
		return pinned{}, err
	}
	if name != "" {
		text = path.Join(text, name)
	}
	w.root.IncRef()
	return pinned{t: w.t, root: w.root, at: at, name: name, path: text}, nil
}

// split cuts a path that is not empty before its last component. Slashes at the end stay with the
// name: they say that it is a directory.
func split(text string) (dir, name string) {
	bare := strings.TrimRight(text, "/")
	if bare == "" {
		return "", "/"
	}
	i := strings.LastIndexByte(bare, '/')
	return text[:i+1], text[i+1:]
}

// unreachable begins the path of a file that no path leads to: of a mount taken out of the tree.
const unreachable = "/(unreachable)"

// pathOf returns the name of an object from the root of its container's mounts. A file that was
// removed keeps the name it had.
func pathOf(t *kernel.Task, vd vfs.VirtualDentry) (string, error) {
	root := t.MountNamespace().Root(t)
	defer root.DecRef(t)
	files := t.Kernel().VFS()
	text, err := files.PathnameReachable(t, root, vd)
	if err != nil || text != "" {
		return text, err
	}
	if text, err = files.PathnameWithDeleted(t, root, vd); err != nil {
		return "", err
	}
	if vd.Dentry().IsDead() {
		text = strings.TrimSuffix(text, " (deleted)")
	}
	if inTree(text) {
		text = unreachable + text
	}
	return text, nil
}

// holdFile holds the object of an open file.
func holdFile(t *kernel.Task, file *vfs.FileDescription) (pinned, error) {
	at := file.VirtualDentry()
	text, err := pathOf(t, at)
	if err != nil {
		return pinned{}, err
	}
	at.IncRef()
	return pinned{t: t, root: t.FSContext().RootDirectory(), at: at, path: text}, nil
}
