//go:build amd64

package kernel

import (
	"strconv"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"surety/sandbox"
)

// uses records and decides the use of a capability.
func (c *call) uses(capability linux.Capability) error {
	rec := c.record(sandbox.KindCapability)
	rec.Flags = uint32(capability)
	return c.decide(&rec, c.policy.Capability(int(capability)))
}

// capability makes the function of a call that always takes a capability.
func capability(needed linux.Capability) judged {
	return func(c *call) (uintptr, *kernel.SyscallControl, error) {
		if err := c.uses(needed); err != nil {
			return 0, nil, err
		}
		return c.forward()
	}
}

// noCapability is a capability that no list of a policy holds.
const noCapability = -1

// module is a call no program inside has business with. It is refused where only listed
// capabilities may be used or nothing is allowed by default; gVisor refuses most in any case.
func module(c *call) (uintptr, *kernel.SyscallControl, error) {
	rec := c.record(sandbox.KindModule)
	return c.whole(&rec, c.policy.Capability(noCapability))
}

// setIDs makes the function of a call whose first n arguments are user or group numbers.
func setIDs(n int) judged {
	return func(c *call) (uintptr, *kernel.SyscallControl, error) {
		rec := c.record(sandbox.KindSetID)
		for i := range n {
			rec.Args = append(rec.Args, strconv.Itoa(int(c.args[i].Int())))
		}
		return c.whole(&rec, c.policy.SetID())
	}
}

func setpriority(c *call) (uintptr, *kernel.SyscallControl, error) {
	if c.args[2].Int() >= 0 {
		return c.forward() // lowering one's own takes no capability
	}
	if err := c.uses(linux.CAP_SYS_NICE); err != nil {
		return 0, nil, err
	}
	return c.forward()
}

func prctl(c *call) (uintptr, *kernel.SyscallControl, error) {
	option := c.args[0].Int()
	switch option {
	case linux.PR_SET_SECUREBITS, linux.PR_SET_KEEPCAPS, linux.PR_CAP_AMBIENT:
		if option == linux.PR_CAP_AMBIENT && c.args[1].Int() != linux.PR_CAP_AMBIENT_RAISE {
			return c.forward()
		}
		rec := c.record(sandbox.KindSetID)
		rec.Flags = uint32(option)
		rec.Args = []string{strconv.FormatUint(c.args[1].Uint64(), 10)}
		return c.whole(&rec, c.policy.SetID())
	case linux.PR_SET_MM:
		if err := c.uses(linux.CAP_SYS_RESOURCE); err != nil {
			return 0, nil, err
		}
	}
	return c.forward()
}

// mounting decides on a change of what is mounted or of whose names a process sees.
func (c *call) mounting(from, to string, flags uint32) error {
	rec := c.record(sandbox.KindMount)
	rec.Path, rec.Path2, rec.Flags = from, to, flags
	return c.decide(&rec, c.policy.Mount())
}

// mounts makes the function of a call that changes what is mounted; from and to say which of its
// arguments are paths, -1 for none. Mounting is decided as a whole: the paths are for the reader.
func mounts(from, to int) judged {
	return func(c *call) (uintptr, *kernel.SyscallControl, error) {
		if err := c.mounting(c.shown(from), c.shown(to), 0); err != nil {
			return 0, nil, err
		}
		return c.forward()
	}
}

// shown is the path in an argument, resolved if it leads anywhere. It is not judged by, and may be
// another by the time gVisor reads it.
func (c *call) shown(arg int) string {
	if arg < 0 || c.args[arg].Pointer() == 0 {
		return ""
	}
	text, err := c.t.CopyInString(c.args[arg].Pointer(), linux.PATH_MAX)
	if err != nil || text == "" {
		return ""
	}
	w, err := startWalk(c.t, linux.AT_FDCWD, text, refuseEmpty, 0)
	if err != nil {
		return text
	}
	defer w.done()
	p, err := w.pin(true)
	if err != nil {
		return text
	}
	defer p.done()
	return p.path
}

// chroot moves a task's own root to the directory that was judged.
func chroot(c *call) (uintptr, *kernel.SyscallControl, error) {
	if err := c.mounting("", c.shown(0), 0); err != nil {
		return 0, nil, err
	}
	return c.forward()
}

func unshare(c *call) (uintptr, *kernel.SyscallControl, error) {
	if flags := c.args[0].Uint(); flags&namespaces != 0 {
		if err := c.mounting("", "", flags); err != nil {
			return 0, nil, err
		}
	}
	return c.forward()
}

func setns(c *call) (uintptr, *kernel.SyscallControl, error) {
	if err := c.mounting("", "", c.args[1].Uint()); err != nil {
		return 0, nil, err
	}
	return c.forward()
}
