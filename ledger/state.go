package ledger

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/invariant"
)

// State is the whole ledger in memory: a function of the batches applied to it and of nothing else.
// It is made by NewState or ReadSnapshot. One goroutine at a time may use it; only a Snapshot, once
// taken, may be written while batches go on.
type State struct {
	limits Limits
	now    clock.Instant // of the last batch

	accounts     slab[Account]
	sides        slab[accountSide] // beside accounts, same numbers
	accountIndex index

	transfers     slab[Transfer]
	links         slab[transferLink] // beside transfers, same numbers
	failed        slab[ident.ID]     // ids spent by transient refusals
	transferIndex index              // ids of transfers and, with failedBit, of failed
	groupIndex    index              // UserData128 -> the newest transfer that bears it

	freezes      slab[Freeze]
	freezeStates slab[freezeState] // beside freezes, same numbers
	freezeIndex  index
	openFreezes  freezeList
	codeFreezes  map[classKey]uint32 // open freezes of a code in a ledger; looked up, never ranged

	timers  timerQueue
	endings slab[ending]
	history slab[historyRow]
	events  slab[eventRef]
	book    book
	prints  fingerprint
	scratch *[blockSize]lookups
	warmed  uint64 // sum of what lookAhead read: keeps the reads from being compiled away
}

// accountSide is what the ledger keeps about an account beside its record.
type accountSide struct {
	debitHead     uint32 // newest transfer that debits it, plus one; zero for none
	creditHead    uint32 // newest transfer that credits it, plus one
	transfers     uint32 // how many transfers touch it
	historyHead   uint32 // newest balance kept, plus one
	class         uint32 // its class in the book
	frozenDebits  uint16 // open freezes that stop debits
	frozenCredits uint16
	created       AccountFlags // the flags it was created with
}

// transferLink is what the ledger keeps about a transfer beside its record: the transfers before it
// in the three lists it stands in, each plus one, zero at the end of a list.
type transferLink struct {
	debit   uint32 // before it on the debit account
	credit  uint32 // before it on the credit account
	group   uint32 // before it under the same UserData128
	pending uint32 // the status in the top three bits, the place in the timer queue below
}

const (
	statusShift = 29
	timerMask   = 1<<statusShift - 1
	failedBit   = 1 << 31
)

func (l *transferLink) status() PendingStatus { return PendingStatus(l.pending >> statusShift) }
func (l *transferLink) timer() uint32         { return l.pending & timerMask }

func (l *transferLink) setStatus(status PendingStatus) {
	l.pending = uint32(status)<<statusShift | l.timer()
}

func (l *transferLink) setTimer(place uint32) {
	invariant.Check(place <= timerMask, "ledger: timer queue is full")
	l.pending = l.pending&^timerMask | place
}

// NewState returns an empty ledger.
func NewState(limits Limits) *State {
	s := &State{
		limits:        limits.filled(),
		accountIndex:  newIndex(limits.Seed),
		transferIndex: newIndex(limits.Seed + 1),
		groupIndex:    newIndex(limits.Seed + 2),
		freezeIndex:   newIndex(limits.Seed + 3),
		codeFreezes:   map[classKey]uint32{},
		book:          newBook(),
		scratch:       new([blockSize]lookups),
	}
	s.timers.links, s.timers.freezes = &s.links, &s.freezeStates
	s.reserve()
	return s
}

func (s *State) reserve() {
	s.accounts.reserve(s.limits.ReserveAccounts)
	s.sides.reserve(s.limits.ReserveAccounts)
	s.accountIndex.reserve(s.limits.ReserveAccounts)
	s.transfers.reserve(s.limits.ReserveTransfers)
	s.links.reserve(s.limits.ReserveTransfers)
	s.transferIndex.reserve(s.limits.ReserveTransfers)
	s.events.reserve(s.limits.ReserveAccounts + s.limits.ReserveTransfers)
}

