package sandbox

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// recordFormat is the version of the wire form. Another number is refused; a change of the form
// takes the next one.
const recordFormat = 1

// headerSize is the length of a record without optional fields:
//
//	 0 u32 length of all that follows
//	 4 u8  format
//	 5 u8  kind
//	 6 u8  verdict
//	 7 u8  bits: 1 done, 2 session, 4 outside, 8 cut
//	 8 u64 sequence number
//	16 u64 instant, nanoseconds since 1970
//	24 u32 process
//	28 u32 thread
//	32 u32 parent
//	36 u32 user
//	40 u16 rule
//	42 u16 errno
//	44 u16 system call
//	46 u16 fields: a bit for each optional field that follows, in the order of the bits
//
// Numbers are little-endian. A field that is zero is never written, so that a record has exactly
// one encoding.
const headerSize = 48

const (
	bitDone    = 1
	bitSession = 2
	bitOutside = 4
	bitCut     = 8
	allBits    = 15
)

// The optional fields. Strings have a u16 length before them, but Comm a u8.
const (
	fieldTrace  = 1 << 0  // 16 bytes, most significant first
	fieldAccess = 1 << 1  // u16
	fieldFlags  = 1 << 2  // u32
	fieldMode   = 1 << 3  // u32
	fieldResult = 1 << 4  // i64
	fieldWords  = 1 << 5  // 6 u64
	fieldAddr   = 1 << 6  // u8 form, the address, u16 port; see appendAddr
	fieldProto  = 1 << 7  // u8
	fieldDigest = 1 << 8  // 32 bytes
	fieldComm   = 1 << 9  // string
	fieldPath   = 1 << 10 // string
	fieldPath2  = 1 << 11 // string
	fieldArgs   = 1 << 12 // u8 count, then strings
	fieldText   = 1 << 13 // string
	allFields   = 1<<14 - 1
)

// The forms of an address.
const (
	formNone  = 0  // a port alone
	formV4    = 4  // 4 bytes
	formV6    = 6  // 16 bytes
	formZoned = 16 // 16 bytes, u8 length, zone
)

const maxComm = 15

// Append adds the record's encoding to into, without its chain hash, and returns the extended
// slice. It does not allocate where into has room for MaxRecord bytes more, keeps nothing of the
// record and cannot fail: a string longer than MaxText, a name of an address zone longer than 255
// bytes, or arguments beyond MaxArgs and MaxArgBytes are cut, with Cut set in what is written.
func (r *Record) Append(into []byte) []byte {
	start := len(into)
	into = slices.Grow(into, r.bound())
	into = into[:start+headerSize]
	head := into[start : start+headerSize : start+headerSize]
	into, fields, cut := r.appendFields(into)
	binary.LittleEndian.PutUint32(head[0:], uint32(len(into)-start-4))
	head[4], head[5], head[6] = recordFormat, byte(r.Kind), byte(r.Verdict)
	head[7] = r.bits(cut)
	binary.LittleEndian.PutUint64(head[8:], r.Seq)
	binary.LittleEndian.PutUint64(head[16:], uint64(r.At))
	binary.LittleEndian.PutUint32(head[24:], r.Process)
	binary.LittleEndian.PutUint32(head[28:], r.Thread)
	binary.LittleEndian.PutUint32(head[32:], r.Parent)
	binary.LittleEndian.PutUint32(head[36:], r.User)
	binary.LittleEndian.PutUint16(head[40:], r.Rule)
	binary.LittleEndian.PutUint16(head[42:], r.Errno)
	binary.LittleEndian.PutUint16(head[44:], r.Sysno)
	binary.LittleEndian.PutUint16(head[46:], fields)
	return into
}

// bound is an upper bound of the encoding's length, so that Append grows its slice once.
func (r *Record) bound() int {
	// Header; trace, access, flags, mode, result, words; address with a zone; proto; digest.
	size := headerSize + 16 + 2 + 4 + 4 + 8 + 48 + 1 + 16 + 1 + 255 + 2 + 1 + 32
	size += 1 + maxComm + 3*2 + min(len(r.Path), MaxText) + min(len(r.Path2), MaxText)
	size += min(len(r.Text), MaxText)
	if len(r.Args) > 0 {
		total := 0
		for i := 0; i < len(r.Args) && i < MaxArgs; i++ {
			total += len(r.Args[i])
		}
		size += 1 + 2*min(len(r.Args), MaxArgs) + min(total, MaxArgBytes)
	}
	return size
}

