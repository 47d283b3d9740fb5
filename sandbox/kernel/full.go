//go:build amd64

package kernel

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	slinux "gvisor.dev/gvisor/pkg/sentry/syscalls/linux"

	"surety/sandbox"
)

// wrapAll makes every call that is not judged leave a record after it, and those that gVisor does
// not have too. It is called where the policy's level is full, before the first task exists.
func (g *guard) wrapAll() {
	judged := table()
	for sysno := range slinux.AMD64.Table {
		if _, ok := judged[sysno]; !ok {
			g.wrap(sysno, told)
		}
	}
	missing := slinux.AMD64.Missing
	slinux.AMD64.Missing = func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (
		uintptr, error) {
		s := g.sink.Load()
		if s == nil {
			return 0, linuxerr.EPERM
		}
		result, err := missing(t, sysno, args)
		(&call{sink: s, t: t, sysno: sysno, args: args}).tell(result, err)
		return result, err
	}
	slinux.AMD64.Init()
}

// told lets gVisor do a call and records it with its outcome. One that does not return (exit,
// rt_sigreturn) has no outcome and is recorded before.
func told(c *call) (uintptr, *kernel.SyscallControl, error) {
	switch c.sysno {
	case unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_RT_SIGRETURN:
		rec := c.words()
		c.write(&rec)
		return c.forward()
	}
	result, control, err := c.forward()
	c.tell(result, err)
	return result, control, err
}

func (c *call) tell(result uintptr, err error) {
	rec := c.words()
	rec.Done, rec.Result, rec.Text = true, int64(result), c.given
	if err != nil {
		rec.Errno = errnoOf(c.sysno, err)
	}
	c.write(&rec)
}

func (c *call) words() sandbox.Record {
	rec := c.record(sandbox.KindSyscall)
	for i := range c.args {
		rec.Words[i] = c.args[i].Uint64()
	}
	return rec
}
