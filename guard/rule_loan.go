package guard

import (
	"surety/base/clock"
	"surety/base/ident"
)

// judgeLoan holds an event of a loan against the loan.
func (c *Checker) judgeLoan(e *Event, about *facts, l *loan, back *undo) {
	owner, _ := c.customers.add(e.Customer)
	c.sameCustomer(e, about, l.customer, owner)
	switch e.Kind {
	case ContractSigned:
		c.judgeContract(e, about, l)
		return
	case LoanDisbursed:
		c.judgeDisbursed(e, about, l)
		return
	}
	if !c.must(l.state >= loanActive, BeforeDisbursement, e, about, "loan", "paid out", "not paid out") {
		l.state = loanActive // what follows is judged as if it had been: one fault, one breach
	}
	switch e.Kind {
	case InterestAccrued:
		c.judgeAccrued(e, about, l)
	case PenaltyCharged:
		c.judgePenalty(e, about, l, back)
	case LoanRepaid:
		c.judgeRepaid(e, about, l, back)
	case LoanClosed:
		c.judgeClosed(e, about, l)
	case LoanWrittenOff:
		c.judgeWrittenOff(e, about, l)
	case LoanRecovered:
		c.judgeRecovered(e, about, l, back)
	case OverpaymentRefunded:
		c.judgeRefunded(e, about, l, back)
	}
}

// running checks that the loan is neither closed nor written off.
func (c *Checker) running(e *Event, about *facts, l *loan) bool {
	return c.must(l.state == loanActive, AfterClosure, e, about, "loan", "active",
		choose(l.state == loanClosed, "closed", "written off"))
}

func (c *Checker) judgeAccrued(e *Event, about *facts, l *loan) {
	f := &e.Facts
	if f.From == f.To && e.amount(AmountInterest) == 0 {
		c.judgeAmortised(e, about, l)
		return
	}
	c.running(e, about, l)
	l.catchUp(f.From)
	switch {
	case f.From < l.accruedTo || f.To <= f.From:
		c.object(AccrualRepeated, e, about, Record{{"from", l.accruedTo.String()}},
			Record{{"from", f.From.String()}, {"to", f.To.String()}})
	case f.From > l.accruedTo:
		c.object(AccrualSkipped, e, about, Record{{"from", l.accruedTo.String()}},
			Record{{"from", f.From.String()}, {"to", f.To.String()}})
	default:
		c.passed(NothingTwice, 0)
	}
	c.notAhead(e, about, f.To)
	c.checkInterest(e, about, l)
	l.accruedTo = max(l.accruedTo, f.To)
	l.interestDue += e.amount(AmountInterest)
	c.debit(e.Ledger, classInterest, e.amount(AmountInterest))
	c.judgeAmortised(e, about, l)
	if f.To == l.nextDue() {
		l.fall()
	}
}

// judgeAmortised follows the fee as it becomes income: never more than was charged.
func (c *Checker) judgeAmortised(e *Event, about *facts, l *loan) {
	l.amortised += e.amount(AmountFeeAmortised)
	c.atMost(l.amortised, l.fee, FeeWrong, e, about, AmountFeeAmortised)
	c.debit(e.Ledger, classDeferredFee, e.amount(AmountFeeAmortised))
}

// notAhead checks that an act does not cover days to come.
func (c *Checker) notAhead(e *Event, about *facts, to clock.Date) {
	if to > e.Date {
		c.object(DateAhead, e, about, Record{{"to", "at most " + e.Date.String()}},
			Record{{"to", to.String()}})
	}
}

// checkInterest computes an accrual again: on the balance kept here, by the contract's terms.
func (c *Checker) checkInterest(e *Event, about *facts, l *loan) {
	f := &e.Facts
	sameTerms := f.Rate == l.rate && f.DayCount == l.dayCount
	if !sameTerms {
		c.object(TermsChanged, e, about,
			Record{{"annual_rate", rateText(l.rate)}, {"day_count", l.dayCount.String()}},
			Record{{"annual_rate", rateText(f.Rate)}, {"day_count", f.DayCount.String()}})
	}
	bearing := e.amount(AmountBalance)
	var sameBalance bool
	if l.loose {
		sameBalance = c.atMost(bearing, l.outstanding, StatedDiffers, e, about, AmountBalance)
	} else {
		sameBalance = c.equal(bearing, l.bearing(), StatedDiffers, e, about, AmountBalance)
	}
	if !sameTerms || !sameBalance {
		l.loose = true
		return // the interest follows from what was reported; it would be the same fault again
	}
	years := l.yearsOf(f.From, f.To)
	if !l.terms.Rounding.rounds(e.amount(AmountInterest), bearing, l.rate, years) {
		c.object(InterestWrong, e, about,
			Record{{"interest", decimal(l.terms.Rounding.of(bearing, l.rate, years))},
				{"balance", decimal(bearing)}, {"annual_rate", rateText(l.rate)}},
			Record{{"interest", decimal(e.amount(AmountInterest))},
				{"balance", decimal(bearing)}, {"annual_rate", rateText(f.Rate)}})
		return
	}
	c.passed(SumsRecomputed, e.amount(AmountInterest))
}

