package sandbox

import (
	"encoding/binary"
	"net/netip"
	"slices"
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
