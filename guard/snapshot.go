package guard

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"slices"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// A snapshot is the checker's state between two inputs, so that a restart reads the streams from
// where they were and not from their beginning. What was waiting out of order is left out: it is
// behind the positions in the snapshot and will be read again. Deadlines begin anew at the restart,
// since the services may have been down as well.
//
// The form: a magic word and version, the state as little-endian numbers, and SHA-256 of all of it.

const snapshotMagic = 0x3144_5241_5547_5253 // "SRGUARD1"

// coder writes numbers, or reads them back: one walk over the state serves both ways.
type coder struct {
	w   *bufio.Writer // nil when reading
	r   *bufio.Reader
	sum hash.Hash
	err error
	b   [8]byte
}

func (k *coder) bytes(p []byte) {
	if k.err != nil {
		return
	}
	if k.w != nil {
		k.sum.Write(p)
		_, k.err = k.w.Write(p)
		return
	}
	if _, k.err = io.ReadFull(k.r, p); k.err == nil {
		k.sum.Write(p)
	}
}

// number codes an integer of any width as its width.
func number[T ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int | ~int32 | ~int64](k *coder, n *T) {
	width := binary.Size(*n)
	if width < 0 {
		width = 8 // int
	}
	binary.LittleEndian.PutUint64(k.b[:], uint64(*n))
	k.bytes(k.b[:width])
	if k.w == nil {
		clear(k.b[width:])
		*n = T(binary.LittleEndian.Uint64(k.b[:]))
	}
}

func (k *coder) flag(f *bool) {
	var n uint8
	if *f {
		n = 1
	}
	number(k, &n)
	*f = n == 1
}

func (k *coder) id(i *ident.ID)         { number(k, &i.Lo); number(k, &i.Hi) }
func (k *coder) amount(a *money.Amount) { number(k, &a.Lo); number(k, &a.Hi) }
func (k *coder) signed(s *signed)       { number(k, &s.lo); number(k, &s.hi) }

// text codes a text of at most snapshotText bytes.
func (k *coder) text(s *string) {
	n := uint32(len(*s))
	number(k, &n)
	if k.err == nil && n > snapshotText {
		k.err = errs.New(errs.Corrupt, "a text of %d bytes, the limit is %d", n, snapshotText)
	}
	if k.err != nil {
		return
	}
	b := []byte(*s)
	if k.w == nil {
		b = make([]byte, n)
	}
	k.bytes(b)
	*s = string(b)
}

// snapshotText bounds a text: names of products and currencies.
const snapshotText = 1 << 10

// list codes a slice, item by item.
func list[T any](k *coder, items *[]T, item func(*T)) {
	n := uint64(len(*items))
	number(k, &n)
	if k.w != nil {
		for i := range *items {
			item(&(*items)[i])
		}
		return
	}
	*items = nil
	for i := uint64(0); i < n && k.err == nil; i++ {
		var one T
		item(&one)
		*items = append(*items, one)
	}
}

// table codes an index with its rows.
func code[T any](k *coder, x *index[T], row func(*T)) {
	n := x.keys.count
	number(k, &n)
	for i := uint32(0); i < n && k.err == nil; i++ {
		var key ident.ID
		if k.w != nil {
			key = *x.keys.at(i)
		}
		k.id(&key)
		if k.w == nil {
			if at, fresh := x.add(key); !fresh || at != i {
				k.err = errs.New(errs.Corrupt, "key %s stands twice", key)
				return
			}
		}
		row(x.rows.at(i))
	}
}

// WriteSnapshot writes the state. Errors are the writer's.
func (c *Checker) WriteSnapshot(w io.Writer) error {
	k := &coder{w: bufio.NewWriterSize(w, 1<<16), sum: sha256.New()}
	c.walk(k)
	if k.err == nil {
		_, k.err = k.w.Write(k.sum.Sum(nil))
	}
	if k.err == nil {
		k.err = k.w.Flush()
	}
	return errs.Wrap(k.err, "guard.snapshot")
}

