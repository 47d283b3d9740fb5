package lending

import (
	"surety/base/ident"
	"surety/base/money"
)

// Disburse pays the loan out on the contract's day: it draws the limit that was reserved for it,
// lends the principal, puts it into the customer's account and takes the fee from there. The
// reservation is the id of the transfer that reserved the limit.
func (l *Loan) Disburse(e Event, reservation ident.ID) (Loan, Act, Result) {
	if reservation.IsZero() || reservation == ident.Max {
		return *l, Act{}, EventIDMissing
	}
	next, result := l.begin(e, Approved)
	if result == Applied && e.On != l.Contract.Offer.Start {
		result = DateEarlier
	}
	if result != Applied {
		return *l, Act{}, result
	}
	principal, fee := l.Contract.Offer.Principal, l.Contract.Schedule.Fee
	h := l.Contract.holders()
	legs := h.leg(make([]Posting, 0, 4), LegReserve, principal)
	legs[0].Mode, legs[0].Pending = PostPending, reservation
	legs = h.leg(legs, LegDisburse, principal)
	legs = h.leg(legs, LegDeposit, principal)
	legs = h.leg(legs, LegFee, fee)
	next.Status, next.Principal, next.DeferredFee = Active, principal, fee
	act := Act{Kind: LoanDisbursed, Legs: legs, Principal: principal, Fee: fee}
	next.finish(e, &act)
	return next, act, Applied
}

// Cancel ends a loan that was never disbursed. Where a reservation is named, it is released;
// where it has lapsed or was refused, name none.
func (l *Loan) Cancel(e Event, reservation ident.ID) (Loan, Act, Result) {
	next, result := l.begin(e, Approved)
	if result != Applied {
		return *l, Act{}, result
	}
	act := Act{Kind: LoanCancelled}
	if h := l.Contract.holders(); !reservation.IsZero() {
		act.Legs = ReleaseLimit(h.product, h.customer, l.Contract.Offer.Principal, reservation)
	}
	next.Status = Cancelled
	next.finish(e, &act)
	return next, act, Applied
}

// Close ends a loan that is repaid in full and gives the customer the limit back.
func (l *Loan) Close(e Event) (Loan, Act, Result) {
	next, result := l.begin(e, Active)
	switch {
	case result != Applied:
	case !l.Owed().IsZero():
		result = StillOwed
	case !l.DeferredFee.IsZero():
		result = FeeDeferred
	}
	if result != Applied {
		return *l, Act{}, result
	}
	restored := l.Contract.Offer.Principal
	act := Act{Kind: LoanClosed, Limit: restored, Legs: l.Contract.holders().leg(nil, LegRestore, restored)}
	next.Status, next.Ahead = Closed, money.Amount{}
	next.finish(e, &act)
	return next, act, Applied
}
