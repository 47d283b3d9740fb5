//go:build amd64

package kernel

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"surety/sandbox"
)

// opening is one open, openat, openat2 or creat, its arguments copied.
type opening struct {
	*call
	flags   uint32
	mode    uint
	resolve uint64
}

func open(c *call) (uintptr, *kernel.SyscallControl, error) {
	o := opening{call: c, flags: c.args[1].Uint(), mode: c.args[2].ModeT()}
	return o.run(linux.AT_FDCWD, c.args[0].Pointer())
}

func openat(c *call) (uintptr, *kernel.SyscallControl, error) {
	o := opening{call: c, flags: c.args[2].Uint(), mode: c.args[3].ModeT()}
	return o.run(c.args[0].Int(), c.args[1].Pointer())
}

func creat(c *call) (uintptr, *kernel.SyscallControl, error) {
	o := opening{call: c, flags: linux.O_WRONLY | linux.O_CREAT | linux.O_TRUNC,
		mode: c.args[1].ModeT()}
	return o.run(linux.AT_FDCWD, c.args[0].Pointer())
}

func openat2(c *call) (uintptr, *kernel.SyscallControl, error) {
	how, err := copyHow(c.t, c.args[2].Pointer(), c.args[3].SizeT())
	if err != nil {
		return 0, nil, err
	}
	if err := checkHow(how); err != nil {
		return 0, nil, err
	}
	o := opening{call: c, flags: uint32(how.Flags), mode: uint(how.Mode), resolve: how.Resolve}
	return o.run(c.args[0].Int(), c.args[1].Pointer())
}

// copyHow copies openat2's argument: what gVisor's own function does, once.
func copyHow(t *kernel.Task, addr hostarch.Addr, size uint) (linux.OpenHow, error) {
	var how linux.OpenHow
	if size < linux.OPEN_HOW_SIZE_VER0 {
		return how, linuxerr.EINVAL
	}
	if size > hostarch.PageSize {
		return how, linuxerr.E2BIG
	}
	if _, err := how.CopyInN(t, addr, min(int(size), linux.OPEN_HOW_SIZE_LATEST)); err != nil {
		return how, err
	}
	if size == linux.OPEN_HOW_SIZE_LATEST || size < linux.OPEN_HOW_SIZE_LATEST {
		return how, nil
	}
	rest := make([]byte, size-linux.OPEN_HOW_SIZE_LATEST)
	if _, err := t.CopyInBytes(addr+linux.OPEN_HOW_SIZE_LATEST, rest); err != nil {
		return how, err
	}
	for _, b := range rest {
		if b != 0 {
			return how, linuxerr.E2BIG
		}
	}
	return how, nil
}

// checkHow refuses what openat2 refuses and openat does not, in gVisor's order.
func checkHow(how linux.OpenHow) error {
	const known = linux.RESOLVE_BENEATH | linux.RESOLVE_IN_ROOT | linux.RESOLVE_CACHED |
		linux.RESOLVE_NO_MAGICLINKS | linux.RESOLVE_NO_SYMLINKS | linux.RESOLVE_NO_XDEV
	both := uint64(linux.RESOLVE_BENEATH | linux.RESOLVE_IN_ROOT)
	making := how.Flags&(linux.O_CREAT|linux.O_TMPFILE) != 0
	switch {
	case how.Resolve&^known != 0, how.Resolve&both == both, how.Flags&^linux.ValidOpenFlags != 0:
		return linuxerr.EINVAL
	case how.Flags&linux.O_DIRECTORY != 0 && how.Flags&linux.O_CREAT != 0:
		return linuxerr.EINVAL
	case how.Flags&linux.O_PATH != 0 && how.Flags&^linux.ValidOPathFlags != 0:
		return linuxerr.EINVAL
	case !making && how.Mode != 0, how.Mode&^0o7777 != 0:
		return linuxerr.EINVAL
	case how.Resolve&linux.RESOLVE_CACHED != 0 && (making || how.Flags&linux.O_TRUNC != 0):
		return linuxerr.EAGAIN
	}
	return nil
}

func (o *opening) has(flag uint32) bool { return o.flags&flag != 0 }

// creates reports whether the call makes a file where there is none.
func (o *opening) creates() bool { return o.has(linux.O_CREAT) && !o.has(linux.O_PATH) }

func (o *opening) run(dirfd int32, addr hostarch.Addr) (uintptr, *kernel.SyscallControl, error) {
	text, err := o.t.CopyInString(addr, linux.PATH_MAX)
	if err != nil {
		return 0, nil, err
	}
	o.given = text
	w, err := startWalk(o.t, dirfd, text, refuseEmpty, o.resolve)
	if err != nil {
		return 0, nil, err
	}
	defer func() { w.done() }()
	file, err := o.open(&w)
	if err != nil {
		return 0, nil, err
	}
	defer file.DecRef(o.t)
	fd, err := o.t.NewFDFrom(0, file, kernel.FDFlags{CloseOnExec: o.has(linux.O_CLOEXEC)})
	return uintptr(fd), nil, err
}

// open opens what the path leads to, or makes it. Between looking and making others may make or
// remove the name: then it looks again, and what it finds is judged anew.
func (o *opening) open(w *walk) (*vfs.FileDescription, error) {
	exclusive := o.creates() && o.has(linux.O_EXCL)
	follow := !o.has(linux.O_NOFOLLOW) && !exclusive
	for range maxLinks {
		if o.creates() && w.inDirectory() {
			return nil, o.directory(w)
		}
		p, err := w.pin(follow)
		if err == nil {
			defer p.done()
			if exclusive {
				return nil, linuxerr.EEXIST
			}
			return o.existing(&p)
		}
		if !o.creates() || !linuxerr.Equals(linuxerr.ENOENT, err) {
			return nil, err
		}
		file, err := o.missing(w, follow)
		if err != nil || file != nil {
			return file, err
		}
	}
	return nil, linuxerr.ELOOP
}

