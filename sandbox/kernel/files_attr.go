//go:build amd64

package kernel

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"surety/sandbox"
)

// change is a change of what a file is marked with, its arguments copied.
type change struct {
	access sandbox.Access // Attr, or Write where the size changes
	stat   vfs.SetStatOptions
}

// at makes a change to the file a path leads to.
func (c *call) at(dirfd int32, addr hostarch.Addr, empty emptyPath, follow bool, ch *change) error {
	w, err := c.walkFrom(dirfd, addr, empty)
	if err != nil {
		return err
	}
	defer w.done()
	p, err := w.pin(follow)
	if err != nil {
		return err
	}
	defer p.done()
	if err := c.marks(&p, ch); err != nil {
		return err
	}
	pop := p.operation()
	return c.t.Kernel().VFS().SetStatAt(c.t, c.t.Credentials(), &pop, &ch.stat)
}

// of makes a change to the file of a descriptor.
func (c *call) of(fd int32, ch *change) error {
	file := c.t.GetFile(fd)
	if file == nil {
		return linuxerr.EBADF
	}
	defer file.DecRef(c.t)
	p, err := holdFile(c.t, file)
	if err != nil {
		return err
	}
	defer p.done()
	if err := c.marks(&p, ch); err != nil {
		return err
	}
	return file.SetStat(c.t, ch.stat)
}

// marks judges a change: of an owner, also the capability that takes.
func (c *call) marks(p *pinned, ch *change) error {
	if ch.stat.Stat.Mask&linux.STATX_UID != 0 &&
		ch.stat.Stat.UID != uint32(c.t.Credentials().EffectiveKUID) {
		if err := c.uses(linux.CAP_CHOWN); err != nil {
			return err
		}
	}
	return c.on(sandbox.KindAttr, p, ch.access, uint32(ch.stat.Stat.Mode))
}

const modeBits = 0o777 | linux.S_ISUID | linux.S_ISGID | linux.S_ISVTX

func newMode(mode uint) *change {
	return &change{access: sandbox.Attr, stat: vfs.SetStatOptions{
		Stat: linux.Statx{Mask: linux.STATX_MODE, Mode: uint16(mode & modeBits)}}}
}

func chmod(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.at(linux.AT_FDCWD, c.args[0].Pointer(), refuseEmpty, true,
		newMode(c.args[1].ModeT()))
}

func fchmod(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.of(c.args[0].Int(), newMode(c.args[1].ModeT()))
}

func fchmodat(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.at(c.args[0].Int(), c.args[1].Pointer(), refuseEmpty, true,
		newMode(c.args[2].ModeT()))
}

// newOwner is the change a chown asks for; -1 leaves an id.
func newOwner(t *kernel.Task, owner, group int32) (*change, error) {
	ch := &change{access: sandbox.Attr, stat: vfs.SetStatOptions{ClearPrivs: true}}
	if owner != -1 {
		id := t.UserNamespace().MapToKUID(auth.UID(owner))
		if !id.Ok() {
			return nil, linuxerr.EINVAL
		}
		ch.stat.Stat.Mask |= linux.STATX_UID
		ch.stat.Stat.UID = uint32(id)
	}
	if group != -1 {
		id := t.UserNamespace().MapToKGID(auth.GID(group))
		if !id.Ok() {
			return nil, linuxerr.EINVAL
		}
		ch.stat.Stat.Mask |= linux.STATX_GID
		ch.stat.Stat.GID = uint32(id)
	}
	return ch, nil
}

func chown(c *call) (uintptr, *kernel.SyscallControl, error)  { return c.chownPath(true) }
func lchown(c *call) (uintptr, *kernel.SyscallControl, error) { return c.chownPath(false) }

func (c *call) chownPath(follow bool) (uintptr, *kernel.SyscallControl, error) {
	ch, err := newOwner(c.t, c.args[1].Int(), c.args[2].Int())
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, c.at(linux.AT_FDCWD, c.args[0].Pointer(), refuseEmpty, follow, ch)
}

func fchown(c *call) (uintptr, *kernel.SyscallControl, error) {
	ch, err := newOwner(c.t, c.args[1].Int(), c.args[2].Int())
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, c.of(c.args[0].Int(), ch)
}

func fchownat(c *call) (uintptr, *kernel.SyscallControl, error) {
	flags := c.args[4].Int()
	if flags&^(linux.AT_EMPTY_PATH|linux.AT_SYMLINK_NOFOLLOW) != 0 {
		return 0, nil, linuxerr.EINVAL
	}
	ch, err := newOwner(c.t, c.args[2].Int(), c.args[3].Int())
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, c.at(c.args[0].Int(), c.args[1].Pointer(), emptyFor(flags),
		flags&linux.AT_SYMLINK_NOFOLLOW == 0, ch)
}

