package oci

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/cgroups/v3/cgroup2/stats"
	eventsapi "github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"surety/base/errs"
	"surety/sandbox/runtime"
)

// Create boots a container's kernel up to where its program would run. When it fails nothing stays.
func (s *shim) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (
	*taskapi.CreateTaskResponse, error) {
	if err := checkOptions(r); err != nil {
		return nil, err
	}
	if err := s.claim(r.ID); err != nil {
		return nil, err
	}
	t, err := s.make(ctx, r)
	s.settle(r.ID, t)
	if err != nil {
		return nil, err
	}
	s.events.publish("/tasks/create", &eventsapi.TaskCreate{ContainerID: r.ID, Bundle: r.Bundle,
		Rootfs: r.Rootfs, Checkpoint: r.Checkpoint, Pid: t.pid, IO: &eventsapi.TaskIO{Stdin: r.Stdin,
			Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal}})
	go s.watch(t)
	return &taskapi.CreateTaskResponse{Pid: t.pid}, nil
}

// make mounts a container's root and boots it.
func (s *shim) make(ctx context.Context, r *taskapi.CreateTaskRequest) (*task, error) {
	root := filepath.Join(r.Bundle, "rootfs")
	if err := mountRoot(r.Rootfs, root); err != nil {
		return nil, err
	}
	t, err := s.boot(ctx, r)
	if err == nil {
		return t, nil
	}
	if err := unmountAll(root); err != nil {
		s.log.Warn("remains of a failed start", "container", r.ID, "error", err)
	}
	return nil, err
}

func (s *shim) boot(ctx context.Context, r *taskapi.CreateTaskRequest) (*task, error) {
	spec, err := specOf(r)
	if err != nil {
		return nil, err
	}
	p := newProcess(streamNames{r.Stdin, r.Stdout, r.Stderr, r.Terminal}, nil)
	own, err := p.open()
	if err != nil {
		return nil, err
	}
	streams := own.stdio()
	if spec.Terminal {
		streams = runtime.Stdio{Console: own.attach}
	}
	box, err := s.host.Create(ctx, *spec, streams)
	if err != nil {
		own.close()
		return nil, err
	}
	if !spec.Terminal {
		own.handedOver()
	}
	return &task{id: r.ID, bundle: r.Bundle, execs: map[string]*process{}, program: p, sandbox: box,
		pid: uint32(box.Supervisor())}, nil
}

// watch tells of the program's end.
func (s *shim) watch(t *task) {
	st, err := t.sandbox.Wait(context.Background())
	if err != nil {
		s.log.Error("wait", "container", t.id, "error", err)
		st.ExitCode = 128 + int(syscall.SIGKILL)
	}
	if st.Ended.IsZero() {
		st.Ended = timeOf(s.clock.Now())
	}
	t.program.exit(st.ExitCode, st.Ended, func() { s.tellExit(t, t.id, t.program) })
}

// tellExit publishes a process's end. Its mu is held.
func (s *shim) tellExit(t *task, id string, p *process) {
	s.events.publish("/tasks/exit", &eventsapi.TaskExit{ContainerID: t.id, ID: id, Pid: t.pid,
		ExitStatus: p.code, ExitedAt: timestamppb.New(p.at)})
}

