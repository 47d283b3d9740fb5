package ledger

import (
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

const second = clock.Instant(clock.Second)

// Accounts of the transfer tables: debited ones and credited ones, each with one defect less than
// the one before it.
const (
	plainA, plainB = 1, 2
	otherLedger    = 3

	debitClosed  = 11 // closed, frozen, pending and posted debits of 1
	debitFrozen  = 12
	debitPending = 13
	debitPosted  = 14 // posted debits of 1
	debitSplit   = 15 // half of all there is posted, nearly half pending
	debitLimited = 16 // may have no debits above its credits, of which it has none

	creditClosed  = 21 // closed, frozen, pending credits of 1 and posted ones of nearly all there is
	creditFrozen  = 22
	creditPending = 23
	creditPosted  = 24
	creditSplit   = 25
	creditLimited = 26

	helper = 200 // the other side of what gives the accounts above their balances, one for each
)

var (
	nearlyAll  = money.Amount{Lo: ^uint64(0) - 10, Hi: ^uint64(0)}
	half       = money.Amount{Hi: 1 << 63}
	nearlyHalf = money.Amount{Lo: ^uint64(0) - 10, Hi: 1<<63 - 1}
	one        = money.Minor(1)
)

// setting builds the state that the tables start from.
type setting struct {
	testing.TB
	*State
	last uint64
}

func (x *setting) transfer(debit, credit uint64, amount money.Amount, flags TransferFlags) ident.ID {
	x.last++
	mustCreateTransfers(x.TB, x.State, 0, Transfer{ID: id(x.last), DebitAccountID: id(debit),
		CreditAccountID: id(credit), Amount: amount, Ledger: 1, Code: 1, Flags: flags})
	return id(x.last)
}

// newSetting starts late enough that the longest timeout leaves the range of timestamps.
func newSetting(t testing.TB) *setting {
	x := &setting{TB: t, State: NewState(Limits{}), last: 1000}
	start := TimestampMax - 1000*second
	for _, n := range []uint64{plainA, plainB, otherLedger, debitClosed, debitFrozen, debitPending,
		debitPosted, debitSplit, debitLimited, creditClosed, creditFrozen, creditPending, creditPosted,
		creditSplit, creditLimited} {
		a, other := Account{ID: id(n), Ledger: 1, Code: 1}, Account{ID: id(helper + n), Ledger: 1, Code: 1}
		switch n {
		case otherLedger:
			a.Ledger = 2
		case debitLimited:
			a.Flags = AccountDebitsMustNotExceedCredits
		case creditLimited:
			a.Flags = AccountCreditsMustNotExceedDebits
		}
		mustCreateAccounts(t, x.State, start, a, other)
	}
	for _, n := range []uint64{debitClosed, debitFrozen, debitPending} {
		x.transfer(n, helper+n, one, TransferPending)
		x.transfer(n, helper+n, one, 0)
	}
	x.transfer(debitPosted, helper+debitPosted, one, 0)
	x.transfer(debitSplit, helper+debitSplit, half, 0)
	x.transfer(debitSplit, helper+debitSplit, nearlyHalf, TransferPending)
	for _, n := range []uint64{creditClosed, creditFrozen, creditPending} {
		x.transfer(helper+n, n, one, TransferPending)
		x.transfer(helper+n, n, nearlyAll, 0)
	}
	x.transfer(helper+creditPosted, creditPosted, nearlyAll, 0)
	x.transfer(helper+creditSplit, creditSplit, half, 0)
	x.transfer(helper+creditSplit, creditSplit, nearlyHalf, TransferPending)
	return x
}

// stop closes and freezes; what is pending by then stays.
func (x *setting) stop() {
	x.transfer(debitClosed, helper+debitClosed, money.Amount{}, TransferPending|TransferClosingDebit)
	x.transfer(helper+creditClosed, creditClosed, money.Amount{}, TransferPending|TransferClosingCredit)
	freeze := Freeze{Actor: id(1), Reason: 1, Scope: FreezeAccount, Sides: FreezeBoth}
	for i, n := range []uint64{debitClosed, debitFrozen, creditClosed, creditFrozen} {
		freeze.ID, freeze.AccountID = id(uint64(i+1)), id(n)
		mustApplyFreezes(x.TB, x.State, 0, freeze)
	}
	mustApplyFreezes(x.TB, x.State, 0,
		Freeze{ID: id(10), Actor: id(1), Reason: 1, Scope: FreezeCode, Ledger: 1, Code: 66},
		Freeze{ID: id(11), Actor: id(1), Reason: 1, Scope: FreezeLedger, Ledger: 1})
}

// thaw releases the freeze of ledger 1.
func (x *setting) thaw() {
	mustApplyFreezes(x.TB, x.State, 0, Freeze{ID: id(12), Actor: id(1), SecondActor: id(2), Reason: 1,
		Flags: FreezeRelease, FreezeID: id(11)})
}

type transferRow struct {
	want TransferResult
	mend func(t *Transfer)
}

// run applies the rows one after another, the transfer behind another one that is imported or not.
// A refusal that spends the id is followed by a fresh one.
func (x *setting) run(start Transfer, imported bool, covered map[TransferResult]bool, rows []transferRow) {
	x.Helper()
	t := start
	var results []TransferResult
	for _, row := range rows {
		first := Transfer{}
		if imported {
			first = Transfer{Flags: TransferImported, Timestamp: 1}
		}
		got := x.CreateTransfers([]Transfer{first, t}, x.NextTimestamp(0, 2), nil)[1]
		if got != row.want {
			x.Fatalf("after %v: %+v: %s, want %s", results, t, got, row.want)
		}
		if got.Transient() {
			again := x.CreateTransfers([]Transfer{first, t}, x.NextTimestamp(0, 2), nil)[1]
			if again != TransferIDAlreadyFailed {
				x.Fatalf("%s, sent again: %s", got, again)
			}
			covered[again] = true
			x.last++
			t.ID = id(x.last)
		}
		if got != TransferOK {
			results = append(results, got)
		}
		covered[got] = true
		if row.mend != nil {
			row.mend(&t)
		}
	}
	checkPrecedence(x.TB.(*testing.T), TransferResults(), results, covered)
}

func TestTransferPrecedence(t *testing.T) {
	covered := map[TransferResult]bool{}
	t.Run("plain", func(t *testing.T) { precedencePlain(t, covered) })
	t.Run("imported", func(t *testing.T) { precedenceImported(t, covered) })
	t.Run("settle", func(t *testing.T) { precedenceSettle(t, covered) })
	t.Run("settle imported", func(t *testing.T) { precedenceSettleImported(t, covered) })
	t.Run("exists", func(t *testing.T) { precedenceExists(t, covered) })
	t.Run("settle exists", func(t *testing.T) { precedenceSettleExists(t, covered) })
	x := newSetting(t)
	got := x.CreateTransfers([]Transfer{{Flags: TransferLinked}, {}, {Flags: TransferLinked}},
		x.NextTimestamp(0, 3), nil)
	if got[0] != TransferIDMustNotBeZero || got[1] != TransferLinkedEventFailed ||
		got[2] != TransferLinkedEventChainOpen {
		t.Errorf("chains: %v", got)
	}
	covered[got[1]], covered[got[2]] = true, true
	for _, r := range TransferResults() {
		if !covered[r] {
			t.Errorf("no row shows %s", r)
		}
	}
}

func precedencePlain(t *testing.T, covered map[TransferResult]bool) {
	x := newSetting(t)
	x.stop()
	start := Transfer{Amount: money.Max, PendingID: id(1), Timeout: 1, Timestamp: 1,
		Flags: TransferImported | TransferClosingDebit | TransferClosingCredit | 1<<15}
	x.run(start, false, covered, []transferRow{
		{TransferImportedEventNotExpected, func(t *Transfer) { t.Flags &^= TransferImported }},
		{TransferTimestampMustBeZero, func(t *Transfer) { t.Timestamp = 0 }},
		{TransferReservedFlag, func(t *Transfer) { t.Flags &^= 1 << 15 }},
		{TransferIDMustNotBeZero, func(t *Transfer) { t.ID = ident.Max }},
		{TransferIDMustNotBeIntMax, func(t *Transfer) { t.ID = id(5000) }},
		{TransferDebitAccountIDMustNotBeZero, func(t *Transfer) { t.DebitAccountID = ident.Max }},
		{TransferDebitAccountIDMustNotBeIntMax, func(t *Transfer) { t.DebitAccountID = id(800) }},
		{TransferCreditAccountIDMustNotBeZero, func(t *Transfer) { t.CreditAccountID = ident.Max }},
		{TransferCreditAccountIDMustNotBeIntMax, func(t *Transfer) { t.CreditAccountID = id(800) }},
		{TransferAccountsMustBeDifferent, func(t *Transfer) { t.CreditAccountID = id(801) }},
		{TransferPendingIDMustBeZero, func(t *Transfer) { t.PendingID = ident.ID{} }},
		{TransferTimeoutReservedForPendingTransfer, func(t *Transfer) { t.Timeout = 0 }},
		{TransferClosingTransferMustBePending, func(t *Transfer) {
			t.Flags |= TransferPending
			t.Timeout = ^uint32(0)
		}},
		{TransferLedgerMustNotBeZero, func(t *Transfer) { t.Ledger = 3 }},
		{TransferCodeMustNotBeZero, func(t *Transfer) { t.Code = 66 }},
		{TransferDebitAccountNotFound, func(t *Transfer) { t.DebitAccountID = id(debitClosed) }},
		{TransferCreditAccountNotFound, func(t *Transfer) { t.CreditAccountID = id(otherLedger) }},
		{TransferAccountsMustHaveTheSameLedger, func(t *Transfer) { t.CreditAccountID = id(creditClosed) }},
		{TransferMustHaveTheSameLedgerAsAccounts, func(t *Transfer) { t.Ledger = 1 }},
		{TransferDebitAccountAlreadyClosed, func(t *Transfer) { t.DebitAccountID = id(debitFrozen) }},
		{TransferCreditAccountAlreadyClosed, func(t *Transfer) { t.CreditAccountID = id(creditFrozen) }},
		{TransferDebitAccountFrozen, func(t *Transfer) { t.DebitAccountID = id(debitPending) }},
		{TransferCreditAccountFrozen, func(t *Transfer) { t.CreditAccountID = id(creditPending) }},
		{TransferCodeFrozen, func(t *Transfer) { t.Code = 1 }},
		{TransferLedgerFrozen, func(*Transfer) { x.thaw() }},
		{TransferOverflowsDebitsPending, func(t *Transfer) { t.DebitAccountID = id(debitPosted) }},
		{TransferOverflowsCreditsPending, func(t *Transfer) { t.CreditAccountID = id(creditPosted) }},
		{TransferOverflowsDebitsPosted, func(t *Transfer) {
			t.DebitAccountID, t.Amount = id(debitSplit), money.Minor(100)
		}},
		{TransferOverflowsCreditsPosted, func(t *Transfer) { t.CreditAccountID = id(creditSplit) }},
		{TransferOverflowsDebits, func(t *Transfer) { t.DebitAccountID = id(debitLimited) }},
		{TransferOverflowsCredits, func(t *Transfer) { t.CreditAccountID = id(creditLimited) }},
		{TransferOverflowsTimeout, func(t *Transfer) { t.Timeout = 1 }},
		{TransferExceedsCredits, func(t *Transfer) { t.DebitAccountID = id(plainA) }},
		{TransferExceedsDebits, func(t *Transfer) { t.CreditAccountID = id(plainB) }},
		{TransferOK, nil},
	})
}

func precedenceImported(t *testing.T, covered map[TransferResult]bool) {
	x := newSetting(t)
	x.stop()
	last := x.transfers.at(x.transfers.length - 1).Timestamp
	mustCreateAccounts(t, x.State, last+second, Account{ID: id(300), Ledger: 1, Code: 1})
	mustCreateAccounts(t, x.State, last+2*second, Account{ID: id(301), Ledger: 1, Code: 1})
	x.wait(last + 3*second)
	start := Transfer{ID: id(5000), DebitAccountID: id(300), CreditAccountID: id(301), Amount: one,
		Flags: TransferPending | 1<<15, Timeout: 1, Code: 66, Ledger: 3}
	x.run(start, true, covered, []transferRow{
		{TransferImportedEventExpected, func(t *Transfer) { t.Flags |= TransferImported }},
		{TransferImportedEventTimestampOutOfRange, func(t *Transfer) { t.Timestamp = TimestampMax + 1 }},
		{TransferImportedEventTimestampOutOfRange, func(t *Transfer) { t.Timestamp = TimestampMax }},
		{TransferImportedEventTimestampMustNotAdvance, func(t *Transfer) { t.Timestamp = last }},
		{TransferReservedFlag, func(t *Transfer) { t.Flags &^= 1 << 15 }},
		{TransferMustHaveTheSameLedgerAsAccounts, func(t *Transfer) { t.Ledger = 1 }},
		{TransferImportedEventTimestampMustNotRegress, func(t *Transfer) { t.Timestamp = last + second }},
		{TransferImportedEventTimestampMustNotRegress, func(t *Transfer) { t.Timestamp = last + 1 }},
		{TransferImportedEventTimestampMustPostdateDebitAccount, func(t *Transfer) {
			t.DebitAccountID = id(debitClosed)
		}},
		{TransferImportedEventTimestampMustPostdateCreditAccount, func(t *Transfer) {
			t.CreditAccountID = id(creditClosed)
		}},
		{TransferImportedEventTimeoutMustBeZero, func(t *Transfer) { t.Timeout = 0 }},
		{TransferDebitAccountAlreadyClosed, nil},
	})
}

// wait lets time pass.
func (x *setting) wait(until clock.Instant) { x.Pulse(x.NextTimestamp(until, 0)) }

func precedenceSettle(t *testing.T, covered map[TransferResult]bool) {
	x := newSetting(t)
	posted := x.transfer(plainA, plainB, money.Minor(10), TransferPending)
	voided := x.transfer(plainA, plainB, money.Minor(10), TransferPending)
	toClosed := x.transfer(plainA, creditClosed, one, TransferPending)
	fromClosed := x.transfer(debitClosed, creditClosed, one, TransferPending)
	fromFrozen := x.transfer(debitFrozen, creditFrozen, one, TransferPending)
	toFrozen := x.transfer(plainA, creditFrozen, one, TransferPending)
	open := x.transfer(plainA, plainB, one, TransferPending)
	plain := x.transfer(plainA, plainB, one, 0)
	mustCreateTransfers(t, x.State, 0,
		Transfer{ID: id(4000), PendingID: posted, Flags: TransferPostPending, Amount: money.Max},
		Transfer{ID: id(4001), PendingID: voided, Flags: TransferVoidPending},
		Transfer{ID: id(4002), DebitAccountID: id(plainA), CreditAccountID: id(plainB), Ledger: 1,
			Code: 1, Flags: TransferPending, Timeout: 1},
		Transfer{ID: id(4003), DebitAccountID: id(plainA), CreditAccountID: id(plainB), Ledger: 1,
			Code: 66, Flags: TransferPending})
	x.wait(x.Now() + 2*second)
	x.stop()
	start := Transfer{ID: id(5000), DebitAccountID: id(9), CreditAccountID: id(9), Timeout: 1, Ledger: 9,
		Code: 9, Amount: money.Minor(11), Flags: TransferPostPending | TransferVoidPending}
	x.run(start, false, covered, []transferRow{
		{TransferFlagsAreMutuallyExclusive, func(t *Transfer) { t.Flags = TransferPostPending | TransferPending }},
		{TransferFlagsAreMutuallyExclusive, func(t *Transfer) {
			t.Flags = TransferVoidPending | TransferBalancingDebit
		}},
		{TransferFlagsAreMutuallyExclusive, func(t *Transfer) {
			t.Flags = TransferPostPending | TransferBalancingCredit
		}},
		{TransferFlagsAreMutuallyExclusive, func(t *Transfer) {
			t.Flags = TransferVoidPending | TransferClosingDebit
		}},
		{TransferFlagsAreMutuallyExclusive, func(t *Transfer) {
			t.Flags = TransferPostPending | TransferClosingCredit
		}},
		{TransferFlagsAreMutuallyExclusive, func(t *Transfer) { t.Flags = TransferPostPending }},
		{TransferPendingIDMustNotBeZero, func(t *Transfer) { t.PendingID = ident.Max }},
		{TransferPendingIDMustNotBeIntMax, func(t *Transfer) { t.PendingID = t.ID }},
		{TransferPendingIDMustBeDifferent, func(t *Transfer) { t.PendingID = id(9999) }},
		{TransferTimeoutReservedForPendingTransfer, func(t *Transfer) { t.Timeout = 0 }},
		{TransferPendingTransferNotFound, func(t *Transfer) { t.PendingID = plain }},
		{TransferPendingTransferNotPending, func(t *Transfer) { t.PendingID = posted }},
		{TransferPendingTransferHasDifferentDebitAccountID, func(t *Transfer) { t.DebitAccountID = id(plainA) }},
		{TransferPendingTransferHasDifferentCreditAccountID, func(t *Transfer) { t.CreditAccountID = ident.ID{} }},
		{TransferPendingTransferHasDifferentLedger, func(t *Transfer) { t.Ledger = 0 }},
		{TransferPendingTransferHasDifferentCode, func(t *Transfer) { t.Code = 0 }},
		{TransferExceedsPendingTransferAmount, func(t *Transfer) {
			t.Flags, t.Amount = TransferVoidPending, money.Minor(9)
		}},
		{TransferPendingTransferHasDifferentAmount, func(t *Transfer) { t.Amount = money.Amount{} }},
		{TransferPendingTransferAlreadyPosted, func(t *Transfer) { t.PendingID = voided }},
		{TransferPendingTransferAlreadyVoided, func(t *Transfer) { t.PendingID = id(4002) }},
		{TransferPendingTransferExpired, func(t *Transfer) {
			t.PendingID, t.Flags, t.Amount, t.DebitAccountID = fromClosed, TransferPostPending, money.Max, ident.ID{}
		}},
		{TransferDebitAccountAlreadyClosed, func(t *Transfer) { t.PendingID = toClosed }},
		{TransferCreditAccountAlreadyClosed, func(t *Transfer) { t.PendingID = fromFrozen }},
		{TransferDebitAccountFrozen, func(t *Transfer) { t.PendingID = toFrozen }},
		{TransferCreditAccountFrozen, func(t *Transfer) { t.PendingID = id(4003) }},
		{TransferCodeFrozen, func(t *Transfer) { t.PendingID = open }},
		{TransferLedgerFrozen, func(t *Transfer) { t.Flags, t.Amount = TransferVoidPending, money.Amount{} }},
		{TransferOK, func(t *Transfer) { t.ID, t.PendingID = id(5001), fromClosed }},
		{TransferOK, nil},
	})
}

func precedenceSettleImported(t *testing.T, covered map[TransferResult]bool) {
	x := newSetting(t)
	mustCreateTransfers(t, x.State, 0, Transfer{ID: id(4002), DebitAccountID: id(plainA),
		CreditAccountID: id(plainB), Ledger: 1, Code: 1, Flags: TransferPending, Timeout: 1})
	pending := x.transfer(debitClosed, plainB, one, TransferPending)
	x.stop()
	last := x.transfers.at(x.transfers.length - 1).Timestamp
	x.wait(last + 2*second)
	start := Transfer{ID: id(5000), PendingID: id(4002), Amount: money.Max, Timestamp: last,
		Flags: TransferPostPending | TransferImported}
	x.run(start, true, covered, []transferRow{
		{TransferPendingTransferExpired, func(t *Transfer) { t.PendingID = pending }},
		{TransferImportedEventTimestampMustNotRegress, func(t *Transfer) { t.Timestamp = last + 1 }},
		{TransferDebitAccountAlreadyClosed, func(t *Transfer) {
			t.Flags, t.Amount = TransferVoidPending|TransferImported, money.Amount{}
		}},
		{TransferOK, nil},
	})
}

func precedenceExists(t *testing.T, covered map[TransferResult]bool) {
	x := newSetting(t)
	existing := Transfer{ID: id(5000), DebitAccountID: id(plainA), CreditAccountID: id(plainB),
		Amount: money.Minor(7), UserData128: id(1), UserData64: 2, UserData32: 3, Timeout: 4, Ledger: 1,
		Code: 6, Flags: TransferPending | TransferBalancingDebit}
	mustCreateTransfers(t, x.State, 0, Transfer{ID: id(4999), DebitAccountID: id(plainB),
		CreditAccountID: id(plainA), Amount: money.Minor(5), Ledger: 1, Code: 1}, existing)
	x.stop()
	start := Transfer{ID: id(5000), PendingID: id(9), Ledger: 9}
	rows := []transferRow{
		{TransferExistsWithDifferentFlags, func(t *Transfer) { t.Flags = existing.Flags }},
		{TransferExistsWithDifferentPendingID, func(t *Transfer) { t.PendingID = ident.ID{} }},
		{TransferExistsWithDifferentTimeout, func(t *Transfer) { t.Timeout = 4 }},
		{TransferExistsWithDifferentDebitAccountID, func(t *Transfer) { t.DebitAccountID = id(plainA) }},
		{TransferExistsWithDifferentCreditAccountID, func(t *Transfer) { t.CreditAccountID = id(plainB) }},
		{TransferExistsWithDifferentAmount, func(t *Transfer) { t.Amount = money.Minor(4) }},
		{TransferExistsWithDifferentAmount, func(t *Transfer) { t.Amount = money.Minor(5) }}, // what moved
		{TransferExistsWithDifferentUserData128, func(t *Transfer) { t.UserData128 = id(1) }},
		{TransferExistsWithDifferentUserData64, func(t *Transfer) { t.UserData64 = 2 }},
		{TransferExistsWithDifferentUserData32, func(t *Transfer) { t.UserData32 = 3 }},
		{TransferExistsWithDifferentLedger, func(t *Transfer) { t.Ledger = 1 }},
		{TransferExistsWithDifferentCode, func(t *Transfer) { t.Code = 6 }},
		{TransferExists, func(t *Transfer) { t.Amount = money.Max }},
		{TransferExists, nil},
	}
	x.run(start, false, covered, rows)
}

func precedenceSettleExists(t *testing.T, covered map[TransferResult]bool) {
	x := newSetting(t)
	pending := Transfer{ID: id(4000), DebitAccountID: id(plainA), CreditAccountID: id(plainB),
		Amount: money.Minor(7), UserData128: id(1), UserData64: 2, UserData32: 3, Ledger: 1, Code: 6,
		Flags: TransferPending}
	post := Transfer{ID: id(5000), PendingID: id(4000), Amount: money.Minor(7), UserData64: 22,
		Flags: TransferPostPending}
	mustCreateTransfers(t, x.State, 0, pending, post)
	start := Transfer{ID: id(5000), PendingID: id(9), Timeout: 1, DebitAccountID: id(9),
		CreditAccountID: id(9), Amount: money.Minor(6), UserData128: id(9), UserData32: 9, Ledger: 9, Code: 9}
	x.run(start, false, covered, []transferRow{
		{TransferExistsWithDifferentFlags, func(t *Transfer) { t.Flags = TransferPostPending }},
		{TransferExistsWithDifferentPendingID, func(t *Transfer) { t.PendingID = id(4000) }},
		{TransferExistsWithDifferentTimeout, func(t *Transfer) { t.Timeout = 0 }},
		{TransferExistsWithDifferentDebitAccountID, func(t *Transfer) { t.DebitAccountID = id(plainA) }},
		{TransferExistsWithDifferentCreditAccountID, func(t *Transfer) { t.CreditAccountID = ident.ID{} }},
		{TransferExistsWithDifferentAmount, func(t *Transfer) { t.Amount = money.Max }},
		{TransferExistsWithDifferentUserData128, func(t *Transfer) { t.UserData128 = ident.ID{} }},
		{TransferExistsWithDifferentUserData64, func(t *Transfer) { t.UserData64 = 22 }},
		{TransferExistsWithDifferentUserData32, func(t *Transfer) { t.UserData32 = 3 }},
		{TransferExistsWithDifferentLedger, func(t *Transfer) { t.Ledger = 1 }},
		{TransferExistsWithDifferentCode, func(t *Transfer) { t.Code = 0 }},
		{TransferExists, nil},
	})
}
