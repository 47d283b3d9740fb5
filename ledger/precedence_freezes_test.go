package ledger

import (
	"testing"

	"surety/base/ident"
)

type freezeRow struct {
	want FreezeResult
	mend func(z *Freeze)
}

func runFreezes(t *testing.T, s *State, start Freeze, covered map[FreezeResult]bool, rows []freezeRow) {
	t.Helper()
	z := start
	var results []FreezeResult
	for _, row := range rows {
		got := s.ApplyFreezes([]Freeze{z}, s.NextTimestamp(0, 1), nil)[0]
		if got != row.want {
			t.Fatalf("after %v: %+v: %s, want %s", results, z, got, row.want)
		}
		covered[got] = true
		if got != FreezeOK {
			results = append(results, got)
		}
		if row.mend != nil {
			row.mend(&z)
		}
	}
	checkPrecedence(t, FreezeResults(), results, covered)
}

func TestFreezePrecedence(t *testing.T) {
	covered := map[FreezeResult]bool{}
	s := NewState(Limits{})
	mustCreateAccounts(t, s, 10*second, Account{ID: id(1), Ledger: 1, Code: 1})
	everything := Freeze{FreezeID: id(9), AccountID: ident.Max, SecondActor: id(9), ExpiresAt: 5, Code: 9,
		Sides: 9, Flags: ^FreezeFlags(0) &^ FreezeRelease, Reserved: 1, Timestamp: 1}
	common := []freezeRow{
		{FreezeTimestampMustBeZero, func(z *Freeze) { z.Timestamp = 0 }},
		{FreezeReservedField, func(z *Freeze) { z.Reserved = 0 }},
		{FreezeReservedFlag, func(z *Freeze) { z.Flags = 0 }},
		{FreezeIDMustNotBeZero, func(z *Freeze) { z.ID = ident.Max }},
		{FreezeIDMustNotBeIntMax, func(z *Freeze) { z.ID = id(1) }},
		{FreezeActorMustNotBeZero, func(z *Freeze) { z.Actor = id(5) }},
		{FreezeReasonMustNotBeZero, func(z *Freeze) { z.Reason = 5 }},
		{FreezeFreezeIDMustBeZero, func(z *Freeze) { z.FreezeID = ident.ID{} }},
		{FreezeSecondActorMustBeZero, func(z *Freeze) { z.SecondActor = ident.ID{} }},
	}
	runFreezes(t, s, everything, covered, append(common,
		freezeRow{FreezeScopeNotKnown, func(z *Freeze) { z.Scope = FreezeLedger }},
		freezeRow{FreezeAccountIDMustBeZero, func(z *Freeze) { z.AccountID = ident.ID{} }},
		freezeRow{FreezeExpiresAtMustBeInTheFuture, func(z *Freeze) { z.ExpiresAt = TimestampMax + 1 }},
		freezeRow{FreezeExpiresAtOutOfRange, func(z *Freeze) { z.ExpiresAt = TimestampMax }},
		freezeRow{FreezeLedgerMustNotBeZero, func(z *Freeze) { z.Ledger = 7 }},
		freezeRow{FreezeCodeMustBeZero, func(z *Freeze) { z.Scope, z.Code = FreezeCode, 0 }},
		freezeRow{FreezeCodeMustNotBeZero, func(z *Freeze) { z.Code = 7 }},
		freezeRow{FreezeSidesMustBeZero, func(z *Freeze) { z.Sides = 0 }},
		freezeRow{FreezeOK, nil},
	))
	onAccount := Freeze{ID: id(2), Actor: id(5), Reason: 5, Scope: FreezeAccount, ExpiresAt: 5, Ledger: 1,
		Code: 1}
	runFreezes(t, s, onAccount, covered, []freezeRow{
		{FreezeAccountIDMustNotBeZero, func(z *Freeze) { z.AccountID = ident.Max }},
		{FreezeAccountIDMustNotBeIntMax, func(z *Freeze) { z.AccountID = id(404) }},
		{FreezeExpiresAtMustBeInTheFuture, func(z *Freeze) { z.ExpiresAt = 20 * second }},
		{FreezeLedgerMustBeZero, func(z *Freeze) { z.Ledger = 0 }},
		{FreezeCodeMustBeZero, func(z *Freeze) { z.Code = 0 }},
		{FreezeSidesMustNotBeZero, func(z *Freeze) { z.Sides = 4 }},
		{FreezeSidesNotKnown, func(z *Freeze) { z.Sides = FreezeCredits }},
		{FreezeAccountNotFound, func(z *Freeze) { z.AccountID = id(1) }},
		{FreezeOK, nil},
	})
	precedenceRelease(t, s, covered)
	precedenceFreezeExists(t, s, covered)
	if got := tooManyFreezes(t, s); got != FreezeTooManyOpenFreezes {
		t.Errorf("one freeze more than can be counted: %s", got)
	}
	covered[FreezeTooManyOpenFreezes] = true
	for _, r := range FreezeResults() {
		if !covered[r] {
			t.Errorf("no row shows %s", r)
		}
	}
}

