package wire

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/ledger"
)

// Name is what people call an account, and what else they know about it. It may also carry the
// words that belong to a transfer or a freeze: AccountID is then that record's id.
type Name struct {
	AccountID ident.ID          `json:"account_id"`
	Name      string            `json:"name,omitempty"` // unique in the ledger; empty means none
	Metadata  map[string]string `json:"metadata,omitempty"`
}

// BatchInfo is one record of the journal as evidence needs it: enough to prove later that a record
// was in it with its result.
type BatchInfo struct {
	Seq       uint64 // from 1, without gaps
	Operation ledger.Operation
	Timestamp clock.Instant // of the batch, which is that of its last record
	Count     uint32        // records in it
	ChainHash [32]byte      // the journal's hash over this batch and all before
	// Root is the RFC 6962 tree hash over the records in order, each leaf its encoding as it was
	// sent followed by its result as two bytes, little-endian. A pulse has no records: the root is
	// that of the empty tree.
	Root       [32]byte
	FirstEvent uint64 // number of the first event it made
	EventCount uint32
}

// Status is how a ledger is doing.
type Status struct {
	Accounts  uint64
	Transfers uint64
	FailedIDs uint64
	Names     uint64
	Events    uint64        // durable ones: the next event's Seq
	Batches   uint64        // durable ones: the last batch's Seq
	Snapshot  uint64        // the Seq that the newest snapshot covers; zero where there is none
	Timestamp clock.Instant // of the last durable batch
	// JournalBytes is the size of the journal's files, and Segments their number.
	JournalBytes uint64
	Segments     uint32
	Queue        uint32 // requests waiting
	// Stopped is why nothing is written any more, empty while all is well. ReadOnly is why new
	// batches are refused at the moment, as on a full disk; it may pass.
	Stopped  string
	ReadOnly string
}
