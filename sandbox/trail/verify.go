package trail

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sys/vfs"
)

// Check says what a trail is verified against.
type Check struct {
	Key     PublicKey // zero: the one the trail's own birth record names
	Anchors []Head    // heads noted elsewhere while the sandbox ran; those of others are passed over
	Running bool      // a trail without a final record is no fault
}

// Fault is one thing wrong with a trail. Seq is the last inside record before it.
type Fault struct {
	Segment int    `json:"segment"`
	Offset  int64  `json:"offset"`
	Seq     uint64 `json:"seq"`
	Text    string `json:"text"`
}

func (f Fault) String() string {
	return fmt.Sprintf("segment %d at byte %d, after record %d: %s", f.Segment, f.Offset, f.Seq, f.Text)
}

// Where the key of a report came from.
const (
	KeyGiven = "given" // by the caller
	KeyBirth = "birth" // the trail's own birth record
	KeyTrail = "trail" // the trail's header alone: there is no birth record
)

// Report is what verifying a trail has shown.
type Report struct {
	Sandbox     string         `json:"sandbox"`
	Key         string         `json:"key"`
	KeyFrom     string         `json:"key_from"` // given | birth | trail
	Birth       *sandbox.Birth `json:"birth,omitempty"`
	Segments    int            `json:"segments"`
	Bytes       int64          `json:"bytes"`
	Records     uint64         `json:"records"` // from inside
	Outside     uint64         `json:"outside"` // of the host
	Refused     uint64         `json:"refused"`
	WouldRefuse uint64         `json:"would_refuse"`
	From        clock.Instant  `json:"from"` // of the first record, ns since 1970
	To          clock.Instant  `json:"to"`   // of the last
	Head        Head           `json:"head"` // as the last good seal says
	Seals       uint64         `json:"seals"`
	Unsealed    uint64         `json:"unsealed"` // entries after the last seal
	Torn        int64          `json:"torn"`     // bytes cut short by crashes, covered up since
	Ended       bool           `json:"ended"`    // has its final record, sealed
	Running     bool           `json:"running"`  // its writer lives
	Reason      string         `json:"reason,omitempty"`
	Status      int64          `json:"status"`
	Anchored    int            `json:"anchored"` // anchors that hold
	Anchor      *Head          `json:"anchor,omitempty"`
	Faults      []Fault        `json:"faults,omitempty"` // the first hundred
}

// Verify checks the whole trail at path, a directory or a bundle, with nothing else than what it is
// given: every entry's bytes, every record's place in the chain, every seal's signature, that
// nothing is missing between or after them, and the anchors. The error is of kind Corrupt where the
// report has faults, and names the first; the report is complete all the same.
func Verify(path string, c Check) (Report, error) {
	src, done, err := openSource(path)
	if err != nil {
		return Report{}, err
	}
	v := newVerifier(src, c)
	err = v.run()
	if err == nil {
		v.conclude(func() bool { return isLocked(path) })
	}
	if closing := v.scan.close(); err == nil {
		err = closing
	}
	if done != nil {
		_ = done.Close() // it was only read
	}
	if err == nil && len(v.report.Faults) > 0 {
		err = errs.New(errs.Corrupt, "trail.verify: %v", v.report.Faults[0])
	}
	return v.report, err
}

// isLocked reports whether a writer holds the trail in the directory.
func isLocked(dir string) bool {
	name := filepath.Join(dir, lockName)
	if f, err := (vfs.OS{}).Open(name, 0); err != nil || f.Close() != nil {
		return false // a copy has none, and should get none
	}
	lock, err := (vfs.OS{}).Lock(name)
	if err != nil {
		return errs.Is(err, errs.Locked)
	}
	_ = lock.Close() // nothing was written
	return false
}

// verifier reads a trail and holds each entry against what those before it said.
type verifier struct {
	check   Check
	scan    *scanner
	report  Report
	key     PublicKey
	state   state // as the entries read so far make it
	digest  hash.Hash
	pending uint64 // entries since the last seal
	at      place  // of the entry being looked at
	anchors map[string]Head
	final   bool // a final record was read
	closed  bool // and its seal
	header  bool // of this trail was read
}

func newVerifier(src source, c Check) *verifier {
	v := &verifier{check: c, scan: newScanner(src), digest: sha256.New(), key: c.Key,
		anchors: map[string]Head{}}
	for _, a := range c.Anchors {
		v.anchors[a.Seal] = a
	}
	return v
}

func (v *verifier) fault(format string, args ...any) {
	if len(v.report.Faults) < maxFaults {
		v.report.Faults = append(v.report.Faults, Fault{Segment: v.at.segment, Offset: v.at.offset,
			Seq: v.state.chain.Seq, Text: fmt.Sprintf(format, args...)})
	}
}