func (c *Checker) judgePenalty(e *Event, about *facts, l *loan, back *undo) {
	c.running(e, about, l)
	l.catchUp(e.Date)
	f := &e.Facts
	c.checkCharged(e, about, back)
	c.notAhead(e, about, f.To)
	overdue, penalty := e.amount(AmountOverdue), e.amount(AmountPenalty)
	owed := l.outstanding + l.interestDue
	if !l.loose {
		owed = l.billed.principal + l.billed.interest
	}
	count, rate := f.DayCount, f.Rate
	sameTerms := l.loose || count == l.terms.PenaltyDayCount && rate == l.terms.PenaltyRate
	switch years := count.years(f.From, f.To); {
	case !sameTerms:
		c.object(TermsChanged, e, about,
			Record{{"annual_rate", rateText(l.terms.PenaltyRate)},
				{"day_count", l.terms.PenaltyDayCount.String()}},
			Record{{"annual_rate", rateText(rate)}, {"day_count", count.String()}})
	case f.From < l.firstDue:
		c.object(PenaltyWrong, e, about, Record{{"from", "on or after " + l.firstDue.String()}},
			Record{{"from", f.From.String()}})
	case overdue > owed:
		c.object(PenaltyWrong, e, about, Record{{"overdue", "at most " + decimal(owed)}},
			Record{{"overdue", decimal(overdue)}})
	case !l.terms.Rounding.rounds(penalty, overdue, rate, years):
		c.object(PenaltyWrong, e, about,
			Record{{"penalty", decimal(l.terms.Rounding.of(overdue, rate, years))}},
			Record{{"penalty", decimal(penalty)}})
	default:
		c.passed(SumsRecomputed, penalty)
	}
	l.penaltyDue += penalty
	c.debit(e.Ledger, classPenalty, penalty)
}

// checkCharged checks that no day of an instalment's delay is charged twice.
func (c *Checker) checkCharged(e *Event, about *facts, back *undo) {
	f := &e.Facts
	i, _ := c.penalties.add(ident.Derive("guard", "penalty", e.Loan.String(), decimal(uint64(f.Number))))
	to := c.penalties.rows.at(i)
	back.penalty, back.charged = i+1, *to
	if f.From < *to || f.To <= f.From {
		c.object(PenaltyRepeated, e, about, Record{{"from", "on or after " + to.String()}},
			Record{{"from", f.From.String()}, {"to", f.To.String()}})
	}
	*to = max(*to, f.To)
}

func (c *Checker) judgeRepaid(e *Event, about *facts, l *loan, back *undo) {
	c.running(e, about, l)
	l.catchUp(e.Date)
	c.checkReference(e, about, "payment", OrderDuplicate, back)
	stated := allocated{e.amount(AmountPenalty), e.amount(AmountInterest),
		e.amount(AmountPrincipal), e.amount(AmountOverpaid)}
	parts := stated.penalty + stated.interest + stated.principal + stated.overpaid
	if c.equal(e.amount(AmountTotal), parts, SplitSum, e, about, AmountTotal) &&
		c.checkStated(e, about, l) {
		c.checkWaterfall(e, about, l, stated)
	}
	l.pay(stated)
	c.credit(e.Ledger, classPenalty, stated.penalty)
	c.credit(e.Ledger, classInterest, stated.interest)
	c.credit(e.Ledger, classPrincipal, stated.principal)
	c.credit(e.Ledger, classOverpaid, stated.overpaid)
}

