package evidence

const (
	// MaxName bounds a source, part or kind, in bytes: a dotted name, not a sentence.
	MaxName = 64

	// MaxSubjects bounds the ids one record names. A ledger batch names the business events in it;
	// one with more of them is recorded in several records.
	MaxSubjects = 1024

	// MaxRecord bounds an encoded record, in bytes. It follows from the limits above, and stays
	// below the 65,535 bytes that a tiled log allows for an entry (C2SP tlog-tiles, "Log entries").
	MaxRecord = fixedBytes + 3*(1+MaxName) + 2 + 16*MaxSubjects

	// MaxPayload bounds a payload, in bytes, sealed or not: a contract with its schedule takes
	// about 10 KiB, and a batch of payloads must fit in memory many times over.
	MaxPayload = 256 << 10

	// MaxProof bounds the hashes of a proof. A tree of 2^64 leaves needs 64 for inclusion, and
	// one more for consistency.
	MaxProof = 65

	// MaxNote bounds a signed note, in bytes: three lines, the ids of a statement in 33 bytes
	// each, and a few signatures.
	MaxNote = 64 << 10

	// MaxBundle bounds an encoded bundle, in bytes: it is read into memory, several times over as
	// it is decoded.
	MaxBundle = 256 << 20

	// MaxBundleEntries bounds the records of a bundle. More are exported as several bundles.
	MaxBundleEntries = 100_000

	// MaxStatementIDs bounds the ids that a bundle answers for.
	MaxStatementIDs = 1024

	// MaxInner bounds the leaves of a ledger batch that an entry proves.
	MaxInner = 8192
)
