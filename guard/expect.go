package guard

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/ledger"
)

// eventRow is what remains of an event once it is seen: its kind in the low four bits, its state in
// the next two, and above them the number of its application or loan.
type eventRow uint32

// eventState is how far an event has come.
type eventState uint8

const (
	stateWaiting   eventState = 0 // for its postings
	stateSettled   eventState = 1
	stateCancelled eventState = 2
)

func newEventRow(kind Kind, slot uint32) eventRow { return eventRow(uint32(kind) | slot<<6) }

func (r eventRow) kind() Kind        { return Kind(r & 15) }
func (r eventRow) state() eventState { return eventState(r >> 4 & 3) }
func (r eventRow) slot() uint32      { return uint32(r >> 6) }

func (r *eventRow) setState(s eventState) { *r = *r&^(3<<4) | eventRow(s)<<4 }

// facts are what is kept of an event while it waits, for its breaches and its verdict.
type facts struct {
	id          ident.ID
	kind        Kind
	seq         uint64
	date        clock.Date
	application ident.ID
	loan        ident.ID
	customer    ident.ID
	trace       ident.ID
	product     string
	ledger      uint32
}

func factsOf(e *Event) facts {
	return facts{id: e.ID, kind: e.Kind, seq: e.Seq, date: e.Date, application: e.Application,
		loan: e.Loan, customer: e.Customer, trace: e.Trace, product: e.Product, ledger: e.Ledger}
}

func (f *facts) subject() ident.ID {
	if f.loan.IsZero() {
		return f.application
	}
	return f.loan
}

// opening is an event that waits for postings, or postings that wait for their event.
type opening struct {
	event   facts
	row     uint32 // of the event
	known   bool   // the event has been seen
	failed  bool   // a rule was broken
	ended   bool   // the chain of its postings has ended
	touched bool   // a posting came for it, right or wrong
	since   clock.Instant
	posted  uint64 // place in the feed of the last posting that matched
	legs    [legsMax]Leg
	count   uint8
	matched uint8    // bits of legs
	told    ident.ID // the breach that said something is missing
	undo    undo
	strays  []stray
}

// stray is a posting that came before its event.
type stray struct {
	position uint64
	transfer ledger.Transfer
}

func (o *opening) whole() bool { return o.matched == 1<<o.count-1 }

// openFor returns the opening for an event id, making it where there is none.
func (c *Checker) openFor(id ident.ID) (o *opening, fresh bool) {
	if o := c.open[id]; o != nil {
		return o, false
	}
	if n := len(c.spare); n > 0 {
		o, c.spare = c.spare[n-1], c.spare[:n-1]
	} else {
		o = new(opening)
	}
	o.event.id, o.since = id, c.now
	c.open[id] = o
	return o, true
}

// spareMax bounds the openings kept for reuse; more were open only in a burst.
const spareMax = 4096

func (c *Checker) close(o *opening) {
	delete(c.open, o.event.id)
	if c.chain == o.event.id {
		c.chain = ident.ID{}
	}
	if len(c.spare) < spareMax {
		strays := o.strays[:0]
		*o = opening{strays: strays}
		c.spare = append(c.spare, o)
	}
}

// event takes the outbox's next event.
func (c *Checker) event(e *Event) {
	about := factsOf(e)
	row, fresh := c.events.add(e.ID)
	if !fresh {
		c.report(&finding{
			rule: EventDuplicate, key: [2]ident.ID{e.ID, {Lo: e.Seq}},
			expected: Record{{"event", e.ID.String()}, {"times", "1"}},
			found:    Record{{"event", e.ID.String()}, {"times", "2"}, {"position", decimal(e.Seq)}},
		}, &about)
		return
	}
	c.passed(NothingTwice, 0)
	broken := len(c.verdicts)
	slot, back := c.judge(e, &about)
	*c.events.rows.at(row) = newEventRow(e.Kind, slot)
	c.expect(e, &about, row, back, c.breachedSince(broken))
}

// breachedSince reports whether a breach was added to the verdicts since they had the given length.
func (c *Checker) breachedSince(n int) bool {
	for _, v := range c.verdicts[n:] {
		if v.Kind == Breached {
			return true
		}
	}
	return false
}

// expect derives the event's postings and matches those that came before it. An event that cannot
// be read asks for nothing.
func (c *Checker) expect(e *Event, about *facts, row uint32, back undo, failed bool) {
	var legs []Leg
	var space [legsMax]Leg
	if e.Flaw == "" && e.Kind != KindUnknown {
		p := &c.products[c.productFor(e)]
		legs = p.legs(space[:0], e)
	}
	waiting := c.open[e.ID]
	if waiting == nil && len(legs) == 0 {
		c.events.rows.at(row).setState(stateSettled)
		c.verdict(about, failed, 0)
		return
	}
	o, fresh := c.openFor(e.ID)
	o.event, o.row, o.known, o.undo, o.failed = *about, row, true, back, o.failed || failed
	o.count = uint8(len(legs))
	copy(o.legs[:], legs)
	for i := range legs {
		c.awaited(&legs[i], 1)
	}
	if fresh {
		c.missing.push(c.now.Add(c.limits.PostingDeadline), e.ID)
		return
	}
	if !o.told.IsZero() { // told to be an orphan; its event has come after all
		c.resolve(o)
	}
	for i := range o.strays {
		c.match(o, &o.strays[i].transfer, o.strays[i].position)
	}
	o.strays = o.strays[:0]
	c.conclude(o)
}

// conclude closes an opening whose legs are all there, and otherwise waits on: not for long where
// the chain has ended.
func (c *Checker) conclude(o *opening) {
	if !o.whole() {
		if o.ended && o.matched != 0 {
			c.reportPartial(o)
		} else {
			c.missing.push(c.now.Add(c.limits.PostingDeadline), o.event.id)
		}
		return
	}
	if !o.told.IsZero() {
		c.resolve(o)
	}
	c.events.rows.at(o.row).setState(stateSettled)
	c.settled(o)
	c.verdict(&o.event, o.failed, o.posted)
	c.close(o)
}

func (c *Checker) verdict(about *facts, failed bool, posted uint64) {
	kind := Checked
	if failed {
		kind = Failed
	}
	c.verdicts = append(c.verdicts, Verdict{Kind: kind, EventKind: about.kind, Event: about.id,
		Subject: about.subject(), Seq: about.seq, Posted: posted, At: c.now})
	c.passed(EventsPosted, 0)
}

// resolve says that what a breach missed has come.
func (c *Checker) resolve(o *opening) {
	c.verdicts = append(c.verdicts, Verdict{Kind: Resolved, EventKind: o.event.kind,
		Event: o.event.id, Subject: o.event.subject(), Seq: o.event.seq, At: c.now, BreachID: o.told})
	o.told = ident.ID{}
}

// checkMissing reports the events whose postings are due and absent, the chains that have ended
// early, and what the books find to be stuck. The feed must have been read past the deadline.
func (c *Checker) checkMissing() {
	through := c.feed.through
	if c.chainAt <= c.feed.reached { // batches become visible whole, so the chain is over
		c.endChain()
	}
	for d := c.missing.first(); d != nil; d = c.missing.first() {
		o := c.open[d.key]
		waits := o != nil && o.known && o.told.IsZero() && o.matched == 0
		if waits && d.at > through {
			break
		}
		c.missing.drop()
		if waits {
			c.reportMissing(o, d.at)
		}
	}
	c.checkHolds()
	c.checkClearing()
	if through > c.watch.through {
		c.watch.through = through
		c.compareWatched(nil)
	}
}
