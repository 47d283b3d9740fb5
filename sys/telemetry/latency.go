package telemetry

import (
	"math/bits"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"surety/base/clock"
)

// Latency measures how long something takes. Besides the histogram that Prometheus reads it keeps
// the counts of the last minute, so that the board can show quantiles with nothing but this
// process. A quantile is exact to one eighth of its value.
type Latency struct {
	histogram prometheus.Histogram
	clock     wallclockNow

	mu    sync.Mutex
	began clock.Instant // when the present slot began
	slot  int           // index of the present slot
	slots [slotCount]window
}

// wallclockNow is all that a latency needs of a clock.
type wallclockNow interface{ Now() clock.Instant }

// window counts measurements by bucket: eight for each power of two of nanoseconds.
type window struct {
	counts [bucketCount]uint32
}

const (
	slotCount    = 6                 // slots in the minute
	slotDuration = 10 * clock.Second // each
	bucketCount  = 8 * 44            // up to 2^44 ns, about five hours
)

// Quantile returns the q-th quantile (0 to 1) of the measurements of the last minute and their
// number; with none, both are zero. It is the upper bound of the bucket the quantile falls in.
func (l *Latency) Quantile(q float64) (value clock.Duration, count uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(l.clock.Now())
	var sums [bucketCount]uint64
	for s := range l.slots {
		for b, n := range l.slots[s].counts {
			sums[b] += uint64(n)
			count += uint64(n)
		}
	}
	if count == 0 {
		return 0, 0
	}
	rank := uint64(q * float64(count))
	rank = min(rank, count-1)
	for b, n := range sums {
		if rank < n {
			return boundOf(b), count
		}
		rank -= n
	}
	return boundOf(bucketCount - 1), count
}

// turn begins new slots until the present one holds now, and empties those it begins; l.mu is held.
func (l *Latency) turn(now clock.Instant) {
	passed := now.Sub(l.began) / slotDuration
	if passed <= 0 {
		return
	}
	for range min(passed, slotCount) {
		l.slot = (l.slot + 1) % slotCount
		l.slots[l.slot] = window{}
	}
	l.began = l.began.Add(passed * slotDuration)
}

// bucketOf returns the bucket of d: below 8 ns one each, above by the three bits after the first.
func bucketOf(d clock.Duration) int {
	n := uint64(d)
	if n < 8 {
		return int(n)
	}
	power := bits.Len64(n) - 1
	bucket := (power-2)*8 + int(n>>(power-3)&7)
	return min(bucket, bucketCount-1)
}

// boundOf returns the greatest duration of a bucket.
func boundOf(bucket int) clock.Duration {
	if bucket < 8 {
		return clock.Duration(bucket)
	}
	power := bucket/8 + 2
	step := uint64(1) << (power - 3)
	return clock.Duration(uint64(8+bucket%8)*step + step - 1)
}
