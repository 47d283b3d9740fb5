package engine

import (
	"context"
	"sync"
	"testing"
	"time"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/guard"
	"surety/guard/client"
	"surety/ledger"
	"surety/sys/wallclock"
)

// world is an outbox and a ledger core in memory, and the guard that reads both.
type world struct {
	t      *testing.T
	config Config
	clock  wallclock.Clock
	guard  *Engine
	stop   context.CancelFunc
	done   chan error

	mu      sync.Mutex
	events  []event.Event
	state   *ledger.State
	broken  error // what reads of the outbox answer
	changed chan struct{}
	frozen  int // calls of ApplyFreezes
}

func newWorld(t *testing.T, config Config) *world {
	config.Dir = t.TempDir()
	config.Limits = guard.Limits{PostingDeadline: 200 * clock.Millisecond,
		OrphanGrace: 50 * clock.Millisecond, ClearingMax: clock.Minute}
	config.SweepEvery = 20 * clock.Millisecond
	return &world{t: t, config: config, clock: wallclock.System(),
		state: ledger.NewState(ledger.Limits{}), changed: make(chan struct{})}
}

// start opens and runs the guard.
func (w *world) start() {
	w.t.Helper()
	w.open()
	w.run()
}

func (w *world) open() {
	w.t.Helper()
	g, err := Open(context.Background(), w.config, Deps{Outbox: w, Ledger: feed{w}, Clock: w.clock})
	if err != nil {
		w.t.Fatal(err)
	}
	w.guard = g
}

func (w *world) run() {
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.done = stop, make(chan error, 1)
	go func() { w.done <- w.guard.Run(ctx) }()
	w.t.Cleanup(w.end)
}

// end stops and closes the guard; again it does nothing.
func (w *world) end() {
	if w.stop == nil {
		return
	}
	w.stop()
	w.stop = nil
	if err := <-w.done; err != nil {
		w.t.Error(err)
	}
	if err := w.guard.Close(); err != nil {
		w.t.Error(err)
	}
}

// eventually waits until a condition holds.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-limit.C:
			w.t.Fatalf("it never came to pass that %s", what)
		}
	}
}

// breaches returns the stored breaches of a rule.
func (w *world) breaches(rule guard.Rule) (list []client.Breach) {
	w.t.Helper()
	all, err := w.guard.Breaches(context.Background(), client.Filter{Limit: 200})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range all {
		if b.Rule == rule.String() {
			list = append(list, b)
		}
	}
	return list
}

func (w *world) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// emit appends an event to the outbox.
func (w *world) emit(e event.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.Seq, e.At = uint64(len(w.events))+1, w.clock.Now()
	w.events = append(w.events, e)
	w.wake()
}

// post posts transfers between accounts, which it creates.
func (w *world) post(list ...ledger.Transfer) []ledger.TransferResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	results := w.state.CreateTransfers(list, w.state.NextTimestamp(w.clock.Now(), len(list)), nil)
	w.wake()
	return results
}

func (w *world) account(id ident.ID, class uint16, flags ledger.AccountFlags) {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := []ledger.Account{{ID: id, Ledger: 156, Code: class, Flags: flags}}
	w.state.CreateAccounts(batch, w.state.NextTimestamp(w.clock.Now(), 1), nil)
	w.wake()
}

// fail makes reads of the outbox answer with an error, or well again.
func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = err
	w.wake()
}

// Events returns events of the outbox.
func (w *world) Events(_ context.Context, after uint64, limit int) ([]event.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return nil, w.broken
	}
	rest := w.events[min(after, uint64(len(w.events))):]
	return append([]event.Event(nil), rest[:min(limit, len(rest))]...), nil
}

// Wait returns once there is an event after the position.
func (w *world) Wait(ctx context.Context, after uint64) error {
	return w.wait(ctx, func() bool { return uint64(len(w.events)) > after })
}

func (w *world) wait(ctx context.Context, holds func() bool) error {
	for {
		w.mu.Lock()
		ready, changed := holds(), w.changed
		w.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errs.As(errs.Canceled, ctx.Err(), "wait")
		}
	}
}

// feed is the world's ledger.
type feed struct{ *world }

func (f feed) Events(_ context.Context, from uint64, limit int) (list []ledger.Event, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ; from < f.state.EventsLen() && len(list) < limit; from++ {
		list = append(list, f.state.Event(from))
	}
	return list, nil
}

func (f feed) WaitEvents(ctx context.Context, next uint64) error {
	return f.wait(ctx, func() bool { return f.state.EventsLen() > next })
}

func (f feed) ApplyFreezes(_ context.Context, batch []ledger.Freeze) ([]ledger.FreezeResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen++
	results := f.state.ApplyFreezes(batch, f.state.NextTimestamp(f.clock.Now(), len(batch)), nil)
	f.wake()
	return results, nil
}

func (f feed) ClassTotals(context.Context) ([]ledger.ClassTotal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.ClassTotals(), nil
}

func (f feed) ListAccounts(_ context.Context, skip, limit int) ([]ledger.Account, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Accounts(nil, skip, limit), nil
}

// received is a sound event without postings.
func received(n uint64) event.Event {
	return event.Event{ID: ident.Derive("event", "received", ident.ID{Lo: n}.String()),
		Kind: event.ApplicationReceived, Date: clock.MustDate(2026, 5, 1),
		Application: ident.ID{Lo: n}, Customer: ident.ID{Lo: 1000 + n}, Product: "p", Currency: "CNY",
		Amounts: map[string]money.Amount{"requested": money.Minor(100)}}
}

// granted is an event that asks for one posting.
func granted(n, amount uint64) event.Event {
	e := received(n)
	e.ID, e.Kind = ident.Derive("event", "granted", ident.ID{Lo: n}.String()), event.LimitGranted
	e.Amounts = map[string]money.Amount{"limit": money.Minor(amount)}
	return e
}

// accountOf derives an account as the contract of events says.
func accountOf(class string, owner ident.ID) ident.ID {
	return ident.Derive("account", class, owner.String(), "CNY")
}

// grant posts a granted limit, with an amount that may be wrong.
func (w *world) grant(e *event.Event, amount uint64) ident.ID {
	limit := accountOf("900", e.Customer)
	contra := accountOf("910", ident.Derive("product", e.Product))
	w.account(limit, 900, ledger.AccountDebitsMustNotExceedCredits)
	w.account(contra, 910, 0)
	w.post(ledger.Transfer{ID: guard.TransferID(e.ID, 1), DebitAccountID: contra,
		CreditAccountID: limit, Amount: money.Minor(amount), UserData128: e.ID, UserData64: 1,
		UserData32: uint32(e.Date), Ledger: 156, Code: 10})
	return limit
}

// fault plants a posting with a wrong amount, and returns the account it went to.
func (w *world) fault(n uint64) ident.ID {
	w.emit(received(n))
	e := granted(n, 500)
	w.emit(e)
	return w.grant(&e, 501)
}
