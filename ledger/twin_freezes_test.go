package ledger

import (
	"surety/base/clock"
	"surety/base/ident"
)

// holds reports whether an open freeze is such as asked for.
func (w *twin) holds(such func(z Freeze) bool) bool {
	for _, z := range w.freezes {
		if z.status == FreezeOpen && such(z.record) {
			return true
		}
	}
	return false
}

func (w *twin) stops(id ident.ID, side FreezeSides) bool {
	return w.holds(func(z Freeze) bool {
		return z.Scope == FreezeAccount && z.AccountID == id &&
			(z.Sides&side != 0 || w.bug == "a freeze stops both sides")
	})
}

func (w *twin) stopsCode(ledger uint32, code uint16) bool {
	return w.holds(func(z Freeze) bool {
		return z.Scope == FreezeCode && z.Code == code &&
			(z.Ledger == ledger || w.bug == "a code is frozen in every ledger")
	})
}

func (w *twin) stopsLedger(ledger uint32) bool {
	return w.holds(func(z Freeze) bool { return z.Scope == FreezeLedger && z.Ledger == ledger })
}

func (w *twin) applyFreezes(batch []Freeze, timestamp clock.Instant) []FreezeResult {
	first := w.begin(len(batch), timestamp)
	var results []FreezeResult
	for i, z := range batch {
		results = append(results, w.applyFreeze(z, first+clock.Instant(i)))
	}
	w.now = timestamp
	return results
}

func (w *twin) applyFreeze(z Freeze, now clock.Instant) FreezeResult {
	e, exists := w.freezes[z.ID]
	result := firstOf(w.bug, "freeze", []rule[FreezeResult]{
		{FreezeTimestampMustBeZero, func() bool { return z.Timestamp != 0 }},
		{FreezeReservedField, func() bool { return z.Reserved != 0 }},
		{FreezeReservedFlag, func() bool { return z.Flags > 1 }},
		{FreezeIDMustNotBeZero, func() bool { return z.ID.IsZero() }},
		{FreezeIDMustNotBeIntMax, func() bool { return z.ID == ident.Max }},
		{FreezeExistsWithDifferentFlags, func() bool { return exists && z.Flags != e.record.Flags }},
		{FreezeExistsWithDifferentFreezeID, func() bool { return exists && z.FreezeID != e.record.FreezeID }},
		{FreezeExistsWithDifferentAccountID, func() bool {
			return exists && z.AccountID != e.record.AccountID
		}},
		{FreezeExistsWithDifferentActor, func() bool { return exists && z.Actor != e.record.Actor }},
		{FreezeExistsWithDifferentSecondActor, func() bool {
			return exists && z.SecondActor != e.record.SecondActor
		}},
		{FreezeExistsWithDifferentUserData128, func() bool {
			return exists && z.UserData128 != e.record.UserData128
		}},
		{FreezeExistsWithDifferentExpiresAt, func() bool {
			return exists && z.ExpiresAt != e.record.ExpiresAt
		}},
		{FreezeExistsWithDifferentLedger, func() bool { return exists && z.Ledger != e.record.Ledger }},
		{FreezeExistsWithDifferentReason, func() bool { return exists && z.Reason != e.record.Reason }},
		{FreezeExistsWithDifferentCode, func() bool { return exists && z.Code != e.record.Code }},
		{FreezeExistsWithDifferentScope, func() bool { return exists && z.Scope != e.record.Scope }},
		{FreezeExistsWithDifferentSides, func() bool { return exists && z.Sides != e.record.Sides }},
		{FreezeExists, func() bool { return exists }},
		{FreezeActorMustNotBeZero, func() bool { return z.Actor.IsZero() }},
		{FreezeReasonMustNotBeZero, func() bool { return z.Reason == 0 }},
	})
	if result != FreezeOK {
		return result
	}
	if z.Flags&FreezeRelease != 0 {
		return w.release(z, now)
	}
	return w.freeze(z, now)
}

