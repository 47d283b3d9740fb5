package replica

import (
	"surety/base/clock"
	"surety/ledger"
)

const (
	// QueueMax is how many requests wait for the writer before Busy: at a group of 2,000 small
	// requests for each sync, four syncs' worth.
	QueueMax = 8192

	// LookupMax bounds the ids of one lookup, as a batch is bounded.
	LookupMax = ledger.BatchMax

	// BatchesMax bounds the batches of one answer: each has its journal record read and hashed.
	BatchesMax = 1024

	// markEvery is how often the journal's floor is raised while there are commits. It is the time
	// in which a lost last write could pass for a torn one; see package journal.
	markEvery = clock.Second

	// SnapshotBytes is how much journal is written before the next snapshot, at least. Replaying
	// it takes about two seconds with full batches, less with small ones.
	SnapshotBytes = 256 << 20

	// inlineBytes is the largest group that the writer commits itself where nobody else waits,
	// sparing two hand-overs. Applying what comes meanwhile would take less time than they do.
	inlineBytes = 32 << 10

	// snapshotPiece is how much of a snapshot is written at a time.
	snapshotPiece = 1 << 20
)
