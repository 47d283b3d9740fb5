package journal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"path"
	"strings"

	"surety/base/errs"
	"surety/base/invariant"
	"surety/sys/vfs"
)

// Start returns the place before the first record, for a Recover from the very beginning.
func (j *Journal) Start() Position {
	return Position{Segment: 1, Offset: PageSize, Chain: Genesis(j.id)}
}

// Recover reads the journal from a position, the state of which the caller has, to its end, calls
// visit for each record in order, removes what a power cut left of an unfinished group, and makes
// the journal ready for writing. A record's body is good until visit returns; an error of visit
// ends the recovery and is returned as it is.
//
// The error is of kind Corrupt where a record is not what was written, the chain is broken, a
// segment is missing, records before the position were let go of, or the journal ends before what
// was synced: see the package's invariants for the rule. Nothing is changed in that case.
func (j *Journal) Recover(ctx context.Context, from Position, visit func(*Record) error) error {
	invariant.Check(j.plan.segment == nil, "journal: recovered twice")
	end, tail, err := j.replay(ctx, from, visit)
	if err != nil {
		return err
	}
	if err := j.checkFloor(end); err != nil {
		return errs.Wrap(err, "journal.recover")
	}
	if !j.options.ReadOnly {
		end, err = j.resume(end, tail)
	}
	j.mu.Lock()
	j.durable = end
	j.mu.Unlock()
	return errs.Wrap(err, "journal.recover")
}

// remains says what lies behind the journal's end in its last segment.
type remains struct {
	end    int64 // where the remains of an unfinished group end; zero where there are none
	blanks bool  // blank segments follow
}

// replay visits the records from the position on and returns the journal's end.
func (j *Journal) replay(ctx context.Context, from Position, visit func(*Record) error) (
	Position, remains, error) {
	index, err := j.locate(from)
	if err != nil || index < 0 {
		return from, remains{}, errs.Wrap(err, "journal.recover")
	}
	c := newScanner(j.id)
	c.at, c.anchored = from, true
	for {
		s := j.segments[index]
		what, err := j.replaySegment(ctx, c, s, visit)
		if err != nil {
			return c.at, remains{}, err
		}
		if index+1 == len(j.segments) || j.segments[index+1].first == 0 {
			tail, err := j.checkTail(c, index)
			return c.at, tail, errs.Wrap(err, "journal.recover")
		}
		next := j.segments[index+1]
		if err := follows(c, s, next, what); err != nil {
			return c.at, remains{}, errs.Wrap(err, "journal.recover")
		}
		index++
		c.at.Segment, c.at.Offset = next.number, PageSize
	}
}

// locate returns the index of the segment that the position lies in, or -1 for a new journal.
func (j *Journal) locate(from Position) (int, error) {
	first := j.super.first
	if from.Segment < first {
		return 0, errs.New(errs.Corrupt, "records after %d are needed, and segments before %s were "+
			"let go of", from.Seq, segmentName(first))
	}
	for i, s := range j.segments {
		if s.number == from.Segment && (s.first != 0 || from.Seq == 0) {
			return i, nil
		}
	}
	if from.Seq == 0 && len(j.segments) == 0 {
		return -1, nil
	}
	return 0, errs.New(errs.Corrupt, "segment %s is missing or blank", segmentName(from.Segment))
}

// replaySegment visits the records from where the scanner stands to the segment's end.
func (j *Journal) replaySegment(ctx context.Context, c *scanner, s *segment,
	visit func(*Record) error) (found, error) {
	file, err := j.fs.Open(j.segmentPath(s.number), 0)
	if err != nil {
		return 0, errs.Wrap(err, "journal.recover")
	}
	defer func() { _ = file.Close() }() // it was only read
	c.enter(file, s, c.at, c.anchored)
	for {
		if err := canceled(ctx); err != nil {
			return 0, err
		}
		before := c.at
		what, err := c.next()
		if err != nil || what != foundGroup {
			return what, errs.Wrap(err, "journal.recover")
		}
		s.remember(mark{seq: before.Seq + 1, offset: before.Offset})
		for i := range c.records {
			r := &c.records[i]
			if floor := &j.super.floor; r.Seq == floor.Seq && r.Chain != floor.Chain {
				err := corrupt(s, r.Offset, "record %d has not the hash it was synced with", r.Seq)
				return 0, errs.Wrap(err, "journal.recover")
			}
			if err := visit(r); err != nil {
				return 0, err
			}
		}
	}
}

// follows holds the next segment to where the scanner came to in this one.
func follows(c *scanner, s, next *segment, what found) error {
	switch {
	case what == foundTorn:
		return corrupt(s, c.at.Offset, "record %d is broken and segment %s comes after it",
			c.at.Seq+1, next.name())
	case next.first != c.at.Seq+1:
		return corrupt(s, c.at.Offset, "segment %s begins with record %d, want %d",
			next.name(), next.first, c.at.Seq+1)
	case next.previous != c.at.Chain:
		return corrupt(next, 48, "the chain is broken between records %d and %d",
			c.at.Seq, next.first)
	}
	return nil
}

