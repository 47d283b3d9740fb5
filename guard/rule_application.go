package guard

// judgeApplication holds the events of an application against each other: it is received once,
// decided once unless a person looks again, and limits and reservations stay within what was
// approved.
func (c *Checker) judgeApplication(e *Event, about *facts) (uint32, undo) {
	slot, fresh := c.applications.add(e.Application)
	a := c.applications.rows.at(slot)
	back := undo{slot: slot, app: *a}
	owner, _ := c.customers.add(e.Customer)
	if fresh {
		a.customer = owner
	}
	c.sameCustomer(e, about, a.customer, owner)
	switch e.Kind {
	case ApplicationReceived:
		c.judgeReceived(e, about, a, &back)
	case ApplicationDecided:
		c.judgeDecided(e, about, a)
	case LimitGranted:
		c.judgeGranted(e, about, a)
	case LimitReserved:
		c.judgeReserved(e, about, a)
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
	if approve {
		row, _ := c.events.find(e.ID)
		a.decision, a.decided = row+1, e.Date
		a.offered, a.limit = e.amount(AmountOffered), e.amount(AmountLimit)
	}
}

func (c *Checker) judgeGranted(e *Event, about *facts, a *application) {
	limit := e.amount(AmountLimit)
	if c.must(a.approved, LimitUnapproved, e, about, "decision", "approve", "none") {
		c.atMost(limit, less(a.limit, a.granted), LimitUnapproved, e, about, AmountLimit)
	}
	a.granted += limit
}

func (c *Checker) judgeReserved(e *Event, about *facts, a *application) {
	if c.must(a.approved, LimitUnapproved, e, about, "decision", "approve", "none") {
		c.atMost(e.amount(AmountPrincipal), a.offered, LimitUnapproved, e, about, AmountPrincipal)
	}
	row, _ := c.events.find(e.ID)
	a.reserve = row + 1
}

// sameCustomer checks that an event belongs to the customer of its application or loan.
func (c *Checker) sameCustomer(e *Event, about *facts, known, named uint32) {
	if known != named {
		c.object(CauseMissing, e, about, Record{{"customer", c.customers.keys.at(known).String()}},
			Record{{"customer", e.Customer.String()}})
	}
}
