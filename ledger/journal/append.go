package journal

import (
	"hash/crc32"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/invariant"
	"surety/sys/vfs"
)

// Body is what a record carries. The journal asks for its bytes once, while it writes the group.
type Body interface {
	// Size returns the number of bytes, at most BodyMax.
	Size() int
	// Encode fills the slice, which has exactly Size bytes.
	Encode(into []byte)
}

// Entry is a record to be appended; the fields mean what they mean in Record.
type Entry struct {
	Operation  uint8
	Timestamp  clock.Instant
	Count      uint32
	Results    uint32
	FirstEvent uint64
	Events     uint32
	Body       Body
}

// Group is what one write and one sync make durable. The zero value is empty and ready; after
// Write it may be used again once Reset.
type Group struct {
	entries []Entry
	used    int // bytes up to the end of the last record's span
	segment *segment
	offset  int64
	opens   bool   // it is the first of its segment
	first   uint64 // Seq of the first entry
}

// Len returns the number of entries.
func (g *Group) Len() int { return len(g.entries) }

// Bytes returns how much of the disk the group will take.
func (g *Group) Bytes() int { return pages(g.used) }

// Reset empties the group and lets go of the bodies.
func (g *Group) Reset() {
	clear(g.entries)
	*g = Group{entries: g.entries[:0]}
}

// plan is where the next group will go. It runs ahead of what is written by the groups that were
// sealed and not yet written.
type plan struct {
	segment *segment
	offset  int64
	seq     uint64 // of the last entry added
}

// Admit reports whether a record with a body of the size fits into the group, and keeps room for
// it: an Add that follows cannot fail, nor can its Write for want of room. False says that the
// group is full and must be sealed first.
//
// It waits where the next segment is not ready. The error is of kind TooLarge for a body that fits
// into no group, NoSpace where the disk has no room for another segment (nothing is changed and a
// later Admit tries again), Forbidden on a journal opened ReadOnly, or what stopped the journal.
func (j *Journal) Admit(g *Group, bodySize int) (bool, error) {
	if j.options.ReadOnly || j.plan.segment == nil {
		return false, errs.New(errs.Forbidden, "journal.admit: opened for reading only")
	}
	if err := j.Err(); err != nil {
		return false, err
	}
	need := span(bodySize)
	if bodySize > BodyMax || need > j.options.GroupBytes {
		return false, errs.New(errs.TooLarge, "journal.admit: a body of %d bytes, the limit is %d",
			bodySize, min(BodyMax, j.options.GroupBytes-HeaderSize))
	}
	if len(g.entries) > 0 {
		total := g.used + need
		return total <= j.options.GroupBytes && g.offset+int64(pages(total)) <= g.segment.size, nil
	}
	if j.plan.offset+int64(pages(need)) > j.plan.segment.size {
		next, err := j.nextSegment()
		if err != nil {
			return false, errs.Wrap(err, "journal.admit")
		}
		j.plan.segment, j.plan.offset = next, PageSize
	}
	g.segment, g.offset = j.plan.segment, j.plan.offset
	g.opens = g.offset == PageSize
	return true, nil
}

// Add appends an entry that Admit said yes to and returns its Seq. The body must stay unchanged
// until Write returns.
func (j *Journal) Add(g *Group, e Entry) uint64 {
	invariant.Check(g.segment != nil, "journal: an entry was added that was not admitted")
	j.plan.seq++
	if len(g.entries) == 0 {
		g.first = j.plan.seq
	}
	g.entries = append(g.entries, e)
	g.used += span(e.Body.Size())
	return j.plan.seq
}

// Seal ends a group that has entries: its place is final and the next group goes behind it. Groups
// are written in the order they were sealed.
func (j *Journal) Seal(g *Group) {
	invariant.Check(len(g.entries) > 0, "journal: an empty group was sealed")
	j.plan.offset = g.offset + int64(g.Bytes())
	j.prepare.pace(j.plan.segment, j.plan.offset)
}

// Write makes the sealed group durable: when it returns nil, the group survives every crash. The
// first group of a segment raises the floor too, so that a segment that goes missing is missed.
// Any error stops the journal for good, and the group may be there after the next start or not.
func (j *Journal) Write(g *Group) error {
	if err := j.Err(); err != nil {
		return err
	}
	end, err := j.write(g)
	if err != nil {
		return j.fail(err)
	}
	before := j.advance(g, end)
	if before == nil {
		return nil
	}
	if err := before.Close(); err != nil {
		return j.fail(err)
	}
	return j.Mark()
}

// write encodes, writes and syncs the group and returns the journal's new end.
func (j *Journal) write(g *Group) (Position, error) {
	w := &j.writer
	end := Position{Segment: g.segment.number, Offset: g.offset + int64(g.Bytes())}
	bytes, offset := w.buffer[PageSize:PageSize+g.Bytes()], g.offset
	if g.opens {
		j.mu.Lock() // the segment may be known to readers: a first group that was torn
		g.segment.first, g.segment.previous = g.first, w.chain
		j.mu.Unlock()
		g.segment.encodeHeader(w.buffer, j.id)
		bytes, offset = w.buffer[:PageSize+g.Bytes()], 0
	}
	end.Seq = g.first + uint64(len(g.entries)) - 1
	end.Chain = j.encodeGroup(g, w.buffer[PageSize:])
	if _, err := g.segment.file.WriteAt(bytes, offset); err != nil {
		return end, errs.Wrap(err, "write records %d to %d", g.first, end.Seq)
	}
	if err := g.segment.file.Sync(); err != nil {
		return end, errs.Wrap(err, "sync records %d to %d", g.first, end.Seq)
	}
	w.chain = end.Chain
	return end, nil
}

// encodeGroup fills the buffer with the group's records and the zeros behind them, and returns the
// last record's hash.
func (j *Journal) encodeGroup(g *Group, buffer []byte) Hash {
	last := &g.entries[len(g.entries)-1]
	groupUsed := g.used - span(last.Body.Size()) + HeaderSize + last.Body.Size()
	chain := j.writer.chain
	at := 0
	for i := range g.entries {
		e := &g.entries[i]
		size := e.Body.Size()
		body := buffer[at+HeaderSize : at+HeaderSize+size]
		e.Body.Encode(body)
		h := header{
			Record: Record{
				Seq: g.first + uint64(i), Timestamp: e.Timestamp, Operation: e.Operation,
				Count: e.Count, Results: e.Results, FirstEvent: e.FirstEvent, Events: e.Events,
				Previous: chain, Segment: g.segment.number, Offset: g.offset + int64(at),
			},
			journal: j.id, bodySize: uint32(size), bodySum: crc32.Checksum(body, castagnoli),
			groupFirst: g.first, groupCount: uint32(len(g.entries)), groupIndex: uint32(i),
			groupUsed: uint32(groupUsed),
		}
		h.encode(buffer[at:])
		chain = chainOf(j.writer.digest, &chain, buffer[at:], body)
		h.seal(buffer[at:], chain)
		next := at + span(size)
		clear(buffer[at+HeaderSize+size : next])
		at = next
	}
	clear(buffer[at:pages(at)])
	return chain
}

// advance makes the written group the journal's durable end, and hands back the file of the segment
// before where the group has opened a new one.
func (j *Journal) advance(g *Group, end Position) (before vfs.File) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if current := j.segments[len(j.segments)-1]; current != g.segment {
		before, current.file = current.file, nil
		j.segments = append(j.segments, g.segment)
	}
	g.segment.remember(mark{seq: g.first, offset: g.offset})
	j.durable = end
	return before
}
