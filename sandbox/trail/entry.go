package trail

import (
	"encoding/binary"
	"hash/crc32"
)

// kind is what an entry is. The numbers are part of the format.
type kind uint8

const (
	kindHeader  kind = 1 // begins a segment
	kindInside  kind = 2 // a record from the ring, and its chain head
	kindOutside kind = 3 // a record of the host's own
	kindSeal    kind = 4
	kindFiller  kind = 5 // zeros over the unfinished tail that a crash left
)

// entryBytes is the length of what stands before an entry's payload:
//
//	0 u32 length of the payload
//	4 u8  kind, and three zero bytes
//	8 u32 CRC-32C of the eight bytes before and the payload
const entryBytes = 12

// castagnoli returns the polynomial's table, which the library keeps.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// appendEntry appends an entry whose payload is the parts one after another.
func appendEntry(into []byte, k kind, parts ...[]byte) []byte {
	start := len(into)
	into = append(into, 0, 0, 0, 0, byte(k), 0, 0, 0, 0, 0, 0, 0)
	for _, part := range parts {
		into = append(into, part...)
	}
	head := into[start:]
	binary.LittleEndian.PutUint32(head, uint32(len(head)-entryBytes))
	binary.LittleEndian.PutUint32(head[8:], checksum(head))
	return into
}

func checksum(entry []byte) uint32 {
	sum := crc32.Update(0, castagnoli(), entry[:8])
	return crc32.Update(sum, castagnoli(), entry[entryBytes:])
}

// entry is one entry as it was read. Its bytes are valid until the next is.
type entry struct {
	place place
	kind  kind
	raw   []byte // all of it
}

func (e *entry) payload() []byte { return e.raw[entryBytes:] }

// place is where an entry begins.
type place struct {
	segment int
	offset  int64
}

// entrySize returns the length of the entry at the front of data and whether it is sound. Zero: data
// ends before it does. Negative: no entry begins so.
func entrySize(data []byte) (int, bool) {
	if len(data) < entryBytes {
		return 0, false
	}
	length := binary.LittleEndian.Uint32(data)
	k := kind(data[4])
	if length > maxPayload || k < kindHeader || k > kindFiller ||
		data[5]|data[6]|data[7] != 0 {
		return -1, false
	}
	n := entryBytes + int(length)
	if n > len(data) {
		return 0, false
	}
	return n, binary.LittleEndian.Uint32(data[8:]) == checksum(data[:n])
}
