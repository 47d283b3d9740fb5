package node

import "testing"

// TestPlaceWaitsForTheSlowest keeps the place before what is under way, whatever else is through.
func TestPlaceWaitsForTheSlowest(t *testing.T) {
	p := newPlace(7)
	first, second, third := p.begin(), p.begin(), p.begin()
	if first != 7 || third != 9 {
		t.Fatalf("numbers %d, %d, %d", first, second, third)
	}
	for _, step := range []struct{ through, want uint64 }{{second, 7}, {third, 7}, {third, 7}, {first, 10}} {
		p.through(step.through)
		if got := p.reached(); got != step.want {
			t.Errorf("%d is through: reached %d, want %d", step.through, got, step.want)
		}
	}
}
