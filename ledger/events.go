package ledger

import (
	"surety/base/clock"
	"surety/base/invariant"
)

// EventKind says what an event is about. The numbers are stored and sent: never renumber.
type EventKind uint8

// The kinds of event.
const (
	EventAccountCreated  EventKind = 1 // Account
	EventTransferCreated EventKind = 2 // Transfer
	EventPendingExpired  EventKind = 3 // Transfer: the pending one, whose time is over
	EventFreezeApplied   EventKind = 4 // Freeze
	EventFreezeReleased  EventKind = 5 // Freeze: the release; its FreezeID is what it ended
	EventFreezeExpired   EventKind = 6 // Freeze: the one whose time is over
)

// String returns the kind's name in snake case.
func (k EventKind) String() string {
	switch k {
	case EventAccountCreated:
		return "account_created"
	case EventTransferCreated:
		return "transfer_created"
	case EventPendingExpired:
		return "pending_expired"
	case EventFreezeApplied:
		return "freeze_applied"
	case EventFreezeReleased:
		return "freeze_released"
	case EventFreezeExpired:
		return "freeze_expired"
	}
	return "unknown"
}

// Event is one thing that happened, in the order in which it did. Together the events are all the
// ledger knows but the ids spent by refusals.
type Event struct {
	Seq uint64 // from 0, without gaps
	// Timestamp is that of the record. For what lapses it is that of the first record of the batch
	// that let it lapse, so timestamps may repeat; Seq never does. Imported records bring their own.
	Timestamp clock.Instant
	Kind      EventKind
	Account   Account  // for EventAccountCreated, as created: totals zero
	Transfer  Transfer // for EventTransferCreated and EventPendingExpired
	Freeze    Freeze   // for the freeze kinds
}

// eventRef is an event as it is kept: the kind in the top byte, below it the number of the account,
// transfer, freeze or ending.
type eventRef uint64

const eventKindShift = 56

func (r eventRef) kind() EventKind { return EventKind(r >> eventKindShift) }
func (r eventRef) index() uint32   { return uint32(r) }

// ending is the end of a pending transfer or a freeze by its own time.
type ending struct {
	timestamp clock.Instant
	index     uint32 // of the transfer or the freeze
}

func (s *State) emit(kind EventKind, index uint32) {
	_, place := s.events.push()
	*place = eventRef(kind)<<eventKindShift | eventRef(index)
}

// EventsLen returns the number of events, which is also the next one's Seq.
func (s *State) EventsLen() uint64 { return uint64(s.events.length) }

// Event returns the event with the number, which must be below EventsLen, or it panics.
func (s *State) Event(seq uint64) Event {
	invariant.Check(seq < s.EventsLen(), "ledger: event beyond the last one asked for")
	ref := *s.events.at(uint32(seq))
	e := Event{Seq: seq, Kind: ref.kind()}
	switch i := ref.index(); e.Kind {
	case EventAccountCreated:
		e.Account = asCreated(s.accounts.at(i), s.sides.at(i).created)
		e.Timestamp = e.Account.Timestamp
	case EventTransferCreated:
		e.Transfer = *s.transfers.at(i)
		e.Timestamp = e.Transfer.Timestamp
	case EventPendingExpired:
		e.Transfer = *s.transfers.at(s.endings.at(i).index)
		e.Timestamp = s.endings.at(i).timestamp
	case EventFreezeApplied, EventFreezeReleased:
		e.Freeze = *s.freezes.at(i)
		e.Timestamp = e.Freeze.Timestamp
	case EventFreezeExpired:
		e.Freeze = *s.freezes.at(s.endings.at(i).index)
		e.Timestamp = s.endings.at(i).timestamp
	}
	return e
}

// asCreated returns the fields of an account that never change, and so may be read while batches
// are applied.
func asCreated(a *Account, created AccountFlags) Account {
	return Account{
		ID:          a.ID,
		UserData128: a.UserData128,
		UserData64:  a.UserData64,
		UserData32:  a.UserData32,
		Ledger:      a.Ledger,
		Code:        a.Code,
		Flags:       created,
		Timestamp:   a.Timestamp,
	}
}
