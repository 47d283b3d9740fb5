package servicing

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/money"
	"surety/lending"
	"surety/lending/population"
	"surety/lending/store"
)

// dayWorkers is how many loans are worked on at once: they share the syncs of the records and of
// the ledger, so more of them cost little and gain much.
const dayWorkers = 48

// DayEnd does what a business date asks of all loans: instalments fall due, penalties are charged,
// loans long overdue are written off, and simulated borrowers pay. It may be run again for the same
// date: what is done is not done twice. It returns how many loans it looked at; loans whose acts
// the ledger refuses are looked at again the next day.
func (d *Desk) DayEnd(ctx context.Context, on clock.Date) (int, error) {
	total := 0
	for {
		due, err := d.deps.Store.DueLoans(ctx, on)
		if err != nil || len(due) == 0 {
			return total, err
		}
		if err := d.work(ctx, due, on); err != nil {
			return total, err
		}
		total += len(due)
	}
}

// work takes the loans of one page in parallel and returns the first error.
func (d *Desk) work(ctx context.Context, due []store.Loan, on clock.Date) error {
	var next atomic.Int64
	var once sync.Once
	var failed error
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range min(dayWorkers, len(due)) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(due)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := d.day(ctx, &due[i], on); err != nil {
					once.Do(func() { failed = err })
					cancel()
				}
			}
		})
	}
	group.Wait()
	if failed != nil {
		return failed
	}
	return errs.As(errs.Canceled, ctx.Err(), "servicing.day_end")
}

// day does one loan's day. A refusal is noted and left for tomorrow.
func (d *Desk) day(ctx context.Context, due *store.Loan, on clock.Date) error {
	lock := d.lock(due.ID)
	lock.Lock()
	defer lock.Unlock()
	f, err := d.open(ctx, due.ID)
	if err != nil {
		return err
	}
	err = d.catchUp(ctx, f, max(on, f.loan.On))
	if err == nil && f.row.TruePD >= 0 && f.loan.Status == lending.Active {
		err = d.conduct(ctx, f, on)
	}
	if errs.Is(err, errs.Refused) {
		d.deps.Log.Warn("the ledger refused an act of day-end", "loan", due.ID.String(), "reason", err)
		err = nil
	}
	if err != nil || f.row.NextAction > on {
		return err
	}
	f.row.NextAction = max(nextAction(&f.row, &f.loan), on+1)
	return d.deps.Store.Commit(ctx, store.UpdateLoan(&f.row))
}

// conduct lets a simulated borrower do what he does today about each instalment that he has not
// dealt with.
func (d *Desk) conduct(ctx context.Context, f *file, on clock.Date) error {
	rows := f.contract.Schedule.Rows
	first := f.loan.Next
	if len(f.loan.Dues) > 0 {
		first = f.loan.Dues[0].Number
	}
	for i := max(first, 1) - 1; i < len(rows); i++ {
		plan := population.ConductOf(f.row.ID, f.row.TruePD, rows[i].Number, len(rows))
		if plan.Never {
			return nil
		}
		if rows[i].Due.AddDays(plan.Days) > on {
			return nil // later instalments come later still
		}
		if err := d.pay(ctx, f, &rows[i], plan, on); err != nil || f.loan.Status != lending.Active {
			return err
		}
	}
	return nil
}

// pay makes the payments of one instalment that are due by the date and not yet made.
func (d *Desk) pay(ctx context.Context, f *file, row *lending.Row, plan population.Conduct, on clock.Date) error {
	amount := row.Payment
	if plan.PayOff {
		amount = f.loan.Payoff(max(on, f.loan.On)).Total
	}
	if !plan.PartFirst {
		return d.simulate(ctx, f, row.Number, "", amount, on)
	}
	half := money.Minor(row.Payment.Lo / 2)
	if err := d.simulate(ctx, f, row.Number, "a", half, on); err != nil {
		return err
	}
	if row.Due.AddDays(population.LateRest) > on {
		return nil
	}
	rest, _ := row.Payment.Sub(half)
	return d.simulate(ctx, f, row.Number, "b", rest, on)
}

// simulate pays once under a reference that the instalment always has. A borrower in arrears pays
// them along; one who owes less than the instalment pays what he owes.
func (d *Desk) simulate(ctx context.Context, f *file, number int, part string, amount money.Amount,
	on clock.Date) error {
	reference := "sim-" + f.row.ID.String() + "-" + strconv.Itoa(number) + part
	_, made, err := d.deps.Store.Repayment(ctx, reference)
	if err != nil || made {
		return err
	}
	on = max(on, f.loan.On)
	if now := f.loan.DueNow(); amount.Less(now) {
		amount = now
	}
	amount = money.Least(amount, f.loan.Payoff(on).Total)
	if amount.IsZero() {
		return nil
	}
	if err := d.prepare(ctx, f, amount, on); err != nil {
		return err
	}
	_, err = d.take(ctx, f, reference, amount, move{kind: lending.LoanRepaid, on: on,
		do: func(l *lending.Loan, e lending.Event) (lending.Loan, lending.Act, lending.Result) {
			return l.Repay(e, amount)
		}})
	if err != nil {
		return err
	}
	return d.catchUp(ctx, f, on)
}

// farFuture is the next action of a loan that time asks nothing of.
var farFuture = clock.MustDate(9999, 12, 31)

// nextAction returns the business date on which day-end must look at a loan again.
func nextAction(row *store.Loan, l *lending.Loan) clock.Date {
	next, found := l.NextAction(l.On)
	if !found {
		return farFuture
	}
	if row.TruePD < 0 {
		return next
	}
	// A simulated borrower may pay at any date around the due date: while anything is due he is
	// looked at each day, and otherwise from a few days before the next one.
	if len(l.Dues) > 0 {
		return l.On + 1
	}
	if due, more := l.NextDue(); more {
		return max(l.On+1, min(next, due.AddDays(-3)))
	}
	return next
}
