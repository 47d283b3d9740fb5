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
	d := c.moved(from.path, to.path, rec.Access)
	if flags&linux.RENAME_EXCHANGE != 0 && !refuses(d) {
		d = c.moved(to.path, from.path, rec.Access)
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
	if err := c.decide(&rec, c.moved(from.path, to.path, rec.Access)); err != nil {
		return err
	}
	oldPop, newPop := from.operation(), to.operation()
	return c.t.Kernel().VFS().LinkAt(c.t, c.t.Credentials(), &oldPop, &newPop)
}

func refuses(d sandbox.Decision) bool {
	return d.Verdict == sandbox.Refused || d.Verdict == sandbox.WouldRefuse
}

// moved decides on giving the file at from the name to as well, or instead. Beyond what the two
// names themselves need, a new name may not allow what the old one denies: else whoever may not
// read a file would read it under another.
func (s *sink) moved(from, to string, access sandbox.Access) sandbox.Decision {
	d := s.file(from, access)
	if refuses(d) {
		return d
	}
	if d = s.file(to, access); refuses(d) {
		return d
	}
	for _, one := range []sandbox.Access{sandbox.Read, sandbox.Write, sandbox.Unlink,
		sandbox.Attr, sandbox.Exec} {
		if before := s.file(from, one); refuses(before) && !refuses(s.file(to, one)) {
			return before
		}
	}
	if s.frees(from, to) {
		return s.below()
	}
	return d
}

// below refuses a move of a directory for the sake of what is in it.
func (s *sink) below() sandbox.Decision {
	if s.policy.Mode() != sandbox.Enforce {
		return sandbox.Decision{Verdict: sandbox.WouldRefuse, Rule: sandbox.NoRule}
	}
	return sandbox.Decision{Verdict: sandbox.Refused, Rule: sandbox.NoRule, Errno: sandbox.EACCES}
}

// frees reports whether a file below the directory from, denied by a pattern, would no longer match
// it below to.
func (s *sink) frees(from, to string) bool {
	for _, pattern := range s.denied {
		before, after := residues(pattern, from+"/"), residues(pattern, to+"/")
		for at := range before {
			if !after[at] {
				return true
			}
		}
	}
	return false
}

// residues returns where in the pattern one can be after text: the set of what may still follow.
// Patterns are those of sandbox.FileRule; the end of a pattern is not in the set, since nothing
// follows it.
func residues(pattern, text string) map[int]bool {
	at := spread(pattern, map[int]bool{0: true})
	for i := range len(text) {
		next := make(map[int]bool)
		for p := range at {
			switch {
			case p >= len(pattern):
			case strings.HasPrefix(pattern[p:], "**"):
				next[p] = true
			case pattern[p] == '*':
				if text[i] != '/' {
					next[p] = true
				}
			case pattern[p] == text[i], pattern[p] == '?' && text[i] != '/':
				next[p+1] = true
			}
		}
		at = spread(pattern, next)
	}
	delete(at, len(pattern))
	return at
}

// spread adds the positions that are reached by letting stars match nothing.
func spread(pattern string, at map[int]bool) map[int]bool {
	for p := range len(pattern) {
		switch {
		case !at[p]:
		case strings.HasPrefix(pattern[p:], "**"):
			at[p+2] = true
		case pattern[p] == '*':
			at[p+1] = true
		}
	}
	return at
}
