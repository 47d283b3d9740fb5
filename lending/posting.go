package lending

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// EventKind is a kind of business act that moves money. The numbers are stored: never renumber.
type EventKind uint8

// The kinds, in the order a loan lives through them.
const (
	LimitGranted        EventKind = 1
	LimitReserved       EventKind = 2
	LoanDisbursed       EventKind = 3
	InterestAccrued     EventKind = 4
	PenaltyCharged      EventKind = 5
	LoanRepaid          EventKind = 6
	LoanClosed          EventKind = 7
	LoanWrittenOff      EventKind = 8
	LoanRecovered       EventKind = 9
	OverpaymentRefunded EventKind = 10
	LoanCancelled       EventKind = 11
)

var eventNames = [...]string{1: "limit.granted", 2: "limit.reserved", 3: "loan.disbursed",
	4: "interest.accrued", 5: "penalty.charged", 6: "loan.repaid", 7: "loan.closed",
	8: "loan.written_off", 9: "loan.recovered", 10: "overpayment.refunded", 11: "event.cancelled"}

// String returns the kind's name in the schema of business events.
func (k EventKind) String() string { return enumText(eventNames[:], int(k)) }

// EventID returns the id of a business act: the same act has the same id however often it is
// driven. The subject is the loan or application; the discriminator tells apart acts of one kind
// on one subject, and is empty where there can be only one.
func EventID(kind EventKind, subject ident.ID, discriminator string) ident.ID {
	return ident.Derive("event", kind.String(), subject.String(), discriminator)
}

// TransferID returns the id of the transfer that carries an event's leg, counted from 1.
func TransferID(event ident.ID, leg int) ident.ID {
	return ident.Derive("transfer", event.String(), money.Minor(uint64(leg)).String())
}

// Leg is a line of the accounting table: its number is the transfer's code in the ledger. The
// numbers are stored: never renumber.
type Leg uint16

// The legs, by event.
const (
	LegLimit          Leg = 10
	LegReserve        Leg = 11
	LegDisburse       Leg = 20
	LegDeposit        Leg = 21
	LegFee            Leg = 22
	LegInterest       Leg = 30
	LegFeeAmortised   Leg = 31
	LegPenalty        Leg = 40
	LegReceive        Leg = 50
	LegPayPenalty     Leg = 51
	LegPayInterest    Leg = 52
	LegPayPrincipal   Leg = 53
	LegOverpaid       Leg = 54
	LegRestore        Leg = 60
	LegLosePrincipal  Leg = 70
	LegLoseInterest   Leg = 71
	LegLosePenalty    Leg = 72
	LegRecover        Leg = 80
	LegRefundOverpaid Leg = 81
)

// LegInfo is a line of the accounting table.
type LegInfo struct {
	Leg    Leg
	Event  EventKind
	Debit  Class
	Credit Class
	Name   string
}

// table is the accounting table. The legs of one event are posted in this order.
var table = [...]LegInfo{
	{LegLimit, LimitGranted, ClassCommitment, ClassLimit, "limit granted"},
	{LegReserve, LimitReserved, ClassLimit, ClassDrawn, "limit reserved, later drawn"},
	{LegDisburse, LoanDisbursed, ClassPrincipal, ClassDisbursing, "principal lent"},
	{LegDeposit, LoanDisbursed, ClassDisbursing, ClassDeposit, "principal in the account"},
	{LegFee, LoanDisbursed, ClassDeposit, ClassDeferredFee, "origination fee"},
	{LegInterest, InterestAccrued, ClassInterest, ClassInterestIncome, "interest"},
	{LegFeeAmortised, InterestAccrued, ClassDeferredFee, ClassInterestIncome, "fee amortised"},
	{LegPenalty, PenaltyCharged, ClassPenalty, ClassPenaltyIncome, "penalty"},
	{LegReceive, LoanRepaid, ClassBank, ClassRepaying, "money received"},
	{LegPayPenalty, LoanRepaid, ClassRepaying, ClassPenalty, "penalty paid"},
	{LegPayInterest, LoanRepaid, ClassRepaying, ClassInterest, "interest paid"},
	{LegPayPrincipal, LoanRepaid, ClassRepaying, ClassPrincipal, "principal repaid"},
	{LegOverpaid, LoanRepaid, ClassRepaying, ClassOverpaid, "overpaid"},
	{LegRestore, LoanClosed, ClassDrawn, ClassLimit, "limit restored"},
	{LegLosePrincipal, LoanWrittenOff, ClassBadDebt, ClassPrincipal, "principal written off"},
	{LegLoseInterest, LoanWrittenOff, ClassBadDebt, ClassInterest, "interest written off"},
	{LegLosePenalty, LoanWrittenOff, ClassBadDebt, ClassPenalty, "penalty written off"},
	{LegRecover, LoanRecovered, ClassBank, ClassRecovery, "recovered"},
	{LegRefundOverpaid, OverpaymentRefunded, ClassOverpaid, ClassBank, "overpayment refunded"},
}

