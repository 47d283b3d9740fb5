package replica

import (
	"context"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
)

// watermark is how far the ledger is durable. It only rises, until it fails for good.
type watermark struct {
	mu      sync.Mutex
	seq     uint64 // of the last durable batch
	events  uint64 // made by it and all before
	at      clock.Instant
	err     error
	changed chan struct{} // closed at the next change; nil while nobody waits
}

// advance raises the watermark and wakes those who wait.
func (w *watermark) advance(seq, events uint64, at clock.Instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq, w.events, w.at = seq, events, at
	w.wake()
}

// fail ends all waiting, now and later, with the error. The first one stays.
func (w *watermark) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.wake()
}

func (w *watermark) wake() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// get returns the watermark.
func (w *watermark) get() (seq, events uint64, at clock.Instant, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seq, w.events, w.at, w.err
}

// waitSeq returns when the batch is durable.
func (w *watermark) waitSeq(ctx context.Context, seq uint64) error {
	return w.wait(ctx, func() bool { return w.seq >= seq })
}

// waitEvent returns when the event with the number is durable.
func (w *watermark) waitEvent(ctx context.Context, next uint64) error {
	return w.wait(ctx, func() bool { return w.events > next })
}

func (w *watermark) wait(ctx context.Context, reached func() bool) error {
	for {
		w.mu.Lock()
		if w.err != nil {
			defer w.mu.Unlock()
			return w.err
		}
		if reached() {
			w.mu.Unlock()
			return nil
		}
		if w.changed == nil {
			w.changed = make(chan struct{})
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return errs.As(errs.Canceled, ctx.Err(), "ledger: the caller went away")
		}
	}
}
