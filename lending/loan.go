package lending

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/invariant"
	"surety/base/money"
)

// Status is where a loan is in its life. The numbers are stored: never renumber.
type Status uint8

// The statuses.
const (
	Approved   Status = 1 // contracted; no money has moved
	Active     Status = 2 // disbursed and not yet closed
	Closed     Status = 3 // repaid in full, its limit restored
	WrittenOff Status = 4 // given up; what still comes in is recovery
	Cancelled  Status = 5 // never disbursed
)

var statusNames = [...]string{1: "approved", 2: "active", 3: "closed", 4: "written_off",
	5: "cancelled"}

// String returns the status's name in the API.
func (s Status) String() string { return enumText(statusNames[:], int(s)) }

// Bucket is how late a loan is, in classes. The numbers are stored: never renumber.
type Bucket uint8

// The buckets, by days past due.
const (
	BucketCurrent Bucket = 0 // none
	Bucket1To30   Bucket = 1
	Bucket31To60  Bucket = 2
	Bucket61To90  Bucket = 3
	BucketOver90  Bucket = 4
)

// String returns the bucket's name in the API.
func (b Bucket) String() string {
	return [...]string{"current", "1-30", "31-60", "61-90", "90+"}[min(b, BucketOver90)]
}

// BucketOf returns the bucket of so many days past due.
func BucketOf(daysPastDue int) Bucket {
	switch {
	case daysPastDue <= 0:
		return BucketCurrent
	case daysPastDue > 90:
		return BucketOver90
	}
	return Bucket(1 + (daysPastDue-1)/30)
}

// Due is an instalment whose date has come and of which something, or a penalty on it, is unpaid.
type Due struct {
	Number    int // of the instalment; after maturity the count goes on
	On        clock.Date
	Interest  money.Amount // unpaid
	Principal money.Amount // unpaid
	Penalty   money.Amount // charged on it and unpaid
	// PenaltyTo is the day up to which a penalty has been charged on it; On where none has.
	PenaltyTo clock.Date
}

// instalment returns what is unpaid of the instalment itself.
func (d *Due) instalment() money.Amount { return plus(d.Interest, d.Principal) }

func (d *Due) paid() bool { return plus(d.instalment(), d.Penalty).IsZero() }

// Loan is the state of one loan. It is made by NewLoan and moved on by its transitions, each of
// which returns the next state and leaves the receiver as it was. The fields are for reading.
type Loan struct {
	Contract *Contract // never nil, never changed
	Status   Status
	// On is the business date of the last event; no event is dated before it.
	On clock.Date

	// The balances, equal to those of the loan's accounts and its part of the shared ones.
	Principal   money.Amount // outstanding, due or not
	Interest    money.Amount // accrued and unpaid, due or not
	Penalty     money.Amount // charged and unpaid: the sum of those on the dues
	DeferredFee money.Amount // of the origination fee, not yet income
	Overpaid    money.Amount // received beyond all that was owed, and not refunded

	Paid       money.Amount // received in repayments, in all
	WrittenOff money.Amount // principal, interest and penalty given up
	Recovered  money.Amount // received after that

	// Instalment is what every due date but the last asks for; early repayment can lower it.
	Instalment money.Amount
	// Next is the number of the next instalment to fall due, from 1; above the contract's term
	// after maturity.
	Next int
	// AccruedTo is the day up to which interest has been accrued: half open, so interest for that
	// day itself is still to come.
	AccruedTo clock.Date
	// Ahead is what was paid for instalments that have not fallen due, under EarlyNext.
	Ahead money.Amount
	// Dues are the instalments that are due and not paid in full, oldest first.
	Dues []Due
	// Events are the ids of the events applied, in order.
	Events []ident.ID
}

// NewLoan returns the loan of a contract, approved and not disbursed. The loan keeps the pointer:
// the contract must not change any more.
func NewLoan(c *Contract) Loan {
	return Loan{Contract: c, Status: Approved, On: c.Offer.Start, Instalment: c.Schedule.Instalment,
		Next: 1, AccruedTo: c.Offer.Start}
}

// Result is the answer to a transition. The numbers are stored and sent: never renumber. They stand
// in order of precedence: a transition that could be refused for several reasons gives the first.
type Result uint16

