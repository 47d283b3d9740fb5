package wallclock

import (
	"slices"
	"sync"

	"surety/base/clock"
)

// Manual is a clock that stands still until it is advanced: for tests and simulations.
type Manual struct {
	mu     sync.Mutex
	now    clock.Instant
	timers []*manualTimer
}

// NewManual returns a clock that stands at now.
func NewManual(now clock.Instant) *Manual { return &Manual{now: now} }

// Now returns where the clock stands.
func (m *Manual) Now() clock.Instant {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// NewTimer returns a timer that fires when Advance reaches it.
func (m *Manual) NewTimer(d clock.Duration) Timer {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &manualTimer{clock: m, due: m.now.Add(max(d, 0)), fired: make(chan clock.Instant, 1)}
	m.timers = append(m.timers, t)
	m.fire()
	return t
}

// Advance moves the clock by d and fires the timers that fall due, the earliest first. A clock is
// not moved back: a negative d is taken as zero.
func (m *Manual) Advance(d clock.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(max(d, 0))
	m.fire()
}

// Waiting returns the number of timers that have not fired: a test advances once it sees the
// waiter it expects.
func (m *Manual) Waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.timers)
}

// fire sends to the timers that are due; m.mu is held.
func (m *Manual) fire() {
	slices.SortStableFunc(m.timers, func(a, b *manualTimer) int {
		return int(max(-1, min(1, a.due.Sub(b.due))))
	})
	for len(m.timers) > 0 && m.timers[0].due <= m.now {
		m.timers[0].fired <- m.timers[0].due // the channel holds the one value a timer ever sends
		m.timers = m.timers[1:]
	}
}

type manualTimer struct {
	clock *Manual
	due   clock.Instant
	fired chan clock.Instant
}

func (t *manualTimer) C() <-chan clock.Instant { return t.fired }

func (t *manualTimer) Stop() {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.clock.timers = slices.DeleteFunc(t.clock.timers, func(other *manualTimer) bool {
		return other == t
	})
}
