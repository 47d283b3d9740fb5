package ledger

import (
	"math/big"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

func (w *twin) createTransfers(batch []Transfer, timestamp clock.Instant) []TransferResult {
	first := w.begin(len(batch), timestamp)
	raw := w.batch(len(batch), func(i int) bool { return batch[i].Flags&TransferLinked != 0 },
		func(i int) uint16 {
			x := &twinApply{w: w, t: batch[i], first: first, now: first + clock.Instant(i),
				batchImported: batch[0].Flags&TransferImported != 0}
			result := x.apply()
			if result.Transient() && w.bug != "no id is spent" &&
				!(w.bug == "a frozen id is not spent" && result >= 100) {
				w.failed[batch[i].ID] = true
			}
			return uint16(result)
		})
	w.now = timestamp
	return convert[TransferResult](raw)
}

// twinApply is one transfer being judged.
type twinApply struct {
	w             *twin
	t             Transfer
	first, now    clock.Instant
	batchImported bool

	when   clock.Instant
	p      twinTransfer // the pending transfer, for a post or void
	foundP bool
	d, c   twinAccount
	foundD bool
	foundC bool
	amount *big.Int
}

func (x *twinApply) has(f TransferFlags) bool { return x.t.Flags&f != 0 }

func (x *twinApply) apply() TransferResult {
	w, t := x.w, &x.t
	x.when = x.now
	if x.has(TransferImported) {
		x.when = t.Timestamp
	}
	e, exists := w.transfers[t.ID]
	result := firstOf(w.bug, "transfer", []rule[TransferResult]{
		{TransferImportedEventExpected, func() bool { return x.batchImported && !x.has(TransferImported) }},
		{TransferImportedEventNotExpected, func() bool { return !x.batchImported && x.has(TransferImported) }},
		{TransferTimestampMustBeZero, func() bool { return !x.has(TransferImported) && t.Timestamp != 0 }},
		{TransferImportedEventTimestampOutOfRange, func() bool {
			return x.has(TransferImported) && (t.Timestamp == 0 || t.Timestamp > 1<<63-1)
		}},
		{TransferImportedEventTimestampMustNotAdvance, func() bool {
			return x.has(TransferImported) && t.Timestamp >= x.first
		}},
		{TransferReservedFlag, func() bool { return t.Flags >= 1<<9 }},
		{TransferIDMustNotBeZero, func() bool { return t.ID.IsZero() }},
		{TransferIDMustNotBeIntMax, func() bool { return t.ID == ident.Max }},
	})
	if result != TransferOK {
		return result
	}
	if exists {
		return x.compare(e.record)
	}
	if w.failed[t.ID] && w.bug != "forget transfer id_already_failed" {
		return TransferIDAlreadyFailed
	}
	if x.has(TransferPostPending) || x.has(TransferVoidPending) {
		return x.settle()
	}
	return x.plain()
}

func (x *twinApply) compare(e Transfer) TransferResult {
	t := x.t
	want := t // what the record would have become, where it asks for the same
	settles := x.has(TransferPostPending) || x.has(TransferVoidPending)
	sameAmount := t.Amount == e.Amount
	if settles {
		p := x.w.transfers[e.PendingID].record
		asked := t.Amount
		if x.has(TransferVoidPending) && asked.IsZero() || x.has(TransferPostPending) && asked == money.Max {
			asked = p.Amount
		}
		sameAmount = asked == e.Amount
		want.DebitAccountID = either(t.DebitAccountID, p.DebitAccountID)
		want.CreditAccountID = either(t.CreditAccountID, p.CreditAccountID)
		want.UserData128 = either(t.UserData128, p.UserData128)
		want.UserData64 = either(t.UserData64, p.UserData64)
		want.UserData32 = either(t.UserData32, p.UserData32)
		want.Ledger = either(t.Ledger, p.Ledger)
		want.Code = either(t.Code, p.Code)
	} else if x.has(TransferBalancingDebit) || x.has(TransferBalancingCredit) {
		sameAmount = t.Amount.Compare(e.Amount) >= 0
	}
	return firstOf(x.w.bug, "transfer", []rule[TransferResult]{
		{TransferExistsWithDifferentFlags, func() bool { return t.Flags != e.Flags }},
		{TransferExistsWithDifferentPendingID, func() bool { return t.PendingID != e.PendingID }},
		{TransferExistsWithDifferentTimeout, func() bool { return t.Timeout != e.Timeout }},
		{TransferExistsWithDifferentDebitAccountID, func() bool {
			return want.DebitAccountID != e.DebitAccountID
		}},
		{TransferExistsWithDifferentCreditAccountID, func() bool {
			return want.CreditAccountID != e.CreditAccountID
		}},
		{TransferExistsWithDifferentAmount, func() bool { return !sameAmount }},
		{TransferExistsWithDifferentUserData128, func() bool { return want.UserData128 != e.UserData128 }},
		{TransferExistsWithDifferentUserData64, func() bool { return want.UserData64 != e.UserData64 }},
		{TransferExistsWithDifferentUserData32, func() bool { return want.UserData32 != e.UserData32 }},
		{TransferExistsWithDifferentLedger, func() bool { return want.Ledger != e.Ledger }},
		{TransferExistsWithDifferentCode, func() bool { return want.Code != e.Code }},
		{TransferExists, func() bool { return true }},
	})
}

func either[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}

func (x *twinApply) plain() TransferResult {
	w, t := x.w, &x.t
	x.d, x.foundD = w.accounts[t.DebitAccountID]
	x.c, x.foundC = w.accounts[t.CreditAccountID]
	result := firstOf(w.bug, "transfer", []rule[TransferResult]{
		{TransferDebitAccountIDMustNotBeZero, func() bool { return t.DebitAccountID.IsZero() }},
		{TransferDebitAccountIDMustNotBeIntMax, func() bool { return t.DebitAccountID == ident.Max }},
		{TransferCreditAccountIDMustNotBeZero, func() bool { return t.CreditAccountID.IsZero() }},
		{TransferCreditAccountIDMustNotBeIntMax, func() bool { return t.CreditAccountID == ident.Max }},
		{TransferAccountsMustBeDifferent, func() bool { return t.DebitAccountID == t.CreditAccountID }},
		{TransferPendingIDMustBeZero, func() bool { return !t.PendingID.IsZero() }},
		{TransferTimeoutReservedForPendingTransfer, func() bool {
			return !x.has(TransferPending) && t.Timeout != 0
		}},
		{TransferClosingTransferMustBePending, func() bool {
			return !x.has(TransferPending) && (x.has(TransferClosingDebit) || x.has(TransferClosingCredit))
		}},
		{TransferLedgerMustNotBeZero, func() bool { return t.Ledger == 0 }},
		{TransferCodeMustNotBeZero, func() bool { return t.Code == 0 }},
		{TransferDebitAccountNotFound, func() bool { return !x.foundD }},
		{TransferCreditAccountNotFound, func() bool { return !x.foundC }},
	})
	if result == TransferOK && (!x.foundD || !x.foundC) {
		return 9999 // a planted bug forgot the check: the answer differs anyway
	}
	if result != TransferOK {
		return result
	}
	x.balance()
	result = firstOf(w.bug, "transfer", []rule[TransferResult]{
		{TransferAccountsMustHaveTheSameLedger, func() bool { return x.d.record.Ledger != x.c.record.Ledger }},
		{TransferMustHaveTheSameLedgerAsAccounts, func() bool { return t.Ledger != x.d.record.Ledger }},
		{TransferImportedEventTimestampMustNotRegress, func() bool {
			return x.has(TransferImported) && w.regress(t.Timestamp)
		}},
		{TransferImportedEventTimestampMustPostdateDebitAccount, func() bool {
			return x.has(TransferImported) && t.Timestamp <= x.d.record.Timestamp
		}},
		{TransferImportedEventTimestampMustPostdateCreditAccount, func() bool {
			return x.has(TransferImported) && t.Timestamp <= x.c.record.Timestamp
		}},
		{TransferImportedEventTimeoutMustBeZero, func() bool {
			return x.has(TransferImported) && t.Timeout != 0
		}},
		{TransferDebitAccountAlreadyClosed, func() bool { return x.d.closed }},
		{TransferCreditAccountAlreadyClosed, func() bool { return x.c.closed }},
		{TransferDebitAccountFrozen, func() bool { return w.stops(x.d.record.ID, FreezeDebits) }},
		{TransferCreditAccountFrozen, func() bool { return w.stops(x.c.record.ID, FreezeCredits) }},
		{TransferCodeFrozen, func() bool { return w.stopsCode(t.Ledger, t.Code) }},
		{TransferLedgerFrozen, func() bool { return w.stopsLedger(t.Ledger) }},
		{TransferOverflowsDebitsPending, func() bool {
			return x.has(TransferPending) && over(sum(x.d.debitsPending, x.amount))
		}},
		{TransferOverflowsCreditsPending, func() bool {
			return x.has(TransferPending) && over(sum(x.c.creditsPending, x.amount))
		}},
		{TransferOverflowsDebitsPosted, func() bool { return over(sum(x.d.debitsPosted, x.amount)) }},
		{TransferOverflowsCreditsPosted, func() bool { return over(sum(x.c.creditsPosted, x.amount)) }},
		{TransferOverflowsDebits, func() bool {
			return over(sum(x.d.debitsPosted, x.d.debitsPending, x.amount))
		}},
		{TransferOverflowsCredits, func() bool {
			return over(sum(x.c.creditsPosted, x.c.creditsPending, x.amount))
		}},
		{TransferOverflowsTimeout, func() bool { return expiryOf(withTime(*t, x.when)) > 1<<63-1 }},
		{TransferExceedsCredits, func() bool {
			return x.d.record.Flags&AccountDebitsMustNotExceedCredits != 0 &&
				x.d.debitsAfter(w.bug, x.amount).Cmp(x.d.creditsPosted) > 0
		}},
		{TransferExceedsDebits, func() bool {
			return x.c.record.Flags&AccountCreditsMustNotExceedDebits != 0 &&
				sum(x.c.creditsPosted, x.c.creditsPending, x.amount).Cmp(x.c.debitsPosted) > 0
		}},
	})
	if result == TransferOK {
		x.take()
	}
	return result
}

func (a *twinAccount) debitsAfter(bug string, amount *big.Int) *big.Int {
	if bug == "pending debits are not held against the limit" {
		return sum(a.debitsPosted, amount)
	}
	return sum(a.debitsPosted, a.debitsPending, amount)
}

func withTime(t Transfer, when clock.Instant) Transfer {
	t.Timestamp = when
	return t
}

// balance cuts the amount of a balancing transfer down to what there is.
func (x *twinApply) balance() {
	x.amount = x.t.Amount.Big()
	nothing := new(big.Int)
	if x.has(TransferBalancingDebit) {
		pending := x.d.debitsPending
		if x.w.bug == "balancing forgets what is pending" {
			pending = nothing
		}
		there := sum(x.d.creditsPosted, neg(x.d.debitsPosted), neg(pending))
		if there.Sign() < 0 {
			there = nothing
		}
		x.amount = least(x.amount, there)
	}
	if x.has(TransferBalancingCredit) && x.w.bug != "balancing credit is ignored" {
		there := sum(x.c.debitsPosted, neg(x.c.creditsPosted), neg(x.c.creditsPending))
		if there.Sign() < 0 {
			there = nothing
		}
		x.amount = least(x.amount, there)
	}
}

// take makes a plain or pending transfer take effect.
func (x *twinApply) take() {
	t := x.t
	t.Amount, t.Timestamp = amountOf(x.amount), x.when
	status := PendingNone
	if x.has(TransferPending) {
		status = PendingOpen
		x.d.debitsPending = sum(x.d.debitsPending, x.amount)
		x.c.creditsPending = sum(x.c.creditsPending, x.amount)
	} else {
		x.d.debitsPosted = sum(x.d.debitsPosted, x.amount)
		x.c.creditsPosted = sum(x.c.creditsPosted, x.amount)
	}
	x.d.closed = x.has(TransferClosingDebit)
	x.c.closed = x.has(TransferClosingCredit)
	x.w.add(t, status, x.d, x.c)
}

func (w *twin) add(t Transfer, status PendingStatus, d, c twinAccount) {
	w.transfers[t.ID] = twinTransfer{t, status}
	w.store(d, c)
	w.emit(Event{Timestamp: t.Timestamp, Kind: EventTransferCreated, Transfer: t})
	w.keep(t.Timestamp, d, c)
}

func (w *twin) regress(when clock.Instant) bool {
	for _, t := range w.transfers {
		if t.record.Timestamp >= when {
			return true
		}
	}
	for _, a := range w.accounts {
		if a.record.Timestamp == when {
			return true
		}
	}
	return false
}

func (x *twinApply) settle() TransferResult {
	w, t := x.w, &x.t
	const others = TransferPending | TransferBalancingDebit | TransferBalancingCredit |
		TransferClosingDebit | TransferClosingCredit
	x.p, x.foundP = w.transfers[t.PendingID]
	post := x.has(TransferPostPending)
	result := firstOf(w.bug, "transfer", []rule[TransferResult]{
		{TransferFlagsAreMutuallyExclusive, func() bool {
			return post && x.has(TransferVoidPending) || x.has(others)
		}},
		{TransferPendingIDMustNotBeZero, func() bool { return t.PendingID.IsZero() }},
		{TransferPendingIDMustNotBeIntMax, func() bool { return t.PendingID == ident.Max }},
		{TransferPendingIDMustBeDifferent, func() bool { return t.PendingID == t.ID }},
		{TransferTimeoutReservedForPendingTransfer, func() bool { return t.Timeout != 0 }},
		{TransferPendingTransferNotFound, func() bool { return !x.foundP }},
	})
	if result == TransferOK && !x.foundP {
		return 9999 // a planted bug forgot the check: the answer differs anyway
	}
	if result != TransferOK {
		return result
	}
	p := &x.p.record
	x.d, x.c = w.accounts[p.DebitAccountID], w.accounts[p.CreditAccountID]
	x.amount = t.Amount.Big()
	if post && t.Amount == money.Max || !post && t.Amount.IsZero() {
		x.amount = p.Amount.Big()
	}
	result = firstOf(w.bug, "transfer", []rule[TransferResult]{
		{TransferPendingTransferNotPending, func() bool { return p.Flags&TransferPending == 0 }},
		{TransferPendingTransferHasDifferentDebitAccountID, func() bool {
			return either(t.DebitAccountID, p.DebitAccountID) != p.DebitAccountID
		}},
		{TransferPendingTransferHasDifferentCreditAccountID, func() bool {
			return either(t.CreditAccountID, p.CreditAccountID) != p.CreditAccountID
		}},
		{TransferPendingTransferHasDifferentLedger, func() bool { return either(t.Ledger, p.Ledger) != p.Ledger }},
		{TransferPendingTransferHasDifferentCode, func() bool { return either(t.Code, p.Code) != p.Code }},
		{TransferExceedsPendingTransferAmount, func() bool { return x.amount.Cmp(p.Amount.Big()) > 0 }},
		{TransferPendingTransferHasDifferentAmount, func() bool {
			return !post && x.amount.Cmp(p.Amount.Big()) < 0
		}},
		{TransferPendingTransferAlreadyPosted, func() bool { return x.p.status == PendingPosted }},
		{TransferPendingTransferAlreadyVoided, func() bool { return x.p.status == PendingVoided }},
		{TransferPendingTransferExpired, func() bool { return x.p.status == PendingExpired }},
		{TransferImportedEventTimestampMustNotRegress, func() bool {
			return x.has(TransferImported) && w.regress(t.Timestamp)
		}},
		{TransferDebitAccountAlreadyClosed, func() bool { return post && x.d.closed }},
		{TransferCreditAccountAlreadyClosed, func() bool { return post && x.c.closed }},
		{TransferDebitAccountFrozen, func() bool {
			return (post || w.bug == "a freeze stops voids") && w.stops(p.DebitAccountID, FreezeDebits)
		}},
		{TransferCreditAccountFrozen, func() bool { return post && w.stops(p.CreditAccountID, FreezeCredits) }},
		{TransferCodeFrozen, func() bool { return post && w.stopsCode(p.Ledger, p.Code) }},
		{TransferLedgerFrozen, func() bool { return post && w.stopsLedger(p.Ledger) }},
	})
	if result == TransferOK {
		x.finish(post)
	}
	return result
}

// finish makes a post or void take effect.
func (x *twinApply) finish(post bool) {
	w, t, p := x.w, x.t, x.p.record
	t.DebitAccountID, t.CreditAccountID = p.DebitAccountID, p.CreditAccountID
	t.Ledger, t.Code, t.Amount, t.Timestamp = p.Ledger, p.Code, amountOf(x.amount), x.when
	t.UserData128 = either(t.UserData128, p.UserData128)
	t.UserData64 = either(t.UserData64, p.UserData64)
	t.UserData32 = either(t.UserData32, p.UserData32)
	released := p.Amount.Big()
	if w.bug == "a partial post keeps the rest reserved" {
		released = x.amount
	}
	x.d.debitsPending = sum(x.d.debitsPending, neg(released))
	x.c.creditsPending = sum(x.c.creditsPending, neg(released))
	x.p.status = PendingVoided
	if post {
		x.p.status = PendingPosted
		x.d.debitsPosted = sum(x.d.debitsPosted, x.amount)
		x.c.creditsPosted = sum(x.c.creditsPosted, x.amount)
	} else {
		w.reopen(&x.d, &x.c, p)
	}
	if w.bug != "a pending transfer can be settled twice" {
		w.transfers[p.ID] = x.p
	}
	w.add(t, PendingNone, x.d, x.c)
}