// Account returns the account with the id and whether there is one.
func (s *State) Account(id ident.ID) (Account, bool) {
	i := s.findAccount(id)
	if i == 0 {
		return Account{}, false
	}
	return *s.accounts.at(i - 1), true
}

// Transfer returns the transfer with the id, with the amount that moved, and whether there is one.
func (s *State) Transfer(id ident.ID) (Transfer, bool) {
	i := s.findTransfer(id)
	if i == 0 || i&failedBit != 0 {
		return Transfer{}, false
	}
	return *s.transfers.at(i - 1), true
}

// PendingStatus returns what became of the pending transfer with the id: PendingNone where the
// transfer was not pending or does not exist.
func (s *State) PendingStatus(id ident.ID) PendingStatus {
	i := s.findTransfer(id)
	if i == 0 || i&failedBit != 0 {
		return PendingNone
	}
	return s.links.at(i - 1).status()
}

// Failed reports whether the id was spent by a transient refusal: it can never become a transfer.
func (s *State) Failed(id ident.ID) bool { return s.findTransfer(id)&failedBit != 0 }

// AccountsLen returns the number of accounts.
func (s *State) AccountsLen() int { return s.accounts.count() }

// TransfersLen returns the number of transfers.
func (s *State) TransfersLen() int { return s.transfers.count() }

// FailedLen returns the number of ids spent by transient refusals.
func (s *State) FailedLen() int { return s.failed.count() }

// Accounts appends to dst, in the order of their creation, up to limit accounts after the first
// skip ones, and returns it. A limit of zero or above PageMax is PageMax. The answer is short only
// at the end.
func (s *State) Accounts(dst []Account, skip, limit int) []Account {
	for n := pageLimit(limit); n > 0 && skip >= 0 && skip < s.accounts.count(); n-- {
		dst = append(dst, *s.accounts.at(uint32(skip)))
		skip++
	}
	return dst
}

// findAccount returns the number of the account plus one, zero where there is none.
func (s *State) findAccount(id ident.ID) uint32 {
	p := s.accountIndex.probe(s.accountIndex.tag(id))
	return s.accountAt(&p, id)
}

func (s *State) accountAt(p *probe, id ident.ID) uint32 {
	for {
		i := p.next()
		if i == 0 || s.accounts.at(i-1).ID == id {
			return i
		}
	}
}

// findTransfer returns the number of the transfer plus one, that of the failed id plus one with
// failedBit, or zero where the id has never been used.
func (s *State) findTransfer(id ident.ID) uint32 {
	p := s.transferIndex.probe(s.transferIndex.tag(id))
	return s.transferAt(&p, id)
}

func (s *State) transferAt(p *probe, id ident.ID) uint32 {
	for {
		i := p.next()
		if i == 0 || s.idOf(i) == id {
			return i
		}
	}
}

func (s *State) idOf(reference uint32) ident.ID {
	if reference&failedBit != 0 {
		return *s.failed.at(reference&^failedBit - 1)
	}
	return s.transfers.at(reference - 1).ID
}

// poison spends an id: a transfer with it can never succeed later.
func (s *State) poison(id ident.ID) {
	i, place := s.failed.push()
	*place = id
	s.transferIndex.add(s.transferIndex.tag(id), (i+1)|failedBit)
	s.prints.fail(id)
}

// begin checks a batch's timestamp, lets what is due expire, and returns the timestamp of the first
// record.
func (s *State) begin(operation Operation, n int, timestamp clock.Instant) clock.Instant {
	invariant.Check(s.Room(operation, n) == nil, "ledger: batch applied without room for it")
	invariant.Check(timestamp <= TimestampMax, "ledger: batch timestamp is out of range")
	invariant.Check(timestamp >= s.NextTimestamp(0, n), "ledger: batch timestamp does not advance")
	first := timestamp - clock.Instant(max(n, 1)) + 1
	s.expire(timestamp, first)
	return first
}

// end closes a batch: what must hold between batches is checked, and time has passed.
func (s *State) end(timestamp clock.Instant) {
	s.book.checkTouched()
	s.now = timestamp
}
