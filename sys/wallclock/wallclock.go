// Package wallclock is where time comes from: the machine, or a test's hand.
//
// Whoever needs the time takes a Clock. Code that waits does so on a Timer of the same clock, so
// that a test moves time instead of sleeping.
//
// # Invariants
//
// Now never goes backwards within a process, even where the machine's clock is set back: it is the
// time at start plus what the monotonic clock has counted since.
package wallclock

import (
	"time"

	"surety/base/clock"
)

// Clock tells the time and wakes its callers.
type Clock interface {
	// Now returns the present instant.
	Now() clock.Instant
	// NewTimer returns a timer that fires once, d from now; at once where d is not positive.
	NewTimer(d clock.Duration) Timer
}

// Timer fires once.
type Timer interface {
	// C receives the instant at which the timer fired.
	C() <-chan clock.Instant
	// Stop keeps the timer from firing; it may have fired already.
	Stop()
}

// System returns the machine's clock.
func System() Clock {
	start := time.Now()
	return &system{start: start, origin: clock.Instant(start.UnixNano())}
}

type system struct {
	start  time.Time // carries the monotonic reading
	origin clock.Instant
}

func (s *system) Now() clock.Instant { return s.origin.Add(clock.Duration(time.Since(s.start))) }

func (s *system) NewTimer(d clock.Duration) Timer {
	t := &systemTimer{fired: make(chan clock.Instant, 1)}
	t.timer = time.AfterFunc(time.Duration(max(d, 0)), func() { t.fired <- s.Now() })
	return t
}

type systemTimer struct {
	timer *time.Timer
	fired chan clock.Instant
}

func (t *systemTimer) C() <-chan clock.Instant { return t.fired }
func (t *systemTimer) Stop()                   { t.timer.Stop() }
