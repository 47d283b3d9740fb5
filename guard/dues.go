package guard

import "surety/base/clock"

// What falls due is not in any event: it follows from the contract and from what was paid. This
// file follows it a second time, because two amounts that events state depend on it: the balance
// that bears interest, and the interest that ranks before principal.

// plan takes from a contract's schedule what later due dates follow from.
func (l *loan) plan(flows []Flow) {
	for i := range flows {
		_, _, day := flows[i].Due.Civil()
		l.anchorDay = max(l.anchorDay, uint8(day))
	}
	if len(flows) > 0 {
		l.instalment = flows[0].Payment
	}
	t := &l.terms
	l.loose = t.Rounding == RoundingNone || t.Overdue == OverdueNone || t.Early == EarlyNone ||
		t.Allocation == Allocation{}
}

// nextDue is the due date of the instalment that falls due next.
func (l *loan) nextDue() clock.Date { return l.dueDate(int(l.fallen)) }

// unbilled is the principal that has not fallen due.
func (l *loan) unbilled() uint64 { return less(l.outstanding, l.billed.principal) }

// bearing is the principal that bears interest.
func (l *loan) bearing() uint64 {
	if l.terms.Overdue == OverdueStops {
		return l.unbilled()
	}
	return l.outstanding
}

// fall makes the next instalment due: the last asks for all that is left, each other for the
// instalment less what was paid ahead, interest before principal.
func (l *loan) fall() {
	interest, principal := less(l.interestDue, l.billed.interest), l.unbilled()
	l.fallen++
	if l.fallen >= l.term {
		l.ahead = 0
	} else {
		asked := less(l.instalment, l.ahead)
		if l.ahead > 0 {
			interest = min(interest, asked)
		}
		principal = min(principal, less(asked, interest))
		l.ahead = less(l.ahead, l.instalment)
	}
	l.billed.interest += interest
	l.billed.principal += principal
}

// catchUp lets instalments fall due that asked for nothing to be posted: those before the day, with
// no interest to accrue.
func (l *loan) catchUp(before clock.Date) {
	for l.state == loanActive && l.nextDue() <= before && (l.rate == 0 || l.bearing() == 0) &&
		(l.unbilled() > 0 || l.billed.interest < l.interestDue) {
		l.fall()
	}
}

// allocated is a repayment by its parts.
type allocated struct{ penalty, interest, principal, overpaid uint64 }

// allocate divides a payment: what is due first, part by part in the contract's order, then
// interest accrued and not yet due, then principal before its date. What is left is overpaid. It
// also returns the interest that ranked before the principal paid.
func (l *loan) allocate(total uint64) (parts allocated, ranking uint64) {
	take := func(owed uint64) uint64 {
		part := min(total, owed)
		total -= part
		return part
	}
	for _, part := range l.terms.Allocation {
		switch part {
		case PartPenalty:
			parts.penalty = take(l.penaltyDue)
		case PartInterest:
			parts.interest = take(l.billed.interest)
		case PartPrincipal:
			parts.principal = take(l.billed.principal)
		}
	}
	early := take(less(l.interestDue, l.billed.interest))
	parts.interest += early
	parts.principal += take(less(l.outstanding, parts.principal))
	parts.overpaid = total
	return parts, l.billed.interest + early
}

// pay enters a repayment as it was stated.
func (l *loan) pay(p allocated) {
	interest, principal := min(p.interest, l.billed.interest), min(p.principal, l.billed.principal)
	l.billed.interest -= interest
	l.billed.principal -= principal
	early := p.interest - interest + p.principal - principal
	l.penaltyDue = less(l.penaltyDue, p.penalty)
	l.interestDue = less(l.interestDue, p.interest)
	l.outstanding = less(l.outstanding, p.principal)
	l.overpaid += p.overpaid
	switch {
	case l.outstanding == 0:
		l.ahead = 0
	case l.terms.Early == EarlyNext:
		l.ahead += early
	case l.terms.Early == EarlyReamortise && p.principal > principal:
		l.loose = true // the instalment is lower from here on
	}
}
