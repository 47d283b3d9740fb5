package guard

import "surety/base/clock"

const (
	// MinorMax bounds an amount in an event, in minor units: 2^56 of them leave room in 63 bits for
	// every sum the checker takes over one loan, and no loan on earth reaches it. A greater one is
	// a breach of class 3.5.
	MinorMax = 1 << 56

	// WindowMax bounds the entries of one stream that wait for an earlier one: an hour of
	// reordering at 50 entries a second, a minute at three thousand.
	WindowMax = 1 << 18

	// OpenMax bounds the events and postings that wait for their other side. The reader stops
	// before it, so that the checker falls behind, and money-out fails closed, rather than forget.
	OpenMax = 1 << 18

	// legsMax is the most postings of one event: a write-off has three, a repayment five.
	legsMax = 5

	// straysMax bounds the postings kept for an event not seen yet; more than legsMax means that a
	// leg was posted twice, and a few of them are enough to say so.
	straysMax = 8

	// textMax bounds a text taken from an event into a breach record.
	textMax = 120
)

// Limits are the times and counts that a deployment may set. Zero means the default.
type Limits struct {
	// PostingDeadline is how long after it saw an event the checker waits for its postings.
	// Default 5 s: the service posts at once, and the ledger answers within a second when it is
	// well; the rest covers a stall of the disk.
	PostingDeadline clock.Duration
	// OrphanGrace is how long after it saw a posting the checker waits for its event. Events are
	// durable before money moves, so the default of 1 s only covers a reader of a replica.
	OrphanGrace clock.Duration
	// HoldGrace is how long after its timeout a reservation may be open. Default 60 s.
	HoldGrace clock.Duration
	// HoldMax is the age at which a reservation without a timeout counts as lost. Default one day.
	HoldMax clock.Duration
	// ClearingMax is how long a clearing account may differ from zero. Default 2 s: it is zero
	// again at the end of every chain.
	ClearingMax clock.Duration
	// GapMax is how long a stream may lack an entry while later ones are there. Default 120 s,
	// twice the reordering that delivery may add.
	GapMax clock.Duration
	// BackDays is how far an application's business date may lie before the latest seen, in days.
	// Default 3: two services that stamp at midnight, in a time-lapse run of a second a day.
	BackDays int
	// MakeGoodDays is the same for payments. Default 35: standing orders of a day that the service
	// was down are dated on that day.
	MakeGoodDays int
	// DecisionDays is how long an approval may be used, in business days. Default 30.
	DecisionDays int
}

func (l Limits) filled() Limits {
	spans := [...]struct {
		at   *clock.Duration
		zero clock.Duration
	}{
		{&l.PostingDeadline, 5 * clock.Second}, {&l.OrphanGrace, clock.Second},
		{&l.HoldGrace, clock.Minute}, {&l.HoldMax, clock.Day},
		{&l.ClearingMax, 2 * clock.Second}, {&l.GapMax, 2 * clock.Minute},
	}
	for _, s := range spans {
		if *s.at == 0 {
			*s.at = s.zero
		}
	}
	if l.BackDays == 0 {
		l.BackDays = 3
	}
	if l.MakeGoodDays == 0 {
		l.MakeGoodDays = 35
	}
	if l.DecisionDays == 0 {
		l.DecisionDays = 30
	}
	return l
}
