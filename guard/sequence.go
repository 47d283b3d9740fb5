package guard

import "surety/base/clock"

// Stream is one of the two streams that the checker reads.
type Stream uint8

// The streams.
const (
	StreamOutbox Stream = 1
	StreamFeed   Stream = 2
)

var streamNames = [...]string{"", "outbox", "feed"}

// String returns the stream's name.
func (s Stream) String() string { return streamNames[s] }

// sequence restores the order of a stream: what comes early waits, what comes again is dropped.
type sequence[T any] struct {
	next    uint64       // the position to be processed next; all before it have been
	waiting map[uint64]T // later ones; looked up, never ranged
	repeats uint64

	// end is a read that found the stream's end at a position not reached yet.
	end struct {
		last  uint64
		began clock.Instant
	}
	// through: every entry that existed at this instant has been processed; reached is the last
	// position there was then.
	through clock.Instant
	reached uint64
	// gapSince is when the entry at next was first seen to be missing; zero where none is.
	gapSince clock.Instant
	gapTold  bool
}

func newSequence[T any](next uint64) sequence[T] {
	return sequence[T]{next: next, waiting: map[uint64]T{}}
}

// arrival says what to do with an entry that came.
type arrival uint8

const (
	arrivedNow    arrival = 1 // process it
	arrivedEarly  arrival = 2 // it waits
	arrivedAgain  arrival = 3 // drop it
	arrivedBeyond arrival = 4 // no room for it to wait: the reader must come again
)

// offer decides about the entry at a position.
func (s *sequence[T]) offer(position uint64, now clock.Instant) arrival {
	switch {
	case position == s.next:
		return arrivedNow
	case position < s.next:
		s.repeats++
		return arrivedAgain
	}
	if _, here := s.waiting[position]; here {
		s.repeats++
		return arrivedAgain
	}
	if len(s.waiting) >= WindowMax {
		return arrivedBeyond
	}
	if s.gapSince == 0 {
		s.gapSince = now
	}
	return arrivedEarly
}

// advance moves past the entry just processed and returns the next where it is waiting.
func (s *sequence[T]) advance(now clock.Instant) (entry T, ready bool) {
	s.next++
	s.gapSince, s.gapTold = 0, false
	entry, ready = s.waiting[s.next]
	if ready {
		delete(s.waiting, s.next)
	} else if len(s.waiting) > 0 {
		s.gapSince = now
	}
	s.settle()
	return entry, ready
}

// read notes that a read begun at an instant found the last position of the stream. Of several
// ends not reached yet the first is kept: it is reached first, and others will come.
func (s *sequence[T]) read(last uint64, began clock.Instant) {
	if last < s.next {
		s.through, s.reached = max(s.through, began), max(s.reached, last)
		return
	}
	if s.end.last == 0 {
		s.end.last, s.end.began = last, began
	}
}

func (s *sequence[T]) settle() {
	if s.end.last != 0 && s.end.last < s.next {
		s.through, s.reached = max(s.through, s.end.began), max(s.reached, s.end.last)
		s.end.last, s.end.began = 0, 0
	}
}

// deadline is an opening to look at once a stream was read past an instant.
type deadline[K any] struct {
	at  clock.Instant
	key K
}

// queue holds deadlines that were pushed in their order.
type queue[K any] struct {
	items []deadline[K]
	head  int
}

func (q *queue[K]) push(at clock.Instant, key K) { q.items = append(q.items, deadline[K]{at, key}) }

// shift moves every deadline by a span.
func (q *queue[K]) shift(by clock.Duration) {
	for i := q.head; i < len(q.items); i++ {
		q.items[i].at = q.items[i].at.Add(by)
	}
}

// first returns the earliest, nil where there is none.
func (q *queue[K]) first() *deadline[K] {
	if q.head == len(q.items) {
		return nil
	}
	return &q.items[q.head]
}

// drop removes the earliest. The space before it is given back once it is half of the whole.
func (q *queue[K]) drop() {
	q.head++
	if q.head >= 64 && q.head*2 >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
}
