package guard

import (
	"container/heap"
	"math/bits"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// books are the accounts as the feed's postings alone make them: the guard's second set, kept by
// other code than the ledger's, against which the ledger's own balances are held.
type books struct {
	accounts index[account]
	classes  []ledger.ClassTotal // in the order they were first seen
	byClass  map[classKey]uint16 // looked up, never ranged
	chart    []*chartEntry       // beside classes; nil outside the guard's view
	holds    map[ident.ID]hold   // open reservations; looked up, never ranged
	pending  map[uint32]reserved // by account, where a reservation is open; likewise
	expiries expiries            // of open reservations
	moving   []moving            // clearing accounts that are not at zero
	last     clock.Instant       // of the feed's last entry that was not imported
	posted   uint64              // postings seen
}

type classKey struct {
	ledger uint32
	code   uint16
}

// account is what the books keep of one account: what was posted, and its class.
type account struct {
	signed
	class uint16
}

// signed is credits less debits, in two's complement of 128 bits.
type signed struct{ lo, hi uint64 }

// reserved is what open reservations hold on each side of an account.
type reserved struct{ debits, credits money.Amount }

// hold is an open reservation.
type hold struct {
	debit, credit uint32 // accounts
	amount        money.Amount
	since         clock.Instant
	until         clock.Instant // when it should have ended; zero once that was reported
	event         ident.ID
	ledger        uint32
	code          uint16
}

func newBooks() books {
	return books{byClass: map[classKey]uint16{}, holds: map[ident.ID]hold{},
		pending: map[uint32]reserved{}}
}

// net returns credits less debits: its magnitude, and whether debits are greater.
func (a signed) net() (amount money.Amount, debit bool) {
	if a.hi>>63 == 0 {
		return money.Amount{Lo: a.lo, Hi: a.hi}, false
	}
	lo, borrow := bits.Sub64(0, a.lo, 0)
	hi, _ := bits.Sub64(0, a.hi, borrow)
	return money.Amount{Lo: lo, Hi: hi}, true
}

func (a *signed) credit(m money.Amount) {
	var carry uint64
	a.lo, carry = bits.Add64(a.lo, m.Lo, 0)
	a.hi, _ = bits.Add64(a.hi, m.Hi, carry)
}

func (a *signed) debit(m money.Amount) {
	var borrow uint64
	a.lo, borrow = bits.Sub64(a.lo, m.Lo, 0)
	a.hi, _ = bits.Sub64(a.hi, m.Hi, borrow)
}

// text shows the sum with its side.
func (a signed) text() string {
	amount, debit := a.net()
	if debit {
		return "debit " + amount.String()
	}
	return "credit " + amount.String()
}

func (a signed) plus(b signed) signed {
	a.credit(money.Amount{Lo: b.lo, Hi: b.hi})
	return a
}

func (a signed) minus(b signed) signed {
	a.debit(money.Amount{Lo: b.lo, Hi: b.hi})
	return a
}

func difference(credits, debits money.Amount) signed {
	a := signed{credits.Lo, credits.Hi}
	a.debit(debits)
	return a
}

// class returns the number of a class, opening it where it is new.
func (b *books) class(number uint32, code uint16) uint16 {
	key := classKey{number, code}
	if i, known := b.byClass[key]; known {
		return i
	}
	i := uint16(len(b.classes))
	b.classes = append(b.classes, ledger.ClassTotal{Ledger: number, Code: code})
	b.chart = append(b.chart, chartOf(code))
	b.byClass[key] = i
	return i
}

// create enters an account and returns its number.
func (b *books) create(a *ledger.Account) uint32 {
	i, fresh := b.accounts.add(a.ID)
	if fresh {
		class := b.class(a.Ledger, a.Code)
		b.accounts.rows.at(i).class = class
		b.classes[class].Accounts++
	}
	return i
}

// sides are the accounts of a posting in the books.
type sides struct {
	debit, credit uint32
	known         bool
}

// post enters a transfer. Sums are modulo 2^128, as the ledger's are.
func (b *books) post(t *ledger.Transfer) sides {
	b.posted++
	d, foundDebit := b.accounts.find(t.DebitAccountID)
	c, foundCredit := b.accounts.find(t.CreditAccountID)
	if !foundDebit || !foundCredit {
		return sides{}
	}
	s := sides{d, c, true}
	switch {
	case t.Flags&ledger.TransferPending != 0:
		b.reserve(t, s)
	case t.Flags&ledger.TransferPostPending != 0:
		b.release(t.PendingID)
		b.move(s, t.Amount)
	case t.Flags&ledger.TransferVoidPending != 0:
		b.release(t.PendingID)
	default:
		b.move(s, t.Amount)
	}
	return s
}

func (b *books) move(s sides, amount money.Amount) {
	d, c := b.accounts.rows.at(s.debit), b.accounts.rows.at(s.credit)
	d.debit(amount)
	c.credit(amount)
	increase(&b.classes[d.class].DebitsPosted, amount)
	increase(&b.classes[c.class].CreditsPosted, amount)
}

func (b *books) reserve(t *ledger.Transfer, s sides) {
	b.holds[t.ID] = hold{debit: s.debit, credit: s.credit, amount: t.Amount, since: t.Timestamp,
		event: t.UserData128, ledger: t.Ledger, code: t.Code}
	d, c := b.pending[s.debit], b.pending[s.credit]
	increase(&d.debits, t.Amount)
	increase(&c.credits, t.Amount)
	b.pending[s.debit], b.pending[s.credit] = d, c
	increase(&b.classes[b.accounts.rows.at(s.debit).class].DebitsPending, t.Amount)
	increase(&b.classes[b.accounts.rows.at(s.credit).class].CreditsPending, t.Amount)
}

// release ends a reservation, if it is open.
func (b *books) release(id ident.ID) {
	h, open := b.holds[id]
	if !open {
		return
	}
	delete(b.holds, id)
	decrease(&b.classes[b.accounts.rows.at(h.debit).class].DebitsPending, h.amount)
	decrease(&b.classes[b.accounts.rows.at(h.credit).class].CreditsPending, h.amount)
	b.unreserve(h.debit, reserved{debits: h.amount})
	b.unreserve(h.credit, reserved{credits: h.amount})
}

func (b *books) unreserve(account uint32, by reserved) {
	r := b.pending[account]
	decrease(&r.debits, by.debits)
	decrease(&r.credits, by.credits)
	if r == (reserved{}) {
		delete(b.pending, account)
		return
	}
	b.pending[account] = r
}

// overdrawn reports whether an account is beyond the limit of its class, pending amounts counted
// against it, and by how much.
func (b *books) overdrawn(i uint32) (by money.Amount, beyond bool) {
	a := b.accounts.rows.at(i)
	entry := b.chart[a.class]
	if entry == nil || entry.limit == 0 {
		return money.Amount{}, false
	}
	net, debit := a.net()
	against := b.pending[i].debits
	if entry.limit == noOverpay {
		debit = !debit
		against = b.pending[i].credits
	}
	if debit && !net.IsZero() {
		return net, true
	}
	over, short := against.Sub(net)
	return over, !short && !over.IsZero()
}

func increase(total *money.Amount, by money.Amount) { *total, _ = total.Add(by) }
func decrease(total *money.Amount, by money.Amount) { *total, _ = total.Sub(by) }

// expiry is when a reservation should have ended.
type expiry struct {
	at clock.Instant
	id ident.ID
}

// expiries is a heap of them, the earliest first.
type expiries []expiry

func (e expiries) Len() int { return len(e) }
func (e expiries) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].id.Less(e[j].id)
}
func (e expiries) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *expiries) Push(x any)   { *e = append(*e, x.(expiry)) }
func (e *expiries) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// expect notes when a reservation should have ended. Most end long before, so the heap is swept
// once four in five of its entries are of reservations that are gone.
func (b *books) expect(at clock.Instant, id ident.ID) {
	h, open := b.holds[id]
	if !open {
		return
	}
	h.until = at
	b.holds[id] = h
	if len(b.expiries) >= expirySweep+5*len(b.holds) {
		kept := b.expiries[:0]
		for _, e := range b.expiries {
			if _, open := b.holds[e.id]; open {
				kept = append(kept, e)
			}
		}
		b.expiries = kept
		heap.Init(&b.expiries)
	}
	heap.Push(&b.expiries, expiry{at, id})
}

// expirySweep keeps small books from being swept at every reservation.
const expirySweep = 256

// overdue returns the next reservation that should have ended before an instant.
func (b *books) overdue(before clock.Instant) (id ident.ID, h hold, found bool) {
	for len(b.expiries) > 0 {
		first := b.expiries[0]
		h, open := b.holds[first.id]
		if open && first.at > before {
			return ident.ID{}, hold{}, false
		}
		heap.Pop(&b.expiries)
		if open {
			h.until = 0
			b.holds[first.id] = h
			return first.id, h, true
		}
	}
	return ident.ID{}, hold{}, false
}
