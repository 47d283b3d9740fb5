package kernel

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
	pb "gvisor.dev/gvisor/pkg/sentry/seccheck/points/points_go_proto"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sys/wallclock"
)

// sink is the policy, the way out for records, and what ties them to one sandbox. It exists once,
// made by gVisor at boot from the configuration of InitConfig.
type sink struct {
	seccheck.SinkDefaults
	ring    *ring.Ring
	out     *ring.Producer
	policy  *sandbox.Compiled
	clock   wallclock.Clock
	birth   string // the first record's text
	restore bool   // the sandbox comes from a snapshot
	digests *digests
	clones  sync.Mutex // makes counting and cloning one step, where processes are limited

	// cloning is held shared from before a task is cloned until its record is written; a new task
	// takes it alone before its first instruction, and so comes after the record of its birth.
	cloning sync.RWMutex

	gate sync.Once   // the wait for Release
	open atomic.Bool // the gate was passed
	born bool        // the first record is written; of the boot goroutine
}

// register makes gVisor know our sink; g is where the sink is put once it is made.
func register(g *guard) {
	if _, ok := seccheck.Sinks[sinkName]; ok {
		return
	}
	seccheck.RegisterSink(seccheck.SinkDesc{
		Name:  sinkName,
		Setup: openRing,
		New: func(config map[string]any, end *fd.FD) (seccheck.Sink, error) {
			s, err := newSink(config, end)
			if err != nil {
				log.Warningf("surety: no audit, and so no system call: %v", err)
				return nil, err
			}
			g.sink.Store(s)
			if s.policy.Level() == sandbox.FullAudit {
				g.wrapAll()
			}
			return s, nil
		},
	})
}

// openRing runs on the host: the file it returns is donated to the kernel inside.
func openRing(config map[string]any) (*os.File, error) {
	path, _ := config[keyRing].(string)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	return file, errs.As(errs.Unavailable, err, "kernel.sink: ring")
}

// newSink runs inside, at boot, before the kernel's own system calls are limited.
func newSink(config map[string]any, end *fd.FD) (*sink, error) {
	const op = "kernel.sink"
	text, _ := config[keySettings].(string)
	var set settings
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return nil, errs.As(errs.Invalid, err, op)
	}
	policy, err := set.compile()
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	birth, err := json.Marshal(set.Birth)
	if err != nil {
		return nil, errs.As(errs.Internal, err, op)
	}
	if end == nil {
		return nil, errs.New(errs.Invalid, "%s: no ring was donated", op)
	}
	// The descriptor passes to the ring: the sink lives as long as the process.
	memory, err := ring.FromFD(end.Release())
	if err != nil {
		return nil, errs.Wrap(err, op)
	}
	s := &sink{
		ring: memory, out: ring.NewProducer(memory, patience), clock: wallclock.System(),
		policy: policy, digests: newDigests(),
		birth: string(birth), restore: set.Birth.Snapshot != "",
	}
	if s.restore {
		s.begin(sandbox.KindRestore)
	}
	return s, nil
}

// Name implements seccheck.Sink.
func (s *sink) Name() string { return sinkName }

// begin writes the first record.
func (s *sink) begin(kind sandbox.Kind) {
	s.born = true
	s.write(&sandbox.Record{Kind: kind, Rule: sandbox.NoRule, Sysno: noSysno, Text: s.birth})
}

// pass waits until the host has read the first record and opened the gate.
func (s *sink) pass() {
	if s.open.Load() {
		return
	}
	s.gate.Do(func() {
		// A sandbox that waits in a pool gives back what booting took; one that goes on at once has
		// better things to do.
		tidy := time.AfterFunc(tidyAfter, debug.FreeOSMemory)
		released := s.ring.AwaitRelease()
		tidy.Stop()
		if !released {
			s.die(errs.New(errs.Unavailable, "kernel.gate: the collector is gone"))
		}
		s.open.Store(true)
	})
}

// ContainerStart implements seccheck.Sink: it is told of each container after its first process was
// made and before that runs. The first is the sandbox's birth, and is held at the gate.
func (s *sink) ContainerStart(_ context.Context, _ seccheck.FieldSet, info *pb.Start) error {
	if !s.born {
		s.begin(sandbox.KindBirth)
		s.pass()
		return nil
	}
	path := ""
	if len(info.Args) > 0 {
		path = info.Args[0]
	}
	s.write(&sandbox.Record{Kind: sandbox.KindContainer, Rule: sandbox.NoRule, Sysno: noSysno,
		Process: uint32(info.GetContextData().GetThreadGroupId()), Path: path, Args: info.Args,
		Text: info.Id})
	return nil
}

// ExitNotifyParent implements seccheck.Sink: a process has ended. The lock of the task set is held,
// so all that is known is in info. The sandbox's first process is not told of here: its end is the
// sandbox's, and the final record's.
func (s *sink) ExitNotifyParent(_ context.Context, _ seccheck.FieldSet,
	info *pb.ExitNotifyParentInfo) error {
	who := info.GetContextData()
	s.write(&sandbox.Record{Kind: sandbox.KindExit, Rule: sandbox.NoRule, Sysno: noSysno,
		Process: uint32(who.GetThreadGroupId()), Thread: uint32(who.GetThreadId()),
		Parent: uint32(who.GetParentThreadGroupId()), User: who.GetCredentials().GetEffectiveUid(),
		Comm: who.GetProcessName(), Result: int64(info.ExitStatus)})
	return nil
}

// write writes a record, or ends the sandbox.
func (s *sink) write(rec *sandbox.Record) {
	rec.At = s.clock.Now()
	if err := s.out.Write(rec); err != nil {
		s.die(err)
	}
}

// die ends the kernel, and with it every process inside, at once: what cannot be recorded does not
// happen. The stubs of the platform die with their tracer and the gofer with its connection.
func (s *sink) die(err error) {
	log.Warningf("surety: the sandbox ends: %v", err)
	fmt.Fprintf(os.Stderr, "surety: the sandbox ends, its audit cannot be written: %v\n", err)
	unix.Exit(ExitUnaudited)
}

var _ seccheck.Sink = (*sink)(nil)
