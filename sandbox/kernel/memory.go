//go:build amd64

package kernel

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"surety/sandbox"
)

// mmap judges mappings that may be executed. One of a file holds the file, is judged by its path
// and is then made by a copy of gVisor's own steps: gVisor would look the descriptor up again.
func mmap(c *call) (uintptr, *kernel.SyscallControl, error) {
	prot, flags := c.args[2].Int(), c.args[3].Int()
	if prot&linux.PROT_EXEC == 0 {
		return c.forward()
	}
	if flags&linux.MAP_ANONYMOUS != 0 {
		if err := c.execMemory(uint32(prot)); err != nil {
			return 0, nil, err
		}
		return c.forward()
	}
	file := c.t.GetFile(c.args[4].Int())
	if file == nil {
		return 0, nil, linuxerr.EBADF
	}
	defer file.DecRef(c.t)
	p, err := holdFile(c.t, file)
	if err != nil {
		return 0, nil, err
	}
	defer p.done()
	if err := c.execFile(&p, uint32(prot)); err != nil {
		return 0, nil, err
	}
	at, err := c.mapFile(file, prot, flags)
	return uintptr(at), nil, err
}

// execFile judges mapping a file as code. One of memory alone, and one that may be written through
// the same mapping, is no better than memory that no file backs.
func (c *call) execFile(p *pinned, prot uint32) error {
	if !inTree(p.path) || prot&linux.PROT_WRITE != 0 {
		if err := c.execMemory(prot); err != nil {
			return err
		}
	}
	rec := c.record(sandbox.KindMapExec)
	rec.Path, rec.Access, rec.Flags = p.path, sandbox.Exec, prot
	return c.decide(&rec, c.file(p.path, sandbox.Exec))
}

// mapFile is gVisor's mmap of a file with PROT_EXEC.
func (c *call) mapFile(file *vfs.FileDescription, prot, flags int32) (hostarch.Addr, error) {
	fixed, noReplace := flags&linux.MAP_FIXED != 0, flags&linux.MAP_FIXED_NOREPLACE != 0
	private, shared := flags&linux.MAP_PRIVATE != 0, flags&linux.MAP_SHARED != 0
	if private == shared {
		return 0, linuxerr.EINVAL
	}
	opts := memmap.MMapOpts{
		Length: c.args[1].Uint64(), Offset: c.args[5].Uint64(), Addr: c.args[0].Pointer(),
		Fixed: fixed || noReplace, Unmap: fixed && !noReplace, NoReplace: noReplace,
		Map32Bit: flags&linux.MAP_32BIT != 0, Private: private,
		Perms: hostarch.AccessType{Read: prot&linux.PROT_READ != 0,
			Write: prot&linux.PROT_WRITE != 0, Execute: true},
		MaxPerms:  hostarch.AnyAccess,
		GrowsDown: flags&linux.MAP_GROWSDOWN != 0, Stack: flags&linux.MAP_STACK != 0,
	}
	if flags&linux.MAP_POPULATE != 0 {
		opts.PlatformEffect = memmap.PlatformEffectCommit
	}
	if flags&linux.MAP_LOCKED != 0 {
		opts.MLockMode = memmap.MLockEager
	}
	if err := checkMap(file, shared, &opts); err != nil {
		return 0, err
	}
	defer func() {
		if opts.MappingIdentity != nil {
			opts.MappingIdentity.DecRef(c.t)
		}
	}()
	if err := file.ConfigureMMap(c.t, &opts); err != nil {
		return 0, err
	}
	return c.t.MemoryManager().MMap(c.t, opts)
}

// checkMap is what gVisor asks of a file before it is mapped executable.
func checkMap(file *vfs.FileDescription, shared bool, opts *memmap.MMapOpts) error {
	if !file.IsReadable() {
		return linuxerr.EACCES
	}
	if shared && !file.IsWritable() {
		opts.MaxPerms.Write = false
	}
	if shared {
		if seals, err := tmpfs.GetSeals(file); err == nil && seals&linux.F_SEAL_WRITE != 0 {
			if opts.Perms.Write {
				return linuxerr.EPERM
			}
			opts.MaxPerms.Write = false
		}
	}
	if file.Mount().MountFlags()&linux.ST_NOEXEC != 0 {
		return linuxerr.EPERM
	}
	return nil
}

// mprotect judges making memory executable. Whatever backs it may have been written since: it
// counts as memory that no file backs.
func mprotect(c *call) (uintptr, *kernel.SyscallControl, error) {
	prot := c.args[2].Uint()
	if prot&linux.PROT_EXEC != 0 {
		if err := c.execMemory(prot); err != nil {
			return 0, nil, err
		}
	}
	return c.forward()
}

func shmat(c *call) (uintptr, *kernel.SyscallControl, error) {
	if c.args[2].Int()&linux.SHM_EXEC != 0 {
		if err := c.execMemory(linux.PROT_EXEC | linux.PROT_READ); err != nil {
			return 0, nil, err
		}
	}
	return c.forward()
}

func (c *call) execMemory(prot uint32) error {
	rec := c.record(sandbox.KindMapExec)
	rec.Flags = prot
	return c.decide(&rec, c.policy.ExecMemory())
}
