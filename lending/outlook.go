package lending

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// Step is something that the course of time asks for: which transition, with which date.
type Step struct {
	Kind   EventKind
	On     clock.Date
	Number int // of the instalment, for accruals on a due date and penalties
}

// Event returns the step as an event of the loan, with the id that this step always has.
func (s Step) Event(loan ident.ID) Event {
	discriminator := s.On.String()
	switch s.Kind {
	case PenaltyCharged:
		discriminator += "/" + money.Minor(uint64(s.Number)).String()
	case InterestAccrued:
		if s.Number == 0 {
			discriminator = "fee"
		}
	case LoanClosed, LoanWrittenOff:
		discriminator = ""
	}
	return Event{ID: EventID(s.Kind, loan, discriminator), On: s.On}
}

// Step returns what time asks for on the date or asked for before it, the earliest first, and false
// where nothing is. Apply it and ask again: an accrual on each due date, a penalty on each
// late instalment every PenaltyEveryDays, the write-off, and for a loan repaid in full what is
// left of the fee and the close.
func (l *Loan) Step(asOf clock.Date) (Step, bool) {
	if asOf < l.On || l.Status != Active && l.Status != WrittenOff {
		return Step{}, false
	}
	if l.Owed().IsZero() {
		switch {
		case !l.DeferredFee.IsZero():
			return Step{Kind: InterestAccrued, On: l.On}, true
		case l.Status == Active:
			return Step{Kind: LoanClosed, On: l.On}, true
		}
		return Step{}, false
	}
	if due, more := l.NextDue(); more && due <= asOf {
		return Step{Kind: InterestAccrued, On: due, Number: l.Next}, true
	}
	if len(l.Dues) > 0 && l.DaysPastDue(asOf) >= l.Contract.Product.WriteOffDays {
		return Step{Kind: LoanWrittenOff, On: asOf}, true
	}
	for i := range l.Dues {
		due := &l.Dues[i]
		if asOf.Sub(due.PenaltyTo) >= l.Contract.Product.PenaltyEveryDays &&
			!l.penaltyOn(due, asOf).IsZero() {
			return Step{Kind: PenaltyCharged, On: asOf, Number: due.Number}, true
		}
	}
	return Step{}, false
}

// Take applies a step that Step returned, under the event's id.
func (l *Loan) Take(s Step, e Event) (Loan, Act, Result) {
	switch s.Kind {
	case InterestAccrued:
		if s.Number == 0 {
			return l.AmortiseFee(e)
		}
		return l.Accrue(e)
	case PenaltyCharged:
		return l.ChargePenaltyOn(e, s.Number)
	case LoanWrittenOff:
		return l.WriteOff(e)
	case LoanClosed:
		return l.Close(e)
	}
	return *l, Act{}, NothingToDo
}

// NextAction returns the first day after the date on which Step may have something, given that it
// has nothing on the date; false where time asks for nothing more.
func (l *Loan) NextAction(after clock.Date) (clock.Date, bool) {
	if l.Status != Active || l.Owed().IsZero() && l.DeferredFee.IsZero() {
		return 0, false
	}
	p := &l.Contract.Product
	first, found := l.NextDue()
	consider := func(on clock.Date) {
		if !found || on < first {
			first, found = on, true
		}
	}
	for i := range l.Dues {
		due := &l.Dues[i]
		consider(due.On.AddDays(p.WriteOffDays))
		if p.PenaltyRate > 0 && !l.penaltyBase(due).IsZero() {
			consider(max(due.On.AddDays(p.GraceDays+1), due.PenaltyTo.AddDays(p.PenaltyEveryDays), after+1))
		}
	}
	return max(first, after+1), found
}

// Quote is what closes a loan on a day.
type Quote struct {
	On        clock.Date
	Penalty   money.Amount
	Interest  money.Amount // to the day: that day itself is free
	Principal money.Amount
	Total     money.Amount
}

// Payoff returns what closes an active loan on the date, which is not before its last event. For
// another loan, or an earlier date, everything is zero.
func (l *Loan) Payoff(on clock.Date) Quote {
	if l.Status != Active || on < l.On || on > dateMax {
		return Quote{On: on}
	}
	then := l.forward(on)
	q := Quote{On: on, Penalty: then.Penalty, Principal: then.Principal,
		Interest: plus(then.Interest, then.owing(on))}
	q.Total = plus(q.Penalty, plus(q.Interest, q.Principal))
	return q
}

// forward returns the loan as it will be on the date if nothing is paid: instalments have fallen
// due and penalties are charged up to the date.
func (l *Loan) forward(on clock.Date) Loan {
	then := *l
	for {
		due, more := then.NextDue()
		if !more || due > on {
			break
		}
		then.accrue(due, true)
	}
	for i := range then.Dues {
		if !then.penaltyOn(&then.Dues[i], on).IsZero() {
			then.chargePenalty(i, on)
		}
	}
	return then
}

// Outlook returns the loan's plan as it stands on the date: the instalments that are due and
// unpaid, then those to come on the assumption that all arrears are paid on that date and each
// instalment on its own. Penalties are not in it. Each row's balance is what is left when it is
// paid. For a loan that is not active there is none.
func (l *Loan) Outlook(on clock.Date) []Row {
	if l.Status != Active || on < l.On || on > dateMax {
		return nil
	}
	then := l.forward(on)
	balance := then.Principal
	rows := make([]Row, 0, l.Contract.Offer.Months)
	add := func(due *Due) {
		if due.instalment().IsZero() {
			return // only a penalty on it is unpaid
		}
		balance = minus(balance, due.Principal)
		rows = append(rows, Row{Number: due.Number, Due: due.On,
			Days: due.On.Sub(l.Contract.due(due.Number - 1)), Interest: due.Interest,
			Principal: due.Principal, Payment: due.instalment(), Balance: balance})
	}
	for i := range then.Dues {
		add(&then.Dues[i])
	}
	then.settle(on)
	// Each turn moves on by one instalment, and the last of them takes all that is left.
	for {
		due, more := then.NextDue()
		if !more {
			return rows
		}
		then.accrue(due, true)
		if len(then.Dues) > 0 {
			add(&then.Dues[0])
			then.settle(due)
		}
	}
}

// settle pays all that is due on the date, bringing the interest up to it where that changes the
// balance it is charged on.
func (l *Loan) settle(on clock.Date) {
	amount := l.DueNow()
	if amount.IsZero() {
		return
	}
	next := *l
	next.repay(amount)
	if due, more := l.NextDue(); l.base() != next.base() && more && on < due && on > l.AccruedTo {
		l.accrue(on, false)
	}
	l.repay(amount)
}
