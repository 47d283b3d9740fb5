// Package evidence says what the platform did, in records that nobody can change unnoticed.
//
// Think of a long list. Each part reports what it has done as entries: a decision, a contract, a
// batch of postings, a verdict of the guard. An entry becomes a record, which names the subjects
// it concerns and commits to its payload by digest, and the record becomes one leaf of a Merkle
// tree that only grows. A signed checkpoint fixes the whole list in three lines; an inclusion proof
// shows one record in it; a consistency proof shows that a later list begins with the earlier one.
// A bundle carries some records with all of that, and Verify needs nothing else but the log's key.
//
// # Invariants
//
//   - The encoding is canonical: one record, one sequence of bytes, and Decode accepts no other.
//   - Within a source, sequence numbers start at 1 and rise by one. A log holds each at most once.
//   - A record commits to the payload as it is stored: to the ciphertext where it is sealed, so
//     that destroying the key leaves every proof good.
//   - Verify accepts a bundle only if the log's key signed for exactly these records.
//
// # Boundaries
//
// Nothing here reads a clock, a disk or a random source: evidence/tlog keeps the log,
// evidence/vault seals payloads. A proof shows that a record is in the log, not that it is true,
// and that the log was not rewritten behind a checkpoint somebody kept, not that nobody rewrote it
// before. Whoever holds the log's key can sign two histories: only checkpoints that others keep or
// witness stand against that.
//
// # Sources
//
// RFC 6962 section 2.1 (leaf and node hashes, proofs); C2SP signed-note, tlog-checkpoint and
// tlog-tiles.
package evidence

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// Entry is what a part reports: a record and the payload it commits to.
type Entry struct {
	Source    string        // the stream it comes from, such as "lending.outbox"; see MaxName
	SourceSeq uint64        // its number in that stream, from 1 without gaps
	Part      string        // the part that did it, such as "lending"
	Kind      string        // what was done, such as "application.decided"
	Subjects  []ident.ID    // whom and what it concerns, the main one first; no zero, no repeats
	Trace     ident.ID      // the chain of work it belongs to; zero where there is none
	At        clock.Instant // when it was done, by the part's own account; never zero
	Payload   []byte        // as stored: ciphertext where Sealed; at most MaxPayload
	Sealed    bool          // the payload is readable only through the vault
}

// Record returns the record that commits to the entry. It shares Subjects with the entry.
func (e *Entry) Record() Record {
	return Record{
		Source: e.Source, SourceSeq: e.SourceSeq, Part: e.Part, Kind: e.Kind,
		Subjects: e.Subjects, Trace: e.Trace, At: e.At, Sealed: e.Sealed,
		Digest: Digest(e.Payload), PayloadBytes: uint32(len(e.Payload)),
	}
}

// Hash is a SHA-256 hash. As text it is base64, as in checkpoints and proofs elsewhere.
type Hash [sha256.Size]byte

// String returns the hash as 64 hexadecimal digits, as file names and logs show it.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText encodes the hash in base64.
func (h Hash) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText accepts what MarshalText gives; kind Invalid otherwise.
func (h *Hash) UnmarshalText(text []byte) error {
	decoded, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	if err != nil || len(decoded) != len(h) {
		return errs.New(errs.Invalid, "evidence: hash is not %d bytes in base64", len(h))
	}
	*h = Hash(decoded)
	return nil
}

// Digest returns the SHA-256 of a payload.
func Digest(payload []byte) Hash { return sha256.Sum256(payload) }

// LeafHash returns the hash of an encoded record as a leaf of the tree (RFC 6962 section 2.1).
func LeafHash(leaf []byte) Hash {
	var buffer [512]byte // most records fit, and then nothing is allocated
	return sha256.Sum256(append(append(buffer[:0], leafPrefix), leaf...))
}

// The prefixes keep a leaf from being taken for a node (RFC 6962 section 2.1).
const (
	leafPrefix = 0
	nodePrefix = 1
)

func nodeHash(left, right Hash) Hash {
	var buffer [1 + 2*sha256.Size]byte
	buffer[0] = nodePrefix
	copy(buffer[1:], left[:])
	copy(buffer[1+sha256.Size:], right[:])
	return sha256.Sum256(buffer[:])
}
