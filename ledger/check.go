package ledger

import (
	"surety/base/errs"
	"surety/base/money"
)

// CheckInvariants reads the whole state and returns nil where it agrees with itself: in every ledger
// debits equal credits, pending and posted apart; the running totals of classes and ledgers are the
// sums of the accounts; every account keeps its own rule; what is pending on the accounts is what
// the open pending transfers reserve. An error is of kind Corrupt. Cost is linear in the accounts
// and transfers; each batch checks the part it touched anyway.
func (s *State) CheckInvariants() error {
	classes := make([]ClassTotal, len(s.book.classes))
	for i := uint32(0); i < s.accounts.length; i++ {
		a := s.accounts.at(i)
		if a.debitsExceedCredits(money.Amount{}) || a.creditsExceedDebits(money.Amount{}) {
			return errs.New(errs.Corrupt, "ledger.check: account %s breaks its own limit", a.ID)
		}
		total := &classes[s.sides.at(i).class]
		total.Accounts++
		plus(&total.DebitsPending, a.DebitsPending)
		plus(&total.DebitsPosted, a.DebitsPosted)
		plus(&total.CreditsPending, a.CreditsPending)
		plus(&total.CreditsPosted, a.CreditsPosted)
	}
	sheets := make([]totals, len(s.book.sheets))
	for i := range classes {
		kept := &s.book.classes[i]
		classes[i].Ledger, classes[i].Code = kept.total.Ledger, kept.total.Code
		if classes[i] != kept.total {
			return errs.New(errs.Corrupt, "ledger.check: code %d in ledger %d: accounts add up to %v, "+
				"its totals say %v", kept.total.Code, kept.total.Ledger, classes[i], kept.total)
		}
		sum := &sheets[kept.sheet]
		plus(&sum.debitsPending, kept.total.DebitsPending)
		plus(&sum.debitsPosted, kept.total.DebitsPosted)
		plus(&sum.creditsPending, kept.total.CreditsPending)
		plus(&sum.creditsPosted, kept.total.CreditsPosted)
	}
	for i := range sheets {
		if err := s.book.sheets[i].check(&sheets[i]); err != nil {
			return err
		}
	}
	return s.checkPending(sheets)
}

func (sh *sheet) check(sum *totals) error {
	if sum.debitsPending != sum.creditsPending || sum.debitsPosted != sum.creditsPosted {
		return errs.New(errs.Corrupt, "ledger.check: ledger %d: debits %s and %s pending, "+
			"credits %s and %s pending", sh.ledger, sum.debitsPosted, sum.debitsPending,
			sum.creditsPosted, sum.creditsPending)
	}
	if *sum != sh.totals {
		return errs.New(errs.Corrupt, "ledger.check: ledger %d: classes add up to %v, its totals say %v",
			sh.ledger, *sum, sh.totals)
	}
	return nil
}

// checkPending checks that the open pending transfers of each ledger reserve what is pending there.
func (s *State) checkPending(sheets []totals) error {
	open := make([]money.Amount, len(sheets))
	for i := uint32(0); i < s.transfers.length; i++ {
		if s.links.at(i).status() == PendingOpen {
			t := s.transfers.at(i)
			plus(&open[s.book.byLedger[t.Ledger]], t.Amount)
		}
	}
	for i := range sheets {
		if open[i] != sheets[i].debitsPending {
			return errs.New(errs.Corrupt, "ledger.check: ledger %d: open transfers reserve %s, "+
				"accounts hold %s pending", s.book.sheets[i].ledger, open[i], sheets[i].debitsPending)
		}
	}
	return nil
}
