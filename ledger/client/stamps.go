package client

import "surety/base/clock"

// stamps gives imported records timestamps that the core admits: strictly increasing for accounts
// and for transfers, and none for both. Those of an export are so already, but for the void that
// stands for an expiry: an expiry bears the time of the batch in which it came, which is that of
// the batch's first record. What is in the way is moved on by a nanosecond.
type stamps struct {
	lastAccount, lastTransfer clock.Instant
	accounts                  map[clock.Instant]struct{} // given to accounts
	moved                     map[clock.Instant]struct{} // given to transfers that were not their own
}

func newStamps() stamps {
	return stamps{accounts: map[clock.Instant]struct{}{}, moved: map[clock.Instant]struct{}{}}
}

func (s *stamps) account(own clock.Instant) clock.Instant {
	at := max(own, s.lastAccount+1)
	for has(s.moved, at) {
		at++
	}
	s.lastAccount = at
	s.accounts[at] = struct{}{}
	return at
}

func (s *stamps) transfer(own clock.Instant) clock.Instant {
	at := max(own, s.lastTransfer+1)
	for has(s.accounts, at) {
		at++
	}
	s.lastTransfer = at
	if at != own {
		s.moved[at] = struct{}{}
	}
	return at
}

// expiry returns a timestamp for the void that stands for an expiry: just before the batch, where
// that is free.
func (s *stamps) expiry(own clock.Instant) clock.Instant {
	at := s.transfer(own - 1)
	s.moved[at] = struct{}{}
	return at
}

func has(set map[clock.Instant]struct{}, at clock.Instant) bool {
	_, found := set[at]
	return found
}
