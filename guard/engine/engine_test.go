package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/guard"
	"surety/guard/client"
	"surety/ledger"
)

var (
	alice = ident.Derive("actor", "alice")
	bob   = ident.Derive("actor", "bob")
)

func TestBreachIsRecordedAndStopped(t *testing.T) {
	w := newWorld(t, Config{})
	w.start()
	account := w.fault(1)
	w.eventually("the breach is stopped", func() bool {
		list := w.breaches(guard.PostingAmount)
		return len(list) == 1 && len(list[0].Stops) == 1 && list[0].Stops[0].Outcome == client.StopInForce
	})
	b := w.breaches(guard.PostingAmount)[0]
	if b.Class != "3.1" || b.Currency != "CNY" || b.AtRisk.String() != "1" || b.State != client.Open {
		t.Errorf("breach %+v", b)
	}
	if strings.Join(b.Differing, ",") != "amount" {
		t.Errorf("differing fields are %v, want amount", b.Differing)
	}
	var body struct {
		Kind string
		Seq  uint64
	}
	if err := json.Unmarshal([]byte(b.EventBody), &body); err != nil || body.Kind != "limit.granted" ||
		body.Seq != 0 {
		t.Errorf("the breach shows the event %q: %v", b.EventBody, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.state.AccountFrozen(account); got != ledger.FreezeBoth {
		t.Errorf("sides %d of the account are frozen, want both", got)
	}
}

func TestReleaseNeedsTwoPeople(t *testing.T) {
	w := newWorld(t, Config{})
	w.start()
	account := w.fault(1)
	w.eventually("the stop is in force", func() bool {
		list := w.breaches(guard.PostingAmount)
		return len(list) == 1 && len(list[0].Stops) == 1 && list[0].Stops[0].Outcome == client.StopInForce
	})
	freeze := w.breaches(guard.PostingAmount)[0].Stops[0].Freeze
	ctx := context.Background()
	const granting errs.Kind = 255 // no error
	request := func(freeze, actor ident.ID, reason string) func() error {
		return func() error { return w.guard.RequestRelease(ctx, freeze, actor, reason) }
	}
	approve := func(freeze, actor ident.ID) func() error {
		return func() error { return w.guard.ApproveRelease(ctx, freeze, actor) }
	}
	for _, row := range []struct {
		what string
		do   func() error
		kind errs.Kind
	}{
		{"approving what nobody asked for", approve(freeze, bob), errs.Refused},
		{"asking without a name", request(freeze, ident.ID{}, "r"), errs.Forbidden},
		{"asking in the guard's name", request(freeze, Actor, "r"), errs.Forbidden},
		{"asking without a reason", request(freeze, alice, ""), errs.Invalid},
		{"asking for a stop that is not there", request(alice, alice, "r"), errs.NotFound},
		{"asking", request(freeze, alice, "mended"), granting},
		{"asking again", request(freeze, bob, "mended"), errs.Refused},
		{"approving alone", approve(freeze, alice), errs.Refused},
		{"approving without a name", approve(freeze, ident.ID{}), errs.Forbidden},
	} {
		err := row.do()
		if row.kind == granting && err != nil || row.kind != granting && !errs.Is(err, row.kind) {
			t.Errorf("%s: %v", row.what, err)
		}
	}
	if err := w.guard.ApproveRelease(ctx, freeze, bob); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	frozen := w.state.AccountFrozen(account)
	w.mu.Unlock()
	if frozen != 0 {
		t.Errorf("sides %d are frozen after the release", frozen)
	}
	p := w.breaches(guard.PostingAmount)[0].Stops[0]
	if p.Outcome != client.StopReleased || p.RequestedBy != alice || p.ApprovedBy != bob {
		t.Errorf("the stop is %+v", p)
	}
}

func TestDryRunStopsNothing(t *testing.T) {
	w := newWorld(t, Config{Mode: DryRun})
	w.start()
	w.fault(1)
	w.eventually("the breach is recorded", func() bool { return len(w.breaches(guard.PostingAmount)) == 1 })
	p := w.breaches(guard.PostingAmount)[0].Stops
	if len(p) != 1 || p[0].Outcome != client.StopDryRun {
		t.Errorf("stops are %+v, want one of a dry run", p)
	}
	w.end()
	if w.frozen != 0 {
		t.Errorf("a dry run went to the ledger %d times", w.frozen)
	}
}

func TestResolve(t *testing.T) {
	w := newWorld(t, Config{})
	w.start()
	w.fault(1)
	w.eventually("the breach is recorded", func() bool { return len(w.breaches(guard.PostingAmount)) == 1 })
	ctx, id := context.Background(), w.breaches(guard.PostingAmount)[0].ID
	for _, row := range []struct {
		r    client.Resolution
		kind errs.Kind
	}{
		{client.Resolution{Breach: id, State: "forgotten", Note: "n"}, errs.Invalid},
		{client.Resolution{Breach: id, State: client.False}, errs.Invalid},
		{client.Resolution{Breach: alice, State: client.False, Note: "n"}, errs.NotFound},
	} {
		if _, err := w.guard.Resolve(ctx, row.r); !errs.Is(err, row.kind) {
			t.Errorf("%+v: %v, want kind %s", row.r, err, row.kind)
		}
	}
	b, err := w.guard.Resolve(ctx, client.Resolution{Breach: id, State: client.Confirmed, Note: "seen", By: bob})
	if err != nil || b.State != client.Confirmed || b.By != bob || b.Note != "seen" {
		t.Errorf("resolved breach is %+v: %v", b, err)
	}
}

func TestMoneyOutFailsClosed(t *testing.T) {
	w := newWorld(t, Config{FailClosedAfter: 400 * clock.Millisecond})
	w.open()
	if err := w.guard.MoneyOutAllowed(); !errs.Is(err, errs.Unavailable) {
		t.Errorf("before the guard runs: %v, want kind unavailable", err)
	}
	w.config.CanaryEvery = 100 * clock.Millisecond
	w.guard.config.CanaryEvery = w.config.CanaryEvery
	w.run()
	w.eventually("money may leave", func() bool { return w.guard.MoneyOutAllowed() == nil })
	w.fail(errs.New(errs.Unavailable, "the outbox is away"))
	w.eventually("money-out is closed", func() bool {
		err := w.guard.MoneyOutAllowed()
		return err != nil && strings.Contains(err.Error(), "checked up to")
	})
	s, err := w.guard.Status(context.Background())
	if err != nil || s.MoneyOut || s.MoneyOutReason == "" {
		t.Errorf("the board says of money-out: %v, %q, %v", s.MoneyOut, s.MoneyOutReason, err)
	}
	w.fail(nil)
	w.eventually("money may leave again", func() bool { return w.guard.MoneyOutAllowed() == nil })
	w.end()
	if err := w.guard.MoneyOutAllowed(); !errs.Is(err, errs.Unavailable) {
		t.Errorf("after the guard has ended: %v, want kind unavailable", err)
	}
}

func TestBlindGuardTurnsRed(t *testing.T) {
	w := newWorld(t, Config{FailClosedAfter: 300 * clock.Millisecond, CanaryEvery: 50 * clock.Millisecond,
		Blind: []guard.Rule{guard.InterestWrong}})
	w.start()
	w.eventually("the canary's silence is a breach", func() bool {
		return len(w.breaches(guard.CheckerUnreliable)) == 1
	})
	w.eventually("the board is red", func() bool {
		s, err := w.guard.Status(context.Background())
		return err == nil && s.State == client.Red
	})
	w.eventually("money-out is closed", func() bool {
		err := w.guard.MoneyOutAllowed()
		return err != nil && strings.Contains(err.Error(), "planted faults")
	})
}

func TestTooManyStopsCloseMoneyOut(t *testing.T) {
	w := newWorld(t, Config{AccountFreezes: 1, CodeFreezes: 1})
	w.start()
	w.eventually("money may leave", func() bool { return w.guard.MoneyOutAllowed() == nil })
	for n := range uint64(4) {
		w.fault(n + 1)
	}
	w.eventually("stops are withheld and money-out is closed", func() bool {
		return len(w.breaches(guard.PostingAmount)) == 4 && w.guard.MoneyOutAllowed() != nil
	})
	outcomes := map[string]int{}
	for _, b := range w.breaches(guard.PostingAmount) {
		for _, p := range b.Stops {
			outcomes[p.Outcome]++
		}
		if _, err := w.guard.Resolve(context.Background(), client.Resolution{Breach: b.ID,
			State: client.Confirmed, Note: "one defect", By: alice}); err != nil {
			t.Fatal(err)
		}
	}
	if outcomes[client.StopWithheld] == 0 {
		t.Errorf("outcomes are %v, want some withheld", outcomes)
	}
	w.eventually("money may leave once all are resolved", func() bool {
		return w.guard.MoneyOutAllowed() == nil
	})
}

func TestBoardTurnsGreyBySilence(t *testing.T) {
	w := newWorld(t, Config{})
	w.open()
	s, err := w.guard.Status(context.Background())
	if err != nil || s.State != client.Grey {
		t.Errorf("a guard that has not looked yet is %q, want grey: %v", s.State, err)
	}
	w.run()
	w.emit(received(1))
	w.eventually("the board is green", func() bool {
		s, err := w.guard.Status(context.Background())
		return err == nil && s.State == client.Green && s.EventsChecked == 1
	})
	s, _ = w.guard.Status(context.Background())
	if len(s.Invariants) != len(guard.Invariants()) {
		t.Errorf("the board has %d tiles, want %d", len(s.Invariants), len(guard.Invariants()))
	}
	for i := range s.Invariants {
		tile := s.Invariants[i]
		judge(&tile, tile.CheckedAt.Add(tile.StaleAfter+1))
		if tile.State != client.Stale {
			t.Errorf("%s is %q after a long silence, want stale", tile.Name, tile.State)
		}
	}
}

func TestRestartGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t, Config{})
	w.start()
	w.fault(1)
	w.eventually("the breach is recorded", func() bool { return len(w.breaches(guard.PostingAmount)) == 1 })
	before := w.breaches(guard.PostingAmount)[0]
	w.end()
	w.fault(2) // while the guard is down
	w.start()
	w.eventually("what was missed is found", func() bool { return len(w.breaches(guard.PostingAmount)) == 2 })
	for _, b := range w.breaches(guard.PostingAmount) {
		if b.ID == before.ID && b.DetectedAt != before.DetectedAt {
			t.Error("the first breach was detected again")
		}
	}
	w.verdictsOnce(4)
	w.end()

	// Without its snapshot the guard checks all from the beginning, and doubles nothing.
	name := filepath.Join(w.config.Dir, "checker.snapshot")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.emit(received(3))
	w.eventually("the new event is checked", func() bool {
		s, err := w.guard.Status(context.Background())
		return err == nil && s.EventsChecked == 5
	})
	w.verdictsOnce(5)
	if n := len(w.breaches(guard.PostingAmount)); n != 2 {
		t.Errorf("%d breaches after all was checked again, want 2", n)
	}
}

