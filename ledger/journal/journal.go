// Package journal is the ledger's truth on disk: an append-only sequence of records, each sealed by
// checksums and by a hash over everything before it.
//
// Think of it as a tape of pages. The tape is cut into segments, files whose zeros were written
// before they are needed, so that a commit changes no metadata: it is one write and one sync of
// whole pages that nothing durable lies in. A group is what one sync covers, from one record to a
// mebibyte of them. A group is there as a whole or not at all.
//
// Records are numbered from 1 without gaps. Each carries the hash of the one before it, so the
// last hash stands for the whole history. The superblock, two copies in one file, names the
// journal, the snapshots, and a floor: a record known to have been synced.
//
// # Invariants
//
// A group is written only after the one before it was synced. So of all groups at most the last is
// torn, and it was never acknowledged.
//
// Segments hold zeros where nothing was written, and disks write sectors whole. So a torn group
// has a sector of zeros where its content should be, and a group without one was written
// completely: if its checksums are wrong, the disk has lost what it promised. The end of the
// journal is therefore either
//
//   - zeros, or a group with a sector of zeros in it, and nothing valid after: a write that the
//     power cut, which is removed; or
//   - anything else: corruption, which is refused with the segment and the offset named.
//
// One case is left that no reader can decide: the last group alone, lost by the disk after it was
// synced in such a way that whole sectors of it read as zeros (or a group of nothing but zero
// records with a flipped bit). The floor narrows it: Mark records how far the journal is durable,
// and a journal that ends below its floor is corrupt. Close, every snapshot, every new segment and
// every idle second raise the floor, so what stays undecidable are the commits of about the last
// second before a power cut.
//
// The first error of a write or a sync stops the journal for ever: the kernel may have dropped the
// data and forgotten it, so a later sync that succeeds proves nothing. Every later call returns the
// same error. Lack of room for the next segment is not such an error: it is found before anything
// is written, refuses that group, and is over when there is room.
//
// # Boundaries
//
// The journal does not know what its bodies mean. It trusts its caller to apply records in order.
// Snapshots are the caller's files; the superblock only names them.
//
// # Concurrency
//
// Admit, Add and Seal belong to one goroutine, Write to one (perhaps another); a group is handed
// from the first to the second. Everything else may be called by anyone. One goroutine inside
// prepares the next segment. Locks in order: superMu, mu.
//
// # Sources
//
// TigerBeetle's and etcd's write-ahead logs; "Protocol-Aware Recovery for Consensus-Based Storage"
// (Alagappan et al., FAST 2018) on telling a torn write from corruption; docs/reference/journal.md
// for the format, byte by byte.
package journal

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"log/slog"
	"path"
	"sync"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sys/vfs"
)

// Hash is a SHA-256 digest.
type Hash = [sha256.Size]byte

// Options say how a journal is kept. The zero value asks for the defaults.
type Options struct {
	// ID names a journal that does not exist yet; it must not be zero when one is made.
	ID ident.ID
	// SegmentBytes and FirstSegmentBytes are the sizes of new segments, rounded up to pages; zero
	// means the constants of those names.
	SegmentBytes, FirstSegmentBytes int64
	// GroupBytes bounds a group, and with it a record; zero means GroupMax, which is the most.
	GroupBytes int
	// Retain is how many segments that no snapshot needs are kept for readers of old records and
	// for verification from the start; the oldest beyond them are written over. Zero keeps all.
	Retain int
	// ReadOnly opens for looking: nothing is created, mended or changed. Such a journal refuses
	// Admit. Only a lock that cannot be taken for want of permission is done without.
	ReadOnly bool
	// Log receives what was mended; nil means nobody is told.
	Log *slog.Logger
}

