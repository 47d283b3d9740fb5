package trail

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"path/filepath"

	"surety/base/errs"
	"surety/sys/vfs"
)

// Head is how far a trail has got, as a seal says: what is anchored elsewhere.
type Head struct {
	Sandbox string `json:"sandbox"`
	Seq     uint64 `json:"seq"`  // of the last inside record
	Head    string `json:"head"` // of the chain after it, hex
	Seal    string `json:"seal"` // SHA-256 of the seal, hex
}

func headOf(s *seal, payload []byte) Head {
	digest := digestOf(payload)
	return Head{Sandbox: s.sandbox, Seq: s.chain.Seq, Head: hex.EncodeToString(s.chain.Head[:]),
		Seal: hex.EncodeToString(digest[:])}
}

// HeadOf reads the last seal of the trail in dir that is certain to outlive a power cut. It is
// quick, however long the trail is, and reads while the trail is written. Errors: NotFound before
// the first seal; Corrupt. The seal's signature is not checked: that is Verify's.
func HeadOf(dir string) (Head, error) {
	src := directory{vfs.OS{}, dir}
	at, err := lastSeal(src)
	if err != nil {
		return Head{}, err
	}
	h, _, err := readSeal(src, at)
	return h, err
}

// readSeal reads the seal at a place, and where it ends.
func readSeal(src source, at place) (Head, place, error) {
	s := newScanner(src)
	defer func() { _ = s.close() }() // it was only read
	if err := s.enter(at.segment); err != nil {
		return Head{}, place{}, err
	}
	s.offset = at.offset
	e, err := s.next()
	if err != nil || e.kind != kindSeal || e.place != at {
		return Head{}, place{}, errs.New(errs.Corrupt, "trail.head: segment %d at byte %d: no seal: %v",
			at.segment, at.offset, err)
	}
	sealed, err := decodeSeal(e.payload())
	if err != nil {
		return Head{}, place{}, errs.Wrap(err, "trail.head: segment %d at byte %d", at.segment, at.offset)
	}
	return headOf(&sealed, e.payload()), place{s.segment, s.offset}, nil
}

// lastSeal finds the last seal: by the hint, where it leads to one, else by reading the segments
// from the last on.
func lastSeal(src directory) (place, error) {
	if at, known := src.readHint(); known {
		if _, _, err := readSeal(src, at); err == nil {
			return at, nil
		}
	}
	numbers, err := src.list()
	if err != nil {
		return place{}, err
	}
	for i := len(numbers) - 1; i >= 0; i-- {
		at, err := sealIn(src, numbers[i])
		if err != nil || at.segment != 0 {
			return at, err
		}
	}
	return place{}, errs.New(errs.NotFound, "trail.head: %s has no seal yet", src.dir)
}

// sealIn returns the last seal of a segment, up to its end or its damage.
func sealIn(src source, segment int) (place, error) {
	s := newScanner(src)
	s.segment, s.last = segment-1, segment
	defer func() { _ = s.close() }() // it was only read
	var at place
	for {
		e, err := s.next()
		var bad *damage
		if err == io.EOF || errors.As(err, &bad) {
			return at, nil
		}
		if err != nil {
			return place{}, err
		}
		if e.kind == kindSeal {
			at = e.place
		}
	}
}

// hint says where a seal is. Two of them, written by turns, are the head file: one is whole at any
// time.
type hint struct {
	number uint64
	place  place
}

// hintBytes is the length of a hint: number, segment, offset, CRC-32C.
const hintBytes = 32

// writeHint notes a seal that is on the disk. It is a matter of speed alone: that it could not be
// written costs the next HeadOf a segment's reading.
func (w *Writer) writeHint(h hint) {
	if h.number == 0 {
		return
	}
	file, err := w.config.FS.Open(w.path(headName), vfs.Create)
	if err != nil {
		return
	}
	var b [hintBytes]byte
	binary.LittleEndian.PutUint64(b[0:], h.number)
	binary.LittleEndian.PutUint64(b[8:], uint64(h.place.segment))
	binary.LittleEndian.PutUint64(b[16:], uint64(h.place.offset))
	binary.LittleEndian.PutUint32(b[24:], crc32.Checksum(b[:24], castagnoli()))
	_, _ = file.WriteAt(b[:], int64(h.number%2)*hintBytes)
	_ = file.Close()
}

// readHint returns the later of the hints that are whole.
func (d directory) readHint() (place, bool) {
	file, err := d.fs.Open(filepath.Join(d.dir, headName), 0)
	if err != nil {
		return place{}, false
	}
	defer func() { _ = file.Close() }() // it was only read
	var both [2 * hintBytes]byte
	n, _ := file.ReadAt(both[:], 0) // a short file has one hint or none
	var last hint
	for b := both[:n]; len(b) >= hintBytes; b = b[hintBytes:] {
		number := binary.LittleEndian.Uint64(b)
		if crc32.Checksum(b[:24], castagnoli()) != binary.LittleEndian.Uint32(b[24:]) ||
			number <= last.number {
			continue
		}
		last = hint{number, place{int(binary.LittleEndian.Uint64(b[8:])),
			int64(binary.LittleEndian.Uint64(b[16:]))}}
	}
	return last.place, last.number > 0
}
