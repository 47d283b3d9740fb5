package client

import (
	"context"
	"sync"

	"surety/base/errs"
	"surety/ledger"
	"surety/ledger/wire"
)

// merger sends small batches of many callers as one. No timer decides: a call that finds nothing
// under way is sent at once, and what comes while requests are under way makes up the next.
//
// A batch that ends with a linked record, which the next would continue, travels alone: it is the
// ledger's to refuse it. All others are independent of what stands beside them.
type merger[T any, R ~uint16] struct {
	client *Client
	op     wire.Op
	encode func([]byte, []T) []byte
	linked func(*T) bool

	mu       sync.Mutex
	waiting  []*part[T, R]
	inFlight int
}

// part is one caller's batch.
type part[T any, R ~uint16] struct {
	batch   []T
	results []R
	err     error
	taken   bool          // it is under way and can no longer be taken back; mu of the merger
	done    chan struct{} // closed at its end
}

func newMerger[T any, R ~uint16](c *Client, op wire.Op, encode func([]byte, []T) []byte,
	linked func(*T) bool) *merger[T, R] {
	return &merger[T, R]{client: c, op: op, encode: encode, linked: linked}
}

// send sends a batch, alone or with others, and returns its results.
func (m *merger[T, R]) send(ctx context.Context, batch []T) ([]R, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	if len(batch) > ledger.BatchMax {
		return nil, errs.New(errs.TooLarge, "a batch of %d records, the limit is %d",
			len(batch), ledger.BatchMax)
	}
	if len(batch) > mergeMax || m.linked(&batch[len(batch)-1]) {
		answer, err := m.client.call(ctx, m.op, m.encode(nil, batch))
		if err != nil {
			return nil, err
		}
		return wire.DecodeResults[R](answer, len(batch))
	}
	p := &part[T, R]{batch: batch, done: make(chan struct{})}
	if err := m.queue(p); err != nil {
		return nil, err
	}
	select {
	case <-p.done:
		return p.results, p.err
	case <-ctx.Done():
		if m.takeBack(p) {
			return nil, gone(ctx)
		}
		// Its records are encoded by now, and it happens or not: nobody here will know.
		return nil, errs.As(errs.Canceled, ctx.Err(), "ledger: the caller went away, the batch may "+
			"happen")
	}
}

// queue adds a part, and starts sending where there is room for another request.
func (m *merger[T, R]) queue(p *part[T, R]) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) >= waitingMax {
		return errs.New(errs.Busy, "ledger: %d calls are waiting, the limit is %d",
			len(m.waiting), waitingMax)
	}
	m.waiting = append(m.waiting, p)
	if m.inFlight < mergeInFlight {
		m.inFlight++
		go m.drain()
	}
	return nil
}

// takeBack removes a part that is not under way, and reports whether it could.
func (m *merger[T, R]) takeBack(p *part[T, R]) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.taken {
		return false
	}
	for i, other := range m.waiting {
		if other == p {
			m.waiting = append(m.waiting[:i], m.waiting[i+1:]...)
			break
		}
	}
	return true
}

// drain sends what is waiting until nothing is.
func (m *merger[T, R]) drain() {
	for {
		parts, body := m.take()
		if parts == nil {
			return
		}
		m.finish(parts, body)
	}
}

// take encodes as many parts as one batch holds; none is left when it returns nil.
func (m *merger[T, R]) take() ([]*part[T, R], []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	count, records := 0, 0
	for count < len(m.waiting) && records+len(m.waiting[count].batch) <= ledger.BatchMax {
		records += len(m.waiting[count].batch)
		count++
	}
	if count == 0 {
		m.inFlight--
		return nil, nil
	}
	parts := append([]*part[T, R](nil), m.waiting[:count]...)
	m.waiting = append(m.waiting[:0], m.waiting[count:]...)
	body := make([]byte, 0, records*ledger.RecordSize)
	for _, p := range parts {
		p.taken = true
		body = m.encode(body, p.batch)
	}
	return parts, body
}

// finish sends the merged batch and gives each part its results.
func (m *merger[T, R]) finish(parts []*part[T, R], body []byte) {
	records := len(body) / ledger.RecordSize
	answer, err := m.client.call(context.Background(), m.op, body)
	var results []R
	if err == nil {
		results, err = wire.DecodeResults[R](answer, records)
	}
	for _, p := range parts {
		if p.err = err; err == nil {
			p.results, results = results[:len(p.batch):len(p.batch)], results[len(p.batch):]
		}
		close(p.done)
	}
}
