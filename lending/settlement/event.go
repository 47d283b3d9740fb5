package settlement

import (
	"strconv"
	"strings"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/lending"
)

// Subject is what every event of one application or loan has in common.
type Subject struct {
	Trace       ident.ID
	Application ident.ID
	Loan        ident.ID // zero before there is one
	Customer    ident.ID
	Product     string
	Currency    string
}

// NewEvent returns an event of the subject, with no amounts and facts yet.
func (s *Subject) NewEvent(kind string, id ident.ID, at clock.Instant, on clock.Date) *event.Event {
	return &event.Event{ID: id, Kind: kind, At: at, Date: on, Trace: s.Trace,
		Application: s.Application, Loan: s.Loan, Customer: s.Customer, Product: s.Product,
		Currency: s.Currency}
}

// ActEvent returns the business event of what a loan's transition did.
func (s *Subject) ActEvent(act *lending.Act, contract *lending.Contract, at clock.Instant) *event.Event {
	e := s.NewEvent(act.Kind.String(), act.Event, at, act.On)
	e.Amounts, e.Facts = amountsOf(act), factsOf(act, contract)
	return e
}

// amountsOf returns the amounts that docs/reference/events.md lists for the kind.
func amountsOf(act *lending.Act) map[string]money.Amount {
	switch act.Kind {
	case lending.LoanDisbursed:
		return map[string]money.Amount{"principal": act.Principal, "fee": act.Fee}
	case lending.InterestAccrued:
		return map[string]money.Amount{"interest": act.Interest, "fee_amortised": act.Fee,
			"balance": act.Base}
	case lending.PenaltyCharged:
		return map[string]money.Amount{"penalty": act.Penalty, "overdue": act.Base}
	case lending.LoanRepaid:
		return map[string]money.Amount{"total": act.Total, "penalty": act.Penalty,
			"interest": act.Interest, "principal": act.Principal, "overpaid": act.Overpaid,
			"due_penalty": act.DuePenalty, "due_interest": act.DueInterest,
			"outstanding": act.Outstanding}
	case lending.LoanClosed:
		return map[string]money.Amount{"limit": act.Limit}
	case lending.LoanWrittenOff:
		return map[string]money.Amount{"principal": act.Principal, "interest": act.Interest,
			"penalty": act.Penalty}
	case lending.LoanRecovered, lending.OverpaymentRefunded:
		return map[string]money.Amount{"amount": act.Total}
	}
	return nil
}

// factsOf returns the facts that docs/reference/events.md lists for the kind; a repayment's
// reference is the caller's to add.
func factsOf(act *lending.Act, contract *lending.Contract) map[string]string {
	product := &contract.Product
	switch act.Kind {
	case lending.InterestAccrued:
		facts := span(act)
		facts["annual_rate_percent"] = contract.Offer.Rate.String()
		facts["day_count"] = product.DayCount.String()
		return facts
	case lending.PenaltyCharged:
		facts := span(act)
		facts["annual_rate_percent"] = product.PenaltyRate.String()
		facts["day_count"] = product.PenaltyDayCount.String()
		return facts
	case lending.LoanWrittenOff:
		return map[string]string{"days_past_due": strconv.Itoa(act.DaysPastDue)}
	}
	return map[string]string{}
}

// span returns what an accrual or a penalty is for.
func span(act *lending.Act) map[string]string {
	return map[string]string{"number": strconv.Itoa(act.Number), "from": act.From.String(),
		"to": act.To.String()}
}

// ContractEvent returns the event of a contract's signing, with its schedule.
func (s *Subject) ContractEvent(c *lending.Contract, decision ident.ID, at clock.Instant) *event.Event {
	e := s.NewEvent(event.ContractSigned, ident.Derive("event", event.ContractSigned, c.Loan.String(), ""),
		at, c.Offer.Start)
	e.Cause = decision
	e.Amounts = map[string]money.Amount{"principal": c.Offer.Principal, "fee": c.Schedule.Fee,
		"total_interest": c.TotalInterest, "total_payable": c.TotalPayable}
	e.Facts = map[string]string{
		"digest":               c.Digest().String(),
		"annual_rate_percent":  c.Offer.Rate.String(),
		"term":                 strconv.Itoa(c.Offer.Months),
		"day_count":            c.Product.DayCount.String(),
		"apr_eu_micro_percent": strconv.FormatUint(c.APREU.MicroPercent(), 10),
		"apr_us_micro_percent": strconv.FormatUint(c.APRUS.MicroPercent(), 10),
		"first_due":            c.FirstDue().String(),
		"disbursed_on":         c.Offer.Start.String(),
		// The terms that later events follow from, so that a reader can compute them again.
		"rounding":             c.Product.Rounding.String(),
		"overdue_interest":     c.Product.OverdueInterest.String(),
		"early_repayment":      c.Product.EarlyRepayment.String(),
		"allocation":           allocationText(&c.Product),
		"penalty_rate_percent": c.Product.PenaltyRate.String(),
		"penalty_day_count":    c.Product.PenaltyDayCount.String(),
	}
	for i := range c.Schedule.Rows {
		row := &c.Schedule.Rows[i]
		e.Flows = append(e.Flows, event.Flow{Due: row.Due, Payment: row.Payment,
			Interest: row.Interest, Principal: row.Principal})
	}
	return e
}

// allocationText returns the order in which a repayment pays what is due, with commas.
func allocationText(p *lending.Product) string {
	names := make([]string, len(p.Allocation))
	for i, component := range p.Allocation {
		names[i] = component.String()
	}
	return strings.Join(names, ",")
}

// CancelEvent returns the event that withdraws another, which the ledger refused.
func (s *Subject) CancelEvent(of ident.ID, reason string, at clock.Instant, on clock.Date) *event.Event {
	e := s.NewEvent(event.EventCancelled, ident.Derive("event", event.EventCancelled, of.String(), ""),
		at, on)
	e.Cause = of
	e.Facts = map[string]string{"reason": reason}
	return e
}
