package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
)

// forged is a snapshot put together by hand, with every checksum right.
type forged struct {
	items  []byte
	events uint64
	failed uint64
	prints fingerprint
}

func (f *forged) account(a Account) {
	f.items = EncodeAccounts(append(f.items, byte(EventAccountCreated)), []Account{a})
	f.events++
}

func (f *forged) transfer(x Transfer) {
	f.items = EncodeTransfers(append(f.items, byte(EventTransferCreated)), []Transfer{x})
	f.events++
}

func (f *forged) freeze(kind EventKind, z Freeze) {
	f.items = EncodeFreezes(append(f.items, byte(kind)), []Freeze{z})
	f.events++
}

func (f *forged) ending(kind EventKind, at uint64, index uint32) {
	f.items = binary.LittleEndian.AppendUint64(append(f.items, byte(kind)), at)
	f.items = binary.LittleEndian.AppendUint32(f.items, index)
	f.events++
}

func (f *forged) fail(i ident.ID) {
	f.items = binary.LittleEndian.AppendUint64(f.items, i.Lo)
	f.items = binary.LittleEndian.AppendUint64(f.items, i.Hi)
	f.failed++
}

func (f *forged) bytes() []byte {
	b := frame(f.items, f.events, f.failed, uint64(100*second))
	b = b[:len(b)-sha256.Size]
	binary.LittleEndian.PutUint64(b[len(b)-16:], f.prints.events)
	binary.LittleEndian.PutUint64(b[len(b)-8:], f.prints.failed)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// TestReadSnapshotRefusesWhatDoesNotAddUp forges snapshots that no ledger could have written.
func TestReadSnapshotRefusesWhatDoesNotAddUp(t *testing.T) {
	a := Account{ID: id(1), Ledger: 1, Code: 1, Timestamp: second}
	b := Account{ID: id(2), Ledger: 1, Code: 1, Timestamp: second + 1}
	x := Transfer{ID: id(1), DebitAccountID: id(1), CreditAccountID: id(2), Amount: one, Ledger: 1, Code: 1,
		Timestamp: 2 * second}
	pending := x
	pending.Flags, pending.Timeout = TransferPending, 3
	z := Freeze{ID: id(1), Actor: id(1), Reason: 1, Scope: FreezeLedger, Ledger: 1, ExpiresAt: 9 * second,
		Timestamp: 3 * second}
	for _, c := range []struct {
		says  string
		forge func(f *forged)
	}{
		{"account 00000000000000000000000000000001: exists", func(f *forged) {
			again := a
			again.Timestamp++
			f.account(a)
			f.account(again)
		}},
		{"timestamp 0, not above", func(f *forged) { f.account(Account{ID: id(1), Ledger: 1, Code: 1}) }},
		{"timestamp 1000000000, not above 1000000001", func(f *forged) { f.account(b); f.account(a) }},
		{"not above 0 and up to 100000000000", func(f *forged) {
			late := a
			late.Timestamp = 101 * second
			f.account(late)
		}},
		{"debit_account_not_found", func(f *forged) { f.transfer(x) }},
		{"not above 2000000000", func(f *forged) {
			again := x
			again.ID = id(2)
			f.account(a)
			f.account(b)
			f.transfer(x)
			f.transfer(again)
		}},
		{"moved less than recorded", func(f *forged) {
			cut := x
			cut.Flags = TransferBalancingDebit
			f.account(a)
			f.account(b)
			f.transfer(cut)
		}},
		{"is not a freeze_released", func(f *forged) { f.freeze(EventFreezeReleased, z) }},
		{"timestamp 3000000000, not above 3000000000", func(f *forged) {
			again := z
			again.ID = id(2)
			f.freeze(EventFreezeApplied, z)
			f.freeze(EventFreezeApplied, again)
		}},
		{"freeze 00000000000000000000000000000001: exists", func(f *forged) {
			again := z
			again.Timestamp++
			f.freeze(EventFreezeApplied, z)
			f.freeze(EventFreezeApplied, again)
		}},
		{"which is not the next to expire", func(f *forged) { f.ending(EventPendingExpired, 5, 0) }},
		{"which is not the next to expire", func(f *forged) {
			f.freeze(EventFreezeApplied, z)
			f.ending(EventPendingExpired, uint64(9*second), 0)
		}},
		{"due at 9000000000", func(f *forged) {
			f.freeze(EventFreezeApplied, z)
			f.ending(EventFreezeExpired, uint64(8*second), 0)
		}},
		{"due at 5000000000", func(f *forged) {
			f.account(a)
			f.account(b)
			f.transfer(pending)
			f.ending(EventPendingExpired, uint64(101*second), 0)
		}},
		{"event 0 is of kind 77", func(f *forged) {
			f.items = append(append(f.items, 77), make([]byte, RecordSize)...)
			f.events++
		}},
		{"event 0 is cut short", func(f *forged) { f.account(a); f.items = f.items[:100] }},
		{"a failed id is cut short", func(f *forged) { f.fail(id(1)); f.items = f.items[:15] }},
		{"cannot be", func(f *forged) { f.fail(ident.ID{}) }},
		{"cannot be", func(f *forged) { f.fail(ident.Max) }},
		{"cannot be", func(f *forged) { f.fail(id(7)); f.fail(id(7)) }},
		{"more than the 1 failed ids", func(f *forged) { f.fail(id(7)); f.fail(id(8)); f.failed-- }},
		{"1 events and 0 failed ids, announced 2 and 0", func(f *forged) { f.account(a); f.events++ }},
		{"do not give the balances they gave", func(f *forged) { f.account(a); f.prints.events++ }},
	} {
		var f forged
		c.forge(&f)
		_, err := ReadSnapshot(bytes.NewReader(f.bytes()), Limits{})
		if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("want %q, have %v", c.says, err)
		}
	}
}