// Start lets a created process run.
func (s *shim) Start(ctx context.Context, r *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	t, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	err = p.begin(func() error {
		if r.ExecID != "" {
			return s.startExec(ctx, t, r.ExecID, p)
		}
		if err := t.sandbox.Start(ctx); err != nil {
			return err
		}
		s.events.publish("/tasks/start", &eventsapi.TaskStart{ContainerID: t.id, Pid: t.pid})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &taskapi.StartResponse{Pid: t.pid}, nil
}

// startExec runs a process inside and returns when it runs. Its mu is held.
func (s *shim) startExec(ctx context.Context, t *task, id string, p *process) error {
	own, err := p.open()
	if err != nil {
		return err
	}
	streams := own.stdio()
	var slave *os.File
	if p.names.terminal {
		master, side, err := runtime.OpenTerminal()
		if err != nil {
			own.close()
			return err
		}
		slave = side
		own.attach(master)
		streams = runtime.Stdio{Stdin: slave, Stdout: slave, Stderr: slave}
	}
	began, failed := make(chan struct{}), make(chan error, 1)
	streams.Signals = p.signals
	streams.Began = func() { close(began) }
	go func() {
		code, err := t.sandbox.Exec(context.Background(), *p.wanted, streams)
		if slave != nil {
			_ = slave.Close()
		}
		select {
		case <-began:
			if err != nil {
				code = 128 + int(syscall.SIGKILL) // it died with its sandbox
			}
			p.exit(code, timeOf(s.clock.Now()), func() { s.tellExit(t, id, p) })
		default:
			failed <- err
		}
	}()
	select {
	case <-began:
	case err = <-failed:
		own.close()
		return errs.Wrap(err, "exec")
	case <-ctx.Done():
		return errs.As(errs.Canceled, ctx.Err(), "exec")
	}
	if slave == nil {
		own.handedOver()
	}
	s.events.publish("/tasks/exec-started", &eventsapi.TaskExecStarted{ContainerID: t.id, ExecID: id,
		Pid: t.pid})
	return nil
}

// Exec notes a process to be started beside the program.
func (s *shim) Exec(_ context.Context, r *taskapi.ExecProcessRequest) (*emptypb.Empty, error) {
	t, err := s.task(r.ID)
	if err != nil {
		return nil, err
	}
	var of specs.Process
	if err := json.Unmarshal(r.Spec.GetValue(), &of); err != nil {
		return nil, errs.As(errs.Invalid, err, "process")
	}
	wanted := processOf(&of)
	wanted.Terminal = r.Terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, taken := t.execs[r.ExecID]; taken || r.ExecID == "" {
		return nil, errs.New(errs.Exists, "process %q exists in container %s", r.ExecID, r.ID)
	}
	t.execs[r.ExecID] = newProcess(streamNames{r.Stdin, r.Stdout, r.Stderr, r.Terminal}, wanted)
	s.events.publish("/tasks/exec-added", &eventsapi.TaskExecAdded{ContainerID: r.ID, ExecID: r.ExecID})
	return &emptypb.Empty{}, nil
}

// Delete removes a process that does not run, and with the program its container.
func (s *shim) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	t, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if p.now() == tasktypes.Status_RUNNING {
		return nil, errs.New(errs.Refused, "it runs: kill it first")
	}
	if r.ExecID != "" {
		t.mu.Lock()
		delete(t.execs, r.ExecID)
		t.mu.Unlock()
	} else {
		if err := s.remove(ctx, t); err != nil {
			return nil, err
		}
	}
	code, at := p.ended()
	if r.ExecID == "" {
		s.events.publish("/tasks/delete", &eventsapi.TaskDelete{ContainerID: t.id, Pid: t.pid,
			ExitStatus: code, ExitedAt: at, ID: t.id})
	}
	return &taskapi.DeleteResponse{Pid: t.pid, ExitStatus: code, ExitedAt: at}, nil
}

func (s *shim) remove(ctx context.Context, t *task) error {
	if err := t.sandbox.Remove(ctx, true); err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	select {
	case <-t.program.exited: // watch has seen it
	case <-ctx.Done():
		return errs.As(errs.Canceled, ctx.Err(), "delete")
	}
	if err := t.sandbox.Close(); err != nil {
		return err
	}
	if err := unmountAll(filepath.Join(t.bundle, "rootfs")); err != nil {
		return err
	}
	s.settle(t.id, nil)
	return nil
}

// State says where in its life a process is.
func (s *shim) State(_ context.Context, r *taskapi.StateRequest) (*taskapi.StateResponse, error) {
	t, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	status := p.now()
	if status == tasktypes.Status_RUNNING && r.ExecID == "" {
		if st, err := t.sandbox.State(); err == nil && st.Status == runtime.Paused {
			status = tasktypes.Status_PAUSED
		}
	}
	code, at := p.ended()
	return &taskapi.StateResponse{ID: r.ID, Bundle: t.bundle, Pid: t.pid, Status: status,
		Stdin: p.names.stdin, Stdout: p.names.stdout, Stderr: p.names.stderr,
		Terminal: p.names.terminal, ExitStatus: code, ExitedAt: at, ExecID: r.ExecID}, nil
}

// Wait returns when a process has ended.
func (s *shim) Wait(ctx context.Context, r *taskapi.WaitRequest) (*taskapi.WaitResponse, error) {
	_, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return nil, errs.As(errs.Canceled, ctx.Err(), "wait")
	}
	code, at := p.ended()
	return &taskapi.WaitResponse{ExitStatus: code, ExitedAt: at}, nil
}

// Kill sends a signal. To one that has ended it is kind NotFound, which containerd takes for done.
func (s *shim) Kill(ctx context.Context, r *taskapi.KillRequest) (*emptypb.Empty, error) {
	t, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if p.now() == tasktypes.Status_STOPPED {
		return nil, errs.New(errs.NotFound, "process already finished")
	}
	if r.ExecID == "" {
		err := t.sandbox.Kill(ctx, int(r.Signal), r.All)
		if st, stateErr := t.sandbox.State(); err != nil && stateErr == nil &&
			st.Status == runtime.Stopped {
			return nil, errs.New(errs.NotFound, "process already finished")
		}
		return &emptypb.Empty{}, err
	}
	if p.now() == tasktypes.Status_CREATED {
		p.exit(128+int(r.Signal), timeOf(s.clock.Now()), func() { s.tellExit(t, r.ExecID, p) })
		return &emptypb.Empty{}, nil
	}
	select {
	case p.signals <- syscall.Signal(r.Signal):
		return &emptypb.Empty{}, nil
	default:
		return nil, errs.New(errs.Busy, "%d signals are on their way", cap(p.signals))
	}
}

