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
	"surety/ledger"
)

// flush makes the batch durable where it is time, or where now is set, and then takes its stops.
// It tries until it succeeds: a guard that cannot write reads no further, and money-out closes. It
// returns an error only where the context ended.
func (e *Engine) flush(ctx context.Context, now bool) error {
	at := e.deps.Clock.Now()
	size := len(e.batch.Checked) + len(e.batch.Failed)
	due := now || e.alarmed || size >= flushMax || size > 0 && at.Sub(e.since) >= flushAfter
	if !due && (!e.batch.Empty() || at < e.next.heartbeat) {
		e.pass(at)
		return nil
	}
	e.next.heartbeat = at.Add(heartbeatEvery)
	e.prepare(ctx, at)
	for {
		err := e.store.Record(ctx, &e.batch)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return errs.As(errs.Canceled, ctx.Err(), "guard.flush")
		}
		if e.ending {
			return errs.Wrap(err, "guard.flush")
		}
		e.deps.Log.Error("verdicts cannot be recorded; the guard waits", "error", err)
		timer := e.deps.Clock.NewTimer(storeRetry)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return errs.As(errs.Canceled, ctx.Err(), "guard.flush")
		}
	}
	e.act()
	e.batch = store.Batch{Checked: e.batch.Checked[:0], Failed: e.batch.Failed[:0],
		FromEvent: e.batch.ToEvent + 1, FromPosting: e.batch.ToPosting + 1}
	e.alarmed = false
	e.pass(at)
	return nil
}

// prepare completes the batch: its positions, the events of its alarms, and the stops they ask for.
// An alarm that is stored already comes from a restart; its stops were planned then.
func (e *Engine) prepare(ctx context.Context, at clock.Instant) {
	b := &e.batch
	b.At, b.Through = at, e.through()
	b.ToEvent = e.checker.Position(guard.StreamOutbox)
	b.ToPosting = e.checker.Position(guard.StreamFeed)
	b.Stops = b.Stops[:0]
	fresh := b.Alarms[:0]
	for _, a := range b.Alarms {
		if known, err := e.store.Known(ctx, a.Breach.ID); err == nil && known {
			continue
		}
		a.Body = e.bodyOf(ctx, a.Breach)
		fresh = append(fresh, a)
		e.plan(a.Breach, at)
	}
	b.Alarms = fresh
}

// bodyOf reads an alarm's event again, as the outbox has it. Without it the alarm still stands.
func (e *Engine) bodyOf(ctx context.Context, b *guard.Breach) []byte {
	if b.EventSeq == 0 {
		return nil
	}
	list, err := e.deps.Outbox.Events(ctx, b.EventSeq-1, 1)
	if err != nil || len(list) == 0 {
		return nil
	}
	list[0].Seq = 0 // not among the stored bytes
	encoded, err := list[0].Encode()
	if err != nil {
		return nil
	}
	return encoded
}

// plan decides which stops of a breach are taken.
func (e *Engine) plan(b *guard.Breach, at clock.Instant) {
	allowed := e.brake.Allow(b, at)
	if e.config.Mode == DryRun {
		allowed = b.Stops
	}
	planned := *b
	planned.Stops = allowed
	for i := range allowed {
		f := planned.Freeze(i, at.Add(e.config.FreezeExpiry))
		f.Actor = Actor
		outcome := client.StopPlanned
		if e.config.Mode == DryRun {
			outcome = client.StopDryRun
		}
		e.batch.Stops = append(e.batch.Stops, store.Planned{Freeze: f, Number: i + 1,
			Text: allowed[i].String(), Outcome: outcome})
	}
	if len(allowed) == 0 && len(b.Stops) > 0 {
		f := b.Freeze(0, at.Add(e.config.FreezeExpiry))
		e.batch.Stops = append(e.batch.Stops, store.Planned{Freeze: f, Number: 1,
			Text: b.Stops[0].String(), Outcome: client.StopWithheld})
		e.deps.Log.Error("a stop is withheld: too many in a minute; money-out is closed",
			"breach", b.ID.String())
	}
	e.mu.Lock()
	e.health.withheld = e.brake.Tripped()
	e.mu.Unlock()
}

