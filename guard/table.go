package guard

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// mode is how a leg moves money.
type mode uint8

const (
	final   mode = 0 // a plain posting
	reserve mode = 1 // a pending transfer that holds the amount
	settle  mode = 2 // posts the reservation that the event names
)

// tableRow is one leg that an event of the kind asks for where the amount is above zero.
type tableRow struct {
	kind   Kind
	amount Name
	debit  uint16
	credit uint16
	code   uint16 // of a settling leg: its reservation's
	mode   mode
}

// table is the guard's own reading of docs/reference/events.md; a test holds the two together.
var table = [...]tableRow{
	{LimitGranted, AmountLimit, classCommitment, classLimit, 10, final},
	{LimitReserved, AmountPrincipal, classLimit, classDrawn, 11, reserve},
	{LoanDisbursed, AmountPrincipal, classLimit, classDrawn, 11, settle},
	{LoanDisbursed, AmountPrincipal, classPrincipal, classDisbursing, 20, final},
	{LoanDisbursed, AmountPrincipal, classDisbursing, classDeposit, 21, final},
	{LoanDisbursed, AmountFee, classDeposit, classDeferredFee, 22, final},
	{InterestAccrued, AmountInterest, classInterest, classInterestIncome, 30, final},
	{InterestAccrued, AmountFeeAmortised, classDeferredFee, classInterestIncome, 31, final},
	{PenaltyCharged, AmountPenalty, classPenalty, classPenaltyIncome, 40, final},
	{LoanRepaid, AmountTotal, classBank, classRepaying, 50, final},
	{LoanRepaid, AmountPenalty, classRepaying, classPenalty, 51, final},
	{LoanRepaid, AmountInterest, classRepaying, classInterest, 52, final},
	{LoanRepaid, AmountPrincipal, classRepaying, classPrincipal, 53, final},
	{LoanRepaid, AmountOverpaid, classRepaying, classOverpaid, 54, final},
	{LoanClosed, AmountLimit, classDrawn, classLimit, 60, final},
	{LoanWrittenOff, AmountPrincipal, classBadDebt, classPrincipal, 70, final},
	{LoanWrittenOff, AmountInterest, classBadDebt, classInterest, 71, final},
	{LoanWrittenOff, AmountPenalty, classBadDebt, classPenalty, 72, final},
	{LoanRecovered, AmountPaid, classBank, classRecovery, 80, final},
	{OverpaymentRefunded, AmountPaid, classOverpaid, classBank, 81, final},
}

// guardedCode reports whether a transfer code is one of the table's.
func guardedCode(code uint16) bool {
	for i := range table {
		if table[i].code == code {
			return true
		}
	}
	return false
}

// Leg is one posting that must exist, exactly so.
type Leg struct {
	ID      ident.ID // of the transfer
	Debit   ident.ID
	Credit  ident.ID
	Amount  uint64
	Pending ident.ID // the reservation that a settling leg posts
	Ledger  uint32
	Timeout uint32
	Code    uint16
	From    uint16 // class of the debit account
	To      uint16 // class of the credit account
	mode    mode
}

// legs appends the postings that the event asks for, numbered from 1 without gaps.
func (p *product) legs(into []Leg, e *Event) []Leg {
	for i := range table {
		row := &table[i]
		if row.kind != e.Kind || e.Amounts[row.amount] == 0 {
			continue
		}
		leg := Leg{
			ID:     TransferID(e.ID, len(into)+1),
			Debit:  p.account(row.debit, e),
			Credit: p.account(row.credit, e),
			Amount: e.Amounts[row.amount],
			Ledger: p.ledger,
			Code:   row.code,
			From:   row.debit,
			To:     row.credit,
			mode:   row.mode,
		}
		switch row.mode {
		case reserve:
			leg.Timeout = e.Facts.Timeout
		case settle:
			leg.Pending = e.Facts.Reserve
		}
		into = append(into, leg)
	}
	return into
}

// modeFlags are the transfer flags that decide how money moves.
const modeFlags = ledger.TransferPending | ledger.TransferPostPending | ledger.TransferVoidPending |
	ledger.TransferBalancingDebit | ledger.TransferBalancingCredit |
	ledger.TransferClosingDebit | ledger.TransferClosingCredit | ledger.TransferImported

func (m mode) flags() ledger.TransferFlags {
	switch m {
	case reserve:
		return ledger.TransferPending
	case settle:
		return ledger.TransferPostPending
	}
	return 0
}

// agrees compares a posting with the leg and returns the first rule it breaks, zero where it is
// exactly what the leg asks for.
func (l *Leg) agrees(t *ledger.Transfer, date clock.Date) Rule {
	switch {
	case t.Ledger != l.Ledger:
		return PostingCurrency
	case t.DebitAccountID == l.Credit && t.CreditAccountID == l.Debit:
		return PostingSwapped
	case t.DebitAccountID != l.Debit || t.CreditAccountID != l.Credit:
		return PostingAccount
	case t.Code != l.Code:
		return PostingCode
	case t.Amount != money.Minor(l.Amount):
		if powerOfTen(t.Amount, l.Amount) {
			return PostingUnit
		}
		return PostingAmount
	case t.Flags&modeFlags != l.mode.flags(), t.PendingID != l.Pending, t.Timeout != l.Timeout:
		return PostingMode
	case t.UserData32 != uint32(date):
		return PostingDate
	case t.ID != l.ID:
		return PostingKey
	}
	return 0
}

// powerOfTen reports whether the two amounts differ by a factor of 10, 100 or 1000.
func powerOfTen(posted money.Amount, expected uint64) bool {
	n, fits := posted.Uint64()
	if !fits || n == 0 || expected == 0 {
		return false
	}
	small, great := min(n, expected), max(n, expected)
	for _, factor := range [...]uint64{10, 100, 1000} {
		if great/factor == small && great%factor == 0 {
			return true
		}
	}
	return false
}
