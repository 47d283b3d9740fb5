package source

import (
	"context"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/errs"
	"surety/guard"
	"surety/ledger"
	"surety/sys/wallclock"
)

// Outbox is a service's outbox.
type Outbox interface {
	// Events returns up to limit durable events after a position, in order.
	Events(ctx context.Context, after uint64, limit int) ([]event.Event, error)
	// Wait returns once an event after the position is durable, or ctx ends.
	Wait(ctx context.Context, after uint64) error
}

// Feed is the ledger's feed.
type Feed interface {
	// Events returns up to limit durable events from the one numbered from on.
	Events(ctx context.Context, from uint64, limit int) ([]ledger.Event, error)
	// WaitEvents returns once the event numbered next is durable, or ctx ends.
	WaitEvents(ctx context.Context, next uint64) error
}

// Limits.
const (
	// EventsMax bounds a batch of events: some megabytes of memory, and some milliseconds of work.
	EventsMax = 2048
	// EntriesMax bounds a batch of the feed.
	EntriesMax = 4096
	// retryAfter is the pause after a read that failed.
	retryAfter = 200 * clock.Millisecond
	// heartbeat is how often an idle stream is read again: its end is news too.
	heartbeat = 250 * clock.Millisecond
)

// Batch is part of one stream.
type Batch struct {
	Stream  guard.Stream
	Events  []guard.Event
	Entries []ledger.Event
	// Ended is set where the read found the end of the stream: Last is its last position, and Began
	// the instant at which the read began.
	Ended bool
	Last  uint64
	Began clock.Instant
}

// Reader follows one stream.
type Reader struct {
	stream guard.Stream
	clock  wallclock.Clock
	next   uint64 // position to read next, from 1
	read   func(ctx context.Context, position uint64) (Batch, int, error)
	wait   func(ctx context.Context, position uint64) error
	limit  int
	failed func(error)
}

// NewOutboxReader returns a reader of an outbox from a position on. failed is told of reads that
// fail; they are tried again.
func NewOutboxReader(from Outbox, position uint64, clock wallclock.Clock, failed func(error)) *Reader {
	return &Reader{stream: guard.StreamOutbox, clock: clock, next: position, limit: EventsMax,
		failed: failed,
		read: func(ctx context.Context, position uint64) (Batch, int, error) {
			events, err := from.Events(ctx, position-1, EventsMax)
			if err != nil {
				return Batch{}, 0, err
			}
			b := Batch{Events: make([]guard.Event, len(events))}
			for i := range events {
				b.Events[i] = Parse(&events[i])
			}
			return b, len(events), nil
		},
		wait: func(ctx context.Context, position uint64) error { return from.Wait(ctx, position-1) },
	}
}

// NewFeedReader returns a reader of the ledger's feed from a position on.
func NewFeedReader(from Feed, position uint64, clock wallclock.Clock, failed func(error)) *Reader {
	return &Reader{stream: guard.StreamFeed, clock: clock, next: position, limit: EntriesMax,
		failed: failed,
		read: func(ctx context.Context, position uint64) (Batch, int, error) {
			entries, err := from.Events(ctx, position-1, EntriesMax)
			return Batch{Entries: entries}, len(entries), err
		},
		wait: func(ctx context.Context, position uint64) error {
			return from.WaitEvents(ctx, position-1)
		},
	}
}

// Run reads until the context ends and sends what it reads. It waits for room in out.
func (r *Reader) Run(ctx context.Context, out chan<- Batch) error {
	for ctx.Err() == nil {
		began := r.clock.Now()
		b, n, err := r.read(ctx, r.next)
		if err != nil {
			if ctx.Err() == nil {
				r.failed(errs.Wrap(err, "guard.source: %s from %d", r.stream, r.next))
				r.pause(ctx, retryAfter)
			}
			continue
		}
		r.next += uint64(n)
		b.Stream = r.stream
		b.Ended, b.Last, b.Began = n < r.limit, r.next-1, began
		select {
		case out <- b:
		case <-ctx.Done():
		}
		if b.Ended {
			r.idle(ctx)
		}
	}
	return errs.As(errs.Canceled, ctx.Err(), "guard.source: %s", r.stream)
}

// idle waits for the next position, at most a heartbeat.
func (r *Reader) idle(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := r.clock.NewTimer(heartbeat)
	defer timer.Stop()
	arrived := make(chan error, 1)
	go func() { arrived <- r.wait(ctx, r.next) }()
	select {
	case err := <-arrived:
		if err != nil && ctx.Err() == nil {
			r.failed(errs.Wrap(err, "guard.source: %s after %d", r.stream, r.next-1))
			r.pause(ctx, retryAfter)
		}
	case <-timer.C():
		cancel()
		<-arrived
	}
}

func (r *Reader) pause(ctx context.Context, d clock.Duration) {
	timer := r.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
}
