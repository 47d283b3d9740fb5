package vm

import (
	"math/bits"

	"surety/base/clock"
	"surety/sys/wallclock"
)

// A translated guest reads the host's time stamp counter, and has no other clock: the microvm's
// timer is not described to it by ACPI, and it measures the counter against that timer's registers
// in a loop that a busy host disturbs. Then it has no clock at all and boots no further. So the host
// measures, and tells it.

// sighting is a reading of the counter with the time at which it was taken.
type sighting struct {
	ticks uint64
	at    clock.Instant
	blur  clock.Duration // how far off the time may be
}

// sight reads the counter a few times and keeps the reading that was disturbed least.
func sight(now wallclock.Clock) sighting {
	var best sighting
	for i := range paceReadings {
		before := now.Now()
		s := sighting{ticks: ticks()}
		s.blur = now.Now().Sub(before)
		s.at = before.Add(s.blur / 2)
		if i == 0 || s.blur < best.blur {
			best = s
		}
	}
	return best
}

// pace is how many thousand times a second the counter counts; zero when it does not.
func pace(now wallclock.Clock) uint64 {
	first := sight(now)
	<-now.NewTimer(paceTime).C()
	last := sight(now)
	lapse := last.at.Sub(first.at)
	if last.ticks <= first.ticks || lapse <= 0 {
		return 0
	}
	high, low := bits.Mul64(last.ticks-first.ticks, uint64(clock.Millisecond))
	if high >= uint64(lapse) {
		return 0 // no processor counts that fast
	}
	counted, _ := bits.Div64(high, low, uint64(lapse))
	return counted
}
