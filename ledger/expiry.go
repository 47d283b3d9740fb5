package ledger

import "surety/base/clock"

// timer is one thing that ends by itself: a pending transfer or a freeze.
type timer struct {
	expiresAt clock.Instant
	timestamp clock.Instant // of the record: breaks ties, older first
	index     uint32
	freeze    bool // the index is of a freeze, not of a transfer
}

func (t *timer) before(o *timer) bool {
	if t.expiresAt != o.expiresAt {
		return t.expiresAt < o.expiresAt
	}
	return t.timestamp < o.timestamp
}

// timerQueue is a heap of four branches over a slab, so that its growth copies nothing. Every record
// knows its place in the heap, so that a timer that is no longer needed leaves at once and the queue
// never holds what has been settled.
type timerQueue struct {
	heap    slab[timer]
	links   *slab[transferLink]
	freezes *slab[freezeState]
}

const timerBranches = 4

// first returns the timer that ends next, nil where there is none.
func (q *timerQueue) first() *timer {
	if q.heap.length == 0 {
		return nil
	}
	return q.heap.at(0)
}

// add puts a timer in.
func (q *timerQueue) add(t timer) {
	i, _ := q.heap.push()
	q.up(i, t)
}

// remove takes out the timer at place i of the heap.
func (q *timerQueue) remove(i uint32) {
	last := *q.heap.at(q.heap.length - 1)
	q.setPlace(q.heap.at(i), 0)
	q.heap.cut(q.heap.length - 1)
	if i == q.heap.length {
		return
	}
	if i > 0 && last.before(q.heap.at((i-1)/timerBranches)) {
		q.up(i, last)
		return
	}
	q.down(i, last)
}

func (q *timerQueue) up(i uint32, t timer) {
	for i > 0 {
		parent := (i - 1) / timerBranches
		above := q.heap.at(parent)
		if !t.before(above) {
			break
		}
		q.put(i, above)
		i = parent
	}
	q.put(i, &t)
}

func (q *timerQueue) down(i uint32, t timer) {
	for {
		child := i*timerBranches + 1
		if child >= q.heap.length {
			break
		}
		least := child
		for c := child + 1; c < min(child+timerBranches, q.heap.length); c++ {
			if q.heap.at(c).before(q.heap.at(least)) {
				least = c
			}
		}
		below := q.heap.at(least)
		if !below.before(&t) {
			break
		}
		q.put(i, below)
		i = least
	}
	q.put(i, &t)
}

func (q *timerQueue) put(i uint32, t *timer) {
	*q.heap.at(i) = *t
	q.setPlace(t, i+1)
}

// setPlace tells the record of t where its timer stands: its place plus one, zero for none.
func (q *timerQueue) setPlace(t *timer, place uint32) {
	if t.freeze {
		q.freezes.at(t.index).timer = place
		return
	}
	q.links.at(t.index).setTimer(place)
}