func (r *Record) bits(cut bool) (bits byte) {
	if r.Done {
		bits |= bitDone
	}
	if r.Session {
		bits |= bitSession
	}
	if r.Outside {
		bits |= bitOutside
	}
	if r.Cut || cut {
		bits |= bitCut
	}
	return bits
}

// appendFields writes the optional fields that are not zero, in the order of their bits, and
// reports which they are and whether one was cut.
func (r *Record) appendFields(into []byte) (_ []byte, fields uint16, cut bool) {
	if !r.Trace.IsZero() {
		fields |= fieldTrace
		into = binary.BigEndian.AppendUint64(into, r.Trace.Hi)
		into = binary.BigEndian.AppendUint64(into, r.Trace.Lo)
	}
	if r.Access != 0 {
		fields |= fieldAccess
		into = binary.LittleEndian.AppendUint16(into, uint16(r.Access))
	}
	if r.Flags != 0 {
		fields |= fieldFlags
		into = binary.LittleEndian.AppendUint32(into, r.Flags)
	}
	if r.Mode != 0 {
		fields |= fieldMode
		into = binary.LittleEndian.AppendUint32(into, r.Mode)
	}
	if r.Result != 0 {
		fields |= fieldResult
		into = binary.LittleEndian.AppendUint64(into, uint64(r.Result))
	}
	if r.Words != [6]uint64{} {
		fields |= fieldWords
		for _, word := range r.Words {
			into = binary.LittleEndian.AppendUint64(into, word)
		}
	}
	if r.Addr != (netip.AddrPort{}) {
		fields |= fieldAddr
		into = appendAddr(into, r.Addr, &cut)
	}
	if r.Proto != 0 {
		fields |= fieldProto
		into = append(into, byte(r.Proto))
	}
	if r.Digest != (Digest{}) {
		fields |= fieldDigest
		into = append(into, r.Digest[:]...)
	}
	if r.Comm != "" {
		fields |= fieldComm
		comm := shorten(r.Comm, maxComm, &cut)
		into = append(append(into, byte(len(comm))), comm...)
	}
	if r.Path != "" {
		fields |= fieldPath
		into = appendString(into, r.Path, MaxText, &cut)
	}
	if r.Path2 != "" {
		fields |= fieldPath2
		into = appendString(into, r.Path2, MaxText, &cut)
	}
	if len(r.Args) > 0 {
		fields |= fieldArgs
		into = appendArgs(into, r.Args, &cut)
	}
	if r.Text != "" {
		fields |= fieldText
		into = appendString(into, r.Text, MaxText, &cut)
	}
	return into, fields, cut
}

func appendAddr(into []byte, to netip.AddrPort, cut *bool) []byte {
	addr := to.Addr()
	switch {
	case !addr.IsValid():
		into = append(into, formNone)
	case addr.Is4():
		bytes := addr.As4()
		into = append(append(into, formV4), bytes[:]...)
	case addr.Zone() == "":
		bytes := addr.As16()
		into = append(append(into, formV6), bytes[:]...)
	default:
		bytes := addr.As16()
		zone := shorten(addr.Zone(), 255, cut)
		into = append(append(into, formZoned), bytes[:]...)
		into = append(append(into, byte(len(zone))), zone...)
	}
	return binary.LittleEndian.AppendUint16(into, to.Port())
}

// appendArgs keeps the first MaxArgs arguments; the one that passes MaxArgBytes is cut, and those
// after it are left out.
func appendArgs(into []byte, args []string, cut *bool) []byte {
	if len(args) > MaxArgs {
		args, *cut = args[:MaxArgs], true
	}
	at, left, kept := len(into), MaxArgBytes, 0
	into = append(into, 0)
	for _, arg := range args {
		if left == 0 && arg != "" {
			*cut = true
			break
		}
		before := len(into)
		into = appendString(into, arg, left, cut)
		left -= len(into) - before - 2
		kept++
	}
	into[at] = byte(kept)
	return into
}

