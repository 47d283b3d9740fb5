package state

import (
	"encoding/binary"
	"math"

	"surety/base/errs"
	"surety/enclave"
	"surety/sys/inode"
)

// A commit's body says what changed in the tree since the commit before it, or, in a full one, all
// that is in it. Its root is the SHA-384 of the body, which holds the root before it and, of each
// chunk it names, where it stands and its tag: so a root speaks for every byte that can be reached.
//
//	body:    version 1, kind 1, epoch 8, previous root 48, volume 16, next inode 8; records
//	segment: 1; number 8, svn 8, id 32
//	node:    2; inode 8, mode 4, uid 4, gid 4, size 8, atime 8, mtime 8, ctime 8, kept chunks 8,
//	         target 2+n, attributes 2 times (name 1+n, value 4+n)
//	chunk:   3; inode 8, index 8, segment 8, offset 8, length 4, tag 16
//	entry:   4; parent 8, inode 8, name 1+n
//	unentry: 5; parent 8, name 1+n
//	gone:    6; inode 8
const (
	bodyVersion = 1
	bodyHead    = 1 + 1 + 8 + 48 + 16 + 8

	kindFull  byte = 1
	kindDelta byte = 2

	recSegment byte = 1
	recNode    byte = 2
	recChunk   byte = 3
	recEntry   byte = 4
	recUnentry byte = 5
	recGone    byte = 6

	rootDomain = "surety state root v1\x00"

	keepAll = math.MaxUint64 // of a node's record: no chunk was dropped
)

// body is a decoded head of a commit.
type body struct {
	kind     byte
	epoch    uint64
	previous enclave.Digest
	volume   [16]byte
	next     inode.Number
}

func (h *body) encode() []byte {
	b := make([]byte, 0, 4096)
	b = append(b, bodyVersion, h.kind)
	b = binary.LittleEndian.AppendUint64(b, h.epoch)
	b = append(b, h.previous[:]...)
	b = append(b, h.volume[:]...)
	return binary.LittleEndian.AppendUint64(b, uint64(h.next))
}

// rootOf is what a commit of that body brings the state to.
func rootOf(content []byte) enclave.Digest {
	return enclave.DigestOf(append([]byte(rootDomain), digestBytes(content)...))
}

func digestBytes(content []byte) []byte {
	d := enclave.DigestOf(content)
	return d[:]
}

// decodeHead reads the head of a body.
func decodeHead(content []byte) (h body, err error) {
	r := reader{b: content}
	if r.byte() != bodyVersion {
		return h, errs.New(errs.Corrupt, "a commit of another version")
	}
	h.kind = r.byte()
	h.epoch = r.u64()
	copy(h.previous[:], r.take(len(h.previous)))
	copy(h.volume[:], r.take(len(h.volume)))
	h.next = inode.Number(r.u64())
	if r.failed || h.kind != kindFull && h.kind != kindDelta || h.epoch == 0 || h.next <= inode.Root {
		return h, errs.New(errs.Corrupt, "a commit without sense")
	}
	return h, nil
}

// ref says where a chunk is. The zero ref is none.
type ref struct {
	segment uint64
	offset  int64
	length  uint32 // of the plaintext
	tag     [tagBytes]byte
}

func appendSegment(b []byte, h *header) []byte {
	b = append(b, recSegment)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, h.svn)
	return append(b, h.id[:]...)
}

func appendNode(b []byte, n *node, kept uint64) []byte {
	le := binary.LittleEndian
	b = append(b, recNode)
	b = le.AppendUint64(b, uint64(n.number))
	b = le.AppendUint32(b, n.mode)
	b = le.AppendUint32(b, n.uid)
	b = le.AppendUint32(b, n.gid)
	b = le.AppendUint64(b, n.size)
	b = le.AppendUint64(b, uint64(n.atime))
	b = le.AppendUint64(b, uint64(n.mtime))
	b = le.AppendUint64(b, uint64(n.ctime))
	b = le.AppendUint64(b, kept)
	b = append(le.AppendUint16(b, uint16(len(n.target))), n.target...)
	b = le.AppendUint16(b, uint16(len(n.xattrs)))
	for _, name := range sortedKeys(n.xattrs) {
		b = append(append(b, byte(len(name))), name...)
		b = append(le.AppendUint32(b, uint32(len(n.xattrs[name]))), n.xattrs[name]...)
	}
	return b
}

