// Package engine is the guard at work: it reads the two streams, hands them to the checker, makes
// verdicts durable, takes stops, and knows whether it can be trusted itself.
//
// One goroutine, the loop, owns the checker and everything it decides. Two readers bring batches;
// a taker carries out stops. A batch with an alarm is recorded at once and its stops are taken
// right after; all else is recorded a few times a second. The loop also sweeps (it compares the
// ledger's sums and balances with its own books), plants canaries, and saves the checker's state.
//
// # Invariants
//
// A stop is taken only after its breach is durable. A verdict is durable once, across crashes: what
// a restarted checker finds again is recognised. MoneyOutAllowed says yes only while both streams
// were read and checked to their ends, and every canary was found, within FailClosedAfter: a guard
// that is dead, slow or wrong closes money-out by doing nothing.
//
// # Boundaries
//
// Rules live in package guard, rows in guard/store, freezes in guard/stop.
//
// # Concurrency
//
// Open, Run and Close are called in this order, each once. All other methods may be called from any
// goroutine. mu guards what they read and is held for no I/O.
package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/guard"
	"surety/guard/client"
	"surety/guard/source"
	"surety/guard/stop"
	"surety/guard/store"
	"surety/ledger"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// Mode says what a breach does. The texts stand in the configuration.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce" // stops money
	DryRun  Mode = "dry_run" // only writes down what would be stopped
)

// Config is how the guard works. Zero durations mean the defaults.
type Config struct {
	Dir             string // of the guard's own records
	Mode            Mode   // Enforce where empty
	Limits          guard.Limits
	FreezeExpiry    clock.Duration // how long a stop lasts; default a day
	SweepEvery      clock.Duration // default a second
	CanaryEvery     clock.Duration // default a minute
	FailClosedAfter clock.Duration // default five minutes
	SnapshotEvery   clock.Duration // default five minutes

	// AccountFreezes and CodeFreezes bound the stops of a minute; zero means the core's defaults.
	AccountFreezes, CodeFreezes int

	// Blind are rules switched off, for drills of the drill. The canaries notice.
	Blind []guard.Rule
}

// Ledger is what the guard needs of the ledger.
type Ledger interface {
	source.Feed
	stop.Freezer
	ClassTotals(ctx context.Context) ([]ledger.ClassTotal, error)
	ListAccounts(ctx context.Context, skip, limit int) ([]ledger.Account, error)
}

// Deps is the world. Clock, Files and Log may be nil: the machine's own, and silence.
type Deps struct {
	Outbox source.Outbox
	Ledger Ledger
	Clock  wallclock.Clock
	Files  vfs.FS
	Log    *slog.Logger
	// Alarm, where given, is told of each breach once it is durable.
	Alarm func(*guard.Breach)
}

// Actor is in whose name the guard freezes.
var Actor = ident.Derive("actor", "guard")

// Engine is an open guard.
type Engine struct {
	config Config
	deps   Deps
	store  *store.Store
	taker  *stop.Taker

	// What the loop owns.
	checker  *guard.Checker
	settled  map[ident.ID]struct{} // verdicts that are durable and will be found again
	ended    [3]bool               // by stream: whether it was read to its end since the start
	batch    store.Batch           // not yet durable
	since    clock.Instant         // of the batch's first verdict
	alarmed  bool                  // the batch has an alarm
	ending   bool                  // the node stops: what cannot be recorded now is left
	brake    guard.Brake
	at       [3]clock.Instant // by stream: the time of what was checked last
	accounts int              // how far the sweep of balances has come
	next     schedule

	mu      sync.Mutex
	running bool
	health  health
	board   client.Status
}

// schedule is when the loop does what it does now and then.
type schedule struct{ sweep, canary, snapshot, heartbeat clock.Instant }

// health is what MoneyOutAllowed decides by.
type health struct {
	through  clock.Instant // both streams checked and recorded up to here
	canary   clock.Instant // when all canaries were last found
	withheld clock.Instant // since when stops are withheld; zero while they are not
}