func appendString(into []byte, text string, limit int, cut *bool) []byte {
	text = shorten(text, limit, cut)
	into = binary.LittleEndian.AppendUint16(into, uint16(len(text)))
	return append(into, text...)
}

func shorten(text string, limit int, cut *bool) string {
	if len(text) <= limit {
		return text
	}
	*cut = true
	return text[:limit]
}

// DecodeRecord reads one record from the front of data and returns how many bytes it took. Bytes
// after it are left alone; the record keeps nothing of data. It takes exactly what Append writes:
// encoding what it returns gives the same bytes. Errors: Invalid for a malformed record, with the
// offset in it.
func DecodeRecord(data []byte) (Record, int, error) {
	if len(data) < headerSize {
		return Record{}, 0, malformed(len(data), "%d bytes are less than the header's %d", len(data),
			headerSize)
	}
	length := uint64(binary.LittleEndian.Uint32(data)) + 4
	if length < headerSize || length > MaxRecord {
		return Record{}, 0, malformed(0, "length %d is not within %d and %d", length, headerSize,
			MaxRecord)
	}
	if length > uint64(len(data)) {
		return Record{}, 0, malformed(len(data), "length %d, %d bytes there", length, len(data))
	}
	var r Record
	if err := r.readHead(data); err != nil {
		return Record{}, 0, err
	}
	d := decoder{data: data[:length], at: headerSize}
	d.fields(&r, binary.LittleEndian.Uint16(data[46:]))
	if d.err == nil && d.at != len(d.data) {
		d.fail("%d bytes after the last field", len(d.data)-d.at)
	}
	if d.err != nil {
		return Record{}, 0, d.err
	}
	return r, int(length), nil
}

func malformed(at int, format string, args ...any) error {
	return errs.As(errs.Invalid, errs.New(errs.Invalid, format, args...),
		"sandbox.record: byte %d", at)
}

func (r *Record) readHead(head []byte) error {
	r.Kind, r.Verdict = Kind(head[5]), Verdict(head[6])
	bits, fields := head[7], binary.LittleEndian.Uint16(head[46:])
	switch {
	case head[4] != recordFormat:
		return malformed(4, "format %d, this program reads %d", head[4], recordFormat)
	case !r.Kind.known():
		return malformed(5, "kind %d is unknown", head[5])
	case int(r.Verdict) >= len(verdicts):
		return malformed(6, "verdict %d is unknown", head[6])
	case bits&^byte(allBits) != 0:
		return malformed(7, "unknown bits %#x", bits)
	case fields&^uint16(allFields) != 0:
		return malformed(46, "unknown fields %#x", fields)
	}
	r.Done, r.Session = bits&bitDone != 0, bits&bitSession != 0
	r.Outside, r.Cut = bits&bitOutside != 0, bits&bitCut != 0
	r.Seq = binary.LittleEndian.Uint64(head[8:])
	r.At = clock.Instant(binary.LittleEndian.Uint64(head[16:]))
	r.Process = binary.LittleEndian.Uint32(head[24:])
	r.Thread = binary.LittleEndian.Uint32(head[28:])
	r.Parent = binary.LittleEndian.Uint32(head[32:])
	r.User = binary.LittleEndian.Uint32(head[36:])
	r.Rule = binary.LittleEndian.Uint16(head[40:])
	r.Errno = binary.LittleEndian.Uint16(head[42:])
	r.Sysno = binary.LittleEndian.Uint16(head[44:])
	return nil
}

// decoder reads fields until the first error and nothing after it.
type decoder struct {
	data []byte
	at   int
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = malformed(d.at, format, args...)
	}
}

// take returns the next n bytes, or nil after an error.
func (d *decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n > len(d.data)-d.at {
		d.fail("a field of %d bytes, %d left", n, len(d.data)-d.at)
		return nil
	}
	d.at += n
	return d.data[d.at-n : d.at]
}

func (d *decoder) u8() (n uint8) {
	if b := d.take(1); b != nil {
		n = b[0]
	}
	return n
}

func (d *decoder) u16() (n uint16) {
	if b := d.take(2); b != nil {
		n = binary.LittleEndian.Uint16(b)
	}
	return n
}

