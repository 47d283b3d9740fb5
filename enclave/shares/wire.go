package shares

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"time"

	"surety/base/errs"
)

// kind says what a message is. The numbers are sent: never renumber.
type kind uint8

const (
	kindHello    kind = 1
	kindBase     kind = 2 // a point of the base transfers
	kindChoices  kind = 3 // points of the base transfers
	kindExtend   kind = 4 // masked choices of an extension
	kindOffer    kind = 5 // masked numbers, one for each choice
	kindScores   kind = 6 // a share of scores
	kindWeights  kind = 7 // a share of weights
	kindFarewell kind = 8
)

// headerBytes is a kind and a length of four bytes.
const headerBytes = 5

// wire is a connection on which both parties write at the same time: messages are written by a
// goroutine of its own, in order, so that two parties who both write first do not wait for each
// other for ever.
type wire struct {
	ctx      context.Context // of the one call that the wire lives in
	conn     net.Conn
	idle     time.Duration
	silence  *time.Timer // ends the connection where nothing has moved for too long
	unwatch  func() bool
	queue    chan []byte
	free     chan []byte   // written messages, whose memory is used again
	done     chan struct{} // closed when the writer has ended
	failure  error         // of the writer; read after done
	sent     atomic.Int64
	received atomic.Int64
}

func newWire(ctx context.Context, conn net.Conn, idle time.Duration) *wire {
	w := &wire{ctx: ctx, conn: conn, idle: idle, queue: make(chan []byte, queueFrames),
		free: make(chan []byte, queueFrames), done: make(chan struct{})}
	w.silence = time.AfterFunc(idle, w.abort)
	w.unwatch = context.AfterFunc(ctx, w.abort)
	go w.write()
	return w
}

// abort makes everything that waits for the connection fail, now and from now on.
func (w *wire) abort() { _ = w.conn.SetDeadline(time.Unix(1, 0)) }

// write is the writer's life.
func (w *wire) write() {
	defer close(w.done)
	for message := range w.queue {
		if w.failure != nil {
			continue // the queue is drained, so that send and close do not wait
		}
		n, err := w.conn.Write(message)
		w.sent.Add(int64(n))
		if err != nil {
			w.failure = errs.As(errs.Unavailable, err, "writing to the other party")
			w.abort()
			continue
		}
		w.silence.Reset(w.idle)
		select {
		case w.free <- message:
		default:
		}
	}
}

// close writes what is queued, ends the writer and stops watching. Where something has failed, what
// is queued is of no use to the other; but where we refuse, it is our hello that tells it why. The
// connection stays open.
func (w *wire) close(failed error) error {
	if failed != nil && !errs.Is(failed, errs.Refused) {
		w.abort()
	}
	close(w.queue)
	<-w.done
	w.unwatch()
	w.silence.Stop()
	return w.failure
}

// message returns memory for a message of a kind; its payload is to be filled in and given to send.
func (w *wire) message(k kind, payload int) []byte {
	var m []byte
	select {
	case m = <-w.free:
	default:
	}
	if cap(m) < headerBytes+payload {
		m = make([]byte, headerBytes+payload)
	}
	m = m[:headerBytes+payload]
	m[0] = byte(k)
	binary.BigEndian.PutUint32(m[1:], uint32(payload))
	return m
}

// send hands a message to the writer, which owns it from now on.
func (w *wire) send(message []byte) { w.queue <- message }

// receive reads the next message, which must be of a kind and exactly fill into.
func (w *wire) receive(k kind, into []byte) error {
	if err := w.ctx.Err(); err != nil {
		return errs.As(errs.Canceled, err, "waiting for message %d", k)
	}
	var header [headerBytes]byte
	if err := w.fill(header[:]); err != nil {
		return errs.Wrap(err, "message %d", k)
	}
	size := binary.BigEndian.Uint32(header[1:])
	switch {
	case kind(header[0]) != k:
		return errs.New(errs.Corrupt, "message of kind %d where %d was due", header[0], k)
	case int64(size) != int64(len(into)):
		return errs.New(errs.Corrupt, "message %d of %d bytes, not %d", k, size, len(into))
	}
	return errs.Wrap(w.fill(into), "message %d", k)
}

// fill reads exactly as many bytes as there is room for.
func (w *wire) fill(into []byte) error {
	n, err := io.ReadFull(w.conn, into)
	w.received.Add(int64(n))
	w.silence.Reset(w.idle)
	return errs.As(errs.Unavailable, err, "the connection ended after %d of %d bytes", n, len(into))
}

// exchange sends a payload and receives one of the same kind, which must be as expected.
func (p *party) exchange(k kind, payload, expected []byte) error {
	m := p.wire.message(k, len(payload))
	copy(m[headerBytes:], payload)
	p.wire.send(m)
	got := make([]byte, len(expected))
	if err := p.wire.receive(k, got); err != nil {
		return err
	}
	if string(got) != string(expected) {
		return errs.New(errs.Corrupt, "message %d is not what was due", k)
	}
	return nil
}