// act takes the stops of the batch that is now durable, and tells of its alarms.
func (e *Engine) act() {
	for _, p := range e.batch.Stops {
		if p.Outcome == client.StopPlanned && !e.taker.Take(p.Freeze) {
			e.deps.Log.Error("a stop waits for the next start: too many are queued",
				"freeze", p.Freeze.ID.String())
		}
	}
	for _, a := range e.batch.Alarms {
		e.deps.Log.Error("breach", "id", a.Breach.ID.String(), "rule", a.Breach.Rule.String(),
			"class", a.Breach.Class.String(), "event", a.Breach.Event.String(),
			"money_at_risk", a.Breach.AtRisk.String(), "stops", len(a.Breach.Stops))
		if e.deps.Alarm != nil {
			e.deps.Alarm(a.Breach)
		}
	}
}

// stopped notes what became of stops; the taker calls it.
func (e *Engine) stopped(ctx context.Context, outcomes []stop.Outcome) {
	list := make([]store.Finished, len(outcomes))
	for i, o := range outcomes {
		list[i] = store.Finished{Freeze: o.Freeze, Outcome: o.What, Detail: o.Detail}
		if o.What == client.StopRefused {
			e.deps.Log.Error("the ledger refused a stop", "freeze", o.Freeze.String(), "reason", o.Detail)
		}
	}
	if err := e.store.FinishStops(ctx, list, e.deps.Clock.Now()); err != nil {
		e.deps.Log.Error("the outcome of stops cannot be recorded", "stops", len(list), "error", err)
	}
}

// follow notes the end of stops, which the feed tells of.
func (e *Engine) follow(entry *ledger.Event) {
	var freeze ident.ID
	var outcome string
	switch entry.Kind {
	case ledger.EventFreezeReleased:
		freeze, outcome = entry.Freeze.FreezeID, client.StopReleased
	case ledger.EventFreezeExpired:
		freeze, outcome = entry.Freeze.ID, client.StopExpired
	default:
		return
	}
	err := e.store.EndStop(context.Background(), freeze, outcome, entry.Timestamp)
	if err != nil {
		e.deps.Log.Error("the end of a stop cannot be recorded", "freeze", freeze.String(), "error", err)
	}
}

// through returns the instant up to which both streams are checked.
func (e *Engine) through() clock.Instant {
	return min(e.checker.Through(guard.StreamOutbox), e.checker.Through(guard.StreamFeed))
}

// pass moves the watermark that money-out depends on, once what it covers is recorded.
func (e *Engine) pass(clock.Instant) {
	if !e.batch.Empty() {
		return
	}
	through := e.through()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.health.through = max(e.health.through, through)
}

// MoneyOutAllowed returns nil where money may leave, and otherwise an error of kind Unavailable that
// says why not.
func (e *Engine) MoneyOutAllowed() error {
	now := e.deps.Clock.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	limit := e.config.FailClosedAfter
	switch {
	case !e.running:
		return errs.New(errs.Unavailable, "guard.money_out: the guard is not running")
	case now.Sub(e.health.through) > limit:
		return errs.New(errs.Unavailable,
			"guard.money_out: events and postings are checked up to %d ms ago, the limit is %d ms",
			now.Sub(e.health.through)/clock.Millisecond, limit/clock.Millisecond)
	case now.Sub(e.health.canary) > limit:
		return errs.New(errs.Unavailable,
			"guard.money_out: the planted faults were last found %d ms ago, the limit is %d ms",
			now.Sub(e.health.canary)/clock.Millisecond, limit/clock.Millisecond)
	case e.health.withheld != 0:
		return errs.New(errs.Unavailable,
			"guard.money_out: stops are withheld, too many in a minute: resolve the open breaches")
	}
	return nil
}