// directory answers the making of a file whose name ends in a slash.
func (o *opening) directory(w *walk) error {
	p, err := w.pinName()
	if err != nil {
		return err
	}
	p.done()
	return linuxerr.EISDIR
}

// existing judges and opens an object.
func (o *opening) existing(p *pinned) (*vfs.FileDescription, error) {
	if err := o.checkDirectory(p); err != nil {
		return nil, err
	}
	if !o.has(linux.O_PATH) {
		if err := o.judge(p, o.access()); err != nil {
			return nil, err
		}
	}
	return o.act(p, o.flags)
}

// checkDirectory keeps O_DIRECTORY to directories and O_CREAT from them: the VFS looks at both only
// while it walks. A link that is not followed is no directory, as Linux has it; gVisor follows it.
func (o *opening) checkDirectory(p *pinned) error {
	wanted := o.has(linux.O_DIRECTORY)
	if !wanted && !o.creates() {
		return nil
	}
	pop := p.operation()
	stat, err := o.t.Kernel().VFS().StatAt(o.t, o.t.Credentials(), &pop,
		&vfs.StatOptions{Mask: linux.STATX_TYPE})
	directory := stat.Mode&linux.S_IFMT == linux.S_IFDIR
	switch {
	case err != nil:
		return err
	case wanted && !directory:
		return linuxerr.ENOTDIR
	case o.creates() && directory:
		return linuxerr.EISDIR
	}
	return nil
}

// missing makes the file. It returns neither file nor error where w, changed or not, is to be
// walked again: the name is a link to nowhere, or came to be meanwhile.
func (o *opening) missing(w *walk, follow bool) (*vfs.FileDescription, error) {
	p, err := w.pinName()
	if err != nil {
		return nil, err
	}
	defer p.done()
	pop := p.operation()
	there, err := o.t.Kernel().VFS().GetDentryAt(o.t, o.t.Credentials(), &pop,
		&vfs.GetDentryOptions{})
	if err == nil {
		defer there.DecRef(o.t)
		return nil, o.followed(w, &p, follow)
	}
	if !linuxerr.Equals(linuxerr.ENOENT, err) {
		return nil, err
	}
	if p.name == "." || p.name == ".." {
		return nil, linuxerr.ENOENT
	}
	if err := o.judge(&p, o.access()|sandbox.Create); err != nil {
		return nil, err
	}
	file, err := o.act(&p, o.flags|linux.O_EXCL|linux.O_NOFOLLOW)
	if linuxerr.Equals(linuxerr.EEXIST, err) && !o.has(linux.O_EXCL) {
		return nil, nil
	}
	return file, err
}

// followed sets w to go on from the link that p names, if it is one that may be followed.
func (o *opening) followed(w *walk, p *pinned, follow bool) error {
	if !follow {
		return nil // it came to be meanwhile
	}
	pop := p.operation()
	target, err := o.t.Kernel().VFS().ReadlinkAt(o.t, o.t.Credentials(), &pop)
	if linuxerr.Equals(linuxerr.EINVAL, err) || linuxerr.Equals(linuxerr.ENOENT, err) {
		return nil // not a link (any more)
	}
	if err != nil {
		return err
	}
	if o.resolve != 0 {
		// Where a link leads under these flags depends on where the walk began. gVisor would make
		// the file; we make none through a link to nowhere.
		return linuxerr.ELOOP
	}
	if target == "" {
		return linuxerr.ENOENT
	}
	next := walk{t: o.t, root: w.root, start: p.at, text: target}
	if target[0] == '/' {
		next.start = w.root
	}
	next.root.IncRef()
	next.start.IncRef()
	w.done()
	*w = next
	return nil
}

// access is what the call asks of a file that exists.
func (o *opening) access() sandbox.Access {
	var access sandbox.Access
	switch o.flags & linux.O_ACCMODE {
	case linux.O_RDONLY:
		access = sandbox.Read
	case linux.O_WRONLY:
		access = sandbox.Write
	default:
		access = sandbox.Read | sandbox.Write
	}
	if o.has(linux.O_TRUNC) {
		access |= sandbox.Write
	}
	if o.flags&linux.O_TMPFILE == linux.O_TMPFILE {
		access |= sandbox.Create
	}
	return access
}

func (o *opening) judge(p *pinned, access sandbox.Access) error {
	rec := o.record(sandbox.KindOpen)
	rec.Path, rec.Access, rec.Flags, rec.Mode = p.path, access, o.flags, uint32(o.mode)
	return o.decide(&rec, o.file(p.path, access))
}

// act opens the pinned thing.
func (o *opening) act(p *pinned, flags uint32) (*vfs.FileDescription, error) {
	pop := p.operation()
	mode := o.mode & (0o777 | linux.S_ISUID | linux.S_ISGID | linux.S_ISVTX)
	return o.t.Kernel().VFS().OpenAt(o.t, o.t.Credentials(), &pop, &vfs.OpenOptions{
		Flags: flags | linux.O_LARGEFILE,
		Mode:  linux.FileMode(mode &^ o.t.FSContext().Umask()),
	})
}
