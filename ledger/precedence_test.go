package ledger

import (
	"slices"
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// The tests here start with a record that has every defect it can have at once and mend one a row,
// in the order in which the results are listed: so each result is seen to come before all that
// follow it. What a record cannot have together with others stands in a table of its own.

func id(n uint64) ident.ID { return ident.ID{Lo: n} }

// checkPrecedence checks that the rows' results stand in the order of the list, and marks them.
func checkPrecedence[R ~uint16](t *testing.T, list, rows []R, covered map[R]bool) {
	t.Helper()
	last := -1
	for _, r := range rows {
		place := slices.Index(list, r)
		if place < 0 {
			t.Fatalf("result %d is not listed", r)
		}
		if place < last {
			t.Errorf("result %d comes after one that is listed below it", r)
		}
		last = place
		covered[r] = true
	}
}

type accountRow struct {
	want AccountResult
	mend func(a *Account)
}

func TestAccountPrecedence(t *testing.T) {
	everything := Account{
		DebitsPending: money.Minor(1), DebitsPosted: money.Minor(1),
		CreditsPending: money.Minor(1), CreditsPosted: money.Minor(1),
		Reserved: 1, Flags: ^AccountFlags(0) &^ AccountLinked, Timestamp: TimestampMax + 1,
	}
	existing := Account{ID: id(900), UserData128: id(1), UserData64: 2, UserData32: 3, Ledger: 4, Code: 5,
		Flags: AccountHistory}
	tables := map[string]struct {
		start    Account
		imported bool // the batch's first record is imported
		rows     []accountRow
	}{
		"imported into a batch that is not": {everything, false, []accountRow{
			{AccountImportedEventNotExpected, func(a *Account) { a.Flags &^= AccountImported }},
			{AccountTimestampMustBeZero, func(a *Account) { a.Timestamp = 0 }},
			{AccountReservedField, func(a *Account) { a.Reserved = 0 }},
			{AccountReservedFlag, func(a *Account) { a.Flags &= 1<<6 - 1 }},
			{AccountIDMustNotBeZero, func(a *Account) { a.ID = ident.Max }},
			{AccountIDMustNotBeIntMax, func(a *Account) { a.ID = id(901) }},
			{AccountFlagsAreMutuallyExclusive, func(a *Account) {
				a.Flags &^= AccountCreditsMustNotExceedDebits
			}},
			{AccountDebitsPendingMustBeZero, func(a *Account) { a.DebitsPending = money.Amount{} }},
			{AccountDebitsPostedMustBeZero, func(a *Account) { a.DebitsPosted = money.Amount{} }},
			{AccountCreditsPendingMustBeZero, func(a *Account) { a.CreditsPending = money.Amount{} }},
			{AccountCreditsPostedMustBeZero, func(a *Account) { a.CreditsPosted = money.Amount{} }},
			{AccountLedgerMustNotBeZero, func(a *Account) { a.Ledger = 1 }},
			{AccountCodeMustNotBeZero, func(a *Account) { a.Code = 1 }},
			{AccountOK, nil},
		}},
		"not imported into a batch that is": {everything, true, []accountRow{
			{AccountImportedEventTimestampOutOfRange, func(a *Account) { a.Timestamp = TimestampMax }},
			{AccountImportedEventTimestampMustNotAdvance, func(a *Account) { a.Timestamp = 1 }},
			{AccountReservedField, func(a *Account) {
				*a = Account{ID: id(902), Flags: AccountImported,
					Timestamp: 1, Ledger: 1, Code: 1}
			}},
			{AccountImportedEventTimestampMustNotRegress, func(a *Account) { a.Timestamp = 2_000 }},
			{AccountOK, nil},
		}},
		"expected": {Account{Reserved: 1}, true, []accountRow{
			{AccountImportedEventExpected, func(a *Account) { a.Flags, a.ID = AccountImported, id(900) }},
			{AccountImportedEventTimestampOutOfRange, nil},
		}},
		"exists": {Account{ID: id(900), Ledger: 9, Code: 9,
			DebitsPending: money.Minor(1)}, false, []accountRow{
			{AccountExistsWithDifferentFlags, func(a *Account) { a.Flags = AccountHistory }},
			{AccountExistsWithDifferentUserData128, func(a *Account) { a.UserData128 = id(1) }},
			{AccountExistsWithDifferentUserData64, func(a *Account) { a.UserData64 = 2 }},
			{AccountExistsWithDifferentUserData32, func(a *Account) { a.UserData32 = 3 }},
			{AccountExistsWithDifferentLedger, func(a *Account) { a.Ledger = 4 }},
			{AccountExistsWithDifferentCode, func(a *Account) { a.Code = 5 }},
			{AccountExists, nil},
		}},
	}
	covered := map[AccountResult]bool{}
	for name, table := range tables {
		t.Run(name, func(t *testing.T) {
			s := NewState(Limits{})
			mustCreateAccounts(t, s, 1_000, existing)
			a := table.start
			var rows []AccountResult
			for _, row := range table.rows {
				first := Account{ID: id(1), Ledger: 1, Code: 1}
				if table.imported {
					first.Flags, first.Timestamp = AccountImported, 1
				}
				at := s.NextTimestamp(1_000_000, 2)
				if got := s.CreateAccounts([]Account{first, a}, at, nil)[1]; got != row.want {
					t.Fatalf("%+v: %s, want %s", a, got, row.want)
				}
				rows = append(rows, row.want)
				if row.mend != nil {
					row.mend(&a)
				}
			}
			if rows[len(rows)-1] == AccountOK {
				rows = rows[:len(rows)-1]
				covered[AccountOK] = true
			}
			checkPrecedence(t, AccountResults(), rows, covered)
		})
	}
	s := NewState(Limits{})
	got := s.CreateAccounts([]Account{
		{Flags: AccountLinked}, {ID: id(5), Ledger: 1, Code: 1}, {Flags: AccountLinked, Reserved: 1},
	}, 1_000, nil)
	want := []AccountResult{AccountIDMustNotBeZero, AccountLinkedEventFailed, AccountLinkedEventChainOpen}
	if !slices.Equal(got, want) {
		t.Errorf("chains: %v, want %v", got, want)
	}
	covered[AccountLinkedEventFailed], covered[AccountLinkedEventChainOpen] = true, true
	for _, r := range AccountResults() {
		if !covered[r] {
			t.Errorf("no row shows %s", r)
		}
	}
}

func mustCreateAccounts(t testing.TB, s *State, at clock.Instant, batch ...Account) {
	t.Helper()
	for i, r := range s.CreateAccounts(batch, s.NextTimestamp(at, len(batch)), nil) {
		if r != AccountOK {
			t.Fatalf("account %+v: %s", batch[i], r)
		}
	}
}

func mustCreateTransfers(t testing.TB, s *State, at clock.Instant, batch ...Transfer) {
	t.Helper()
	for i, r := range s.CreateTransfers(batch, s.NextTimestamp(at, len(batch)), nil) {
		if r != TransferOK {
			t.Fatalf("transfer %+v: %s", batch[i], r)
		}
	}
}

func mustApplyFreezes(t testing.TB, s *State, at clock.Instant, batch ...Freeze) {
	t.Helper()
	for i, r := range s.ApplyFreezes(batch, s.NextTimestamp(at, len(batch)), nil) {
		if r != FreezeOK {
			t.Fatalf("freeze %+v: %s", batch[i], r)
		}
	}
}
