package guard

import "surety/base/ident"

// judgeContract holds a contract against the decision it rests on and computes its schedule and its
// annual rates again.
func (c *Checker) judgeContract(e *Event, about *facts, l *loan) {
	row, _ := c.events.find(e.ID)
	c.must(l.state == loanNone, OrderDuplicate, e, about, "contract", "the only one",
		"a second one for the loan")
	slot, known := c.applications.find(e.Application)
	if !known {
		slot = noSlot
	}
	if c.must(known, CauseMissing, e, about, "application", "received", "unknown") {
		c.judgeBasis(e, about, c.applications.rows.at(slot), slot)
	}
	*l = loan{
		terms: e.Facts.Terms, rate: e.Facts.Rate, principal: e.amount(AmountPrincipal),
		fee: e.amount(AmountFee), application: slot, customer: l.customer, product: l.product,
		contract: row + 1, disbursedOn: e.Facts.DisbursedOn, firstDue: e.Facts.FirstDue,
		accruedTo: e.Facts.DisbursedOn, last: l.last, term: e.Facts.Term,
		state: loanContracted, dayCount: e.Facts.DayCount,
	}
	l.plan(e.Flows)
	c.checkSchedule(e, about)
	c.checkInstalments(e, about, l)
	c.checkRates(e, about)
}

// judgeBasis checks that a contract rests on its application's own, present approval.
func (c *Checker) judgeBasis(e *Event, about *facts, a *application, slot uint32) {
	cause := c.events.get(e.Cause)
	rests := cause != nil && cause.kind() == ApplicationDecided && cause.slot() == slot &&
		cause.state() != stateCancelled && a.approved
	if !rests {
		c.object(CauseMissing, e, about, Record{{"cause", "the application's approval"}},
			Record{{"cause", e.Cause.String()}})
		return
	}
	number, _ := c.loans.find(e.Loan)
	c.must(a.loan == 0 || a.loan == number+1, OrderDuplicate, e, about, "application",
		"one contract", "a second contract")
	a.loan = number + 1
	c.checkAge(e, about, a)
	c.atMost(e.amount(AmountPrincipal), min(a.offered, a.reserved), LimitUnapproved, e, about,
		AmountPrincipal)
}

// checkAge checks that an approval is used while it may be.
func (c *Checker) checkAge(e *Event, about *facts, a *application) {
	if e.Date.Sub(a.decided) > c.limits.DecisionDays {
		oldest := e.Date.AddDays(-c.limits.DecisionDays)
		c.object(DecisionExpired, e, about, Record{{"decided", "on or after " + oldest.String()}},
			Record{{"decided", a.decided.String()}})
	}
}

// checkSchedule checks that the instalments sum to what the contract says.
func (c *Checker) checkSchedule(e *Event, about *facts) {
	var principal, interest, payment uint64
	rows, rising := true, true
	for i := range e.Flows {
		f := &e.Flows[i]
		principal, interest, payment = principal+f.Principal, interest+f.Interest, payment+f.Payment
		rows = rows && f.Payment == f.Interest+f.Principal
		rising = rising && f.Due > e.Facts.DisbursedOn && (i == 0 || f.Due > e.Flows[i-1].Due)
	}
	stated := e.amount(AmountTotalPayable)
	holds := rows && rising && principal == e.amount(AmountPrincipal) &&
		interest == e.amount(AmountTotalInterest) && stated == payment &&
		len(e.Flows) == int(e.Facts.Term) && len(e.Flows) > 0 && e.Flows[0].Due == e.Facts.FirstDue
	if holds {
		c.passed(SumsRecomputed, payment)
		return
	}
	c.object(ScheduleSum, e, about,
		Record{{"principal", decimal(e.amount(AmountPrincipal))},
			{"total_interest", decimal(e.amount(AmountTotalInterest))},
			{"total_payable", decimal(e.amount(AmountTotalPayable))},
			{"instalments", decimal(uint64(e.Facts.Term))},
			{"rows", "payment = interest + principal"}, {"due_dates", "rising from first_due"}},
		Record{{"principal", decimal(principal)}, {"total_interest", decimal(interest)},
			{"total_payable", decimal(payment)}, {"instalments", decimal(uint64(len(e.Flows)))},
			{"rows", choose(rows, "payment = interest + principal", "payment differs from its parts")},
			{"due_dates", choose(rising, "rising from first_due", "not rising")}})
}

func choose(holds bool, yes, no string) string {
	if holds {
		return yes
	}
	return no
}

