package runtime

import (
	"context"

	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sandbox/trail"
)

// collector carries records from where the kernel inside puts them into the trail.
type collector struct {
	writer *trail.Writer
	stop   context.CancelFunc
	born   chan struct{} // closed when the birth record is in the trail
	broken chan struct{} // closed when the trail can take no more
	err    error         // why, once broken is closed
	idle   chan struct{} // closed when draining has ended
}

// ringSource is the ring of a kernel on this machine.
func ringSource(r *ring.Ring) trail.Source { return ring.NewConsumer(r) }

// openCollector begins the trail and drains into it. When that fails the sandbox ends.
func openCollector(v *supervisor, dir string, from trail.Source) (*collector, error) {
	writer, err := trail.Create(trail.Config{Dir: dir, Sandbox: v.s.id, Key: v.key,
		MaxBytes: maxTrailBytes})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &collector{writer: writer, stop: stop, born: make(chan struct{}),
		broken: make(chan struct{}), idle: make(chan struct{})}
	go func() {
		defer close(c.idle)
		if err := writer.Drain(ctx, from); err != nil {
			v.log.Error("audit", "error", err)
			v.end("audit: " + err.Error())
			c.err = err
			close(c.broken)
		}
	}()
	go func() {
		if _, err := writer.Birth(ctx); err == nil {
			close(c.born)
		}
	}()
	return c, nil
}

// outside records an act of the host's.
func (c *collector) outside(r *sandbox.Record) error { return c.writer.Outside(*r) }

// finish writes the end. The sandbox must be dead.
func (c *collector) finish(reason string, code int) error {
	c.stop()
	<-c.idle
	return c.writer.Finish(reason, code)
}
