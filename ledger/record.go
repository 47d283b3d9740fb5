package ledger

import "surety/base/invariant"

// entry says where a transfer stands: the numbers of its accounts, and of the pending transfer that
// it settles plus one, zero where it settles none.
type entry struct {
	debit, credit uint32
	pending       uint32
	groupTag      uint32 // tag of its UserData128
}

// record makes transfer i, whose record is written and has passed every check, take effect. place
// is where its id goes in the index. unrecord is its inverse.
func (s *State) record(i uint32, e *entry, place *probe) {
	t := s.transfers.at(i)
	d, c := s.sides.at(e.debit), s.sides.at(e.credit)
	_, link := s.links.push()
	*link = transferLink{debit: d.debitHead, credit: c.creditHead}
	d.debitHead, c.creditHead = i+1, i+1
	d.transfers++
	c.transfers++
	s.transferIndex.insert(place, i+1)
	if !t.UserData128.IsZero() {
		link.group = s.joinGroup(t, e.groupTag, i+1)
	}
	m := s.movementOf(t, e)
	s.move(&m)
	s.setClosed(t, e, true)
	if e.pending != 0 {
		s.closePending(e.pending-1, t.settledStatus())
	} else if t.Flags&TransferPending != 0 {
		link.setStatus(PendingOpen)
		s.addTimer(i)
	}
	s.emit(EventTransferCreated, i)
	s.keepBalances(e, t.Timestamp)
	s.prints.transfer(t, s.accounts.at(e.debit), s.accounts.at(e.credit))
}

// unrecord takes transfer i, the last one, back.
func (s *State) unrecord(i uint32) {
	t, link := s.transfers.at(i), s.links.at(i)
	e := entry{debit: s.findAccount(t.DebitAccountID) - 1, credit: s.findAccount(t.CreditAccountID) - 1,
		groupTag: s.groupIndex.tag(t.UserData128)}
	if t.Flags&(TransferPostPending|TransferVoidPending) != 0 {
		e.pending = s.findTransfer(t.PendingID)
		s.links.at(e.pending - 1).setStatus(PendingOpen)
		s.addTimer(e.pending - 1)
	} else if place := link.timer(); place != 0 {
		s.timers.remove(place - 1)
	}
	s.setClosed(t, &e, false)
	m := s.movementOf(t, &e)
	s.reverse(&m)
	if !t.UserData128.IsZero() {
		s.leaveGroup(t, e.groupTag, i+1, link.group)
	}
	s.transferIndex.remove(s.transferIndex.tag(t.ID), i+1)
	d, c := s.sides.at(e.debit), s.sides.at(e.credit)
	d.debitHead, c.creditHead = link.debit, link.credit
	d.transfers--
	c.transfers--
	s.links.cut(i)
	s.transfers.cut(i)
}

// undoTransfers takes back the transfers of a broken chain, the newest first.
func (s *State) undoTransfers(link *chain) {
	for s.transfers.length > link.transfers {
		s.unrecord(s.transfers.length - 1)
	}
	s.cutHistory(link.history)
	s.events.cut(link.events)
	s.prints.events = link.prints.events
}

// movementOf returns what the recorded transfer t does to its accounts.
func (s *State) movementOf(t *Transfer, e *entry) movement {
	m := movement{debit: e.debit, credit: e.credit}
	switch {
	case t.Flags&TransferPending != 0:
		m.reserve = t.Amount
	case t.Flags&TransferPostPending != 0:
		m.release, m.post = s.transfers.at(e.pending-1).Amount, t.Amount
	case t.Flags&TransferVoidPending != 0:
		m.release = t.Amount
	default:
		m.post = t.Amount
	}
	return m
}

func (t *Transfer) settledStatus() PendingStatus {
	if t.Flags&TransferPostPending != 0 {
		return PendingPosted
	}
	return PendingVoided
}

// setClosed does what t, or the pending transfer that it voids, says about closing its accounts;
// with forward false it does the opposite, which takes it back.
func (s *State) setClosed(t *Transfer, e *entry, forward bool) {
	flags, closed := t.Flags, forward
	if flags&TransferVoidPending != 0 {
		flags, closed = s.transfers.at(e.pending-1).Flags, !forward
	}
	if flags&TransferClosingDebit != 0 {
		s.accounts.at(e.debit).setClosed(closed)
	}
	if flags&TransferClosingCredit != 0 {
		s.accounts.at(e.credit).setClosed(closed)
	}
}

func (a *Account) setClosed(closed bool) {
	if closed {
		a.Flags |= AccountClosed
	} else {
		a.Flags &^= AccountClosed
	}
}

// closePending gives pending transfer i its last status and drops its timer.
func (s *State) closePending(i uint32, status PendingStatus) {
	link := s.links.at(i)
	if place := link.timer(); place != 0 {
		s.timers.remove(place - 1)
	}
	link.setStatus(status)
}

// addTimer sets the timer of pending transfer i, where it has a timeout.
func (s *State) addTimer(i uint32) {
	t := s.transfers.at(i)
	if t.Timeout != 0 {
		s.timers.add(timer{expiresAt: t.Timestamp + t.timeout(), timestamp: t.Timestamp, index: i})
	}
}

// joinGroup makes the transfer the newest under its UserData128 and returns the one before it.
func (s *State) joinGroup(t *Transfer, tag, reference uint32) uint32 {
	p := s.groupIndex.probe(tag)
	for {
		newest := p.next()
		if newest == 0 {
			s.groupIndex.insert(&p, reference)
			return 0
		}
		if s.transfers.at(newest-1).UserData128 == t.UserData128 {
			p.replace(reference)
			return newest
		}
	}
}

// leaveGroup takes the newest transfer out and makes the one before it the newest again.
func (s *State) leaveGroup(t *Transfer, tag, reference, before uint32) {
	if before == 0 {
		s.groupIndex.remove(tag, reference)
		return
	}
	p := s.groupIndex.probe(tag)
	for {
		newest := p.next()
		invariant.Check(newest != 0, "ledger: newest transfer of a group is missing")
		if newest == reference {
			p.replace(before)
			return
		}
	}
}
