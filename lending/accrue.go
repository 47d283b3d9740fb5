package lending

import (
	"surety/base/clock"
	"surety/base/money"
)

// Accrue charges the interest from the last accrual to the event's date. On the next due date it
// also makes the instalment due and earns its part of the deferred fee; before that date it only
// brings the interest up to the day, as a payoff or an early repayment needs; after it the answer
// is InstalmentNotDue: accrue on the due date first. An instalment without interest or fee falls
// due without a posting. Where no instalment is to come, or no interest has grown, the answer is
// NothingToDo.
func (l *Loan) Accrue(e Event) (Loan, Act, Result) {
	next, result := l.begin(e, Active)
	if result != Applied {
		return *l, Act{}, result
	}
	due, more := l.NextDue()
	switch {
	case more && e.On > due:
		return *l, Act{}, InstalmentNotDue
	case !more, e.On < due && l.owing(e.On).IsZero():
		return *l, Act{}, NothingToDo
	}
	act := next.accrue(e.On, e.On == due)
	next.finish(e, &act)
	return next, act, Applied
}

// accrue is Accrue after its checks.
func (l *Loan) accrue(on clock.Date, falls bool) Act {
	act := Act{Kind: InterestAccrued, From: l.AccruedTo, To: on, Base: l.base(), Interest: l.owing(on)}
	h := l.Contract.holders()
	act.Legs = h.leg(act.Legs, LegInterest, act.Interest)
	l.Interest, l.AccruedTo = plus(l.Interest, act.Interest), on
	if !falls {
		return act
	}
	act.Number = l.Next
	if l.Next <= len(l.Contract.Schedule.Rows) {
		act.Fee = money.Least(l.Contract.Schedule.Rows[l.Next-1].Fee, l.DeferredFee)
		act.Legs = h.leg(act.Legs, LegFeeAmortised, act.Fee)
		l.DeferredFee = minus(l.DeferredFee, act.Fee)
	}
	l.fall(on)
	return act
}

// fall makes the next instalment due: all that is left on or after the last due date, and otherwise
// what the instalment asks for, less what was paid ahead, first interest and then principal.
func (l *Loan) fall(on clock.Date) {
	interest, _ := l.overdue()
	due := Due{Number: l.Next, On: on, Interest: minus(l.Interest, interest), Principal: l.unbilled(),
		PenaltyTo: on}
	if l.Next < l.Contract.Offer.Months {
		asked := less(l.Instalment, l.Ahead)
		if !l.Ahead.IsZero() {
			due.Interest = money.Least(due.Interest, asked)
		}
		due.Principal = money.Least(due.Principal, less(asked, due.Interest))
		l.Ahead = less(l.Ahead, l.Instalment)
	} else {
		l.Ahead = money.Amount{}
	}
	l.Next++
	if !due.paid() {
		l.copyDues()
		l.Dues = append(l.Dues, due)
	}
}

// AmortiseFee earns what is left of the deferred fee at once, when nothing of the loan is left to
// earn it on: it was repaid before its term or written off.
func (l *Loan) AmortiseFee(e Event) (Loan, Act, Result) {
	next, result := l.begin(e, Active, WrittenOff)
	switch {
	case result != Applied:
	case l.DeferredFee.IsZero():
		result = NothingToDo
	case !l.Owed().IsZero():
		result = StillOwed
	}
	if result != Applied {
		return *l, Act{}, result
	}
	act := Act{Kind: InterestAccrued, From: l.AccruedTo, To: l.AccruedTo, Fee: l.DeferredFee}
	act.Legs = l.Contract.holders().leg(nil, LegFeeAmortised, act.Fee)
	next.DeferredFee = money.Amount{}
	next.finish(e, &act)
	return next, act, Applied
}

// ChargePenalty charges a penalty on the oldest instalment that owes one, as ChargePenaltyOn does.
// Call it until the answer is NothingToDo to charge all.
func (l *Loan) ChargePenalty(e Event) (Loan, Act, Result) { return l.ChargePenaltyOn(e, 0) }

// ChargePenaltyOn charges a penalty on the instalment of that number for the days since the last
// charge on it, or since its due date: later than the days of grace, and enough to round to a minor
// unit, else the answer is NothingToDo. The number 0 takes the oldest instalment that owes one.
func (l *Loan) ChargePenaltyOn(e Event, number int) (Loan, Act, Result) {
	next, result := l.begin(e, Active)
	if result != Applied {
		return *l, Act{}, result
	}
	if due, more := l.NextDue(); more && due <= e.On {
		return *l, Act{}, InstalmentNotDue
	}
	for i := range l.Dues {
		due := &l.Dues[i]
		if number != 0 && number != due.Number || l.penaltyOn(due, e.On).IsZero() {
			continue
		}
		act := next.chargePenalty(i, e.On)
		next.finish(e, &act)
		return next, act, Applied
	}
	return *l, Act{}, NothingToDo
}

func (l *Loan) chargePenalty(i int, on clock.Date) Act {
	l.copyDues()
	due := &l.Dues[i]
	act := Act{Kind: PenaltyCharged, Number: due.Number, From: due.PenaltyTo, To: on,
		Base: l.penaltyBase(due), Penalty: l.penaltyOn(due, on)}
	act.Legs = l.Contract.holders().leg(nil, LegPenalty, act.Penalty)
	l.Penalty, due.Penalty = plus(l.Penalty, act.Penalty), plus(due.Penalty, act.Penalty)
	due.PenaltyTo = on
	return act
}

// penaltyOn returns the penalty not yet charged on an instalment up to the date.
func (l *Loan) penaltyOn(due *Due, on clock.Date) money.Amount {
	p := &l.Contract.Product
	if on.Sub(due.On) <= p.GraceDays {
		return money.Amount{}
	}
	return mustInterest(l.penaltyBase(due), p.PenaltyRate, p.PenaltyDayCount.Years(due.PenaltyTo, on),
		p.Rounding)
}

func (l *Loan) penaltyBase(due *Due) money.Amount {
	if l.Contract.Product.PenaltyBase == PenaltyOnInstalment {
		return due.instalment()
	}
	return due.Principal
}

// penaltyOwed returns the penalties not yet charged on all instalments up to the date.
func (l *Loan) penaltyOwed(on clock.Date) money.Amount {
	var sum money.Amount
	for i := range l.Dues {
		sum = plus(sum, l.penaltyOn(&l.Dues[i], on))
	}
	return sum
}
