package guard

import (
	"math/bits"

	"surety/base/ident"
	"surety/base/invariant"
)

// slab is a growing array that never moves what it holds: a list of equal blocks. Numbers count
// from zero.
type slab[T any] struct {
	blocks []*[slabBlock]T
	count  uint32
}

// slabBlock is the number of entries in a block: a few kilobytes, so that a new block is cheap and
// the unused end of the last one small.
const slabBlock = 1 << 10

func (s *slab[T]) at(i uint32) *T { return &s.blocks[i/slabBlock][i%slabBlock] }

// push adds an entry and returns its number.
func (s *slab[T]) push(value T) uint32 {
	i := s.count
	invariant.Check(i < 1<<31, "guard: a slab holds two thousand million entries")
	if i%slabBlock == 0 {
		s.blocks = append(s.blocks, new([slabBlock]T))
	}
	s.count++
	*s.at(i) = value
	return i
}

// index finds the entry of an id: keys and rows are slabs with the same numbers, and the slots,
// parted by the top bits of a hash so that no growth takes long, hold numbers plus one. It never
// forgets and never answers for another id.
type index[T any] struct {
	keys  slab[ident.ID]
	rows  slab[T]
	parts [indexParts]indexPart
}

type indexPart struct {
	slots []uint32 // a power of two of them; zero is empty
	used  uint32
}

// indexParts bounds the work of one growth to a 64th of the index.
const indexParts = 64

// mix spreads ids that a caller counted rather than derived.
func mix(id ident.ID) uint64 {
	hi, lo := bits.Mul64(id.Lo^0x9e3779b97f4a7c15, id.Hi^0xd6e8feb86659fd93)
	hi ^= lo ^ bits.RotateLeft64(id.Lo, 32)
	hi *= 0xff51afd7ed558ccd
	return hi ^ hi>>33
}

func (x *index[T]) len() int { return int(x.keys.count) }

// find returns the id's number and whether it has one.
func (x *index[T]) find(id ident.ID) (uint32, bool) {
	h := mix(id)
	part := &x.parts[h>>58]
	if len(part.slots) == 0 {
		return 0, false
	}
	mask := uint64(len(part.slots) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		slot := part.slots[at]
		if slot == 0 {
			return 0, false
		}
		if *x.keys.at(slot - 1) == id {
			return slot - 1, true
		}
	}
}

// get returns the id's row, nil where it has none.
func (x *index[T]) get(id ident.ID) *T {
	i, found := x.find(id)
	if !found {
		return nil
	}
	return x.rows.at(i)
}

// add returns the number of the id's row, and whether the row is new: then it is the zero T.
func (x *index[T]) add(id ident.ID) (uint32, bool) {
	if i, found := x.find(id); found {
		return i, false
	}
	h := mix(id)
	part := &x.parts[h>>58]
	if part.used*4 >= uint32(len(part.slots))*3 {
		x.grow(part)
	}
	var zero T
	i := x.keys.push(id)
	x.rows.push(zero)
	part.put(h, i+1)
	part.used++
	return i, true
}

func (p *indexPart) put(h uint64, slot uint32) {
	mask := uint64(len(p.slots) - 1)
	at := h & mask
	for p.slots[at] != 0 {
		at = (at + 1) & mask
	}
	p.slots[at] = slot
}

func (x *index[T]) grow(part *indexPart) {
	old := part.slots
	part.slots = make([]uint32, max(8, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			part.put(mix(*x.keys.at(slot - 1)), slot)
		}
	}
}
