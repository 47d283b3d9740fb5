package ledger

import (
	"sort"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

const transferFlagsKnown = TransferLinked | TransferPending | TransferPostPending |
	TransferVoidPending | TransferBalancingDebit | TransferBalancingCredit |
	TransferClosingDebit | TransferClosingCredit | TransferImported

// CreateTransfers applies a batch of transfers, in order, and appends one result for each to
// results. The last record gets timestamp, each one before it one nanosecond less; timestamp must
// be NextTimestamp(timestamp, len(batch)) and there must be Room, or it panics. An empty batch only
// expires what is due. The batch is not changed or kept; nothing is allocated but room for growth.
func (s *State) CreateTransfers(
	batch []Transfer, timestamp clock.Instant, results []TransferResult,
) []TransferResult {
	at := event{first: s.begin(OperationCreateTransfers, len(batch), timestamp)}
	if len(batch) > 0 {
		at.imported = batch[0].Flags & TransferImported
	}
	base := len(results)
	var link chain
	for i := range batch {
		if i%blockSize == 0 {
			s.lookAhead(batch[i:min(i+blockSize, len(batch))])
		}
		t := &batch[i]
		at.now, at.found = at.first+clock.Instant(i), &s.scratch[i%blockSize]
		linked := t.Flags&TransferLinked != 0
		if linked && !link.open {
			link = s.startChain(i)
		}
		result := TransferLinkedEventFailed
		switch {
		case linked && i == len(batch)-1:
			result = TransferLinkedEventChainOpen
		case !link.broken:
			result = s.createTransfer(t, &at)
		}
		if result != TransferOK {
			if link.open && !link.broken {
				link.broken = true
				s.undoTransfers(&link)
				for j := link.first; j < i; j++ {
					results[base+j] = TransferLinkedEventFailed
				}
			}
			if result.Transient() {
				s.poison(t.ID)
			}
		}
		results = append(results, result)
		if !linked || i == len(batch)-1 {
			link.open, link.broken = false, false
		}
	}
	s.end(timestamp)
	return results
}

// event is where one record of a batch stands.
type event struct {
	first     clock.Instant // timestamp of the batch's first record
	now       clock.Instant // when this record is applied
	timestamp clock.Instant // of this record: now, or its own past one where it is imported
	imported  TransferFlags // what the batch's first record says
	found     *lookups
	id        probe // where the id goes
}

// createTransfer is the straight column of checks for one transfer, in order of precedence.
func (s *State) createTransfer(t *Transfer, at *event) TransferResult {
	if t.Flags&TransferImported != at.imported {
		if at.imported != 0 {
			return TransferImportedEventExpected
		}
		return TransferImportedEventNotExpected
	}
	at.timestamp = at.now
	if at.imported != 0 {
		if t.Timestamp == 0 || t.Timestamp > TimestampMax {
			return TransferImportedEventTimestampOutOfRange
		}
		if t.Timestamp >= at.first {
			return TransferImportedEventTimestampMustNotAdvance
		}
		at.timestamp = t.Timestamp
	} else if t.Timestamp != 0 {
		return TransferTimestampMustBeZero
	}
	if t.Flags&^transferFlagsKnown != 0 {
		return TransferReservedFlag
	}
	if t.ID.IsZero() {
		return TransferIDMustNotBeZero
	}
	if t.ID == ident.Max {
		return TransferIDMustNotBeIntMax
	}
	at.id = s.transferIndex.probe(at.found.idTag)
	if i := s.transferAt(&at.id, t.ID); i != 0 {
		if i&failedBit != 0 {
			return TransferIDAlreadyFailed
		}
		return s.compare(t, s.transfers.at(i-1))
	}
	if t.Flags&(TransferPostPending|TransferVoidPending) != 0 {
		return s.settle(t, at)
	}
	return s.transfer(t, at)
}

// transfer goes on with the checks for a transfer that is neither a post nor a void.
func (s *State) transfer(t *Transfer, at *event) TransferResult {
	if result := t.checkFields(); result != TransferOK {
		return result
	}
	if at.found.debit == 0 {
		return TransferDebitAccountNotFound
	}
	if at.found.credit == 0 {
		return TransferCreditAccountNotFound
	}
	d, c := s.accounts.at(at.found.debit-1), s.accounts.at(at.found.credit-1)
	if d.Ledger != c.Ledger {
		return TransferAccountsMustHaveTheSameLedger
	}
	if t.Ledger != d.Ledger {
		return TransferMustHaveTheSameLedgerAsAccounts
	}
	if at.imported != 0 {
		if s.regresses(at.timestamp) {
			return TransferImportedEventTimestampMustNotRegress
		}
		if at.timestamp <= d.Timestamp {
			return TransferImportedEventTimestampMustPostdateDebitAccount
		}
		if at.timestamp <= c.Timestamp {
			return TransferImportedEventTimestampMustPostdateCreditAccount
		}
		if t.Timeout != 0 {
			return TransferImportedEventTimeoutMustBeZero
		}
	}
	if d.Flags&AccountClosed != 0 {
		return TransferDebitAccountAlreadyClosed
	}
	if c.Flags&AccountClosed != 0 {
		return TransferCreditAccountAlreadyClosed
	}
	if result := s.frozen(at.found, t.Code); result != TransferOK {
		return result
	}
	amount := t.Amount
	if t.Flags&TransferBalancingDebit != 0 {
		amount = money.Least(amount, left(d.CreditsPosted, d.DebitsPosted, d.DebitsPending))
	}
	if t.Flags&TransferBalancingCredit != 0 {
		amount = money.Least(amount, left(c.DebitsPosted, c.CreditsPosted, c.CreditsPending))
	}
	if result := checkOverflows(t, d, c, amount, at.timestamp); result != TransferOK {
		return result
	}
	if d.debitsExceedCredits(amount) {
		return TransferExceedsCredits
	}
	if c.creditsExceedDebits(amount) {
		return TransferExceedsDebits
	}
	i, record := s.transfers.push()
	*record = *t
	record.Amount = amount
	record.Timestamp = at.timestamp
	s.record(i, &entry{debit: at.found.debit - 1, credit: at.found.credit - 1,
		groupTag: at.found.groupTag}, &at.id)
	return TransferOK
}

// checkFields checks what can be told from the record alone.
func (t *Transfer) checkFields() TransferResult {
	switch {
	case t.DebitAccountID.IsZero():
		return TransferDebitAccountIDMustNotBeZero
	case t.DebitAccountID == ident.Max:
		return TransferDebitAccountIDMustNotBeIntMax
	case t.CreditAccountID.IsZero():
		return TransferCreditAccountIDMustNotBeZero
	case t.CreditAccountID == ident.Max:
		return TransferCreditAccountIDMustNotBeIntMax
	case t.DebitAccountID == t.CreditAccountID:
		return TransferAccountsMustBeDifferent
	case !t.PendingID.IsZero():
		return TransferPendingIDMustBeZero
	case t.Flags&TransferPending == 0 && t.Timeout != 0:
		return TransferTimeoutReservedForPendingTransfer
	case t.Flags&TransferPending == 0 && t.Flags&(TransferClosingDebit|TransferClosingCredit) != 0:
		return TransferClosingTransferMustBePending
	case t.Ledger == 0:
		return TransferLedgerMustNotBeZero
	case t.Code == 0:
		return TransferCodeMustNotBeZero
	}
	return TransferOK
}

// checkOverflows checks that no total, and no pending and posted total together, leaves 128 bits,
// and that the transfer expires within the range of timestamps.
func checkOverflows(
	t *Transfer, d, c *Account, amount money.Amount, timestamp clock.Instant,
) TransferResult {
	if t.Flags&TransferPending != 0 {
		if _, overflow := d.DebitsPending.Add(amount); overflow {
			return TransferOverflowsDebitsPending
		}
		if _, overflow := c.CreditsPending.Add(amount); overflow {
			return TransferOverflowsCreditsPending
		}
	}
	debits, overflow := d.DebitsPosted.Add(amount)
	if overflow {
		return TransferOverflowsDebitsPosted
	}
	credits, overflow := c.CreditsPosted.Add(amount)
	if overflow {
		return TransferOverflowsCreditsPosted
	}
	if _, overflow = debits.Add(d.DebitsPending); overflow {
		return TransferOverflowsDebits
	}
	if _, overflow = credits.Add(c.CreditsPending); overflow {
		return TransferOverflowsCredits
	}
	if t.Timeout != 0 && TimestampMax-timestamp < t.timeout() {
		return TransferOverflowsTimeout
	}
	return TransferOK
}

// left returns what limit leaves above posted and pending together, or zero.
func left(limit, posted, pending money.Amount) money.Amount {
	used, _ := posted.Add(pending) // accounts never let this overflow
	rest, below := limit.Sub(used)
	if below {
		return money.Amount{}
	}
	return rest
}

// timeout returns the timeout in nanoseconds.
func (t *Transfer) timeout() clock.Instant {
	return clock.Instant(t.Timeout) * clock.Instant(clock.Second)
}

// regresses reports whether an imported timestamp is not above that of every transfer so far, or is
// that of an account.
func (s *State) regresses(timestamp clock.Instant) bool {
	n := s.transfers.length
	if n > 0 && timestamp <= s.transfers.at(n-1).Timestamp {
		return true
	}
	return s.accountHasTimestamp(timestamp)
}

// transferFrom returns the number of the first transfer whose timestamp is not below the given one.
// Transfers are in order of it.
func (s *State) transferFrom(timestamp clock.Instant) uint32 {
	return uint32(sort.Search(s.transfers.count(), func(i int) bool {
		return s.transfers.at(uint32(i)).Timestamp >= timestamp
	}))
}

func (s *State) transferHasTimestamp(timestamp clock.Instant) bool {
	i := s.transferFrom(timestamp)
	return i < s.transfers.length && s.transfers.at(i).Timestamp == timestamp
}
