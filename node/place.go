package node

import "sync"

// place counts what of an input was released and what of that is through, so that the place kept
// for the next start has nothing unfinished before it: what is in flight when the node ends is
// released again, under the same keys.
type place struct {
	mu       sync.Mutex
	released uint64              // entries of the input given out so far
	underWay map[uint64]struct{} // numbers, from 0, of those that are not through
}

func newPlace(released uint64) *place {
	return &place{released: released, underWay: make(map[uint64]struct{})}
}

// begin returns the number of the next entry, which is then under way.
func (p *place) begin() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	number := p.released
	p.released++
	p.underWay[number] = struct{}{}
	return number
}

// through notes that an entry needs nothing more.
func (p *place) through(number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.underWay, number)
}

// reached returns how many entries there are before the first that is not through.
func (p *place) reached() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	reached := p.released
	for number := range p.underWay {
		reached = min(reached, number)
	}
	return reached
}
