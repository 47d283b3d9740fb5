package vm

import "time"

// A translated guest reads the host's time stamp counter, and has no other clock: the microvm's
// timer is not described to it by ACPI, and it measures the counter against that timer's registers
// in a loop that a busy host disturbs. Then it has no clock at all and boots no further. So the host
// measures, and tells it.

// sighting is a reading of the counter with the time at which it was taken.
type sighting struct {
	ticks uint64
	at    time.Time
	blur  time.Duration // how far off the time may be
}

// sight reads the counter a few times and keeps the reading that was disturbed least.
func sight() sighting {
	best := sighting{blur: time.Hour}
	for range paceReadings {
		before := time.Now()
		s := sighting{ticks: ticks()}
		s.blur = time.Since(before)
		s.at = before.Add(s.blur / 2)
		if s.blur < best.blur {
			best = s
		}
	}
	return best
}

// pace is how many thousand times a second the counter counts; zero when it does not.
func pace() uint64 {
	first := sight()
	<-time.After(paceTime)
	last := sight()
	lapse := last.at.Sub(first.at)
	if last.ticks <= first.ticks || lapse <= 0 {
		return 0
	}
	return uint64(float64(last.ticks-first.ticks) / lapse.Seconds() / 1000)
}
