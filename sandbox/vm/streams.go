package vm

import (
	"io"
	"sync"

	"surety/base/errs"
)

// streams carries the streams of many processes over one port. Each stream flows one way and has a
// window of its own, so that one whose reader has stopped does not stop the others.
type streams struct {
	port *port

	mu   sync.Mutex
	in   map[uint32]*inlet
	out  map[uint32]*outlet
	dead error // why the port is of no use any more
}

func newStreams(p *port) *streams {
	return &streams{port: p, in: map[uint32]*inlet{}, out: map[uint32]*outlet{}}
}

// inlet is the reading end of a stream.
type inlet struct {
	all *streams
	id  uint32

	arrived *sync.Cond // on all.mu
	waiting []byte     // at most windowBytes
	over    error      // io.EOF once the writer closed it
}

// outlet is the writing end of a stream.
type outlet struct {
	all *streams
	id  uint32

	granted *sync.Cond // on all.mu
	window  int        // bytes that may still be sent
	over    error
}

// reader opens the reading end of stream id. The other end's writer may already have sent.
func (s *streams) reader(id uint32) (*inlet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(id); err != nil {
		return nil, err
	}
	i := &inlet{all: s, id: id, arrived: sync.NewCond(&s.mu)}
	s.in[id] = i
	return i, nil
}

// writer opens the writing end of stream id.
func (s *streams) writer(id uint32) (*outlet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(id); err != nil {
		return nil, err
	}
	o := &outlet{all: s, id: id, granted: sync.NewCond(&s.mu), window: windowBytes}
	s.out[id] = o
	return o, nil
}

func (s *streams) admit(id uint32) error {
	if s.dead != nil {
		return s.dead
	}
	if s.in[id] != nil || s.out[id] != nil {
		return errs.New(errs.Exists, "vm: stream %d is open", id)
	}
	if n := len(s.in) + len(s.out); n >= maxStreams {
		return errs.New(errs.Busy, "vm: %d streams are open, limit %d", n, maxStreams)
	}
	return nil
}

// serve reads the port until it ends, and then ends every stream with the cause.
func (s *streams) serve() error {
	for {
		m, err := readMessage(s.port.file)
		if err == nil {
			err = s.take(m)
		}
		if err != nil {
			s.fail(err)
			return err
		}
	}
}

// take handles one message. A message for a stream that is not open comes from an end that does not
// know yet: its bytes are dropped.
func (s *streams) take(m message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m.kind {
	case hello:
	case data:
		i := s.in[m.id]
		if i == nil {
			return nil
		}
		if len(i.waiting)+len(m.payload) > windowBytes {
			return errs.New(errs.Corrupt, "vm: stream %d sent %d bytes beyond its window of %d", m.id,
				len(i.waiting)+len(m.payload)-windowBytes, windowBytes)
		}
		i.waiting = append(i.waiting, m.payload...)
		i.arrived.Broadcast()
	case closed:
		if i := s.in[m.id]; i != nil {
			i.end(io.EOF)
		}
	case credit:
		n, err := m.number()
		if err != nil {
			return err
		}
		if o := s.out[m.id]; o != nil {
			if o.window += int(n); o.window > windowBytes {
				return errs.New(errs.Corrupt, "vm: stream %d was granted a window of %d, limit %d", m.id,
					o.window, windowBytes)
			}
			o.granted.Broadcast()
		}
	case reset:
		if o := s.out[m.id]; o != nil {
			o.end(io.ErrClosedPipe)
		}
	default:
		return errs.New(errs.Corrupt, "vm: a message of kind %d on port %s", m.kind, s.port.name)
	}
	return nil
}

// fail ends all streams, and all that would be opened.
func (s *streams) fail(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead == nil {
		s.dead = errs.As(errs.Unavailable, cause, "vm: port %s", s.port.name)
	}
	for _, i := range s.in {
		i.end(s.dead)
	}
	for _, o := range s.out {
		o.end(s.dead)
	}
}

// end lets go of who waits; the first cause stands. The caller holds all.mu.
func (i *inlet) end(cause error) {
	if i.over == nil {
		i.over = cause
	}
	i.arrived.Broadcast()
}

func (o *outlet) end(cause error) {
	if o.over == nil {
		o.over = cause
	}
	o.granted.Broadcast()
}

// Read returns what has arrived, waiting for the first byte.
func (i *inlet) Read(into []byte) (int, error) {
	i.all.mu.Lock()
	for len(i.waiting) == 0 && i.over == nil {
		i.arrived.Wait()
	}
	n := copy(into, i.waiting)
	i.waiting = i.waiting[n:]
	over := i.over
	i.all.mu.Unlock()
	if n == 0 && len(into) > 0 {
		return 0, over
	}
	if over == nil && n > 0 {
		return n, i.all.port.sendNumber(credit, i.id, uint32(n))
	}
	return n, nil
}

// Close gives the stream up: what still arrives is dropped, and its writer is told.
func (i *inlet) Close() error {
	i.all.mu.Lock()
	over := i.over
	i.end(io.ErrClosedPipe)
	delete(i.all.in, i.id)
	i.all.mu.Unlock()
	if over != nil {
		return nil
	}
	return i.all.port.send(message{kind: reset, id: i.id})
}

// Write sends bytes, waiting while the window is full.
func (o *outlet) Write(from []byte) (int, error) {
	sent := 0
	for sent < len(from) {
		o.all.mu.Lock()
		for o.window == 0 && o.over == nil {
			o.granted.Wait()
		}
		if o.over != nil {
			defer o.all.mu.Unlock()
			return sent, o.over
		}
		n := min(len(from)-sent, o.window, maxChunk)
		o.window -= n
		o.all.mu.Unlock()
		if err := o.all.port.send(message{data, o.id, from[sent : sent+n]}); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// Close says that there is no more.
func (o *outlet) Close() error {
	o.all.mu.Lock()
	over := o.over
	o.end(io.ErrClosedPipe)
	delete(o.all.out, o.id)
	o.all.mu.Unlock()
	if over != nil {
		return nil
	}
	return o.all.port.send(message{kind: closed, id: o.id})
}