func (o Options) filled() Options {
	if o.GroupBytes <= 0 || o.GroupBytes > GroupMax {
		o.GroupBytes = GroupMax
	}
	o.GroupBytes = pages(o.GroupBytes)
	least := int64(PageSize + o.GroupBytes)
	o.SegmentBytes = segmentSize(o.SegmentBytes, SegmentBytes, least)
	o.FirstSegmentBytes = segmentSize(o.FirstSegmentBytes, FirstSegmentBytes, least)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func segmentSize(asked, standard, least int64) int64 {
	if asked <= 0 {
		asked = standard
	}
	return int64(pages(int(max(asked, least))))
}

// Position is a place between two records: after record Seq, whose hash is Chain.
type Position struct {
	Seq     uint64
	Segment uint64 // number of the segment
	Offset  int64  // bytes from its start: where the next record goes, if it fits
	Chain   Hash
}

// Journal is an open journal. Make one with Open, then call Recover once.
type Journal struct {
	fs      vfs.FS
	dir     string
	options Options
	lock    io.Closer
	id      ident.ID // once the superblock is read

	plan plan // of the goroutine that calls Admit, Add and Seal

	writer writer // of the goroutine that calls Write

	superMu sync.Mutex
	super   superblock // as last written
	file    vfs.File   // of the superblock

	mu       sync.Mutex
	segments []*segment // in order of number, the last one being written
	durable  Position
	failed   error // the first error of a write or sync
	reader   readerPlace

	prepare preparer
}

// writer is what Write needs: the chain so far, and one group's bytes behind a page for the header
// of a segment.
type writer struct {
	chain  Hash
	buffer []byte
	digest hash.Hash
}

// Open opens the journal in a directory, making both where they are missing. The journal can be
// read at once, and written after Recover. The caller closes it.
//
// The error is of kind Locked where another process has the directory, Forbidden where it may not
// be written, NotFound where it is missing and the options say ReadOnly, NoSpace, or Corrupt where
// the superblock or the segments' headers are not what was written.
func Open(fs vfs.FS, dir string, options Options) (*Journal, error) {
	j := &Journal{fs: fs, dir: dir, options: options.filled()}
	j.prepare.init()
	if err := j.open(); err != nil {
		return nil, errors.Join(errs.Wrap(err, "journal.open"), j.release())
	}
	return j, nil
}

func (j *Journal) open() error {
	if !j.options.ReadOnly {
		if err := j.fs.MakeDir(j.dir); err != nil {
			return err
		}
	}
	lock, err := j.fs.Lock(path.Join(j.dir, lockName))
	switch {
	case err == nil:
		j.lock = lock
	case !j.options.ReadOnly || !errs.Is(err, errs.Forbidden):
		return err
	}
	if err := j.openSuperblock(); err != nil {
		return err
	}
	return j.openSegments()
}

const lockName = "LOCK"

// ID returns the journal's name, given when the journal was made.
func (j *Journal) ID() ident.ID { return j.id }

// Durable returns the end of what is synced: after a crash the journal ends there or later.
func (j *Journal) Durable() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durable
}

// Err returns the error that stopped the journal, nil while it runs.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// fail stops the journal with its first error, and returns that one.
func (j *Journal) fail(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed == nil {
		j.failed = errs.As(errs.KindOf(err), err, "journal: stopped for good")
	}
	return j.failed
}

// Extent is how much the journal holds.
type Extent struct {
	FirstSeq uint64 // the oldest record that can be read; zero where there is none
	LastSeq  uint64
	Segments int
	Bytes    int64 // of all segments, zeros included
}

// Extent returns how much the journal holds.
func (j *Journal) Extent() Extent {
	j.mu.Lock()
	defer j.mu.Unlock()
	extent := Extent{LastSeq: j.durable.Seq, Segments: len(j.segments)}
	for _, s := range j.segments {
		extent.Bytes += s.size
	}
	if len(j.segments) > 0 && j.segments[0].first <= j.durable.Seq {
		extent.FirstSeq = j.segments[0].first
	}
	return extent
}

// Close waits for the preparation under way to stop, notes in the superblock that the journal ends
// here, and releases the directory. No other call may be under way. A journal that an error stopped
// notes nothing, and Close returns that error.
func (j *Journal) Close() error {
	j.prepare.stop()
	err := j.Err()
	if err == nil && j.prepare.started {
		err = j.markClosed()
	}
	return errors.Join(err, j.release())
}

// release closes what is open.
func (j *Journal) release() error {
	var all []error
	open := append(j.segments, j.plan.segment, j.prepare.take())
	for _, s := range open {
		if s != nil && s.file != nil {
			all = append(all, s.file.Close())
			s.file = nil
		}
	}
	if j.file != nil {
		all = append(all, j.file.Close())
		j.file = nil
	}
	if j.lock != nil {
		all = append(all, j.lock.Close())
		j.lock = nil
	}
	return errors.Join(all...)
}

// corrupt is the error for stored bytes that are not what was written.
func corrupt(s *segment, offset int64, format string, args ...any) error {
	detail := errs.New(errs.Corrupt, format, args...)
	return errs.As(errs.Corrupt, detail, "segment %s at byte %d", s.name(), offset)
}

// pages rounds n up to whole pages.
func pages(n int) int { return (n + PageSize - 1) / PageSize * PageSize }

// canceled turns the end of a context into an error of kind Canceled.
func canceled(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return errs.As(errs.Canceled, err, "journal: the caller went away")
	}
	return nil
}
