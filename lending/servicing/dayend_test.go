package servicing_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/lending"
	"surety/lending/lendingtest"
	"surety/lending/store"
)

// TestYear lets two hundred simulated borrowers live for a year: they pay early, on the day, late,
// in parts, off, or never.
func TestYear(t *testing.T) {
	const borrowers = 200
	w := lendingtest.New(t)
	of := w.Applicants(7, true)
	var group sync.WaitGroup
	for worker := range 16 {
		group.Go(func() {
			for i := worker; i < borrowers*5/4; i += 16 {
				if _, err := w.Origination.Submit(context.Background(), of(uint64(i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	w.Audit()
	for _, month := range []int{3, 6, 9, 12} {
		w.Live(clock.MustDate(2026, month, 20))
		w.Audit()
		w.Reopen()
	}
	w.Live(clock.MustDate(2027, 1, 20))
	w.Audit()
	counts, err := w.Store.CountLoans(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v, %d events", counts, w.Store.LastEvent())
	if counts["closed"] < borrowers/4 || counts["active"] < borrowers/10 || counts["written_off"] == 0 {
		t.Errorf("%v", counts)
	}
	bank := w.Balance(lending.ClassBank, lending.ProductID("merchant-310"))
	income := w.Balance(lending.ClassInterestIncome, lending.ProductID("merchant-310"))
	if bank.IsZero() || income.IsZero() {
		t.Errorf("%s received, %s earned", bank, income)
	}
}

// TestDayEndAgain does one day's work three times, twice at the same moment: what is done is not
// done twice.
func TestDayEndAgain(t *testing.T) {
	w := lendingtest.New(t)
	var loans []ident.ID
	for i := range 40 {
		loans = append(loans, w.Lent(lendingtest.Merchant(i)).Loan.ID)
	}
	w.Settled()
	on := clock.MustDate(2026, 2, 15)
	w.SetToday(on)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if _, err := w.Servicing.DayEnd(t.Context(), on); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n, err := w.Servicing.DayEnd(t.Context(), on); err != nil || n != 0 {
		t.Errorf("a third time: %d loans, %v", n, err)
	}
	for _, id := range loans {
		if got := w.Kinds(id); got != " contract.signed loan.disbursed interest.accrued" {
			t.Errorf("events%s", got)
		}
	}
	w.Audit()
}

// TestDayEndMissed does the work of many days at once, after a node was away: it comes to the same
// as day by day, but for penalties, which are charged for longer at a time.
func TestDayEndMissed(t *testing.T) {
	away, there := lendingtest.New(t), lendingtest.New(t)
	on := clock.MustDate(2026, 6, 1)
	var states [2]lending.Loan
	for i, w := range []*lendingtest.World{away, there} {
		loan := w.Lent(lendingtest.Merchant(1)).Loan
		w.Settled()
		if w == there {
			w.Live(on)
		}
		w.SetToday(on)
		if _, err := w.Servicing.DayEnd(t.Context(), on); err != nil {
			t.Fatal(err)
		}
		_, states[i] = stateOf(t, w, loan.ID)
		w.Audit()
	}
	if states[0].Principal != states[1].Principal || states[0].Interest != states[1].Interest ||
		states[0].DeferredFee != states[1].DeferredFee || len(states[0].Dues) != len(states[1].Dues) {
		t.Errorf("%+v\n%+v", states[0], states[1])
	}
}

// TestDayEndPages has more loans due than are taken up at once.
func TestDayEndPages(t *testing.T) {
	w := lendingtest.New(t)
	const loans = store.DueMax + 30
	lendMany(t, w, loans)
	on := clock.MustDate(2026, 2, 15)
	w.SetToday(on)
	if n, err := w.Servicing.DayEnd(t.Context(), on); err != nil || n != loans {
		t.Errorf("%d loans, %v", n, err)
	}
	if n, err := w.Servicing.DayEnd(t.Context(), on); err != nil || n != 0 {
		t.Errorf("again: %d loans, %v", n, err)
	}
	w.Audit()
}

func lendMany(t *testing.T, w *lendingtest.World, loans int) {
	t.Helper()
	var group sync.WaitGroup
	for worker := range 32 {
		group.Go(func() {
			for i := worker; i < loans; i += 32 {
				answer, err := w.Origination.Submit(t.Context(), lendingtest.Merchant(i))
				if err != nil || answer.Loan == nil {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
	w.Settled()
}

// TestDayEndDamage damages one loan of many: the others have their day, the error names it, and the
// next day it is named again.
func TestDayEndDamage(t *testing.T) {
	w := lendingtest.New(t)
	lendMany(t, w, 60)
	row, err := w.Store.ApplicationByKey(t.Context(), "merchant-30")
	if err != nil {
		t.Fatal(err)
	}
	err = w.Store.Commit(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE loans SET state = 'x', next_action = 0 WHERE number = (
			SELECT number FROM loans WHERE application = (SELECT id FROM applications
			WHERE idempotency_key = 'merchant-30'))`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []clock.Date{clock.MustDate(2026, 2, 15), clock.MustDate(2026, 3, 15)} {
		w.SetToday(on)
		n, err := w.Servicing.DayEnd(t.Context(), on)
		if n != 60 || !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), "1 of 60 loans") ||
			!strings.Contains(err.Error(), row.Loan.String()) {
			t.Errorf("%d loans, %v", n, err)
		}
	}
	if n := w.Balance(lending.ClassInterestIncome, lending.ProductID("merchant-310")); n.IsZero() {
		t.Error("nobody had his day")
	}
	_, err = w.Servicing.Repay(t.Context(), row.Loan, money.Minor(1), "damaged")
	if !errs.Is(err, errs.Corrupt) {
		t.Errorf("repay: %v", err)
	}
}

// TestDayEndEnds stops where nothing can be done: the ledger is gone, or the caller.
func TestDayEndEnds(t *testing.T) {
	w := lendingtest.New(t)
	lendMany(t, w, 60)
	on := clock.MustDate(2026, 2, 15)
	w.SetToday(on)
	ctx, cancel := context.WithCancel(t.Context())
	w.Gate.Arm(lendingtest.Fault{Step: 10, Do: cancel})
	if _, err := w.Servicing.DayEnd(ctx, on); !errs.Is(err, errs.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	w.Gate.Clear()
	w.Audit()
	w.Gate.Arm(lendingtest.Fault{Step: 10, Crash: true, Kind: errs.Unavailable})
	if _, err := w.Servicing.DayEnd(t.Context(), on); !errs.Is(err, errs.Unavailable) {
		t.Errorf("ended: %v", err)
	}
	w.Reopen()
	w.Audit()
	if _, err := w.Servicing.DayEnd(t.Context(), on); err != nil {
		t.Error(err)
	}
	w.Audit()
	total, err := w.Ledger.ClassTotals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range total {
		if class.Code == uint16(lending.ClassInterest) && class.Accounts != 60 {
			t.Errorf("%d loans have interest", class.Accounts)
		}
	}
}

// TestLastActs ends the process at each step of a day on which one loan is paid off by its borrower
// and one is written off: the days after do what is left, down to the fee and the close.
func TestLastActs(t *testing.T) {
	for step := 0; ; step++ {
		w := lendingtest.New(t)
		first, second := lendingtest.Merchant(1), lendingtest.Merchant(2)
		first.Form.TermMonths, second.Form.TermMonths = 12, 12
		lost := w.Lent(second).Loan
		w.SetToday(clock.MustDate(2026, 8, 1))
		paid := w.Lent(first).Loan
		w.Settled()
		w.SetToday(clock.MustDate(2026, 8, 13))
		if _, err := w.Servicing.DayEnd(t.Context(), w.Today()); err != nil {
			t.Fatal(err)
		}
		w.Settled()
		w.Gate.Arm(lendingtest.Fault{Step: step, Crash: true, Kind: errs.Unavailable})
		_, _ = w.Servicing.Repay(t.Context(), paid.ID, money.Minor(8_000_000), "all")
		w.SetToday(clock.MustDate(2026, 8, 14))
		_, _ = w.Servicing.DayEnd(t.Context(), w.Today())
		hit := w.Gate.Clear()
		w.Reopen()
		row, l := stateOf(t, w, paid.ID)
		if row.Status == store.LoanActive && l.Owed().IsZero() && row.NextAction > w.Today() {
			t.Errorf("step %d: a loan that owes nothing is looked at on %s", step, row.NextAction)
		}
		if _, err := w.Servicing.Repay(t.Context(), paid.ID, money.Minor(8_000_000), "all"); err != nil {
			t.Fatal(err)
		}
		w.Live(clock.MustDate(2026, 8, 16))
		w.Audit()
		for id, want := range map[ident.ID]string{paid.ID: store.LoanClosed, lost.ID: store.LoanWrittenOff} {
			if row, l := stateOf(t, w, id); row.Status != want || !l.DeferredFee.IsZero() {
				t.Errorf("step %d: %s, want %s, with a fee of %s", step, row.Status, want, l.DeferredFee)
			}
		}
		w.Close()
		if !hit {
			return
		}
	}
}

// TestImpatient has the payer go away at each step: what was recorded is carried out, at once.
func TestImpatient(t *testing.T) {
	for step := 0; ; step++ {
		w := lendingtest.New(t)
		loan := w.Lent(lendingtest.Merchant(1)).Loan
		w.Settled()
		w.SetToday(clock.MustDate(2026, 2, 20))
		ctx, cancel := context.WithCancel(t.Context())
		w.Gate.Arm(lendingtest.Fault{Step: step, Do: cancel})
		_, err := w.Servicing.Repay(ctx, loan.ID, money.Minor(7_000_000), "all")
		if !w.Gate.Clear() {
			if step < 12 {
				t.Errorf("only %d steps", step)
			}
			return
		}
		w.Audit() // nothing is half done
		if _, again := w.Servicing.Repay(t.Context(), loan.ID, money.Minor(7_000_000), "all"); again != nil {
			t.Errorf("step %d: first %v, then %v", step, err, again)
		}
		w.Audit()
		if row, _ := stateOf(t, w, loan.ID); row.Status != store.LoanClosed {
			t.Errorf("step %d: first %v; in the end %s", step, err, row.Status)
		}
	}
}

// TestBeingPaidOut touches a loan whose money is not out yet: nothing is done on it.
func TestBeingPaidOut(t *testing.T) {
	w := lendingtest.New(t)
	w.Gate.Arm(lendingtest.Fault{Step: 4, Kind: errs.Busy})
	if _, err := w.Origination.Submit(t.Context(), lendingtest.Merchant(1)); !errs.Is(err, errs.Busy) {
		t.Fatal(err)
	}
	w.Gate.Clear()
	row, err := w.Store.ApplicationByKey(t.Context(), "merchant-1")
	if err != nil {
		t.Fatal(err)
	}
	before := w.Store.LastEvent()
	_, err = w.Servicing.Repay(t.Context(), row.Loan, money.Minor(1), "early")
	if !errs.Is(err, errs.Unavailable) {
		t.Errorf("repay: %v", err)
	}
	if _, err = w.Servicing.Quote(t.Context(), row.Loan); !errs.Is(err, errs.Unavailable) {
		t.Errorf("quote: %v", err)
	}
	if err = w.Servicing.WriteOff(t.Context(), row.Loan); !errs.Is(err, errs.Unavailable) {
		t.Errorf("write-off: %v", err)
	}
	if n, err := w.Servicing.DayEnd(t.Context(), clock.MustDate(2026, 3, 1)); n != 0 || err != nil {
		t.Errorf("day-end: %d loans, %v", n, err)
	}
	if w.Store.LastEvent() != before {
		t.Error("something happened")
	}
	w.Lent(lendingtest.Merchant(1))
	if _, err = w.Servicing.Repay(t.Context(), row.Loan, money.Minor(100), "early"); err != nil {
		t.Error(err)
	}
	w.Audit()
}

// TestUnknownLoan says so.
func TestUnknownLoan(t *testing.T) {
	w := lendingtest.New(t)
	id := ident.Derive("nobody")
	_, repay := w.Servicing.Repay(t.Context(), id, money.Minor(1), "r")
	_, quote := w.Servicing.Quote(t.Context(), id)
	for _, err := range []error{repay, quote, w.Servicing.WriteOff(t.Context(), id),
		w.Servicing.Conclude(t.Context(), id)} {
		if !errs.Is(err, errs.NotFound) {
			t.Errorf("%v", err)
		}
	}
}

// TestRefusedOften is refused hundreds of times while the loan is frozen: each time costs a few
// look-ups, and the loan goes on once it is released.
func TestRefusedOften(t *testing.T) {
	w := lendingtest.New(t)
	loan := w.Lent(lendingtest.Merchant(1)).Loan
	w.Settled()
	release := w.Freeze(lending.AccountID(lending.ClassPrincipal, loan.ID, "CNY"))
	for i := range 300 {
		_, err := w.Servicing.Repay(t.Context(), loan.ID, money.Minor(1_000), fmt.Sprint(i))
		if !errs.Is(err, errs.Refused) {
			t.Fatal(err)
		}
	}
	w.Gate.Arm(lendingtest.Fault{Step: -1})
	_, err := w.Servicing.Repay(t.Context(), loan.ID, money.Minor(1_000), "300")
	if steps := w.Gate.Steps(); !errs.Is(err, errs.Refused) || steps > 5 {
		t.Errorf("%d steps, %v", steps, err)
	}
	w.Gate.Clear()
	release()
	if _, err := w.Servicing.Repay(t.Context(), loan.ID, money.Minor(1_000), "0"); err != nil {
		t.Error(err)
	}
	w.Audit()
	events, err := w.Store.SubjectEvents(t.Context(), loan.ID)
	if err != nil || len(events) != 2+2*301+1 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// TestOneReferenceAtOnce pays one reference many times at the same moment, also for two loans: it
// pays once.
func TestOneReferenceAtOnce(t *testing.T) {
	w := lendingtest.New(t)
	first, second := w.Lent(lendingtest.Merchant(1)).Loan, w.Lent(lendingtest.Merchant(2)).Loan
	var group sync.WaitGroup
	var mu sync.Mutex
	paid := map[ident.ID]int{}
	for i := range 16 {
		id := []ident.ID{first.ID, second.ID}[i%2]
		group.Go(func() {
			repaid, err := w.Servicing.Repay(context.Background(), id, money.Minor(5_000), "once")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && !repaid.Repeated:
				paid[id]++
			case err != nil && !errs.Is(err, errs.Exists):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if len(paid) != 1 || paid[first.ID]+paid[second.ID] != 1 {
		t.Errorf("paid %v", paid)
	}
	if got := w.Balance(lending.ClassBank, lending.ProductID("merchant-310")); got != money.Minor(5_000) {
		t.Errorf("the bank has %s", got)
	}
	w.Audit()
}
