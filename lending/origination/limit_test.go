package origination_test

import (
	"fmt"
	"sync"
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/lending"
	"surety/lending/lendingtest"
	"surety/lending/origination"
	"surety/lending/store"
)

// granted returns what the ledger has granted a customer, and what is unused of it.
func granted(t *testing.T, w *lendingtest.World, customer ident.ID) (sum, unused money.Amount) {
	t.Helper()
	id := lending.AccountID(lending.ClassLimit, customer, "CNY")
	page, err := w.Ledger.AccountTransfers(t.Context(), id,
		ledger.AccountFilter{Credits: true, Code: uint16(lending.LegLimit)})
	if err != nil {
		t.Fatal(err)
	}
	for _, transfer := range page.Transfers {
		sum, _ = sum.Add(transfer.Amount)
	}
	accounts, err := w.Ledger.LookupAccounts(t.Context(), []ident.ID{id})
	if err != nil {
		t.Fatal(err)
	}
	used, _ := accounts[0].DebitsPosted.Add(accounts[0].DebitsPending)
	unused, _ = accounts[0].CreditsPosted.Sub(used)
	return sum, unused
}

// limitOf returns the limit of a decision.
func limitOf(t *testing.T, row *store.Application) money.Amount {
	t.Helper()
	d, err := lending.DecodeDecision(row.Decision)
	if err != nil {
		t.Fatal(err)
	}
	return d.Limit
}

// next is another application of the same merchant.
func next(s origination.Submission, number int) origination.Submission {
	s.Key = fmt.Sprintf("%s-%d", s.Key, number)
	return s
}

// TestReservationRefused has the ledger refuse the limit, for each reason it can have: the applicant
// is declined, for his limit, by a decision that follows from its stored inputs.
func TestReservationRefused(t *testing.T) {
	const both = " application.received limit.granted limit.reserved event.cancelled event.cancelled" +
		" application.decided"
	tests := []struct {
		what   string
		stop   func(w *lendingtest.World, customer ident.ID) (release func())
		events string
	}{
		{"the reservation's code is frozen",
			func(w *lendingtest.World, _ ident.ID) func() { return w.FreezeCode(lending.LegReserve) },
			" application.received limit.granted limit.reserved event.cancelled application.decided"},
		{"the grant's code is frozen, and nothing was granted before",
			func(w *lendingtest.World, _ ident.ID) func() { return w.FreezeCode(lending.LegLimit) }, both},
	}
	for _, tt := range tests {
		w := lendingtest.New(t)
		release := tt.stop(w, ident.ID{})
		answer := submit(t, w, lendingtest.Merchant(1))
		row := answer.Application
		if row.Status != store.StatusDeclined || answer.Loan != nil || reasons(t, &row) != "limit_used" {
			t.Errorf("%s: %s for %s", tt.what, row.Status, reasons(t, &row))
		}
		if got := w.Kinds(row.ID); got != tt.events {
			t.Errorf("%s: events%s", tt.what, got)
		}
		replayed(t, w, &row)
		w.Audit()
		release()
		// What was granted then is not granted again.
		w.Lent(next(lendingtest.Merchant(1), 2))
		if sum, _ := granted(t, w, row.Customer); sum != money.Minor(270_000_00) {
			t.Errorf("%s: %s is granted in all", tt.what, sum)
		}
		w.Audit()
	}
}

// TestLimitAccountFrozen stops one customer and no other.
func TestLimitAccountFrozen(t *testing.T) {
	w := lendingtest.New(t)
	s := lendingtest.Merchant(1)
	s.Form.Amount = money.Minor(10_000_00)
	first := w.Lent(s)
	customer := first.Application.Customer
	release := w.Freeze(lending.AccountID(lending.ClassLimit, customer, "CNY"))
	answer := submit(t, w, next(s, 2))
	if got := reasons(t, &answer.Application); got != "limit_used" {
		t.Errorf("reasons %s", got)
	}
	w.Lent(lendingtest.Merchant(2))
	w.Audit()
	release()
	w.Lent(next(s, 3))
	w.Audit()
}

// TestGrantRefused lends within the limit that the customer had, where more is refused.
func TestGrantRefused(t *testing.T) {
	w := lendingtest.New(t)
	s := lendingtest.Merchant(1)
	s.Form.Amount, s.Form.MonthlyTurnover = money.Minor(10_000_00), money.Minor(45_000_00)
	first := w.Lent(s)
	before, _ := granted(t, w, first.Application.Customer)
	release := w.FreezeCode(lending.LegLimit)
	again := next(s, 2)
	again.Form.MonthlyTurnover = money.Minor(90_000_00)
	second := w.Lent(again)
	if got := w.Kinds(second.Application.ID); got != " application.received limit.granted limit.reserved"+
		" event.cancelled application.decided" {
		t.Errorf("events%s", got)
	}
	after, _ := granted(t, w, first.Application.Customer)
	if after != before || !before.Less(limitOf(t, &second.Application)) {
		t.Errorf("granted %s before, %s after, the decision says %s", before, after,
			limitOf(t, &second.Application))
	}
	replayed(t, w, &second.Application)
	w.Audit()
	release()
	third := w.Lent(next(again, 3))
	if sum, _ := granted(t, w, first.Application.Customer); sum != limitOf(t, &third.Application) {
		t.Errorf("granted %s, the decision says %s", sum, limitOf(t, &third.Application))
	}
	w.Audit()
}

