package ledger

import (
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/invariant"
	"surety/base/money"
)

// TestFullBatchesDoNotAllocate applies full batches of every kind with room reserved.
func TestFullBatchesDoNotAllocate(t *testing.T) {
	for _, kind := range []string{"plain", "grouped", "pending", "linked"} {
		t.Run(kind, func(t *testing.T) {
			s := loadedState(t, 1_000, 20*BatchMax, AccountHistory)
			s.history.reserve(40 * BatchMax)
			s.timers.heap.reserve(20 * BatchMax)
			s.groupIndex.reserve(20 * BatchMax)
			load := newLoad(1_000, kind)
			results := make([]TransferResult, 0, BatchMax)
			allocated := testing.AllocsPerRun(8, func() {
				results = s.CreateTransfers(load.batch(), s.NextTimestamp(0, BatchMax), results[:0])
			})
			if allocated != 0 {
				t.Errorf("%v allocations a batch", allocated)
			}
			for i, r := range results {
				if r != TransferOK {
					t.Fatalf("transfer %d: %s", i, r)
				}
			}
			if err := s.CheckInvariants(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSmallBatchesDoNotAllocate is the same for batches of one.
func TestSmallBatchesDoNotAllocate(t *testing.T) {
	s := loadedState(t, 100, 10_000, 0)
	batch := newLoad(100, "grouped").batch()
	s.groupIndex.reserve(10_000)
	results := make([]TransferResult, 0, 1)
	i := 0
	if allocated := testing.AllocsPerRun(500, func() {
		results = s.CreateTransfers(batch[i:i+1], s.NextTimestamp(0, 1), results[:0])
		i++
	}); allocated != 0 {
		t.Errorf("%v allocations a batch", allocated)
	}
}

// TestExpireMax has more due at once than one batch expires: the rest goes with the next ones, the
// oldest first, and nothing overdue can be settled meanwhile.
func TestExpireMax(t *testing.T) {
	s := loadedState(t, 2, 0, AccountHistory)
	pending := Transfer{DebitAccountID: loadAccount(0), CreditAccountID: loadAccount(1), Amount: one,
		Ledger: 840, Code: 1, Flags: TransferPending, Timeout: 1}
	next := uint64(0)
	for range 2 {
		batch := make([]Transfer, BatchMax)
		for i := range batch {
			next++
			batch[i] = pending
			batch[i].ID = id(next)
		}
		mustCreateTransfers(t, s, second, batch...)
	}
	pending.ID = id(next + 1)
	mustCreateTransfers(t, s, second, pending)
	due := s.PulseDue()
	late := s.Now() + 2*second
	got := s.CreateTransfers([]Transfer{
		{ID: id(90_001), PendingID: id(next), Flags: TransferPostPending, Amount: money.Max},
		{ID: id(90_002), PendingID: id(1), Flags: TransferVoidPending},
	}, late, nil)
	if got[0] != TransferPendingTransferExpired || got[1] != TransferPendingTransferExpired {
		t.Errorf("overdue: %v", got)
	}
	if s.PendingStatus(id(ExpireMax)) != PendingExpired || s.PendingStatus(id(ExpireMax+1)) != PendingOpen {
		t.Errorf("the first batch expired %d, want %d", s.endings.count(), ExpireMax)
	}
	if s.PulseDue() <= due || s.PulseDue() > late {
		t.Errorf("next due %d", s.PulseDue())
	}
	if n := s.Pulse(s.NextTimestamp(0, 0)); n != ExpireMax {
		t.Errorf("the first pulse expired %d", n)
	}
	if n := s.Pulse(s.NextTimestamp(0, 0)); n != 1 || s.PulseDue() != 0 {
		t.Errorf("the second pulse expired %d, next due %d", n, s.PulseDue())
	}
	if a, _ := s.Account(loadAccount(0)); !a.DebitsPending.IsZero() {
		t.Errorf("still pending: %s", a.DebitsPending)
	}
	if err := s.CheckInvariants(); err != nil {
		t.Error(err)
	}
}

// TestBrokenChainOfAccountsLeavesNothing opens a class and a ledger in a chain that breaks: whoever
// repeats that must not fill the memory.
func TestBrokenChainOfAccountsLeavesNothing(t *testing.T) {
	s := NewState(Limits{})
	mustCreateAccounts(t, s, second, Account{ID: id(1), Ledger: 1, Code: 1})
	print := s.prints
	s.CreateAccounts([]Account{
		{ID: id(2), Ledger: 1, Code: 9, Flags: AccountLinked},
		{ID: id(3), Ledger: 7, Code: 1, Flags: AccountLinked},
		{},
	}, 2*second, nil)
	if len(s.book.classes) != 1 || len(s.book.sheets) != 1 || len(s.book.byClass) != 1 ||
		len(s.book.byLedger) != 1 || s.prints != print || s.EventsLen() != 1 {
		t.Errorf("left behind: %+v", s.book)
	}
	mustCreateAccounts(t, s, 3*second, Account{ID: id(3), Ledger: 7, Code: 1})
}

func TestNextTimestamp(t *testing.T) {
	s := NewState(Limits{})
	for _, c := range []struct {
		wall, now clock.Instant
		n         int
		want      clock.Instant
	}{
		{0, 0, 1, 1}, {0, 0, 0, 1}, {0, 0, 8190, 8190}, {5, 0, 3, 5}, {100, 100, 1, 101}, {100, 100, 0, 101},
		{90, 100, 10, 110}, {110, 100, 10, 110}, {111, 100, 10, 111},
	} {
		s.now = c.now
		if have := s.NextTimestamp(c.wall, c.n); have != c.want {
			t.Errorf("at %d, wall %d, %d records: %d, want %d", c.now, c.wall, c.n, have, c.want)
		}
	}
}

func TestRoom(t *testing.T) {
	s := NewState(Limits{Accounts: 3, Transfers: 5, FailedIDs: 4, Freezes: 2})
	for _, c := range []struct {
		operation Operation
		n         int
		kind      errs.Kind
		says      string
	}{
		{OperationCreateAccounts, 4, errs.NoSpace, "0 accounts and 4 more, the limit is 3"},
		{OperationCreateTransfers, 6, errs.NoSpace, "failed ids and 6 more, the limit is 4"},
		{OperationFreezes, 3, errs.NoSpace, "0 freezes and 3 more, the limit is 2"},
		{OperationCreateTransfers, BatchMax + 1, errs.TooLarge, "8191 records, the limit is 8190"},
	} {
		if err := s.Room(c.operation, c.n); !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s of %d: %v", c.operation, c.n, err)
		}
	}
	for operation, n := range map[Operation]int{OperationCreateAccounts: 3, OperationCreateTransfers: 4,
		OperationFreezes: 2, OperationPulse: 0, OperationNames: 100} {
		if err := s.Room(operation, n); err != nil {
			t.Errorf("%s of %d: %v", operation, n, err)
		}
	}
}

// TestContradictions are misuses by the caller that must stop the process before anything changes.
func TestContradictions(t *testing.T) {
	s := NewState(Limits{Accounts: 2})
	mustCreateAccounts(t, s, 100, Account{ID: id(1), Ledger: 1, Code: 1})
	digest := s.Digest()
	for name, misuse := range map[string]func(){
		"time stands still":    func() { s.Pulse(100) },
		"time goes back":       func() { s.CreateTransfers(make([]Transfer, 1), 99, nil) },
		"a record in the past": func() { s.CreateTransfers(make([]Transfer, 2), 101, nil) },
		"time out of range":    func() { s.Pulse(TimestampMax + 1) },
		"no room":              func() { s.CreateAccounts(make([]Account, 2), 1000, nil) },
		"too long a batch":     func() { s.ApplyFreezes(make([]Freeze, BatchMax+1), 1_000_000, nil) },
		"an event yet to come": func() { s.Event(1) },
	} {
		func() {
			defer func() {
				if _, ok := recover().(invariant.Violation); !ok {
					t.Errorf("%s: no violation", name)
				}
			}()
			misuse()
		}()
		if s.Digest() != digest {
			t.Errorf("%s: the state has changed", name)
		}
	}
}

// TestBrokenBooksAreFound damages a healthy state in each way CheckInvariants knows, and the
// running checks each in theirs.
func TestBrokenBooksAreFound(t *testing.T) {
	build := func() *State {
		s := NewState(Limits{})
		mustCreateAccounts(t, s, second, Account{ID: id(1), Ledger: 1, Code: 1},
			Account{ID: id(2), Ledger: 1, Code: 2, Flags: AccountDebitsMustNotExceedCredits})
		mustCreateTransfers(t, s, 2*second,
			Transfer{ID: id(1), DebitAccountID: id(1), CreditAccountID: id(2), Amount: money.Minor(9), Ledger: 1, Code: 1},
			Transfer{ID: id(2), DebitAccountID: id(2), CreditAccountID: id(1), Amount: money.Minor(5), Ledger: 1, Code: 1,
				Flags: TransferPending})
		return s
	}
	if err := build().CheckInvariants(); err != nil {
		t.Fatal(err)
	}
	for says, damage := range map[string]func(s *State){
		"breaks its own limit": func(s *State) { s.accounts.at(1).DebitsPosted = money.Minor(5) },
		"accounts add up to":   func(s *State) { s.accounts.at(0).DebitsPosted = money.Minor(8) },
		"debits 9 and 5 pending": func(s *State) {
			s.book.classes[1].total.CreditsPosted, s.accounts.at(1).CreditsPosted = money.Minor(8), money.Minor(8)
		},
		"classes add up to":      func(s *State) { s.book.sheets[0].totals.debitsPosted = one },
		"open transfers reserve": func(s *State) { s.links.at(1).setStatus(PendingVoided) },
	} {
		s := build()
		damage(s)
		if err := s.CheckInvariants(); !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
	for name, damage := range map[string]func(s *State){
		"a total below zero": func(s *State) { s.accounts.at(0).CreditsPending = money.Amount{} },
		"unequal sides":      func(s *State) { plus(&s.book.sheets[0].totals.debitsPosted, one) },
		"a broken limit":     func(s *State) { s.accounts.at(1).CreditsPosted = money.Minor(1) },
	} {
		s := build()
		damage(s)
		func() {
			defer func() {
				if _, ok := recover().(invariant.Violation); !ok {
					t.Errorf("%s: no violation", name)
				}
			}()
			s.CreateTransfers([]Transfer{{ID: id(3), PendingID: id(2), Flags: TransferPostPending, Amount: money.Minor(4)}},
				3*second, nil)
		}()
	}
}

func TestQueryErrors(t *testing.T) {
	s := played(t, 5, 60)
	var account ident.ID
	for _, a := range s.Accounts(nil, 0, 0) {
		if page, _ := s.AccountTransfers(a.ID, AccountFilter{}); len(page.Transfers) == 0 {
			account = a.ID
		}
	}
	if _, err := s.AccountTransfers(id(404), AccountFilter{}); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if _, err := s.AccountBalances(id(404), AccountFilter{}); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if account.IsZero() {
		t.Fatal("no account without transfers in this game")
	}
	for _, cursor := range []uint64{1, 1 << 32, 1<<63 | 5, 1 << 31, ^uint64(0)} {
		f := AccountFilter{Reversed: true, Cursor: cursor}
		if _, err := s.AccountTransfers(account, f); !errs.Is(err, errs.Invalid) {
			t.Errorf("transfers at cursor %d: %v", cursor, err)
		}
		if _, err := s.AccountBalances(account, f); !errs.Is(err, errs.Invalid) {
			t.Errorf("balances at cursor %d: %v", cursor, err)
		}
		g := TransferFilter{Reversed: true, Cursor: cursor, UserData128: id(12345)}
		if _, err := s.QueryTransfers(g); !errs.Is(err, errs.Invalid) {
			t.Errorf("group at cursor %d: %v", cursor, err)
		}
		for _, reversed := range []bool{false, true} { // any number will do here, and none may panic
			if _, err := s.QueryTransfers(TransferFilter{Cursor: cursor, Reversed: reversed}); err != nil {
				t.Errorf("transfers at cursor %d: %v", cursor, err)
			}
		}
		f.Reversed = false
		if _, err := s.AccountTransfers(account, f); err != nil {
			t.Errorf("transfers at cursor %d: %v", cursor, err)
		}
	}
}
