package journal

import (
	"context"

	"surety/base/errs"
)

// Read calls visit for up to limit durable records from the given number on, proving each. A body
// is good until visit returns. A number beyond the durable end visits nothing. An error of visit
// ends the reading and is returned as it is.
//
// The error is of kind NotFound where the record was let go of, and Corrupt where a record is not
// what was written; the journal goes on in either case.
func (j *Journal) Read(ctx context.Context, from uint64, limit int,
	visit func(*Record) error) error {
	from = max(from, 1)
	c := newScanner(j.id)
	c.window.ahead = readBytes // most readers want the last few records
	for limit > 0 {
		s, at, last, err := j.place(from)
		if err != nil || s == nil {
			return errs.Wrap(err, "journal.read")
		}
		read, err := j.readSegment(ctx, c, s, at, reading{from, last, limit}, visit)
		if err != nil {
			return j.explain(s, from, err)
		}
		from += uint64(read)
		limit -= read
	}
	return nil
}

// explain says of a segment that was let go of while it was read that this is why it did not hold
// what it should.
func (j *Journal) explain(s *segment, seq uint64, err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	oldest := j.segments[0]
	if s.number >= oldest.number || !errs.Is(err, errs.Corrupt) && !errs.Is(err, errs.NotFound) {
		return err
	}
	return errs.New(errs.NotFound, "journal.read: record %d was let go of, the oldest is %d",
		seq, oldest.first)
}

// reading is what of a segment is wanted: records from to last, limit of them at most.
type reading struct {
	from, last uint64
	limit      int
}

// place returns the segment that holds the record, as a copy that no writer changes, the nearest
// place to start from, and the last durable record in that segment; nil beyond the durable end.
func (j *Journal) place(seq uint64) (*segment, mark, uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if seq > j.durable.Seq || len(j.segments) == 0 {
		return nil, mark{}, 0, nil
	}
	if first := j.segments[0].first; seq < first {
		return nil, mark{}, 0, errs.New(errs.NotFound,
			"record %d was let go of, the oldest is %d", seq, first)
	}
	index, at := j.find(seq)
	last := j.durable.Seq
	if index+1 < len(j.segments) && j.segments[index+1].first > 0 {
		last = min(last, j.segments[index+1].first-1)
	}
	s := *j.segments[index]
	s.marks = nil
	if index == len(j.segments)-1 {
		s.size = j.durable.Offset // what is behind it is being written
	}
	if r := j.reader; r.segment == s.number && r.seq <= seq && r.seq > at.seq {
		at = r.mark
	}
	return &s, at, last, nil
}

// readSegment visits the wanted records of one segment and returns how many there were.
func (j *Journal) readSegment(ctx context.Context, c *scanner, s *segment, at mark, want reading,
	visit func(*Record) error) (int, error) {
	file, err := j.fs.Open(j.segmentPath(s.number), 0)
	if err != nil {
		return 0, errs.Wrap(err, "journal.read")
	}
	defer func() { _ = file.Close() }() // it was only read
	c.enter(file, s, Position{Seq: at.seq - 1, Segment: s.number, Offset: at.offset}, false)
	read := 0
	for {
		if err := canceled(ctx); err != nil {
			return read, err
		}
		before := c.at
		what, err := c.next()
		if err == nil && what != foundGroup {
			err = corrupt(s, c.at.Offset, "record %d is missing or broken", c.at.Seq+1)
		}
		if err != nil {
			return read, errs.Wrap(err, "journal.read")
		}
		j.note(s.number, mark{seq: before.Seq + 1, offset: before.Offset}, c.at)
		for i := range c.records {
			r := &c.records[i]
			if r.Seq < want.from {
				continue
			}
			if err := visit(r); err != nil {
				return read, err
			}
			read++
			if r.Seq == want.last || read == want.limit {
				return read, nil
			}
		}
	}
}

// note remembers a place that a reader came by, and where it stands: one who reads in order goes on
// from there.
func (j *Journal) note(number uint64, m mark, next Position) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reader = readerPlace{number, mark{seq: next.Seq + 1, offset: next.Offset}}
	for _, s := range j.segments {
		if s.number == number {
			s.remember(m)
			return
		}
	}
}

// readerPlace is where the last reader stands.
type readerPlace struct {
	segment uint64
	mark
}