// ReadSnapshot returns the checker that was written, with other limits if they were changed. What is
// not a snapshot, or is damaged, is an error of kind Corrupt.
func ReadSnapshot(r io.Reader, limits Limits, now clock.Instant) (*Checker, error) {
	c := New(limits)
	c.now = now
	k := &coder{r: bufio.NewReaderSize(r, 1<<16), sum: sha256.New()}
	c.walk(k)
	var sum [sha256.Size]byte
	own := k.sum.Sum(nil)
	if k.err == nil {
		_, k.err = io.ReadFull(k.r, sum[:])
	}
	if k.err != nil {
		return nil, errs.As(errs.Corrupt, k.err, "guard.snapshot")
	}
	if !bytes.Equal(own, sum[:]) {
		return nil, errs.New(errs.Corrupt, "guard.snapshot: the checksum does not match")
	}
	c.resume(now)
	return c, nil
}

// walk codes the whole state.
func (c *Checker) walk(k *coder) {
	magic := uint64(snapshotMagic)
	number(k, &magic)
	if k.err == nil && magic != snapshotMagic {
		k.err = errs.New(errs.Corrupt, "not a snapshot of this version")
		return
	}
	number(k, &c.outbox.next)
	number(k, &c.feed.next)
	number(k, &c.outbox.repeats)
	number(k, &c.feed.repeats)
	number(k, &c.latest)
	code(k, &c.events, func(r *eventRow) { number(k, r) })
	code(k, &c.references, func(r *uint32) { number(k, r) })
	code(k, &c.penalties, func(d *clock.Date) { number(k, d) })
	code(k, &c.applications, k.application)
	code(k, &c.customers, func(r *customer) { number(k, &r.granted); number(k, &r.drawn) })
	c.walkProducts(k)
	code(k, &c.loans, k.loan)
	c.walkOpen(k)
	c.walkBooks(k)
	list(k, &c.sheets, k.sheet)
	for i := range c.counts {
		n := &c.counts[i]
		number(k, &n.Checked)
		k.amount(&n.Money)
		number(k, &n.Breach)
		number(k, &n.At)
	}
}

func (k *coder) application(a *application) {
	number(k, &a.offered)
	number(k, &a.limit)
	number(k, &a.granted)
	number(k, &a.reserved)
	number(k, &a.customer)
	number(k, &a.decision)
	number(k, &a.reserve)
	number(k, &a.loan)
	number(k, &a.decided)
	number(k, &a.last)
	k.flag(&a.approved)
	k.flag(&a.received)
}

func (k *coder) terms(t *Terms) {
	number(k, &t.Rounding)
	number(k, &t.Overdue)
	number(k, &t.Early)
	for i := range t.Allocation {
		number(k, &t.Allocation[i])
	}
	number(k, &t.PenaltyDayCount)
	number(k, &t.PenaltyRate)
}

func (k *coder) loan(l *loan) {
	k.terms(&l.terms)
	for _, n := range [...]*uint64{&l.rate, &l.principal, &l.fee, &l.instalment, &l.outstanding,
		&l.interestDue, &l.penaltyDue, &l.overpaid, &l.amortised, &l.lost, &l.billed.interest,
		&l.billed.principal, &l.ahead} {
		number(k, n)
	}
	for _, n := range [...]*uint32{&l.application, &l.customer, &l.product, &l.contract} {
		number(k, n)
	}
	for _, d := range [...]*clock.Date{&l.disbursedOn, &l.firstDue, &l.accruedTo, &l.last} {
		number(k, d)
	}
	number(k, &l.term)
	number(k, &l.fallen)
	number(k, &l.state)
	number(k, &l.dayCount)
	number(k, &l.anchorDay)
	k.flag(&l.loose)
}

