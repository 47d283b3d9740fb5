// Package client is what the other parts see of the evidence log.
//
// A part reports what it did through an Appender and asks what is known about an id through a
// Tracer. Neither says where the log is: evidence/tlog keeps it on this machine's disk, and the
// node hands it out.
//
// # Boundaries
//
// Interfaces and their data, nothing else: importing this package brings no log, no database and
// no keys with it.
package client

import (
	"context"

	"surety/base/ident"
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

// Tracer finds what the log knows about an id.
type Tracer interface {
	// Trace returns the records that name the id, or share a trace with one that does, in the order
	// of the log. Kind NotFound where there are none.
	Trace(ctx context.Context, id ident.ID) (Path, error)
}

// Path is the way of one thing through the platform.
type Path struct {
	ID         ident.ID
	Steps      []Step
	Truncated  bool   // there are more steps than the tracer returns
	Size       uint64 // records in the tree the steps were proved in
	Checkpoint string // signed note that fixes that tree
}

// Step is one record of a path.
type Step struct {
	Index   uint64 // in the log
	Record  evidence.Record
	Payload []byte // in plaintext; nil where Note says why
	Note    string // "sealed", "erased at ..."; empty where there is nothing to say
	Proved  bool   // inclusion in the checkpoint's tree was checked
}
