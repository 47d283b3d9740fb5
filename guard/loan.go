package guard

import (
	"surety/base/clock"
	"surety/base/ident"
)

// application is what the checker keeps of one application.
type application struct {
	offered  uint64 // most that may be lent under it
	limit    uint64 // limit approved
	granted  uint64 // limit granted so far
	reserved uint64 // principal reserved
	customer uint32
	decision uint32 // row of the decision, plus one; zero while there is none
	reserve  uint32 // row of the reservation, plus one
	loan     uint32 // the loan contracted, plus one
	decided  clock.Date
	last     clock.Date // the latest business date of its events
	approved bool
	received bool
}

// loan is what the checker keeps of one loan: the contract's terms and the balances that its events
// give. Balances follow what events state, right or wrong, and stay at zero rather than below.
type loan struct {
	terms       Terms
	rate        uint64 // a year, in 1e-9 percent
	principal   uint64
	fee         uint64
	instalment  uint64 // what each due date but the last asks for
	outstanding uint64
	interestDue uint64 // accrued and unpaid, billed or not
	penaltyDue  uint64
	overpaid    uint64
	amortised   uint64
	lost        uint64 // written off and not recovered
	billed      bill   // fallen due and unpaid
	ahead       uint64 // paid for instalments to come
	application uint32
	customer    uint32
	product     uint32
	contract    uint32 // row of the contract's event, plus one; zero while there is none
	disbursedOn clock.Date
	firstDue    clock.Date
	accruedTo   clock.Date
	last        clock.Date // the latest business date of its events
	term        uint16     // instalments
	fallen      uint16     // of them, those whose date has come
	state       loanState
	dayCount    DayCount
	anchorDay   uint8 // the day of the month on which instalments fall due
	loose       bool  // what falls due cannot be followed: check bounds only
}

// bill is what has fallen due and is not paid.
type bill struct{ interest, principal uint64 }

// loanState is where a loan stands.
type loanState uint8

const (
	loanNone       loanState = 0 // no contract
	loanContracted loanState = 1
	loanActive     loanState = 2
	loanClosed     loanState = 3
	loanWrittenOff loanState = 4
)

// customer is what the checker keeps of one customer.
type customer struct {
	granted uint64 // limit granted, by settled events
	drawn   uint64 // principal drawn under it
}

// undo is how to take an event back that is cancelled before it is settled: what its kind changed.
type undo struct {
	slot      uint32
	reference uint32 // row in references, plus one
	penalty   uint32 // row in penalties, plus one
	charged   clock.Date
	amount    uint64 // of an application's event
	before    loan
	trail     trail
}

// noSlot is the number of no application and no loan; it bounds both.
const noSlot = 1<<26 - 1

// judge holds an event against those before it and against what is computed again, and brings the
// checker's state to what the event states. It returns the number of the event's application or
// loan, and how to take the event back.
func (c *Checker) judge(e *Event, about *facts) (slot uint32, back undo) {
	if !c.readable(e, about) {
		return noSlot, undo{slot: noSlot}
	}
	c.checkDate(e, about)
	switch e.Kind {
	case ApplicationReceived, ApplicationDecided, LimitGranted, LimitReserved:
		return c.judgeApplication(e, about)
	case EventCancelled:
		c.cancel(e, about)
		return noSlot, undo{slot: noSlot}
	}
	slot, fresh := c.loans.add(e.Loan)
	l := c.loans.rows.at(slot)
	if fresh {
		l.customer, _ = c.customers.add(e.Customer)
		l.product, l.application = c.productFor(e), noSlot
	}
	back = undo{slot: slot, before: *l}
	c.trail.count = 0
	c.judgeLoan(e, about, l, &back)
	back.trail = c.trail
	l.last = max(l.last, e.Date)
	return slot, back
}

// readable reports whether the event can be judged at all.
func (c *Checker) readable(e *Event, about *facts) bool {
	switch {
	case e.Kind == KindUnknown:
		c.object(EventUnknown, e, about, Record{{"kind", "one of the schema's"}},
			Record{{"kind", clip(e.Flaw)}})
	case e.Range:
		c.object(AmountRange, e, about, Record{{"amounts", "at most " + decimal(MinorMax)}},
			Record{{"amounts", clip(e.Flaw)}})
	case e.Flaw != "":
		c.object(EventMalformed, e, about, Record{{"event", "complete and readable"}},
			Record{{"event", clip(e.Flaw)}})
	default:
		return true
	}
	return false
}

