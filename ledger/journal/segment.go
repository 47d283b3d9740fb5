package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path"
	"slices"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sys/vfs"
)

// segment is one file of the journal. Its first page is its header, written together with its first
// group; groups fill the rest.
type segment struct {
	number   uint64
	first    uint64 // Seq of its first record
	previous Hash   // Chain before that record
	size     int64
	file     vfs.File // for writing; nil where the segment is not the current one
	marks    []mark   // places of groups, in order, at least markBytes apart
}

// mark is a remembered place: the group whose first record is seq starts at offset.
type mark struct {
	seq    uint64
	offset int64
}

const (
	segmentSuffix = ".segment"
	draftSuffix   = ".draft"
)

func segmentName(number uint64) string { return fmt.Sprintf("%08d%s", number, segmentSuffix) }

func (s *segment) name() string { return segmentName(s.number) }

// segmentNumber is the inverse of segmentName and reports whether the name is a segment's.
func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, err == nil && number > 0 && segmentName(number) == name
}

// encodeHeader writes the segment's header page.
func (s *segment) encodeHeader(into []byte, id ident.ID) {
	b := into[:PageSize]
	clear(b)
	put := binary.LittleEndian
	put.PutUint64(b[0:], segmentMagic)
	put.PutUint32(b[8:], version)
	put.PutUint64(b[16:], s.number)
	put.PutUint64(b[24:], s.first)
	putID(b[32:], id)
	copy(b[48:80], s.previous[:])
	put.PutUint64(b[80:], uint64(s.size))
	put.PutUint32(b[508:], crc32.Checksum(b[:508], castagnoli))
}

// decodeHeader reads the segment's header page into first and previous. used is false where the
// page is blank: nothing was written here yet. The error is of kind Corrupt.
func (s *segment) decodeHeader(b []byte, id ident.ID) (used bool, err error) {
	if blank(b[:vfs.SectorSize]) {
		return false, nil
	}
	get := binary.LittleEndian
	if get.Uint64(b) != segmentMagic {
		return false, corrupt(s, 0, "not the header of a segment")
	}
	if got, want := crc32.Checksum(b[:508], castagnoli), get.Uint32(b[508:]); got != want {
		return false, corrupt(s, 508, "header has checksum %08x, want %08x", got, want)
	}
	if v := get.Uint32(b[8:]); v != version {
		return false, corrupt(s, 8, "segment has format %d, this program reads %d", v, version)
	}
	if n := get.Uint64(b[16:]); n != s.number {
		return false, corrupt(s, 16, "the file holds segment %d", n)
	}
	if journal := getID(b[32:]); journal != id {
		return false, corrupt(s, 32, "the segment is of journal %s, not %s", journal, id)
	}
	if size := int64(get.Uint64(b[80:])); size != s.size {
		return false, corrupt(s, 80, "the file has %d bytes, it had %d", s.size, size)
	}
	s.first = get.Uint64(b[24:])
	s.previous = Hash(b[48:80])
	return true, nil
}

// openSegments lists the segments and reads their headers. Those with a header must follow each
// other without a gap from the first one kept; at most blank ones come after.
func (j *Journal) openSegments() error {
	names, err := j.fs.List(j.dir)
	if err != nil {
		return err
	}
	last := j.super.first - 1
	blanks := 0
	for _, name := range names {
		number, ok := segmentNumber(name)
		if !ok || number < j.super.first {
			continue // a draft, another file, or a segment that was let go of
		}
		s, used, err := j.inspect(number)
		if err != nil {
			return err
		}
		if used && (number != last+1 || blanks > 0) {
			return corrupt(s, 0, "segment %s is missing or blank", segmentName(last+1))
		}
		if used {
			last = number
		} else {
			blanks++
		}
		j.segments = append(j.segments, s)
	}
	return j.checkSegments(last)
}

// inspect reads the header of one segment.
func (j *Journal) inspect(number uint64) (*segment, bool, error) {
	s := &segment{number: number}
	file, err := j.fs.Open(j.segmentPath(number), 0)
	if err != nil {
		return s, false, err
	}
	defer func() { _ = file.Close() }() // it was only read
	if s.size, err = file.Size(); err != nil {
		return s, false, err
	}
	page := make([]byte, PageSize)
	if s.size < PageSize { // a segment gets its name when all its zeros are on the disk
		return s, false, corrupt(s, s.size, "the file ends within its header")
	}
	if err := vfs.ReadFull(file, page, 0); err != nil {
		return s, false, err
	}
	used, err := s.decodeHeader(page, j.id)
	return s, used, err
}

// checkSegments holds what was found to the superblock: last is the last used segment.
func (j *Journal) checkSegments(last uint64) error {
	j.durable = j.super.floor
	if floor := j.super.floor; floor.Seq > 0 && floor.Segment > last {
		return errs.New(errs.Corrupt, "record %d was synced into segment %s, which is missing or blank",
			floor.Seq, segmentName(floor.Segment))
	}
	if len(j.segments) > 0 && j.segments[0].first > 1 && j.segments[0].number == 1 {
		return corrupt(j.segments[0], 24, "the first segment starts with record %d", j.segments[0].first)
	}
	return nil
}

func (j *Journal) segmentPath(number uint64) string { return path.Join(j.dir, segmentName(number)) }

// find returns the number of the segment that holds the record, and the nearest remembered place
// at or before it; mu is held.
func (j *Journal) find(seq uint64) (index int, at mark) {
	index = len(j.segments) - 1
	for index > 0 && (j.segments[index].first == 0 || j.segments[index].first > seq) {
		index--
	}
	s := j.segments[index]
	at = mark{seq: s.first, offset: PageSize}
	for _, m := range s.marks {
		if m.seq <= seq {
			at = m
		}
	}
	return index, at
}

// remember adds a place to the segment's marks, where it is far enough from the last; mu is held.
func (s *segment) remember(m mark) {
	place, found := slices.BinarySearchFunc(s.marks, m.offset, func(a mark, offset int64) int {
		return int(max(-1, min(1, a.offset-offset)))
	})
	if found || place > 0 && m.offset-s.marks[place-1].offset < markBytes {
		return
	}
	if place < len(s.marks) && s.marks[place].offset-m.offset < markBytes {
		return
	}
	s.marks = slices.Insert(s.marks, place, m)
}

// releasable returns the number of the oldest segment that the snapshots or the option Retain still
// need. Without two snapshots that is the first.
func (j *Journal) releasable(kept []Snapshot) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := j.super.first
	if j.options.Retain <= 0 || len(kept) < snapshotsKept {
		return first
	}
	oldest := kept[len(kept)-1].Segment
	for _, s := range j.segments {
		if s.number+uint64(j.options.Retain) < oldest {
			first = s.number + 1
		}
	}
	return first
}

// recycle hands the segments before first to the preparer, who writes over one and removes more.
func (j *Journal) recycle(first uint64) error {
	j.mu.Lock()
	cut := 0
	for cut < len(j.segments)-1 && j.segments[cut].number < first {
		cut++
	}
	old := slices.Clone(j.segments[:cut])
	j.segments = slices.Delete(j.segments, 0, cut)
	j.mu.Unlock()
	for _, s := range old {
		if !j.prepare.offer(s.number) {
			if err := j.fs.Remove(j.segmentPath(s.number)); err != nil {
				return errs.Wrap(err, "journal.adopt: remove segment %s", s.name())
			}
		}
	}
	return nil
}