// Open opens the guard's records and takes up the checker where it was. Kinds as of guard/store; a
// snapshot that is damaged is set aside, and both streams are read from their beginnings.
func Open(ctx context.Context, config Config, deps Deps) (*Engine, error) {
	if config.Mode == "" {
		config.Mode = Enforce
	}
	if config.Mode != Enforce && config.Mode != DryRun {
		return nil, errs.New(errs.Invalid, "guard.open: mode %q, want enforce or dry_run", config.Mode)
	}
	if deps.Clock == nil {
		deps.Clock = wallclock.System()
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	records, err := store.Open(ctx, config.Dir, deps.Files)
	if err != nil {
		return nil, errs.Wrap(err, "guard.open")
	}
	e := &Engine{config: config.filled(), deps: deps, store: records}
	e.taker = stop.New(deps.Ledger, deps.Clock, e.stopped)
	e.brake = guard.Brake{Accounts: config.AccountFreezes, Codes: config.CodeFreezes}
	if err := e.restore(ctx); err != nil {
		return nil, errors.Join(errs.Wrap(err, "guard.open"), records.Close())
	}
	return e, nil
}

// restore takes up the checker from its snapshot, or begins anew.
func (e *Engine) restore(ctx context.Context) error {
	now := e.deps.Clock.Now()
	batch := uint64(0)
	err := e.store.LoadSnapshot(func(r io.Reader, last uint64) error {
		c, err := guard.ReadSnapshot(r, e.config.Limits, now)
		e.checker, batch = c, last
		return err
	})
	switch {
	case errs.Is(err, errs.NotFound), errs.Is(err, errs.Corrupt), err == nil && batch > e.store.LastBatch():
		if !errs.Is(err, errs.NotFound) {
			e.deps.Log.Error("the snapshot cannot be used; all is checked from the beginning", "error", err)
		}
		e.checker, batch = guard.New(e.config.Limits), 0
	case err != nil:
		return err
	}
	e.checker.Blind(e.config.Blind...)
	if e.settled, err = e.store.Settled(ctx, batch); err != nil {
		return err
	}
	if e.health.through, err = e.store.Through(ctx); err != nil {
		return err
	}
	if e.health.through == 0 {
		e.health.through = now // nothing was ever checked, so nothing is unchecked for long
	}
	e.board = client.Status{State: client.Grey, Mode: string(e.config.Mode)}
	return nil
}

// Close closes the records. Run must have returned.
func (e *Engine) Close() error { return e.store.Close() }

// Run reads and checks until the context ends; then it records what is left and saves the
// checker's state. It returns nil where only the context ended it.
func (e *Engine) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	outbox := make(chan source.Batch, queueMax)
	feed := make(chan source.Batch, queueMax)
	failed := func(err error) { e.deps.Log.Warn("a stream cannot be read", "error", err) }
	readers := [...]*source.Reader{
		source.NewOutboxReader(e.deps.Outbox, e.checker.Position(guard.StreamOutbox)+1, e.deps.Clock, failed),
		source.NewFeedReader(e.deps.Ledger, e.checker.Position(guard.StreamFeed)+1, e.deps.Clock, failed),
	}
	var group sync.WaitGroup
	group.Go(func() { _ = readers[0].Run(inner, outbox) }) // ends with the context only
	group.Go(func() { _ = readers[1].Run(inner, feed) })
	group.Go(func() { _ = e.taker.Run(inner) })
	err := e.resume(context.WithoutCancel(ctx))
	if err == nil {
		e.canary()
		e.setRunning(true)
		err = e.loop(ctx, outbox, feed)
	}
	e.setRunning(false)
	cancel()
	group.Wait()
	return errs.Wrap(err, "guard.run")
}

func (e *Engine) setRunning(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = on
}

// resume takes the stops that a crash left planned.
func (e *Engine) resume(ctx context.Context) error {
	planned, err := e.store.Unfinished(ctx)
	for _, f := range planned {
		e.taker.Take(f)
	}
	return err
}

// loop is the goroutine that owns the checker.
func (e *Engine) loop(ctx context.Context, outbox, feed <-chan source.Batch) error {
	for {
		from, to := e.paused(outbox, feed)
		timer := e.deps.Clock.NewTimer(tickEvery)
		idle := e.deps.Clock.Now()
		select {
		case b := <-from:
			e.woke(idle)
			e.take(&b)
		case b := <-to:
			e.woke(idle)
			e.take(&b)
		case <-timer.C():
			e.woke(idle)
			e.tick(ctx)
		case <-ctx.Done():
			timer.Stop()
			return e.end()
		}
		timer.Stop()
		if err := e.flush(ctx, false); err != nil && ctx.Err() == nil {
			return err
		}
		e.work(ctx)
	}
}

// woke looks at how long the loop waited. The timer wakes it every tickEvery; a wait far beyond
// that means that the process, or the whole machine, did not run.
func (e *Engine) woke(idle clock.Instant) {
	if span := e.deps.Clock.Now().Sub(idle); span > sleptAfter {
		e.deps.Log.Warn("nothing ran for a while; what waits for postings waits that much longer",
			"milliseconds", int64(span/clock.Millisecond))
		e.checker.Slept(span)
	}
}

// paused returns the streams to read from: without the one that is ahead in time, where much waits
// for the other.
func (e *Engine) paused(outbox, feed <-chan source.Batch) (from, to <-chan source.Batch) {
	switch {
	case e.checker.Open() < aheadMax:
		return outbox, feed
	case e.at[guard.StreamOutbox] > e.at[guard.StreamFeed]:
		return nil, feed
	}
	return outbox, nil
}

// take hands a batch of a stream to the checker.
func (e *Engine) take(b *source.Batch) {
	for i := range b.Events {
		e.step(&guard.Input{Kind: guard.InputEvent, Event: &b.Events[i]})
		e.at[b.Stream] = b.Events[i].At
	}
	for i := range b.Entries {
		e.step(&guard.Input{Kind: guard.InputEntry, Entry: &b.Entries[i]})
		e.at[b.Stream] = b.Entries[i].Timestamp
		e.follow(&b.Entries[i])
	}
	if b.Ended {
		e.ended[b.Stream] = true
		e.step(&guard.Input{Kind: guard.InputRead, Stream: b.Stream, Last: b.Last, Began: b.Began})
	}
}

