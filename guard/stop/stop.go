// Package stop takes the guard's stops through the ledger, and lifts them again.
//
// A stop is a freeze record whose id is derived from the breach, so that taking it again, after a
// crash or a lost answer, changes nothing. The Taker works through a queue of them, apart from the
// checker, so that a ledger that stalls holds up no check. A release is the work of two people: one
// asks, another approves, and the ledger itself refuses where they are the same.
//
// # Invariants
//
// Each stop handed to Take gets one outcome, handed to Done in order. In dry-run mode nothing ever
// reaches the ledger. Stops that come together are taken together: in a storm the last of them waits
// for a few of the ledger's syncs, not for one each.
//
// # Concurrency
//
// Take and Release may be called from any goroutine; Run from one.
package stop

import (
	"context"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/guard/client"
	"surety/ledger"
	"surety/sys/wallclock"
)

// Freezer is what is needed of the ledger.
type Freezer interface {
	ApplyFreezes(ctx context.Context, batch []ledger.Freeze) ([]ledger.FreezeResult, error)
}

// Limits.
const (
	// queueMax bounds the stops that wait for the ledger: more cannot be planned in an hour, by the
	// brake of the core.
	queueMax = 4096
	// batchMax bounds the stops of one batch.
	batchMax = 256
	// retryAfter is the pause before a stop is tried again that the ledger did not answer.
	retryAfter = clock.Second
)

// Outcome is what became of a stop.
type Outcome struct {
	Freeze ident.ID
	What   string // one of the client's constants
	Detail string // of a refusal: why
}

// Done is told what became of some stops.
type Done func(ctx context.Context, outcomes []Outcome)

// Taker takes stops one after the other.
type Taker struct {
	ledger Freezer
	clock  wallclock.Clock
	done   Done
	queue  chan ledger.Freeze
}

// New returns a taker; Run starts it.
func New(to Freezer, clock wallclock.Clock, done Done) *Taker {
	return &Taker{ledger: to, clock: clock, done: done, queue: make(chan ledger.Freeze, queueMax)}
}

// Take queues a stop. It reports whether there was room: without, the stop stays planned in the
// store and is taken after the next start.
func (t *Taker) Take(f ledger.Freeze) bool {
	select {
	case t.queue <- f:
		return true
	default:
		return false
	}
}

// Run takes what is queued until the context ends. A stop that the ledger does not answer is tried
// until it does.
func (t *Taker) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return errs.As(errs.Canceled, ctx.Err(), "guard.stop")
		case f := <-t.queue:
			if err := t.take(ctx, t.gather(f)); err != nil {
				return err
			}
		}
	}
}

// gather adds what is queued already.
func (t *Taker) gather(first ledger.Freeze) []ledger.Freeze {
	batch := []ledger.Freeze{first}
	for len(batch) < batchMax {
		select {
		case f := <-t.queue:
			batch = append(batch, f)
		default:
			return batch
		}
	}
	return batch
}

func (t *Taker) take(ctx context.Context, batch []ledger.Freeze) error {
	for {
		results, err := t.ledger.ApplyFreezes(ctx, batch)
		if err == nil && len(results) == len(batch) {
			outcomes := make([]Outcome, len(batch))
			for i := range batch {
				outcomes[i] = outcomeOf(&batch[i], results[i])
			}
			t.done(ctx, outcomes)
			return nil
		}
		timer := t.clock.NewTimer(retryAfter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errs.As(errs.Canceled, ctx.Err(), "guard.stop: %d stops", len(batch))
		case <-timer.C():
		}
	}
}

// outcomeOf says what the ledger's answer means. A freeze that exists was taken before.
func outcomeOf(f *ledger.Freeze, result ledger.FreezeResult) Outcome {
	switch result {
	case ledger.FreezeOK, ledger.FreezeExists:
		return Outcome{Freeze: f.ID, What: client.StopInForce}
	}
	return Outcome{Freeze: f.ID, What: client.StopRefused, Detail: result.String()}
}

// ReleaseID derives the id of the record that lifts a freeze, so that doing it again is harmless.
func ReleaseID(freeze, first, second ident.ID) ident.ID {
	return ident.Derive("release", freeze.String(), first.String(), second.String())
}

// Release lifts a freeze in the names of two people. Kind Refused with the ledger's reason where it
// says no.
func Release(ctx context.Context, to Freezer, f ledger.Freeze) error {
	results, err := to.ApplyFreezes(ctx, []ledger.Freeze{f})
	switch {
	case err != nil:
		return errs.Wrap(err, "guard.release: %s", f.FreezeID)
	case len(results) != 1:
		return errs.New(errs.Internal, "guard.release: %d results for one record", len(results))
	case results[0] == ledger.FreezeOK || results[0] == ledger.FreezeExists:
		return nil
	}
	return errs.New(errs.Refused, "guard.release: %s: the ledger says %s", f.FreezeID, results[0])
}

// ReleaseOf returns the record that lifts a freeze: asked for by first, approved by second.
func ReleaseOf(freeze, first, second ident.ID, reason uint32) ledger.Freeze {
	return ledger.Freeze{ID: ReleaseID(freeze, first, second), FreezeID: freeze, Actor: first,
		SecondActor: second, Reason: reason, Flags: ledger.FreezeRelease}
}
