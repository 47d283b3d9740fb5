package guard

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// Canary is the outcome of one planted fault.
type Canary struct {
	Rule  Rule
	Found bool // the rule fired, and no other did
}

// SelfTest plants a fault for each rule in a shadow of the checker, which has the same limits and
// rules switched off, and reports which were found. A rule that stays silent, or another that
// speaks in its place, means that the checker must not be trusted.
func (c *Checker) SelfTest() []Canary {
	var list []Canary
	for _, one := range planted() {
		s := newShadow(c.limits, c.blind)
		one.plant(s)
		list = append(list, Canary{one.rule, s.only(one.rule)})
	}
	return list
}

// testSelf runs the canaries and reports the rules that did not find theirs.
func (c *Checker) testSelf() {
	c.canaries = c.SelfTest()
	for _, outcome := range c.canaries {
		what := ident.ID{Lo: uint64(outcome.Rule), Hi: 1 << 48}
		if outcome.Found {
			delete(c.watch.told, what)
			c.passed(CheckerAlive, 0)
			continue
		}
		c.tell(CheckerUnreliable, what, &finding{
			expected: Record{{"canary", outcome.Rule.String()}, {"found", "yes"}},
			found:    Record{{"canary", outcome.Rule.String()}, {"found", "no"}},
		})
	}
}

// Canaries returns the outcome of the last InputCanary; the caller must not change it.
func (c *Checker) Canaries() []Canary { return c.canaries }

// Blind switches rules off, so that a drill can show that it notices. A blinded checker fails its
// own SelfTest.
func (c *Checker) Blind(list ...Rule) {
	for _, r := range list {
		c.blind[r] = true
	}
}

// only reports whether the rule was broken and no other one.
func (s *shadow) only(rule Rule) bool {
	for _, b := range s.found {
		if b.Rule != rule {
			return false
		}
	}
	return len(s.found) > 0
}

// canary plants the fault of one rule.
type canary struct {
	rule  Rule
	plant func(s *shadow)
}

// spoilPayout returns a plant that spoils the postings of the pay-out.
func spoilPayout(spoil func(list []ledger.Transfer) []ledger.Transfer) func(*shadow) {
	return func(s *shadow) {
		s.lend()
		e := s.disbursed()
		s.send(e)
		s.post(spoil(s.legs(&e))...)
	}
}

// spoilDeposit returns a plant that spoils the leg which pays the customer.
func spoilDeposit(spoil func(t *ledger.Transfer)) func(*shadow) {
	return spoilPayout(func(list []ledger.Transfer) []ledger.Transfer {
		spoil(&list[2])
		return list
	})
}

// spoilContract returns a plant that spoils the contract.
func spoilContract(spoil func(e *Event)) func(*shadow) {
	return func(s *shadow) {
		s.act(s.received())
		s.act(s.decided())
		s.act(s.granted())
		s.act(s.reserved())
		e := s.signed()
		spoil(&e)
		s.act(e)
	}
}

// spoilRepayment returns a plant that spoils the first repayment.
func spoilRepayment(spoil func(e *Event)) func(*shadow) {
	return func(s *shadow) {
		s.run()
		e := s.repaid()
		spoil(&e)
		s.act(e)
	}
}

// spoilAccrual returns a plant that spoils the first accrual.
func spoilAccrual(spoil func(e *Event)) func(*shadow) {
	return func(s *shadow) {
		s.lend()
		s.act(s.disbursed())
		e := s.accrued(0, shadowPrincipal)
		spoil(&e)
		s.act(e)
	}
}