func (c *Checker) walkProducts(k *coder) {
	list(k, &c.products, func(p *product) {
		k.text(&p.name)
		k.text(&p.currency)
		number(k, &p.ledger)
		if k.w == nil {
			c.byProduct[productKey{p.name, p.ledger}] = uint32(len(c.products))
			*p = newProduct(p.name, p.currency, p.ledger)
		}
	})
}

func (c *Checker) walkOpen(k *coder) {
	waiting := make([]*opening, 0, len(c.open))
	for _, o := range c.open { // in any order: they are sorted below
		waiting = append(waiting, o)
	}
	slices.SortFunc(waiting, func(a, b *opening) int { return compare(a.event.id, b.event.id) })
	list(k, &waiting, func(o **opening) {
		if *o == nil {
			*o = new(opening)
		}
		k.opening(*o)
		if k.w == nil {
			c.open[(*o).event.id] = *o
		}
	})
	k.id(&c.chain)
	number(k, &c.chainAt)
}

func compare(a, b ident.ID) int {
	if a == b {
		return 0
	}
	if a.Less(b) {
		return -1
	}
	return 1
}

func (k *coder) opening(o *opening) {
	k.facts(&o.event)
	number(k, &o.row)
	k.flag(&o.known)
	k.flag(&o.failed)
	k.flag(&o.ended)
	k.flag(&o.touched)
	number(k, &o.since)
	number(k, &o.posted)
	number(k, &o.count)
	number(k, &o.matched)
	k.id(&o.told)
	for i := range o.legs {
		k.leg(&o.legs[i])
	}
	number(k, &o.undo.slot)
	number(k, &o.undo.reference)
	number(k, &o.undo.penalty)
	number(k, &o.undo.charged)
	k.loan(&o.undo.before)
	number(k, &o.undo.amount)
	number(k, &o.undo.trail.count)
	for i := range o.undo.trail.changes {
		ch := &o.undo.trail.changes[i]
		number(k, &ch.amount)
		number(k, &ch.class)
		k.flag(&ch.credit)
	}
	list(k, &o.strays, func(s *stray) {
		number(k, &s.position)
		k.transfer(&s.transfer)
	})
}

func (k *coder) facts(f *facts) {
	for _, id := range [...]*ident.ID{&f.id, &f.application, &f.loan, &f.customer, &f.trace} {
		k.id(id)
	}
	number(k, &f.kind)
	number(k, &f.seq)
	number(k, &f.date)
	k.text(&f.product)
	number(k, &f.ledger)
}

func (k *coder) leg(l *Leg) {
	for _, id := range [...]*ident.ID{&l.ID, &l.Debit, &l.Credit, &l.Pending} {
		k.id(id)
	}
	number(k, &l.Amount)
	number(k, &l.Ledger)
	number(k, &l.Timeout)
	number(k, &l.Code)
	number(k, &l.From)
	number(k, &l.To)
	number(k, &l.mode)
}

func (k *coder) transfer(t *ledger.Transfer) {
	for _, id := range [...]*ident.ID{&t.ID, &t.DebitAccountID, &t.CreditAccountID, &t.PendingID,
		&t.UserData128} {
		k.id(id)
	}
	k.amount(&t.Amount)
	number(k, &t.UserData64)
	number(k, &t.UserData32)
	number(k, &t.Timeout)
	number(k, &t.Ledger)
	number(k, &t.Code)
	number(k, &t.Flags)
	number(k, &t.Timestamp)
}

// heldRow is a reservation with its id.
type heldRow struct {
	id ident.ID
	h  hold
}