// verdictsOnce checks that so many events have a verdict, and each one.
func (w *world) verdictsOnce(events int) {
	w.t.Helper()
	seen := map[string]int{}
	w.eventually("all verdicts are durable", func() bool {
		clear(seen)
		batches, err := w.guard.Verdicts(context.Background(), 0, 1000)
		if err != nil {
			w.t.Fatal(err)
		}
		for i, b := range batches {
			if b.Seq != uint64(i+1) {
				w.t.Fatalf("batch %d has number %d", i+1, b.Seq)
			}
			var body struct{ Checked, Failed [][2]string }
			if err := json.Unmarshal(b.Body, &body); err != nil {
				w.t.Fatal(err)
			}
			for _, pair := range append(body.Checked, body.Failed...) {
				seen[pair[1]]++
			}
		}
		return len(seen) >= events
	})
	for id, n := range seen {
		if n != 1 {
			w.t.Errorf("event %s has %d verdicts", id, n)
		}
	}
	if len(seen) != events {
		w.t.Errorf("%d events have verdicts, want %d", len(seen), events)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open(context.Background(), Config{Dir: t.TempDir(), Mode: "maybe"}, Deps{})
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("an unknown mode: %v, want kind invalid", err)
	}
	w := newWorld(t, Config{})
	w.start()
	_, err = Open(context.Background(), w.config, Deps{Outbox: w, Ledger: feed{w}})
	if !errs.Is(err, errs.Locked) {
		t.Errorf("a second guard on the same records: %v, want kind locked", err)
	}
}