func appendChunk(b []byte, n inode.Number, index uint64, r ref) []byte {
	le := binary.LittleEndian
	b = append(b, recChunk)
	b = le.AppendUint64(b, uint64(n))
	b = le.AppendUint64(b, index)
	b = le.AppendUint64(b, r.segment)
	b = le.AppendUint64(b, uint64(r.offset))
	b = le.AppendUint32(b, r.length)
	return append(b, r.tag[:]...)
}

func appendEntry(b []byte, parent, n inode.Number, name string) []byte {
	b = append(b, recEntry)
	b = binary.LittleEndian.AppendUint64(b, uint64(parent))
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	return append(append(b, byte(len(name))), name...)
}

func appendUnentry(b []byte, parent inode.Number, name string) []byte {
	b = append(b, recUnentry)
	b = binary.LittleEndian.AppendUint64(b, uint64(parent))
	return append(append(b, byte(len(name))), name...)
}

func appendGone(b []byte, n inode.Number) []byte {
	return binary.LittleEndian.AppendUint64(append(b, recGone), uint64(n))
}

// visitor takes the records of a body in order. An error ends the reading.
type visitor interface {
	segment(h header) error
	node(n *node, kept uint64) error
	chunk(n inode.Number, index uint64, r ref) error
	entry(parent, n inode.Number, name string) error
	unentry(parent inode.Number, name string) error
	gone(n inode.Number) error
}

// walkBody hands the records behind a body's head to v: kind Corrupt where the bytes make no
// sense, and v's errors.
func walkBody(content []byte, volume [16]byte, v visitor) error {
	if len(content) < bodyHead {
		return errs.New(errs.Corrupt, "a commit of %d bytes", len(content))
	}
	r := reader{b: content[bodyHead:]}
	for len(r.b) > 0 {
		if err := r.record(volume, v); err != nil {
			return err
		}
		if r.failed {
			return errs.New(errs.Corrupt, "a commit that ends within a record")
		}
	}
	return nil
}

func (r *reader) record(volume [16]byte, v visitor) error {
	switch tag := r.byte(); tag {
	case recSegment:
		h := header{number: r.u64(), svn: r.u64(), volume: volume}
		copy(h.id[:], r.take(len(h.id)))
		return r.give(func() error { return v.segment(h) })
	case recNode:
		n, kept := r.node()
		return r.give(func() error { return v.node(n, kept) })
	case recChunk:
		n, index := r.number(), r.u64()
		at := ref{segment: r.u64(), offset: int64(r.u64()), length: r.u32()}
		copy(at.tag[:], r.take(tagBytes))
		return r.give(func() error { return v.chunk(n, index, at) })
	case recEntry:
		parent, n, name := r.number(), r.number(), r.text(int(r.byte()))
		return r.give(func() error { return v.entry(parent, n, name) })
	case recUnentry:
		parent, name := r.number(), r.text(int(r.byte()))
		return r.give(func() error { return v.unentry(parent, name) })
	case recGone:
		n := r.number()
		return r.give(func() error { return v.gone(n) })
	default:
		return errs.New(errs.Corrupt, "a commit with a record of type %d", tag)
	}
}

// reader takes little-endian fields off b. After the end it gives zeros and failed is set.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) give(to func() error) error {
	if r.failed {
		return nil
	}
	return to()
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.failed, r.b = true, nil
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) number() inode.Number { return inode.Number(r.u64()) }

func (r *reader) text(n int) string { return string(r.take(n)) }

func (r *reader) node() (*node, uint64) {
	n := newNode(r.number(), r.u32())
	n.uid, n.gid, n.size = r.u32(), r.u32(), r.u64()
	n.atime, n.mtime, n.ctime = int64(r.u64()), int64(r.u64()), int64(r.u64())
	kept := r.u64()
	n.target = r.text(int(r.u16()))
	for range r.u16() {
		name := r.text(int(r.byte()))
		value := r.text(int(r.u32()))
		if r.failed {
			break
		}
		n.setXattr(name, value)
	}
	return n, kept
}