// checkStated checks the balances that a repayment states against those kept here.
func (c *Checker) checkStated(e *Event, about *facts, l *loan) bool {
	holds := c.equal(e.amount(AmountDuePenalty), l.penaltyDue, StatedDiffers, e, about, AmountDuePenalty) &&
		c.equal(e.amount(AmountOutstanding), l.outstanding, StatedDiffers, e, about, AmountOutstanding) &&
		c.atMost(e.amount(AmountDueInterest), l.interestDue, StatedDiffers, e, about, AmountDueInterest)
	l.loose = l.loose || !holds
	return holds
}

// checkWaterfall allocates a repayment again. Where it is not known what is due, the stated
// interest that ranks before principal is taken for it.
func (c *Checker) checkWaterfall(e *Event, about *facts, l *loan, stated allocated) {
	again, ranking := l.allocate(e.amount(AmountTotal))
	if l.loose {
		ranking = e.amount(AmountDueInterest)
		again = looseAllocation(e.amount(AmountTotal), l, ranking)
	}
	if again == stated && ranking == e.amount(AmountDueInterest) {
		c.passed(SumsRecomputed, e.amount(AmountTotal))
		return
	}
	l.loose = true
	c.object(WaterfallWrong, e, about, allocation(again, ranking),
		allocation(stated, e.amount(AmountDueInterest)))
}

// looseAllocation divides a payment where only the interest that ranks first is known: to penalty,
// that interest, principal; nothing is overpaid while anything is owed.
func looseAllocation(total uint64, l *loan, ranking uint64) allocated {
	var a allocated
	take := func(owed uint64) uint64 {
		part := min(total, owed)
		total -= part
		return part
	}
	a.penalty, a.interest = take(l.penaltyDue), take(ranking)
	a.principal = take(l.outstanding)
	a.overpaid = total
	return a
}

func allocation(a allocated, ranking uint64) Record {
	return Record{{"penalty", decimal(a.penalty)}, {"interest", decimal(a.interest)},
		{"principal", decimal(a.principal)}, {"overpaid", decimal(a.overpaid)},
		{"due_interest", decimal(ranking)}}
}

func (c *Checker) judgeClosed(e *Event, about *facts, l *loan) {
	c.running(e, about, l)
	owed := l.outstanding + l.interestDue + l.penaltyDue
	c.must(owed == 0, ClosedUnpaid, e, about, "owed", "0", decimal(owed))
	c.equal(e.amount(AmountLimit), l.principal, StatedDiffers, e, about, AmountLimit)
	l.state = loanClosed
	c.debit(e.Ledger, classDrawn, e.amount(AmountLimit))
}

func (c *Checker) judgeWrittenOff(e *Event, about *facts, l *loan) {
	c.running(e, about, l)
	principal, interest := e.amount(AmountPrincipal), e.amount(AmountInterest)
	penalty := e.amount(AmountPenalty)
	_ = c.equal(principal, l.outstanding, StatedDiffers, e, about, AmountPrincipal) &&
		c.equal(interest, l.interestDue, StatedDiffers, e, about, AmountInterest) &&
		c.equal(penalty, l.penaltyDue, StatedDiffers, e, about, AmountPenalty)
	l.outstanding, l.interestDue = less(l.outstanding, principal), less(l.interestDue, interest)
	l.penaltyDue = less(l.penaltyDue, penalty)
	l.lost += principal + interest + penalty
	l.state, l.billed, l.ahead = loanWrittenOff, bill{}, 0
	c.credit(e.Ledger, classPrincipal, principal)
	c.credit(e.Ledger, classInterest, interest)
	c.credit(e.Ledger, classPenalty, penalty)
}

func (c *Checker) judgeRecovered(e *Event, about *facts, l *loan, back *undo) {
	c.must(l.state == loanWrittenOff, CauseMissing, e, about, "loan", "written off", "not written off")
	c.checkReference(e, about, "payment", OrderDuplicate, back)
	c.atMost(e.amount(AmountPaid), l.lost, StatedDiffers, e, about, AmountPaid)
	l.lost = less(l.lost, e.amount(AmountPaid))
}

func (c *Checker) judgeRefunded(e *Event, about *facts, l *loan, back *undo) {
	c.checkReference(e, about, "refund", RefundExcess, back)
	c.atMost(e.amount(AmountPaid), l.overpaid, RefundExcess, e, about, AmountPaid)
	l.overpaid = less(l.overpaid, e.amount(AmountPaid))
	c.debit(e.Ledger, classOverpaid, e.amount(AmountPaid))
}