// TestSnapshotFormat pins the bytes of a small snapshot: they are on disks. A change here needs a new
// version and a reader for the old one.
func TestSnapshotFormat(t *testing.T) {
	s := NewState(Limits{Seed: 5})
	mustCreateAccounts(t, s, second, Account{ID: id(1), Ledger: 1, Code: 1, Flags: AccountHistory},
		Account{ID: id(2), Ledger: 1, Code: 2})
	mustCreateTransfers(t, s, 2*second, Transfer{ID: id(1), DebitAccountID: id(1), CreditAccountID: id(2),
		Amount: money.Minor(5), Ledger: 1, Code: 1, Flags: TransferPending, Timeout: 1})
	mustApplyFreezes(t, s, 2*second, Freeze{ID: id(1), Actor: id(1), Reason: 1, Scope: FreezeAccount,
		AccountID: id(2), Sides: FreezeBoth, ExpiresAt: 4 * second},
		Freeze{ID: id(2), Actor: id(1), SecondActor: id(2), Reason: 1, Flags: FreezeRelease, FreezeID: id(1)})
	s.CreateTransfers([]Transfer{{ID: id(9), DebitAccountID: id(1), CreditAccountID: id(3), Amount: one,
		Ledger: 1, Code: 1}}, 3*second, nil)
	sum := sha256.Sum256(snapshotOf(t, s))
	const want = "046a22fc627eb6038d79ee82dfbae830"
	if have := ident.FromBytes([16]byte(sum[:16])).String(); have != want {
		t.Errorf("the snapshot's bytes have changed: %s, want %s", have, want)
	}
	if s.Fingerprint() != 0x74dd0fcc6b0a818d {
		t.Errorf("the fingerprint has changed: %#x", s.Fingerprint())
	}
}

// TestTagCollisions takes ids whose 32-bit tags are equal, which chance brings about among a hundred
// thousand, and sees that each still leads to its own record.
func TestTagCollisions(t *testing.T) {
	s := NewState(Limits{})
	collide := func(x *index) (ident.ID, ident.ID) {
		seen := map[uint32]ident.ID{}
		for n := uint64(1); ; n++ {
			tag := x.tag(id(n))
			if other, ok := seen[tag]; ok {
				return other, id(n)
			}
			seen[tag] = id(n)
		}
	}
	a, b := collide(&s.accountIndex)
	x, y := collide(&s.transferIndex)
	g, h := collide(&s.groupIndex)
	z, w := collide(&s.freezeIndex)
	mustCreateAccounts(t, s, second, Account{ID: a, Ledger: 1, Code: 1}, Account{ID: b, Ledger: 1, Code: 1})
	base := Transfer{DebitAccountID: a, CreditAccountID: b, Amount: one, Ledger: 1, Code: 1}
	first, other := base, base
	first.ID, first.UserData128, first.Flags = x, g, TransferPending
	other.ID, other.UserData128, other.DebitAccountID, other.CreditAccountID = y, h, b, a
	mustCreateTransfers(t, s, second, first, other, Transfer{ID: id(1), PendingID: x, Flags: TransferPostPending,
		Amount: money.Max})
	mustApplyFreezes(t, s, second, Freeze{ID: z, Actor: a, Reason: 1, Scope: FreezeLedger, Ledger: 1},
		Freeze{ID: w, Actor: a, Reason: 1, Scope: FreezeLedger, Ledger: 2})
	for _, i := range []ident.ID{a, b} {
		if found, ok := s.Account(i); !ok || found.ID != i || found.DebitsPosted != one {
			t.Errorf("account %s: %+v", i, found)
		}
	}
	for _, i := range []ident.ID{x, y} {
		if found, ok := s.Transfer(i); !ok || found.ID != i {
			t.Errorf("transfer %s: %+v", i, found)
		}
	}
	for group, want := range map[ident.ID]int{g: 2, h: 1} { // the post is in the group of what it posts
		if page, err := s.QueryTransfers(TransferFilter{UserData128: group}); err != nil || len(page.Transfers) != want {
			t.Errorf("group %s: %+v, %v", group, page, err)
		}
	}
	for _, i := range []ident.ID{z, w} {
		if found, status, ok := s.Freeze(i); !ok || found.ID != i || status != FreezeOpen {
			t.Errorf("freeze %s: %+v", i, found)
		}
	}
}

func TestAskingForWhatIsNotThere(t *testing.T) {
	s := NewState(Limits{})
	if _, ok := s.Account(id(1)); ok {
		t.Error("an account")
	}
	if _, ok := s.Transfer(id(1)); ok || s.PendingStatus(id(1)) != PendingNone || s.Failed(id(1)) {
		t.Error("a transfer")
	}
	if _, _, ok := s.Freeze(id(1)); ok || s.AccountFrozen(id(1)) != 0 {
		t.Error("a freeze")
	}
	if s.PulseDue() != 0 || s.EventsLen() != 0 || len(s.ClassTotals()) != 0 || len(s.Accounts(nil, 0, 0)) != 0 {
		t.Error("something")
	}
	if got := s.CreateTransfers(nil, 1, nil); got != nil || s.Now() != 1 {
		t.Errorf("an empty batch: %v at %d", got, s.Now())
	}
	for operation, want := range map[Operation]string{OperationCreateAccounts: "create_accounts",
		OperationCreateTransfers: "create_transfers", OperationFreezes: "freezes", OperationNames: "names",
		OperationPulse: "pulse", 0: "unknown"} {
		if operation.String() != want {
			t.Errorf("operation %d is %q", operation, operation)
		}
	}
}
