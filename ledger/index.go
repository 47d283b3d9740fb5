package ledger

import (
	"math/bits"

	"surety/base/ident"
	"surety/base/invariant"
)

// An index finds a record by a 128-bit key. It is a directory of small open-addressed tables of
// eight-byte slots: 32 bits of the key's hash and 32 bits that refer to the record, which holds the
// key itself. A table that fills up splits in two, and the directory doubles when it must
// (extendible hashing), so that growth never stops the writer for longer than one split: about ten
// microseconds, whatever the size. The directory, the home slot and every split use the 32 hash
// bits in the slot alone, so that growth never touches a record.
const (
	// segmentSlots makes a segment 32 KiB, the largest size the allocator does not round up.
	segmentSlots = 4094
	// segmentLeast to segmentMost are the loads at which segments split, 9/16 to 25/32, where a miss
	// still ends within a cache line or two. Each segment has its own, or all would fill up and
	// split at about the same time, which would show as a slow second every doubling.
	segmentLeast = segmentSlots * 18 / 32
	segmentMost  = segmentSlots * 25 / 32
	// homeBits of the tag, the lowest, choose the home slot; the rest choose the segment.
	homeBits = 12
	// depthMax bounds the directory at 2^20 segments, three thousand million keys: as many as a
	// 31-bit reference can tell apart.
	depthMax = 32 - homeBits
)

type segment struct {
	count uint32
	depth uint32               // the number of leading tag bits that all keys here share
	limit uint64               // the count at which it splits
	slots [segmentSlots]uint64 // tag<<32 | reference; zero is empty
}

// newSegment returns the empty segment for the keys whose tags begin with depth bits of prefix.
func newSegment(prefix, depth uint32) *segment {
	g := new(segment)
	g.become(prefix, depth)
	return g
}

// become sets what a segment is for, which also decides when it splits.
func (g *segment) become(prefix, depth uint32) {
	const steps = 8
	step := prefix * 0x9e3779b1 >> 29
	g.depth = depth
	g.limit = uint64(segmentLeast + step*(segmentMost-segmentLeast)/(steps-1))
}

type index struct {
	directory []*segment // 1<<depth entries, by the leading bits of the tag
	depth     uint32
	key       [2]uint64
	spare     *segment // scratch for splits
}

func newIndex(seed uint64) index {
	return index{
		directory: []*segment{newSegment(0, 0)},
		key:       [2]uint64{scramble(seed ^ 0x9e3779b97f4a7c15), scramble(seed ^ 0xd1b54a32d192ed03)},
	}
}

// tag returns the 32 hash bits of the key: two rounds of folded multiplication under the seed.
func (x *index) tag(key ident.ID) uint32 {
	high, low := bits.Mul64(key.Lo^x.key[0], key.Hi^x.key[1])
	high, low = bits.Mul64(high^low^x.key[1], 0xa0761d6478bd642f)
	return uint32((high ^ low) >> 32)
}