// checkReference checks that a payment's reference was not used before.
func (c *Checker) checkReference(e *Event, about *facts, space string, rule Rule, back *undo) {
	row, _ := c.events.find(e.ID)
	free := c.spend(space, e.Facts.Reference, row, back)
	c.must(free, rule, e, about, "reference", "unused", clip(e.Facts.Reference))
}

// cancel takes back an event that was withdrawn: no posting of it may exist.
func (c *Checker) cancel(e *Event, about *facts) {
	row := c.events.get(e.Cause)
	if row == nil {
		c.object(CauseMissing, e, about, Record{{"cause", "an earlier event"}},
			Record{{"cause", e.Cause.String()}})
		return
	}
	if row.state() == stateCancelled {
		return // withdrawn already; once more changes nothing
	}
	o := c.open[e.Cause]
	posted := o != nil && o.touched || o == nil && firstCode(row.kind()) != 0
	if posted {
		c.object(CancelSettled, e, about, Record{{"event", e.Cause.String()}, {"postings", "none"}},
			Record{{"event", e.Cause.String()}, {"postings", "some"}})
		return
	}
	row.setState(stateCancelled)
	if o == nil {
		c.takeBackContract(*row)
		return
	}
	for i := range o.legs[:o.count] {
		c.awaited(&o.legs[i], -1)
	}
	c.takeBack(o)
	if !o.told.IsZero() {
		c.resolve(o)
	}
	c.verdict(&o.event, o.failed, 0)
	c.close(o)
}

// takeBack restores what an event changed. The events of one loan follow each other, so that
// nothing has been built on it.
func (c *Checker) takeBack(o *opening) {
	if o.undo.reference != 0 {
		*c.references.rows.at(o.undo.reference - 1) = 0
	}
	if o.undo.penalty != 0 {
		*c.penalties.rows.at(o.undo.penalty - 1) = o.undo.charged
	}
	if o.undo.slot == noSlot {
		return
	}
	if o.event.kind <= LimitReserved {
		c.takeBackApplication(o)
		return
	}
	l := c.loans.rows.at(o.undo.slot)
	last := l.last
	*l = o.undo.before
	l.last = last
	c.reverse(o.event.ledger, &o.undo.trail)
}

// takeBackContract withdraws a contract or a decision: what has no postings is settled at once and
// has no opening. What rests on it is then without a cause.
func (c *Checker) takeBackContract(row eventRow) {
	switch row.kind() {
	case ContractSigned:
		l := c.loans.rows.at(row.slot())
		if l.state == loanContracted {
			l.state, l.contract = loanNone, 0
			if l.application != noSlot {
				c.applications.rows.at(l.application).loan = 0
			}
		}
	case ApplicationDecided:
		c.applications.rows.at(row.slot()).approved = false
	}
}

// settled follows what an event means for the customer once its postings agree: exposure is
// recomputed from postings that exist.
func (c *Checker) settled(o *opening) {
	if o.row >= c.events.keys.count || o.undo.slot == noSlot {
		return
	}
	row := *c.events.rows.at(o.row)
	switch row.kind() {
	case LimitGranted:
		a := c.applications.rows.at(row.slot())
		c.customers.rows.at(a.customer).granted += o.legs[0].Amount
	case LoanDisbursed:
		who := c.customers.rows.at(c.loans.rows.at(row.slot()).customer)
		who.drawn += o.legs[0].Amount
		switch {
		case who.drawn <= who.granted:
			c.passed(LimitsKept, who.drawn)
		case !o.failed:
			c.reportExposure(o, who)
		}
	case LoanClosed:
		who := c.customers.rows.at(c.loans.rows.at(row.slot()).customer)
		who.drawn = less(who.drawn, o.legs[0].Amount)
	}
}

func (c *Checker) reportExposure(o *opening, who *customer) {
	over := who.drawn - who.granted
	f := &finding{
		rule: ExposureOverLimit, key: [2]ident.ID{o.event.id},
		expected: Record{{"drawn", "at most " + decimal(who.granted)}},
		found:    Record{{"drawn", decimal(who.drawn)}, {"granted", decimal(who.granted)}},
		since:    o.since,
	}
	f.atRisk.Lo = over
	o.failed = true
	c.report(f, &o.event)
}
