package guard

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// entry takes the feed's next entry.
func (c *Checker) entry(e *ledger.Event) {
	position := e.Seq + 1
	if !c.chain.IsZero() &&
		(e.Kind != ledger.EventTransferCreated || e.Transfer.UserData128 != c.chain) {
		c.endChain()
	}
	c.checkTime(e, position)
	switch e.Kind {
	case ledger.EventAccountCreated:
		c.created(&e.Account, position)
	case ledger.EventTransferCreated:
		c.posted(&e.Transfer, position)
	case ledger.EventPendingExpired:
		c.books.release(e.Transfer.ID)
	}
	c.compareWatched(e)
}

// checkTime checks that the feed's time does not run backwards. Imported records bring their own.
func (c *Checker) checkTime(e *ledger.Event, position uint64) {
	if e.Transfer.Flags&ledger.TransferImported != 0 || e.Account.Flags&ledger.AccountImported != 0 {
		return
	}
	if e.Timestamp < c.books.last {
		c.report(&finding{
			rule: StreamRegressed, key: [2]ident.ID{{Lo: position}},
			expected: Record{{"position", decimal(position)},
				{"timestamp", "at least " + decimal(uint64(c.books.last))}},
			found: Record{{"position", decimal(position)},
				{"timestamp", decimal(uint64(e.Timestamp))}},
			ledger: e.Transfer.Ledger, transfer: e.Transfer.ID,
		}, nil)
		return
	}
	c.books.last = e.Timestamp
	c.passed(StreamsWhole, 0)
}

// created enters a new account, which must have the limit of its class.
func (c *Checker) created(a *ledger.Account, position uint64) {
	c.books.create(a)
	entry := chartOf(a.Code)
	if entry == nil {
		return
	}
	if a.Flags&entry.limit != entry.limit {
		c.report(&finding{
			rule: AccountUnlimited, key: [2]ident.ID{a.ID},
			expected: accountRecord(a, entry.limit),
			found:    accountRecord(a, a.Flags&(noOverdraft|noOverpay)),
			ledger:   a.Ledger,
			sides:    [2]party{{a.ID, a.Code}},
		}, nil)
		return
	}
	c.passed(LimitsKept, 0)
}

func accountRecord(a *ledger.Account, limit ledger.AccountFlags) Record {
	return Record{{"account", a.ID.String()}, {"class", decimal(uint64(a.Code))},
		{"ledger", decimal(uint64(a.Ledger))}, {"limit", limitName(limit)}}
}

func limitName(limit ledger.AccountFlags) string {
	switch limit {
	case noOverdraft:
		return "debits must not exceed credits"
	case noOverpay:
		return "credits must not exceed debits"
	}
	return "none"
}

// posted takes a posting: into the books first, then to the event it belongs to.
func (c *Checker) posted(t *ledger.Transfer, position uint64) {
	s := c.books.post(t)
	if !s.known {
		c.reportUnknownAccount(t, position)
		return
	}
	if t.Flags&ledger.TransferPending != 0 {
		c.expectExpiry(t)
	}
	if !c.guarded(t, s) {
		return
	}
	c.checkOverdrawn(t, s, position)
	c.noteClearing(s)
	c.unexplained(t, 1)
	c.chain, c.chainAt = t.UserData128, position
	if t.UserData128.IsZero() {
		c.reportOrphan(t, position, c.now, c.now)
		return
	}
	o := c.open[t.UserData128]
	if o == nil {
		row := c.events.get(t.UserData128)
		if row != nil {
			c.chain = ident.ID{}
			c.reportAfterwards(t, *row, position)
			return
		}
		o, _ = c.openFor(t.UserData128)
		c.orphans.push(c.now.Add(c.limits.OrphanGrace), t.UserData128)
	}
	if !o.known {
		if len(o.strays) < straysMax {
			o.strays = append(o.strays, stray{position, *t})
		} else {
			c.reportExtra(o, t, position)
		}
		return
	}
	c.match(o, t, position)
	if o.whole() {
		c.conclude(o)
	}
}

// guarded reports whether the posting is the guard's business: it moves an account of a class on
// the chart, or bears a code of the table.
func (c *Checker) guarded(t *ledger.Transfer, s sides) bool {
	return c.books.chart[c.books.accounts.rows.at(s.debit).class] != nil ||
		c.books.chart[c.books.accounts.rows.at(s.credit).class] != nil || guardedCode(t.Code)
}

// match holds a posting against the leg of its event that it claims to be.
func (c *Checker) match(o *opening, t *ledger.Transfer, position uint64) {
	o.touched = true
	number := t.UserData64
	if number < 1 || number > uint64(o.count) {
		o.failed = true
		c.reportExtra(o, t, position)
		return
	}
	leg := &o.legs[number-1]
	if o.matched>>(number-1)&1 == 1 {
		o.failed = true
		c.reportPosting(PostingDuplicate, o, leg, t, position)
		return
	}
	o.matched |= 1 << (number - 1)
	o.posted = max(o.posted, position)
	if rule := leg.agrees(t, o.event.date); rule != 0 && !c.blind[rule] {
		o.failed = true
		c.reportPosting(rule, o, leg, t, position)
		return
	}
	c.awaited(leg, -1)
	c.unexplained(t, -1)
	c.passed(PostingsExpected, leg.Amount)
}

