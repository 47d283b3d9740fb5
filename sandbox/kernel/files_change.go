//go:build amd64

package kernel

import (
	"strings"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"surety/sandbox"
)

// named copies a path and holds the directory and name of its end.
func (c *call) named(dirfd int32, addr hostarch.Addr) (pinned, error) {
	w, err := c.walkFrom(dirfd, addr, refuseEmpty)
	if err != nil {
		return pinned{}, err
	}
	defer w.done()
	return w.pinName()
}

// lookup sees what answers to a held name, slashes at its end left out: a link, not where it leads.
func (p *pinned) lookup() error {
	pop := p.operation()
	if bare := strings.TrimRight(p.name, "/"); bare != "" {
		pop = (&pinned{root: p.root, at: p.at, name: bare}).operation()
	}
	found, err := p.t.Kernel().VFS().GetDentryAt(p.t, p.t.Credentials(), &pop,
		&vfs.GetDentryOptions{})
	if err == nil {
		found.DecRef(p.t)
	}
	return err
}

// vacant returns nil where nothing answers to the name, and else what making it would fail with.
func (p *pinned) vacant() error {
	switch err := p.lookup(); {
	case err == nil:
		return linuxerr.EEXIST
	case linuxerr.Equals(linuxerr.ENOENT, err):
		return nil
	default:
		return err
	}
}

// on judges an act on one held thing.
func (c *call) on(kind sandbox.Kind, p *pinned, access sandbox.Access, mode uint32) error {
	rec := c.record(kind)
	rec.Path, rec.Access, rec.Mode = p.path, access, mode
	return c.decide(&rec, c.file(p.path, access))
}

func unlink(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.remove(linux.AT_FDCWD, c.args[0].Pointer(), false)
}

func rmdir(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.remove(linux.AT_FDCWD, c.args[0].Pointer(), true)
}

func unlinkat(c *call) (uintptr, *kernel.SyscallControl, error) {
	flags := c.args[2].Int()
	if flags&^linux.AT_REMOVEDIR != 0 {
		return 0, nil, linuxerr.EINVAL
	}
	return 0, nil, c.remove(c.args[0].Int(), c.args[1].Pointer(), flags&linux.AT_REMOVEDIR != 0)
}

func (c *call) remove(dirfd int32, addr hostarch.Addr, directory bool) error {
	p, err := c.named(dirfd, addr)
	if err != nil {
		return err
	}
	defer p.done()
	if err := p.lookup(); err != nil {
		return err
	}
	if err := c.on(sandbox.KindUnlink, &p, sandbox.Unlink, 0); err != nil {
		return err
	}
	pop := p.operation()
	if directory {
		return c.t.Kernel().VFS().RmdirAt(c.t, c.t.Credentials(), &pop)
	}
	return c.t.Kernel().VFS().UnlinkAt(c.t, c.t.Credentials(), &pop)
}

func mkdir(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.makeDirectory(linux.AT_FDCWD, c.args[0].Pointer(), c.args[1].ModeT())
}

func mkdirat(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.makeDirectory(c.args[0].Int(), c.args[1].Pointer(), c.args[2].ModeT())
}

func (c *call) makeDirectory(dirfd int32, addr hostarch.Addr, mode uint) error {
	p, err := c.named(dirfd, addr)
	if err != nil {
		return err
	}
	defer p.done()
	if err := p.vacant(); err != nil {
		return err
	}
	mode = mode & (0o777 | linux.S_ISVTX) &^ c.t.FSContext().Umask()
	if err := c.on(sandbox.KindMake, &p, sandbox.Create, linux.S_IFDIR|uint32(mode)); err != nil {
		return err
	}
	pop := p.operation()
	return c.t.Kernel().VFS().MkdirAt(c.t, c.t.Credentials(), &pop,
		&vfs.MkdirOptions{Mode: linux.FileMode(mode)})
}

func mknod(c *call) (uintptr, *kernel.SyscallControl, error) {
	mode := linux.FileMode(c.args[1].ModeT())
	return 0, nil, c.makeNode(linux.AT_FDCWD, c.args[0].Pointer(), mode, c.args[2].Uint())
}

func mknodat(c *call) (uintptr, *kernel.SyscallControl, error) {
	mode := linux.FileMode(c.args[2].ModeT())
	return 0, nil, c.makeNode(c.args[0].Int(), c.args[1].Pointer(), mode, c.args[3].Uint())
}

func (c *call) makeNode(dirfd int32, addr hostarch.Addr, mode linux.FileMode, dev uint32) error {
	p, err := c.named(dirfd, addr)
	if err != nil {
		return err
	}
	defer p.done()
	switch kind := mode.FileType(); kind {
	case 0:
		mode |= linux.ModeRegular
	case linux.ModeCharacterDevice, linux.ModeBlockDevice:
		whiteout := kind == linux.ModeCharacterDevice && dev == linux.WHITEOUT_DEV
		if err := c.uses(linux.CAP_MKNOD); !whiteout && err != nil {
			return err
		}
		if !whiteout && !c.t.HasRootCapability(linux.CAP_MKNOD) {
			return linuxerr.EPERM
		}
	}
	if err := p.vacant(); err != nil {
		return err
	}
	mode &^= linux.FileMode(c.t.FSContext().Umask())
	if err := c.on(sandbox.KindMake, &p, sandbox.Create, uint32(mode)); err != nil {
		return err
	}
	major, minor := linux.DecodeDeviceID(dev)
	pop := p.operation()
	return c.t.Kernel().VFS().MknodAt(c.t, c.t.Credentials(), &pop, &vfs.MknodOptions{Mode: mode,
		DevMajor: uint32(major), DevMinor: minor})
}

func symlink(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.makeLink(c.args[0].Pointer(), linux.AT_FDCWD, c.args[1].Pointer())
}

func symlinkat(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.makeLink(c.args[0].Pointer(), c.args[1].Int(), c.args[2].Pointer())
}

// makeLink makes a symbolic link. Where it leads is judged when it is followed.
func (c *call) makeLink(text hostarch.Addr, dirfd int32, addr hostarch.Addr) error {
	target, err := c.t.CopyInString(text, linux.PATH_MAX)
	if err != nil {
		return err
	}
	if target == "" {
		return linuxerr.ENOENT
	}
	p, err := c.named(dirfd, addr)
	if err != nil {
		return err
	}
	defer p.done()
	if err := p.vacant(); err != nil {
		return err
	}
	rec := c.record(sandbox.KindLink)
	rec.Path, rec.Path2, rec.Access = target, p.path, sandbox.Create
	if err := c.decide(&rec, c.file(p.path, sandbox.Create)); err != nil {
		return err
	}
	pop := p.operation()
	return c.t.Kernel().VFS().SymlinkAt(c.t, c.t.Credentials(), &pop, target)
}
