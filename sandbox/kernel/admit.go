//go:build amd64

package kernel

import (
	gocontext "context"
	"strings"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/mm"
	"gvisor.dev/gvisor/pkg/sentry/platform"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/state"

	"surety/sandbox"
)

// watch stands in the way of every platform that is linked in, so that no task is made unseen.
func (g *guard) watch() {
	for _, name := range platform.List() {
		maker, err := platform.Lookup(name)
		if err != nil {
			continue
		}
		platform.Register(name, watchedMaker{Constructor: maker, guard: g})
	}
	state.Register((*admission)(nil))
	state.Register((*loaded)(nil))
}

type watchedMaker struct {
	platform.Constructor
	guard *guard
}

// New makes the platform and wraps it.
func (m watchedMaker) New(options platform.Options) (platform.Platform, error) {
	made, err := m.Constructor.New(options)
	if err != nil {
		return nil, err
	}
	return &watched{Platform: made, guard: m.guard}, nil
}

// watched is a platform that gives each new task work to do before its first instruction. Once that
// is done nothing of it is in the task's way: the context it returns is the platform's own.
type watched struct {
	platform.Platform
	guard *guard
}

// NewContext is called by the kernel as the last step of making a task, or of loading one from a
// snapshot, with locks held.
func (w *watched) NewContext(ctx context.Context) platform.Context {
	if t := kernel.TaskFromContext(ctx); t != nil {
		s := w.guard.sink.Load()
		waiting := s != nil && !s.open.Load()
		t.RegisterWork(&admission{loaded: waiting && s.restore})
		if waiting && !s.restore {
			go s.ahead(t, t.MemoryManager()) // ends with the reading of one file
		}
	}
	return w.Platform.NewContext(ctx)
}

// ahead takes the digest of a first program's file while it waits at the gate, so that it does not
// have to when it is let through.
func (s *sink) ahead(t *kernel.Task, image *mm.MemoryManager) {
	ctx := t.AsyncContext()
	file := image.Executable()
	if file == nil {
		return
	}
	defer file.DecRef(ctx)
	_, _ = s.digests.of(ctx, file) // whoever judges asks again, and sees the error
}

// sinkOf returns the sink of the kernel t runs in: nil where there is none.
func sinkOf(t *kernel.Task) *sink {
	if w, ok := t.Kernel().Platform.(*watched); ok {
		return w.guard.sink.Load()
	}
	return nil
}

// end ends t's process before it runs another instruction.
func end(t *kernel.Task) {
	_ = t.Kernel().SendExternalSignalThreadGroup(t.ThreadGroup(),
		&linux.SignalInfo{Signo: int32(linux.SIGKILL), Code: linux.SI_KERNEL})
	// The signal is seen at the next entry to the kernel; at address zero there is no instruction
	// that would run until then.
	t.Arch().SetIP(0)
}

// admission is done by each task before its first instruction.
type admission struct {
	loaded bool // from a snapshot: it was admitted in another life
}

// TaskWork implements kernel.TaskWorker.
func (a *admission) TaskWork(t *kernel.Task) {
	s := sinkOf(t)
	if s == nil {
		end(t)
		return
	}
	s.pass()
	// A cloned task comes after the record of its making.
	s.cloning.Lock()
	//lint:ignore SA2001 only the order matters
	s.cloning.Unlock()
	if a.loaded || t.Parent() != nil || t.ThreadGroup().Leader() != t {
		return
	}
	if err := s.admit(t); err != nil {
		end(t)
	}
}

// admit judges and records a process that nobody inside started: the first of a container, or one
// an operator runs. gVisor has loaded its image, and not one instruction of it has run.
func (s *sink) admit(t *kernel.Task) error {
	file := t.MemoryManager().Executable()
	if file == nil {
		return errNoImage
	}
	defer file.DecRef(t)
	rec := taskRecord(t, sandbox.KindExec)
	rec.Args = argsOf(t)
	if t.Origin == kernel.OriginExec {
		if err := s.recordSession(t, rec, file); err != nil {
			return err
		}
	}
	if err := s.judgeExec(t, &rec, file); err != nil {
		return err
	}
	return s.admitLoader(t, file)
}

// recordSession records that an operator started rec's process.
func (s *sink) recordSession(t *kernel.Task, rec sandbox.Record, file *vfs.FileDescription) error {
	var err error
	rec.Kind = sandbox.KindSession
	if rec.Path, err = pathOf(t, file.VirtualDentry()); err != nil {
		return err
	}
	if rec.Digest, err = s.digests.of(t, file); err != nil {
		return err
	}
	s.write(&rec)
	return nil
}

