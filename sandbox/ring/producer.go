package ring

import (
	"sync"
	"sync/atomic"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
	"surety/sys/wallclock"
)

// Producer writes records: one per ring, in the kernel inside. Safe for concurrent use.
type Producer struct {
	ring     *Ring
	clock    wallclock.Clock // the machine's: what waits here is a system call
	patience time.Duration

	mu       sync.Mutex
	chain    sandbox.Chain
	tail     uint64 // == the ring's tail
	head     uint64 // <= the ring's head: as last seen
	frame    []byte // of the record being written
	counters struct{ refused, wouldRefuse, waits uint64 }
	err      error // once set, the answer to every call
}

// NewProducer starts a chain at its zero. A ring is written by one producer in its life: on one that
// holds records, or did, every Write fails. A restored sandbox starts a new ring and a new trail,
// whose first record names the head of the old.
func NewProducer(r *Ring, patience time.Duration) *Producer {
	p := &Producer{ring: r, clock: wallclock.System(), patience: patience,
		frame: make([]byte, 0, MaxFrame)}
	if tail := r.load(offTail); tail != 0 {
		p.err = errs.New(errs.Exists, "ring.write: another producer wrote %d bytes before", tail)
	}
	return p
}

// Write stamps seq, trace and the chain, encodes and publishes the record; rec is not kept. It
// blocks while the ring is full (back-pressure), at most for the producer's patience. After an
// error (the collector is gone or does not take) every later call fails too: the caller must end
// the sandbox. Uses no system call but futex, and none at all when nobody waits.
func (p *Producer) Write(rec *sandbox.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	rec.Seq = p.chain.Seq + 1
	rec.Trace = p.ring.Trace()
	p.frame = rec.Append(p.frame[:0])
	head := p.chain.Add(p.frame)
	p.frame = append(p.frame, head[:]...)
	if p.err = p.await(len(p.frame)); p.err != nil {
		return p.err
	}
	copy(p.ring.bytes(p.tail, len(p.frame)), p.frame)
	p.count(rec.Verdict)
	p.tail += uint64(len(p.frame))
	p.ring.store(offTail, p.tail) // publishes the frame
	p.wakeReader()
	return nil
}

func (p *Producer) count(verdict sandbox.Verdict) {
	p.ring.store(offRecords, p.chain.Seq)
	switch verdict {
	case sandbox.Refused:
		p.counters.refused++
		p.ring.store(offRefused, p.counters.refused)
	case sandbox.WouldRefuse:
		p.counters.wouldRefuse++
		p.ring.store(offWouldRefuse, p.counters.wouldRefuse)
	}
}

// await returns once there is room for n bytes; an error where the collector is gone or out of the
// producer's patience.
func (p *Producer) await(n int) error {
	if atomic.LoadUint32(p.ring.u32(offGone)) != 0 {
		return errs.New(errs.Unavailable, "ring.write: record %d: the collector is gone", p.chain.Seq)
	}
	if p.room(n) {
		return nil
	}
	p.counters.waits++
	p.ring.store(offWaits, p.counters.waits)
	return p.sleep(n, p.clock.Now().Add(clock.Duration(p.patience)))
}

// room reports whether n more bytes fit, looking at the shared head only where the one last seen
// does not do.
func (p *Producer) room(n int) bool {
	fits := func() bool { return p.tail+uint64(n)-p.head <= p.ring.size }
	if !fits() {
		p.head = p.ring.load(offHead)
	}
	return fits()
}

// sleep waits for room: say so, look again, and only then sleep. The consumer looks at the word
// after it moves head, so one of the two sees the other.
func (p *Producer) sleep(n int, until clock.Instant) error {
	word := p.ring.u32(offWriter)
	defer atomic.StoreUint32(word, 0)
	for {
		atomic.StoreUint32(word, 1)
		p.rouseReader()
		if p.room(n) {
			return nil
		}
		if atomic.LoadUint32(p.ring.u32(offGone)) != 0 {
			return errs.New(errs.Unavailable, "ring.write: record %d: the collector is gone",
				p.chain.Seq)
		}
		left := time.Duration(until.Sub(p.clock.Now()))
		if left <= 0 {
			return errs.New(errs.Unavailable,
				"ring.write: record %d: the ring was full for %v, with %d of %d bytes unread",
				p.chain.Seq, p.patience, p.tail-p.head, p.ring.size)
		}
		await(word, 1, left)
	}
}

// wakeReader wakes a consumer that sleeps, and one that naps once a quarter of the ring is full.
func (p *Producer) wakeReader() {
	switch atomic.LoadUint32(p.ring.u32(offReader)) {
	case sleeping:
		p.rouseReader()
	case napping:
		if p.tail-p.head < p.ring.size/4 {
			return
		}
		// The head last seen only ever makes the ring look fuller than it is.
		if p.head = p.ring.load(offHead); p.tail-p.head >= p.ring.size/4 {
			p.rouseReader()
		}
	}
}

func (p *Producer) rouseReader() {
	word := p.ring.u32(offReader)
	if atomic.SwapUint32(word, awake) != awake {
		wake(word)
	}
}
