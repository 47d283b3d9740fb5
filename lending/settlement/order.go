package settlement

import (
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/invariant"
	"surety/base/money"
	"surety/ledger"
	"surety/lending"
)

// NewOrder returns the order that posts an event: its legs as one linked chain, and the accounts
// that they touch.
func NewOrder(event ident.ID, on clock.Date, currency money.Currency, legs []lending.Posting) Order {
	return Order{Event: event, Accounts: lending.Accounts(currency, legs),
		Transfers: lending.Chain(event, on, currency, legs)}
}

// orderVersion is the first byte of an encoded order.
const orderVersion = 1

// Encode returns the order as it is stored: version, the number of accounts and of transfers, the
// event, and the records as the ledger encodes them. An order of more than 64 accounts or transfers
// is a contradiction: no event has so many legs.
func (o *Order) Encode() []byte {
	invariant.Check(len(o.Accounts) <= recordsMax && len(o.Transfers) <= recordsMax,
		"settlement: an order is longer than any chain of the accounting table")
	body := make([]byte, 0, 3+16+ledger.RecordSize*(len(o.Accounts)+len(o.Transfers)))
	body = append(body, orderVersion, byte(len(o.Accounts)), byte(len(o.Transfers)))
	event := o.Event.Bytes()
	body = append(body, event[:]...)
	body = ledger.EncodeAccounts(body, o.Accounts)
	return ledger.EncodeTransfers(body, o.Transfers)
}

// DecodeOrder is the inverse of Encode; kind Corrupt for anything else.
func DecodeOrder(body []byte) (Order, error) {
	const head = 3 + 16
	if len(body) < head || body[0] != orderVersion {
		return Order{}, errs.New(errs.Corrupt, "settlement.decode: %d bytes are no order", len(body))
	}
	accounts, transfers := int(body[1]), int(body[2])
	if accounts > recordsMax || transfers > recordsMax ||
		len(body) != head+ledger.RecordSize*(accounts+transfers) {
		return Order{}, errs.New(errs.Corrupt,
			"settlement.decode: %d bytes for %d accounts and %d transfers", len(body), accounts, transfers)
	}
	o := Order{Event: ident.FromBytes([16]byte(body[3:head]))}
	middle := head + ledger.RecordSize*accounts
	var err error
	if o.Accounts, err = ledger.DecodeAccounts(nil, body[head:middle]); err != nil {
		return Order{}, errs.As(errs.Corrupt, err, "settlement.decode")
	}
	if o.Transfers, err = ledger.DecodeTransfers(nil, body[middle:]); err != nil {
		return Order{}, errs.As(errs.Corrupt, err, "settlement.decode")
	}
	return o, nil
}