// Table returns the accounting table in order.
func Table() []LegInfo { return append([]LegInfo(nil), table[:]...) }

// Info returns the leg's line of the table, and false for a number that is no leg.
func (l Leg) Info() (LegInfo, bool) {
	for i := range table {
		if table[i].Leg == l {
			return table[i], true
		}
	}
	return LegInfo{}, false
}

// Mode is how a posting moves money. The numbers are stored: never renumber.
type Mode uint8

// The modes.
const (
	Final       Mode = 0 // at once
	Pending     Mode = 1 // reserves the amount
	PostPending Mode = 2 // turns a reservation into a final posting
	VoidPending Mode = 3 // releases a reservation
)

// Posting is one leg of an event: an amount above zero from one account to another. The postings of
// an event form one chain, which the ledger accepts whole or refuses whole.
type Posting struct {
	Leg     Leg
	Debit   AccountRef
	Credit  AccountRef
	Amount  money.Amount
	Mode    Mode
	Pending ident.ID // PostPending and VoidPending: the transfer that reserved
	Timeout uint32   // Pending: seconds until the reservation lapses, zero for never
}

// Transfer returns the posting as a ledger record, without what the chain gives it: its id, its
// links and its reference to the event.
func (p *Posting) Transfer(currency money.Currency) ledger.Transfer {
	t := ledger.Transfer{Amount: p.Amount}
	switch p.Mode {
	case PostPending:
		t.Flags, t.PendingID = ledger.TransferPostPending, p.Pending
		return t
	case VoidPending:
		t.Flags, t.PendingID = ledger.TransferVoidPending, p.Pending
		return t
	case Pending:
		t.Flags, t.Timeout = ledger.TransferPending, p.Timeout
	}
	t.DebitAccountID, t.CreditAccountID = p.Debit.ID(currency.Code), p.Credit.ID(currency.Code)
	t.Ledger, t.Code = currency.Number, uint16(p.Leg)
	return t
}

// Chain returns the postings of an event as one linked chain of ledger records, with their ids, and
// the event, leg number and business date in the user data.
func Chain(event ident.ID, on clock.Date, currency money.Currency, legs []Posting) []ledger.Transfer {
	chain := make([]ledger.Transfer, len(legs))
	for i := range legs {
		t := legs[i].Transfer(currency)
		t.ID = TransferID(event, i+1)
		t.UserData128, t.UserData64, t.UserData32 = event, uint64(i+1), uint32(on)
		if i+1 < len(legs) {
			t.Flags |= ledger.TransferLinked
		}
		chain[i] = t
	}
	return chain
}

// Accounts returns the accounts that the postings touch, each once, in order of first use.
func Accounts(currency money.Currency, legs []Posting) []ledger.Account {
	var list []ledger.Account
	seen := func(id ident.ID) bool {
		for i := range list {
			if list[i].ID == id {
				return true
			}
		}
		return false
	}
	for i := range legs {
		for _, ref := range [...]AccountRef{legs[i].Debit, legs[i].Credit} {
			if record := ref.Record(currency); !seen(record.ID) {
				list = append(list, record)
			}
		}
	}
	return list
}

// holders are the three ids that derive the accounts of one loan.
type holders struct {
	product, loan, customer ident.ID
}

// leg appends the posting of a line of the table, unless the amount is zero.
func (h holders) leg(legs []Posting, line Leg, amount money.Amount) []Posting {
	if amount.IsZero() {
		return legs
	}
	info, _ := line.Info()
	return append(legs, Posting{Leg: line, Debit: h.account(info.Debit), Credit: h.account(info.Credit),
		Amount: amount})
}

func (h holders) account(class Class) AccountRef {
	info, _ := class.Info()
	switch info.Holder {
	case HeldByLoan:
		return AccountRef{class, h.loan}
	case HeldByCustomer:
		return AccountRef{class, h.customer}
	}
	return AccountRef{class, h.product}
}

// GrantLimit returns the posting that adds to a customer's credit limit; none for zero.
func GrantLimit(product, customer ident.ID, amount money.Amount) []Posting {
	return holders{product: product, customer: customer}.leg(nil, LegLimit, amount)
}

// ReserveLimit returns the posting that holds part of a customer's limit for a loan until the
// timeout in seconds, zero for never; none for an amount of zero. The ledger refuses it where
// less than that is unused, however many ask at once.
func ReserveLimit(product, customer ident.ID, amount money.Amount, timeoutSeconds uint32) []Posting {
	legs := holders{product: product, customer: customer}.leg(nil, LegReserve, amount)
	for i := range legs {
		legs[i].Mode, legs[i].Timeout = Pending, timeoutSeconds
	}
	return legs
}

// ReleaseLimit returns the posting that gives a reservation back before its timeout. The
// reservation is the id of its transfer.
func ReleaseLimit(product, customer ident.ID, amount money.Amount, reservation ident.ID) []Posting {
	legs := holders{product: product, customer: customer}.leg(nil, LegReserve, amount)
	for i := range legs {
		legs[i].Mode, legs[i].Pending = VoidPending, reservation
	}
	return legs
}
