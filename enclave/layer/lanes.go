package layer

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// lanes works on pieces of a stream on all processors, and hands on what they made in the order of
// the stream.
type lanes struct {
	work func(*piece)       // by many goroutines at once
	emit func(*piece) error // by one at a time, in order; not called again after an error

	now    *piece // being filled
	next   int64  // number of the piece after it
	free   chan *piece
	todo   chan *piece
	order  chan *piece
	failed atomic.Pointer[error]
	busy   sync.WaitGroup
	closed bool
}

// piece is a part of the stream.
type piece struct {
	number int64
	data   []byte // at most pieceBytes
	out    []byte // what work made of it
	extra  []byte
	ready  chan struct{}
}

func newLanes(work func(*piece), emit func(*piece) error) *lanes {
	workers := runtime.GOMAXPROCS(0)
	n := workers * piecesEach
	l := &lanes{work: work, emit: emit, free: make(chan *piece, n), todo: make(chan *piece, n),
		order: make(chan *piece, n)}
	for range n {
		l.free <- &piece{ready: make(chan struct{}, 1)}
	}
	for range workers {
		l.busy.Go(func() {
			for p := range l.todo {
				l.work(p)
				p.ready <- struct{}{}
			}
		})
	}
	l.busy.Go(l.collect)
	return l
}

// collect hands on finished pieces in order. After an error it only gives them back.
func (l *lanes) collect() {
	for p := range l.order {
		<-p.ready
		if l.failed.Load() == nil {
			if err := l.emit(p); err != nil {
				l.failed.Store(&err)
			}
		}
		l.free <- p
	}
}

// write takes more of the stream. It fails with what emit failed with, at some later time.
func (l *lanes) write(data []byte) error {
	for len(data) > 0 {
		if failed := l.failed.Load(); failed != nil {
			return *failed
		}
		if l.now == nil {
			l.now = <-l.free
			l.now.number, l.now.data = l.next, l.now.data[:0]
			if l.now.data == nil {
				l.now.data = make([]byte, 0, pieceBytes)
			}
			l.next++
		}
		n := min(len(data), pieceBytes-len(l.now.data))
		l.now.data = append(l.now.data, data[:n]...)
		data = data[n:]
		if len(l.now.data) == pieceBytes {
			l.send()
		}
	}
	return nil
}

func (l *lanes) send() {
	l.order <- l.now
	l.todo <- l.now
	l.now = nil
}

// close waits for all pieces; the last one may be short. The second time it does nothing.
func (l *lanes) close() error {
	if !l.closed {
		l.closed = true
		if l.now != nil {
			l.send()
		}
		close(l.todo)
		close(l.order)
		l.busy.Wait()
	}
	if failed := l.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}