func (w *twin) freeze(z Freeze, now clock.Instant) FreezeResult {
	account := z.Scope == FreezeAccount
	_, found := w.accounts[z.AccountID]
	result := firstOf(w.bug, "freeze", []rule[FreezeResult]{
		{FreezeFreezeIDMustBeZero, func() bool { return !z.FreezeID.IsZero() }},
		{FreezeSecondActorMustBeZero, func() bool { return !z.SecondActor.IsZero() }},
		{FreezeScopeNotKnown, func() bool { return z.Scope < FreezeAccount || z.Scope > FreezeLedger }},
		{FreezeAccountIDMustBeZero, func() bool { return !account && !z.AccountID.IsZero() }},
		{FreezeAccountIDMustNotBeZero, func() bool { return account && z.AccountID.IsZero() }},
		{FreezeAccountIDMustNotBeIntMax, func() bool { return account && z.AccountID == ident.Max }},
		{FreezeExpiresAtMustBeInTheFuture, func() bool { return z.ExpiresAt != 0 && z.ExpiresAt <= now }},
		{FreezeExpiresAtOutOfRange, func() bool { return z.ExpiresAt > 1<<63-1 }},
		{FreezeLedgerMustBeZero, func() bool { return account && z.Ledger != 0 }},
		{FreezeLedgerMustNotBeZero, func() bool { return !account && z.Ledger == 0 }},
		{FreezeCodeMustBeZero, func() bool { return z.Scope != FreezeCode && z.Code != 0 }},
		{FreezeCodeMustNotBeZero, func() bool { return z.Scope == FreezeCode && z.Code == 0 }},
		{FreezeSidesMustBeZero, func() bool { return !account && z.Sides != 0 }},
		{FreezeSidesMustNotBeZero, func() bool { return account && z.Sides == 0 }},
		{FreezeSidesNotKnown, func() bool { return account && z.Sides > FreezeBoth }},
		{FreezeAccountNotFound, func() bool { return account && !found }},
	})
	if result == FreezeOK {
		z.Timestamp = now
		w.freezes[z.ID] = twinFreeze{z, FreezeOpen}
		w.emit(Event{Timestamp: now, Kind: EventFreezeApplied, Freeze: z})
	}
	return result
}

func (w *twin) release(z Freeze, now clock.Instant) FreezeResult {
	e, found := w.freezes[z.FreezeID]
	result := firstOf(w.bug, "freeze", []rule[FreezeResult]{
		{FreezeFreezeIDMustNotBeZero, func() bool { return z.FreezeID.IsZero() }},
		{FreezeFreezeIDMustNotBeIntMax, func() bool { return z.FreezeID == ident.Max }},
		{FreezeFreezeIDMustBeDifferent, func() bool { return z.FreezeID == z.ID }},
		{FreezeSecondActorMustNotBeZero, func() bool { return z.SecondActor.IsZero() }},
		{FreezeActorsMustBeDifferent, func() bool { return z.SecondActor == z.Actor }},
		{FreezeScopeMustBeZero, func() bool { return z.Scope != 0 }},
		{FreezeAccountIDMustBeZero, func() bool { return !z.AccountID.IsZero() }},
		{FreezeExpiresAtMustBeZero, func() bool { return z.ExpiresAt != 0 }},
		{FreezeLedgerMustBeZero, func() bool { return z.Ledger != 0 }},
		{FreezeCodeMustBeZero, func() bool { return z.Code != 0 }},
		{FreezeSidesMustBeZero, func() bool { return z.Sides != 0 }},
		{FreezeFreezeNotFound, func() bool { return !found }},
		{FreezeFreezeIsARelease, func() bool { return e.status == FreezeNone }},
		{FreezeFreezeAlreadyReleased, func() bool { return e.status == FreezeReleased }},
		{FreezeFreezeAlreadyExpired, func() bool { return e.status == FreezeExpired }},
	})
	if result == FreezeOK {
		e.status = FreezeReleased
		w.freezes[z.FreezeID] = e
		z.Timestamp = now
		w.freezes[z.ID] = twinFreeze{z, FreezeNone}
		w.emit(Event{Timestamp: now, Kind: EventFreezeReleased, Freeze: z})
	}
	return result
}
