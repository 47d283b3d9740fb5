package vm

import (
	"errors"
	"sync"
	"time"

	"surety/base/errs"
	"surety/sandbox/ring"
)

// Trail is the guest's end of the trail port: what the collector inside gives its frames to.
type Trail struct {
	port *port
}

// OpenTrail opens the guest's trail port. It can be open once in the whole guest.
func OpenTrail() (*Trail, error) {
	p, err := openPort(trailPort)
	if err != nil {
		return nil, err
	}
	return &Trail{port: p}, nil
}

// Append sends frames and returns when the collector outside has stored them all: until then the
// ring inside keeps them, and a full ring stops who would write more. Errors: Unavailable when the
// host does not answer any more, after which nothing must be done inside.
func (t *Trail) Append(frames []byte) error {
	sent, stored := 0, 0
	for stored < len(frames) {
		for sent < len(frames) && sent-stored < trailWindow {
			n := min(maxChunk, len(frames)-sent)
			if err := t.port.send(message{kind: records, payload: frames[sent : sent+n]}); err != nil {
				return errs.As(errs.Unavailable, err, "vm: send the trail")
			}
			sent += n
		}
		m, err := readMessage(t.port.file)
		if err != nil {
			return errs.As(errs.Unavailable, err, "vm: send the trail")
		}
		n, err := m.number()
		if err != nil || m.kind != taken || int(n) > sent-stored {
			return errs.New(errs.Unavailable, "vm: send the trail: kind %d acknowledges %d bytes of %d",
				m.kind, n, sent-stored)
		}
		stored += int(n)
	}
	return nil
}

// Close says that the trail is whole, and gives the port up.
func (t *Trail) Close() error {
	return errors.Join(t.port.send(message{kind: ended}), t.port.file.Close())
}

// Frames is the host's end: frames as they arrive, until the collector has stored them. It belongs
// to one goroutine, but for Wake.
type Frames struct {
	port *port

	mu      sync.Mutex
	waiting []byte // at most trailWindow+maxChunk
	held    int    // bytes that Next returned
	ended   bool   // the guest said that there is no more
	broken  error  // why there will be no more, where it did not
	woken   bool
	arrived chan struct{} // one token: something above has changed
}

func newFrames(p *port) *Frames { return &Frames{port: p, arrived: make(chan struct{}, 1)} }

// serve reads the port until it ends.
func (f *Frames) serve() error {
	for {
		m, err := readMessage(f.port.file)
		if err == nil {
			err = f.take(m)
		}
		if err != nil {
			f.change(func() { f.broken = errs.As(errs.Unavailable, err, "vm: the trail broke off") })
			return err
		}
	}
}

func (f *Frames) take(m message) (err error) {
	f.change(func() {
		n := len(f.waiting) + len(m.payload)
		switch {
		case m.kind == hello:
		case m.kind == ended:
			f.ended = true
		case m.kind != records:
			err = errs.New(errs.Corrupt, "vm: a message of kind %d on port %s", m.kind, f.port.name)
		case n > trailWindow+maxChunk:
			err = errs.New(errs.Corrupt, "vm: %d bytes of the trail before one was taken, limit %d", n,
				trailWindow+maxChunk)
		default:
			f.waiting = append(f.waiting, m.payload...)
		}
	})
	return err
}

// change does something under the lock and lets go of a Next that waits.
func (f *Frames) change(do func()) {
	f.mu.Lock()
	do()
	f.mu.Unlock()
	select {
	case f.arrived <- struct{}{}:
	default:
	}
}

// Size is how many bytes can be on their way at most.
func (f *Frames) Size() int { return trailWindow + maxChunk }

// Next waits up to wait for frames and returns a run of whole ones, valid until Advance. None: nil,
// nil, and so for ever after the last. Errors: Unavailable when the machine was gone before it had
// said that there are no more; Corrupt.
func (f *Frames) Next(wait time.Duration) ([]byte, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		frames, err := f.whole()
		if len(frames) > 0 || err != nil {
			return frames, err
		}
		select {
		case <-f.arrived:
			if f.wasWoken() {
				return f.whole()
			}
		case <-timer.C:
			return f.whole()
		}
	}
}

// Wake ends the wait of a Next that is under way, or of the one that comes.
func (f *Frames) Wake() { f.change(func() { f.woken = true }) }

func (f *Frames) wasWoken() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.woken
	f.woken = false
	return was
}

// whole returns the frames that have arrived to their end.
func (f *Frames) whole() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for n < trailBatch {
		size, err := ring.FrameSize(f.waiting[n:])
		if err != nil && n == 0 {
			return nil, err
		}
		if size == 0 || err != nil {
			break
		}
		n += size
	}
	f.held = n
	switch {
	case n > 0:
		return f.waiting[:n:n], nil
	case f.ended && len(f.waiting) > 0:
		return nil, errs.New(errs.Corrupt, "vm: the trail ended within a frame, at %d bytes of it",
			len(f.waiting))
	case f.ended:
		return nil, nil
	}
	return nil, f.broken
}

// Ended reports whether the guest has said that there are no more frames, and all have been taken.
func (f *Frames) Ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended && len(f.waiting) == 0
}

// Advance says that n bytes of what Next returned are stored. Only then does the guest forget them.
// On a machine that is gone it is lost, and Next says so.
func (f *Frames) Advance(n int) {
	f.mu.Lock()
	n = min(n, f.held)
	f.held -= n
	f.waiting = f.waiting[n:]
	f.mu.Unlock()
	if n > 0 {
		_ = f.port.sendNumber(taken, 0, uint32(n))
	}
}

// Close says that nobody reads any more: the guest's next record is not taken, and its sandbox ends.
func (f *Frames) Close() { _ = f.port.file.Close() }
