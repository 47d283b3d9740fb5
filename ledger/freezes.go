package ledger

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/invariant"
)

// FreezeStatus is what became of a freeze.
type FreezeStatus uint8

// The freeze statuses. The numbers are stored: never renumber.
const (
	FreezeNone     FreezeStatus = 0 // a release, or no such freeze
	FreezeOpen     FreezeStatus = 1
	FreezeReleased FreezeStatus = 2
	FreezeExpired  FreezeStatus = 3
)

// freezeState is what the ledger keeps about a freeze beside its record.
type freezeState struct {
	status   FreezeStatus
	timer    uint32 // place in the timer queue plus one, zero for none
	account  uint32 // number of the account, for FreezeAccount
	next     uint32 // open freezes in order of application, plus one, zero at the end
	previous uint32
}

// freezeList is the two ends of the list of open freezes, each plus one.
type freezeList struct{ first, last, count uint32 }

// ApplyFreezes applies a batch of freezes and releases, in order, and appends one result for each
// to results. Timestamps, room and ownership are as for CreateTransfers. A freeze holds for every
// transfer of later batches; what is pending stays so and can be voided or expire, but not be
// posted. Unlike a transfer's, the id of a refused freeze is not spent: a stop that comes late is
// still wanted.
func (s *State) ApplyFreezes(
	batch []Freeze, timestamp clock.Instant, results []FreezeResult,
) []FreezeResult {
	first := s.begin(OperationFreezes, len(batch), timestamp)
	for i := range batch {
		results = append(results, s.applyFreeze(&batch[i], first+clock.Instant(i)))
	}
	s.end(timestamp)
	return results
}

// Freeze returns the freeze or release with the id, what became of it, and whether there is one.
func (s *State) Freeze(id ident.ID) (Freeze, FreezeStatus, bool) {
	i := s.findFreeze(id)
	if i == 0 {
		return Freeze{}, FreezeNone, false
	}
	return *s.freezes.at(i - 1), s.freezeStates.at(i - 1).status, true
}

// OpenFreezes appends to dst, in the order in which they were applied, the freezes that hold now,
// and returns it.
func (s *State) OpenFreezes(dst []Freeze) []Freeze {
	for i := s.openFreezes.first; i != 0; i = s.freezeStates.at(i - 1).next {
		dst = append(dst, *s.freezes.at(i - 1))
	}
	return dst
}

// OpenFreezesLen returns the number of freezes that hold now.
func (s *State) OpenFreezesLen() int { return int(s.openFreezes.count) }

// AccountFrozen returns the sides of the account that its own freezes stop now; freezes of its
// ledger or of codes are not in it.
func (s *State) AccountFrozen(id ident.ID) FreezeSides {
	var sides FreezeSides
	if i := s.findAccount(id); i != 0 {
		side := s.sides.at(i - 1)
		if side.frozenDebits > 0 {
			sides |= FreezeDebits
		}
		if side.frozenCredits > 0 {
			sides |= FreezeCredits
		}
	}
	return sides
}

// frozen returns the refusal of a transfer with the code between two accounts, TransferOK where
// nothing stops it.
func (s *State) frozen(found *lookups, code uint16) TransferResult {
	if s.openFreezes.count == 0 {
		return TransferOK
	}
	d := s.sides.at(found.debit - 1)
	sheet := &s.book.sheets[s.book.classes[d.class].sheet]
	switch {
	case d.frozenDebits > 0:
		return TransferDebitAccountFrozen
	case s.sides.at(found.credit-1).frozenCredits > 0:
		return TransferCreditAccountFrozen
	case len(s.codeFreezes) > 0 && s.codeFreezes[classKey{sheet.ledger, code}] > 0:
		return TransferCodeFrozen
	case sheet.frozen > 0:
		return TransferLedgerFrozen
	}
	return TransferOK
}

// applyFreeze is the straight column of checks for one freeze or release, in order of precedence.
func (s *State) applyFreeze(z *Freeze, timestamp clock.Instant) FreezeResult {
	switch {
	case z.Timestamp != 0:
		return FreezeTimestampMustBeZero
	case z.Reserved != 0:
		return FreezeReservedField
	case z.Flags&^FreezeRelease != 0:
		return FreezeReservedFlag
	case z.ID.IsZero():
		return FreezeIDMustNotBeZero
	case z.ID == ident.Max:
		return FreezeIDMustNotBeIntMax
	}
	if i := s.findFreeze(z.ID); i != 0 {
		return z.compare(s.freezes.at(i - 1))
	}
	if z.Actor.IsZero() {
		return FreezeActorMustNotBeZero
	}
	if z.Reason == 0 {
		return FreezeReasonMustNotBeZero
	}
	if z.Flags&FreezeRelease != 0 {
		return s.release(z, timestamp)
	}
	return s.freeze(z, timestamp)
}