// planted returns the canaries, one for each rule but the one they feed.
func planted() []canary {
	return []canary{
		{PostingCurrency, spoilDeposit(func(t *ledger.Transfer) { t.Ledger = 840 })},
		{PostingSwapped, func(s *shadow) { // between accounts without a limit, which would fire as well
			s.run()
			e := s.repaid()
			s.send(e)
			list := s.legs(&e)
			t := &list[0]
			t.DebitAccountID, t.CreditAccountID = t.CreditAccountID, t.DebitAccountID
			s.post(list...)
		}},
		{PostingAccount, func(s *shadow) {
			other := accountID(classDeposit, ident.Derive("canary", "other"), "CNY")
			s.open(other, classDeposit)
			spoilPayout(func(list []ledger.Transfer) []ledger.Transfer {
				list = list[:3] // without the fee, whose account would be overdrawn besides
				list[2].CreditAccountID = other
				return list
			})(s)
			s.found = first(s.found, PostingAccount)
		}},
		{PostingCode, spoilDeposit(func(t *ledger.Transfer) { t.Code = 20 })},
		{PostingUnit, spoilDeposit(func(t *ledger.Transfer) { t.Amount = money.Minor(100 * shadowPrincipal) })},
		{PostingAmount, spoilDeposit(func(t *ledger.Transfer) { t.Amount = money.Minor(shadowPrincipal + 1) })},
		{PostingMode, func(s *shadow) {
			s.act(s.received())
			s.act(s.decided())
			s.act(s.granted())
			e := s.reserved()
			s.send(e)
			list := s.legs(&e)
			list[0].Flags, list[0].Timeout = 0, 0
			s.post(list...)
		}},
		{PostingDate, spoilDeposit(func(t *ledger.Transfer) { t.UserData32 -= 5 })},
		{PostingKey, spoilDeposit(func(t *ledger.Transfer) { t.ID = ident.Derive("canary", "key") })},
		{PostingDuplicate, func(s *shadow) {
			s.run()
			e := s.last
			list := s.legs(&e)
			list[0].ID = ident.Derive("canary", "again")
			s.post(list[0])
		}},
		{PostingExtra, func(s *shadow) {
			s.lend()
			e := s.disbursed()
			s.send(e)
			list := s.legs(&e)
			extra := list[2]
			extra.ID, extra.UserData64 = TransferID(e.ID, 9), 9
			s.post(append(list[:3:3], extra, list[3])...)
		}},
		{PostingOrphan, func(s *shadow) {
			s.run()
			e := s.repaid()
			s.post(s.legs(&e)[0])
			s.wait(2 * s.c.limits.OrphanGrace)
			s.found = first(s.found, PostingOrphan)
		}},
		{PostingMissing, func(s *shadow) {
			s.run()
			s.send(s.repaid())
			s.wait(2 * s.c.limits.PostingDeadline)
		}},
		{PostingPartial, spoilPayout(func(list []ledger.Transfer) []ledger.Transfer {
			// The next entry shows that the chain is over.
			return append(list[:3:3], ledger.Transfer{ID: ident.Derive("canary", "next"),
				DebitAccountID: list[0].DebitAccountID, CreditAccountID: list[0].CreditAccountID,
				Flags: ledger.TransferVoidPending, UserData128: ident.Derive("canary", "elsewhere"),
				Ledger: shadowLedger, Code: 11})
		})},
		{PostingCancelled, func(s *shadow) {
			s.run()
			e := s.repaid()
			s.send(e)
			s.send(s.cancelled(&e))
			s.post(s.legs(&e)[0])
		}},
		{CancelSettled, func(s *shadow) {
			s.run()
			e := s.repaid()
			s.act(e)
			s.send(s.cancelled(&e))
		}},
		{EventMalformed, func(s *shadow) {
			e := s.received()
			e.Flaw = "customer is missing"
			s.send(e)
		}},
		{EventUnknown, func(s *shadow) { s.send(s.event(KindUnknown, "")) }},
		{EventDuplicate, func(s *shadow) {
			s.act(s.received())
			s.send(s.received())
		}},
		{AmountRange, func(s *shadow) {
			e := s.received()
			e.Flaw, e.Range = "amount requested", true
			s.send(e)
		}},
		{DateBack, func(s *shadow) {
			s.act(s.received())
			s.today = s.today.AddDays(-s.c.limits.BackDays - 1)
			s.send(s.decided())
		}},
		{DateAhead, spoilAccrual(func(e *Event) { e.Date = e.Date.AddDays(-1) })},
		{OrderDuplicate, func(s *shadow) {
			s.act(s.received())
			s.act(s.decided())
			e := s.decided()
			e.ID = ident.Derive("canary", "once more")
			s.send(e)
		}},
		{PayoutDuplicate, func(s *shadow) {
			s.lend()
			s.act(s.disbursed())
			e := s.disbursed()
			e.ID = ident.Derive("canary", "once more")
			s.send(e)
		}},
		{RefundExcess, func(s *shadow) {
			s.run()
			s.act(s.paidOff())
			s.send(s.refunded(5_01))
		}},
		{AccrualRepeated, func(s *shadow) {
			s.run()
			e := s.last
			e.ID = ident.Derive("canary", "once more")
			e.Amounts[AmountBalance] = shadowPrincipal - s.flows[0].Principal
			e.Amounts[AmountInterest] = interest(e.Amounts[AmountBalance], shadowRate, ratio{30, 360})
			s.send(e)
		}},
		{AccrualSkipped, func(s *shadow) {
			s.run()
			s.act(s.repaid())
			s.act(s.accrued(2, shadowPrincipal-s.flows[0].Principal))
		}},
		{PenaltyRepeated, func(s *shadow) {
			s.run()
			s.act(s.penalty())
			e := s.penalty()
			e.ID = ident.Derive("canary", "once more")
			s.send(e)
		}},
		{CauseMissing, spoilContract(func(e *Event) { e.Cause = ident.Derive("canary", "nothing") })},
		{DecisionExpired, func(s *shadow) {
			s.act(s.received())
			early := s.decided()
			s.act(early)
			s.act(s.granted())
			s.act(s.reserved())
			s.c.applications.rows.at(0).decided = s.today.AddDays(-s.c.limits.DecisionDays - 1)
			s.act(s.signed())
		}},
		{BeforeDisbursement, func(s *shadow) {
			s.lend()
			e := s.accrued(0, 0)
			s.send(e)
		}},
		{AfterClosure, func(s *shadow) {
			s.run()
			s.act(s.paidOff())
			s.act(s.closed())
			e := s.repaid()
			e.ID, e.Facts.Reference = ident.Derive("canary", "late"), "canary-late"
			e.Amounts = [nameMax]uint64{AmountTotal: 1_00, AmountOverpaid: 1_00}
			s.send(e)
		}},
		{ClosedUnpaid, func(s *shadow) {
			s.run()
			s.send(s.closed())
		}},
		{LimitUnapproved, func(s *shadow) {
			s.act(s.received())
			s.act(s.decided())
			e := s.granted()
			e.Amounts[AmountLimit]++
			s.send(e)
		}},
		{ExposureOverLimit, func(s *shadow) {
			s.lend()
			s.c.customers.rows.at(0).granted--
			s.act(s.disbursed())
		}},
		{TermsChanged, spoilAccrual(func(e *Event) { e.Facts.Rate *= 2 })},
		{StatedDiffers, spoilAccrual(func(e *Event) { e.Amounts[AmountBalance]-- })},
		{SplitSum, spoilRepayment(func(e *Event) { e.Amounts[AmountTotal]++ })},
		{InterestWrong, spoilAccrual(func(e *Event) { e.Amounts[AmountInterest]++ })},
		{PenaltyWrong, func(s *shadow) {
			s.run()
			e := s.penalty()
			e.Amounts[AmountPenalty]++
			s.send(e)
		}},
		{FeeWrong, func(s *shadow) {
			s.lend()
			s.act(s.disbursed())
			e := s.accrued(0, shadowPrincipal)
			e.Amounts[AmountFeeAmortised] = shadowFee + 1
			s.send(e)
		}},
		{ScheduleSum, spoilContract(func(e *Event) { e.Amounts[AmountTotalPayable]++ })},
		{ScheduleInterest, spoilContract(func(e *Event) {
			e.Flows[1].Interest++
			e.Flows[1].Payment++
			e.Amounts[AmountTotalInterest]++
			e.Amounts[AmountTotalPayable]++
			e.Facts.RateEU, e.Facts.RateUS = exactRates(e)
		})},
		{WaterfallWrong, spoilRepayment(func(e *Event) {
			e.Amounts[AmountPrincipal] += 1_00
			e.Amounts[AmountInterest] -= 1_00
		})},
		{AnnualRateWrong, spoilContract(func(e *Event) { e.Facts.RateEU += 10 })},
		{AccountOverdrawn, func(s *shadow) {
			s.run()
			e := s.refunded(1)
			s.send(e)
			s.found = nil // the refund itself is refused by another rule
			s.post(s.legs(&e)...)
		}},
		{AccountUnlimited, func(s *shadow) {
			s.create(ledger.Account{ID: ident.Derive("canary", "account"), Ledger: shadowLedger,
				Code: classDeposit})
		}},
		{AccountUnknown, func(s *shadow) {
			s.post(ledger.Transfer{ID: ident.Derive("canary", "t"), Ledger: shadowLedger, Code: 20,
				DebitAccountID: ident.Derive("canary", "no"), CreditAccountID: ident.Derive("canary", "one")})
		}},
		{DisbursementStuck, func(s *shadow) { s.stick(classDisbursing) }},
		{RepaymentStuck, func(s *shadow) { s.stick(classRepaying) }},
		{HoldAged, func(s *shadow) {
			s.lend()
			s.wait(600*clock.Second + 2*s.c.limits.HoldGrace)
		}},
		{TotalsDiffer, func(s *shadow) {
			s.run()
			totals := append([]ledger.ClassTotal(nil), s.c.books.classes...)
			totals[0].DebitsPosted.Lo++
			totals[1].CreditsPosted.Lo++
			s.step(Input{Kind: InputTotals, Totals: totals})
			s.wait(clock.Second)
		}},
		{BalanceDiffers, func(s *shadow) {
			s.run()
			id := *s.c.books.accounts.keys.at(0)
			s.step(Input{Kind: InputBalances, Accounts: []ledger.Account{{ID: id, Ledger: shadowLedger,
				Code: s.c.classOf(id), DebitsPosted: money.Minor(1)}}})
			s.wait(clock.Second)
		}},
		{DrawnDiffers, func(s *shadow) {
			s.run()
			s.c.credit(shadowLedger, classDrawn, 1)
			s.step(Input{Kind: InputTotals})
		}},
		{SubledgerDiffers, func(s *shadow) {
			s.run()
			s.c.debit(shadowLedger, classPrincipal, 1)
			s.step(Input{Kind: InputTotals})
		}},
		{StreamGap, func(s *shadow) {
			s.seq++
			s.send(s.received())
			s.now = s.now.Add(2 * s.c.limits.GapMax)
			s.step(Input{Kind: InputTick})
		}},
		{StreamRegressed, func(s *shadow) {
			s.lend()
			s.stamp -= 1000
			s.entry(ledger.Event{Kind: ledger.EventFreezeApplied})
		}},
	}
}