// checkTail looks behind the journal's end for anything that an unfinished group does not explain.
// A journal that was closed ends at its floor and is not searched.
func (j *Journal) checkTail(c *scanner, index int) (remains, error) {
	s := j.segments[index]
	tail := remains{blanks: index+1 < len(j.segments)}
	if j.super.closed && c.at.Seq == j.super.floor.Seq {
		return tail, nil
	}
	if j.super.closed {
		return tail, corrupt(s, c.at.Offset, "the journal ends after record %d, and was closed after %d",
			c.at.Seq, j.super.floor.Seq)
	}
	end, err := j.search(s, c.at.Offset, c.at.Seq+1)
	if err != nil {
		return tail, err
	}
	tail.end = end
	for _, blank := range j.segments[index+1:] {
		if _, err := j.search(blank, 0, c.at.Seq+1); err != nil {
			return tail, err
		}
	}
	return tail, nil
}

// search reads a segment from the offset to its end. All of it may be remains of the one group that
// starts with record seq, and lies within GroupMax; anything else is corruption. It returns where
// the remains end, zero where there are none.
func (j *Journal) search(s *segment, from int64, seq uint64) (int64, error) {
	file, err := j.fs.Open(j.segmentPath(s.number), 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	w := window{ahead: windowBytes}
	w.reset(file, s.size)
	end := int64(0)
	for offset := from; offset+PageSize <= s.size; offset += PageSize {
		page, err := w.bytes(offset, PageSize)
		if err != nil {
			return 0, err
		}
		if blank(page) {
			continue
		}
		if offset >= from+PageSize+GroupMax {
			return 0, corrupt(s, offset, "bytes that are not zero, %d behind the end at record %d",
				offset-from, seq-1)
		}
		if err := j.searchPage(s, page, offset, seq); err != nil {
			return 0, err
		}
		end = offset + PageSize
	}
	return end, nil
}

// searchPage looks for whole headers of other groups than the one that starts with record seq.
func (j *Journal) searchPage(s *segment, page []byte, offset int64, seq uint64) error {
	for at := 0; at < PageSize; at += HeaderSize {
		if binary.LittleEndian.Uint64(page[at:]) != recordMagic {
			continue
		}
		h, err := decodeHeader(page[at:])
		placed := err == nil && h.journal == j.id && h.Segment == s.number &&
			h.Offset == offset+int64(at)
		if !placed || h.groupFirst == seq {
			continue // bytes of a body, or the unfinished group itself
		}
		return corrupt(s, offset+int64(at), "record %d comes after record %d, which is missing or broken",
			h.Seq, seq)
	}
	return nil
}

// checkFloor holds the end to what is known to have been synced.
func (j *Journal) checkFloor(end Position) error {
	floor := j.super.floor
	if end.Seq < floor.Seq {
		return errs.New(errs.Corrupt, "segment %s at byte %d: the journal ends after record %d, and "+
			"record %d was synced", segmentName(end.Segment), end.Offset, end.Seq, floor.Seq)
	}
	if end.Seq == floor.Seq && end.Chain != floor.Chain {
		return errs.New(errs.Corrupt, "segment %s at byte %d: record %d has not the hash it was synced "+
			"with", segmentName(end.Segment), end.Offset, end.Seq)
	}
	return nil
}

// resume removes remains, opens the last segment for writing, and makes sure that what was read is
// on the disk and not only in the page cache: after a kill the last group may not have been synced.
func (j *Journal) resume(end Position, tail remains) (Position, error) {
	if err := j.sweep(end.Segment); err != nil {
		return end, err
	}
	if len(j.segments) == 0 {
		s, err := j.prepareSegment(end.Segment, j.options.FirstSegmentBytes,
			func(int64) bool { return true })
		if err != nil {
			return end, err
		}
		j.segments = []*segment{s}
	} else if err := j.reopen(j.segments[len(j.segments)-1], end, tail); err != nil {
		return end, err
	}
	j.plan = plan{segment: j.segments[len(j.segments)-1], offset: end.Offset, seq: end.Seq}
	j.writer = writer{chain: end.Chain, digest: sha256.New(),
		buffer: vfs.Aligned(PageSize + j.options.GroupBytes)}
	j.mu.Lock()
	j.durable = end
	j.mu.Unlock()
	if err := j.markOpen(); err != nil {
		return end, err
	}
	j.startPreparing(end.Segment + 1)
	j.prepare.pace(j.plan.segment, j.plan.offset)
	return end, nil
}

// sweep removes drafts, segments that were let go of, and blank segments after the last.
func (j *Journal) sweep(last uint64) error {
	names, err := j.fs.List(j.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, isSegment := segmentNumber(name)
		stale := isSegment && (number < j.super.first || number > last)
		if stale || strings.HasSuffix(name, segmentSuffix+draftSuffix) {
			if err := j.fs.Remove(path.Join(j.dir, name)); err != nil {
				return err
			}
		}
	}
	kept := 0
	for kept < len(j.segments) && j.segments[kept].number <= last {
		kept++
	}
	j.segments = j.segments[:kept]
	return j.fs.SyncDir(j.dir)
}

// reopen opens the last segment for writing and puts zeros over remains.
func (j *Journal) reopen(s *segment, end Position, tail remains) error {
	file, err := j.fs.Open(j.segmentPath(s.number), vfs.Writable|vfs.Direct)
	if err != nil {
		return err
	}
	s.file = file
	if tail.end > end.Offset {
		j.options.Log.Warn("ledger journal: an unfinished write was removed",
			"segment", s.name(), "offset", end.Offset, "bytes", tail.end-end.Offset,
			"last_record", end.Seq)
		if _, err := file.WriteAt(vfs.Aligned(int(tail.end-end.Offset)), end.Offset); err != nil {
			return err
		}
	}
	return file.Sync()
}