// scramble is the finalizer of splitmix64.
func scramble(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func home(tag uint32) uint32 { return (tag & (1<<homeBits - 1)) * segmentSlots >> homeBits }

// probe walks the slots in which a key with one tag may stand.
type probe struct {
	segment *segment
	slot    uint32 // the slot next looked at; after a match, one past it
	tag     uint32
}

func (x *index) probe(tag uint32) probe {
	return probe{segment: x.directory[tag>>(32-x.depth)], slot: home(tag), tag: tag}
}

// touch reads the home slot of a tag, so that the cache has it when it is needed.
func (x *index) touch(tag uint32) uint64 {
	return x.directory[tag>>(32-x.depth)].slots[home(tag)]
}

// first returns the first reference under the tag, zero where there is none. It may be of another
// key.
func (x *index) first(tag uint32) uint32 {
	p := x.probe(tag)
	return p.next()
}

// next returns the next reference under the tag, or zero where there is none; the probe then stands
// on the empty slot that ended the search.
func (p *probe) next() uint32 {
	i := p.slot
	for {
		if i == segmentSlots {
			i = 0
		}
		slot := p.segment.slots[i]
		if slot == 0 {
			p.slot = i
			return 0
		}
		i++
		if uint32(slot>>32) == p.tag {
			p.slot = i
			return uint32(slot)
		}
	}
}

// insert puts a reference, not zero, into the empty slot on which the probe stands. Nothing may
// have been inserted or removed since the probe got there.
func (x *index) insert(p *probe, reference uint32) {
	p.segment.slots[p.slot] = uint64(p.tag)<<32 | uint64(reference)
	p.segment.count++
	if uint64(p.segment.count) >= p.segment.limit {
		x.split(p.segment, p.tag)
	}
}

// replace changes the reference that next returned last.
func (p *probe) replace(reference uint32) {
	p.segment.slots[p.slot-1] = uint64(p.tag)<<32 | uint64(reference)
}

// add inserts a reference without looking whether it is there already.
func (x *index) add(tag, reference uint32) {
	p := x.probe(tag)
	for p.next() != 0 {
	}
	x.insert(&p, reference)
}

// remove takes a reference out; it must be there. The slots behind it move up, so that no search
// ends early and no marker of a removal stays behind.
func (x *index) remove(tag, reference uint32) {
	p := x.probe(tag)
	for {
		found := p.next()
		invariant.Check(found != 0, "ledger: index entry to remove is missing")
		if found == reference {
			break
		}
	}
	slots := &p.segment.slots
	hole := p.slot - 1
	for i := hole; ; {
		i++
		if i == segmentSlots {
			i = 0
		}
		if slots[i] == 0 {
			break
		}
		if between(hole, home(uint32(slots[i]>>32)), i) {
			continue
		}
		slots[hole] = slots[i]
		hole = i
	}
	slots[hole] = 0
	p.segment.count--
}

// between reports whether home lies behind the hole and not behind i, going round the segment: then
// the entry at i must stay where it is.
func between(hole, home, i uint32) bool {
	if hole <= i {
		return hole < home && home <= i
	}
	return hole < home || home <= i
}

// split moves half of a full segment's keys, by the next bit of their tags, to a new one.
func (x *index) split(full *segment, tag uint32) {
	if full.depth == depthMax {
		invariant.Check(full.count < segmentSlots-1, "ledger: index keys collide beyond chance")
		return
	}
	if full.depth == x.depth {
		x.double()
	}
	if x.spare == nil {
		x.spare = new(segment)
	}
	*x.spare = *full
	prefix := tag >> (32 - full.depth) << 1
	sibling := newSegment(prefix|1, full.depth+1)
	full.slots, full.count = [segmentSlots]uint64{}, 0
	full.become(prefix, full.depth+1)
	for _, slot := range x.spare.slots {
		if slot == 0 {
			continue
		}
		if slot>>(64-full.depth)&1 == 0 {
			full.place(slot)
		} else {
			sibling.place(slot)
		}
	}
	span := uint32(1) << (x.depth - full.depth) // directory entries of each half
	first := tag >> (32 - x.depth) &^ (2*span - 1)
	for i := first + span; i < first+2*span; i++ {
		x.directory[i] = sibling
	}
}

func (g *segment) place(slot uint64) {
	i := home(uint32(slot >> 32))
	for g.slots[i] != 0 {
		i++
		if i == segmentSlots {
			i = 0
		}
	}
	g.slots[i] = slot
	g.count++
}

func (x *index) double() {
	doubled := make([]*segment, 2*len(x.directory))
	for i, g := range x.directory {
		doubled[2*i], doubled[2*i+1] = g, g
	}
	x.directory = doubled
	x.depth++
}

// reserve splits segments until n keys fit without a further split, give or take chance.
func (x *index) reserve(n int) {
	for x.depth < depthMax && n > len(x.directory)*(segmentLeast*7/8) {
		x.double()
		for i := 0; i < len(x.directory); i += 2 {
			x.split(x.directory[i], uint32(i)<<(32-x.depth))
		}
	}
}
