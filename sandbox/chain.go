package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
)

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// digestPrefix stands before the digits of a digest as text.
const digestPrefix = "sha256:"

// IsZero reports whether the digest is absent.
func (d Digest) IsZero() bool { return d == Digest{} }

// Text returns "sha256:" and 64 lower-case hexadecimal digits. It is no String, which %x would ask.
func (d Digest) Text() string { return digestPrefix + hex.EncodeToString(d[:]) }

// Chain is the running hash of a trail: Head = SHA-256(Head || record bytes), from the zero hash.
// The zero Chain is that of a trail without records.
type Chain struct {
	Seq  uint64 // of the last record; 0 before the first
	Head Digest
}

// Add advances the chain over an encoded record (as Append made it) and returns the new head. It
// does not look into the record: that its sequence number is Seq+1 is for the caller to see to. It
// does not allocate and keeps nothing of encoded.
func (c *Chain) Add(encoded []byte) Digest {
	hash := sha256.New()
	hash.Write(c.Head[:])
	hash.Write(encoded)
	hash.Sum(c.Head[:0])
	c.Seq++
	return c.Head
}
