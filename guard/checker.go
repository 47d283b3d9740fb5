package guard

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// Checker is the state of the guard. It is made by New or ReadSnapshot.
type Checker struct {
	limits Limits
	blind  [ruleMax]bool // rules switched off by Blind
	now    clock.Instant // the latest Input.Now

	outbox sequence[Event]
	feed   sequence[ledger.Event]

	events       index[eventRow]
	references   index[uint32]     // of payments and keys: the row of the event that used it, plus one
	penalties    index[clock.Date] // of instalments: the day up to which a penalty was charged
	applications index[application]
	loans        index[loan]
	customers    index[customer]
	products     []product
	byProduct    map[productKey]uint32 // looked up, never ranged
	latest       clock.Date            // the latest business date seen

	open     map[ident.ID]*opening // events and postings that wait; looked up, never ranged
	spare    []*opening
	missing  queue[ident.ID] // openings whose postings are due
	orphans  queue[ident.ID] // openings whose event is due
	chain    ident.ID        // the event of the feed's last posting, while legs of it are missing
	chainAt  uint64          // the place of that posting
	books    books
	overrun  map[uint32]bool // accounts told to be beyond their limit
	sheets   []sheet
	trail    trail // what the event being judged changes in the sheets
	watch    watch
	canaries []Canary // of the last InputCanary
	verdicts []Verdict
	counts   [invariantMax]Count
}

// Count is what an invariant has been checked on.
type Count struct {
	Checked uint64       // comparisons made
	Money   money.Amount // minor units they covered, of all currencies
	Breach  uint64       // breaches found
	At      clock.Instant
}

// New returns a checker that has seen nothing.
func New(limits Limits) *Checker {
	return &Checker{
		limits:    limits.filled(),
		outbox:    newSequence[Event](1),
		feed:      newSequence[ledger.Event](1),
		open:      map[ident.ID]*opening{},
		overrun:   map[uint32]bool{},
		byProduct: map[productKey]uint32{},
		books:     newBooks(),
	}
}

// Step takes one input and returns what follows from it. The slice is valid until the next Step;
// the breaches in it are the caller's. Inputs may repeat and come in any order; an event or entry
// for which there is no room among those that wait is dropped, and must be offered again: Position
// tells from where.
func (c *Checker) Step(in *Input) []Verdict {
	clear(c.verdicts)
	c.verdicts = c.verdicts[:0]
	c.now = max(c.now, in.Now)
	switch in.Kind {
	case InputEvent:
		c.takeEvent(in.Event)
	case InputEntry:
		c.takeEntry(in.Entry)
	case InputRead:
		c.takeRead(in.Stream, in.Last, in.Began)
	case InputTick:
		c.checkGaps()
	case InputTotals:
		c.beginTotals(in.Totals)
	case InputBalances:
		c.beginBalances(in.Accounts)
	case InputCanary:
		c.testSelf()
	}
	return c.verdicts
}

func (c *Checker) takeEvent(e *Event) {
	switch c.outbox.offer(e.Seq, c.now) {
	case arrivedEarly:
		kept := *e
		kept.Flows = append([]Flow(nil), e.Flows...)
		c.outbox.waiting[e.Seq] = kept
	case arrivedNow:
		c.event(e)
		for next, ready := c.outbox.advance(c.now); ready; next, ready = c.outbox.advance(c.now) {
			c.event(&next)
		}
		c.checkOrphans()
	}
}

func (c *Checker) takeEntry(e *ledger.Event) {
	position := e.Seq + 1
	switch c.feed.offer(position, c.now) {
	case arrivedEarly:
		c.feed.waiting[position] = *e
	case arrivedNow:
		c.entry(e)
		for next, ready := c.feed.advance(c.now); ready; next, ready = c.feed.advance(c.now) {
			c.entry(&next)
		}
		c.checkMissing()
	}
}

func (c *Checker) takeRead(stream Stream, last uint64, began clock.Instant) {
	if stream == StreamOutbox {
		c.outbox.read(last, began)
		c.checkOrphans()
		return
	}
	c.feed.read(last, began)
	c.checkMissing()
}

// Position returns the last position processed of a stream: all up to it have been.
func (c *Checker) Position(stream Stream) uint64 {
	if stream == StreamOutbox {
		return c.outbox.next - 1
	}
	return c.feed.next - 1
}

// Through returns the instant up to which a stream is known to have been read whole.
func (c *Checker) Through(stream Stream) clock.Instant {
	if stream == StreamOutbox {
		return c.outbox.through
	}
	return c.feed.through
}

// Open returns how many events and postings wait for their other side.
func (c *Checker) Open() int { return len(c.open) }

// Counts returns what an invariant has been checked on.
func (c *Checker) Counts(i Invariant) Count { return c.counts[i] }

// Repeats returns how many inputs came again and were dropped.
func (c *Checker) Repeats() uint64 { return c.outbox.repeats + c.feed.repeats }

// passed counts a comparison that held.
func (c *Checker) passed(rule Invariant, covered uint64) {
	n := &c.counts[rule]
	n.Checked++
	n.At = c.now
	increase(&n.Money, money.Minor(covered))
}

