//go:build amd64

package kernel

import (
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	slinux "gvisor.dev/gvisor/pkg/sentry/syscalls/linux"

	"surety/sandbox"
)

// noSysno is the Sysno of a record that no system call caused.
const noSysno = 0xffff

// guard is what the functions in the system-call table share. It is empty until gVisor has made the
// sink; where that does not come about, every judged call is refused.
type guard struct {
	sink atomic.Pointer[sink]
}

// call is one system call under judgement.
type call struct {
	*sink
	t     *kernel.Task
	sysno uintptr
	args  arch.SyscallArguments
	next  kernel.SyscallFn // gVisor's own function
	given string           // the path as the program gave it, where it gave one
	noted bool             // a record of it was begun
}

// judged is a system call of ours. It returns as gVisor's do.
type judged func(c *call) (uintptr, *kernel.SyscallControl, error)

// install puts our functions into gVisor's table.
func (g *guard) install() {
	for sysno, fn := range table() {
		g.wrap(sysno, fn)
	}
	slinux.AMD64.Init()
}

// wrap replaces the function of one call; a call that gVisor does not have stays missing.
func (g *guard) wrap(sysno uintptr, fn judged) {
	entry, ok := slinux.AMD64.Table[sysno]
	if !ok {
		return
	}
	next := entry.Fn
	entry.Fn = func(t *kernel.Task, no uintptr, args arch.SyscallArguments) (
		uintptr, *kernel.SyscallControl, error) {
		s := g.sink.Load()
		if s == nil {
			return 0, nil, linuxerr.EPERM
		}
		c := &call{sink: s, t: t, sysno: no, args: args, next: next}
		result, control, err := fn(c)
		if !c.noted && s.policy.Level() == sandbox.FullAudit {
			// It came to nothing before it was judged, as with a path that leads nowhere, or there was
			// nothing to judge: full is every call.
			c.tell(result, err)
		}
		return result, control, err
	}
	slinux.AMD64.Table[sysno] = entry
}

// forward lets gVisor's own function do the call. Only calls whose every judged argument is in a
// register may be forwarded: memory would be read again.
func (c *call) forward() (uintptr, *kernel.SyscallControl, error) {
	return c.next(c.t, c.sysno, c.args)
}

// record starts a record of the call.
func (c *call) record(kind sandbox.Kind) sandbox.Record {
	c.noted = true
	rec := taskRecord(c.t, kind)
	rec.Sysno = uint16(c.sysno)
	return rec
}

// taskRecord starts a record of something t does.
func taskRecord(t *kernel.Task, kind sandbox.Kind) sandbox.Record {
	pids := t.Kernel().RootPIDNamespace()
	rec := sandbox.Record{
		Kind:    kind,
		Rule:    sandbox.NoRule,
		Sysno:   noSysno,
		Process: uint32(pids.IDOfThreadGroup(t.ThreadGroup())),
		Thread:  uint32(pids.IDOfTask(t)),
		User:    uint32(t.Credentials().EffectiveKUID),
		Comm:    t.Name(),
		Session: t.Origin == kernel.OriginExec,
	}
	if parent := t.Parent(); parent != nil {
		rec.Parent = uint32(pids.IDOfThreadGroup(parent.ThreadGroup()))
	}
	return rec
}

// decide writes the record with what the policy said. The error is what a refused call returns.
func (s *sink) decide(rec *sandbox.Record, d sandbox.Decision) error {
	rec.Verdict, rec.Rule = d.Verdict, d.Rule
	if d.Verdict != sandbox.Refused {
		s.write(rec)
		return nil
	}
	rec.Errno = d.Errno
	s.write(rec)
	return linuxerr.ErrorFromUnix(unix.Errno(d.Errno))
}

// unjudged is the decision on acts that no policy speaks of.
func unjudged() sandbox.Decision { return sandbox.Decision{Rule: sandbox.NoRule} }

// file decides on an act on a path. What has no place in the file tree (a pipe, a socket, a file of
// memory alone) no rule can name: the program holds it already.
func (s *sink) file(path string, access sandbox.Access) sandbox.Decision {
	if !inTree(path) {
		return unjudged()
	}
	return s.policy.File(path, access)
}

// inTree reports whether a path of pathOf is one that rules can name. A pipe or a socket has none,
// and a file of memory one that says so.
func inTree(path string) bool {
	return strings.HasPrefix(path, "/") && !strings.HasPrefix(path, memoryName)
}

// memoryName begins the path of a memfd.
const memoryName = "/memfd:"