func (d *decoder) u32() (n uint32) {
	if b := d.take(4); b != nil {
		n = binary.LittleEndian.Uint32(b)
	}
	return n
}

func (d *decoder) u64() (n uint64) {
	if b := d.take(8); b != nil {
		n = binary.LittleEndian.Uint64(b)
	}
	return n
}

// text reads a string of the length just read.
func (d *decoder) text(length, limit int) string {
	if d.err == nil && length > limit {
		d.fail("a string of %d bytes, limit %d", length, limit)
	}
	return string(d.take(length))
}

// whole fails where a field that is there is zero: its absence says that.
func (d *decoder) whole(zero bool, name string) {
	if zero {
		d.fail("field %s is there and zero", name)
	}
}

func (d *decoder) fields(r *Record, fields uint16) {
	if fields&fieldTrace != 0 {
		if b := d.take(16); b != nil {
			r.Trace = ident.FromBytes([16]byte(b))
		}
		d.whole(r.Trace.IsZero(), "trace")
	}
	if fields&fieldAccess != 0 {
		r.Access = Access(d.u16())
		d.whole(r.Access == 0, "access")
		if r.Access&^allAccess != 0 {
			d.fail("unknown access %#x", uint16(r.Access))
		}
	}
	if fields&fieldFlags != 0 {
		r.Flags = d.u32()
		d.whole(r.Flags == 0, "flags")
	}
	if fields&fieldMode != 0 {
		r.Mode = d.u32()
		d.whole(r.Mode == 0, "mode")
	}
	if fields&fieldResult != 0 {
		r.Result = int64(d.u64())
		d.whole(r.Result == 0, "result")
	}
	if fields&fieldWords != 0 {
		for i := range r.Words {
			r.Words[i] = d.u64()
		}
		d.whole(r.Words == [6]uint64{}, "words")
	}
	if fields&fieldAddr != 0 {
		r.Addr = d.addr()
		d.whole(r.Addr == netip.AddrPort{}, "addr")
	}
	if fields&fieldProto != 0 {
		r.Proto = Proto(d.u8())
		d.whole(r.Proto == 0, "proto")
	}
	if fields&fieldDigest != 0 {
		copy(r.Digest[:], d.take(len(r.Digest)))
		d.whole(r.Digest == Digest{}, "digest")
	}
	d.strings(r, fields)
}

func (d *decoder) strings(r *Record, fields uint16) {
	if fields&fieldComm != 0 {
		r.Comm = d.text(int(d.u8()), maxComm)
		d.whole(r.Comm == "", "comm")
	}
	if fields&fieldPath != 0 {
		r.Path = d.text(int(d.u16()), MaxText)
		d.whole(r.Path == "", "path")
	}
	if fields&fieldPath2 != 0 {
		r.Path2 = d.text(int(d.u16()), MaxText)
		d.whole(r.Path2 == "", "path2")
	}
	if fields&fieldArgs != 0 {
		r.Args = d.args()
	}
	if fields&fieldText != 0 {
		r.Text = d.text(int(d.u16()), MaxText)
		d.whole(r.Text == "", "text")
	}
}

func (d *decoder) addr() netip.AddrPort {
	var addr netip.Addr
	form := d.u8()
	switch form {
	case formNone:
	case formV4:
		if b := d.take(4); b != nil {
			addr = netip.AddrFrom4([4]byte(b))
		}
	case formV6, formZoned:
		if b := d.take(16); b != nil {
			addr = netip.AddrFrom16([16]byte(b))
		}
	default:
		d.fail("form %d of an address is unknown", form)
	}
	if form == formZoned {
		zone := d.text(int(d.u8()), 255)
		d.whole(zone == "", "zone")
		addr = addr.WithZone(zone)
	}
	return netip.AddrPortFrom(addr, d.u16())
}

func (d *decoder) args() []string {
	count, left := int(d.u8()), MaxArgBytes
	d.whole(count == 0, "args")
	if d.err == nil && count > MaxArgs {
		d.fail("%d arguments, limit %d", count, MaxArgs)
	}
	if d.err != nil {
		return nil
	}
	args := make([]string, 0, count)
	for range count {
		arg := d.text(int(d.u16()), left)
		left -= len(arg)
		args = append(args, arg)
	}
	return args
}
