package psi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"time"

	"surety/base/errs"
	"surety/sys/entropy"
)

// hello is a party's first message: a line that names the protocol, a random number, a hash over
// what both must have agreed on, the role and the number of ids.
const (
	helloLine  = "surety psi 1\n"
	helloBytes = len(helloLine) + 32 + 32 + 1 + 4
)

// greet exchanges hellos and returns a hash over both, the initiator's first, and how many ids the
// other party has.
func (c *Config) greet(w *wire, ids int) (session [32]byte, peer int, err error) {
	ours, theirs := make([]byte, 0, helloBytes), make([]byte, helloBytes)
	ours = append(ours, helloLine...)
	ours = ours[:len(ours)+32]
	entropy.System().Fill(ours[len(helloLine):])
	agreed := c.agreed()
	ours = append(ours, agreed[:]...)
	ours = append(ours, role(c.Initiator))
	ours = binary.BigEndian.AppendUint32(ours, uint32(ids))
	if err := w.exchange(ours, theirs); err != nil {
		return session, 0, errs.Wrap(err, "psi.intersect: hello")
	}
	if peer, err = c.judge(theirs, agreed); err != nil {
		return session, 0, err
	}
	first, second := ours, theirs
	if !c.Initiator {
		first, second = theirs, ours
	}
	return sha256.Sum256(slices.Concat([]byte(greetingDomain), first, second)), peer, nil
}

// judge reads the other party's hello.
func (c *Config) judge(theirs []byte, agreed [32]byte) (peer int, err error) {
	rest := theirs[len(helloLine):]
	if string(theirs[:len(helloLine)]) != helloLine {
		return 0, errs.New(errs.Corrupt, "psi.intersect: the other side does not speak this protocol")
	}
	if [32]byte(rest[32:64]) != agreed {
		return 0, errs.New(errs.Refused, "psi.intersect: the other party has another context or rule")
	}
	if rest[64] != role(!c.Initiator) {
		return 0, errs.New(errs.Refused, "psi.intersect: both parties have the same role")
	}
	peer = int(binary.BigEndian.Uint32(rest[65:]))
	if peer < 1 || peer > c.MaxPeer {
		return 0, errs.New(errs.TooLarge, "psi.intersect: the other party has %d ids, not 1 to %d", peer,
			c.MaxPeer)
	}
	return peer, nil
}

// agreed is a hash over what both parties must have the same.
func (c *Config) agreed() [32]byte {
	return sha256.Sum256(slices.Concat([]byte(greetingDomain), []byte(c.Rule), []byte("\n"), c.Context))
}

func role(initiator bool) byte {
	if initiator {
		return 1
	}
	return 2
}

// wire is a connection both sides of which write at the same time.
type wire struct {
	ctx     context.Context // of the one call that the wire lives in
	conn    net.Conn
	silence *time.Timer // ends the connection where the peer has been silent for too long
	close   func()      // ends watching; the connection stays open
}

// newWire watches a connection for the end of a context and for a silent peer, until close.
func newWire(ctx context.Context, conn net.Conn) *wire {
	w := &wire{ctx: ctx, conn: conn}
	w.silence = time.AfterFunc(idle, w.abort)
	stop := context.AfterFunc(ctx, w.abort)
	w.close = func() {
		stop()
		w.silence.Stop()
	}
	return w
}

// abort makes everything that waits for the connection fail, now and from now on.
func (w *wire) abort() { _ = w.conn.SetDeadline(time.Unix(1, 0)) }

// exchange writes one buffer and fills the other, whose sizes both sides know. Writing has a
// goroutine of its own, so that two parties who both write first do not wait for each other for
// ever; it has ended when exchange returns.
func (w *wire) exchange(send, receive []byte) error {
	sent := make(chan error, 1)
	go func() {
		sent <- w.each(send, func(chunk []byte) error { _, err := w.conn.Write(chunk); return err })
	}()
	failed := w.each(receive, func(chunk []byte) error {
		_, err := io.ReadFull(w.conn, chunk)
		return err
	})
	if failed != nil {
		w.abort() // the writer must not wait for a peer that is gone
	}
	if err := <-sent; failed == nil {
		failed = err
	}
	return errs.As(errs.Unavailable, failed, "the connection ended")
}

// each does something to a buffer, chunk by chunk, giving the peer idle for each.
func (w *wire) each(buffer []byte, do func(chunk []byte) error) error {
	for chunk := range slices.Chunk(buffer, chunkPoints*pointBytes) {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := do(chunk); err != nil {
			return err
		}
		w.silence.Reset(idle)
	}
	return nil
}
