package entropy

import (
	"bytes"
	"testing"

	"surety/base/clock"
	"surety/base/ident"
)

func TestSeededRepeats(t *testing.T) {
	var first, second, other [64]byte
	Seeded(7).Fill(first[:])
	Seeded(7).Fill(second[:])
	Seeded(8).Fill(other[:])
	if first != second {
		t.Error("the same seed gave different bytes")
	}
	if first == other {
		t.Error("different seeds gave the same bytes")
	}
}

func TestSystemDiffers(t *testing.T) {
	var first, second [32]byte
	System().Fill(first[:])
	System().Fill(second[:])
	if bytes.Equal(first[:], second[:]) {
		t.Error("two draws gave the same 256 bits")
	}
}

func TestIdentsSortByAge(t *testing.T) {
	now := clock.Instant(1_700_000_000 * clock.Instant(clock.Second))
	ids := NewIdents(Seeded(1), func() clock.Instant { return now })
	var last ident.ID
	for range 1000 {
		id := ids.New()
		if !last.Less(id) {
			t.Fatalf("%v does not sort after %v", id, last)
		}
		last = id
		now = now.Add(clock.Millisecond)
	}
}
