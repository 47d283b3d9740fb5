// Package source brings the guard what it reads: events from a service's outbox and entries from
// the ledger's feed.
//
// Parse is the one place where the texts of the event schema become numbers for the guard. It does
// not refuse: an event that lacks something or cannot be read is still an event, whose Flaw the
// core reports as a breach. Two readers follow the two streams and hand on batches, with the news
// that an end was reached; from that news alone the core may conclude that something is missing.
//
// # Invariants
//
// A reader hands on positions without gaps and in order, from the one after where it was told to
// start. An end is reported with the instant at which the read began, never a later one.
//
// # Concurrency
//
// A Reader belongs to the goroutine that calls Run.
package source

import (
	"strconv"
	"strings"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/guard"
)

// Parse reads an event of the schema. Texts beyond the schema are ignored: the guard checks what it
// knows, and docs/reference/events.md is what it knows.
func Parse(e *event.Event) guard.Event {
	p := parser{event: e, out: guard.Event{
		Seq: e.Seq, ID: e.ID, Kind: guard.ParseKind(e.Kind), At: e.At, Date: e.Date, Trace: e.Trace,
		Application: e.Application, Loan: e.Loan, Customer: e.Customer, Cause: e.Cause,
		Product: e.Product, Currency: e.Currency,
	}}
	if p.out.Kind == guard.KindUnknown {
		p.out.Flaw = e.Kind
		return p.out
	}
	p.subject()
	p.amounts()
	p.facts()
	p.flows()
	return p.out
}

// parser keeps the first thing that could not be read.
type parser struct {
	event *event.Event
	out   guard.Event
}

func (p *parser) flaw(what string) {
	if p.out.Flaw == "" {
		p.out.Flaw = what
	}
}

// subject checks that the event says whom it is about and in which currency.
func (p *parser) subject() {
	e := &p.out
	currency, err := money.CurrencyOf(e.Currency)
	switch {
	case e.ID.IsZero():
		p.flaw("id is missing")
	case e.Customer.IsZero():
		p.flaw("customer is missing")
	case e.Application.IsZero():
		p.flaw("application is missing")
	case e.Kind >= guard.ContractSigned && e.Kind != guard.EventCancelled && e.Loan.IsZero():
		p.flaw("loan is missing")
	case e.Product == "":
		p.flaw("product is missing")
	case err != nil || currency.Code != e.Currency:
		p.flaw("currency is not known: " + e.Currency)
	case e.Cause.IsZero() && needsCause(e.Kind):
		p.flaw("cause is missing")
	}
	e.Ledger = currency.Number
}

func needsCause(kind guard.Kind) bool {
	return kind == guard.ContractSigned || kind == guard.LoanDisbursed || kind == guard.EventCancelled
}

func (p *parser) amounts() {
	for name, amount := range p.event.Amounts {
		n, known := guard.ParseName(name)
		if known {
			p.out.Amounts[n] = p.minor(amount, name)
		}
	}
	for _, n := range required[p.out.Kind].amounts {
		if _, present := p.event.Amounts[n.String()]; !present {
			p.flaw("amount " + n.String() + " is missing")
		}
	}
}

// minor bounds an amount.
func (p *parser) minor(amount money.Amount, name string) uint64 {
	n, fits := amount.Uint64()
	if !fits || n > guard.MinorMax {
		p.out.Range = true
		p.flaw("amount " + name + " is " + amount.String())
		return 0
	}
	return n
}

// need is what an event of a kind must have.
type need struct {
	amounts []guard.Name
	facts   []string
}

var required = [...]need{
	guard.ApplicationReceived: {amounts: []guard.Name{guard.AmountRequested}},
	guard.ApplicationDecided:  {facts: []string{"outcome"}},
	guard.LimitGranted:        {amounts: []guard.Name{guard.AmountLimit}},
	guard.LimitReserved:       {amounts: []guard.Name{guard.AmountPrincipal}},
	guard.ContractSigned: {
		amounts: []guard.Name{guard.AmountPrincipal, guard.AmountFee, guard.AmountTotalInterest,
			guard.AmountTotalPayable},
		facts: []string{"annual_rate_percent", "term", "day_count", "apr_eu_micro_percent",
			"apr_us_micro_percent", "first_due", "disbursed_on"},
	},
	guard.LoanDisbursed: {
		amounts: []guard.Name{guard.AmountPrincipal, guard.AmountFee}, facts: []string{"reserve"},
	},
	guard.InterestAccrued: {
		amounts: []guard.Name{guard.AmountInterest, guard.AmountFeeAmortised, guard.AmountBalance},
		facts:   []string{"from", "to", "annual_rate_percent", "day_count"},
	},
	guard.PenaltyCharged: {
		amounts: []guard.Name{guard.AmountPenalty, guard.AmountOverdue},
		facts:   []string{"from", "to", "annual_rate_percent", "number"},
	},
	guard.LoanRepaid: {
		amounts: []guard.Name{guard.AmountTotal, guard.AmountPenalty, guard.AmountInterest,
			guard.AmountPrincipal, guard.AmountOverpaid, guard.AmountDuePenalty,
			guard.AmountDueInterest, guard.AmountOutstanding},
		facts: []string{"reference"},
	},
	guard.LoanClosed: {amounts: []guard.Name{guard.AmountLimit}},
	guard.LoanWrittenOff: {
		amounts: []guard.Name{guard.AmountPrincipal, guard.AmountInterest, guard.AmountPenalty},
	},
	guard.LoanRecovered:       {amounts: []guard.Name{guard.AmountPaid}, facts: []string{"reference"}},
	guard.OverpaymentRefunded: {amounts: []guard.Name{guard.AmountPaid}, facts: []string{"reference"}},
	guard.EventCancelled:      {},
}

