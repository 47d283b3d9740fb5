package ledger

import "surety/base/ident"

// blockSize is how many transfers are looked up before they are applied. Their lookups do not
// depend on one another, so that the processor overlaps the cache misses; a block this small still
// has its lines in the nearest caches when it is applied.
const blockSize = 256

// lookups is what a transfer's ids lead to. The accounts are final, since a batch of transfers
// creates none; a pending transfer is not, since the same block may create it.
type lookups struct {
	debit      uint32 // number of the account plus one, zero where there is none
	credit     uint32
	idTag      uint32 // tag of the transfer's id
	groupTag   uint32 // tag of its UserData128
	pendingTag uint32 // tag of the id of the pending transfer it settles
}

const settling = TransferPostPending | TransferVoidPending

// lookAhead fills the scratch for a block of transfers and brings near what they will need, in
// three passes: the slots of the indexes, then the records they point at, and only then does it
// look whether those are the right ones. A pass waits for nothing it reads itself.
func (s *State) lookAhead(block []Transfer) {
	read := s.touchSlots(block)
	for i := range block {
		found := &s.scratch[i]
		if block[i].Flags&settling != 0 {
			read += s.touchPending(found.pendingTag)
			continue
		}
		found.debit = s.accountIndex.first(found.debit)
		found.credit = s.accountIndex.first(found.credit)
		read += s.touchAccount(found.debit) + s.touchAccount(found.credit)
	}
	for i := range block {
		t, found := &block[i], &s.scratch[i]
		if t.Flags&settling == 0 {
			found.debit = s.confirm(found.debit, t.DebitAccountID)
			found.credit = s.confirm(found.credit, t.CreditAccountID)
		}
	}
	s.warmed += read
}

func (s *State) touchSlots(block []Transfer) (read uint64) {
	for i := range block {
		t, found := &block[i], &s.scratch[i]
		found.idTag = s.transferIndex.tag(t.ID)
		found.groupTag = s.groupIndex.tag(t.UserData128)
		read += s.transferIndex.touch(found.idTag) + s.groupIndex.touch(found.groupTag)
		if t.Flags&settling != 0 {
			found.pendingTag = s.transferIndex.tag(t.PendingID)
			read += s.transferIndex.touch(found.pendingTag)
			continue
		}
		found.debit = s.accountIndex.tag(t.DebitAccountID)
		found.credit = s.accountIndex.tag(t.CreditAccountID)
		read += s.accountIndex.touch(found.debit) + s.accountIndex.touch(found.credit)
	}
	return read
}

func (s *State) touchPending(tag uint32) uint64 {
	i := s.transferIndex.first(tag)
	if i == 0 || i&failedBit != 0 {
		return 0
	}
	return uint64(s.transfers.at(i-1).Timestamp) + uint64(s.links.at(i-1).pending)
}

// touchAccount reads both halves of an account's record and its side.
func (s *State) touchAccount(reference uint32) uint64 {
	if reference == 0 {
		return 0
	}
	a := s.accounts.at(reference - 1)
	return a.ID.Lo + uint64(a.Timestamp) + uint64(s.sides.at(reference-1).class)
}

// confirm returns the number of the account with the id plus one, zero where there is none: the
// candidate where it is the one, and otherwise what a full search finds.
func (s *State) confirm(candidate uint32, id ident.ID) uint32 {
	if candidate == 0 || s.accounts.at(candidate-1).ID == id {
		return candidate
	}
	return s.findAccount(id)
}
