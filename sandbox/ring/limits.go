package ring

import (
	"time"

	"surety/sandbox"
)

const (
	// MinSize and MaxSize bound the room for records, in bytes. A frame may be MaxFrame long, and
	// below four of them a writer would wait for every large record; above, the file would only
	// hide that the collector does not keep up.
	MinSize = 128 << 10
	MaxSize = 1 << 30
	// HeadBytes is the length of the chain head that follows each record.
	HeadBytes = len(sandbox.Digest{})
	// MaxFrame bounds a frame: a record and its head.
	MaxFrame = sandbox.MaxRecord + HeadBytes
	// MaxNames is how many addresses can have a name at once: what a program that resolves all day
	// has in use at a time, and what one look at the whole table can afford (microseconds).
	MaxNames = 1024
	// MaxName is the longest DNS name, in bytes (RFC 1035 section 3.1).
	MaxName = 253

	// batchBytes is how much one Next copies at most: large enough that a batch costs one write to
	// the disk, small enough to stay in the cache of a core. It holds many frames.
	batchBytes = 256 << 10
	// napTime and naps are how a reader waits while records may come any moment: that often it
	// looks again by itself, and no writer needs a system call to wake it. Then it sleeps. Each look
	// takes a core from the program and the kernel inside, which hand each call to one another
	// between two, so they are few.
	napTime = 10 * time.Millisecond
	naps    = 4
	// seqlockTries is how often a reader of a word group tries again while it is being written; a
	// writer that died half-way leaves it unreadable, which then counts as empty.
	seqlockTries = 1000
)
