//go:build amd64

package kernel

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"surety/sandbox"
)

// namespaces are the flags that give a process names of its own: part of what mount decides.
const namespaces = linux.CLONE_NEWNS | linux.CLONE_NEWUSER | linux.CLONE_NEWPID |
	linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP

func clone(c *call) (uintptr, *kernel.SyscallControl, error) {
	return c.cloning(uint64(c.args[0].Uint()), c.forward)
}

func fork(c *call) (uintptr, *kernel.SyscallControl, error) { return c.cloning(0, c.forward) }

func vfork(c *call) (uintptr, *kernel.SyscallControl, error) {
	return c.cloning(linux.CLONE_VM|linux.CLONE_VFORK, c.forward)
}

func clone3(c *call) (uintptr, *kernel.SyscallControl, error) {
	size := int(c.args[1].SizeT())
	if size < linux.CLONE_ARGS_SIZE_VER0 || size > linux.CLONE_ARGS_SIZE_VER2 {
		return 0, nil, linuxerr.EINVAL
	}
	var args linux.CloneArgs
	if addr := c.args[0].Pointer(); addr != 0 {
		if _, err := args.CopyInN(c.t, addr, size); err != nil {
			return 0, nil, err
		}
	}
	if args.Flags&linux.CLONE_DETACHED != 0 ||
		args.Flags&(linux.CLONE_THREAD|linux.CLONE_PARENT) != 0 && args.ExitSignal != 0 {
		return 0, nil, linuxerr.EINVAL
	}
	return c.cloning(args.Flags, func() (uintptr, *kernel.SyscallControl, error) {
		id, control, err := c.t.Clone(&args)
		if err != nil {
			return 0, nil, err
		}
		return uintptr(id), control, nil
	})
}

// cloning judges and makes a new task. Its record is written between its making and its first
// instruction: see admission.
func (c *call) cloning(flags uint64, act func() (uintptr, *kernel.SyscallControl, error)) (
	uintptr, *kernel.SyscallControl, error) {
	if flags&namespaces != 0 {
		if err := c.mounting("", "", uint32(flags)); err != nil {
			return 0, nil, err
		}
	}
	rec := c.record(sandbox.KindClone)
	rec.Flags = uint32(flags)
	decision := unjudged()
	if flags&linux.CLONE_THREAD == 0 {
		if c.policy.Processes() > 0 {
			c.clones.Lock()
			defer c.clones.Unlock()
		}
		running := len(c.t.Kernel().RootPIDNamespace().ThreadGroups())
		rec.Mode = uint32(running)
		decision = c.policy.Clone(running)
	}
	if decision.Verdict == sandbox.Refused {
		return 0, nil, c.decide(&rec, decision)
	}
	c.sink.cloning.RLock()
	defer c.sink.cloning.RUnlock()
	id, control, err := act()
	rec.Done, rec.Result = true, c.inRoot(kernel.ThreadID(id))
	if err != nil {
		rec.Errno, rec.Result = errnoOf(c.sysno, err), 0
	}
	_ = c.decide(&rec, decision) // not refused: seen above
	return id, control, err
}

// inRoot returns the number a thread of the caller's namespace has in the sandbox's root namespace.
func (c *call) inRoot(id kernel.ThreadID) int64 {
	if target := c.t.PIDNamespace().TaskWithID(id); target != nil {
		return int64(c.t.Kernel().RootPIDNamespace().IDOfTask(target))
	}
	return int64(id)
}

// errnoOf is the number the program sees for an error of gVisor's.
func errnoOf(sysno uintptr, err error) uint16 {
	return uint16(kernel.ExtractErrno(err, int(sysno)))
}

func kill(c *call) (uintptr, *kernel.SyscallControl, error) {
	return c.signal(kernel.ThreadID(c.args[0].Int()), c.args[1].Uint())
}

// tgkill and rt_tgsigqueueinfo name the process before the thread.
func tgkill(c *call) (uintptr, *kernel.SyscallControl, error) {
	return c.signal(kernel.ThreadID(c.args[1].Int()), c.args[2].Uint())
}

// signal records a signal to another process, and to none of one's own. Groups are recorded by the
// number given: 0, or negative.
func (c *call) signal(id kernel.ThreadID, number uint32) (
	uintptr, *kernel.SyscallControl, error) {
	result := int64(id)
	if id > 0 {
		target := c.t.PIDNamespace().TaskWithID(id)
		if target == nil || target.ThreadGroup() == c.t.ThreadGroup() {
			return c.forward()
		}
		result = int64(c.t.Kernel().RootPIDNamespace().IDOfThreadGroup(target.ThreadGroup()))
	}
	return c.signalled(result, number)
}

func pidfdSendSignal(c *call) (uintptr, *kernel.SyscallControl, error) {
	group, _, err := c.t.ThreadGroupFromPIDFD(c.args[0].Int())
	if err != nil {
		return c.signalled(-1, c.args[1].Uint())
	}
	if group == c.t.ThreadGroup() {
		return c.forward()
	}
	return c.signalled(int64(c.t.Kernel().RootPIDNamespace().IDOfThreadGroup(group)),
		c.args[1].Uint())
}

func (c *call) signalled(target int64, number uint32) (uintptr, *kernel.SyscallControl, error) {
	rec := c.record(sandbox.KindSignal)
	rec.Result, rec.Flags = target, number
	if err := c.decide(&rec, unjudged()); err != nil {
		return 0, nil, err
	}
	return c.forward()
}

// ptrace records which request it is in Flags, and whose process in Result.
func ptrace(c *call) (uintptr, *kernel.SyscallControl, error) {
	rec := c.record(sandbox.KindPtrace)
	rec.Flags, rec.Result = c.args[0].Uint(), int64(c.args[1].Int())
	return c.whole(&rec, c.policy.Ptrace())
}

// processVM is process_vm_readv, process_vm_writev and pidfd_getfd: the target comes first.
func processVM(c *call) (uintptr, *kernel.SyscallControl, error) {
	rec := c.record(sandbox.KindPtrace)
	rec.Result = int64(c.args[0].Int())
	return c.whole(&rec, c.policy.Ptrace())
}

// whole decides on a call the policy allows or refuses as a whole, and forwards it: nothing it was
// judged by is read again.
func (c *call) whole(rec *sandbox.Record, d sandbox.Decision) (
	uintptr, *kernel.SyscallControl, error) {
	if err := c.decide(rec, d); err != nil {
		return 0, nil, err
	}
	return c.forward()
}
