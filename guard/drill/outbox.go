package drill

import (
	"context"
	"sync"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/errs"
)

// outbox is a service's outbox in memory.
type outbox struct {
	now func() clock.Instant

	mu      sync.Mutex
	list    []event.Event
	changed chan struct{} // closed and replaced when list grows
}

func newOutbox(now func() clock.Instant) *outbox {
	return &outbox{now: now, changed: make(chan struct{})}
}

// emit appends an event, numbered and stamped.
func (o *outbox) emit(e event.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e.Seq, e.At = uint64(len(o.list))+1, o.now()
	o.list = append(o.list, e)
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.list)
}

// Events returns up to limit events after a position.
func (o *outbox) Events(_ context.Context, after uint64, limit int) ([]event.Event, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if after >= uint64(len(o.list)) {
		return nil, nil
	}
	rest := o.list[after:]
	return append([]event.Event(nil), rest[:min(limit, len(rest))]...), nil
}

// Wait returns once there is an event after the position.
func (o *outbox) Wait(ctx context.Context, after uint64) error {
	for {
		o.mu.Lock()
		n, changed := uint64(len(o.list)), o.changed
		o.mu.Unlock()
		if n > after {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errs.As(errs.Canceled, ctx.Err(), "drill.outbox")
		}
	}
}
