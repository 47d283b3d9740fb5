package wire

import "surety/ledger"

// The limits of names and metadata, which are kept in memory: they are words for people, not
// documents.
const (
	NameMax     = 128  // bytes of a name
	MetadataMax = 32   // entries of one id's metadata
	KeyMax      = 64   // bytes of a metadata key
	ValueMax    = 1024 // bytes of a metadata value

	// NamesMax bounds the entries of one call, and NamesBytesMax their encoding: a batch like any
	// other, which fits into one record of the journal.
	NamesMax      = ledger.BatchMax
	NamesBytesMax = 1 << 20

	// NamesPageMax bounds the entries in a page of names, and NamesPageBytes their encoding, so that
	// with a cursor they fit into a body.
	NamesPageMax   = 1024
	NamesPageBytes = 1<<20 - 64
)