// admitLoader judges the loader in the image of t, which must be the one its file names.
func (s *sink) admitLoader(t *kernel.Task, file *vfs.FileDescription) error {
	name, err := loaderOf(t, file)
	if err != nil || name == "" {
		return err
	}
	w, err := startWalk(t, linux.AT_FDCWD, name, refuseEmpty, 0)
	if err != nil {
		return err
	}
	defer w.done()
	loader, err := openExec(&w, true)
	if err != nil {
		return err
	}
	defer loader.DecRef(t)
	if mapped(t) != identify(loader) {
		return errNoImage
	}
	rec := taskRecord(t, sandbox.KindExec)
	rec.Text = loaderText
	return s.judgeExec(t, &rec, loader)
}

// argsOf reads a process's arguments from where gVisor put them.
func argsOf(t *kernel.Task) []string {
	m := t.MemoryManager()
	start, end := m.ArgvStart(), m.ArgvEnd()
	if end <= start {
		return nil
	}
	text := make([]byte, min(uint64(end-start), sandbox.MaxArgBytes))
	n, err := t.CopyInBytes(start, text)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text[:n]), "\x00"), "\x00")
}

// identity is which file something is, whatever its name.
type identity struct{ device, inode uint64 }

func identify(file *vfs.FileDescription) identity {
	return identity{device: file.DeviceID(), inode: file.InodeID()}
}

// mapped returns the file at the base address of t's loader: zero where there is none.
func mapped(t *kernel.Task) identity {
	var found identity
	m := t.MemoryManager()
	var base hostarch.Addr
	for _, entry := range m.Auxv() {
		if entry.Key == linux.AT_BASE {
			base = entry.Value
		}
	}
	if base == 0 {
		return found
	}
	m.ReadMapsDataInto(t, func(start, end hostarch.Addr, _ hostarch.AccessType, _ string, _ uint64,
		major, minor uint32, inode uint64, _ string) {
		if start <= base && base < end {
			found = identity{device: uint64(major)<<minorBits | uint64(minor), inode: inode}
		}
	})
	return found
}

// minorBits is how gVisor's list of mappings cuts a device number.
const minorBits = 20

// loaded is done by a task after it asked for a new image and before the first instruction of it.
// gVisor's loader finds the ELF loader by its path; this sees that it found the one judged.
type loaded struct {
	before  *mm.MemoryManager // still the task's, where exec failed
	program identity
	loader  identity // zero: none
}

// TaskWork implements kernel.TaskWorker.
func (l *loaded) TaskWork(t *kernel.Task) {
	if t.MemoryManager() == l.before {
		return
	}
	file := t.MemoryManager().Executable()
	if file == nil {
		end(t)
		return
	}
	defer file.DecRef(t)
	if identify(file) != l.program || mapped(t) != l.loader {
		end(t)
	}
}

// What follows lets a snapshot hold work that is still to be done (gVisor's package state).

// StateTypeName implements state.Type.
func (*admission) StateTypeName() string { return "surety/sandbox/kernel.admission" }

// StateFields implements state.Type.
func (*admission) StateFields() []string { return nil }

// StateSave implements state.SaverLoader.
func (*admission) StateSave(state.Sink) {}

// StateLoad implements state.SaverLoader. The task's own admission follows, made by NewContext:
// this one has nothing left to do but to wait with it.
func (a *admission) StateLoad(gocontext.Context, state.Source) { a.loaded = true }

// StateTypeName implements state.Type.
func (*loaded) StateTypeName() string { return "surety/sandbox/kernel.loaded" }

// StateFields implements state.Type.
func (*loaded) StateFields() []string {
	return []string{"program", "programInode", "loader", "loaderInode"}
}

// StateSave implements state.SaverLoader.
func (l *loaded) StateSave(to state.Sink) {
	for i, v := range l.words() {
		to.Save(i, v)
	}
}

// StateLoad implements state.SaverLoader. before stays nil: the image is checked even where exec
// had failed, against what the task has run all along.
func (l *loaded) StateLoad(_ gocontext.Context, from state.Source) {
	for i, v := range l.words() {
		from.Load(i, v)
	}
}

func (l *loaded) words() []*uint64 {
	return []*uint64{&l.program.device, &l.program.inode, &l.loader.device, &l.loader.inode}
}
