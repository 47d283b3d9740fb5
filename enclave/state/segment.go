package state

import (
	"crypto/cipher"
	"encoding/binary"
	"path/filepath"
	"slices"

	"surety/base/errs"
	"surety/sys/vfs"
)

// segment is an open file of the log.
type segment struct {
	header
	file vfs.File
	aead cipher.AEAD
	size int64 // bytes written, the header included
	live int64 // bytes of its chunks' frames that the tree in memory refers to
}

// disk is the directory of a state, and the segments that are open.
type disk struct {
	fs       vfs.FS
	dir      string
	keys     map[uint64][32]byte
	newest   uint64 // SVN that new segments are sealed under
	segments map[uint64]*segment
	highest  uint64 // number of any segment file that was ever seen
	reach    int64  // bytes of all segments
}

func (d *disk) path(number uint64) string { return filepath.Join(d.dir, segmentName(number)) }

// list returns the numbers of the segment files, ascending.
func (d *disk) list() ([]uint64, error) {
	names, err := d.fs.List(d.dir)
	if err != nil {
		return nil, errs.Wrap(err, "state.open")
	}
	var numbers []uint64
	for _, name := range names {
		if number, is := segmentNumber(name); is {
			numbers = append(numbers, number)
		}
	}
	if len(numbers) > maxSegments {
		return nil, errs.New(errs.TooLarge, "state.open: %s has %d segments, at most %d", d.dir,
			len(numbers), maxSegments)
	}
	slices.Sort(numbers)
	if len(numbers) > 0 {
		d.highest = max(d.highest, numbers[len(numbers)-1])
	}
	return numbers, nil
}

// open opens a segment to read; it is remembered. Kind Unauthorized where its key is not here,
// Corrupt where it does not begin as it should.
func (d *disk) open(number uint64) (*segment, error) {
	if s := d.segments[number]; s != nil {
		return s, nil
	}
	file, err := d.fs.Open(d.path(number), 0)
	if err != nil {
		return nil, err
	}
	s, err := d.read(number, file)
	if err != nil {
		_ = file.Close() // nothing was written
		return nil, err
	}
	d.segments[number] = s
	d.reach += s.size
	return s, nil
}

func (d *disk) read(number uint64, file vfs.File) (*segment, error) {
	s := &segment{file: file}
	start := make([]byte, headerBytes)
	err := vfs.ReadFull(file, start, 0)
	if err == nil {
		s.header, err = decodeHeader(start)
	}
	if err == nil && s.number != number {
		err = errs.New(errs.Corrupt, "it was segment %d", s.number)
	}
	if err != nil {
		return nil, errs.Wrap(err, "segment %d", number)
	}
	key, have := d.keys[s.svn]
	if !have {
		return nil, errs.New(errs.Unauthorized, "segment %d was written by SVN %d; this build has up "+
			"to %d", number, s.svn, d.newest)
	}
	if s.aead, err = s.header.open(key); err != nil {
		return nil, err
	}
	s.size, err = file.Size()
	return s, err
}

// create makes the next segment; its header is written and not yet synced.
func (d *disk) create(volume [16]byte, id [32]byte) (*segment, error) {
	s := &segment{header: header{number: d.highest + 1, svn: d.newest, volume: volume, id: id}}
	var err error
	if s.aead, err = s.header.open(d.keys[s.svn]); err != nil {
		return nil, err
	}
	d.highest = s.number // used, whatever comes of it
	if s.file, err = d.fs.Open(d.path(s.number), vfs.Create|vfs.Exclusive); err != nil {
		return nil, err
	}
	if _, err = s.file.WriteAt(s.header.encode(), 0); err != nil {
		_ = s.file.Close() // the file is of no use
		_ = d.fs.Remove(d.path(s.number))
		return nil, err
	}
	s.size = int64(headerBytes)
	d.segments[s.number] = s
	d.reach += s.size
	return s, nil
}

// remove forgets a segment and removes its file. A file that stays is removed by the next Open.
func (d *disk) remove(number uint64) {
	if s := d.segments[number]; s != nil {
		_ = s.file.Close() // it is not needed any more
		delete(d.segments, number)
		d.reach -= s.size
	}
	_ = d.fs.Remove(d.path(number))
}

func (d *disk) close() error {
	var err error
	for _, number := range sortedKeys(d.segments) {
		if bad := d.segments[number].file.Close(); err == nil {
			err = bad
		}
	}
	d.segments = map[uint64]*segment{}
	return err
}

// fetch reads and opens a chunk: kind Corrupt where it is not what the tree refers to.
func (d *disk) fetch(r ref) ([]byte, error) {
	s := d.segments[r.segment]
	if s == nil {
		return nil, errs.New(errs.Corrupt, "state.read: segment %d is missing", r.segment)
	}
	frame := make([]byte, frameBytes(int(r.length)))
	if err := vfs.ReadFull(s.file, frame, r.offset); err != nil {
		return nil, errs.Wrap(err, "state.read: segment %d at byte %d", r.segment, r.offset)
	}
	genuine := [tagBytes]byte(frame[len(frame)-tagBytes:]) == r.tag
	plain, ok := openFrame(frame, s.aead, frameChunk, r.offset)
	if !ok || !genuine {
		return nil, errs.New(errs.Corrupt, "state.read: segment %d at byte %d is not what was written",
			r.segment, r.offset)
	}
	return plain, nil
}

// scanner reads a segment's frames one after another, and looks into those of commits.
type scanner struct {
	s       *segment
	offset  int64
	damaged bool // it ended at bytes that are no frame, rather than at the file's end
}

// body returns the next commit's body and what stands behind it; nil at the end.
func (c *scanner) body() ([]byte, error) {
	var content []byte
	for {
		kind, plain, err := c.frame()
		if err != nil || kind == 0 {
			c.damaged = c.damaged || content != nil
			return nil, err
		}
		switch {
		case kind == frameChunk && content == nil:
		case kind == framePart && len(content)+len(plain) <= maxBodyBytes:
			content = append(content, plain...)
		case kind == frameEnd && len(content)+len(plain) <= maxBodyBytes:
			return append(content, plain...), nil
		default:
			c.damaged = true
			return nil, nil
		}
	}
}

// frame passes over one frame and returns its content where it is of a commit; kind zero at the end.
func (c *scanner) frame() (kind byte, plain []byte, err error) {
	var head [frameHead]byte
	if c.offset == c.s.size {
		return 0, nil, nil
	}
	c.damaged = true
	if c.s.size-c.offset < frameHead+tagBytes {
		return 0, nil, nil
	}
	if err := vfs.ReadFull(c.s.file, head[:], c.offset); err != nil {
		return 0, nil, err
	}
	length := int(binary.LittleEndian.Uint32(head[4:]))
	kind = head[0]
	if length > partBytes || frameBytes(length) > c.s.size-c.offset {
		return 0, nil, nil
	}
	switch kind {
	case frameChunk:
	case framePart, frameEnd:
		frame := make([]byte, frameBytes(length))
		if err := vfs.ReadFull(c.s.file, frame, c.offset); err != nil {
			return 0, nil, err
		}
		var ok bool
		if plain, ok = openFrame(frame, c.s.aead, kind, c.offset); !ok {
			return 0, nil, nil
		}
	default:
		return 0, nil, nil
	}
	c.offset += frameBytes(length)
	c.damaged = false
	return kind, plain, nil
}