// endChain notes that the chain of the last posting is over: legs that are missing will not come.
func (c *Checker) endChain() {
	o := c.open[c.chain]
	c.chain = ident.ID{}
	if o == nil {
		return
	}
	o.ended = true
	if o.known && o.matched != 0 && !o.whole() && o.told.IsZero() {
		c.reportPartial(o)
	}
}

// checkOrphans reports the postings whose event is due and absent. The outbox must have been read
// past the deadline.
func (c *Checker) checkOrphans() {
	for d := c.orphans.first(); d != nil; d = c.orphans.first() {
		o := c.open[d.key]
		waits := o != nil && !o.known && o.told.IsZero()
		if waits && d.at > c.outbox.through {
			return
		}
		c.orphans.drop()
		if waits {
			for i := range o.strays {
				o.told = c.reportOrphan(&o.strays[i].transfer, o.strays[i].position, o.since, d.at)
			}
			o.failed = true
		}
	}
}

// reportOrphan reports a posting that no event asks for.
func (c *Checker) reportOrphan(t *ledger.Transfer, position uint64,
	since, decided clock.Instant) ident.ID {
	found := c.postingRecord(t, position)
	return c.report(&finding{
		rule: PostingOrphan, key: [2]ident.ID{t.ID},
		expected: Record{{"event", "in the outbox"}},
		found:    found, atRisk: t.Amount, ledger: t.Ledger, code: t.Code, transfer: t.ID,
		since: since, decided: decided, sides: c.parties(t),
	}, &facts{id: t.UserData128})
}

// reportAfterwards reports a posting for an event that is settled or cancelled already.
func (c *Checker) reportAfterwards(t *ledger.Transfer, row eventRow, position uint64) {
	rule, state := PostingDuplicate, "settled"
	if row.state() == stateCancelled {
		rule, state = PostingCancelled, "cancelled"
	} else if firstCode(row.kind()) == 0 {
		rule = PostingExtra
	}
	found := c.postingRecord(t, position)
	about := c.factsOfRow(t.UserData128, row)
	c.report(&finding{
		rule: rule, key: [2]ident.ID{t.UserData128, t.ID},
		expected: Record{{"event", t.UserData128.String()}, {"kind", row.kind().String()},
			{"state", state}, {"amount", "0"}},
		found: found, atRisk: t.Amount, ledger: t.Ledger, code: t.Code, transfer: t.ID,
		sides: c.parties(t),
	}, &about)
}

// reportExtra reports a posting of a leg that its event does not ask for.
func (c *Checker) reportExtra(o *opening, t *ledger.Transfer, position uint64) {
	c.report(&finding{
		rule: PostingExtra, key: [2]ident.ID{o.event.id, t.ID},
		expected: Record{{"event", o.event.id.String()}, {"kind", o.event.kind.String()},
			{"legs", decimal(uint64(o.count))}},
		found: c.postingRecord(t, position), atRisk: t.Amount, ledger: t.Ledger, code: t.Code,
		transfer: t.ID, since: o.since, sides: c.parties(t),
	}, &o.event)
}

// reportPosting reports a posting that is not what its leg asks for.
func (c *Checker) reportPosting(rule Rule, o *opening, leg *Leg, t *ledger.Transfer,
	position uint64) {
	c.report(&finding{
		rule: rule, key: [2]ident.ID{o.event.id, t.ID},
		expected: legRecord(o, leg), found: c.postingRecord(t, position),
		atRisk: atRisk(rule, leg, t), ledger: t.Ledger, code: t.Code, transfer: t.ID,
		since: o.since, sides: c.parties(t),
		asked: [2]party{{leg.Debit, leg.From}, {leg.Credit, leg.To}},
	}, &o.event)
}

// atRisk is what a wrong posting may lose: the difference where only the amount is wrong, and all of
// it otherwise.
func atRisk(rule Rule, leg *Leg, t *ledger.Transfer) money.Amount {
	if rule != PostingAmount && rule != PostingUnit {
		return t.Amount
	}
	difference, less := t.Amount.Sub(money.Minor(leg.Amount))
	if less {
		difference, _ = money.Minor(leg.Amount).Sub(t.Amount)
	}
	return difference
}

// reportPartial reports the legs that a chain lacks.
func (c *Checker) reportPartial(o *opening) {
	o.failed = true
	o.told = c.report(c.absence(PostingPartial, o, c.now), &o.event)
}

func (c *Checker) reportMissing(o *opening, due clock.Instant) {
	o.failed = true
	o.told = c.report(c.absence(PostingMissing, o, due), &o.event)
}

