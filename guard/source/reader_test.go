package source

import (
	"context"
	"sync"
	"testing"

	"surety/api/event"
	"surety/base/errs"
	"surety/base/ident"
	"surety/guard"
	"surety/sys/wallclock"
)

// box is an outbox that fails when told to.
type box struct {
	mu    sync.Mutex
	list  []event.Event
	fails int
	more  chan struct{}
	asked []uint64
}

func newBox(n int) *box {
	b := &box{more: make(chan struct{})}
	b.add(n)
	return b
}

func (b *box) add(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		seq := uint64(len(b.list)) + 1
		b.list = append(b.list, event.Event{Seq: seq, ID: ident.ID{Lo: seq}, Kind: "x"})
	}
	close(b.more)
	b.more = make(chan struct{})
}

func (b *box) Events(_ context.Context, after uint64, limit int) ([]event.Event, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, after)
	if b.fails > 0 {
		b.fails--
		return nil, errs.New(errs.Unavailable, "away")
	}
	rest := b.list[min(after, uint64(len(b.list))):]
	return append([]event.Event(nil), rest[:min(limit, len(rest))]...), nil
}

func (b *box) Wait(ctx context.Context, after uint64) error {
	for {
		b.mu.Lock()
		n, more := uint64(len(b.list)), b.more
		b.mu.Unlock()
		if n > after {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return errs.As(errs.Canceled, ctx.Err(), "wait")
		}
	}
}

// TestReaderIsWhole reads from the middle, over failures and across ends.
func TestReaderIsWhole(t *testing.T) {
	b := newBox(3*EventsMax + 100)
	b.fails = 2
	clock := wallclock.System()
	failures := 0
	r := NewOutboxReader(b, 11, clock, func(error) { failures++ })
	ctx, stop := context.WithCancel(context.Background())
	out := make(chan Batch)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, out) }()
	next, ends := uint64(11), 0
	for next <= uint64(3*EventsMax+250) {
		before := clock.Now()
		got := <-out
		if got.Stream != guard.StreamOutbox {
			t.Fatalf("a batch of %s", got.Stream)
		}
		for _, e := range got.Events {
			if e.Seq != next {
				t.Fatalf("position %d came, want %d", e.Seq, next)
			}
			next++
		}
		if !got.Ended {
			if len(got.Events) != EventsMax {
				t.Fatalf("a batch of %d events has no end", len(got.Events))
			}
			continue
		}
		ends++
		if got.Last != next-1 || got.Began > clock.Now() || got.Began == 0 {
			t.Fatalf("the end is at %d, read at %d after %d", got.Last, got.Began, before)
		}
		if ends == 1 {
			b.add(150)
		}
	}
	if failures != 2 {
		t.Errorf("%d failures were told of, want 2", failures)
	}
	stop()
	if err := <-done; !errs.Is(err, errs.Canceled) {
		t.Errorf("the reader ended with %v, want kind canceled", err)
	}
}
