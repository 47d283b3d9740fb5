package ledger

import "surety/base/clock"

// Pulse lets what is due by timestamp expire, up to ExpireMax, without any other work, and returns
// how many did. Timestamps are as for a batch of one. Where it returns ExpireMax there may be more.
func (s *State) Pulse(timestamp clock.Instant) int {
	before := s.endings.length
	s.begin(OperationPulse, 0, timestamp)
	s.end(timestamp)
	return int(s.endings.length - before)
}

// PulseDue returns the instant at which the next pending transfer or freeze expires, zero where
// none ever does.
func (s *State) PulseDue() clock.Instant {
	if next := s.timers.first(); next != nil {
		return next.expiresAt
	}
	return 0
}

// expire ends what is due by the timestamp of a batch, ordered by when it was due and then by age,
// before the batch does anything else. at is the timestamp of the batch's first record.
func (s *State) expire(timestamp, at clock.Instant) {
	for n := 0; n < ExpireMax; n++ {
		next := s.timers.first()
		if next == nil || next.expiresAt > timestamp {
			return
		}
		if next.freeze {
			s.lapseFreeze(next.index, at)
		} else {
			s.lapsePending(next.index, at)
		}
	}
}

// lapseFreeze ends freeze i because its time is over.
func (s *State) lapseFreeze(i uint32, at clock.Instant) {
	s.endFreeze(i, FreezeExpired)
	s.prints.ending(at, s.freezes.at(i).ID)
	s.emit(EventFreezeExpired, s.addEnding(i, at))
}

// lapsePending releases what pending transfer i reserved because its time is over. A closing one
// opens its accounts again.
func (s *State) lapsePending(i uint32, at clock.Instant) {
	t := s.transfers.at(i)
	e := entry{debit: s.findAccount(t.DebitAccountID) - 1, credit: s.findAccount(t.CreditAccountID) - 1}
	s.closePending(i, PendingExpired)
	s.move(&movement{debit: e.debit, credit: e.credit, release: t.Amount})
	s.setClosed(t, &e, false)
	s.prints.ending(at, t.ID)
	s.prints.balances(s.accounts.at(e.debit), s.accounts.at(e.credit))
	s.emit(EventPendingExpired, s.addEnding(i, at))
	s.keepBalances(&e, at)
}

func (s *State) addEnding(index uint32, at clock.Instant) uint32 {
	i, place := s.endings.push()
	*place = ending{timestamp: at, index: index}
	return i
}
