package ledger

import (
	"slices"
	"testing"

	"surety/base/ident"
)

// TestLongLists asks for the lists of accounts and groups with more than ScanMax entries, and for a
// few transfers among more than ScanMax others: every way must give the same as looking at all.
func TestLongLists(t *testing.T) {
	s := loadedState(t, 4, 0, AccountHistory)
	var all []Transfer
	next := uint64(0)
	for len(all) < ScanMax+3*BatchMax {
		batch := make([]Transfer, BatchMax)
		for i := range batch {
			next++
			batch[i] = Transfer{ID: id(next), DebitAccountID: loadAccount(0), CreditAccountID: loadAccount(1),
				Ledger: 840, Code: 1, UserData128: id(1), UserData64: next}
			if next%50_000 == 0 {
				batch[i].CreditAccountID, batch[i].Code = loadAccount(2), 2
			}
		}
		mustCreateTransfers(t, s, second, batch...)
		page := s.scanForward(uint64(len(all))+1, 0, BatchMax, func(*Transfer) verdict { return take })
		all = append(all, page.Transfers...)
	}
	hot, rare := loadAccount(0), loadAccount(2)
	for _, reversed := range []bool{false, true} {
		for _, c := range []struct {
			name string
			next func(cursor uint64) (TransferPage, error)
			want func(x *Transfer) bool
		}{
			{"hot account", func(cursor uint64) (TransferPage, error) {
				return s.AccountTransfers(hot, AccountFilter{Reversed: reversed, Cursor: cursor})
			}, func(x *Transfer) bool { return true }},
			{"hot account, one code", func(cursor uint64) (TransferPage, error) {
				return s.AccountTransfers(hot, AccountFilter{Reversed: reversed, Cursor: cursor, Code: 2})
			}, func(x *Transfer) bool { return x.Code == 2 }},
			{"hot account, from the middle", func(cursor uint64) (TransferPage, error) {
				return s.AccountTransfers(hot, AccountFilter{Reversed: reversed, Cursor: cursor, Debits: true,
					TimestampMin: all[9_000].Timestamp, TimestampMax: all[140_000].Timestamp})
			}, func(x *Transfer) bool { return x.UserData64 > 9_000 && x.UserData64 <= 140_001 }},
			{"rare account", func(cursor uint64) (TransferPage, error) {
				return s.AccountTransfers(rare, AccountFilter{Reversed: reversed, Cursor: cursor, Limit: 2})
			}, func(x *Transfer) bool { return x.CreditAccountID == rare }},
			{"group", func(cursor uint64) (TransferPage, error) {
				return s.QueryTransfers(TransferFilter{Reversed: reversed, Cursor: cursor, UserData128: id(1)})
			}, func(x *Transfer) bool { return true }},
			{"one code", func(cursor uint64) (TransferPage, error) {
				return s.QueryTransfers(TransferFilter{Reversed: reversed, Cursor: cursor, Code: 2})
			}, func(x *Transfer) bool { return x.Code == 2 }},
			{"one code in a group", func(cursor uint64) (TransferPage, error) {
				return s.QueryTransfers(TransferFilter{Reversed: reversed, Cursor: cursor, Code: 2,
					UserData128: id(1)})
			}, func(x *Transfer) bool { return x.Code == 2 }},
		} {
			var want, have []uint64
			for i := range all {
				if c.want(&all[i]) {
					want = append(want, all[i].UserData64)
				}
			}
			if reversed {
				slices.Reverse(want)
			}
			for cursor, first := uint64(0), true; first || cursor != 0; first = false {
				page, err := c.next(cursor)
				if err != nil {
					t.Fatal(c.name, err)
				}
				for i := range page.Transfers {
					have = append(have, page.Transfers[i].UserData64)
				}
				cursor = page.Cursor
			}
			if !slices.Equal(have, want) {
				t.Errorf("%s, reversed %t: %d transfers, want %d", c.name, reversed, len(have), len(want))
			}
		}
		checkLongHistory(t, s, hot, reversed, len(all))
	}
}

func checkLongHistory(t *testing.T, s *State, account ident.ID, reversed bool, want int) {
	have := 0
	for cursor, first := uint64(0), true; first || cursor != 0; first = false {
		page, err := s.AccountBalances(account, AccountFilter{Reversed: reversed, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		have += len(page.Balances)
		cursor = page.Cursor
	}
	if have != want {
		t.Errorf("history, reversed %t: %d balances, want %d", reversed, have, want)
	}
}
