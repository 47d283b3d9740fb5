package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// The format's name and version, which start every record, segment and superblock.
const (
	recordMagic  = 0x4352_5954_4552_5553 // "SURETYRC" in the file
	segmentMagic = 0x4753_5954_4552_5553 // "SURETYSG"
	superMagic   = 0x4253_5954_4552_5553 // "SURETYSB"
	version      = 1
)

// Record is one entry of the journal.
type Record struct {
	Seq        uint64        // from 1, without gaps
	Timestamp  clock.Instant // of the batch, as the core was given it
	Operation  uint8         // what the body is; the journal does not look
	Count      uint32        // records in the body
	Results    uint32        // stored results at the body's end
	FirstEvent uint64        // number of the first event that applying it made
	Events     uint32        // how many it made
	Previous   Hash          // Chain of the record before
	Chain      Hash          // SHA-256 over Previous, the header's content and the body
	Body       []byte        // belongs to the reader; good until the visit ends

	Segment uint64 // where it lies
	Offset  int64
}

// header is a record's header as stored: the record without its body, and its place in its group.
type header struct {
	Record
	journal    ident.ID
	bodySize   uint32
	groupFirst uint64 // Seq of the group's first record
	groupCount uint32 // records in the group
	groupIndex uint32 // this one's place, from 0
	groupUsed  uint32 // bytes of the group up to the end of its last body
	bodySum    uint32
}

// contentSize is how much of a header the chain covers: what is said, and not where it lies.
const contentSize = 72

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode writes the header into its HeaderSize bytes, all but what seal adds.
func (h *header) encode(into []byte) {
	b := into[:HeaderSize]
	clear(b)
	put := binary.LittleEndian
	put.PutUint64(b[0:], recordMagic)
	put.PutUint16(b[8:], version)
	b[10] = h.Operation
	put.PutUint32(b[12:], h.Count)
	put.PutUint64(b[16:], h.Seq)
	put.PutUint64(b[24:], uint64(h.Timestamp))
	put.PutUint64(b[32:], h.FirstEvent)
	put.PutUint32(b[40:], h.Events)
	put.PutUint32(b[44:], h.Results)
	put.PutUint32(b[48:], h.bodySize)
	putID(b[56:], h.journal)
	put.PutUint64(b[72:], h.Segment)
	put.PutUint64(b[80:], uint64(h.Offset))
	put.PutUint64(b[88:], h.groupFirst)
	put.PutUint32(b[96:], h.groupCount)
	put.PutUint32(b[100:], h.groupIndex)
	put.PutUint32(b[104:], h.groupUsed)
	copy(b[112:], h.Previous[:])
	put.PutUint32(b[248:], h.bodySum)
}

// seal completes an encoded header with the record's hash and the header's checksum.
func (h *header) seal(b []byte, chain Hash) {
	h.Chain = chain
	copy(b[144:176], chain[:])
	binary.LittleEndian.PutUint32(b[252:], crc32.Checksum(b[:252], castagnoli))
}

// decodeHeader reads a header and holds it to what any header must be; whether it is the one that
// belongs at its place is the caller's question. The error is of kind Corrupt.
func decodeHeader(b []byte) (header, error) {
	get := binary.LittleEndian
	if get.Uint64(b) != recordMagic {
		return header{}, errs.New(errs.Corrupt, "no record starts here")
	}
	if got, want := crc32.Checksum(b[:252], castagnoli), get.Uint32(b[252:]); got != want {
		return header{}, errs.New(errs.Corrupt, "header has checksum %08x, want %08x", got, want)
	}
	if v := get.Uint16(b[8:]); v != version {
		return header{}, errs.New(errs.Corrupt, "record has format %d, this program reads %d", v, version)
	}
	h := header{
		Record: Record{
			Seq:        get.Uint64(b[16:]),
			Timestamp:  clock.Instant(get.Uint64(b[24:])),
			Operation:  b[10],
			Count:      get.Uint32(b[12:]),
			Results:    get.Uint32(b[44:]),
			FirstEvent: get.Uint64(b[32:]),
			Events:     get.Uint32(b[40:]),
			Previous:   Hash(b[112:144]),
			Chain:      Hash(b[144:176]),
			Segment:    get.Uint64(b[72:]),
			Offset:     int64(get.Uint64(b[80:])),
		},
		journal:    getID(b[56:]),
		bodySize:   get.Uint32(b[48:]),
		groupFirst: get.Uint64(b[88:]),
		groupCount: get.Uint32(b[96:]),
		groupIndex: get.Uint32(b[100:]),
		groupUsed:  get.Uint32(b[104:]),
		bodySum:    get.Uint32(b[248:]),
	}
	if h.bodySize > BodyMax || h.groupUsed > GroupMax || h.groupUsed < HeaderSize+h.bodySize ||
		h.groupIndex >= h.groupCount || h.groupFirst+uint64(h.groupIndex) != h.Seq ||
		h.Results > h.bodySize/ResultSize {
		return header{}, errs.New(errs.Corrupt, "header of record %d contradicts itself", h.Seq)
	}
	return h, nil
}

// span returns the bytes a record with a body of the size takes, up to where the next may start.
func span(bodySize int) int {
	return (HeaderSize + bodySize + HeaderSize - 1) / HeaderSize * HeaderSize
}

// chainOf returns the hash of a record: over the hash before it, its header's content and its body.
func chainOf(digest hash.Hash, previous *Hash, content, body []byte) Hash {
	digest.Reset()
	digest.Write(previous[:])
	digest.Write(content[:contentSize])
	digest.Write(body)
	var sum Hash
	digest.Sum(sum[:0])
	return sum
}

// Genesis returns what stands before the first record of the journal with the id, so that no two
// journals share a chain.
func Genesis(id ident.ID) Hash {
	b := id.Bytes()
	return sha256.Sum256(append([]byte("surety ledger journal 1\n"), b[:]...))
}

func putID(into []byte, id ident.ID) {
	binary.LittleEndian.PutUint64(into, id.Lo)
	binary.LittleEndian.PutUint64(into[8:], id.Hi)
}

func getID(b []byte) ident.ID {
	return ident.ID{Lo: binary.LittleEndian.Uint64(b), Hi: binary.LittleEndian.Uint64(b[8:])}
}

// blank reports whether all bytes are zero.
func blank(b []byte) bool {
	var or uint64
	for ; len(b) >= 32; b = b[32:] {
		or |= binary.LittleEndian.Uint64(b) | binary.LittleEndian.Uint64(b[8:]) |
			binary.LittleEndian.Uint64(b[16:]) | binary.LittleEndian.Uint64(b[24:])
	}
	for _, c := range b {
		or |= uint64(c)
	}
	return or == 0
}
