package vm

import (
	"errors"
	"io"
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

// collection is the host's end: frames as they arrive, until the collector has stored them.
type collection struct {
	port *port

	mu      sync.Mutex
	waiting []byte // at most trailWindow
	over    error  // io.EOF when the guest said that there is no more

	arrived chan struct{} // one token: something has changed
	held    int           // bytes that next returned
}

func newCollection(p *port) *collection {
	return &collection{port: p, arrived: make(chan struct{}, 1)}
}

// serve reads the port until it ends.
func (c *collection) serve() error {
	for {
		m, err := readMessage(c.port.file)
		if err == nil {
			err = c.take(m)
		}
		if err != nil {
			c.fail(err)
			return err
		}
	}
}

func (c *collection) take(m message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.kind {
	case hello:
	case records:
		if n := len(c.waiting) + len(m.payload); n > trailWindow+maxChunk {
			return errs.New(errs.Corrupt, "vm: %d bytes of the trail before one was taken, limit %d", n,
				trailWindow+maxChunk)
		}
		c.waiting = append(c.waiting, m.payload...)
	case ended:
		if c.over == nil {
			c.over = io.EOF
		}
	default:
		return errs.New(errs.Corrupt, "vm: a message of kind %d on port %s", m.kind, c.port.name)
	}
	c.signal()
	return nil
}

func (c *collection) fail(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over == nil {
		c.over = errs.As(errs.Unavailable, cause, "vm: the trail ended with the machine")
	}
	c.signal()
}

func (c *collection) signal() {
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

// next is Machine.Next.
func (c *collection) next(wait time.Duration) ([]byte, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		frames, err := c.whole()
		if len(frames) > 0 || err != nil {
			return frames, err
		}
		select {
		case <-c.arrived:
		case <-timer.C:
			return c.whole()
		}
	}
}

// whole returns the frames that have arrived to their end.
func (c *collection) whole() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for {
		size, err := ring.FrameSize(c.waiting[n:])
		if err != nil && n == 0 {
			return nil, err
		}
		if size == 0 || err != nil {
			break
		}
		n += size
	}
	c.held = n
	if n > 0 {
		return c.waiting[:n:n], nil
	}
	if c.over == io.EOF && len(c.waiting) > 0 {
		return nil, errs.New(errs.Corrupt, "vm: the trail ended within a frame, at %d bytes of it",
			len(c.waiting))
	}
	return nil, c.over
}

// advance is Machine.Advance.
func (c *collection) advance(n int) error {
	c.mu.Lock()
	n = min(n, c.held)
	c.held -= n
	c.waiting = append([]byte(nil), c.waiting[n:]...)
	c.mu.Unlock()
	if n == 0 {
		return nil
	}
	return c.port.sendNumber(taken, 0, uint32(n))
}
