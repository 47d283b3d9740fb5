package engine

import (
	"context"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/guard"
	"surety/guard/client"
	"surety/guard/stop"
	"surety/guard/store"
)

// Engine is a client.Guard.
var _ client.Guard = (*Engine)(nil)

// publish sets what the board shows; the loop calls it after each sweep.
func (e *Engine) publish(ctx context.Context) {
	now := e.deps.Clock.Now()
	tally, err := e.store.Tally(ctx)
	if err != nil {
		e.deps.Log.Warn("breaches cannot be counted", "error", err)
		return
	}
	if e.brake.Tripped() != 0 && tally.Open == 0 {
		e.brake.Reset() // a person has looked at every breach
	}
	s := client.Status{Mode: string(e.config.Mode), OpenExpectations: e.checker.Open(),
		BreachesOpen: tally.Open, BreachesTotal: tally.Total,
		EventsChecked:   e.checker.Position(guard.StreamOutbox),
		PostingsChecked: e.checker.Counts(guard.PostingsExpected).Checked}
	e.mu.Lock()
	e.health.withheld = e.brake.Tripped()
	h := e.health
	e.mu.Unlock()
	s.CanaryAt = h.canary
	for _, info := range guard.Invariants() {
		s.Invariants = append(s.Invariants, e.tile(info, tally, h, now))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.board = s
}

// tile is one invariant on the board. What the streams show is as fresh as the streams are read to
// their ends, whether or not anything came; what a sweep shows is as fresh as the sweep.
func (e *Engine) tile(info guard.InvariantInfo, tally store.Tally, h health,
	now clock.Instant) client.Invariant {
	count := e.checker.Counts(info.Invariant)
	t := client.Invariant{Name: info.Name, Title: info.Title, Checked: count.Checked,
		Money: count.Money, CanaryAt: h.canary, CheckedAt: h.through, StaleAfter: 5 * clock.Second}
	switch info.Invariant {
	case guard.BooksBalance, guard.BalancesMatch, guard.MemoMatches:
		t.CheckedAt, t.StaleAfter = count.At, 3*e.config.SweepEvery+5*clock.Second
		if count.At == 0 { // a ledger without accounts has nothing that could differ
			t.CheckedAt = h.through
		}
	case guard.CheckerAlive:
		t.CheckedAt, t.StaleAfter = h.canary, e.config.CanaryEvery+30*clock.Second
	}
	for rule, n := range tally.ByRule {
		if rule.Info().Invariant == info.Invariant {
			t.Breaches += n
		}
	}
	t.Age = max(0, now.Sub(t.CheckedAt))
	return t
}

// judge sets the tile's state at an instant.
func judge(t *client.Invariant, now clock.Instant) {
	t.Age = max(0, now.Sub(t.CheckedAt))
	switch {
	case t.Breaches > 0:
		t.State = client.Broken
	case t.CheckedAt == 0:
		t.State = client.Starting
	case t.Age > t.StaleAfter:
		t.State = client.Stale
	default:
		t.State = client.Holds
	}
}

// Status returns what the board shows. Ages are of now, so that a board whose guard has died turns
// grey by itself.
func (e *Engine) Status(context.Context) (client.Status, error) {
	now := e.deps.Clock.Now()
	refusal := e.MoneyOutAllowed()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.board
	s.Invariants = append([]client.Invariant(nil), e.board.Invariants...)
	s.Lag = max(0, now.Sub(e.health.through))
	s.CanaryAge = max(0, now.Sub(e.health.canary))
	s.MoneyOut = refusal == nil
	if refusal != nil {
		s.MoneyOutReason = refusal.Error()
	}
	s.State = client.Green
	if len(s.Invariants) == 0 {
		s.State = client.Grey
	}
	for i := range s.Invariants {
		judge(&s.Invariants[i], now)
		switch s.Invariants[i].State {
		case client.Broken:
			s.State = client.Red
		case client.Stale, client.Starting:
			if s.State == client.Green {
				s.State = client.Grey
			}
		}
	}
	if e.health.withheld != 0 {
		s.State = client.Red
	}
	return s, nil
}

// Breaches returns breaches, newest first.
func (e *Engine) Breaches(ctx context.Context, f client.Filter) ([]client.Breach, error) {
	return e.store.Breaches(ctx, f)
}

// Breach returns one breach with its stops.
func (e *Engine) Breach(ctx context.Context, id ident.ID) (client.Breach, error) {
	return e.store.Breach(ctx, id)
}

// Resolve sets what a person made of a breach.
func (e *Engine) Resolve(ctx context.Context, r client.Resolution) (client.Breach, error) {
	if err := e.store.Resolve(ctx, r); err != nil {
		return client.Breach{}, err
	}
	return e.store.Breach(ctx, r.Breach)
}

// RequestRelease asks that a stop be lifted.
func (e *Engine) RequestRelease(ctx context.Context, freeze, actor ident.ID, reason string) error {
	if actor.IsZero() || actor == Actor {
		return errs.New(errs.Forbidden, "guard.release: a release is asked for by a person")
	}
	return e.store.RequestRelease(ctx, freeze, actor, reason, e.deps.Clock.Now())
}

// releaseReason is the number that stands in the ledger's record of a release by two people.
const releaseReason = 1

// ApproveRelease lifts a stop that another person asked to lift.
func (e *Engine) ApproveRelease(ctx context.Context, freeze, actor ident.ID) error {
	p, err := e.store.Stop(ctx, freeze)
	switch {
	case err != nil:
		return err
	case actor.IsZero() || actor == Actor:
		return errs.New(errs.Forbidden, "guard.release: a release is approved by a person")
	case p.RequestedBy.IsZero():
		return errs.New(errs.Refused, "guard.release: nobody has asked for the release of %s", freeze)
	case p.RequestedBy == actor:
		return errs.New(errs.Refused, "guard.release: %s: who asks may not approve", freeze)
	}
	release := stop.ReleaseOf(freeze, p.RequestedBy, actor, releaseReason)
	if err := stop.Release(ctx, e.deps.Ledger, release); err != nil {
		return err
	}
	return e.store.Approve(ctx, freeze, actor, e.deps.Clock.Now())
}

// Verdicts returns durable batches of verdicts.
func (e *Engine) Verdicts(ctx context.Context, after uint64, limit int) ([]client.Batch, error) {
	return e.store.Verdicts(ctx, after, limit)
}
