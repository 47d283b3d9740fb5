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

// DayEnd does what a business date asks of all loans: instalments fall due, penalties are charged,
// loans long overdue are written off, and simulated borrowers pay. It may be run again for the same
// date: what is done is not done twice. It returns how many loans it looked at. Loans whose acts
// the ledger refuses are looked at again the next day. A loan that cannot be worked on (its record
// is damaged) does not keep the others from it: the error counts such loans and names the first.
// Kinds Canceled, Unavailable, NoSpace and Locked end the work at once.
func (d *Desk) DayEnd(ctx context.Context, on clock.Date) (int, error) {
	day := day{on: on}
	var last *store.Loan
	for {
		due, err := d.deps.Store.DueLoans(ctx, on, last)
		if err != nil {
			return day.seen, err
		}
		if len(due) == 0 {
			return day.seen, day.result()
		}
		d.work(ctx, &day, due)
		day.seen += len(due)
		if day.fatal != nil {
			return day.seen, day.fatal
		}
		if ctx.Err() != nil {
			return day.seen, errs.As(errs.Canceled, ctx.Err(), "servicing.day_end")
		}
		last = &due[len(due)-1]
	}
}

// day is one run of DayEnd.
type day struct {
	on   clock.Date
	seen int

	mu     sync.Mutex // guards what follows
	failed int        // loans that could not be worked on
	first  error      // of those
	fatal  error      // that ends the run
}

func (r *day) result() error {
	return errs.Wrap(r.first, "servicing.day_end: %d of %d loans on %s were not worked on, the first",
		r.failed, r.seen, r.on)
}

// fail notes an error and reports whether the work must end.
func (r *day) fail(err error) (fatal bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch errs.KindOf(err) {
	case errs.Canceled, errs.Unavailable, errs.NoSpace, errs.Locked:
		if r.fatal == nil {
			r.fatal = err
		}
		return true
	}
	if r.failed++; r.first == nil {
		r.first = err
	}
	return false
}

// work takes the loans of one page in parallel.
func (d *Desk) work(ctx context.Context, r *day, due []store.Loan) {
	var next atomic.Int64
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range min(dayWorkers, len(due)) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(due)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				err := d.live(ctx, &due[i], r.on)
				if err == nil {
					continue
				}
				if r.fail(err) {
					cancel()
					return
				}
				d.deps.Log.Error("a loan could not be worked on", "loan", due[i].ID.String(), "error", err)
			}
		})
	}
	group.Wait()
}

// live does one loan's day. A refusal is noted and left for tomorrow.
func (d *Desk) live(ctx context.Context, due *store.Loan, on clock.Date) error {
	defer d.lock(due.ID)()
	f, err := d.open(ctx, due.ID)
	if err != nil {
		return err
	}
	err = d.catchUp(ctx, f, max(on, f.loan.On))
	if err == nil && f.row.TruePD >= 0 && f.loan.Status == lending.Active {
		err = d.conduct(ctx, f, on)
	}
	if errs.Is(err, errs.Refused) {
		d.deps.Log.Warn("an act of day-end was refused", "loan", due.ID.String(), "reason", err)
		err = nil
	}
	if err != nil || f.row.NextAction > on {
		return err
	}
	f.row.NextAction = max(nextAction(&f.row, &f.loan), on+1)
	return d.deps.Store.Commit(ctx, store.UpdateLoan(&f.row))
}

// catchUp performs what time asks for up to a date, the earliest first.
func (d *Desk) catchUp(ctx context.Context, f *file, on clock.Date) error {
	for range stepsMax {
		step, more := f.loan.Step(on)
		if !more {
			return nil
		}
		_, err := d.perform(ctx, f, move{kind: step.Kind, on: step.On,
			do: func(l *lending.Loan, e lending.Event) (lending.Loan, lending.Act, lending.Result) {
				return l.Take(step, e)
			}})
		if err != nil {
			return err
		}
	}
	return errs.New(errs.Internal, "servicing: loan %s asks for more than %d steps on %s", f.row.ID,
		stepsMax, on)
}

// follow performs what an act has made necessary: the rest of the fee and the close of a loan that
// owes nothing. The act itself stands and has been answered for, so that an error here is not its
// caller's: the loan stays due, and day-end does what is left.
func (d *Desk) follow(ctx context.Context, f *file, on clock.Date) {
	if err := d.catchUp(context.WithoutCancel(ctx), f, on); err != nil {
		d.deps.Log.Warn("what follows an act is left to day-end", "loan", f.row.ID.String(), "error", err)
	}
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
func (d *Desk) pay(ctx context.Context, f *file, row *lending.Row, plan population.Conduct,
	on clock.Date) error {
	amount := row.Payment
	if plan.PayOff {
		amount = f.loan.Payoff(max(on, f.loan.On)).Total
	}
	if !plan.PartFirst {
		return d.simulate(ctx, f, strconv.Itoa(row.Number), amount, on)
	}
	half := money.Minor(row.Payment.Lo / 2)
	if err := d.simulate(ctx, f, strconv.Itoa(row.Number)+"a", half, on); err != nil {
		return err
	}
	if row.Due.AddDays(population.LateRest) > on {
		return nil
	}
	rest, _ := row.Payment.Sub(half)
	return d.simulate(ctx, f, strconv.Itoa(row.Number)+"b", rest, on)
}

// simulate pays once under a reference that the part of the instalment always has. A borrower in
// arrears pays them along; one who owes less than the instalment pays what he owes.
func (d *Desk) simulate(ctx context.Context, f *file, part string, amount money.Amount,
	on clock.Date) error {
	reference := "sim-" + f.row.ID.String() + "-" + part
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
	if err := d.prepare(ctx, f, amount, on); err != nil || f.loan.Status != lending.Active {
		return err
	}
	if _, err := d.take(ctx, f, reference, amount, on); err != nil {
		return err
	}
	return d.catchUp(ctx, f, on)
}

// farFuture is the next action of a loan that time asks nothing of.
var farFuture = clock.MustDate(9999, 12, 31)

// nextAction returns the business date on which day-end must look at a loan again: at once where
// something is left to do, as when an error came between a last payment and the close.
func nextAction(row *store.Loan, l *lending.Loan) clock.Date {
	if _, left := l.Step(l.On); left {
		return l.On
	}
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
		return max(l.On+1, min(next, due.AddDays(-population.EarlyDaysMax)))
	}
	return next
}
