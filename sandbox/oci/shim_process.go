package oci

import (
	"os"
	"sync"
	"time"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"google.golang.org/protobuf/types/known/timestamppb"

	"surety/base/errs"
	"surety/sandbox/runtime"
)

// process is one that containerd knows: a container's program, or one that exec put beside it.
type process struct {
	names   streamNames
	wanted  *runtime.Process // of exec; nil for the program
	signals chan os.Signal   // to one that exec started
	exited  chan struct{}    // closed when code and at are set

	mu      sync.Mutex
	status  tasktypes.Status
	streams *streams // nil until they are open
	code    uint32
	at      time.Time
}

func newProcess(names streamNames, wanted *runtime.Process) *process {
	return &process{names: names, wanted: wanted, signals: make(chan os.Signal, 16),
		exited: make(chan struct{}), status: tasktypes.Status_CREATED}
}

// exit notes how the process ended, once. Whoever starts it holds mu, so that its start is told
// before its end.
func (p *process) exit(code int, at time.Time, tell func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status == tasktypes.Status_STOPPED {
		return
	}
	if p.streams != nil {
		p.streams.close()
	}
	p.status, p.code, p.at = tasktypes.Status_STOPPED, uint32(code), at
	tell()
	close(p.exited)
}

// ended is how the process ended; nil times and zero where it has not.
func (p *process) ended() (code uint32, at *timestamppb.Timestamp) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status != tasktypes.Status_STOPPED {
		return 0, nil
	}
	return p.code, timestamppb.New(p.at)
}

// begin starts the process by what is given, if it has not been started.
func (p *process) begin(start func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status != tasktypes.Status_CREATED {
		return errs.New(errs.Refused, "it has been started")
	}
	if err := start(); err != nil {
		return err
	}
	p.status = tasktypes.Status_RUNNING
	return nil
}

func (p *process) now() tasktypes.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// open opens the streams.
func (p *process) open() (*streams, error) {
	s, err := openStreams(p.names)
	if err != nil {
		return nil, err
	}
	p.streams = s
	return s, nil
}

// withStreams calls f with the streams of a process that has some.
func (p *process) withStreams(f func(*streams) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams == nil || p.status == tasktypes.Status_STOPPED {
		return errs.New(errs.Refused, "it does not run")
	}
	return f(p.streams)
}
