package ledger

import (
	"math/rand/v2"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/invariant"
)

// TestIndexAgainstMap adds and removes keys through several splits and doublings.
func TestIndexAgainstMap(t *testing.T) {
	x := newIndex(5)
	r := rand.New(rand.NewPCG(1, 1))
	var keys []ident.ID
	at := map[ident.ID]uint32{}
	find := func(key ident.ID) uint32 {
		p := x.probe(x.tag(key))
		for {
			i := p.next()
			if i == 0 || keys[i-1] == key {
				return i
			}
		}
	}
	for range 200_000 {
		if len(at) > 100 && r.IntN(4) == 0 {
			i := r.IntN(len(keys))
			if at[keys[i]] != 0 {
				x.remove(x.tag(keys[i]), at[keys[i]])
				delete(at, keys[i])
			}
			continue
		}
		key := ident.ID{Lo: r.Uint64N(1 << 40), Hi: 1}
		keys = append(keys, key)
		if at[key] == 0 {
			at[key] = uint32(len(keys))
			x.add(x.tag(key), at[key])
		}
	}
	count := 0
	seen := map[*segment]bool{}
	for _, g := range x.directory {
		if !seen[g] {
			seen[g] = true
			count += int(g.count)
		}
	}
	if count != len(at) {
		t.Errorf("%d entries, want %d", count, len(at))
	}
	for _, key := range keys {
		if have := find(key); have != at[key] {
			t.Fatalf("key %s: %d, want %d", key, have, at[key])
		}
	}
}

// TestIndexRemoveRoundTheEnd removes from a run of slots that goes round the end of a segment.
func TestIndexRemoveRoundTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex(0)
		tags := rapid.SliceOfN(rapid.SampledFrom([]uint32{1<<homeBits - 1, 1<<homeBits - 2, 0, 1, 2}), 1, 40).
			Draw(t, "tags")
		for i, tag := range tags {
			x.add(tag, uint32(i+1))
		}
		gone := map[uint32]bool{}
		for _, i := range rapid.SliceOfDistinct(rapid.IntRange(0, len(tags)-1), rapid.ID[int]).Draw(t, "removed") {
			x.remove(tags[i], uint32(i+1))
			gone[uint32(i+1)] = true
		}
		for i, tag := range tags {
			found := false
			for p := x.probe(tag); ; {
				reference := p.next()
				if reference == 0 {
					break
				}
				found = found || reference == uint32(i+1)
			}
			if found == gone[uint32(i+1)] {
				t.Fatalf("reference %d: found %t", i+1, found)
			}
		}
	})
}

func TestIndexReserve(t *testing.T) {
	x := newIndex(1)
	x.reserve(100_000)
	before := len(x.directory)
	if allocated := testing.AllocsPerRun(1, func() {
		for i := range uint32(50_000) {
			x.add(x.tag(ident.ID{Lo: uint64(i), Hi: uint64(x.directory[0].count)}), i+1)
		}
	}); allocated != 0 || len(x.directory) != before {
		t.Errorf("%v allocations, directory of %d, was %d", allocated, len(x.directory), before)
	}
}

// TestIndexCollisions fills a segment with one hash: beyond chance, so the process stops.
func TestIndexCollisions(t *testing.T) {
	x := newIndex(0)
	defer func() {
		if _, ok := recover().(invariant.Violation); !ok {
			t.Error("no violation")
		}
	}()
	for i := range uint32(segmentSlots) {
		x.add(7, i+1)
	}
}

// TestTimerQueue adds and removes timers at random and takes them out in order.
func TestTimerQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var links slab[transferLink]
		var freezes slab[freezeState]
		q := timerQueue{links: &links, freezes: &freezes}
		want := map[uint32]timer{}
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			if len(want) > 0 && rapid.Bool().Draw(t, "remove") {
				i := rapid.Uint32Range(0, links.length-1).Draw(t, "i")
				if place := links.at(i).timer(); place != 0 {
					q.remove(place - 1)
					delete(want, i)
				}
				continue
			}
			i, link := links.push()
			*link = transferLink{}
			_, z := freezes.push()
			*z = freezeState{}
			x := timer{expiresAt: clock.Instant(rapid.IntRange(1, 9).Draw(t, "due")), timestamp: clock.Instant(i),
				index: i}
			want[i] = x
			q.add(x)
		}
		var order []timer
		for _, x := range want {
			order = append(order, x)
		}
		sort.Slice(order, func(i, j int) bool { return order[i].before(&order[j]) })
		for _, x := range order {
			if first := q.first(); first == nil || *first != x {
				t.Fatalf("first %+v, want %+v", first, x)
			}
			q.remove(0)
			if links.at(x.index).timer() != 0 {
				t.Fatal("a timer taken out still has a place")
			}
		}
		if q.first() != nil {
			t.Fatal("the queue is not empty")
		}
	})
}

// TestSlab grows across chunks, cuts back, and keeps a prefix apart from what comes later.
func TestSlab(t *testing.T) {
	var s slab[uint64]
	for n := range uint64(3 * chunkSize) {
		i, place := s.push()
		*place = n
		if uint64(i) != n {
			t.Fatalf("record %d is number %d", n, i)
		}
	}
	first := s.at(0)
	p := s.prefix()
	s.cut(chunkSize + 5)
	s.reserve(9 * chunkSize)
	if _, place := s.push(); s.count() != chunkSize+6 || len(s.chunks) != 9 {
		t.Errorf("%d records in %d chunks", s.count(), len(s.chunks))
	} else {
		*place = 1
	}
	if p.count() != 3*chunkSize || *p.at(3*chunkSize - 1) != 3*chunkSize-1 || s.at(0) != first {
		t.Error("records moved or were lost")
	}
}