// TestDisbursementRefused has the ledger refuse the money: the approval is withdrawn, no principal
// has moved, and the limit is granted once however often that happens.
func TestDisbursementRefused(t *testing.T) {
	w := lendingtest.New(t)
	release := w.FreezeCode(lending.LegDisburse)
	s := lendingtest.Merchant(1)
	s.Form.Amount = money.Minor(10_000_00)
	var last origination.Answer
	for i := range 3 {
		last = submit(t, w, next(s, i))
		row, loan := last.Application, last.Loan
		if row.Status != store.StatusCancelled || loan.Status != store.LoanCancelled ||
			row.CancelledReason != "code_frozen" || row.Outcome != "approve" {
			t.Errorf("application %s for %q, loan %s", row.Status, row.CancelledReason, loan.Status)
		}
		if got := w.Kinds(loan.ID); got != " contract.signed loan.disbursed event.cancelled" {
			t.Errorf("events%s", got)
		}
		if again := submit(t, w, next(s, i)); again.Application.Status != store.StatusCancelled ||
			again.Application.CancelledReason != "code_frozen" {
			t.Errorf("again: %s %s", again.Application.Status, again.Application.CancelledReason)
		}
		replayed(t, w, &row)
	}
	sum, unused := granted(t, w, last.Application.Customer)
	held, _ := sum.Sub(money.Minor(30_000_00))
	if sum != limitOf(t, &last.Application) || unused != held {
		t.Errorf("granted %s, unused %s", sum, unused)
	}
	if got := w.Balance(lending.ClassPrincipal, last.Loan.ID); !got.IsZero() {
		t.Errorf("principal %s", got)
	}
	w.Audit()
	release()
	// The reservations lapse within the hour, and the customer has all of his limit again.
	w.Clock.Advance(clock.Hour + clock.Second)
	w.SetToday(w.Today() + 1)
	w.Lent(next(s, 4))
	if _, unused := granted(t, w, last.Application.Customer); unused != money.Minor(260_000_00) {
		t.Errorf("unused %s", unused)
	}
	w.Audit()
}

// TestAtOnceAgain applies twice without a pause: the first is no open application any more, though
// the note that it is paid out may be on its way.
func TestAtOnceAgain(t *testing.T) {
	w := lendingtest.New(t)
	for i := range 20 {
		s := lendingtest.Merchant(i)
		s.Form.Amount = money.Minor(5_000_00)
		w.Lent(s)
		w.Lent(next(s, 2))
	}
	w.Audit()
}

// TestSameKeyAtOnce sends one application many times at the same moment.
func TestSameKeyAtOnce(t *testing.T) {
	w := lendingtest.New(t)
	for round := range 5 {
		s := lendingtest.Merchant(round)
		var group sync.WaitGroup
		answers := make([]origination.Answer, 8)
		for i := range answers {
			group.Go(func() {
				var err error
				if answers[i], err = w.Origination.Submit(t.Context(), s); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, answer := range answers {
			if answer.Application.ID != answers[0].Application.ID || answer.Loan == nil ||
				answer.Application.Status != store.StatusDisbursed || answer.Loan.Status != store.LoanActive {
				t.Errorf("%s %s", answer.Application.ID, answer.Application.Status)
			}
		}
		if n := applications(t, w); n != round+1 {
			t.Errorf("%d applications after %d", n, round+1)
		}
	}
	w.Audit()
}

// TestSameCustomerAtOnce sends many applications of one customer at the same moment: what he owes
// stays within his limit, and what he is granted is one limit.
func TestSameCustomerAtOnce(t *testing.T) {
	w := lendingtest.New(t)
	var group sync.WaitGroup
	answers := make([]origination.Answer, 16)
	for i := range answers {
		s := next(lendingtest.Merchant(i/8), i)
		s.Form.Amount = money.Minor(150_000_00)
		s.Form.TermMonths = 24
		group.Go(func() {
			var err error
			if answers[i], err = w.Origination.Submit(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for person := range 2 {
		var owed, limit money.Amount
		lent := 0
		for _, answer := range answers[person*8 : person*8+8] {
			if answer.Loan == nil {
				continue
			}
			lent++
			limit = limitOf(t, &answer.Application)
			d, _ := lending.DecodeContract(answer.Loan.Contract)
			owed, _ = owed.Add(d.Offer.Principal)
		}
		customer := answers[person*8].Application.Customer
		sum, unused := granted(t, w, customer)
		left, below := sum.Sub(owed)
		if lent == 0 || limit.Less(owed) || sum != limit || below || unused != left {
			t.Errorf("%d loans, %s owed, limit %s, granted %s, unused %s", lent, owed, limit, sum, unused)
		}
		t.Logf("%d loans of %s within %s", lent, owed, limit)
	}
	w.Audit()
}

// TestSamePhoneAtOnce sends applications of many customers under one phone number at the same
// moment: the policy's bound on that number holds.
func TestSamePhoneAtOnce(t *testing.T) {
	w := lendingtest.New(t)
	var group sync.WaitGroup
	answers := make([]origination.Answer, 12)
	for i := range answers {
		s := lendingtest.Merchant(i)
		s.Form.Phone = "+8613800000000"
		group.Go(func() {
			var err error
			if answers[i], err = w.Origination.Submit(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	lent := 0
	for i := range answers {
		if answers[i].Loan != nil {
			lent++
		} else if got := reasons(t, &answers[i].Application); got != "phone_day" {
			t.Errorf("declined for %s", got)
		}
	}
	if lent != 4 { // three before the last that is allowed
		t.Errorf("%d loans under one phone number", lent)
	}
	w.Audit()
}
