package ledger

import (
	"sort"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/invariant"
)

const accountFlagsKnown = AccountLinked | AccountDebitsMustNotExceedCredits |
	AccountCreditsMustNotExceedDebits | AccountHistory | AccountImported | AccountClosed

// CreateAccounts applies a batch of new accounts, in order, and appends one result for each to
// results. The last record gets timestamp, each one before it one nanosecond less; timestamp must
// be NextTimestamp(timestamp, len(batch)) and there must be Room, or it panics. An empty batch only
// expires what is due. The batch is not changed or kept.
func (s *State) CreateAccounts(
	batch []Account, timestamp clock.Instant, results []AccountResult,
) []AccountResult {
	first := s.begin(OperationCreateAccounts, len(batch), timestamp)
	base := len(results)
	var link chain
	for i := range batch {
		a := &batch[i]
		linked := a.Flags&AccountLinked != 0
		if linked && !link.open {
			link = s.startChain(i)
		}
		result := AccountLinkedEventFailed
		switch {
		case linked && i == len(batch)-1:
			result = AccountLinkedEventChainOpen
		case !link.broken:
			result = s.createAccount(a, first, clock.Instant(i), batch[0].Flags&AccountImported)
		}
		if result != AccountOK && link.open && !link.broken {
			link.broken = true
			s.undoAccounts(&link)
			for j := link.first; j < i; j++ {
				results[base+j] = AccountLinkedEventFailed
			}
		}
		results = append(results, result)
		if !linked || i == len(batch)-1 {
			link.open, link.broken = false, false
		}
	}
	s.end(timestamp)
	return results
}

// createAccount is the straight column of checks for one account, in order of precedence. first is
// the timestamp of the batch's first record, offset the record's place behind it.
func (s *State) createAccount(
	a *Account, first, offset clock.Instant, imported AccountFlags,
) AccountResult {
	if a.Flags&AccountImported != imported {
		if imported != 0 {
			return AccountImportedEventExpected
		}
		return AccountImportedEventNotExpected
	}
	timestamp := first + offset
	if imported != 0 {
		if a.Timestamp == 0 || a.Timestamp > TimestampMax {
			return AccountImportedEventTimestampOutOfRange
		}
		if a.Timestamp >= first {
			return AccountImportedEventTimestampMustNotAdvance
		}
		timestamp = a.Timestamp
	} else if a.Timestamp != 0 {
		return AccountTimestampMustBeZero
	}
	if a.Reserved != 0 {
		return AccountReservedField
	}
	if a.Flags&^accountFlagsKnown != 0 {
		return AccountReservedFlag
	}
	if a.ID.IsZero() {
		return AccountIDMustNotBeZero
	}
	if a.ID == ident.Max {
		return AccountIDMustNotBeIntMax
	}
	place := s.accountIndex.probe(s.accountIndex.tag(a.ID))
	if i := s.accountAt(&place, a.ID); i != 0 {
		return a.compare(s.accounts.at(i-1), s.sides.at(i-1).created)
	}
	const exclusive = AccountDebitsMustNotExceedCredits | AccountCreditsMustNotExceedDebits
	if a.Flags&exclusive == exclusive {
		return AccountFlagsAreMutuallyExclusive
	}
	if !a.DebitsPending.IsZero() {
		return AccountDebitsPendingMustBeZero
	}
	if !a.DebitsPosted.IsZero() {
		return AccountDebitsPostedMustBeZero
	}
	if !a.CreditsPending.IsZero() {
		return AccountCreditsPendingMustBeZero
	}
	if !a.CreditsPosted.IsZero() {
		return AccountCreditsPostedMustBeZero
	}
	if a.Ledger == 0 {
		return AccountLedgerMustNotBeZero
	}
	if a.Code == 0 {
		return AccountCodeMustNotBeZero
	}
	if imported != 0 && (timestamp <= s.lastAccountTimestamp() || s.transferHasTimestamp(timestamp)) {
		return AccountImportedEventTimestampMustNotRegress
	}
	s.openAccount(a, timestamp, &place)
	return AccountOK
}

// compare says how an account that is sent again differs from the one there is. Closed is compared
// as it was at creation, so that a repeat is recognized even after the account has been closed.
func (a *Account) compare(e *Account, created AccountFlags) AccountResult {
	switch {
	case a.Flags != created:
		return AccountExistsWithDifferentFlags
	case a.UserData128 != e.UserData128:
		return AccountExistsWithDifferentUserData128
	case a.UserData64 != e.UserData64:
		return AccountExistsWithDifferentUserData64
	case a.UserData32 != e.UserData32:
		return AccountExistsWithDifferentUserData32
	case a.Ledger != e.Ledger:
		return AccountExistsWithDifferentLedger
	case a.Code != e.Code:
		return AccountExistsWithDifferentCode
	}
	return AccountExists
}

// openAccount adds an account that has passed every check; place is where its id goes.
func (s *State) openAccount(a *Account, timestamp clock.Instant, place *probe) {
	invariant.Check(timestamp > s.lastAccountTimestamp(), "ledger: account timestamps regress")
	i, record := s.accounts.push()
	*record = *a
	record.Timestamp = timestamp
	_, side := s.sides.push()
	*side = accountSide{class: s.book.class(a.Ledger, a.Code), created: a.Flags}
	s.book.classes[side.class].total.Accounts++
	s.accountIndex.insert(place, i+1)
	s.emit(EventAccountCreated, i)
	s.prints.account(record)
}

// undoAccounts takes back the accounts of a broken chain, the newest first.
func (s *State) undoAccounts(link *chain) {
	for i := s.accounts.length; i > link.accounts; {
		i--
		s.accountIndex.remove(s.accountIndex.tag(s.accounts.at(i).ID), i+1)
		s.book.classes[s.sides.at(i).class].total.Accounts--
	}
	s.accounts.cut(link.accounts)
	s.sides.cut(link.accounts)
	s.events.cut(link.events)
	s.book.cut(link.classes, link.sheets)
	s.prints = link.prints
}

func (s *State) lastAccountTimestamp() clock.Instant {
	if s.accounts.length == 0 {
		return 0
	}
	return s.accounts.at(s.accounts.length - 1).Timestamp
}

// accountHasTimestamp reports whether an account bears the timestamp. They are in order of it.
func (s *State) accountHasTimestamp(timestamp clock.Instant) bool {
	i := sort.Search(s.accounts.count(), func(i int) bool {
		return s.accounts.at(uint32(i)).Timestamp >= timestamp
	})
	return i < s.accounts.count() && s.accounts.at(uint32(i)).Timestamp == timestamp
}
