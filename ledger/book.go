package ledger

import (
	"cmp"
	"slices"

	"surety/base/invariant"
	"surety/base/money"
)

// ClassTotal is the sum over all accounts of one code in one ledger: a line of the trial balance.
// Sums are kept modulo 2^128, which no real money reaches.
type ClassTotal struct {
	Ledger         uint32
	Code           uint16
	Accounts       uint64
	DebitsPending  money.Amount
	DebitsPosted   money.Amount
	CreditsPending money.Amount
	CreditsPosted  money.Amount
}

// ClassTotals returns the totals of every class of account there is, by ledger and then code. In
// each ledger debits and credits add up to the same.
func (s *State) ClassTotals() []ClassTotal {
	totals := make([]ClassTotal, 0, len(s.book.classes))
	for i := range s.book.classes {
		if s.book.classes[i].total.Accounts > 0 {
			totals = append(totals, s.book.classes[i].total)
		}
	}
	slices.SortFunc(totals, func(a, b ClassTotal) int {
		return cmp.Or(cmp.Compare(a.Ledger, b.Ledger), cmp.Compare(a.Code, b.Code))
	})
	return totals
}

type classKey struct {
	ledger uint32
	code   uint16
}

type class struct {
	total ClassTotal
	sheet uint32 // its ledger in the book
}

// sheet is one ledger and the sums of its four totals over all accounts. They are made from what is
// seen to have changed in the accounts, not from what was meant to change: so they check it.
type sheet struct {
	ledger  uint32
	frozen  uint32 // open freezes of the whole ledger
	touched bool   // in this batch
	totals  totals
}

// totals are the four totals of an account that one movement changes: the debits of the account
// debited and the credits of the account credited.
type totals struct {
	debitsPending, debitsPosted, creditsPending, creditsPosted money.Amount
}

func observe(debited, credited *Account) totals {
	return totals{debited.DebitsPending, debited.DebitsPosted,
		credited.CreditsPending, credited.CreditsPosted}
}

// book holds the running totals by class and by ledger. The maps are looked up and never ranged.
type book struct {
	classes  []class
	sheets   []sheet
	byClass  map[classKey]uint32
	byLedger map[uint32]uint32
	touched  []uint32 // sheets touched in this batch
}

func newBook() book {
	return book{byClass: map[classKey]uint32{}, byLedger: map[uint32]uint32{}}
}

// class returns the number of the class, opening it where it is new.
func (b *book) class(ledger uint32, code uint16) uint32 {
	key := classKey{ledger, code}
	if i, ok := b.byClass[key]; ok {
		return i
	}
	i := uint32(len(b.classes))
	b.classes = append(b.classes, class{
		total: ClassTotal{Ledger: ledger, Code: code},
		sheet: b.sheet(ledger),
	})
	b.byClass[key] = i
	return i
}

// sheet returns the number of the ledger, opening it where it is new.
func (b *book) sheet(ledger uint32) uint32 {
	if i, ok := b.byLedger[ledger]; ok {
		return i
	}
	i := uint32(len(b.sheets))
	b.sheets = append(b.sheets, sheet{ledger: ledger})
	b.byLedger[ledger] = i
	return i
}

// cut drops the classes and sheets from the given numbers on, which must be empty and new.
func (b *book) cut(classes, sheets int) {
	for _, c := range b.classes[classes:] {
		delete(b.byClass, classKey{c.total.Ledger, c.total.Code})
	}
	for _, sh := range b.sheets[sheets:] {
		delete(b.byLedger, sh.ledger)
	}
	b.classes, b.sheets = b.classes[:classes], b.sheets[:sheets]
}

// add enters a movement in the totals of the two classes.
func (b *book) add(debit, credit uint32, m *movement) {
	d, c := &b.classes[debit].total, &b.classes[credit].total
	if !m.reserve.IsZero() {
		plus(&d.DebitsPending, m.reserve)
		plus(&c.CreditsPending, m.reserve)
	}
	if !m.release.IsZero() {
		minus(&d.DebitsPending, m.release)
		minus(&c.CreditsPending, m.release)
	}
	if !m.post.IsZero() {
		plus(&d.DebitsPosted, m.post)
		plus(&c.CreditsPosted, m.post)
	}
}

// subtract takes a movement out of the totals of the two classes.
func (b *book) subtract(debit, credit uint32, m *movement) {
	back := movement{reserve: m.release, release: m.reserve}
	b.add(debit, credit, &back)
	minus(&b.classes[debit].total.DebitsPosted, m.post)
	minus(&b.classes[credit].total.CreditsPosted, m.post)
}

// enter brings the sheet of a class's ledger up to date with two accounts that looked like before.
func (b *book) enter(class uint32, before *totals, debited, credited *Account) {
	i := b.classes[class].sheet
	sh := &b.sheets[i]
	if !sh.touched {
		sh.touched = true
		b.touched = append(b.touched, i)
	}
	change(&sh.totals.debitsPending, before.debitsPending, debited.DebitsPending)
	change(&sh.totals.debitsPosted, before.debitsPosted, debited.DebitsPosted)
	change(&sh.totals.creditsPending, before.creditsPending, credited.CreditsPending)
	change(&sh.totals.creditsPosted, before.creditsPosted, credited.CreditsPosted)
}

// checkTouched checks that debits equal credits in every ledger this batch touched.
func (b *book) checkTouched() {
	for _, i := range b.touched {
		sh := &b.sheets[i]
		sh.touched = false
		invariant.Check(sh.totals.debitsPending == sh.totals.creditsPending,
			"ledger: pending debits differ from pending credits")
		invariant.Check(sh.totals.debitsPosted == sh.totals.creditsPosted,
			"ledger: posted debits differ from posted credits")
	}
	b.touched = b.touched[:0]
}

func change(sum *money.Amount, before, after money.Amount) {
	plus(sum, after)
	minus(sum, before)
}

// plus adds modulo 2^128.
func plus(total *money.Amount, amount money.Amount) { *total, _ = total.Add(amount) }

// minus subtracts modulo 2^128.
func minus(total *money.Amount, amount money.Amount) { *total, _ = total.Sub(amount) }
