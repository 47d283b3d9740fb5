package store

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

func openStore(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func application(name string) *Application {
	return &Application{
		ID: ident.Derive("application", name), Trace: ident.Derive("trace", name),
		Customer: ident.Derive("customer", name), Phone: ident.Derive("phone", "shared"),
		Key: name, FormDigest: [32]byte{1}, SealedForm: []byte("sealed"), Origin: "api",
		Status: StatusReceived, ReceivedAt: 5, BusinessDate: 100, Product: "p", Currency: "CNY",
		Requested: 100, Term: 12, Inputs: []byte("inputs"),
	}
}

func received(a *Application) *event.Event {
	return &event.Event{ID: ident.Derive("event", a.ID.String()), Kind: event.ApplicationReceived,
		Application: a.ID, Customer: a.Customer}
}

func TestApplicationLife(t *testing.T) {
	ctx := t.Context()
	s := openStore(t, filepath.Join(t.TempDir(), "lending.db"))
	a := application("one")
	if err := s.Commit(ctx, InsertApplication(a), Emit(received(a))); err != nil {
		t.Fatal(err)
	}
	if a.Number != 1 {
		t.Errorf("number %d, want 1", a.Number)
	}
	undecided, err := s.Undecided(ctx, 0, 10)
	if err != nil || len(undecided) != 1 || undecided[0].ID != a.ID {
		t.Fatalf("undecided %v, %v", undecided, err)
	}
	a.Status, a.Outcome, a.Decision, a.DecidedAt = StatusApproved, "approve", []byte("d"), 9
	a.Loan = ident.Derive("loan", "one")
	if err := s.Commit(ctx, DecideApplication(a)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(ctx, DecideApplication(a)); !errs.Is(err, errs.NotFound) {
		t.Errorf("deciding twice: %v", err)
	}
	got, err := s.ApplicationByKey(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	if got.Loan != a.Loan || got.Outcome != "approve" || string(got.SealedForm) != "sealed" ||
		got.Trace != a.Trace || got.BusinessDate != 100 || got.DecidedAt != 9 {
		t.Errorf("read back %+v", got)
	}
	if _, err := s.Application(ctx, ident.ID{Lo: 9}); !errs.Is(err, errs.NotFound) {
		t.Errorf("unknown application: %v", err)
	}
	v, err := s.Velocity(ctx, a.Customer, a.Phone, 100)
	if err != nil || v != (Velocity{Before: true, Open: 1, Day: 1, Month: 1, PhoneDay: 1}) {
		t.Errorf("velocity %+v, %v", v, err)
	}
	v, err = s.Velocity(ctx, a.Customer, a.Phone, 129)
	if err != nil || v != (Velocity{Before: true, Open: 1, Month: 1}) {
		t.Errorf("velocity on the last day of the window %+v, %v", v, err)
	}
	if v, err = s.Velocity(ctx, a.Customer, a.Phone, 130); err != nil || v.Month != 0 {
		t.Errorf("velocity after the window %+v, %v", v, err)
	}
}

// TestKeyIsUnique commits the same idempotency key twice: the second act leaves nothing behind,
// its event included, and the sequence has no gap.
func TestKeyIsUnique(t *testing.T) {
	ctx := t.Context()
	s := openStore(t, filepath.Join(t.TempDir(), "lending.db"))
	first, second := application("one"), application("two")
	second.Key = "one"
	if err := s.Commit(ctx, InsertApplication(first), Emit(received(first))); err != nil {
		t.Fatal(err)
	}
	err := s.Commit(ctx, Emit(received(second)), InsertApplication(second))
	if !errs.Is(err, errs.Exists) {
		t.Fatalf("same key: %v", err)
	}
	third := application("three")
	if err := s.Commit(ctx, InsertApplication(third), Emit(received(third))); err != nil {
		t.Fatal(err)
	}
	events, err := s.Events(ctx, 0, 10)
	if err != nil || len(events) != 2 || events[1].Seq != 2 || events[1].Application != third.ID {
		t.Fatalf("events %+v, %v", events, err)
	}
}

func TestEventIsWrittenOnce(t *testing.T) {
	ctx := t.Context()
	s := openStore(t, filepath.Join(t.TempDir(), "lending.db"))
	e := received(application("one"))
	if err := s.Commit(ctx, Emit(e)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(ctx, Emit(e)); !errs.Is(err, errs.Exists) {
		t.Errorf("same event: %v", err)
	}
}

// TestOutboxIsGaplessUnderConcurrency commits from many goroutines while a reader follows.
func TestOutboxIsGaplessUnderConcurrency(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "lending.db")
	s := openStore(t, path)
	const writers, each = 16, 25
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				e := received(application(string(rune('a'+w)) + string(rune('a'+i))))
				if err := s.Commit(ctx, Emit(e)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var next uint64
	for next < writers*each {
		if err := s.Wait(ctx, next); err != nil {
			t.Fatal(err)
		}
		events, err := s.Events(ctx, next, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Seq != next+1 {
				t.Fatalf("event %d after %d", e.Seq, next)
			}
			next = e.Seq
		}
	}
	group.Wait()
	if s.LastEvent() != writers*each {
		t.Errorf("last event %d", s.LastEvent())
	}
}

func TestReopenContinues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lending.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	a := application("one")
	i := &Instruction{Event: received(a).ID, Kind: event.LimitReserved, Application: a.ID,
		Body: []byte("body")}
	err = s.Commit(t.Context(), InsertApplication(a), Emit(received(a)), Instruct(i),
		PutSetting("business_date", "2026-01-02"), PutArtefact([32]byte{7}, "model", []byte("m")))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, path)
	if s.LastEvent() != 1 {
		t.Errorf("last event %d", s.LastEvent())
	}
	list, err := s.Instructions(t.Context(), 0, 10)
	if err != nil || len(list) != 1 || list[0].Event != i.Event || string(list[0].Body) != "body" {
		t.Errorf("instructions %+v, %v", list, err)
	}
	if v, err := s.Setting(t.Context(), "business_date"); err != nil || v != "2026-01-02" {
		t.Errorf("setting %q, %v", v, err)
	}
	if kind, body, err := s.Artefact(t.Context(), [32]byte{7}); err != nil || kind != "model" || string(body) != "m" {
		t.Errorf("artefact %q %q, %v", kind, body, err)
	}
	if err := s.Commit(t.Context(), Settle(i.Event)); err != nil {
		t.Fatal(err)
	}
	if list, _ = s.Instructions(t.Context(), 0, 10); len(list) != 0 {
		t.Errorf("instructions after settling %+v", list)
	}
}

func TestLoansDue(t *testing.T) {
	ctx := t.Context()
	s := openStore(t, filepath.Join(t.TempDir(), "lending.db"))
	for i, due := range []clock.Date{30, 10, 20} {
		l := &Loan{ID: ident.ID{Lo: uint64(i + 1)}, Application: ident.ID{Lo: uint64(i + 100)},
			Status: LoanActive, Contract: []byte("c"), State: []byte("s"), NextAction: due, TruePD: -1}
		if err := s.Commit(ctx, InsertLoan(l)); err != nil {
			t.Fatal(err)
		}
	}
	due, err := s.DueLoans(ctx, 20, nil)
	if err != nil || len(due) != 2 || due[0].NextAction != 10 || due[1].NextAction != 20 {
		t.Fatalf("due %+v, %v", due, err)
	}
	due[0].Status, due[0].State = LoanClosed, []byte("t")
	if err := s.Commit(ctx, UpdateLoan(&due[0])); err != nil {
		t.Fatal(err)
	}
	got, err := s.Loan(ctx, due[0].ID)
	if err != nil || got.Status != LoanClosed || string(got.State) != "t" || got.TruePD != -1 {
		t.Errorf("read back %+v, %v", got, err)
	}
	page, err := s.Loans(ctx, Page{Filter: LoanActive, Before: 3})
	if err != nil || len(page) != 1 || page[0].Number != 1 {
		t.Errorf("page %+v, %v", page, err)
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "lending.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Wait(ctx, 0)
	if !errs.Is(err, errs.Canceled) || !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
}

func TestRepaymentReference(t *testing.T) {
	ctx := t.Context()
	s := openStore(t, filepath.Join(t.TempDir(), "lending.db"))
	r := &Repayment{Reference: "r1", Loan: ident.ID{Lo: 1}, Amount: 5, Event: ident.ID{Lo: 2},
		Result: []byte("x")}
	if _, found, err := s.Repayment(ctx, "r1"); found || err != nil {
		t.Fatalf("before: %v %v", found, err)
	}
	if err := s.Commit(ctx, InsertRepayment(r)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(ctx, InsertRepayment(r)); !errs.Is(err, errs.Exists) {
		t.Errorf("same reference: %v", err)
	}
	got, found, err := s.Repayment(ctx, "r1")
	if err != nil || !found || got.Amount != 5 || got.Event != r.Event {
		t.Errorf("read back %+v %v %v", got, found, err)
	}
}
