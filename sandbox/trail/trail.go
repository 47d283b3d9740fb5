// Package trail is the audit trail of a sandbox on the host: it takes records from the ring, proves
// them to be the next ones, stores them, signs what it has stored, and lets anybody check the whole
// years later without this machine.
//
// Think of a book that is written by one hand and bound as it grows. Its lines are entries; most
// are records that the kernel inside numbered and chained (package ring brings them here), some are
// records of the host's own. Every second, or every few thousand lines, a seal closes what stands
// above it: a signature over the hash of the entries since the last seal, the chain's head, and the
// last seal. A line cannot be changed, dropped, added or moved without breaking the seal below it,
// and the end cannot be cut off without losing the final record or, where heads were anchored
// elsewhere, an anchor.
//
// # Invariants
//
//   - The inside records of a trail are 1, 2, 3 ... without a gap, one chain from zero; the first is
//     a birth (or restore) that names this sandbox and this trail's key. Drain refuses what is not.
//   - What was given back to the ring is in a segment file: the write comes before the advance.
//   - A segment begins right after a seal, with a header that states all that goes on: a missing or
//     foreign segment shows at its edges.
//   - After a failed sync nothing more is written: the disk may have forgotten and not say so.
//   - An entry is never changed. The unfinished tail that a crash leaves is covered with filler
//     entries, which state its length.
//
// # Boundaries
//
// Policy is not judged here and records are not understood, but for the birth and the final. Where
// heads are anchored is the caller's affair (HeadOf, Check.Anchors). Whoever holds the signing key
// and the disk can write another trail from the beginning: only anchors prove that it was not.
//
// # Concurrency
//
// A Writer may be used by several goroutines, Drain by one. A Reader belongs to one. The lock file
// makes one writer for each trail; readers take no lock.
//
// # Sources
//
// docs/reference/sandbox-audit.md is the format. Ed25519: RFC 8032. CRC-32C: RFC 3720 section 12.1.
package trail

import (
	"time"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// Names in a trail's directory, beside the segments.
const (
	lockName    = "lock"    // held by the writer
	reserveName = "reserve" // room kept for the end of a trail whose disk is full
	headName    = "head"    // where the last seal is; only a hint
)

// Config says where a trail is kept and how.
type Config struct {
	Dir     string // of this trail alone; made where it is absent
	Sandbox string // its id, 1 to MaxSandbox bytes
	Key     SigningKey

	FS           vfs.FS          // nil: the machine's
	Clock        wallclock.Clock // nil: the machine's
	SealRecords  int             // a seal after so many entries; 0: SealRecords
	SealEvery    time.Duration   // and after so long; 0: SealEvery
	SyncEvery    time.Duration   // between fsyncs; 0: SyncEvery
	SegmentBytes int64           // of one file, exceeded by at most a batch; 0: SegmentBytes
	MaxBytes     int64           // of the whole trail; 0: no limit but the disk's
}

// filled returns the config with its defaults. Errors: Invalid.
func (c Config) filled() (Config, error) {
	if c.Dir == "" || len(c.Sandbox) == 0 || len(c.Sandbox) > MaxSandbox {
		return c, errs.New(errs.Invalid, "trail: directory %q, sandbox id of %d bytes, limit %d", c.Dir,
			len(c.Sandbox), MaxSandbox)
	}
	if c.Key.IsZero() {
		return c, errs.New(errs.Invalid, "trail: sandbox %s has no signing key", c.Sandbox)
	}
	if c.FS == nil {
		c.FS = vfs.OS{}
	}
	if c.Clock == nil {
		c.Clock = wallclock.System()
	}
	c.SealRecords = orDefault(c.SealRecords, SealRecords)
	c.SealEvery = orDefault(c.SealEvery, SealEvery)
	c.SyncEvery = orDefault(c.SyncEvery, SyncEvery)
	c.SegmentBytes = orDefault(c.SegmentBytes, SegmentBytes)
	return c, nil
}

func orDefault[T int | int64 | time.Duration](value, fallback T) T {
	if value <= 0 {
		return fallback
	}
	return value
}

// state is how far a trail has got: what a writer goes on from and a verifier compares with. A
// segment's header states it as it is at the segment's first byte.
type state struct {
	chain   sandbox.Chain  // of the inside records
	outside uint64         // outside records so far
	seals   uint64         // seals so far
	seal    sandbox.Digest // SHA-256 of the last seal's payload; zero before the first
}