func precedenceRelease(t *testing.T, s *State, covered map[FreezeResult]bool) {
	mustApplyFreezes(t, s, 0,
		Freeze{ID: id(20), Actor: id(5), Reason: 5, Scope: FreezeLedger, Ledger: 3},
		Freeze{ID: id(21), Actor: id(5), Reason: 5, Flags: FreezeRelease, FreezeID: id(20), SecondActor: id(6)})
	s.Pulse(s.NextTimestamp(30*second, 0)) // freeze 2 expires
	start := Freeze{ID: id(22), Flags: FreezeRelease, Scope: FreezeAccount, AccountID: id(1),
		ExpiresAt: 5, Ledger: 1, Code: 1, Sides: 1}
	runFreezes(t, s, start, covered, []freezeRow{
		{FreezeActorMustNotBeZero, func(z *Freeze) { z.Actor = id(5) }},
		{FreezeReasonMustNotBeZero, func(z *Freeze) { z.Reason = 5 }},
		{FreezeFreezeIDMustNotBeZero, func(z *Freeze) { z.FreezeID = ident.Max }},
		{FreezeFreezeIDMustNotBeIntMax, func(z *Freeze) { z.FreezeID = z.ID }},
		{FreezeFreezeIDMustBeDifferent, func(z *Freeze) { z.FreezeID = id(404) }},
		{FreezeSecondActorMustNotBeZero, func(z *Freeze) { z.SecondActor = z.Actor }},
		{FreezeActorsMustBeDifferent, func(z *Freeze) { z.SecondActor = id(6) }},
		{FreezeScopeMustBeZero, func(z *Freeze) { z.Scope = 0 }},
		{FreezeAccountIDMustBeZero, func(z *Freeze) { z.AccountID = ident.ID{} }},
		{FreezeExpiresAtMustBeZero, func(z *Freeze) { z.ExpiresAt = 0 }},
		{FreezeLedgerMustBeZero, func(z *Freeze) { z.Ledger = 0 }},
		{FreezeCodeMustBeZero, func(z *Freeze) { z.Code = 0 }},
		{FreezeSidesMustBeZero, func(z *Freeze) { z.Sides = 0 }},
		{FreezeFreezeNotFound, func(z *Freeze) { z.FreezeID = id(21) }},
		{FreezeFreezeIsARelease, func(z *Freeze) { z.FreezeID = id(20) }},
		{FreezeFreezeAlreadyReleased, func(z *Freeze) { z.FreezeID = id(2) }},
		{FreezeFreezeAlreadyExpired, func(z *Freeze) { z.FreezeID = id(1) }},
		{FreezeOK, nil},
	})
}

func precedenceFreezeExists(t *testing.T, s *State, covered map[FreezeResult]bool) {
	mustApplyFreezes(t, s, 0, Freeze{ID: id(30), AccountID: id(1), Actor: id(2), UserData128: id(3),
		ExpiresAt: 90 * second, Reason: 5, Scope: FreezeAccount, Sides: FreezeDebits})
	start := Freeze{ID: id(30), FreezeID: id(1), SecondActor: id(1), Ledger: 1, Code: 1, Flags: FreezeRelease}
	runFreezes(t, s, start, covered, []freezeRow{
		{FreezeExistsWithDifferentFlags, func(z *Freeze) { z.Flags = 0 }},
		{FreezeExistsWithDifferentFreezeID, func(z *Freeze) { z.FreezeID = ident.ID{} }},
		{FreezeExistsWithDifferentAccountID, func(z *Freeze) { z.AccountID = id(1) }},
		{FreezeExistsWithDifferentActor, func(z *Freeze) { z.Actor = id(2) }},
		{FreezeExistsWithDifferentSecondActor, func(z *Freeze) { z.SecondActor = ident.ID{} }},
		{FreezeExistsWithDifferentUserData128, func(z *Freeze) { z.UserData128 = id(3) }},
		{FreezeExistsWithDifferentExpiresAt, func(z *Freeze) { z.ExpiresAt = 90 * second }},
		{FreezeExistsWithDifferentLedger, func(z *Freeze) { z.Ledger = 0 }},
		{FreezeExistsWithDifferentReason, func(z *Freeze) { z.Reason = 5 }},
		{FreezeExistsWithDifferentCode, func(z *Freeze) { z.Code = 0 }},
		{FreezeExistsWithDifferentScope, func(z *Freeze) { z.Scope = FreezeAccount }},
		{FreezeExistsWithDifferentSides, func(z *Freeze) { z.Sides = FreezeDebits }},
		{FreezeExists, nil},
	})
}

// tooManyFreezes freezes one account as often as can be counted and once more.
func tooManyFreezes(t *testing.T, s *State) FreezeResult {
	mustCreateAccounts(t, s, 0, Account{ID: id(77), Ledger: 1, Code: 1})
	z := Freeze{Actor: id(2), Reason: 5, Scope: FreezeAccount, AccountID: id(77), Sides: FreezeCredits}
	for n := 0; n < OpenFreezesMax; {
		var batch []Freeze
		for ; len(batch) < BatchMax && n < OpenFreezesMax; n++ {
			z.ID = id(100_000 + uint64(n))
			batch = append(batch, z)
		}
		mustApplyFreezes(t, s, 0, batch...)
	}
	z.ID = id(99_999)
	return s.ApplyFreezes([]Freeze{z}, s.NextTimestamp(0, 1), nil)[0]
}
