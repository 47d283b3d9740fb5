package replica

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// tree computes the RFC 6962 section 2.1 hash of a list of leaves as they come. Its zero value is
// the empty tree. It holds the roots of the complete subtrees so far, at most 64.
type tree struct {
	size   uint64
	roots  [][sha256.Size]byte
	buffer []byte
}

// The first bytes of what is hashed, which keep leaves and nodes apart.
const (
	leafPrefix = 0
	nodePrefix = 1
)

// add appends a leaf: a record and its result, little-endian.
func (t *tree) add(record []byte, result uint16) {
	t.buffer = append(t.buffer[:0], leafPrefix)
	t.buffer = append(t.buffer, record...)
	t.buffer = binary.LittleEndian.AppendUint16(t.buffer, result)
	t.roots = append(t.roots, sha256.Sum256(t.buffer))
	t.size++
	for range bits.TrailingZeros64(t.size) {
		t.join()
	}
}

// join makes one of the last two roots.
func (t *tree) join() {
	n := len(t.roots)
	t.roots[n-2] = node(&t.roots[n-2], &t.roots[n-1])
	t.roots = t.roots[:n-1]
}

func node(left, right *[sha256.Size]byte) [sha256.Size]byte {
	var b [1 + 2*sha256.Size]byte
	b[0] = nodePrefix
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// root ends the tree and returns its hash.
func (t *tree) root() [sha256.Size]byte {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	for len(t.roots) > 1 {
		t.join()
	}
	return t.roots[0]
}