func (c *Checker) walkBooks(k *coder) {
	b := &c.books
	list(k, &b.classes, func(t *ledger.ClassTotal) {
		number(k, &t.Ledger)
		number(k, &t.Code)
		number(k, &t.Accounts)
		for _, a := range [...]*money.Amount{&t.DebitsPending, &t.DebitsPosted, &t.CreditsPending,
			&t.CreditsPosted} {
			k.amount(a)
		}
	})
	code(k, &b.accounts, func(a *account) { k.signed(&a.signed); number(k, &a.class) })
	held := make([]heldRow, 0, len(b.holds))
	for id, h := range b.holds { // in any order: they are sorted below
		held = append(held, heldRow{id, h})
	}
	slices.SortFunc(held, func(x, y heldRow) int { return compare(x.id, y.id) })
	list(k, &held, func(r *heldRow) {
		k.id(&r.id)
		k.id(&r.h.event)
		number(k, &r.h.debit)
		number(k, &r.h.credit)
		k.amount(&r.h.amount)
		number(k, &r.h.since)
		number(k, &r.h.until)
		number(k, &r.h.ledger)
		number(k, &r.h.code)
	})
	list(k, &b.moving, func(m *moving) {
		number(k, &m.account)
		number(k, &m.since)
		number(k, &m.first)
		k.flag(&m.told)
	})
	number(k, &b.last)
	number(k, &b.posted)
	if k.w == nil && k.err == nil {
		b.restore(held)
	}
	c.walkTold(k)
}

// restore makes what the books derive from their accounts, classes and reservations.
func (b *books) restore(held []heldRow) {
	for i := range b.classes {
		b.byClass[classKey{b.classes[i].Ledger, b.classes[i].Code}] = uint16(i)
		b.chart = append(b.chart, chartOf(b.classes[i].Code))
	}
	for _, r := range held {
		b.holds[r.id] = r.h
		debit := b.pending[r.h.debit]
		increase(&debit.debits, r.h.amount)
		b.pending[r.h.debit] = debit
		credit := b.pending[r.h.credit]
		increase(&credit.credits, r.h.amount)
		b.pending[r.h.credit] = credit
		if r.h.until != 0 {
			b.expect(r.h.until, r.id)
		}
	}
}

// walkTold codes what was reported and still stands, so that a restart does not report it again.
func (c *Checker) walkTold(k *coder) {
	over := make([]uint32, 0, len(c.overrun))
	for account := range c.overrun { // in any order: they are sorted below
		over = append(over, account)
	}
	slices.Sort(over)
	list(k, &over, func(n *uint32) {
		number(k, n)
		if k.w == nil {
			c.overrun[*n] = true
		}
	})
	type toldRow struct {
		what ident.ID
		at   uint64
	}
	told := make([]toldRow, 0, len(c.watch.told))
	for what, at := range c.watch.told { // in any order: they are sorted below
		told = append(told, toldRow{what, at})
	}
	slices.SortFunc(told, func(a, b toldRow) int { return compare(a.what, b.what) })
	list(k, &told, func(r *toldRow) {
		k.id(&r.what)
		number(k, &r.at)
		if k.w == nil {
			if c.watch.told == nil {
				c.watch.told = map[ident.ID]uint64{}
			}
			c.watch.told[r.what] = r.at
		}
	})
}

func (k *coder) sheet(s *sheet) {
	number(k, &s.ledger)
	for i := range chart {
		k.flag(&s.told[i])
		k.signed(&s.business[i])
		k.signed(&s.awaited[i])
		k.signed(&s.unexplained[i])
	}
}

// resume lets what waits begin to wait anew. The order of equal deadlines is that of the ids.
func (c *Checker) resume(now clock.Instant) {
	waiting := make([]*opening, 0, len(c.open))
	for _, o := range c.open { // in any order: they are sorted below
		waiting = append(waiting, o)
	}
	slices.SortFunc(waiting, func(a, b *opening) int { return compare(a.event.id, b.event.id) })
	for _, o := range waiting {
		switch {
		case !o.told.IsZero():
		case o.known:
			c.missing.push(now.Add(c.limits.PostingDeadline), o.event.id)
		default:
			c.orphans.push(now.Add(c.limits.OrphanGrace), o.event.id)
		}
	}
	for i := range c.books.moving {
		if m := &c.books.moving[i]; !m.told {
			m.since = now
		}
	}
}
