package lending

import (
	"surety/base/clock"
	"surety/base/invariant"
	"surety/base/money"
)

// Repay takes money from the borrower. It pays what is due in the product's order; what is left
// pays interest accrued and not yet due, then principal before its date by the product's rule, and
// what remains when nothing is owed is a liability to the customer.
//
// All that happened before must have been entered first: instalments that fell due on or before the
// date (else InstalmentNotDue), penalties up to it (PenaltyNotCharged), and, where the payment
// reduces the principal that bears interest, interest up to it (InterestNotAccrued): one event is
// one change of one balance, and no interest is computed over a change.
func (l *Loan) Repay(e Event, amount money.Amount) (Loan, Act, Result) {
	next, result := l.begin(e, Active)
	if result == Applied {
		result = l.mayRepay(e.On, amount)
	}
	if result != Applied {
		return *l, Act{}, result
	}
	act := next.repay(amount)
	if l.base() != next.base() && !l.owing(e.On).IsZero() {
		return *l, Act{}, InterestNotAccrued
	}
	next.early(e.On, minus(l.unbilled(), next.unbilled()), minus(l.notYetDue(), next.notYetDue()))
	next.finish(e, &act)
	return next, act, Applied
}

// mayRepay checks a repayment against what must have been entered before it.
func (l *Loan) mayRepay(on clock.Date, amount money.Amount) Result {
	due, more := l.NextDue()
	switch {
	case amount.IsZero():
		return AmountMissing
	case money.Minor(repaymentMax).Less(amount):
		return AmountTooGreat
	case more && due <= on:
		return InstalmentNotDue
	case !l.penaltyOwed(on).IsZero():
		return PenaltyNotCharged
	}
	return Applied
}

// NeedsAccrual reports whether a repayment of the amount on the date must be preceded by an accrual
// of interest up to that date.
func (l *Loan) NeedsAccrual(on clock.Date, amount money.Amount) bool {
	if l.mayRepay(on, amount) != Applied {
		return false
	}
	next := *l
	next.repay(amount)
	return l.base() != next.base() && !l.owing(on).IsZero()
}

// repay allocates the amount and returns the act; it changes the balances and the dues.
func (l *Loan) repay(amount money.Amount) Act {
	act := Act{Kind: LoanRepaid, Total: amount, DuePenalty: l.Penalty, Outstanding: l.Principal}
	ahead := l.notYetDue()
	act.DueInterest = minus(l.Interest, ahead)
	l.copyDues()
	rest := amount
	for _, component := range l.Contract.Product.Allocation {
		switch component {
		case Penalty:
			rest, act.Penalty = l.payDues(rest, func(d *Due) *money.Amount { return &d.Penalty })
		case Interest:
			rest, act.Interest = l.payDues(rest, func(d *Due) *money.Amount { return &d.Interest })
		case Principal:
			rest, act.Principal = l.payDues(rest, func(d *Due) *money.Amount { return &d.Principal })
		}
	}
	// Everything due is paid where anything is left.
	early := money.Least(rest, ahead)
	act.Interest, act.DueInterest = plus(act.Interest, early), plus(act.DueInterest, early)
	rest = minus(rest, early)
	early = money.Least(rest, minus(l.Principal, act.Principal))
	act.Principal, act.Overpaid = plus(act.Principal, early), minus(rest, early)
	l.Penalty = minus(l.Penalty, act.Penalty)
	l.Interest = minus(l.Interest, act.Interest)
	l.Principal = minus(l.Principal, act.Principal)
	l.Overpaid, l.Paid = plus(l.Overpaid, act.Overpaid), plus(l.Paid, amount)
	l.dropPaid()
	act.Legs = l.repaidLegs(&act)
	return act
}

func (l *Loan) repaidLegs(act *Act) []Posting {
	h := l.Contract.holders()
	legs := h.leg(make([]Posting, 0, 5), LegReceive, act.Total)
	legs = h.leg(legs, LegPayPenalty, act.Penalty)
	legs = h.leg(legs, LegPayInterest, act.Interest)
	legs = h.leg(legs, LegPayPrincipal, act.Principal)
	return h.leg(legs, LegOverpaid, act.Overpaid)
}

// payDues pays one part of every instalment that is due, the oldest first, and returns what is left
// of the money and what was paid.
func (l *Loan) payDues(rest money.Amount, part func(*Due) *money.Amount) (left, paid money.Amount) {
	for i := range l.Dues {
		open := part(&l.Dues[i])
		pay := money.Least(rest, *open)
		*open, rest, paid = minus(*open, pay), minus(rest, pay), plus(paid, pay)
	}
	return rest, paid
}

