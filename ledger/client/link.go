package client

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"time"

	"surety/base/errs"
	"surety/ledger/wire"
)

// link is one connection. One goroutine reads answers; callers write their own requests.
type link struct {
	conn    net.Conn
	in      *bufio.Reader
	welcome wire.Welcome
	slots   chan struct{} // one for each request that may be under way
	done    chan struct{} // closed when the reader has ended

	outMu sync.Mutex // held while a request is written

	mu    sync.Mutex
	next  uint64
	calls map[uint64]chan reply // under way; each has room for its one reply
	err   error                 // why the link is broken
}

// reply is what came for a request.
type reply struct {
	body []byte
	err  error
}

// newLink exchanges hellos.
func newLink(ctx context.Context, conn net.Conn, token string) (*link, error) {
	l := &link{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), done: make(chan struct{}),
		calls: map[uint64]chan reply{}}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(dialTimeout)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, broken(err)
	}
	hello := wire.AppendHello(nil, token)
	if err := wire.WriteFrame(conn, wire.Header{Op: wire.OpHello}, hello); err != nil {
		return nil, broken(err)
	}
	_, body, err := l.read()
	if err != nil {
		return nil, err
	}
	if l.welcome, err = wire.DecodeWelcome(body); err != nil {
		return nil, err
	}
	if l.welcome.InFlight == 0 {
		return nil, errs.New(errs.Invalid, "wire: a server that takes no requests")
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, broken(err)
	}
	l.slots = make(chan struct{}, min(l.welcome.InFlight, 1<<16))
	go l.readAll()
	return l, nil
}

// broken gives an error of a connection its kind.
func broken(err error) error {
	return errs.As(errs.Unavailable, err, "ledger: the connection broke")
}

// read reads one frame. An error that the other side sent is returned as such, with the header.
func (l *link) read() (wire.Header, []byte, error) {
	h, err := wire.ReadHeader(l.in)
	if err != nil {
		if errs.KindOf(err) == errs.Internal {
			err = broken(err)
		}
		return h, nil, err
	}
	body := make([]byte, h.Size)
	if _, err := io.ReadFull(l.in, body); err != nil {
		return wire.Header{}, nil, broken(err)
	}
	if err := h.CheckBody(body); err != nil {
		return wire.Header{}, nil, err
	}
	if h.Failed {
		return h, nil, errs.New(h.Kind, "%s", body)
	}
	return h, body, nil
}

// readAll hands answers to their callers until the connection ends.
func (l *link) readAll() {
	defer close(l.done)
	for {
		h, body, err := l.read()
		l.mu.Lock()
		waiting := l.calls[h.Request]
		delete(l.calls, h.Request)
		l.mu.Unlock()
		if err != nil && (waiting == nil || !h.Failed) {
			l.close(err) // not the answer to anything: the stream cannot be trusted
			return
		}
		if waiting != nil {
			waiting <- reply{body, err}
		}
	}
}

// close ends the link; whoever waits is told why. The first reason stays.
func (l *link) close(why error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = why
	}
	waiting := l.calls
	l.calls = map[uint64]chan reply{}
	l.mu.Unlock()
	_ = l.conn.Close() // the reader sees it
	for _, c := range waiting {
		c <- reply{err: l.err}
	}
}

// broken returns why the link is broken, nil while it works.
func (l *link) broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// call sends a request and waits for its answer. Where ctx ends first the server is told, and what
// the request changes or has changed stays.
func (l *link) call(ctx context.Context, op wire.Op, body []byte) ([]byte, error) {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return nil, gone(ctx)
	}
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return nil, l.err
	}
	l.next++
	number := l.next
	waiting := make(chan reply, 1)
	l.calls[number] = waiting
	l.mu.Unlock()
	if err := l.write(wire.Header{Op: op, Request: number}, body); err != nil {
		l.close(err)
	}
	select {
	case r := <-waiting:
		return r.body, r.err
	case <-ctx.Done():
		return nil, l.giveUp(ctx, number)
	}
}

// giveUp tells the server that an answer is not wanted. The answer, if it still comes, is dropped.
func (l *link) giveUp(ctx context.Context, number uint64) error {
	l.mu.Lock()
	if waiting := l.calls[number]; waiting != nil {
		l.calls[number] = make(chan reply, 1) // takes the answer, and nobody reads it
	}
	l.mu.Unlock()
	if err := l.write(wire.Header{Op: wire.OpCancel, Request: number}, nil); err != nil {
		l.close(err)
	}
	return gone(ctx)
}

func gone(ctx context.Context) error {
	return errs.As(errs.Canceled, ctx.Err(), "ledger: the caller went away")
}

func (l *link) write(h wire.Header, body []byte) error {
	l.outMu.Lock()
	defer l.outMu.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return broken(err)
	}
	if err := wire.WriteFrame(l.conn, h, body); err != nil {
		return broken(err)
	}
	return nil
}
