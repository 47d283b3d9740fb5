package ledger

import (
	"surety/base/ident"
	"surety/base/money"
)

// settle goes on with the checks for a post or a void of a pending transfer.
func (s *State) settle(t *Transfer, at *event) TransferResult {
	if result := t.checkSettleFields(); result != TransferOK {
		return result
	}
	pending := s.findTransfer(t.PendingID)
	if pending == 0 || pending&failedBit != 0 {
		return TransferPendingTransferNotFound
	}
	p, link := s.transfers.at(pending-1), s.links.at(pending-1)
	if result := t.checkAgainst(p); result != TransferOK {
		return result
	}
	amount := t.settles(p)
	if p.Amount.Less(amount) {
		return TransferExceedsPendingTransferAmount
	}
	void := t.Flags&TransferVoidPending != 0
	if void && amount.Less(p.Amount) {
		return TransferPendingTransferHasDifferentAmount
	}
	switch link.status() {
	case PendingPosted:
		return TransferPendingTransferAlreadyPosted
	case PendingVoided:
		return TransferPendingTransferAlreadyVoided
	case PendingExpired:
		return TransferPendingTransferExpired
	}
	if p.Timeout != 0 && p.Timestamp+p.timeout() <= at.now {
		return TransferPendingTransferExpired // due, but ExpireMax others came first
	}
	if at.imported != 0 && s.regresses(at.timestamp) {
		return TransferImportedEventTimestampMustNotRegress
	}
	found := lookups{debit: s.findAccount(p.DebitAccountID), credit: s.findAccount(p.CreditAccountID)}
	if !void {
		if s.accounts.at(found.debit-1).Flags&AccountClosed != 0 {
			return TransferDebitAccountAlreadyClosed
		}
		if s.accounts.at(found.credit-1).Flags&AccountClosed != 0 {
			return TransferCreditAccountAlreadyClosed
		}
		if result := s.frozen(&found, p.Code); result != TransferOK {
			return result
		}
	}
	i, record := s.transfers.push()
	*record = *t
	record.inherit(p)
	record.Amount = amount
	record.Timestamp = at.timestamp
	s.record(i, &entry{debit: found.debit - 1, credit: found.credit - 1, pending: pending,
		groupTag: s.groupIndex.tag(record.UserData128)}, &at.id)
	return TransferOK
}

// checkSettleFields checks what can be told from the record alone.
func (t *Transfer) checkSettleFields() TransferResult {
	const settles = TransferPostPending | TransferVoidPending
	const others = TransferPending | TransferBalancingDebit | TransferBalancingCredit |
		TransferClosingDebit | TransferClosingCredit
	switch {
	case t.Flags&settles == settles || t.Flags&others != 0:
		return TransferFlagsAreMutuallyExclusive
	case t.PendingID.IsZero():
		return TransferPendingIDMustNotBeZero
	case t.PendingID == ident.Max:
		return TransferPendingIDMustNotBeIntMax
	case t.PendingID == t.ID:
		return TransferPendingIDMustBeDifferent
	case t.Timeout != 0:
		return TransferTimeoutReservedForPendingTransfer
	}
	return TransferOK
}

// checkAgainst checks that p is pending and that what t repeats of it is right.
func (t *Transfer) checkAgainst(p *Transfer) TransferResult {
	switch {
	case p.Flags&TransferPending == 0:
		return TransferPendingTransferNotPending
	case !t.DebitAccountID.IsZero() && t.DebitAccountID != p.DebitAccountID:
		return TransferPendingTransferHasDifferentDebitAccountID
	case !t.CreditAccountID.IsZero() && t.CreditAccountID != p.CreditAccountID:
		return TransferPendingTransferHasDifferentCreditAccountID
	case t.Ledger != 0 && t.Ledger != p.Ledger:
		return TransferPendingTransferHasDifferentLedger
	case t.Code != 0 && t.Code != p.Code:
		return TransferPendingTransferHasDifferentCode
	}
	return TransferOK
}

// settles returns the amount that t asks for of p: all of it where it is left out, which is zero in
// a void and the maximum in a post.
func (t *Transfer) settles(p *Transfer) money.Amount {
	if t.Flags&TransferVoidPending != 0 {
		if t.Amount.IsZero() {
			return p.Amount
		}
		return t.Amount
	}
	if t.Amount == money.Max {
		return p.Amount
	}
	return t.Amount
}

// inherit fills in what a post or void leaves out from the pending transfer.
func (t *Transfer) inherit(p *Transfer) {
	t.DebitAccountID, t.CreditAccountID = p.DebitAccountID, p.CreditAccountID
	t.Ledger, t.Code = p.Ledger, p.Code
	if t.UserData128.IsZero() {
		t.UserData128 = p.UserData128
	}
	if t.UserData64 == 0 {
		t.UserData64 = p.UserData64
	}
	if t.UserData32 == 0 {
		t.UserData32 = p.UserData32
	}
}

// compare says how a transfer that is sent again differs from the one there is. The flags come
// first, since they decide what the other fields mean.
func (s *State) compare(t, e *Transfer) TransferResult {
	switch {
	case t.Flags != e.Flags:
		return TransferExistsWithDifferentFlags
	case t.PendingID != e.PendingID:
		return TransferExistsWithDifferentPendingID
	case t.Timeout != e.Timeout:
		return TransferExistsWithDifferentTimeout
	}
	want := *t
	if t.Flags&(TransferPostPending|TransferVoidPending) != 0 {
		p := s.transfers.at(s.findTransfer(e.PendingID) - 1)
		want.Amount = t.settles(p)
		want.keepGiven(t, p)
	} else if t.Flags&(TransferBalancingDebit|TransferBalancingCredit) != 0 {
		// The amount was an upper bound: any that allows what moved asks for the same.
		if !t.Amount.Less(e.Amount) {
			want.Amount = e.Amount
		}
	}
	return want.compareRest(e)
}

// keepGiven fills in what t leaves out, as inherit does, but keeps what it gives, right or wrong.
func (t *Transfer) keepGiven(given, p *Transfer) {
	t.inherit(p)
	if !given.DebitAccountID.IsZero() {
		t.DebitAccountID = given.DebitAccountID
	}
	if !given.CreditAccountID.IsZero() {
		t.CreditAccountID = given.CreditAccountID
	}
	if given.Ledger != 0 {
		t.Ledger = given.Ledger
	}
	if given.Code != 0 {
		t.Code = given.Code
	}
}

func (t *Transfer) compareRest(e *Transfer) TransferResult {
	switch {
	case t.DebitAccountID != e.DebitAccountID:
		return TransferExistsWithDifferentDebitAccountID
	case t.CreditAccountID != e.CreditAccountID:
		return TransferExistsWithDifferentCreditAccountID
	case t.Amount != e.Amount:
		return TransferExistsWithDifferentAmount
	case t.UserData128 != e.UserData128:
		return TransferExistsWithDifferentUserData128
	case t.UserData64 != e.UserData64:
		return TransferExistsWithDifferentUserData64
	case t.UserData32 != e.UserData32:
		return TransferExistsWithDifferentUserData32
	case t.Ledger != e.Ledger:
		return TransferExistsWithDifferentLedger
	case t.Code != e.Code:
		return TransferExistsWithDifferentCode
	}
	return TransferExists
}