// dropPaid takes the instalments off the list that are paid.
func (l *Loan) dropPaid() {
	open := l.Dues[:0]
	for i := range l.Dues {
		if !l.Dues[i].paid() {
			open = append(open, l.Dues[i])
		}
	}
	l.Dues = open
}

// notYetDue returns the interest that is accrued and not due.
func (l *Loan) notYetDue() money.Amount {
	interest, _ := l.overdue()
	return minus(l.Interest, interest)
}

// early applies the product's rule to principal and interest paid before their date.
func (l *Loan) early(on clock.Date, principal, interest money.Amount) {
	switch rule := l.Contract.Product.EarlyRepayment; {
	case l.Principal.IsZero():
		l.Ahead = money.Amount{}
	case rule == EarlyNext:
		l.Ahead = plus(l.Ahead, plus(principal, interest))
	case rule == EarlyReamortise && !principal.IsZero():
		l.reamortise(on)
	}
}

// reamortise lowers the instalment to what repays the principal that is not due over the due
// dates that are left.
func (l *Loan) reamortise(on clock.Date) {
	p, months := &l.Contract.Product, l.Contract.Offer.Months
	if l.Next >= months || l.unbilled().IsZero() {
		return
	}
	years := make([]Fraction, 0, months-l.Next+1)
	first := period{l.Contract.due(l.Next - 1), l.Contract.due(l.Next)}
	years = append(years, p.DayCount.part(first, on, first.due))
	for n := l.Next + 1; n <= months; n++ {
		years = append(years, p.DayCount.Years(l.Contract.due(n-1), l.Contract.due(n)))
	}
	instalment, err := p.annuity(l.unbilled(), l.Contract.Offer.Rate, years).Instalment()
	if err != nil {
		invariant.Fail("lending: a shorter annuity than the contract's is out of range: %v", err)
	}
	l.Instalment = money.Least(l.Instalment, instalment)
}

// WriteOff gives up what is owed on a loan that is as late as the product asks for. Its limit is
// not restored.
func (l *Loan) WriteOff(e Event) (Loan, Act, Result) {
	next, result := l.begin(e, Active)
	if due, more := l.NextDue(); result == Applied && more && due <= e.On {
		result = InstalmentNotDue
	}
	days := l.DaysPastDue(e.On)
	if result == Applied && days < l.Contract.Product.WriteOffDays {
		result = NotLateEnough
	}
	if result != Applied {
		return *l, Act{}, result
	}
	h := l.Contract.holders()
	act := Act{Kind: LoanWrittenOff, Principal: l.Principal, Interest: l.Interest, Penalty: l.Penalty,
		DaysPastDue: days}
	act.Legs = h.leg(act.Legs, LegLosePrincipal, l.Principal)
	act.Legs = h.leg(act.Legs, LegLoseInterest, l.Interest)
	act.Legs = h.leg(act.Legs, LegLosePenalty, l.Penalty)
	next.WrittenOff = l.Owed()
	next.Principal, next.Interest, next.Penalty = money.Amount{}, money.Amount{}, money.Amount{}
	next.Dues, next.Ahead, next.Status = nil, money.Amount{}, WrittenOff
	next.finish(e, &act)
	return next, act, Applied
}

// Recover takes money for a loan that was written off, at most what was written off and not yet
// recovered.
func (l *Loan) Recover(e Event, amount money.Amount) (Loan, Act, Result) {
	next, result := l.begin(e, WrittenOff)
	switch {
	case result != Applied:
	case amount.IsZero():
		result = AmountMissing
	case money.Minor(repaymentMax).Less(amount):
		result = AmountTooGreat
	case minus(l.WrittenOff, l.Recovered).Less(amount):
		result = MoreThanLost
	}
	if result != Applied {
		return *l, Act{}, result
	}
	act := Act{Kind: LoanRecovered, Total: amount, Legs: l.Contract.holders().leg(nil, LegRecover, amount)}
	next.Recovered = plus(l.Recovered, amount)
	next.finish(e, &act)
	return next, act, Applied
}

// Refund pays back what the customer paid too much, or part of it.
func (l *Loan) Refund(e Event, amount money.Amount) (Loan, Act, Result) {
	next, result := l.begin(e, Active, Closed)
	switch {
	case result != Applied:
	case amount.IsZero():
		result = AmountMissing
	case l.Overpaid.Less(amount):
		result = MoreThanOverpaid
	}
	if result != Applied {
		return *l, Act{}, result
	}
	act := Act{Kind: OverpaymentRefunded, Total: amount,
		Legs: l.Contract.holders().leg(nil, LegRefundOverpaid, amount)}
	next.Overpaid = minus(l.Overpaid, amount)
	next.finish(e, &act)
	return next, act, Applied
}
