package runtime

import (
	"context"
	"log/slog"
	"path/filepath"

	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sandbox/trail"
)

// collector carries records from the ring into the trail while the sandbox lives.
type collector struct {
	writer *trail.Writer
	key    trail.SigningKey
	stop   context.CancelFunc
	born   chan struct{} // closed when the birth record is in the trail
	broken chan struct{} // closed when the trail can take no more
	idle   chan struct{} // closed when draining has ended
}

// openCollector begins the trail and drains into it. lost is called once when that fails: the
// sandbox has to die.
func openCollector(s *Sandbox, dir string, shared *ring.Ring, lost func(error)) (*collector, error) {
	key, err := trail.LoadKey(filepath.Join(s.host.config.Root, "audit.key"))
	if err != nil {
		return nil, err
	}
	writer, err := trail.Create(trail.Config{Dir: dir, Sandbox: s.id, Key: key})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &collector{writer: writer, key: key, stop: stop, born: make(chan struct{}),
		broken: make(chan struct{}), idle: make(chan struct{})}
	go func() {
		defer close(c.idle)
		if err := writer.Drain(ctx, ring.NewConsumer(shared)); err != nil {
			lost(err)
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

func (c *collector) publicKey() string { return c.key.Public().String() }

// outside records an act of the host's.
func (c *collector) outside(r *sandbox.Record) error { return c.writer.Outside(*r) }

// finish writes the end. The sandbox must be dead.
func (c *collector) finish(reason string, code int) error {
	c.stop()
	<-c.idle
	return c.writer.Finish(reason, code)
}

// libraryWriter turns gVisor's own log lines into ours.
type libraryWriter struct{ log *slog.Logger }

func (w libraryWriter) Write(line []byte) (int, error) {
	w.log.Info("gvisor", "line", string(line))
	return len(line), nil
}