func emptyFor(flags int32) emptyPath {
	if flags&linux.AT_EMPTY_PATH != 0 {
		return allowEmpty
	}
	return refuseEmpty
}

func truncate(c *call) (uintptr, *kernel.SyscallControl, error) {
	size := c.args[1].Int64()
	if size < 0 {
		return 0, nil, linuxerr.EINVAL
	}
	err := c.at(linux.AT_FDCWD, c.args[0].Pointer(), refuseEmpty, true, &change{
		access: sandbox.Write, stat: vfs.SetStatOptions{
			Stat:          linux.Statx{Mask: linux.STATX_SIZE, Size: uint64(size)},
			NeedWritePerm: true, ClearPrivs: true}})
	if err == linuxerr.ErrExceedsFileSizeLimit {
		_ = c.t.SendSignal(kernel.SignalInfoNoInfo(linux.SIGXFSZ, c.t, c.t))
		err = linuxerr.EFBIG
	}
	return 0, nil, err
}

// named attributes

func setxattr(c *call) (uintptr, *kernel.SyscallControl, error)  { return c.setAttribute(true) }
func lsetxattr(c *call) (uintptr, *kernel.SyscallControl, error) { return c.setAttribute(false) }

func (c *call) setAttribute(follow bool) (uintptr, *kernel.SyscallControl, error) {
	opts, err := c.copyAttribute()
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, c.atAttribute(follow, func(p *pinned) error {
		pop := p.operation()
		return c.t.Kernel().VFS().SetXattrAt(c.t, c.t.Credentials(), &pop, opts)
	})
}

func fsetxattr(c *call) (uintptr, *kernel.SyscallControl, error) {
	opts, err := c.copyAttribute()
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, c.ofAttribute(func(file *vfs.FileDescription) error {
		return file.SetXattr(c.t, opts)
	})
}

func removexattr(c *call) (uintptr, *kernel.SyscallControl, error) {
	return c.dropAttribute(true)
}

func lremovexattr(c *call) (uintptr, *kernel.SyscallControl, error) {
	return c.dropAttribute(false)
}

func (c *call) dropAttribute(follow bool) (uintptr, *kernel.SyscallControl, error) {
	name, err := c.copyAttributeName()
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, c.atAttribute(follow, func(p *pinned) error {
		pop := p.operation()
		return c.t.Kernel().VFS().RemoveXattrAt(c.t, c.t.Credentials(), &pop, name)
	})
}

func fremovexattr(c *call) (uintptr, *kernel.SyscallControl, error) {
	name, err := c.copyAttributeName()
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, c.ofAttribute(func(file *vfs.FileDescription) error {
		return file.RemoveXattr(c.t, name)
	})
}

// atAttribute holds and judges the file of the first argument's path, and acts.
func (c *call) atAttribute(follow bool, act func(*pinned) error) error {
	w, err := c.walkFrom(linux.AT_FDCWD, c.args[0].Pointer(), refuseEmpty)
	if err != nil {
		return err
	}
	defer w.done()
	p, err := w.pin(follow)
	if err != nil {
		return err
	}
	defer p.done()
	if err := c.on(sandbox.KindAttr, &p, sandbox.Attr, 0); err != nil {
		return err
	}
	return act(&p)
}

// ofAttribute holds and judges the file of the first argument's descriptor, and acts.
func (c *call) ofAttribute(act func(*vfs.FileDescription) error) error {
	file := c.t.GetFile(c.args[0].Int())
	if file == nil {
		return linuxerr.EBADF
	}
	defer file.DecRef(c.t)
	p, err := holdFile(c.t, file)
	if err != nil {
		return err
	}
	defer p.done()
	if err := c.on(sandbox.KindAttr, &p, sandbox.Attr, 0); err != nil {
		return err
	}
	return act(file)
}

func (c *call) copyAttributeName() (string, error) {
	name, err := c.t.CopyInString(c.args[1].Pointer(), linux.XATTR_NAME_MAX+1)
	if linuxerr.Equals(linuxerr.ENAMETOOLONG, err) || err == nil && name == "" {
		return "", linuxerr.ERANGE
	}
	return name, err
}

func (c *call) copyAttribute() (*vfs.SetXattrOptions, error) {
	size, flags := c.args[3].SizeT(), c.args[4].Int()
	if flags&^(linux.XATTR_CREATE|linux.XATTR_REPLACE) != 0 {
		return nil, linuxerr.EINVAL
	}
	name, err := c.copyAttributeName()
	if err != nil {
		return nil, err
	}
	if size > linux.XATTR_SIZE_MAX {
		return nil, linuxerr.E2BIG
	}
	value := make([]byte, size)
	if _, err := c.t.CopyInBytes(c.args[2].Pointer(), value); err != nil {
		return nil, err
	}
	return &vfs.SetXattrOptions{Name: name, Value: string(value), Flags: uint32(flags)}, nil
}
