package probe

import (
	"surety/base/clock"
)

const (
	// spaceMissing is below what the first segments and the embedded stores take, in bytes.
	spaceMissing = 256 << 20

	// spaceWarn is what about a million loans take with their year of postings and proofs, in
	// bytes.
	spaceWarn = 20 << 30

	// syncRounds is how many syncs are measured: enough for a median, few enough for a second on
	// the slowest disk.
	syncRounds = 21

	// syncSlow is the sync time of a disk without a write cache that survives power loss.
	syncSlow = 5 * clock.Millisecond

	// filesWarn is the least limit on open files that leaves room for a thousand callers.
	filesWarn = 4096

	// memoryWarn is what a node takes after 100,000 loans, with room for its page cache.
	memoryWarn = 1 << 30

	// timeError is adjtimex's answer for a clock that nothing keeps in step (TIME_ERROR).
	timeError = 5

	// probeFile is the file that the disk probes write and remove.
	probeFile = ".surety-probe"
)
