package wallclock

import (
	"surety/base/clock"
	"surety/base/invariant"
)

// Lapse maps instants to business dates. In ordinary running a business day is a day; in a
// time-lapse run it is shorter, so that a year of repayments can be watched in minutes.
//
// The mapping is fixed when it is made. A node that starts again makes a new one from the business
// date it had reached, so that the date never goes back.
type Lapse struct {
	start  clock.Date
	origin clock.Instant
	day    clock.Duration
}

// NewLapse returns the mapping on which start begins at origin and each date lasts day, which must
// be positive.
func NewLapse(start clock.Date, origin clock.Instant, day clock.Duration) Lapse {
	invariant.Check(day > 0, "wallclock: a business day must have a length")
	return Lapse{start: start, origin: origin, day: day}
}

// Date returns the business date at now; before the origin it is the start.
func (l Lapse) Date(now clock.Instant) clock.Date {
	if now < l.origin {
		return l.start
	}
	return l.start.AddDays(int(now.Sub(l.origin) / l.day))
}

// Begins returns the instant at which a date begins; for a date up to the start it is the origin.
func (l Lapse) Begins(date clock.Date) clock.Instant {
	if date <= l.start {
		return l.origin
	}
	return l.origin.Add(l.day * clock.Duration(date.Sub(l.start)))
}