// freeze goes on with the checks for a freeze.
func (s *State) freeze(z *Freeze, timestamp clock.Instant) FreezeResult {
	if result := z.checkFields(timestamp); result != FreezeOK {
		return result
	}
	var account uint32
	if z.Scope == FreezeAccount {
		if account = s.findAccount(z.AccountID); account == 0 {
			return FreezeAccountNotFound
		}
	}
	if s.openFreezesOf(z, account) >= OpenFreezesMax {
		return FreezeTooManyOpenFreezes
	}
	s.openFreeze(z, account, timestamp)
	return FreezeOK
}

// checkFields checks what can be told from the record and the time alone.
func (z *Freeze) checkFields(timestamp clock.Instant) FreezeResult {
	account, code := z.Scope == FreezeAccount, z.Scope == FreezeCode
	switch {
	case !z.FreezeID.IsZero():
		return FreezeFreezeIDMustBeZero
	case !z.SecondActor.IsZero():
		return FreezeSecondActorMustBeZero
	case !account && !code && z.Scope != FreezeLedger:
		return FreezeScopeNotKnown
	case !account && !z.AccountID.IsZero():
		return FreezeAccountIDMustBeZero
	case account && z.AccountID.IsZero():
		return FreezeAccountIDMustNotBeZero
	case account && z.AccountID == ident.Max:
		return FreezeAccountIDMustNotBeIntMax
	case z.ExpiresAt != 0 && z.ExpiresAt <= timestamp:
		return FreezeExpiresAtMustBeInTheFuture
	case z.ExpiresAt > TimestampMax:
		return FreezeExpiresAtOutOfRange
	case account && z.Ledger != 0:
		return FreezeLedgerMustBeZero
	case !account && z.Ledger == 0:
		return FreezeLedgerMustNotBeZero
	case !code && z.Code != 0:
		return FreezeCodeMustBeZero
	case code && z.Code == 0:
		return FreezeCodeMustNotBeZero
	case !account && z.Sides != 0:
		return FreezeSidesMustBeZero
	case account && z.Sides == 0:
		return FreezeSidesMustNotBeZero
	case z.Sides&^FreezeBoth != 0:
		return FreezeSidesNotKnown
	}
	return FreezeOK
}

// release goes on with the checks for a release.
func (s *State) release(z *Freeze, timestamp clock.Instant) FreezeResult {
	switch {
	case z.FreezeID.IsZero():
		return FreezeFreezeIDMustNotBeZero
	case z.FreezeID == ident.Max:
		return FreezeFreezeIDMustNotBeIntMax
	case z.FreezeID == z.ID:
		return FreezeFreezeIDMustBeDifferent
	case z.SecondActor.IsZero():
		return FreezeSecondActorMustNotBeZero
	case z.SecondActor == z.Actor:
		return FreezeActorsMustBeDifferent
	case z.Scope != 0:
		return FreezeScopeMustBeZero
	case !z.AccountID.IsZero():
		return FreezeAccountIDMustBeZero
	case z.ExpiresAt != 0:
		return FreezeExpiresAtMustBeZero
	case z.Ledger != 0:
		return FreezeLedgerMustBeZero
	case z.Code != 0:
		return FreezeCodeMustBeZero
	case z.Sides != 0:
		return FreezeSidesMustBeZero
	}
	i := s.findFreeze(z.FreezeID)
	if i == 0 {
		return FreezeFreezeNotFound
	}
	switch s.freezeStates.at(i - 1).status {
	case FreezeNone:
		return FreezeFreezeIsARelease
	case FreezeReleased:
		return FreezeFreezeAlreadyReleased
	case FreezeExpired:
		return FreezeFreezeAlreadyExpired
	}
	s.releaseFreeze(z, i-1, timestamp)
	return FreezeOK
}

// compare says how a freeze that is sent again differs from the one there is.
func (z *Freeze) compare(e *Freeze) FreezeResult {
	switch {
	case z.Flags != e.Flags:
		return FreezeExistsWithDifferentFlags
	case z.FreezeID != e.FreezeID:
		return FreezeExistsWithDifferentFreezeID
	case z.AccountID != e.AccountID:
		return FreezeExistsWithDifferentAccountID
	case z.Actor != e.Actor:
		return FreezeExistsWithDifferentActor
	case z.SecondActor != e.SecondActor:
		return FreezeExistsWithDifferentSecondActor
	case z.UserData128 != e.UserData128:
		return FreezeExistsWithDifferentUserData128
	case z.ExpiresAt != e.ExpiresAt:
		return FreezeExistsWithDifferentExpiresAt
	case z.Ledger != e.Ledger:
		return FreezeExistsWithDifferentLedger
	case z.Reason != e.Reason:
		return FreezeExistsWithDifferentReason
	case z.Code != e.Code:
		return FreezeExistsWithDifferentCode
	case z.Scope != e.Scope:
		return FreezeExistsWithDifferentScope
	case z.Sides != e.Sides:
		return FreezeExistsWithDifferentSides
	}
	return FreezeExists
}