// Pids are the host's: the supervisor's alone. Those inside are of another kernel.
func (s *shim) Pids(_ context.Context, r *taskapi.PidsRequest) (*taskapi.PidsResponse, error) {
	t, err := s.task(r.ID)
	if err != nil {
		return nil, err
	}
	return &taskapi.PidsResponse{Processes: []*tasktypes.ProcessInfo{{Pid: t.pid}}}, nil
}

// Pause stops every process of a container until Resume.
func (s *shim) Pause(ctx context.Context, r *taskapi.PauseRequest) (*emptypb.Empty, error) {
	t, err := s.task(r.ID)
	if err != nil {
		return nil, err
	}
	if err := t.sandbox.Pause(ctx); err != nil {
		return nil, err
	}
	s.events.publish("/tasks/paused", &eventsapi.TaskPaused{ContainerID: r.ID})
	return &emptypb.Empty{}, nil
}

// Resume lets a paused container go on.
func (s *shim) Resume(ctx context.Context, r *taskapi.ResumeRequest) (*emptypb.Empty, error) {
	t, err := s.task(r.ID)
	if err != nil {
		return nil, err
	}
	if err := t.sandbox.Resume(ctx); err != nil {
		return nil, err
	}
	s.events.publish("/tasks/resumed", &eventsapi.TaskResumed{ContainerID: r.ID})
	return &emptypb.Empty{}, nil
}

// Checkpoint writes a snapshot; the container goes on, unless the options say exit.
func (s *shim) Checkpoint(ctx context.Context, r *taskapi.CheckpointTaskRequest) (
	*emptypb.Empty, error) {
	t, err := s.task(r.ID)
	if err != nil {
		return nil, err
	}
	var o options.CheckpointOptions
	if r.Options != nil {
		if err := r.Options.UnmarshalTo(&o); err != nil {
			return nil, errs.As(errs.Invalid, err, "options")
		}
	}
	if err := vacate(r.Path); err != nil {
		return nil, err
	}
	if err := t.sandbox.Checkpoint(ctx, r.Path, !o.Exit); err != nil {
		return nil, err
	}
	s.events.publish("/tasks/checkpointed", &eventsapi.TaskCheckpointed{ContainerID: r.ID,
		Checkpoint: r.Path})
	return &emptypb.Empty{}, nil
}

// ResizePty tells a process's terminal its size.
func (s *shim) ResizePty(_ context.Context, r *taskapi.ResizePtyRequest) (*emptypb.Empty, error) {
	_, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, p.withStreams(func(own *streams) error {
		return own.resize(r.Width, r.Height)
	})
}

// CloseIO ends a process's input.
func (s *shim) CloseIO(_ context.Context, r *taskapi.CloseIORequest) (*emptypb.Empty, error) {
	_, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if !r.Stdin {
		return &emptypb.Empty{}, nil
	}
	_ = p.withStreams(func(own *streams) error { // one that has ended has no input
		own.closeInput()
		return nil
	})
	return &emptypb.Empty{}, nil
}

// Update is refused: limits are what the first audit record says they are.
func (s *shim) Update(context.Context, *taskapi.UpdateTaskRequest) (*emptypb.Empty, error) {
	return nil, errs.New(errs.Invalid, "update: a container's limits stand for its life")
}

// Stats are in the form of the host's control groups, version 2.
func (s *shim) Stats(ctx context.Context, r *taskapi.StatsRequest) (*taskapi.StatsResponse, error) {
	t, err := s.task(r.ID)
	if err != nil {
		return nil, err
	}
	st, err := t.sandbox.Stats(ctx)
	if err != nil {
		return nil, err
	}
	m := &stats.Metrics{
		Pids: &stats.PidsStat{Current: st.Processes},
		CPU:  &stats.CPUStat{UsageUsec: uint64(st.CPU.Microseconds())},
		Memory: &stats.MemoryStat{Usage: st.Memory, UsageLimit: st.MemoryLimit,
			Anon: st.Memory},
	}
	value, err := proto.Marshal(m)
	if err != nil {
		return nil, errs.Wrap(err, "encode answer")
	}
	return &taskapi.StatsResponse{Stats: &anypb.Any{
		TypeUrl: string(m.ProtoReflect().Descriptor().FullName()), Value: value}}, nil
}

// Connect says who serves.
func (s *shim) Connect(_ context.Context, r *taskapi.ConnectRequest) (*taskapi.ConnectResponse, error) {
	answer := &taskapi.ConnectResponse{ShimPid: uint32(os.Getpid())}
	if t, err := s.task(r.ID); err == nil {
		answer.TaskPid = t.pid
	}
	return answer, nil
}

// Shutdown ends the shim when its last container is gone.
func (s *shim) Shutdown(context.Context, *taskapi.ShutdownRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tasks) == 0 {
		s.finish.Do(func() { close(s.done) })
	}
	return &emptypb.Empty{}, nil
}