// The results.
const (
	Applied            Result = 0
	EventIDMissing     Result = 1  // the event's id, or the reservation's, is zero or the maximum
	EventRepeated      Result = 2  // the event was applied before: nothing changes, nothing is posted
	EventsFull         Result = 3  // the loan has had as many events as one can have
	StatusWrong        Result = 4  // not in this status
	DateEarlier        Result = 5  // the date is before the last event, or not the contract's
	AmountMissing      Result = 6  // the amount is zero
	AmountTooGreat     Result = 7  // the amount is beyond any loan
	InstalmentNotDue   Result = 8  // an instalment fell due on or before the date: accrue it first
	PenaltyNotCharged  Result = 9  // a penalty is owed up to the date: charge it first
	InterestNotAccrued Result = 10 // interest is owed up to the date: accrue it first
	NothingToDo        Result = 11 // there is nothing to accrue, charge or amortise
	StillOwed          Result = 12 // principal, interest or penalty is outstanding
	FeeDeferred        Result = 13 // part of the fee is not yet income: amortise it first
	NotLateEnough      Result = 14 // fewer days past due than the product asks for
	MoreThanOverpaid   Result = 15 // the refund is above what was overpaid
	MoreThanLost       Result = 16 // the recovery is above what was written off and not recovered
)

var resultNames = [...]string{"applied", "event_id_missing", "event_repeated", "events_full",
	"status_wrong", "date_earlier", "amount_missing", "amount_too_great", "instalment_not_due",
	"penalty_not_charged", "interest_not_accrued", "nothing_to_do", "still_owed", "fee_deferred",
	"not_late_enough", "more_than_overpaid", "more_than_lost"}

var resultSentences = [...]string{
	"applied",
	"the event or the reservation has no id",
	"the event was applied before",
	"the loan has had as many events as one can have",
	"the loan is not in a status that allows this",
	"the date is before the loan's last event or not the contract's",
	"the amount is zero",
	"the amount is beyond any loan",
	"an instalment fell due on or before the date and has not been accrued",
	"a penalty owed up to the date has not been charged",
	"interest owed up to the date has not been accrued",
	"there is nothing to do",
	"principal, interest or penalty is still owed",
	"part of the fee is not yet income",
	"the loan is not late enough",
	"the refund is above what was overpaid",
	"the recovery is above what was written off and not yet recovered",
}

// String returns the result's name in the API.
func (r Result) String() string { return enumText(resultNames[:], int(r)) }

// Sentence returns the result for a person, lower case and without a full stop.
func (r Result) Sentence() string {
	if int(r) < len(resultSentences) {
		return resultSentences[r]
	}
	return r.String()
}

// Event is what the caller gives a transition: the id of the business act, unique for ever, and its
// business date.
type Event struct {
	ID ident.ID
	On clock.Date
}

// Act is what a transition did: the facts of the business event and its postings, numbered from 1
// by their place. Fields that do not apply to the kind are zero.
type Act struct {
	Kind  EventKind
	Event ident.ID
	On    clock.Date
	Legs  []Posting

	// Number is the instalment that an accrual makes due or a penalty is charged on, zero for an
	// accrual between due dates. [From, To) is what interest or penalty is charged for, on Base.
	Number   int
	From, To clock.Date
	Base     money.Amount

	Principal money.Amount // disbursed, repaid or written off
	Interest  money.Amount // accrued, repaid or written off
	Penalty   money.Amount // charged, repaid or written off
	Fee       money.Amount // taken at disbursement, or amortised
	Total     money.Amount // received, recovered or refunded
	Overpaid  money.Amount // of a repayment
	Limit     money.Amount // restored

	// Before a repayment: penalty owed, interest that ranks before the principal it paid, and
	// principal outstanding. Before a write-off: the days past due.
	DuePenalty, DueInterest, Outstanding money.Amount
	DaysPastDue                          int
}

// begin makes the checks that all transitions share, in order of precedence, and returns a copy of
// the loan to work on.
func (l *Loan) begin(e Event, statuses ...Status) (Loan, Result) {
	if e.ID.IsZero() || e.ID == ident.Max {
		return *l, EventIDMissing
	}
	if l.Applied(e.ID) {
		return *l, EventRepeated
	}
	if len(l.Events) >= eventsMax {
		return *l, EventsFull
	}
	allowed := false
	for _, s := range statuses {
		allowed = allowed || s == l.Status
	}
	if !allowed {
		return *l, StatusWrong
	}
	if e.On < l.On || e.On > dateMax {
		return *l, DateEarlier
	}
	return *l, Applied
}

// finish stamps the event on the next state and checks it.
func (l *Loan) finish(e Event, act *Act) {
	act.Event, act.On = e.ID, e.On
	l.On = e.On
	// Appending past the length never writes into memory that an earlier state can see.
	l.Events = append(l.Events[:len(l.Events):len(l.Events)], e.ID)
	l.check()
}

// copyDues gives the state dues of its own before they are changed.
func (l *Loan) copyDues() { l.Dues = append([]Due(nil), l.Dues...) }

