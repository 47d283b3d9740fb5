package journal

import (
	"crypto/sha256"
	"hash"
	"hash/crc32"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sys/vfs"
)

// found is what a scan meets at the place where a group may start.
type found uint8

const (
	foundGroup found = 1 // a whole one
	foundBlank found = 2 // zeros, or the segment's end
	foundTorn  found = 3 // a group with a sector that was never written
)

// scanner reads groups one after the other and proves each before it hands it out.
type scanner struct {
	id       ident.ID
	segment  *segment
	window   window
	at       Position // where the next group is expected and what is before it
	anchored bool     // at.Chain is known, and the next record must continue it
	digest   hash.Hash
	records  []Record // of the group found, bodies in the window
}

func newScanner(id ident.ID) *scanner {
	return &scanner{id: id, digest: sha256.New(), window: window{ahead: windowBytes}}
}

// enter points the scanner at a place in a segment.
func (c *scanner) enter(file vfs.File, s *segment, at Position, anchored bool) {
	c.segment, c.at, c.anchored = s, at, anchored
	c.window.reset(file, s.size)
}

// next looks at the place the scanner stands on. After foundGroup the group is in records and the
// scanner stands behind it; otherwise it has not moved. The error is of kind Corrupt, or what a
// read gave.
func (c *scanner) next() (found, error) {
	c.records = c.records[:0]
	start := c.at.Offset
	if start+PageSize > c.segment.size {
		return foundBlank, nil
	}
	page, err := c.window.bytes(start, PageSize)
	if err != nil {
		return 0, err
	}
	if blank(page[:vfs.SectorSize]) {
		return foundBlank, nil
	}
	head, err := decodeHeader(page)
	if err != nil {
		return 0, corrupt(c.segment, start, "record %d: %v", c.at.Seq+1, err)
	}
	if err := c.belongs(&head, c.at.Seq+1, 0, start); err != nil {
		return 0, err
	}
	size := pages(int(head.groupUsed))
	if start+int64(size) > c.segment.size {
		return 0, corrupt(c.segment, start, "a group of %d bytes reaches beyond the segment", size)
	}
	group, err := c.window.bytes(start, size)
	if err != nil {
		return 0, err
	}
	if err := c.walk(&head, group); err != nil {
		if torn(group[:head.groupUsed]) {
			return foundTorn, nil
		}
		return 0, err
	}
	last := &c.records[len(c.records)-1]
	c.at = Position{Seq: last.Seq, Segment: c.segment.number, Offset: start + int64(size),
		Chain: last.Chain}
	c.anchored = true
	return foundGroup, nil
}

// torn reports whether one of the sectors was never written.
func torn(group []byte) bool {
	for at := 0; at < len(group); at += vfs.SectorSize {
		if blank(group[at:min(at+vfs.SectorSize, len(group))]) {
			return true
		}
	}
	return false
}

// walk proves each record of the group that head begins.
func (c *scanner) walk(head *header, group []byte) error {
	previous, at := head.Previous, 0
	for i := range head.groupCount {
		offset := c.at.Offset + int64(at)
		if at+HeaderSize > len(group) {
			return corrupt(c.segment, offset, "a group of %d records ends after %d", head.groupCount, i)
		}
		seq := head.groupFirst + uint64(i)
		h, err := decodeHeader(group[at:])
		if err != nil {
			return corrupt(c.segment, offset, "record %d: %v", seq, err)
		}
		if err := c.belongs(&h, seq, i, offset); err != nil {
			return err
		}
		if h.groupCount != head.groupCount || h.groupUsed != head.groupUsed || h.Previous != previous {
			return corrupt(c.segment, offset, "record %d does not continue its group", seq)
		}
		end := at + HeaderSize + int(h.bodySize)
		if end > len(group) {
			return corrupt(c.segment, offset, "record %d reaches beyond its group", seq)
		}
		h.Body = group[at+HeaderSize : end]
		if sum := crc32.Checksum(h.Body, castagnoli); sum != h.bodySum {
			return corrupt(c.segment, offset, "record %d: body has checksum %08x, want %08x",
				seq, sum, h.bodySum)
		}
		if chainOf(c.digest, &h.Previous, group[at:], h.Body) != h.Chain {
			return corrupt(c.segment, offset, "record %d: the hash is not that of its content", seq)
		}
		previous = h.Chain
		at += span(int(h.bodySize))
		c.records = append(c.records, h.Record)
	}
	return nil
}

// belongs holds an intact header to its place: this journal, segment, offset and number, and the
// hash before it.
func (c *scanner) belongs(h *header, seq uint64, index uint32, offset int64) error {
	switch {
	case h.journal != c.id:
		return corrupt(c.segment, offset, "record %d is of journal %s, not %s", seq, h.journal, c.id)
	case h.Segment != c.segment.number || h.Offset != offset:
		return corrupt(c.segment, offset, "the record was written to segment %s at byte %d",
			segmentName(h.Segment), h.Offset)
	case h.Seq != seq || h.groupIndex != index:
		return corrupt(c.segment, offset, "record %d lies where record %d belongs", h.Seq, seq)
	case index == 0 && c.anchored && h.Previous != c.at.Chain:
		return corrupt(c.segment, offset, "the chain is broken between records %d and %d", seq-1, seq)
	}
	return nil
}

// window is a stretch of a file in memory, read ahead in large pieces.
type window struct {
	file   vfs.File
	size   int64
	buffer []byte
	start  int64
	filled int
	ahead  int // bytes to read at once; it doubles up to windowBytes
}

const (
	// windowBytes is read at once where it is there: enough for the disk to work at full speed.
	windowBytes = 1 << 20
	// readBytes is what a reader begins with.
	readBytes = 16 << 10
)

func (w *window) reset(file vfs.File, size int64) {
	w.file, w.size, w.start, w.filled = file, size, 0, 0
}

// bytes returns size bytes at the offset, good until the next call.
func (w *window) bytes(offset int64, size int) ([]byte, error) {
	if offset < w.start || offset+int64(size) > w.start+int64(w.filled) {
		want := int(min(int64(max(size, w.ahead)), w.size-offset))
		w.ahead = min(2*w.ahead, windowBytes)
		if want < size {
			return nil, errs.New(errs.Corrupt, "%d bytes at %d, the file has %d", size, offset, w.size)
		}
		if cap(w.buffer) < want {
			w.buffer = make([]byte, want)
		}
		w.start, w.filled = offset, 0
		if err := vfs.ReadFull(w.file, w.buffer[:want], offset); err != nil {
			return nil, err
		}
		w.filled = want
	}
	from := int(offset - w.start)
	return w.buffer[from : from+size], nil
}
