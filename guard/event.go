package guard

import (
	"surety/base/clock"
	"surety/base/ident"
)

// Kind is a kind of business event. The numbers are stored in snapshots: never renumber.
type Kind uint8

// The kinds, in the order a loan lives through them.
const (
	KindUnknown         Kind = 0
	ApplicationReceived Kind = 1
	ApplicationDecided  Kind = 2
	LimitGranted        Kind = 3
	LimitReserved       Kind = 4
	ContractSigned      Kind = 5
	LoanDisbursed       Kind = 6
	InterestAccrued     Kind = 7
	PenaltyCharged      Kind = 8
	LoanRepaid          Kind = 9
	LoanClosed          Kind = 10
	LoanWrittenOff      Kind = 11
	LoanRecovered       Kind = 12
	OverpaymentRefunded Kind = 13
	EventCancelled      Kind = 14
	kindMax                  = 15
)

var kindNames = [kindMax]string{"", "application.received", "application.decided", "limit.granted",
	"limit.reserved", "contract.signed", "loan.disbursed", "interest.accrued", "penalty.charged",
	"loan.repaid", "loan.closed", "loan.written_off", "loan.recovered", "overpayment.refunded",
	"event.cancelled"}

// String returns the kind's name in the schema of events.
func (k Kind) String() string { return kindNames[k] }

// ParseKind returns the kind with the name, KindUnknown for any other text.
func ParseKind(name string) Kind {
	for k := ApplicationReceived; k < kindMax; k++ {
		if kindNames[k] == name {
			return k
		}
	}
	return KindUnknown
}

// Name is the name of an amount in an event. The numbers are positions in Event.Amounts.
type Name uint8

// The names of amounts.
const (
	AmountRequested     Name = 0
	AmountOffered       Name = 1
	AmountLimit         Name = 2
	AmountPrincipal     Name = 3
	AmountFee           Name = 4
	AmountTotalInterest Name = 5
	AmountTotalPayable  Name = 6
	AmountInterest      Name = 7
	AmountFeeAmortised  Name = 8
	AmountBalance       Name = 9
	AmountPenalty       Name = 10
	AmountOverdue       Name = 11
	AmountTotal         Name = 12
	AmountOverpaid      Name = 13
	AmountDuePenalty    Name = 14
	AmountDueInterest   Name = 15
	AmountOutstanding   Name = 16
	AmountPaid          Name = 17
	nameMax                  = 18
)

var amountNames = [nameMax]string{"requested", "offered", "limit", "principal", "fee",
	"total_interest", "total_payable", "interest", "fee_amortised", "balance", "penalty", "overdue",
	"total", "overpaid", "due_penalty", "due_interest", "outstanding", "amount"}

// String returns the amount's name in the schema of events.
func (n Name) String() string { return amountNames[n] }

// ParseName returns the amount's name and whether it is one the guard knows.
func ParseName(text string) (Name, bool) {
	for n := range amountNames {
		if amountNames[n] == text {
			return Name(n), true
		}
	}
	return 0, false
}

// Outcome is what was decided about an application.
type Outcome uint8

// The outcomes.
const (
	OutcomeNone    Outcome = 0
	OutcomeApprove Outcome = 1
	OutcomeDecline Outcome = 2
	OutcomeRefer   Outcome = 3
)

// Event is a business event as the guard understands it: the schema's texts read into numbers.
type Event struct {
	Seq         uint64
	ID          ident.ID
	Kind        Kind
	At          clock.Instant
	Date        clock.Date
	Trace       ident.ID
	Application ident.ID
	Loan        ident.ID
	Customer    ident.ID
	Cause       ident.ID
	Product     string
	Currency    string
	Ledger      uint32 // the currency's ISO number

	Amounts [nameMax]uint64 // by Name; zero where the event has none
	Facts   Facts
	Flows   []Flow

	// Flaw says what could not be read, empty where all could: the event is then a breach, and
	// its amounts and facts are not trusted. Range says that an amount is above MinorMax.
	Flaw  string
	Range bool
}

// Facts are what an event says besides amounts; zero where it does not say it.
type Facts struct {
	Outcome     Outcome
	DayCount    DayCount
	Term        uint16
	Number      uint32
	Timeout     uint32 // seconds
	From, To    clock.Date
	FirstDue    clock.Date
	DisbursedOn clock.Date
	Rate        uint64 // a year, in 1e-9 percent
	RateEU      uint64 // disclosed, in 1e-6 percent
	RateUS      uint64
	PastDue     uint32 // days
	Terms       Terms
	Reserve     ident.ID
	Key         string
	Reference   string
}

// Terms are what a contract says about payments that are early or late. Where a contract does not
// say all of them, the checker cannot follow what falls due, and keeps to bounds.
type Terms struct {
	Rounding        Rounding
	Overdue         Overdue
	Early           Early
	Allocation      Allocation
	PenaltyDayCount DayCount
	PenaltyRate     uint64 // a year, in 1e-9 percent
}

// Rounding says which minor unit an exact amount becomes. The numbers are stored in snapshots: never
// renumber.
type Rounding uint8

// The roundings.
const (
	RoundingNone     Rounding = 0 // not known
	RoundingHalfEven Rounding = 1
	RoundingHalfUp   Rounding = 2
	RoundingDown     Rounding = 3
	RoundingUp       Rounding = 4
)

var roundingNames = [...]string{"", "half_even", "half_up", "down", "up"}

// ParseRounding returns the rounding of the name in the contract, RoundingNone for any other text.
func ParseRounding(name string) Rounding {
	for i := 1; i < len(roundingNames); i++ {
		if roundingNames[i] == name {
			return Rounding(i)
		}
	}
	return RoundingNone
}

// Overdue says whether principal that was not paid when due goes on bearing interest.
type Overdue uint8

// The rules for overdue principal.
const (
	OverdueNone    Overdue = 0
	OverdueAccrues Overdue = 1
	OverdueStops   Overdue = 2
)

// ParseOverdue returns the rule of the name in the contract, OverdueNone for any other text.
func ParseOverdue(name string) Overdue {
	switch name {
	case "accrues":
		return OverdueAccrues
	case "stops":
		return OverdueStops
	}
	return OverdueNone
}

// Early says what money beyond what is due does to the instalments to come.
type Early uint8

// The rules of early repayment.
const (
	EarlyNone       Early = 0
	EarlyNext       Early = 1 // less is due next
	EarlyShorten    Early = 2 // the loan ends sooner
	EarlyReamortise Early = 3 // each instalment is lower
)

// ParseEarly returns the rule of the name in the contract, EarlyNone for any other text.
func ParseEarly(name string) Early {
	switch name {
	case "next":
		return EarlyNext
	case "shorten":
		return EarlyShorten
	case "reamortise":
		return EarlyReamortise
	}
	return EarlyNone
}

// Allocation is the order in which a repayment pays what is due; the zero Allocation is not known.
type Allocation [3]Part

// Part is a part of what is due.
type Part uint8

// The parts.
const (
	PartNone      Part = 0
	PartPenalty   Part = 1
	PartInterest  Part = 2
	PartPrincipal Part = 3
)

// Flow is one instalment as a contract promises it.
type Flow struct {
	Due       clock.Date
	Payment   uint64
	Interest  uint64
	Principal uint64
}

// Subject returns the loan, or the application where there is no loan yet.
func (e *Event) Subject() ident.ID {
	if e.Loan.IsZero() {
		return e.Application
	}
	return e.Loan
}

// amount returns the named amount.
func (e *Event) amount(n Name) uint64 { return e.Amounts[n] }