// check stops the program where the state contradicts itself.
func (l *Loan) check() {
	if what := l.contradiction(); what != "" {
		invariant.Fail("lending: loan %s: %s", l.Contract.Loan, what)
	}
}

// contradiction says what cannot be in the state, empty where all can.
func (l *Loan) contradiction() string {
	var interest, principal, penalty money.Amount
	for i := range l.Dues {
		due := &l.Dues[i]
		interest, principal = plus(interest, due.Interest), plus(principal, due.Principal)
		penalty = plus(penalty, due.Penalty)
		switch {
		case due.paid():
			return "an instalment paid in full is still due"
		case i > 0 && l.Dues[i-1].On >= due.On, due.On > l.On, due.Number >= l.Next:
			return "dues are out of order"
		case due.PenaltyTo < due.On || due.PenaltyTo > l.On:
			return "a penalty is charged for days outside the delay"
		}
	}
	ended := l.Status == Closed || l.Status == WrittenOff || l.Status == Cancelled
	switch {
	case l.Principal.Less(principal):
		return "more principal is due than outstanding"
	case l.Interest.Less(interest):
		return "more interest is due than accrued"
	case l.Penalty != penalty:
		return "the penalties on the instalments are not the loan's"
	case money.Minor(interestMax).Less(l.Interest):
		return "more interest is accrued than a loan can bear"
	case l.Contract.Offer.Principal.Less(l.Principal):
		return "more principal is outstanding than was lent"
	case l.Contract.Schedule.Fee.Less(l.DeferredFee):
		return "more of the fee is deferred than was taken"
	case l.AccruedTo < l.Contract.due(l.Next-1) || l.AccruedTo > l.On:
		return "interest is accrued to a day outside the period"
	case ended && !l.Owed().IsZero():
		return "an ended loan is still owed"
	case l.WrittenOff.Less(l.Recovered):
		return "more is recovered than was written off"
	}
	return ""
}

// overdue returns the unpaid parts of all instalments that are due.
func (l *Loan) overdue() (interest, principal money.Amount) {
	for i := range l.Dues {
		interest = plus(interest, l.Dues[i].Interest)
		principal = plus(principal, l.Dues[i].Principal)
	}
	return interest, principal
}

// DueNow returns what is due and unpaid: penalty, interest and principal.
func (l *Loan) DueNow() money.Amount {
	interest, principal := l.overdue()
	return plus(l.Penalty, plus(interest, principal))
}

// Owed returns what is outstanding and accrued: principal, interest and penalty, due or not. What
// it takes to close the loan on a day is Payoff's.
func (l *Loan) Owed() money.Amount { return plus(l.Principal, plus(l.Interest, l.Penalty)) }

// DaysPastDue returns the days from the oldest unpaid due date to the date, zero where nothing is
// late: on the due date itself nothing is.
func (l *Loan) DaysPastDue(on clock.Date) int {
	if len(l.Dues) == 0 {
		return 0
	}
	return max(0, on.Sub(l.Dues[0].On))
}

// Bucket returns how late the loan is on the date.
func (l *Loan) Bucket(on clock.Date) Bucket { return BucketOf(l.DaysPastDue(on)) }

// base returns the principal that bears the ordinary interest now.
func (l *Loan) base() money.Amount {
	if l.Contract.Product.OverdueInterest == OverdueAccrues {
		return l.Principal
	}
	_, overdue := l.overdue()
	return minus(l.Principal, overdue)
}

// NextDue returns the day on which the next instalment falls due, and false where none will: all
// principal is repaid or, where overdue principal bears no interest, due.
func (l *Loan) NextDue() (clock.Date, bool) {
	if l.Status != Active {
		return 0, false
	}
	interest, _ := l.overdue()
	if l.base().IsZero() && l.Interest == interest && l.unbilled().IsZero() {
		return 0, false
	}
	return l.Contract.due(l.Next), true
}

// unbilled returns the principal that has not fallen due.
func (l *Loan) unbilled() money.Amount {
	_, overdue := l.overdue()
	return minus(l.Principal, overdue)
}

// owing returns the interest from AccruedTo to the date, which is at most the next due date.
func (l *Loan) owing(to clock.Date) money.Amount {
	p := &l.Contract.Product
	if l.base().IsZero() {
		return money.Amount{}
	}
	current := period{l.Contract.due(l.Next - 1), l.Contract.due(l.Next)}
	years := p.DayCount.part(current, l.AccruedTo, to)
	return mustInterest(l.base(), l.Contract.Offer.Rate, years, p.Rounding)
}
