package ledger

import (
	"surety/base/invariant"
	"surety/base/money"
)

// movement is the effect of a transfer on its two accounts. Every transfer is one of these: a
// pending one reserves, a plain one posts, a post releases and posts, a void or an expiry releases.
type movement struct {
	debit, credit uint32 // numbers of the accounts
	reserve       money.Amount
	release       money.Amount
	post          money.Amount
}

// move applies a movement. What it checks the checks before it have made certain.
func (s *State) move(m *movement) {
	d, c := s.accounts.at(m.debit), s.accounts.at(m.credit)
	seen := observe(d, c)
	if !m.reserve.IsZero() {
		grow(&d.DebitsPending, m.reserve)
		grow(&c.CreditsPending, m.reserve)
	}
	if !m.release.IsZero() {
		shrink(&d.DebitsPending, m.release)
		shrink(&c.CreditsPending, m.release)
	}
	if !m.post.IsZero() {
		grow(&d.DebitsPosted, m.post)
		grow(&c.CreditsPosted, m.post)
	}
	d.checkLimits()
	c.checkLimits()
	s.book.add(s.sides.at(m.debit).class, s.sides.at(m.credit).class, m)
	s.book.enter(s.sides.at(m.debit).class, &seen, d, c)
}

// reverse takes a movement back, the last one first.
func (s *State) reverse(m *movement) {
	d, c := s.accounts.at(m.debit), s.accounts.at(m.credit)
	seen := observe(d, c)
	shrink(&d.DebitsPosted, m.post)
	shrink(&c.CreditsPosted, m.post)
	grow(&d.DebitsPending, m.release)
	grow(&c.CreditsPending, m.release)
	shrink(&d.DebitsPending, m.reserve)
	shrink(&c.CreditsPending, m.reserve)
	s.book.subtract(s.sides.at(m.debit).class, s.sides.at(m.credit).class, m)
	s.book.enter(s.sides.at(m.debit).class, &seen, d, c)
}

func grow(total *money.Amount, amount money.Amount) {
	sum, overflow := total.Add(amount)
	invariant.Check(!overflow, "ledger: an account total overflows")
	*total = sum
}

func shrink(total *money.Amount, amount money.Amount) {
	difference, underflow := total.Sub(amount)
	invariant.Check(!underflow, "ledger: an account total falls below zero")
	*total = difference
}

// checkLimits checks that an account keeps within its own rule.
func (a *Account) checkLimits() {
	const limited = AccountDebitsMustNotExceedCredits | AccountCreditsMustNotExceedDebits
	if a.Flags&limited == 0 {
		return
	}
	invariant.Check(!a.debitsExceedCredits(money.Amount{}), "ledger: debits exceed credits")
	invariant.Check(!a.creditsExceedDebits(money.Amount{}), "ledger: credits exceed debits")
}

// debitsExceedCredits reports whether debiting amount more, which must not overflow, breaks the
// account's rule.
func (a *Account) debitsExceedCredits(amount money.Amount) bool {
	if a.Flags&AccountDebitsMustNotExceedCredits == 0 {
		return false
	}
	debits, _ := a.DebitsPending.Add(a.DebitsPosted)
	debits, _ = debits.Add(amount)
	return a.CreditsPosted.Less(debits)
}

// creditsExceedDebits is the same for credits.
func (a *Account) creditsExceedDebits(amount money.Amount) bool {
	if a.Flags&AccountCreditsMustNotExceedDebits == 0 {
		return false
	}
	credits, _ := a.CreditsPending.Add(a.CreditsPosted)
	credits, _ = credits.Add(amount)
	return a.DebitsPosted.Less(credits)
}
