package engine

import "surety/base/clock"

const (
	// tickEvery is how often the loop looks at the clock: a tenth of the second within which an
	// alarm must be out.
	tickEvery = 50 * clock.Millisecond

	// flushAfter bounds how long a verdict waits to be made durable where no alarm hurries it; many
	// share one sync of the disk.
	flushAfter = 200 * clock.Millisecond

	// sleptAfter is the wait of the loop beyond which it counts as asleep: ten ticks, which a busy
	// machine reaches now and then, and half of the shortest deadline in use.
	sleptAfter = 10 * tickEvery
	// flushMax is how many verdicts are made durable without waiting for flushAfter. What one read
	// of a stream brings may exceed it; the store divides it.
	flushMax = 1000

	// aheadMax is how many events and postings may wait for their other side before the stream
	// that is ahead in time is paused.
	aheadMax = 1 << 16

	// sweepLag is how far behind the checker may be when it sweeps.
	sweepLag = 2 * clock.Second

	// sweepWait bounds how long a sweep waits for the ledger's answer. The loop stands still
	// meanwhile.
	sweepWait = clock.Second

	// sweepAccounts is how many stored balances one sweep compares: a million accounts take ten
	// minutes at one sweep a second.
	sweepAccounts = 2048

	// storeRetry is the pause before records are written again that could not be.
	storeRetry = 500 * clock.Millisecond

	// heartbeatEvery is how often the watermark is stored where there is nothing else to store.
	heartbeatEvery = 30 * clock.Second

	// queueMax is how many batches of a stream wait for the checker.
	queueMax = 2
)

// filled returns the configuration with its defaults.
func (c Config) filled() Config {
	for _, s := range [...]struct {
		at   *clock.Duration
		zero clock.Duration
	}{
		{&c.FreezeExpiry, clock.Day}, {&c.SweepEvery, clock.Second}, {&c.CanaryEvery, clock.Minute},
		{&c.FailClosedAfter, 5 * clock.Minute}, {&c.SnapshotEvery, 5 * clock.Minute},
	} {
		if *s.at <= 0 {
			*s.at = s.zero
		}
	}
	return c
}