// openFreezesOf returns the most open freezes on any of what z would stop.
func (s *State) openFreezesOf(z *Freeze, account uint32) uint32 {
	switch z.Scope {
	case FreezeAccount:
		side := s.sides.at(account - 1)
		most := uint32(0)
		if z.Sides&FreezeDebits != 0 {
			most = uint32(side.frozenDebits)
		}
		if z.Sides&FreezeCredits != 0 {
			most = max(most, uint32(side.frozenCredits))
		}
		return most
	case FreezeCode:
		return s.codeFreezes[classKey{z.Ledger, z.Code}]
	}
	return s.book.sheets[s.book.sheet(z.Ledger)].frozen
}

// addFreezeRecord puts a freeze or release where it can be found.
func (s *State) addFreezeRecord(z *Freeze, timestamp clock.Instant) uint32 {
	i, record := s.freezes.push()
	*record = *z
	record.Timestamp = timestamp
	_, state := s.freezeStates.push()
	*state = freezeState{}
	s.freezeIndex.add(s.freezeIndex.tag(z.ID), i+1)
	s.prints.freeze(record)
	return i
}

// openFreeze makes a freeze that has passed every check hold.
func (s *State) openFreeze(z *Freeze, account uint32, timestamp clock.Instant) {
	i := s.addFreezeRecord(z, timestamp)
	state := s.freezeStates.at(i)
	state.status, state.account, state.previous = FreezeOpen, account, s.openFreezes.last
	if s.openFreezes.last != 0 {
		s.freezeStates.at(s.openFreezes.last - 1).next = i + 1
	} else {
		s.openFreezes.first = i + 1
	}
	s.openFreezes.last = i + 1
	s.openFreezes.count++
	s.hold(i, +1)
	if z.ExpiresAt != 0 {
		s.timers.add(timer{expiresAt: z.ExpiresAt, timestamp: timestamp, index: i, freeze: true})
	}
	s.emit(EventFreezeApplied, i)
}

// releaseFreeze enters a release that has passed every check and ends the freeze.
func (s *State) releaseFreeze(z *Freeze, freeze uint32, timestamp clock.Instant) {
	i := s.addFreezeRecord(z, timestamp)
	s.endFreeze(freeze, FreezeReleased)
	s.emit(EventFreezeReleased, i)
}

// endFreeze lets go of what an open freeze holds.
func (s *State) endFreeze(i uint32, status FreezeStatus) {
	state := s.freezeStates.at(i)
	invariant.Check(state.status == FreezeOpen, "ledger: a freeze ends twice")
	if state.timer != 0 {
		s.timers.remove(state.timer - 1)
	}
	state.status = status
	if state.previous != 0 {
		s.freezeStates.at(state.previous - 1).next = state.next
	} else {
		s.openFreezes.first = state.next
	}
	if state.next != 0 {
		s.freezeStates.at(state.next - 1).previous = state.previous
	} else {
		s.openFreezes.last = state.previous
	}
	state.next, state.previous = 0, 0
	s.openFreezes.count--
	s.hold(i, -1)
}

// hold counts an open freeze, or with -1 one that ends, where transfers look.
func (s *State) hold(i uint32, step int) {
	z := s.freezes.at(i)
	switch z.Scope {
	case FreezeAccount:
		side := s.sides.at(s.freezeStates.at(i).account - 1)
		if z.Sides&FreezeDebits != 0 {
			side.frozenDebits += uint16(step)
		}
		if z.Sides&FreezeCredits != 0 {
			side.frozenCredits += uint16(step)
		}
	case FreezeCode:
		key := classKey{z.Ledger, z.Code}
		s.codeFreezes[key] += uint32(step)
		if s.codeFreezes[key] == 0 {
			delete(s.codeFreezes, key)
		}
	case FreezeLedger:
		s.book.sheets[s.book.sheet(z.Ledger)].frozen += uint32(step)
	}
}

// findFreeze returns the number of the freeze or release plus one, zero where there is none.
func (s *State) findFreeze(id ident.ID) uint32 {
	p := s.freezeIndex.probe(s.freezeIndex.tag(id))
	for {
		i := p.next()
		if i == 0 || s.freezes.at(i-1).ID == id {
			return i
		}
	}
}
