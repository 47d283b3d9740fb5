package drill

import (
	"strconv"

	"surety/api/event"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// Act is one business act of the traffic: the event, and the order that posts it.
type Act struct {
	Event     event.Event
	Accounts  []ledger.Account // that must exist before
	Transfers []ledger.Transfer
}

// line is a line of the accounting table of docs/reference/events.md, written out once more: what
// posts here shares nothing with what checks it.
type line struct {
	kind   string
	amount string
	debit  uint16
	credit uint16
	code   uint16
}

var lines = [...]line{
	{event.LimitGranted, "limit", 910, 900, 10},
	{event.LimitReserved, "principal", 900, 920, 11},
	{event.LoanDisbursed, "principal", 900, 920, 0},
	{event.LoanDisbursed, "principal", 200, 110, 20},
	{event.LoanDisbursed, "principal", 110, 300, 21},
	{event.LoanDisbursed, "fee", 300, 320, 22},
	{event.InterestAccrued, "interest", 210, 400, 30},
	{event.InterestAccrued, "fee_amortised", 320, 400, 31},
	{event.PenaltyCharged, "penalty", 220, 410, 40},
	{event.LoanRepaid, "total", 100, 120, 50},
	{event.LoanRepaid, "penalty", 120, 220, 51},
	{event.LoanRepaid, "interest", 120, 210, 52},
	{event.LoanRepaid, "principal", 120, 200, 53},
	{event.LoanRepaid, "overpaid", 120, 310, 54},
	{event.LoanClosed, "limit", 920, 900, 60},
	{event.LoanWrittenOff, "principal", 510, 200, 70},
	{event.LoanWrittenOff, "interest", 510, 210, 71},
	{event.LoanWrittenOff, "penalty", 510, 220, 72},
	{event.LoanRecovered, "amount", 100, 520, 80},
	{event.OverpaymentRefunded, "amount", 310, 100, 81},
}

// post fills in an act's accounts and transfers from its event.
func (a *Act) post() {
	e := &a.Event
	currency, _ := money.CurrencyOf(e.Currency)
	a.Accounts, a.Transfers = a.Accounts[:0], a.Transfers[:0]
	for _, l := range lines {
		amount := e.Amount(l.amount)
		if l.kind != e.Kind || amount.IsZero() {
			continue
		}
		leg := len(a.Transfers) + 1
		t := ledger.Transfer{
			ID:          transferID(e.ID, leg),
			Amount:      amount,
			UserData128: e.ID, UserData64: uint64(leg), UserData32: uint32(e.Date),
		}
		switch {
		case l.code == 0:
			t.Flags = ledger.TransferPostPending
			t.PendingID, _ = ident.Parse(e.Facts["reserve"])
		default:
			t.DebitAccountID, t.CreditAccountID = accountOf(l.debit, e), accountOf(l.credit, e)
			t.Ledger, t.Code = currency.Number, l.code
		}
		if l.kind == event.LimitReserved {
			t.Flags |= ledger.TransferPending
			seconds, _ := strconv.ParseUint(e.Facts["timeout_seconds"], 10, 32)
			t.Timeout = uint32(seconds)
		}
		a.Transfers = append(a.Transfers, t)
		a.Accounts = append(a.Accounts, newAccount(l.debit, e, currency), newAccount(l.credit, e, currency))
	}
	link(a.Transfers)
}

// link makes one chain of the transfers.
func link(list []ledger.Transfer) {
	for i := range list {
		list[i].Flags &^= ledger.TransferLinked
		if i+1 < len(list) {
			list[i].Flags |= ledger.TransferLinked
		}
	}
}

func transferID(id ident.ID, leg int) ident.ID {
	return ident.Derive("transfer", id.String(), strconv.Itoa(leg))
}

// ownerOf returns whose the accounts of a class are.
func ownerOf(class uint16, e *event.Event) ident.ID {
	switch class {
	case 200, 210, 220:
		return e.Loan
	case 300, 310, 900:
		return e.Customer
	}
	return ident.Derive("product", e.Product)
}

func accountOf(class uint16, e *event.Event) ident.ID {
	return ident.Derive("account", strconv.Itoa(int(class)), ownerOf(class, e).String(), e.Currency)
}

func newAccount(class uint16, e *event.Event, currency money.Currency) ledger.Account {
	a := ledger.Account{ID: accountOf(class, e), UserData128: ownerOf(class, e),
		Ledger: currency.Number, Code: class}
	switch class {
	case 200, 210, 220:
		a.Flags = ledger.AccountCreditsMustNotExceedDebits
	case 300, 310, 320, 900, 920:
		a.Flags = ledger.AccountDebitsMustNotExceedCredits
	}
	return a
}
