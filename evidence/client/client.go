// Package client is what the other parts see of the evidence log.
//
// A part reports what it did through an Appender, which does not say where the log is:
// evidence/tlog keeps it on this machine's disk, and the node hands it out. The usual caller is a
// relay, which reads a source (an outbox, a feed, a journal) from LastSeq on and appends what it
// finds, as much at a time as it can: records of one call share the syncs of one batch.
//
// # Boundaries
//
// An interface and its contract, nothing else: importing this package brings no log, no database
// and no keys with it.
package client

import (
	"context"

	"surety/evidence"
)

// Appender takes entries into the log.
type Appender interface {
	// Append returns once all entries are in the log for good. An entry whose source and sequence
	// number are in the log already is passed over, so that a caller that does not know the fate of
	// an Append repeats it. Within a source the numbers must follow on: an entry that would leave a
	// gap is refused, kind Invalid, with those after it. Kinds besides: Busy, try again later;
	// NoSpace; Unavailable after Close, or after a failure of the disk until the log is opened
	// again. After an error, LastSeq tells what is in.
	Append(ctx context.Context, entries ...evidence.Entry) error

	// LastSeq returns the source's last sequence number in the log, zero where there is none.
	LastSeq(source string) (uint64, error)
}