// checkInstalments computes the interest of each instalment again, on what is outstanding before it.
func (c *Checker) checkInstalments(e *Event, about *facts, l *loan) {
	left, from := l.principal, e.Facts.DisbursedOn
	for i := range e.Flows {
		f := &e.Flows[i]
		years := l.dayCount.years(from, f.Due)
		if !l.terms.Rounding.rounds(f.Interest, left, l.rate, years) {
			c.object(ScheduleInterest, e, about,
				Record{{"instalment", decimal(uint64(i + 1))}, {"balance", decimal(left)},
					{"interest", decimal(l.terms.Rounding.of(left, l.rate, years))}},
				Record{{"instalment", decimal(uint64(i + 1))}, {"balance", decimal(left)},
					{"interest", decimal(f.Interest)}})
			return
		}
		left, from = less(left, f.Principal), f.Due
	}
	c.passed(SumsRecomputed, l.principal)
}

// checkRates puts the disclosed annual rates to the test.
func (c *Checker) checkRates(e *Event, about *facts) {
	advance := less(e.amount(AmountPrincipal), e.amount(AmountFee))
	on := e.Facts.DisbursedOn
	for i := range e.Flows {
		if e.Flows[i].Due <= on {
			return // reported as a schedule already, and no rate can be computed
		}
	}
	eu := func(rate uint64) valuation { return newEffectiveEU(on, rate) }
	us := func(rate uint64) valuation { return newNominalUS(on, rate) }
	if !rateHolds(e.Flows, advance, e.Facts.RateEU, eu) {
		c.objectRate(e, about, "apr_eu_micro_percent", e.Facts.RateEU, rateOf(e.Flows, advance, eu))
		return
	}
	if !rateHolds(e.Flows, advance, e.Facts.RateUS, us) {
		c.objectRate(e, about, "apr_us_micro_percent", e.Facts.RateUS, rateOf(e.Flows, advance, us))
		return
	}
	c.passed(SumsRecomputed, advance)
}

func (c *Checker) objectRate(e *Event, about *facts, name string, stated, exact uint64) {
	c.object(AnnualRateWrong, e, about, Record{{name, decimal(exact)}}, Record{{name, decimal(stated)}})
}

// judgeDisbursed holds a pay-out against its contract and its reservation.
func (c *Checker) judgeDisbursed(e *Event, about *facts, l *loan) {
	cause := c.events.get(e.Cause)
	number, _ := c.loans.find(e.Loan)
	rests := l.contract != 0 && l.state != loanNone && cause != nil &&
		cause.kind() == ContractSigned && cause.slot() == number && cause.state() != stateCancelled
	if rests {
		c.judgeReservation(e, about, l)
		c.equal(e.amount(AmountPrincipal), l.principal, TermsChanged, e, about, AmountPrincipal)
		c.equal(e.amount(AmountFee), l.fee, FeeWrong, e, about, AmountFee)
		if e.Date != l.disbursedOn {
			c.object(TermsChanged, e, about, Record{{"date", l.disbursedOn.String()}},
				Record{{"date", e.Date.String()}})
		}
	} else {
		c.object(CauseMissing, e, about, Record{{"cause", "the loan's contract"}},
			Record{{"cause", e.Cause.String()}})
	}
	c.must(l.state < loanActive, PayoutDuplicate, e, about, "pay-outs", "1", "2")
	if l.state < loanActive {
		l.state, l.outstanding = loanActive, 0
	}
	l.principal, l.fee = e.amount(AmountPrincipal), e.amount(AmountFee)
	l.outstanding += e.amount(AmountPrincipal)
	c.debit(e.Ledger, classPrincipal, e.amount(AmountPrincipal))
	c.credit(e.Ledger, classDrawn, e.amount(AmountPrincipal))
	c.credit(e.Ledger, classDeferredFee, e.amount(AmountFee))
}

// judgeReservation checks that a pay-out uses its own application's reservation and approval.
func (c *Checker) judgeReservation(e *Event, about *facts, l *loan) {
	if l.application == noSlot {
		return // reported with the contract
	}
	a := c.applications.rows.at(l.application)
	if c.must(a.approved, CauseMissing, e, about, "decision", "approve", "none") {
		c.checkAge(e, about, a)
	}
	own := ident.ID{}
	if a.reserve != 0 {
		own = TransferID(*c.events.keys.at(a.reserve - 1), 1)
	}
	if e.Facts.Reserve != own || own.IsZero() {
		c.object(CauseMissing, e, about, Record{{"reserve", own.String()}},
			Record{{"reserve", e.Facts.Reserve.String()}})
	}
}