// run reads all entries. The error is one of reading; what is wrong with the trail is a fault.
func (v *verifier) run() error {
	for {
		e, err := v.scan.next()
		var bad *damage
		switch {
		case err == io.EOF:
			return v.tail()
		case errors.As(err, &bad):
			v.at = bad.place
			v.fault("%s", bad.text)
			if more, err := v.scan.skip(bad); err != nil || !more {
				return err
			}
		case err != nil:
			return err
		default:
			v.at = e.place
			v.entry(e)
		}
	}
}

// tail looks at what lies behind the last whole entry.
func (v *verifier) tail() error {
	left, err := v.scan.left()
	if err == nil && left > 0 {
		v.at = place{v.scan.segment, v.scan.offset}
		// A writer may be in the middle of an entry: conclude knows.
		v.pending++
	}
	return err
}

func (v *verifier) entry(e entry) {
	if v.closed {
		v.fault("an entry after the seal of the final record")
	}
	if e.place.offset == 0 != (e.kind == kindHeader) {
		v.fault("an entry of kind %d where a header is expected, or the reverse", e.kind)
	}
	switch e.kind {
	case kindHeader:
		v.onHeader(e)
	case kindInside:
		v.onInside(e)
	case kindOutside:
		v.onOutside(e)
	case kindFiller:
		v.onFiller(e)
	case kindSeal:
		v.onSeal(e)
		return
	}
	v.pending++
	v.digest.Write(e.raw)
}

// onHeader compares what a segment says goes before it with what did.
func (v *verifier) onHeader(e entry) {
	h, err := decodeHeader(e.payload())
	if err != nil {
		v.fault("%v", err)
		return
	}
	if v.pending > 0 {
		v.fault("%d entries before it are under no seal", v.pending)
	}
	if !v.header {
		v.header = true
		v.report.Sandbox = h.sandbox
		if v.key.IsZero() {
			v.key = h.key
		}
	}
	if h.sandbox != v.report.Sandbox || h.key != v.key {
		v.fault("the segment is of sandbox %q under %v, the trail of %q under %v", h.sandbox, h.key,
			v.report.Sandbox, v.key)
	}
	if want := v.report.Segments + 1; int(h.segment) != want || v.at.segment != want {
		v.fault("segment %d of the trail is missing: file %d says it is segment %d", want,
			v.at.segment, h.segment)
	}
	if h.state != v.state {
		v.fault("the segment goes on from record %d, outside record %d and seal %d (%.8x), before it "+
			"are %d, %d and %d (%.8x)", h.state.chain.Seq, h.state.outside, h.state.seals,
			h.state.seal, v.state.chain.Seq, v.state.outside, v.state.seals, v.state.seal)
	}
	// What follows is held against the segment's own word, so that one gap is one fault.
	v.report.Segments = int(h.segment)
	v.state, v.pending = h.state, 0
	v.digest.Reset()
}

// onInside checks that a record is the next of the chain.
func (v *verifier) onInside(e entry) {
	rec, n, err := sandbox.DecodeRecord(e.payload())
	if err == nil && len(e.payload()) != n+ring.HeadBytes {
		err = errs.New(errs.Corrupt, "%d bytes after it", len(e.payload())-n)
	}
	if err != nil {
		v.fault("not a record: %v", err)
		return
	}
	stated := sandbox.Digest(e.payload()[n:])
	next := v.state.chain
	head := next.Add(e.payload()[:n])
	switch {
	case rec.Seq != next.Seq:
		v.fault("record %d comes after record %d", rec.Seq, v.state.chain.Seq)
	case head != stated:
		v.fault("record %d does not continue the chain", rec.Seq)
	case rec.Outside || rec.Kind == sandbox.KindFinal:
		v.fault("record %d from inside says it is the host's", rec.Seq)
	case v.final:
		v.fault("record %d comes after the final record", rec.Seq)
	}
	v.state.chain = sandbox.Chain{Seq: rec.Seq, Head: stated}
	v.report.Records++
	v.count(&rec)
	if rec.Seq == 1 {
		v.onBirth(&rec)
	}
}

func (v *verifier) onBirth(rec *sandbox.Record) {
	birth, err := birthOf(rec)
	if err != nil {
		v.fault("%v", err)
		return
	}
	v.report.Birth = &birth
	if birth.Sandbox != v.report.Sandbox {
		v.fault("the birth record is of sandbox %q, the trail of %q", birth.Sandbox, v.report.Sandbox)
	}
	if birth.Key != v.key.String() {
		v.fault("the birth record names key %s, the seals are held against %v", birth.Key, v.key)
	}
}

func (v *verifier) count(rec *sandbox.Record) {
	switch rec.Verdict {
	case sandbox.Refused:
		v.report.Refused++
	case sandbox.WouldRefuse:
		v.report.WouldRefuse++
	}
	if v.report.From == 0 {
		v.report.From = rec.At
	}
	v.report.To = rec.At
}

