package tlog

import (
	"time"

	"surety/base/clock"
)

const (
	// MaxBatch bounds the records that are integrated at once: four entry bundles, so that the
	// dozen file syncs of an integration are shared by many, and what a crash leaves is small.
	MaxBatch = 1024

	// MaxBatchBytes bounds the records and payloads of a batch, since all of it is in memory.
	MaxBatchBytes = 4 << 20

	// MaxQueuedBytes bounds what waits for the next batch. Past it Append answers Busy.
	MaxQueuedBytes = 16 << 20

	// MaxSources bounds the streams a log takes records from: their positions are in memory.
	MaxSources = 4096

	// MaxLookup bounds the records one Lookup returns: about 2 MB.
	MaxLookup = 10_000

	// DefaultBatchAge is how long the log waits for company for the first record of a batch. It
	// is added to the answer of every Append, and sets the number of integrations a second.
	DefaultBatchAge = 50 * clock.Millisecond

	// DefaultCheckpointInterval is how often a checkpoint is signed while the log grows.
	DefaultCheckpointInterval = clock.Second

	// sweepInterval is how often partial tiles that full ones have replaced are removed; tessera
	// removes those of a hundred bundles at once, which keeps up with 5,000 records a second.
	sweepInterval = 5 * time.Second

	// closeTimeout bounds the wait for the last checkpoint: one interval and the time to sign.
	closeTimeout = 10 * time.Second

	// checkpointPoll is how often a caller who waits for a checkpoint looks for it.
	checkpointPoll = 20 * time.Millisecond

	// maxKeyBytes and maxBundleBytes bound files before they are read: a key is one line, an entry
	// bundle 256 entries of at most 64 KiB.
	maxKeyBytes    = 4096
	maxBundleBytes = 256 * (2 + 1<<16)

	// The page caches. The index is read and written at random places and gets most; payloads are
	// appended.
	indexCacheBytes   = 8 << 20
	payloadCacheBytes = 2 << 20
	readers           = 2
)
