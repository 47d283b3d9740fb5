package sandbox

import (
	"encoding/binary"
	"net/netip"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

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
