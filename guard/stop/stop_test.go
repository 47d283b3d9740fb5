package stop

import (
	"context"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/guard/client"
	"surety/ledger"
	"surety/sys/wallclock"
)

// freezer is a ledger core that fails when told to.
type freezer struct {
	state   *ledger.State
	fails   int
	batches []int
}

func newFreezer() *freezer {
	f := &freezer{state: ledger.NewState(ledger.Limits{})}
	f.state.CreateAccounts([]ledger.Account{{ID: ident.ID{Lo: 1}, Ledger: 156, Code: 300}}, 10, nil)
	return f
}

func (f *freezer) ApplyFreezes(_ context.Context, batch []ledger.Freeze) ([]ledger.FreezeResult, error) {
	if f.fails > 0 {
		f.fails--
		return nil, errs.New(errs.Unavailable, "away")
	}
	f.batches = append(f.batches, len(batch))
	return f.state.ApplyFreezes(batch, f.state.NextTimestamp(0, len(batch)), nil), nil
}

func freezeOf(n, account uint64) ledger.Freeze {
	return ledger.Freeze{ID: ident.ID{Lo: n, Hi: 5}, AccountID: ident.ID{Lo: account},
		Actor: ident.ID{Lo: 77}, Reason: 301, Scope: ledger.FreezeAccount, Sides: ledger.FreezeBoth}
}

func TestTakerAnswersForEveryStop(t *testing.T) {
	f := newFreezer()
	f.fails = 1
	manual := wallclock.NewManual(0)
	answers := make(chan []Outcome, 10)
	taker := New(f, manual, func(_ context.Context, list []Outcome) { answers <- list })
	for n := range uint64(3) {
		taker.Take(freezeOf(n+1, 1))
	}
	taker.Take(freezeOf(1, 1)) // once more: it is in force
	taker.Take(freezeOf(9, 404))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- taker.Run(ctx) }()
	for len(answers) == 0 { // the first try fails, and time must pass
		manual.Advance(retryAfter)
	}
	want := []string{client.StopInForce, client.StopInForce, client.StopInForce, client.StopInForce,
		client.StopRefused}
	list := <-answers
	if len(list) != len(want) {
		t.Fatalf("%d outcomes, want %d", len(list), len(want))
	}
	for i, o := range list {
		if o.What != want[i] || (o.Detail != "") != (o.What == client.StopRefused) {
			t.Errorf("stop %d: %+v, want %s", i+1, o, want[i])
		}
	}
	stop()
	if err := <-done; !errs.Is(err, errs.Canceled) {
		t.Errorf("the taker ended with %v, want kind canceled", err)
	}
	if len(f.batches) != 1 {
		t.Errorf("stops were taken in batches of %v, want one", f.batches)
	}
}

func TestTakerHasALimit(t *testing.T) {
	taker := New(newFreezer(), wallclock.NewManual(0), nil)
	for n := range uint64(queueMax) {
		if !taker.Take(freezeOf(n+1, 1)) {
			t.Fatalf("stop %d was not taken, the limit is %d", n+1, queueMax)
		}
	}
	if taker.Take(freezeOf(1<<20, 1)) {
		t.Error("a stop beyond the limit was taken")
	}
}

func TestReleaseByTwo(t *testing.T) {
	ctx, f := context.Background(), newFreezer()
	freeze := freezeOf(1, 1)
	if _, err := f.ApplyFreezes(ctx, []ledger.Freeze{freeze}); err != nil {
		t.Fatal(err)
	}
	alice, bob := ident.ID{Lo: 1, Hi: 1}, ident.ID{Lo: 2, Hi: 1}
	if err := Release(ctx, f, ReleaseOf(freeze.ID, alice, alice, 1)); !errs.Is(err, errs.Refused) {
		t.Errorf("a release in one name: %v, want kind refused", err)
	}
	for range 2 { // again is harmless
		if err := Release(ctx, f, ReleaseOf(freeze.ID, alice, bob, 1)); err != nil {
			t.Errorf("a release in two names: %v", err)
		}
	}
	if f.state.AccountFrozen(ident.ID{Lo: 1}) != 0 {
		t.Error("the account is still frozen")
	}
	f.fails = 1
	if err := Release(ctx, f, ReleaseOf(freeze.ID, bob, alice, 1)); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a ledger that is away: %v, want kind unavailable", err)
	}
}
