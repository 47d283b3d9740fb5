package lending

import (
	"strconv"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

const loanFormat = "surety.loan 1"

// Encode returns the state's canonical text. The contract is in it by its digest alone.
func (l *Loan) Encode() []byte {
	e := newEncoder(loanFormat, 768+len(l.Dues)*72+len(l.Events)*39)
	e.digest("contract", l.Contract.Digest())
	e.word("status", l.Status.String())
	e.date("on", l.On)
	for _, a := range l.amounts() {
		e.amount(a.key, *a.amount)
	}
	e.number("next", uint64(l.Next))
	e.date("accrued_to", l.AccruedTo)
	e.number("dues", uint64(len(l.Dues)))
	for i := range l.Dues {
		l.Dues[i].encode(e)
	}
	e.number("events", uint64(len(l.Events)))
	for _, id := range l.Events {
		e.id("event", id)
	}
	return e.b
}

// namedAmount is an amount of the state and its key.
type namedAmount struct {
	key    string
	amount *money.Amount
}

func (l *Loan) amounts() [10]namedAmount {
	return [...]namedAmount{{"principal", &l.Principal}, {"interest", &l.Interest},
		{"penalty", &l.Penalty}, {"deferred_fee", &l.DeferredFee}, {"overpaid", &l.Overpaid},
		{"paid", &l.Paid}, {"written_off", &l.WrittenOff}, {"recovered", &l.Recovered},
		{"instalment", &l.Instalment}, {"ahead", &l.Ahead}}
}

// DecodeLoan is the inverse of Encode for a loan of the contract; kind Corrupt for anything else,
// including a state that contradicts itself, and TooLarge beyond 256 KiB.
func DecodeLoan(data []byte, c *Contract) (Loan, error) {
	d := newDecoder("lending.loan", loanFormat, data)
	l := Loan{Contract: c}
	if digest := d.digest("contract"); d.err == nil && digest != c.Digest() {
		d.fail("contract %s, want %s", digest, c.Digest())
	}
	l.Status = Status(d.enum("status", statusNames[:]))
	l.On = d.date("on")
	for _, a := range l.amounts() {
		if *a.amount = d.amount(a.key); money.Minor(amountMax).Less(*a.amount) {
			d.fail("%s is %s, the limit is %d", a.key, a.amount, uint64(amountMax))
		}
	}
	l.Next = int(d.number("next", nextMax))
	l.AccruedTo = d.date("accrued_to")
	for range d.number("dues", nextMax) {
		if d.err != nil {
			break
		}
		l.Dues = append(l.Dues, decodeDue(d))
	}
	for range d.number("events", eventsMax) {
		if d.err != nil {
			break
		}
		l.Events = append(l.Events, d.id("event"))
	}
	if d.err == nil && (l.Next == 0 || l.On < c.Offer.Start || l.On > dateMax) {
		d.fail("next is %d on %s", l.Next, l.On)
	}
	if d.err == nil {
		if what := l.contradiction(); what != "" {
			d.fail("%s", what)
		}
	}
	if err := d.close(data, l.Encode); err != nil {
		return Loan{}, err
	}
	return l, nil
}

func (due *Due) encode(e *encoder) {
	e.key("due")
	e.b = strconv.AppendInt(e.b, int64(due.Number), 10)
	e.space()
	e.b = append(e.b, due.On.String()...)
	e.space()
	e.appendAmount(due.Interest)
	e.space()
	e.appendAmount(due.Principal)
	e.space()
	e.appendAmount(due.Penalty)
	e.space()
	e.b = append(e.b, due.PenaltyTo.String()...)
	e.end()
}

func decodeDue(d *decoder) (due Due) {
	words := d.words("due", 6)
	if d.err != nil {
		return due
	}
	n, err := parseNumber(words[0], nextMax)
	due.Number = int(n)
	if err == nil {
		due.On, err = clock.ParseDate(words[1])
	}
	if err == nil {
		due.Interest, err = money.ParseMinor(words[2])
	}
	if err == nil {
		due.Principal, err = money.ParseMinor(words[3])
	}
	if err == nil {
		due.Penalty, err = money.ParseMinor(words[4])
	}
	if err == nil {
		due.PenaltyTo, err = clock.ParseDate(words[5])
	}
	limit := money.Minor(amountMax)
	switch {
	case err != nil:
		d.fail("due: %v", err)
	case limit.Less(due.Interest) || limit.Less(due.Principal) || limit.Less(due.Penalty):
		d.fail("due: %s, %s and %s: the limit is %s", due.Interest, due.Principal, due.Penalty, limit)
	}
	return due
}

// Applied reports whether the event has been applied to the loan.
func (l *Loan) Applied(event ident.ID) bool {
	for _, id := range l.Events {
		if id == event {
			return true
		}
	}
	return false
}
