package trail

import (
	"time"

	"surety/sandbox/ring"
)

const (
	// SealRecords and SealEvery are how much, and how long, of a trail stands without a signature at
	// most. A signature costs 25 microseconds; one for each record would halve the rate.
	SealRecords = 4096
	SealEvery   = time.Second
	// SyncEvery is how much of a trail a power cut may take.
	SyncEvery = time.Second
	// SegmentBytes is the length after which a new file is begun: a file that can be copied, read and
	// checked in a second.
	SegmentBytes = 64 << 20
	// maxSegments bounds the files of a trail (64 TiB at the default length), so that a directory
	// that holds anything else is refused.
	maxSegments = 1 << 20
	// MaxSandbox is the longest id of a sandbox, in bytes.
	MaxSandbox = 64

	// maxPayload bounds an entry's payload; a frame of the ring is the longest.
	maxPayload = 64 << 10
	_          = uint(maxPayload - ring.MaxFrame)
	// reserveSlack is room for what a trail that ended for lack of room needs beside the ring's
	// content: the final record, its seal, and a segment's header.
	reserveSlack = 64 << 10
	// readBytes is how much of a segment is read at a time.
	readBytes = 1 << 20
	// idleWait is how long Drain sleeps where nothing is due; the ring wakes it.
	idleWait = time.Second
	// followEvery is how often a reader that follows a trail looks for more: below what a person
	// notices.
	followEvery = 50 * time.Millisecond
	// maxRereads is how often a follower reads a damaged entry again before it believes it: it may
	// have been half-written when first seen.
	maxRereads = 4
	// maxFaults bounds a report; a trail with more is damaged beyond listing.
	maxFaults = 100
	// maxKeyBytes bounds the key file.
	maxKeyBytes = 256
)