// object reports that an event breaks a rule. What is at risk is the event's first amount that
// moves money.
func (c *Checker) object(rule Rule, e *Event, about *facts, expected, found Record) {
	f := &finding{rule: rule, key: [2]ident.ID{e.ID}, expected: expected, found: found}
	for i := range table {
		if table[i].kind == e.Kind {
			f.atRisk.Lo = e.Amounts[table[i].amount]
			break
		}
	}
	if e.Kind == ContractSigned {
		f.atRisk.Lo = e.Amounts[AmountPrincipal]
	}
	c.report(f, about)
}

// checkDate checks the business date against earlier events: of the loan or application, and where
// the act is dated on the day it is written, of all. What time itself asks of a loan (accruals,
// penalties, the end) is dated on the day that asked for it, which a service that was down makes
// good later; and what follows from an application bears the application's date.
func (c *Checker) checkDate(e *Event, about *facts) {
	var floor clock.Date
	if a := c.applications.get(e.Application); a != nil && e.Kind <= LoanDisbursed {
		floor = a.last
		a.last = max(a.last, e.Date)
	}
	if l := c.loans.get(e.Loan); l != nil {
		floor = max(floor, l.last)
	}
	switch e.Kind {
	case ApplicationReceived:
		floor = max(floor, c.latest.AddDays(-c.limits.BackDays))
		c.latest = max(c.latest, e.Date)
	case LoanRepaid, LoanRecovered, OverpaymentRefunded:
		floor = max(floor, c.latest.AddDays(-c.limits.MakeGoodDays))
		c.latest = max(c.latest, e.Date)
	}
	if e.Date < floor {
		c.object(DateBack, e, about, Record{{"date", "on or after " + floor.String()}},
			Record{{"date", e.Date.String()}})
		return
	}
	c.passed(CausesFirst, 0)
}

// must objects where a condition does not hold, and returns it.
func (c *Checker) must(holds bool, rule Rule, e *Event, about *facts,
	name, expected, found string) bool {
	if !holds {
		c.object(rule, e, about, Record{{name, expected}}, Record{{name, found}})
	}
	return holds
}

// equal checks that an amount is what it must be.
func (c *Checker) equal(stated, expected uint64, rule Rule, e *Event, about *facts,
	name Name) bool {
	if stated != expected {
		c.object(rule, e, about, Record{{name.String(), decimal(expected)}},
			Record{{name.String(), decimal(stated)}})
		return false
	}
	c.passed(rule.Info().Invariant, stated)
	return true
}

// atMost checks that an amount does not exceed its bound.
func (c *Checker) atMost(stated, bound uint64, rule Rule, e *Event, about *facts,
	name Name) bool {
	if stated > bound {
		c.object(rule, e, about, Record{{name.String(), "at most " + decimal(bound)}},
			Record{{name.String(), decimal(stated)}})
		return false
	}
	c.passed(rule.Info().Invariant, stated)
	return true
}

// spend notes that a reference is used by an event, and reports whether it was free.
func (c *Checker) spend(space, text string, row uint32, back *undo) bool {
	if text == "" {
		return true
	}
	i, _ := c.references.add(ident.Derive("guard", space, text))
	user := c.references.rows.at(i)
	if *user != 0 {
		return false
	}
	*user = row + 1
	back.reference = i + 1
	return true
}

// less returns a-b, and zero where b is greater.
func less(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

// factsOfRow returns what is still known of an event that does not wait any more.
func (c *Checker) factsOfRow(id ident.ID, row eventRow) facts {
	f := facts{id: id, kind: row.kind()}
	switch {
	case row.kind() == KindUnknown || row.kind() == EventCancelled:
	case row.kind() <= LimitReserved:
		if row.slot() < c.applications.keys.count {
			f.application = *c.applications.keys.at(row.slot())
			f.customer = *c.customers.keys.at(c.applications.rows.at(row.slot()).customer)
		}
	default:
		if row.slot() < c.loans.keys.count {
			f.loan = *c.loans.keys.at(row.slot())
			l := c.loans.rows.at(row.slot())
			f.customer = *c.customers.keys.at(l.customer)
			f.product, f.ledger = c.products[l.product].name, c.products[l.product].ledger
		}
	}
	return f
}

// factsOfEvent returns what is known of the event with the id, nil where there is nothing.
func (c *Checker) factsOfEvent(id ident.ID) *facts {
	if o := c.open[id]; o != nil && o.known {
		return &o.event
	}
	if row := c.events.get(id); row != nil {
		f := c.factsOfRow(id, *row)
		return &f
	}
	return nil
}

// factsOfAccount returns whose product a shared account is of, nil where none is known.
func (c *Checker) factsOfAccount(id ident.ID) *facts {
	for i := range c.products {
		for _, account := range c.products[i].accounts {
			if account == id {
				return &facts{product: c.products[i].name, ledger: c.products[i].ledger}
			}
		}
	}
	return nil
}
