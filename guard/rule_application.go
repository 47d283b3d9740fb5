package guard

// judgeApplication holds the events of an application against each other: it is received once,
// decided once unless a person looks again, and limits and reservations stay within what is
// approved. A service may reserve before it decides; then the decision is held against what was
// reserved.
func (c *Checker) judgeApplication(e *Event, about *facts) (uint32, undo) {
	slot, fresh := c.applications.add(e.Application)
	a := c.applications.rows.at(slot)
	back := undo{slot: slot}
	owner, _ := c.customers.add(e.Customer)
	if fresh {
		a.customer, a.last = owner, e.Date
	}
	c.sameCustomer(e, about, a.customer, owner)
	switch e.Kind {
	case ApplicationReceived:
		c.judgeReceived(e, about, a, &back)
	case ApplicationDecided:
		c.judgeDecided(e, about, a)
	case LimitGranted:
		c.judgeGranted(e, about, a)
		back.amount = e.amount(AmountLimit)
	case LimitReserved:
		c.judgeReserved(e, about, a)
		back.amount = e.amount(AmountPrincipal)
	}
	return slot, back
}

func (c *Checker) judgeReceived(e *Event, about *facts, a *application, back *undo) {
	c.must(!a.received, OrderDuplicate, e, about, "application", "received once", "received again")
	row, _ := c.events.find(e.ID)
	free := c.spend("key", e.Facts.Key, row, back)
	c.must(free, OrderDuplicate, e, about, "key", "unused", clip(e.Facts.Key))
	a.received = true
}

func (c *Checker) judgeDecided(e *Event, about *facts, a *application) {
	c.must(a.received, CauseMissing, e, about, "application", "received", "never received")
	approve := e.Facts.Outcome == OutcomeApprove
	c.must(!a.approved, OrderDuplicate, e, about, "decision", "the only approval",
		"another approval of the application")
	if a.approved && !approve {
		return // an approval stands until it is withdrawn by a cancellation
	}
	a.approved = approve
	if !approve {
		c.judgeRefusal(e, about, a)
		return
	}
	row, _ := c.events.find(e.ID)
	a.decision, a.decided = row+1, e.Date
	a.offered, a.limit = e.amount(AmountOffered), e.amount(AmountLimit)
	c.atMost(a.granted, a.limit, LimitUnapproved, e, about, AmountLimit)
	c.atMost(a.reserved, a.offered, LimitUnapproved, e, about, AmountOffered)
}

// judgeRefusal checks that no limit is left to an application that is not approved. One whose
// reservation the ledger refused may keep what was granted before: another loan has used it.
func (c *Checker) judgeRefusal(e *Event, about *facts, a *application) {
	withdrawn := a.reserve == 0 || c.events.rows.at(a.reserve-1).state() == stateCancelled
	if a.reserved > 0 && !withdrawn {
		c.atMost(a.reserved, 0, LimitUnapproved, e, about, AmountPrincipal)
	} else if a.granted > 0 && a.reserve == 0 {
		c.atMost(a.granted, 0, LimitUnapproved, e, about, AmountLimit)
	}
}

func (c *Checker) judgeGranted(e *Event, about *facts, a *application) {
	limit := e.amount(AmountLimit)
	if a.decision != 0 {
		c.atMost(limit, less(a.limit, a.granted), LimitUnapproved, e, about, AmountLimit)
	}
	c.must(a.received, CauseMissing, e, about, "application", "received", "never received")
	a.granted += limit
}

func (c *Checker) judgeReserved(e *Event, about *facts, a *application) {
	principal := e.amount(AmountPrincipal)
	if a.decision != 0 {
		c.atMost(principal, a.offered, LimitUnapproved, e, about, AmountPrincipal)
	}
	c.must(a.received, CauseMissing, e, about, "application", "received", "never received")
	row, _ := c.events.find(e.ID)
	a.reserve, a.reserved = row+1, principal
}

// takeBackApplication restores what an application's event changed. Such events may be under way
// together, so each takes back its own part.
func (c *Checker) takeBackApplication(o *opening) {
	a := c.applications.rows.at(o.undo.slot)
	switch o.event.kind {
	case LimitGranted:
		a.granted = less(a.granted, o.undo.amount)
	case LimitReserved:
		if a.reserve == o.row+1 {
			a.reserved = 0 // the row stays: it says that there was one and that it was withdrawn
		}
	}
}

// sameCustomer checks that an event belongs to the customer of its application or loan.
func (c *Checker) sameCustomer(e *Event, about *facts, known, named uint32) {
	if known != named {
		c.object(CauseMissing, e, about, Record{{"customer", c.customers.keys.at(known).String()}},
			Record{{"customer", e.Customer.String()}})
	}
}