func (p *parser) facts() {
	for _, name := range required[p.out.Kind].facts {
		if _, present := p.event.Facts[name]; !present {
			p.flaw("fact " + name + " is missing")
		}
	}
	f := &p.out.Facts
	f.Outcome = p.outcome()
	f.DayCount = p.dayCount("day_count")
	f.Term = uint16(p.number("term", 1<<16-1))
	f.Number = uint32(p.number("number", 1<<32-1))
	f.Timeout = uint32(p.number("timeout_seconds", 1<<32-1))
	f.From, f.To = p.date("from"), p.date("to")
	f.FirstDue, f.DisbursedOn = p.date("first_due"), p.date("disbursed_on")
	f.Rate = p.rate("annual_rate_percent")
	f.RateEU = p.number("apr_eu_micro_percent", 1<<62)
	f.RateUS = p.number("apr_us_micro_percent", 1<<62)
	f.PastDue = uint32(p.number("days_past_due", 1<<32-1))
	f.Reserve = p.id("reserve")
	f.Key, f.Reference = p.event.Facts["key"], p.event.Facts["reference"]
	f.Terms = guard.Terms{
		Rounding:        guard.ParseRounding(p.event.Facts["rounding"]),
		Overdue:         guard.ParseOverdue(p.event.Facts["overdue_interest"]),
		Early:           guard.ParseEarly(p.event.Facts["early_repayment"]),
		Allocation:      p.allocation("allocation"),
		PenaltyRate:     p.rate("penalty_rate_percent"),
		PenaltyDayCount: p.dayCount("penalty_day_count"),
	}
}

func (p *parser) outcome() guard.Outcome {
	text, present := p.event.Facts["outcome"]
	switch text {
	case "approve":
		return guard.OutcomeApprove
	case "decline":
		return guard.OutcomeDecline
	case "refer":
		return guard.OutcomeRefer
	}
	if present {
		p.flaw("outcome is " + text)
	}
	return guard.OutcomeNone
}

func (p *parser) dayCount(name string) guard.DayCount {
	text, present := p.event.Facts[name]
	count := guard.ParseDayCount(text)
	if present && count == guard.DayCountNone {
		p.flaw(name + " is " + text)
	}
	return count
}

// allocation reads the order of allocation: three of penalty, interest and principal, with
// commas; a fee among them is never due, and skipped.
func (p *parser) allocation(name string) guard.Allocation {
	text, present := p.event.Facts[name]
	if !present {
		return guard.Allocation{}
	}
	var order guard.Allocation
	n := 0
	seen := [4]bool{}
	for _, word := range strings.Split(text, ",") {
		part := guard.PartNone
		switch word {
		case "penalty":
			part = guard.PartPenalty
		case "interest":
			part = guard.PartInterest
		case "principal":
			part = guard.PartPrincipal
		case "fee":
			continue
		}
		if part == guard.PartNone || seen[part] || n == len(order) {
			p.flaw(name + " is " + text)
			return guard.Allocation{}
		}
		order[n], seen[part] = part, true
		n++
	}
	if n != len(order) {
		p.flaw(name + " is " + text)
		return guard.Allocation{}
	}
	return order
}

func (p *parser) number(name string, limit uint64) uint64 {
	text, present := p.event.Facts[name]
	if !present {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > limit {
		p.flaw(name + " is " + text)
		return 0
	}
	return n
}

func (p *parser) date(name string) clock.Date {
	text, present := p.event.Facts[name]
	if !present {
		return 0
	}
	d, err := clock.ParseDate(text)
	if err != nil {
		p.flaw(name + " is " + text)
	}
	return d
}

func (p *parser) id(name string) ident.ID {
	text, present := p.event.Facts[name]
	if !present {
		return ident.ID{}
	}
	id, err := ident.Parse(text)
	if err != nil {
		p.flaw(name + " is " + text)
	}
	return id
}

// rateDecimals is the number of decimals of a percentage that the guard keeps.
const rateDecimals = 9

// rate reads a percentage: digits with at most nine decimals, at most a million.
func (p *parser) rate(name string) uint64 {
	text, present := p.event.Facts[name]
	if !present {
		return 0
	}
	whole, fraction, _ := strings.Cut(text, ".")
	if whole == "" || len(whole) > 7 || len(fraction) > rateDecimals {
		p.flaw(name + " is " + text)
		return 0
	}
	n, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", rateDecimals-len(fraction)), 10, 64)
	if err != nil {
		p.flaw(name + " is " + text)
		return 0
	}
	return n
}

func (p *parser) flows() {
	if len(p.event.Flows) == 0 {
		return
	}
	p.out.Flows = make([]guard.Flow, len(p.event.Flows))
	for i, f := range p.event.Flows {
		p.out.Flows[i] = guard.Flow{Due: f.Due, Payment: p.minor(f.Payment, "payment"),
			Interest: p.minor(f.Interest, "interest"), Principal: p.minor(f.Principal, "principal")}
	}
}
