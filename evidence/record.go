package evidence

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// Record is one fact of the log: an Entry without its payload, committing to it.
type Record struct {
	Source       string
	SourceSeq    uint64
	Part         string
	Kind         string
	Subjects     []ident.ID
	Trace        ident.ID
	At           clock.Instant
	Digest       Hash   // SHA-256 of the payload as stored
	PayloadBytes uint32 // its length, at most MaxPayload; zero means that there is none
	Sealed       bool
}

// Names reports whether the record concerns the id, as a subject or as its trace.
func (r *Record) Names(id ident.ID) bool {
	return !id.IsZero() && (r.Trace == id || slices.Contains(r.Subjects, id))
}

// Check returns the first rule the record breaks: kind Invalid or TooLarge, nil where it is good.
func (r *Record) Check() error {
	for _, name := range [...]struct{ what, text string }{
		{"source", r.Source}, {"part", r.Part}, {"kind", r.Kind},
	} {
		if err := checkName(name.what, name.text); err != nil {
			return err
		}
	}
	if r.SourceSeq == 0 {
		return errs.New(errs.Invalid, "evidence.record: sequence number is 0, the first is 1")
	}
	if r.At == 0 {
		return errs.New(errs.Invalid, "evidence.record: instant is zero")
	}
	if r.PayloadBytes > MaxPayload {
		return errs.New(errs.TooLarge, "evidence.record: payload has %d bytes, the limit is %d",
			r.PayloadBytes, MaxPayload)
	}
	if r.PayloadBytes == 0 && r.Digest != Digest(nil) {
		return errs.New(errs.Invalid, "evidence.record: digest of an empty payload is of something else")
	}
	if r.Trace == ident.Max {
		return errs.New(errs.Invalid, "evidence.record: trace is the reserved id")
	}
	return checkSubjects(r.Subjects)
}

func checkName(what, text string) error {
	if len(text) == 0 || len(text) > MaxName {
		return errs.New(errs.Invalid, "evidence.record: %s has %d characters, want 1 to %d",
			what, len(text), MaxName)
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return errs.New(errs.Invalid,
				"evidence.record: %s has %q at position %d, want a-z, 0-9, point, dash or underscore",
				what, c, i+1)
		}
	}
	return nil
}

func checkSubjects(subjects []ident.ID) error {
	if len(subjects) > MaxSubjects {
		return errs.New(errs.TooLarge, "evidence.record: %d subjects, the limit is %d",
			len(subjects), MaxSubjects)
	}
	for i, id := range subjects {
		if id.IsZero() || id == ident.Max {
			return errs.New(errs.Invalid, "evidence.record: subject %d names nothing", i+1)
		}
	}
	if id, found := repeated(subjects); found {
		return errs.New(errs.Invalid, "evidence.record: subject %s is named twice", id)
	}
	return nil
}

// repeated returns an id that stands twice in ids, where there is one.
func repeated(ids []ident.ID) (ident.ID, bool) {
	if len(ids) <= 8 { // the common case, without allocating
		for i, id := range ids {
			if slices.Contains(ids[:i], id) {
				return id, true
			}
		}
		return ident.ID{}, false
	}
	sorted := slices.Clone(ids)
	slices.SortFunc(sorted, func(a, b ident.ID) int {
		switch {
		case a.Less(b):
			return -1
		case b.Less(a):
			return 1
		}
		return 0
	})
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return sorted[i], true
		}
	}
	return ident.ID{}, false
}

// The encoding, version 1. Integers are big-endian.
//
//	 0   1  version
//	 1   1  flags: bit 0 sealed, others zero
//	 2   8  sequence number in the source
//	10   8  instant, nanoseconds since 1970
//	18  16  trace
//	34  32  digest of the payload
//	66   4  length of the payload
//	70      source, part, kind: each one byte of length, then the text
//	        number of subjects in 2 bytes, then 16 bytes each
const (
	recordVersion = 1
	flagSealed    = 1
	fixedBytes    = 70
)

// Append appends the record's encoding to into. A record that Check refuses is refused with the
// same error, and into is returned as it was.
func (r *Record) Append(into []byte) ([]byte, error) {
	if err := r.Check(); err != nil {
		return into, err
	}
	flags := byte(0)
	if r.Sealed {
		flags = flagSealed
	}
	b := append(into, recordVersion, flags)
	b = binary.BigEndian.AppendUint64(b, r.SourceSeq)
	b = binary.BigEndian.AppendUint64(b, uint64(r.At))
	b = appendID(b, r.Trace)
	b = append(b, r.Digest[:]...)
	b = binary.BigEndian.AppendUint32(b, r.PayloadBytes)
	for _, name := range [...]string{r.Source, r.Part, r.Kind} {
		b = append(append(b, byte(len(name))), name...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Subjects)))
	for _, id := range r.Subjects {
		b = appendID(b, id)
	}
	return b, nil
}

func appendID(into []byte, id ident.ID) []byte {
	b := id.Bytes()
	return append(into, b[:]...)
}

// Decode returns the record that data encodes. Whatever Append would not give is refused: kind
// Corrupt where the bytes do not parse, the kind of Check where what they say is against a rule.
func Decode(data []byte) (Record, error) {
	if len(data) > MaxRecord {
		return Record{}, errs.New(errs.Corrupt, "evidence.record: %d bytes, the limit is %d",
			len(data), MaxRecord)
	}
	rest := reader{data: data}
	version, flags := rest.byte(), rest.byte()
	var r Record
	r.SourceSeq = rest.uint64()
	r.At = clock.Instant(rest.uint64())
	r.Trace = rest.id()
	copy(r.Digest[:], rest.take(sha256.Size))
	r.PayloadBytes = rest.uint32()
	r.Source, r.Part, r.Kind = rest.name(), rest.name(), rest.name()
	r.Subjects = rest.ids()
	switch {
	case rest.short:
		return Record{}, errs.New(errs.Corrupt, "evidence.record: %d bytes end too early", len(data))
	case version != recordVersion:
		return Record{}, errs.New(errs.Corrupt, "evidence.record: version %d, known is %d",
			version, recordVersion)
	case flags&^flagSealed != 0:
		return Record{}, errs.New(errs.Corrupt, "evidence.record: unknown flags %#02x", flags)
	case len(rest.data) > 0:
		return Record{}, errs.New(errs.Corrupt, "evidence.record: %d bytes too many", len(rest.data))
	}
	r.Sealed = flags&flagSealed != 0
	return r, r.Check()
}

// reader takes values off the front of data. Once data is too short, short stays set and every
// value is zero.
type reader struct {
	data  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || len(r.data) < n {
		r.short = true
		return make([]byte, n)
	}
	taken := r.data[:n]
	r.data = r.data[n:]
	return taken
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) id() ident.ID   { return ident.FromBytes([16]byte(r.take(16))) }
func (r *reader) name() string   { return string(r.take(int(r.byte()))) }

func (r *reader) ids() []ident.ID {
	n := int(r.uint16())
	if r.short || len(r.data) < 16*n {
		r.short = true
		return nil
	}
	if n == 0 {
		return nil
	}
	ids := make([]ident.ID, n)
	for i := range ids {
		ids[i] = r.id()
	}
	return ids
}
