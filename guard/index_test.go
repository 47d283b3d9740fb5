package guard

import (
	"testing"

	"pgregory.net/rapid"

	"surety/base/ident"
)

// TestIndexAgainstMap compares the index with a Go map, for ids that are derived and for ids that
// someone counted.
func TestIndexAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index[uint64]
		twin := map[ident.ID]uint64{}
		for n := range uint64(rapid.IntRange(1, 4000).Draw(t, "adds")) {
			id := ident.ID{Lo: n % 700, Hi: n % 3}
			if n%2 == 0 {
				id = ident.Derive("index", decimal(n%1500))
			}
			i, fresh := x.add(id)
			if _, known := twin[id]; known == fresh {
				t.Fatalf("id %s is new: %v, and known: %v", id, fresh, known)
			}
			if fresh {
				*x.rows.at(i), twin[id] = n+1, n+1
			}
		}
		if x.len() != len(twin) {
			t.Fatalf("%d ids, want %d", x.len(), len(twin))
		}
		for id, want := range twin {
			if got := x.get(id); got == nil || *got != want {
				t.Fatalf("id %s has %v, want %d", id, got, want)
			}
		}
		for n := range 500 {
			id := ident.Derive("absent", decimal(uint64(n)))
			if x.get(id) != nil {
				t.Fatalf("id %s was never added and is found", id)
			}
		}
	})
}

func BenchmarkIndexAdd(b *testing.B) {
	var x index[uint32]
	n := uint64(0)
	for b.Loop() {
		n++
		x.add(ident.ID{Lo: n * 0x9e3779b97f4a7c15, Hi: n})
	}
}
