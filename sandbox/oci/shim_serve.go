package oci

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"surety/base/errs"
	"surety/sandbox/runtime"
	"surety/sys/wallclock"
)

// shim serves the containers of one pod to containerd.
type shim struct {
	host   *runtime.Host
	log    *slog.Logger
	clock  wallclock.Clock
	events *publisher
	done   chan struct{} // closed when containerd wants it to go
	finish sync.Once

	mu    sync.Mutex
	tasks map[string]*task // by container id; a nil one is being made
}

// task is one container.
type task struct {
	id, bundle string
	pid        uint32
	sandbox    *runtime.Sandbox
	program    *process

	mu    sync.Mutex
	execs map[string]*process
}

// listen serves until containerd shuts the shim down.
func (s *shim) listen(ctx context.Context, fd uintptr) error {
	listener, path, err := adopt(fd)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	server, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(ttrpc.UnixSocketRequireSameUser()),
		ttrpc.WithUnaryServerInterceptor(atEdge))
	if err != nil {
		return errs.Wrap(err, "shim")
	}
	taskapi.RegisterTaskService(server, s)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ctx, listener) }()
	select {
	case err := <-failed:
		return errs.Wrap(err, "shim")
	case <-s.done:
	}
	const patience = 2 * time.Second // for the answer to the request that ends it
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return errs.Wrap(err, "shim")
	}
	return nil
}

// atEdge gives errors the codes that containerd acts on.
func atEdge(ctx context.Context, unmarshal ttrpc.Unmarshaler, _ *ttrpc.UnaryServerInfo,
	method ttrpc.Method) (any, error) {
	answer, err := method(ctx, unmarshal)
	if err == nil {
		return answer, nil
	}
	if _, coded := status.FromError(err); coded {
		return nil, err
	}
	return nil, status.Error(codeOf(errs.KindOf(err)), err.Error())
}

func codeOf(k errs.Kind) codes.Code {
	switch k {
	case errs.Invalid:
		return codes.InvalidArgument
	case errs.NotFound:
		return codes.NotFound
	case errs.Exists:
		return codes.AlreadyExists
	case errs.Refused, errs.Locked:
		return codes.FailedPrecondition
	case errs.Unauthorized:
		return codes.Unauthenticated
	case errs.Forbidden:
		return codes.PermissionDenied
	case errs.TooLarge, errs.NoSpace, errs.Busy:
		return codes.ResourceExhausted
	case errs.Unavailable:
		return codes.Unavailable
	case errs.Corrupt:
		return codes.DataLoss
	case errs.Canceled:
		return codes.Canceled
	}
	return codes.Unknown
}

// claim takes an id for a container that is being made.
func (s *shim) claim(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.tasks[id]; taken {
		return errs.New(errs.Exists, "container %s exists", id)
	}
	s.tasks[id] = nil
	return nil
}

// settle puts a container that has been made in its place, or frees the place.
func (s *shim) settle(id string, t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t == nil {
		delete(s.tasks, id)
		return
	}
	s.tasks[id] = t
}

func (s *shim) task(id string) (*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[id]
	if t == nil {
		return nil, errs.New(errs.NotFound, "no container %s", id)
	}
	return t, nil
}

// process is the one that a request names: a container's program where exec is "".
func (s *shim) process(id, exec string) (*task, *process, error) {
	t, err := s.task(id)
	if err != nil {
		return nil, nil, err
	}
	if exec == "" {
		return t, t.program, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.execs[exec]
	if p == nil {
		return nil, nil, errs.New(errs.NotFound, "no process %s in container %s", exec, id)
	}
	return t, p, nil
}

// checkOptions refuses options that would have no effect.
func checkOptions(r *taskapi.CreateTaskRequest) error {
	if r.Options == nil || len(r.Options.Value) == 0 {
		return nil
	}
	return errs.New(errs.Invalid, "options of type %s: %s has none", r.Options.TypeUrl, RuntimeType)
}

// specOf is the sandbox that a request to create a container asks for. Its root is mounted.
func specOf(r *taskapi.CreateTaskRequest) (*runtime.Spec, error) {
	spec, err := ReadBundle(r.Bundle, r.ID)
	if err != nil {
		return nil, err
	}
	if spec.Terminal != r.Terminal {
		return nil, errs.New(errs.Invalid, "process.terminal: %t, and the request says %t",
			spec.Terminal, r.Terminal)
	}
	spec.Snapshot = r.Checkpoint
	return spec, nil
}
