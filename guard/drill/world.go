package drill

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/guard"
	"surety/guard/client"
	"surety/guard/engine"
	"surety/ledger"
	"surety/sys/wallclock"
)

// world is what a drill runs in: a ledger, an outbox, and a guard that reads both and freezes for
// real.
type world struct {
	clock  wallclock.Clock
	ledger Ledger
	book   *book
	outbox *outbox
	guard  *engine.Engine
	stop   context.CancelFunc
	done   chan error

	mu      sync.Mutex
	alarms  []heard
	news    chan struct{} // closed and replaced at each alarm
	created map[ident.ID]bool
}

// heard is an alarm and when it was durable.
type heard struct {
	breach *guard.Breach
	at     clock.Instant
}

// The drill's own times: short enough for a run of minutes, long enough for a busy machine.
const (
	drillDeadline = 2 * clock.Second
	drillGrace    = 500 * clock.Millisecond
	drillSweep    = 100 * clock.Millisecond
)

func openWorld(ctx context.Context, cfg *Config, log *slog.Logger) (*world, error) {
	w := &world{clock: wallclock.System(), news: make(chan struct{}), created: map[ident.ID]bool{}}
	w.ledger = cfg.Ledger
	if w.ledger == nil {
		w.ledger = newMemory(w.clock)
	}
	w.book, w.outbox = newBook(w.ledger), newOutbox(w.clock.Now)
	var err error
	w.guard, err = engine.Open(ctx, engine.Config{
		Dir: filepath.Join(cfg.Dir, "guard"),
		Limits: guard.Limits{PostingDeadline: drillDeadline, OrphanGrace: drillGrace,
			ClearingMax: drillGrace},
		SweepEvery: drillSweep, AccountFreezes: 1 << 20, CodeFreezes: 1 << 20, Blind: cfg.Blind,
	}, engine.Deps{Outbox: w.outbox, Ledger: w.book, Clock: w.clock, Log: log, Alarm: w.hear})
	if err != nil {
		return nil, errs.Wrap(err, "drill.open")
	}
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop, w.done = stop, make(chan error, 1)
	go func() { w.done <- w.guard.Run(inner) }()
	return w, nil
}

// close stops the guard.
func (w *world) close() error {
	w.stop()
	return errors.Join(<-w.done, w.guard.Close())
}

// hear notes an alarm.
func (w *world) hear(b *guard.Breach) {
	at := w.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alarms = append(w.alarms, heard{b, at})
	close(w.news)
	w.news = make(chan struct{})
}

// after returns the alarms from the n-th on, and a channel that closes at the next.
func (w *world) after(n int) ([]heard, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alarms[min(n, len(w.alarms)):], w.news
}

// pause waits on the world's clock.
func (w *world) pause(ctx context.Context, d clock.Duration) {
	timer := w.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
}

// swept waits until the guard has swept twice more, and so has seen the ledger as it is now.
func (w *world) swept(ctx context.Context) {
	for from := w.book.sweeps(); w.book.sweeps() < from+3 && ctx.Err() == nil; {
		w.pause(ctx, drillSweep/4)
	}
}

// perform writes an act's event and carries out its order.
func (w *world) perform(ctx context.Context, a *Act) (ledger.TransferResult, error) {
	w.outbox.emit(a.Event)
	return w.carry(ctx, a.Accounts, a.Transfers)
}

// carry creates accounts and posts a chain. It returns the first result that is neither success
// nor a consequence of another's failure.
func (w *world) carry(ctx context.Context, accounts []ledger.Account, transfers []ledger.Transfer) (
	ledger.TransferResult, error) {
	if err := w.create(ctx, accounts); err != nil || len(transfers) == 0 {
		return ledger.TransferOK, err
	}
	results, err := w.ledger.CreateTransfers(ctx, transfers)
	if err != nil {
		return ledger.TransferOK, err
	}
	for _, r := range results {
		if r != ledger.TransferOK && r != ledger.TransferLinkedEventFailed {
			return r, nil
		}
	}
	return ledger.TransferOK, nil
}

// create makes the accounts that were not made yet.
func (w *world) create(ctx context.Context, accounts []ledger.Account) error {
	var fresh []ledger.Account
	w.mu.Lock()
	for _, a := range accounts {
		if !w.created[a.ID] {
			fresh = append(fresh, a)
		}
	}
	w.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	results, err := w.ledger.CreateAccounts(ctx, fresh)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, r := range results {
		if r != ledger.AccountOK && r != ledger.AccountExists {
			return errs.New(errs.Internal, "drill: account of class %d: %s", fresh[i].Code, r)
		}
		w.created[fresh[i].ID] = true
	}
	return nil
}

// clean performs an act of the clean traffic, which the ledger must accept.
func (w *world) clean(ctx context.Context, a *Act) error {
	result, err := w.perform(ctx, a)
	if err == nil && result != ledger.TransferOK {
		err = errs.New(errs.Internal, "drill: clean %s was refused: %s", a.Event.Kind, result)
	}
	return err
}

// withdraw cancels an event whose order was refused, as a service does.
func (w *world) withdraw(e *event.Event) {
	c := withdrawal(e)
	w.outbox.emit(c.Event)
}

// operators are the two people who release what a drill froze.
var operators = [2]ident.ID{ident.Derive("actor", "drill operator"),
	ident.Derive("actor", "drill second operator")}

// thaw releases every code and ledger that is frozen, in two people's names, so that the drill can
// go on.
func (w *world) thaw(ctx context.Context) error {
	freezes, err := w.ledger.Freezes(ctx)
	if err != nil {
		return err
	}
	for _, f := range freezes {
		if f.Scope == ledger.FreezeAccount {
			continue
		}
		err := w.guard.RequestRelease(ctx, f.ID, operators[0], "the drill goes on")
		if err == nil {
			err = w.guard.ApproveRelease(ctx, f.ID, operators[1])
		}
		if err != nil && !errs.Is(err, errs.Refused) {
			return err
		}
	}
	return nil
}

// frozen waits until nothing of a breach's stops is on its way any more, at most a second, and
// returns when the first came into force, or why none did.
func (w *world) frozen(ctx context.Context, breach ident.ID) (at clock.Instant, why string) {
	for range 200 {
		b, err := w.guard.Breach(ctx, breach)
		planned := err != nil
		for _, s := range b.Stops {
			switch s.Outcome {
			case client.StopInForce:
				return s.TakenAt, ""
			case client.StopPlanned:
				planned = true
			default:
				why = s.Outcome + " " + s.Detail
			}
		}
		if !planned {
			return 0, why
		}
		w.pause(ctx, 5*clock.Millisecond)
	}
	return 0, "no answer"
}
