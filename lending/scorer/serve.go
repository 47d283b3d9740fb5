package scorer

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// serve starts a child and works with it until it breaks or ctx ends. It never returns nil.
func (r *Remote) serve(ctx context.Context) error {
	r.change(func(s *State) {
		s.Tries++
		if s.Tries > 1 {
			s.Restarts++
		}
	})
	starting, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := r.deps.Launch(starting)
	if err != nil {
		return errs.Wrap(err, "start")
	}
	broken := make(chan error, 2) // one from each goroutine
	ready := make(chan struct{})
	stop := make(chan struct{})
	var pair sync.WaitGroup
	in := newFrames(p)
	pair.Go(func() {
		err := r.give(p, in)
		if err == nil {
			close(ready)
			err = r.read(p, in)
		}
		broken <- err
	})
	pair.Go(func() {
		select {
		case <-ready:
			broken <- r.write(p, stop)
		case <-stop:
		}
	})
	err = r.watch(ctx, ready, broken)
	close(stop)
	p.Kill()
	pair.Wait()
	return err
}

// watch returns why the child is to be ended: it broke, it hangs, or nobody wants it any more.
func (r *Remote) watch(ctx context.Context, ready <-chan struct{}, broken <-chan error) error {
	began := r.deps.Clock.Now()
	for {
		timer := r.deps.Clock.NewTimer(watchPeriod)
		select {
		case err := <-broken:
			timer.Stop()
			return err
		case <-ctx.Done():
			timer.Stop()
			return errs.As(errs.Canceled, ctx.Err(), "scorer")
		case now := <-timer.C():
			if err := r.late(now, began, ready); err != nil {
				return err
			}
		}
	}
}

// late reports that a child has not done in time what it is to do.
func (r *Remote) late(now, began clock.Instant, ready <-chan struct{}) error {
	select {
	case <-ready:
	default:
		if now.Sub(began) > startDeadline {
			return errs.New(errs.Unavailable, "it has not loaded its models within %d s",
				startDeadline/clock.Second)
		}
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.sent {
		if now.Sub(c.sentAt) > hangAfter {
			return errs.New(errs.Unavailable, "it has not answered for %d ms",
				now.Sub(c.sentAt)/clock.Millisecond)
		}
	}
	return nil
}

// give hands the models to a child and sees that it has loaded each.
func (r *Remote) give(p Process, in *frames) error {
	for _, m := range r.deps.Models {
		if !p.Held() {
			if _, err := p.Write(appendModel(nil, m.Bytes())); err != nil {
				return errs.As(errs.Unavailable, err, "scorer.give")
			}
		}
		kind, body, err := in.next()
		if err != nil {
			return ended(err)
		}
		digest := m.Digest()
		if kind != frameLoaded || !bytes.Equal(body, digest[:]) {
			return malformed("model %s was not loaded", m.Name())
		}
	}
	r.change(func(s *State) { s.Serving = true })
	return nil
}

// ended says that a child's output has ended.
func ended(err error) error {
	if err == io.EOF {
		return errs.New(errs.Unavailable, "it ended")
	}
	if errs.Is(err, errs.Corrupt) {
		return err
	}
	return errs.As(errs.Unavailable, err, "scorer.read")
}

// write gives the child what waits, all that waits at once, until stop is closed.
func (r *Remote) write(p Process, stop <-chan struct{}) error {
	var batch []byte
	var traced ident.ID
	r.signal() // for what was left over from the child before
	for {
		select {
		case <-r.wake:
		case <-stop:
			return nil
		}
		for {
			var trace ident.ID
			if batch, trace = r.take(batch[:0]); len(batch) == 0 {
				break
			}
			if trace != traced {
				p.Trace(trace)
				traced = trace
			}
			if _, err := p.Write(batch); err != nil {
				return errs.As(errs.Unavailable, err, "scorer.write")
			}
		}
	}
}

// take encodes what waits, up to what is written at once, and notes that the child has it. The
// trace is that of the only ask the child then has, zero where it has several.
func (r *Remote) take(batch []byte) ([]byte, ident.ID) {
	now := r.deps.Clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := 0
	for taken < len(r.waiting) && len(batch) < batchBytes {
		c := r.waiting[taken]
		c.sentAt = now
		c.attempts++
		r.sent[c.number] = c
		batch = appendAsk(batch, c.number, &c.ask)
		taken++
	}
	var trace ident.ID
	if taken == 1 && len(r.sent) == 1 {
		trace = r.waiting[0].ask.Trace
	}
	r.waiting = r.waiting[:copy(r.waiting, r.waiting[taken:])]
	return batch, trace
}

// read takes answers to those who wait for them.
func (r *Remote) read(p Process, in *frames) error {
	for {
		kind, body, err := in.next()
		if err != nil {
			return ended(err)
		}
		if err := r.deliver(p.Mark(), kind, body); err != nil {
			return err
		}
	}
}

// deliver takes one frame to whoever asked. A frame that answers nothing is an error of the child.
func (r *Remote) deliver(by Mark, kind byte, body []byte) error {
	if kind != frameAnswer || len(body) < 8 {
		return malformed("a frame of kind %d and %d bytes", kind, len(body))
	}
	number := binary.LittleEndian.Uint64(body)
	r.mu.Lock()
	c := r.sent[number]
	r.mu.Unlock()
	if c == nil {
		return malformed("an answer to ask %d, which it does not have", number)
	}
	answer := Answer{By: by}
	if err := decodeAnswer(body[8:], &c.ask, &answer); err != nil {
		return err // the ask stays where it is, for the next child
	}
	r.mu.Lock()
	delete(r.sent, number)
	r.answered = true
	r.mu.Unlock()
	c.done <- outcome{answer: answer}
	return nil
}