// finding is what a rule found to be broken, before it becomes a breach.
type finding struct {
	rule     Rule
	key      [2]ident.ID // with the rule, what makes it this breach and no other
	expected Record
	found    Record
	atRisk   money.Amount
	ledger   uint32
	code     uint16
	transfer ident.ID
	since    clock.Instant // when the first record reached the checker
	decided  clock.Instant // from when it could be known; zero means now
	sides    [2]party      // of the posting found
	asked    [2]party      // of the posting expected
}

// report makes a breach of a finding; e is the event it is about, nil for a breach of sums.
func (c *Checker) report(f *finding, e *facts) ident.ID {
	if c.blind[f.rule] {
		return ident.ID{}
	}
	id := breachID(f.rule, f.key[:]...)
	for i := range c.verdicts {
		if c.verdicts[i].BreachID == id { // the same rule and records, by two of its conditions
			return id
		}
	}
	info := f.rule.Info()
	class, _ := info.Class.Info()
	b := &Breach{
		ID: id, Rule: f.rule, Class: info.Class,
		Transfer: f.transfer, Code: f.code, Ledger: f.ledger, AtRisk: f.atRisk,
		Expected: f.expected, Found: f.found,
		FirstSeen: f.since, DecidableAt: f.decided, DetectedAt: c.now,
	}
	if b.FirstSeen == 0 {
		b.FirstSeen = c.now
	}
	if b.DecidableAt == 0 {
		b.DecidableAt = c.now
	}
	if e != nil {
		b.Event, b.EventKind, b.EventSeq = e.id, e.kind, e.seq
		b.Application, b.Loan, b.Customer, b.Trace = e.application, e.loan, e.customer, e.trace
		b.Product = e.product
		if b.Ledger == 0 {
			b.Ledger = e.ledger
		}
		if b.Code == 0 {
			b.Code = firstCode(e.kind)
		}
	}
	b.Stops = c.plan(class.Stop, b, f.sides, f.asked)
	n := &c.counts[info.Invariant]
	n.Checked++
	n.Breach++
	n.At = c.now
	c.verdicts = append(c.verdicts, Verdict{Kind: Breached, EventKind: b.EventKind, Event: b.Event,
		Subject: b.Subject(), Seq: b.EventSeq, At: c.now, Breach: b, BreachID: b.ID})
	return b.ID
}

// firstCode returns the code of the first leg that an event of the kind asks for.
func firstCode(kind Kind) uint16 {
	for i := range table {
		if table[i].kind == kind {
			return table[i].code
		}
	}
	return 0
}

// productKey names a product in one currency.
type productKey struct {
	name   string
	ledger uint32
}

// productOf returns what is derived for a product and currency, nil where no event has named it.
func (c *Checker) productOf(name string, number uint32) *product {
	i, known := c.byProduct[productKey{name, number}]
	if !known {
		return nil
	}
	return &c.products[i]
}

// productFor is productOf that derives what is missing, and returns its number.
func (c *Checker) productFor(e *Event) uint32 {
	key := productKey{e.Product, e.Ledger}
	i, known := c.byProduct[key]
	if !known {
		i = uint32(len(c.products))
		c.products = append(c.products, newProduct(e.Product, e.Currency, e.Ledger))
		c.byProduct[key] = i
	}
	return i
}

// Slept tells the checker that for a span nothing ran, neither it nor the services beside it: the
// process was stopped, or its machine. What waits then waits that much longer: a posting is late by
// the time in which it could have been made.
func (c *Checker) Slept(span clock.Duration) {
	c.missing.shift(span)
	c.orphans.shift(span)
	for i := range c.books.moving {
		c.books.moving[i].since = c.books.moving[i].since.Add(span)
	}
}

// checkGaps reports a stream in which an entry is missing although later ones are there.
func (c *Checker) checkGaps() {
	if since, gap := gapOf(&c.outbox, c.now, c.limits.GapMax); gap {
		c.reportGap(StreamOutbox, c.outbox.next, since)
	}
	if since, gap := gapOf(&c.feed, c.now, c.limits.GapMax); gap {
		c.reportGap(StreamFeed, c.feed.next, since)
	}
}

func gapOf[T any](s *sequence[T], now clock.Instant, limit clock.Duration) (clock.Instant, bool) {
	if s.gapSince == 0 || s.gapTold || now.Sub(s.gapSince) < limit {
		return 0, false
	}
	s.gapTold = true
	return s.gapSince, true
}

func (c *Checker) reportGap(stream Stream, position uint64, since clock.Instant) {
	c.report(&finding{
		rule: StreamGap,
		key:  [2]ident.ID{{Lo: uint64(stream)}, {Lo: position}},
		expected: Record{{"stream", stream.String()}, {"position", decimal(position)},
			{"entry", "present"}},
		found: Record{{"stream", stream.String()}, {"position", decimal(position)},
			{"entry", "missing"}},
		since:   since,
		decided: since.Add(c.limits.GapMax),
	}, nil)
}
