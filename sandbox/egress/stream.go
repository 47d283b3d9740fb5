package egress

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"surety/base/errs"
)

// socketLink carries frames over a socket from a virtual machine monitor. Writes go through a queue
// and a goroutine of their own: were the gateway to wait for a monitor that waits for the gateway,
// neither would move again.
type socketLink struct {
	conn   net.Conn
	mtu    int
	prefix int           // bytes of length before each frame: 4 on a stream, 0 with datagrams
	in     *bufio.Reader // nil with datagrams

	queue   chan []byte
	queued  atomic.Int64 // bytes in queue
	once    sync.Once
	done    chan struct{}
	writing sync.WaitGroup
}

// NewStreamLink speaks QEMU's "-netdev stream": each frame behind its length, 32 bits, big endian.
// The link owns the connection, and a goroutine until Close. MTU is what the guest's device has:
// 1280 to 65521, else Invalid.
func NewStreamLink(conn net.Conn, mtu int) (Link, error) { return newSocketLink(conn, mtu, 4) }

// NewDatagramLink speaks QEMU's "-netdev dgram": a frame in each datagram of a connected socket.
// Else as NewStreamLink.
func NewDatagramLink(conn net.Conn, mtu int) (Link, error) { return newSocketLink(conn, mtu, 0) }

func newSocketLink(conn net.Conn, mtu, prefix int) (Link, error) {
	if mtu < minMTU || mtu > maxMTU {
		return nil, errs.New(errs.Invalid, "egress: mtu %d is not within %d to %d", mtu, minMTU, maxMTU)
	}
	l := &socketLink{conn: conn, mtu: mtu, prefix: prefix, queue: make(chan []byte, queueFrames),
		done: make(chan struct{})}
	if prefix > 0 {
		l.in = bufio.NewReaderSize(conn, copyBytes)
	}
	l.writing.Go(l.write)
	return l, nil
}

func (l *socketLink) MTU() int       { return l.mtu }
func (l *socketLink) Offloads() bool { return false }

func (l *socketLink) Close() error {
	var err error
	l.once.Do(func() {
		close(l.done)
		err = l.conn.Close()
		l.writing.Wait()
	})
	return errs.As(errs.Internal, err, "egress: close link")
}

func (l *socketLink) ReadFrame(bufs [][]byte) (int, error) {
	if l.in == nil {
		return l.readDatagram(bufs)
	}
	var head [4]byte
	if _, err := io.ReadFull(l.in, head[:]); err != nil {
		return 0, l.ended(err)
	}
	length := binary.BigEndian.Uint32(head[:])
	if length > frameBytes {
		return 0, errs.New(errs.Corrupt, "egress: a frame of %d bytes on the link, at most %d", length,
			frameBytes)
	}
	read := 0
	for _, b := range bufs {
		part := b[:min(len(b), int(length)-read)]
		if _, err := io.ReadFull(l.in, part); err != nil {
			return 0, l.ended(err)
		}
		read += len(part)
	}
	if _, err := l.in.Discard(int(length) - read); err != nil {
		return 0, l.ended(err)
	}
	return read, nil
}

// readDatagram reads into one buffer and spreads it: datagrams cannot be read in parts.
func (l *socketLink) readDatagram(bufs [][]byte) (int, error) {
	whole := make([]byte, frameBytes)
	n, err := l.conn.Read(whole)
	if err != nil {
		return 0, l.ended(err)
	}
	read := 0
	for _, b := range bufs {
		read += copy(b, whole[read:n])
	}
	return read, nil
}

// ended says how the link ended: closed by us, or lost with its other side.
func (l *socketLink) ended(err error) error {
	select {
	case <-l.done:
		return net.ErrClosed
	default:
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return errs.As(errs.Unavailable, err, "egress: read link")
}

func (l *socketLink) WriteFrame(_ Segments, bufs [][]byte) error {
	select {
	case <-l.done:
		return net.ErrClosed
	default:
	}
	length := 0
	for _, b := range bufs {
		length += len(b)
	}
	frame := make([]byte, l.prefix, l.prefix+length)
	if l.prefix > 0 {
		binary.BigEndian.PutUint32(frame, uint32(length))
	}
	for _, b := range bufs {
		frame = append(frame, b...)
	}
	if l.queued.Add(int64(len(frame))) <= queueBytes {
		select {
		case l.queue <- frame:
			return nil
		default:
		}
	}
	l.queued.Add(-int64(len(frame)))
	return errs.New(errs.Busy, "egress: %d frames wait on the link, at most %d", len(l.queue),
		queueFrames)
}

// write sends what is queued, as much at a time as there is, until the link closes or fails.
func (l *socketLink) write() {
	for {
		select {
		case <-l.done:
			return
		case frame := <-l.queue:
			if !l.send(frame) {
				return
			}
		}
	}
}

func (l *socketLink) send(first []byte) bool {
	batch, total := net.Buffers{first}, len(first)
	for more := l.prefix > 0; more && total < copyBytes; { // datagrams go one by one
		select {
		case frame := <-l.queue:
			batch, total = append(batch, frame), total+len(frame)
		default:
			more = false
		}
	}
	_, err := batch.WriteTo(l.conn)
	l.queued.Add(-int64(total))
	return err == nil || l.prefix == 0 && !errors.Is(err, net.ErrClosed)
}