// onOutside checks a record of the host's.
func (v *verifier) onOutside(e entry) {
	rec, n, err := sandbox.DecodeRecord(e.payload())
	if err == nil && n != len(e.payload()) {
		err = errs.New(errs.Corrupt, "%d bytes after it", len(e.payload())-n)
	}
	if err != nil {
		v.fault("not an outside record: %v", err)
		return
	}
	final := rec.Kind == sandbox.KindFinal
	switch {
	case !rec.Outside:
		v.fault("outside record %d says it is from inside", rec.Seq)
	case rec.Seq != v.state.outside+1:
		v.fault("outside record %d comes after outside record %d", rec.Seq, v.state.outside)
	case v.final && !final:
		v.fault("outside record %d comes after the final record", rec.Seq)
	}
	v.state.outside = rec.Seq
	v.report.Outside++
	v.count(&rec)
	if final { // a recovery repeats one whose seal a power cut took
		v.final = true
		v.report.Reason, v.report.Status = rec.Text, rec.Result
	}
}

func (v *verifier) onFiller(e entry) {
	for _, b := range e.payload() {
		if b != 0 {
			v.fault("a filler is not empty")
			break
		}
	}
	v.report.Torn += int64(len(e.raw))
}

// onSeal holds a seal against everything since the last one.
func (v *verifier) onSeal(e entry) {
	s, err := decodeSeal(e.payload())
	if err != nil {
		v.fault("%v", err)
		return
	}
	good := len(v.report.Faults)
	if !signed(e.payload(), v.key) {
		v.fault("seal %d is not signed by %v", s.number, v.key)
	}
	if s.sandbox != v.report.Sandbox {
		v.fault("seal %d is of sandbox %q", s.number, s.sandbox)
	}
	if s.number != v.state.seals+1 || s.prev != v.state.seal {
		v.fault("seal %d follows %.8x, the last one is seal %d, %.8x", s.number, s.prev, v.state.seals,
			v.state.seal)
	}
	if s.chain != v.state.chain || s.outside != v.state.outside {
		v.fault("seal %d stands at record %d (%.8x) and outside record %d, the entries at %d (%.8x) "+
			"and %d", s.number, s.chain.Seq, s.chain.Head, s.outside, v.state.chain.Seq,
			v.state.chain.Head, v.state.outside)
	}
	if digest := v.digest.Sum(nil); s.entries != v.pending || string(digest) != string(s.digest[:]) {
		v.fault("seal %d is over %d entries with hash %.8x, there are %d with %.8x", s.number, s.entries,
			s.digest, v.pending, digest)
	}
	if s.final != v.final {
		v.fault("seal %d and the records differ on whether the trail has ended", s.number)
	}
	v.closed = s.final
	v.state.seals, v.state.seal = s.number, digestOf(e.payload())
	v.pending = 0
	v.digest.Reset()
	if len(v.report.Faults) == good {
		v.report.Seals++
		v.report.Head = headOf(&s, e.payload())
	}
	v.anchor(headOf(&s, e.payload()))
}

// anchor compares a seal with what was noted of it elsewhere.
func (v *verifier) anchor(h Head) {
	noted, is := v.anchors[h.Seal]
	if !is {
		return
	}
	delete(v.anchors, h.Seal)
	if noted != h {
		v.fault("the anchor of seal %.16s names record %d of %s, the seal record %d", h.Seal, noted.Seq,
			noted.Sandbox, h.Seq)
		return
	}
	v.report.Anchored++
	v.report.Anchor = &h
}

// conclude judges the end. locked tells whether the trail is still being written.
func (v *verifier) conclude(locked func() bool) {
	r := &v.report
	r.Key, r.KeyFrom = v.key.String(), v.keyFrom()
	r.Bytes, r.Ended = v.scan.bytes, v.closed
	r.Segments = v.scan.segments
	r.Unsealed = v.pending
	if !v.closed {
		r.Running = locked()
	}
	v.at = place{v.scan.segment, v.scan.offset}
	if !v.closed && !r.Running && !v.check.Running {
		v.fault("the trail does not end with a sealed final record, and nobody is writing it")
		if v.pending > 0 {
			v.fault("%d entries are under no seal", v.pending)
		}
	}
	if v.closed && v.pending > 0 {
		v.fault("bytes after the seal of the final record")
	}
	for _, a := range v.check.Anchors { // in the order given
		if _, missing := v.anchors[a.Seal]; missing && a.Sandbox == r.Sandbox {
			v.fault("the anchored seal %.16s, at record %d, is not in the trail", a.Seal, a.Seq)
		}
	}
}

func (v *verifier) keyFrom() string {
	switch {
	case !v.check.Key.IsZero():
		return KeyGiven
	case v.report.Birth != nil:
		return KeyBirth
	}
	return KeyTrail
}
