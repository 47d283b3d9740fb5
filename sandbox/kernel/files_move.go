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

// ends are the two paths of a rename or link, by address.
type ends struct {
	oldDir, newDir int32
	oldPath        hostarch.Addr
	newPath        hostarch.Addr
}

func rename(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.rename(ends{linux.AT_FDCWD, linux.AT_FDCWD, c.args[0].Pointer(),
		c.args[1].Pointer()}, 0)
}

func renameat(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.rename(ends{c.args[0].Int(), c.args[2].Int(), c.args[1].Pointer(),
		c.args[3].Pointer()}, 0)
}

func renameat2(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.rename(ends{c.args[0].Int(), c.args[2].Int(), c.args[1].Pointer(),
		c.args[3].Pointer()}, c.args[4].Uint())
}

func (c *call) rename(e ends, flags uint32) error {
	from, err := c.named(e.oldDir, e.oldPath)
	if err != nil {
		return err
	}
	defer from.done()
	to, err := c.named(e.newDir, e.newPath)
	if err != nil {
		return err
	}
	defer to.done()
	if err := from.lookup(); err != nil {
		return err
	}
	rec := c.record(sandbox.KindRename)
	rec.Path, rec.Path2, rec.Flags = from.path, to.path, flags
	rec.Access = sandbox.Rename | sandbox.Unlink
	d := c.policy.Move(from.path, to.path, rec.Access)
	if flags&linux.RENAME_EXCHANGE != 0 && !refuses(d) {
		d = c.policy.Move(to.path, from.path, rec.Access)
	}
	if err := c.decide(&rec, d); err != nil {
		return err
	}
	oldPop, newPop := from.operation(), to.operation()
	return c.t.Kernel().VFS().RenameAt(c.t, c.t.Credentials(), &oldPop, &newPop,
		&vfs.RenameOptions{Flags: flags})
}

func link(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.link(ends{linux.AT_FDCWD, linux.AT_FDCWD, c.args[0].Pointer(),
		c.args[1].Pointer()}, 0)
}

func linkat(c *call) (uintptr, *kernel.SyscallControl, error) {
	return 0, nil, c.link(ends{c.args[0].Int(), c.args[2].Int(), c.args[1].Pointer(),
		c.args[3].Pointer()}, c.args[4].Int())
}

func (c *call) link(e ends, flags int32) error {
	if flags&^(linux.AT_EMPTY_PATH|linux.AT_SYMLINK_FOLLOW) != 0 {
		return linuxerr.EINVAL
	}
	empty := refuseEmpty
	if flags&linux.AT_EMPTY_PATH != 0 {
		empty = ownEmpty
	}
	w, err := c.walkFrom(e.oldDir, e.oldPath, empty)
	if err != nil {
		return err
	}
	defer w.done()
	from, err := w.pin(flags&linux.AT_SYMLINK_FOLLOW != 0)
	if err != nil {
		return err
	}
	defer from.done()
	to, err := c.named(e.newDir, e.newPath)
	if err != nil {
		return err
	}
	defer to.done()
	if err := to.vacant(); err != nil {
		return err
	}
	rec := c.record(sandbox.KindLink)
	rec.Path, rec.Path2, rec.Access = from.path, to.path, sandbox.Link
	if err := c.decide(&rec, c.policy.Move(from.path, to.path, rec.Access)); err != nil {
		return err
	}
	oldPop, newPop := from.operation(), to.operation()
	return c.t.Kernel().VFS().LinkAt(c.t, c.t.Credentials(), &oldPop, &newPop)
}

func refuses(d sandbox.Decision) bool {
	return d.Verdict == sandbox.Refused || d.Verdict == sandbox.WouldRefuse
}