// exactRates returns the annual rates of a contract's flows.
func exactRates(e *Event) (eu, us uint64) {
	advance, on := e.Amounts[AmountPrincipal]-e.Amounts[AmountFee], e.Facts.DisbursedOn
	return rateOf(e.Flows, advance, func(rate uint64) valuation { return newEffectiveEU(on, rate) }),
		rateOf(e.Flows, advance, func(rate uint64) valuation { return newNominalUS(on, rate) })
}

// cancelled withdraws an event.
func (s *shadow) cancelled(of *Event) Event {
	e := s.event(EventCancelled, of.ID.String())
	e.Cause = of.ID
	return e
}

// stick leaves a clearing account of a product away from zero, by a posting of no other fault.
func (s *shadow) stick(class uint16) {
	s.run()
	p := newProduct("canary", "CNY", shadowLedger)
	i, _ := s.c.books.accounts.add(p.account(class, &Event{}))
	a := s.c.books.accounts.rows.at(i)
	a.class = s.c.books.class(shadowLedger, class)
	a.credit(money.Minor(1))
	s.c.noteMoving(i)
	s.wait(2 * s.c.limits.ClearingMax)
}

// first keeps the breaches up to the first of the rule: what follows from it is not the canary's.
func first(found []*Breach, rule Rule) []*Breach {
	for i, b := range found {
		if b.Rule == rule {
			return found[i : i+1]
		}
	}
	return nil
}