// step gives the checker one input and gathers its verdicts.
func (e *Engine) step(in *guard.Input) {
	in.Now = e.deps.Clock.Now()
	for _, v := range e.checker.Step(in) {
		e.gather(&v, in.Now)
	}
}

// gather adds a verdict to the batch, unless it is durable from before a restart.
func (e *Engine) gather(v *guard.Verdict, now clock.Instant) {
	if v.Kind != guard.Breached && len(e.settled) > 0 {
		id := v.Event
		if v.Kind == guard.Resolved {
			id = v.BreachID
		}
		if _, known := e.settled[id]; known {
			delete(e.settled, id)
			return
		}
	}
	if e.batch.Empty() {
		e.since = now
	}
	switch v.Kind {
	case guard.Checked:
		e.batch.Checked = append(e.batch.Checked, store.Pair{Subject: v.Subject, Event: v.Event})
	case guard.Failed:
		e.batch.Failed = append(e.batch.Failed, store.Pair{Subject: v.Subject, Event: v.Event})
	case guard.Resolved:
		e.batch.Resolved = append(e.batch.Resolved, v.BreachID)
	case guard.Breached:
		e.batch.Alarms = append(e.batch.Alarms, store.Alarm{Breach: v.Breach})
		e.alarmed = true
	}
}

// tick tells the checker that time passes.
func (e *Engine) tick(context.Context) { e.step(&guard.Input{Kind: guard.InputTick}) }

// work does what is done now and then.
func (e *Engine) work(ctx context.Context) {
	now := e.deps.Clock.Now()
	if now >= e.next.sweep {
		e.sweep(ctx)
		e.next.sweep = now.Add(e.config.SweepEvery)
		e.publish(ctx)
	}
	if now >= e.next.canary {
		e.canary()
	}
	if e.next.snapshot == 0 {
		e.next.snapshot = now.Add(e.config.SnapshotEvery)
	}
	if now >= e.next.snapshot {
		e.snapshot(ctx)
		e.next.snapshot = now.Add(e.config.SnapshotEvery)
	}
}

// canary plants the faults and notes whether all were found.
func (e *Engine) canary() {
	e.step(&guard.Input{Kind: guard.InputCanary})
	now := e.deps.Clock.Now()
	e.next.canary = now.Add(e.config.CanaryEvery)
	for _, outcome := range e.checker.Canaries() {
		if !outcome.Found {
			e.deps.Log.Error("a planted fault was not found", "rule", outcome.Rule.String())
			return
		}
	}
	e.mu.Lock()
	e.health.canary = now
	e.mu.Unlock()
}

// sweep compares the ledger's sums, and some of its balances, with the books. It looks only where
// the checker keeps up: a comparison with books that lag far behind would watch half the ledger.
func (e *Engine) sweep(ctx context.Context) {
	if e.deps.Clock.Now().Sub(e.through()) > sweepLag || e.checker.Watching() >= sweepAccounts {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := e.deps.Clock.NewTimer(sweepWait)
	defer timer.Stop()
	go func() {
		select {
		case <-timer.C():
			cancel()
		case <-ctx.Done():
		}
	}()
	totals, err := e.deps.Ledger.ClassTotals(ctx)
	if err != nil {
		e.deps.Log.Warn("the ledger's totals cannot be read", "error", err)
		return
	}
	e.step(&guard.Input{Kind: guard.InputTotals, Totals: totals})
	accounts, err := e.deps.Ledger.ListAccounts(ctx, e.accounts, sweepAccounts)
	if err != nil {
		e.deps.Log.Warn("the ledger's accounts cannot be read", "error", err)
		return
	}
	e.accounts += len(accounts)
	if len(accounts) < sweepAccounts {
		e.accounts = 0
	}
	e.step(&guard.Input{Kind: guard.InputBalances, Accounts: accounts})
}

// end records what is left and saves the checker's state, when the context has ended. It tries
// once: on a full disk the stop must not wait for room, and the next start checks again what is not
// recorded.
func (e *Engine) end() error {
	e.ending = true
	if err := e.flush(context.Background(), true); err != nil {
		return err
	}
	if !e.again() {
		return nil // the older snapshot stays: see again
	}
	return e.save()
}

// snapshot saves the checker's state between two batches.
func (e *Engine) snapshot(ctx context.Context) {
	if !e.again() {
		return // verdicts found before the crash are still to be found again: see settled
	}
	if e.flush(ctx, true) != nil {
		return // the context has ended: end comes next
	}
	if err := e.save(); err != nil {
		e.deps.Log.Error("the checker's state cannot be saved", "error", err)
	}
}

// again reports whether everything that was recorded before the start has been found again: a
// snapshot taken earlier would forget which of the verdicts behind it are durable.
func (e *Engine) again() bool {
	return len(e.settled) == 0 || e.ended[guard.StreamOutbox] && e.ended[guard.StreamFeed]
}

func (e *Engine) save() error { return e.store.SaveSnapshot(e.checker.WriteSnapshot) }