// absence is the finding that legs of an event are not there.
func (c *Checker) absence(rule Rule, o *opening, decided clock.Instant) *finding {
	f := &finding{rule: rule, key: [2]ident.ID{o.event.id}, since: o.since, decided: decided}
	for i := range o.legs[:o.count] {
		leg := &o.legs[i]
		if o.matched>>i&1 == 1 {
			continue
		}
		if f.expected == nil {
			f.expected = legRecord(o, leg)
			f.asked = [2]party{{leg.Debit, leg.From}, {leg.Credit, leg.To}}
			f.code = leg.Code
		}
		increase(&f.atRisk, money.Minor(leg.Amount))
	}
	f.found = Record{{"legs_posted", decimal(uint64(popcount(o.matched)))},
		{"legs_asked", decimal(uint64(o.count))}}
	return f
}

func popcount(b uint8) int {
	n := 0
	for ; b != 0; b &= b - 1 {
		n++
	}
	return n
}

func (c *Checker) reportUnknownAccount(t *ledger.Transfer, position uint64) {
	c.report(&finding{
		rule: AccountUnknown, key: [2]ident.ID{t.ID},
		expected: Record{{"debit_account", "created before"}, {"credit_account", "created before"}},
		found:    c.postingRecord(t, position), atRisk: t.Amount, ledger: t.Ledger, code: t.Code,
		transfer: t.ID,
	}, nil)
}

// parties returns the sides of a posting with their classes.
func (c *Checker) parties(t *ledger.Transfer) [2]party {
	return [2]party{{t.DebitAccountID, c.classOf(t.DebitAccountID)},
		{t.CreditAccountID, c.classOf(t.CreditAccountID)}}
}

// classOf returns the class of an account in the books, zero where they do not have it.
func (c *Checker) classOf(id ident.ID) uint16 {
	if a := c.books.accounts.get(id); a != nil {
		return c.books.classes[a.class].Code
	}
	return 0
}

// legRecord shows the posting that a leg asks for, by the names of postingRecord.
func legRecord(o *opening, leg *Leg) Record {
	number := 0
	for i := range o.legs[:o.count] {
		if &o.legs[i] == leg {
			number = i + 1
		}
	}
	r := Record{
		{"transfer", leg.ID.String()}, {"event", o.event.id.String()},
		{"kind", o.event.kind.String()}, {"leg", decimal(uint64(number))},
		{"debit_account", leg.Debit.String()}, {"debit_class", decimal(uint64(leg.From))},
		{"credit_account", leg.Credit.String()}, {"credit_class", decimal(uint64(leg.To))},
		{"amount", decimal(leg.Amount)}, {"ledger", decimal(uint64(leg.Ledger))},
		{"code", decimal(uint64(leg.Code))}, {"mode", modeName(leg.mode.flags())},
		{"date", o.event.date.String()},
	}
	if !leg.Pending.IsZero() {
		r = append(r, Field{"pending", leg.Pending.String()})
	}
	if leg.Timeout != 0 {
		r = append(r, Field{"timeout", decimal(uint64(leg.Timeout))})
	}
	return r
}

// postingRecord shows a posting as the feed has it.
func (c *Checker) postingRecord(t *ledger.Transfer, position uint64) Record {
	r := Record{
		{"transfer", t.ID.String()}, {"event", t.UserData128.String()},
		{"leg", decimal(t.UserData64)},
		{"debit_account", t.DebitAccountID.String()},
		{"debit_class", decimal(uint64(c.classOf(t.DebitAccountID)))},
		{"credit_account", t.CreditAccountID.String()},
		{"credit_class", decimal(uint64(c.classOf(t.CreditAccountID)))},
		{"amount", t.Amount.String()}, {"ledger", decimal(uint64(t.Ledger))},
		{"code", decimal(uint64(t.Code))}, {"mode", modeName(t.Flags)},
		{"date", dateText(t.UserData32)},
	}
	if !t.PendingID.IsZero() {
		r = append(r, Field{"pending", t.PendingID.String()})
	}
	if t.Timeout != 0 {
		r = append(r, Field{"timeout", decimal(uint64(t.Timeout))})
	}
	return append(r, Field{"timestamp", decimal(uint64(t.Timestamp))},
		Field{"position", decimal(position)})
}

// dateText shows a posting's date; what is no date of the calendar is shown as the number it is.
func dateText(days uint32) string {
	if days > uint32(clock.MustDate(clock.MaxYear, 12, 31)) {
		return decimal(uint64(days))
	}
	return clock.Date(days).String()
}

func modeName(flags ledger.TransferFlags) string {
	switch flags & modeFlags {
	case 0:
		return "final"
	case ledger.TransferPending:
		return "pending"
	case ledger.TransferPostPending:
		return "post pending"
	case ledger.TransferVoidPending:
		return "void pending"
	}
	return "other"
}
