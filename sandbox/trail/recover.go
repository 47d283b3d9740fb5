package trail

import (
	"errors"
	"io"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sys/vfs"
)

// Recover ends the trail of a sandbox whose supervisor died: what the ring at ringPath holds is
// appended, then a final record with reason and status. A trail that has one already is left as it
// is; a ring that does not exist is no error, and one that is damaged is named in the final record.
// A directory without a trail gets one. Errors: Locked while its supervisor lives, or another
// recovers it; what keeps the trail from being read or written.
func Recover(c Config, ringPath, reason string, status int) error {
	w, err := lockTrail(c)
	if err != nil {
		return err
	}
	w.again = true
	final, err := w.resume()
	if err != nil || final {
		if closing := w.letGo(); err == nil {
			err = closing
		}
		return err
	}
	r, err := ring.Open(ringPath)
	switch {
	case err == nil:
		defer r.Close()
		w.consumer = ring.NewConsumer(r)
	case errs.Is(err, errs.NotFound):
	default:
		reason += " (the ring: " + err.Error() + ")"
	}
	return w.Finish(reason, status)
}

// resume finds the end of a trail and makes the writer stand there. It reports whether the trail has
// its final record. Bytes behind the end are left to cover; a segment that is damaged elsewhere is
// left alone, and a new one begun.
func (w *Writer) resume() (final bool, err error) {
	found, err := w.findEnd()
	if err != nil || found.final {
		return found.final, err
	}
	w.forced = true
	if err := w.release(); err != nil {
		return false, err
	}
	if found.segment == 0 {
		return false, w.begin(1)
	}
	w.state, w.birth = found.state, found.birth
	if found.blank != 0 {
		w.segment = found.blank - 1
		return false, w.begin(found.blank)
	}
	if found.damaged {
		return false, w.begin(found.segment + 1)
	}
	w.segment, w.offset, w.pending = found.segment, found.offset, found.pending
	w.since = w.config.Clock.Now()
	w.file, err = w.config.FS.Open(w.path(segmentName(w.segment)), vfs.Writable)
	w.dirty = true
	return false, errs.Wrap(err, "trail.recover")
}

// end is where a trail ends.
type end struct {
	segment int // the last with a header; 0 where there is none
	offset  int64
	state   state
	pending uint64
	birth   *sandbox.Birth
	final   bool
	damaged bool // an entry before the end is not what was written
	blank   int  // a later segment without a whole header
}

// findEnd reads the last segment that has a header.
func (w *Writer) findEnd() (end, error) {
	src := directory{w.config.FS, w.config.Dir}
	numbers, err := src.list()
	if err != nil {
		return end{}, err
	}
	var found end
	for i := len(numbers) - 1; i >= 0 && found.segment == 0; i-- {
		blank := found.blank
		found, err = w.readSegment(src, numbers[i])
		if err != nil {
			return end{}, err
		}
		if found.blank = blank; found.segment == 0 {
			found.blank = numbers[i]
		}
	}
	if found.segment == 0 && found.blank != 0 { // the trail's very first header was cut short
		found.blank = 0
	}
	return found, nil
}

// readSegment reads one segment to its end.
func (w *Writer) readSegment(src source, segment int) (end, error) {
	s := newScanner(src)
	s.segment, s.last = segment-1, segment
	var found end
	defer func() { _ = s.close() }() // it was only read
	for {
		e, err := s.next()
		var bad *damage
		if errors.As(err, &bad) {
			// What is unfinished has nothing sound behind it; what has is damage to a whole entry.
			behind, err := s.skip(bad)
			if err != nil || !behind {
				return found, err
			}
			found.damaged = true
			continue
		}
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return end{}, err
		}
		if err := w.follow(&found, e); err != nil {
			return end{}, errs.As(errs.Corrupt, err, "trail.recover: segment %d at byte %d", segment,
				e.place.offset)
		}
		found.offset = s.offset
	}
}

// follow takes one entry into account, and its bytes into the digest of the next seal.
func (w *Writer) follow(found *end, e entry) error {
	switch {
	case e.kind == kindHeader:
		h, err := decodeHeader(e.payload())
		if err != nil {
			return err
		}
		if h.sandbox != w.config.Sandbox || h.key != w.config.Key.Public() {
			return errs.New(errs.Corrupt, "the trail is of sandbox %q under %v, not %q under %v",
				h.sandbox, h.key, w.config.Sandbox, w.config.Key.Public())
		}
		found.segment, found.state = e.place.segment, h.state
	case found.segment == 0:
		return errs.New(errs.Corrupt, "the segment does not begin with a header")
	case e.kind == kindSeal:
		s, err := decodeSeal(e.payload())
		if err != nil {
			return err
		}
		found.state.seals, found.state.seal = s.number, digestOf(e.payload())
		found.final, found.pending = s.final, 0
		w.digest.Reset()
		return nil
	case e.kind == kindInside || e.kind == kindOutside:
		if err := found.record(e); err != nil {
			return err
		}
	}
	found.pending++
	w.digest.Write(e.raw)
	return nil
}

func (found *end) record(e entry) error {
	rec, n, err := sandbox.DecodeRecord(e.payload())
	if err != nil {
		return err
	}
	if e.kind == kindOutside {
		found.state.outside = rec.Seq
		return nil
	}
	if len(e.payload()) != n+ring.HeadBytes {
		return errs.New(errs.Corrupt, "record %d has %d bytes behind it, want %d", rec.Seq,
			len(e.payload())-n, ring.HeadBytes)
	}
	found.state.chain = sandbox.Chain{Seq: rec.Seq, Head: sandbox.Digest(e.payload()[n:])}
	if rec.Seq == 1 {
		birth, err := birthOf(&rec)
		if err != nil {
			return err
		}
		found.birth = &birth
	}
	return nil
}
