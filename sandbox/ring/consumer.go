package ring

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
	"surety/sys/wallclock"
)

// Consumer reads records: one per ring, outside. It belongs to one goroutine, but for Wake and
// Close.
type Consumer struct {
	ring    *Ring
	clock   wallclock.Clock // the machine's: what waits here is a system call
	head    uint64          // where the next frame begins; the ring's copy is for the producer alone
	held    int             // bytes of batch that Next returned and Advance has not given back
	batch   []byte          // a private copy: what lies in the ring may change while it is looked at
	idle    int             // times in a row that nothing was there
	woken   atomic.Bool
	damaged error // once set, the answer to every Next
}

// NewConsumer begins where the last consumer of the ring left off.
func NewConsumer(r *Ring) *Consumer {
	c := &Consumer{ring: r, clock: wallclock.System(), batch: make([]byte, batchBytes), idle: naps}
	c.damaged = r.guarded("ring.consumer", func() error {
		c.head = r.load(offHead)
		return nil
	})
	return c
}

// Size is how many bytes of frames the ring holds at most.
func (c *Consumer) Size() int { return int(c.ring.size) }

// Next waits up to wait for records and returns a run of whole frames: each a record as Append made
// it followed by its 32-byte chain head. The slice is valid until Advance. No records: nil, nil.
// What Advance has not given back is returned again, with what came since. Errors: Corrupt for a
// ring that holds anything but whole frames; the frames before the damage come first. Unavailable
// once the ring is closed.
func (c *Consumer) Next(wait time.Duration) ([]byte, error) {
	if c.damaged != nil {
		return nil, c.damaged
	}
	var frames []byte
	err := c.ring.guarded("ring.next", func() (err error) {
		if frames, err = c.take(); err == nil && frames == nil && wait > 0 {
			c.await(wait)
			frames, err = c.take()
		}
		return err
	})
	if errs.Is(err, errs.Corrupt) {
		c.damaged = err
	}
	if len(frames) > 0 {
		c.idle = 0
		c.held = len(frames)
		return frames, nil
	}
	return nil, err
}

// take copies what is published and returns the whole frames of it.
func (c *Consumer) take() ([]byte, error) {
	tail := c.ring.load(offTail)
	unread := tail - c.head // above the size also where tail went backwards
	if unread > c.ring.size {
		return nil, errs.New(errs.Corrupt, "ring.next: tail %d and head %d are more than %d apart",
			tail, c.head, c.ring.size)
	}
	if unread == 0 {
		return nil, nil
	}
	n := min(int(unread), len(c.batch))
	copy(c.batch, c.ring.bytes(c.head, n))
	whole, err := wholeFrames(c.batch[:n])
	if err == nil && whole == 0 { // a frame is never longer than a batch
		err = errs.New(errs.Corrupt, "ring.next: at byte %d: %d bytes hold no whole frame", c.head, n)
	}
	if err != nil && whole == 0 {
		return nil, errs.Wrap(err, "ring.next: at byte %d", c.head)
	}
	return c.batch[:whole:whole], nil // what is wrong behind it comes with the next call
}

// wholeFrames returns how many bytes at the front of data are whole frames; an error where a length
// among them cannot be one.
func wholeFrames(data []byte) (int, error) {
	whole := 0
	for {
		n, err := FrameSize(data[whole:])
		if err != nil || n == 0 {
			return whole, err
		}
		whole += n
	}
}

// FrameSize returns the length of the frame at the front of data: the record's four bytes of
// length, what they count, and the chain head. Zero where data ends before the frame does; kind
// Corrupt where the length is beyond MaxFrame.
func FrameSize(data []byte) (int, error) {
	if len(data) < 4 {
		return 0, nil
	}
	length := binary.LittleEndian.Uint32(data)
	if length == 0 || length > sandbox.MaxRecord-4 {
		return 0, errs.New(errs.Corrupt, "ring: a record of %d bytes, limit %d", length,
			sandbox.MaxRecord-4)
	}
	n := 4 + int(length) + HeadBytes
	if n > len(data) {
		return 0, nil
	}
	return n, nil
}

// await sleeps until there may be records, at most for wait. While records keep coming it only naps
// and the producer, which would have to wake it with a system call, is spared that.
func (c *Consumer) await(wait time.Duration) {
	word := c.ring.u32(offReader)
	until := c.clock.Now().Add(clock.Duration(wait))
	for left := wait; left > 0; left = time.Duration(until.Sub(c.clock.Now())) {
		state, length := uint32(sleeping), left
		if c.idle < naps {
			state, length = napping, min(left, napTime)
		}
		c.idle++
		atomic.StoreUint32(word, state)
		if c.ring.load(offTail) == c.head && !c.woken.Load() {
			await(word, state, length)
		}
		atomic.StoreUint32(word, awake)
		if c.woken.Swap(false) || c.ring.load(offTail) != c.head {
			return
		}
	}
}

// Wake ends the wait of a Next that is under way, or of the one that comes.
func (c *Consumer) Wake() {
	c.woken.Store(true)
	_ = c.ring.guarded("ring.wake", func() error { // nobody waits on a closed ring
		atomic.StoreUint32(c.ring.u32(offReader), awake)
		wake(c.ring.u32(offReader))
		return nil
	})
}

// Advance gives n bytes of what Next returned back to the producer: whole frames, at most as many as
// it returned.
func (c *Consumer) Advance(n int) {
	n = min(n, c.held)
	c.held -= n
	c.head += uint64(n)
	err := c.ring.guarded("ring.advance", func() error {
		c.ring.store(offHead, c.head)
		if word := c.ring.u32(offWriter); atomic.SwapUint32(word, 0) != 0 {
			wake(word)
		}
		return nil
	})
	if c.damaged == nil && errs.Is(err, errs.Corrupt) {
		c.damaged = err
	}
}

// Close tells the producer that nobody reads any more: its next Write fails, and so does one that
// waits. Who waits at the gate is turned away.
func (c *Consumer) Close() {
	_ = c.ring.guarded("ring.close", func() error { // no ring, no producer
		atomic.StoreUint32(c.ring.u32(offGone), 1)
		atomic.StoreUint32(c.ring.u32(offGate), gateGone)
		wake(c.ring.u32(offGate))
		atomic.StoreUint32(c.ring.u32(offWriter), 0)
		wake(c.ring.u32(offWriter))
		return nil
	})
}
