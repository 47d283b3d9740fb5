// Package recovery finishes what a crash or an error left unfinished in the lending service.
//
// Whatever is under way has left a trace in the records: an instruction that is not settled, or an
// application without a decision. Finish goes through both and has the desk that owns each take it
// to its end. At a start it runs before anybody is let in. While the service works, Run does the
// same from time to time: an act that met a full queue or a full disk, and whose caller did not come
// back, is not left to the next start.
//
// # Invariants
//
// Instructions are finished before undecided applications, and in their order: a limit that a closed
// loan restores is there for the application that counted on it.
//
// # Boundaries
//
// The desks know how to finish a thing, and that doing so twice is harmless; this package knows
// where the unfinished is. One thing that cannot be finished, such as a damaged row, is told and
// passed over: it must not keep the rest, and the service, from working.
//
// # Concurrency
//
// Finish and Run may run beside everything else: the desks' locks keep an act and its recovery
// apart.
package recovery

import (
	"context"
	"log/slog"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/lending"
	"surety/lending/store"
	"surety/sys/wallclock"
)

const (
	// page is how many unfinished acts are read at once: a few megabytes.
	page = 500

	// every is how often Run looks. What it is there for is rare, and who sent it can ask again
	// sooner; the guard reports money that is asked for and does not move within seconds.
	every = clock.Minute
)

// Records is what recovery needs of the lending records; *store.Store is it.
type Records interface {
	Instructions(ctx context.Context, after uint64, limit int) ([]store.Instruction, error)
	Undecided(ctx context.Context, after uint64, limit int) ([]store.Application, error)
}

// Desk takes one thing to its end, an application or a loan. After an error it may be called again.
type Desk interface {
	Conclude(ctx context.Context, id ident.ID) error
}

// Deps are what recovery works with.
type Deps struct {
	Store       Records
	Origination Desk // of applications
	Servicing   Desk // of loans
	// MoneyOut returns why no money may leave now, nil where it may.
	MoneyOut func() error
	Clock    wallclock.Clock
	Log      *slog.Logger
}

// Recovery finishes the unfinished.
type Recovery struct{ deps Deps }

// New returns a recovery.
func New(deps Deps) *Recovery { return &Recovery{deps: deps} }

// Done counts what Finish found.
type Done struct {
	Finished int // acts and applications taken to their end
	Left     int // those that could not be; each is told in the log
}

// Finish takes everything unfinished to its end. It is for the start of a node, and does not ask
// whether money-out is stopped: what was recorded before the crash had asked. An error of kind
// Canceled, Unavailable, NoSpace, Locked or Busy ended it early: nothing more can be done now.
func (r *Recovery) Finish(ctx context.Context) (Done, error) {
	return r.finish(ctx, true)
}

// Run does what Finish does once a minute until ctx ends, payments only while money may leave.
func (r *Recovery) Run(ctx context.Context) {
	for {
		timer := r.deps.Clock.NewTimer(every)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if _, err := r.finish(ctx, r.deps.MoneyOut() == nil); err != nil && ctx.Err() == nil {
			r.deps.Log.Warn("unfinished acts are left for later", "error", err)
		}
	}
}

func (r *Recovery) finish(ctx context.Context, payments bool) (Done, error) {
	var done Done
	if err := r.instructions(ctx, payments, &done); err != nil {
		return done, err
	}
	if !payments {
		return done, nil
	}
	return done, r.undecided(ctx, &done)
}

func (r *Recovery) instructions(ctx context.Context, payments bool, done *Done) error {
	for after := uint64(0); ; {
		list, err := r.deps.Store.Instructions(ctx, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			after = list[i].Number
			switch list[i].Kind {
			case lending.LimitGranted.String(), lending.LimitReserved.String():
				continue // of an application without a decision
			case lending.LoanDisbursed.String():
				if payments {
					err = r.conclude(ctx, r.deps.Origination, list[i].Application, done)
				}
			default:
				err = r.conclude(ctx, r.deps.Servicing, list[i].Loan, done)
			}
			if err != nil {
				return err
			}
		}
	}
}

func (r *Recovery) undecided(ctx context.Context, done *Done) error {
	for after := uint64(0); ; {
		list, err := r.deps.Store.Undecided(ctx, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			after = list[i].Number
			if err := r.conclude(ctx, r.deps.Origination, list[i].ID, done); err != nil {
				return err
			}
		}
	}
}

// conclude has a desk finish one thing. The error is one that would meet the next as well.
func (r *Recovery) conclude(ctx context.Context, desk Desk, id ident.ID, done *Done) error {
	err := desk.Conclude(ctx, id)
	switch errs.KindOf(err) {
	case errs.Canceled, errs.Unavailable, errs.NoSpace, errs.Locked, errs.Busy:
		return errs.Wrap(err, "recovery.finish")
	}
	if err != nil {
		done.Left++
		r.deps.Log.Error("an unfinished act cannot be finished", "id", id.String(), "error", err)
		return nil
	}
	done.Finished++
	return nil
}
