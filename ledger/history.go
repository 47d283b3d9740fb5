package ledger

import (
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
)

// Balance is what an account with AccountHistory held right after a change.
type Balance struct {
	DebitsPending  money.Amount
	DebitsPosted   money.Amount
	CreditsPending money.Amount
	CreditsPosted  money.Amount
	Timestamp      clock.Instant // of the transfer, or of the expiry, as in its event
}

// historyRow is a balance and its place in the account's list.
type historyRow struct {
	balance Balance
	account uint32 // number of the account
	before  uint32 // the account's row before this one, plus one, zero for none
}

// keepBalances adds a row for each of the two accounts that wants one.
func (s *State) keepBalances(e *entry, timestamp clock.Instant) {
	s.keepBalance(e.debit, timestamp)
	s.keepBalance(e.credit, timestamp)
}

func (s *State) keepBalance(account uint32, timestamp clock.Instant) {
	a := s.accounts.at(account)
	if a.Flags&AccountHistory == 0 {
		return
	}
	side := s.sides.at(account)
	i, row := s.history.push()
	*row = historyRow{
		balance: Balance{a.DebitsPending, a.DebitsPosted, a.CreditsPending, a.CreditsPosted, timestamp},
		account: account,
		before:  side.historyHead,
	}
	side.historyHead = i + 1
}

// cutHistory takes rows back, the newest first.
func (s *State) cutHistory(length uint32) {
	for i := s.history.length; i > length; {
		i--
		row := s.history.at(i)
		s.sides.at(row.account).historyHead = row.before
	}
	s.history.cut(length)
}

// AccountBalances returns what the account held after each change, in order of time. Only accounts
// created with AccountHistory have any. Of the filter it uses the timestamps, Reversed, Limit and
// Cursor. Kind NotFound where there is no such account, Invalid where the cursor is not one of this
// account.
func (s *State) AccountBalances(id ident.ID, filter AccountFilter) (BalancePage, error) {
	i := s.findAccount(id)
	if i == 0 {
		return BalancePage{}, errs.New(errs.NotFound, "ledger: account %s does not exist", id)
	}
	filter.complete()
	if filter.Reversed {
		return s.newestBalances(id, i-1, &filter)
	}
	return s.oldestBalances(i-1, &filter), nil
}

func (s *State) newestBalances(id ident.ID, account uint32, f *AccountFilter) (BalancePage, error) {
	i := s.sides.at(account).historyHead
	if f.Cursor != 0 {
		i = uint32(f.Cursor)
		if f.Cursor > uint64(s.history.length) || s.history.at(i-1).account != account {
			return BalancePage{}, errs.New(errs.Invalid, "ledger: cursor %d is not of account %s",
				f.Cursor, id)
		}
	}
	var page BalancePage
	for scanned := 0; i != 0; scanned++ {
		row := s.history.at(i - 1)
		if len(page.Balances) == f.Limit || scanned == ScanMax {
			page.Cursor = uint64(i)
			return page, nil
		}
		if row.balance.within(f) {
			page.Balances = append(page.Balances, row.balance)
		}
		i = row.before
	}
	return page, nil
}

// oldestBalances follows the account's rows from the newest back where there are few, and otherwise
// looks at all rows from the oldest on.
func (s *State) oldestBalances(account uint32, f *AccountFilter) BalancePage {
	oldest := newRing(f.Limit)
	i := s.sides.at(account).historyHead
	for scanned := 0; i != 0 && uint64(i) >= f.Cursor; scanned++ {
		row := s.history.at(i - 1)
		if scanned == ScanMax {
			return s.scanBalances(account, f)
		}
		if row.balance.within(f) {
			oldest.add(i)
		}
		i = row.before
	}
	var page BalancePage
	page.Cursor = oldest.oldest(func(reference uint32) {
		page.Balances = append(page.Balances, s.history.at(reference-1).balance)
	})
	return page
}

func (s *State) scanBalances(account uint32, f *AccountFilter) BalancePage {
	var page BalancePage
	var i uint32
	if f.Cursor > 0 {
		i = uint32(min(f.Cursor-1, uint64(s.history.length)))
	}
	for scanned := 0; i < s.history.length; scanned, i = scanned+1, i+1 {
		row := s.history.at(i)
		if len(page.Balances) == f.Limit || scanned == ScanMax {
			page.Cursor = uint64(i) + 1
			break
		}
		if row.account == account && row.balance.within(f) {
			page.Balances = append(page.Balances, row.balance)
		}
	}
	return page
}

// within reports whether the filter's timestamps admit the balance. Rows are not quite in order of
// them: an imported transfer bears a past one.
func (b *Balance) within(f *AccountFilter) bool {
	return b.Timestamp >= f.TimestampMin && b.Timestamp <= f.TimestampMax
}
