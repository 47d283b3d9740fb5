package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"time"

	"surety/base/errs"
	"surety/ledger/wire"
	"surety/sys/access"
)

// conn is one connection.
type conn struct {
	server *Server
	conn   net.Conn
	in     *bufio.Reader
	caller access.Principal
	slots  chan struct{} // one for each request that may be under way
	under  sync.WaitGroup

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	outMu sync.Mutex // held while an answer is written

	mu    sync.Mutex
	calls map[uint64]context.CancelFunc // of the requests under way
}

func newConn(s *Server, accepted net.Conn) *conn {
	ctx, cancel := context.WithCancel(s.ctx)
	return &conn{
		server: s, conn: accepted, in: bufio.NewReaderSize(accepted, smallBody),
		slots: make(chan struct{}, s.config.InFlightMax), ctx: ctx, cancel: cancel,
		calls: map[uint64]context.CancelFunc{},
	}
}

// run serves the connection to its end.
func (c *conn) run() {
	err := c.hello()
	for err == nil {
		err = c.next()
	}
	if err != io.EOF && c.server.ctx.Err() == nil {
		c.server.log.Debug("ledger server: a connection ended", "remote", c.remote(), "error", err)
	}
	c.cancel()
	c.under.Wait()
	c.part()
}

// part closes the connection so that a caller who is still sending reads why it ended: a close
// with bytes unread would destroy the answer on its way.
func (c *conn) part() {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(partTimeout))
		_, _ = io.CopyN(io.Discard, c.conn, wire.BodyMax)
	}
	_ = c.conn.Close() // the other side is gone, or has been told why
}

func (c *conn) remote() string { return c.conn.RemoteAddr().String() }

// hello lets the caller in, or tells it why not.
func (c *conn) hello() error {
	if err := c.conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	h, err := wire.ReadHeader(c.in)
	if err != nil {
		return c.reject(h, err)
	}
	if h.Op != wire.OpHello || h.Size > wire.TokenMax+2 {
		return c.reject(h, errs.New(errs.Unauthorized, "wire: a connection begins with a hello"))
	}
	body := make([]byte, h.Size)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return err
	}
	if err := h.CheckBody(body); err != nil {
		return c.reject(h, err)
	}
	token, err := wire.DecodeHello(body)
	if err == nil {
		c.caller, err = c.admit(token)
	}
	if err != nil {
		return c.reject(h, err)
	}
	welcome := wire.Welcome{Ledger: c.server.config.LedgerID.Bytes(), InFlight: uint32(cap(c.slots))}
	if err := c.answer(h, welcome.Append(nil)); err != nil {
		return err
	}
	return c.conn.SetDeadline(time.Time{})
}

func (c *conn) admit(token string) (access.Principal, error) {
	if token == "" && c.server.config.Open {
		return c.server.door.Local(), nil
	}
	return c.server.door.Token(c.remote(), token)
}

// reject answers a frame that ends the connection. What is not a frame at all, but the end of the
// stream, is only passed on.
func (c *conn) reject(h wire.Header, err error) error {
	if kind := errs.KindOf(err); kind != errs.Internal {
		c.fail(h, err)
	}
	return err
}

// next reads one frame and starts what it asks for. An error ends the connection.
func (c *conn) next() error {
	h, err := wire.ReadHeader(c.in)
	if err != nil {
		return c.reject(h, err)
	}
	if h.Op == wire.OpCancel {
		c.abandon(h.Request)
		return c.discard(h)
	}
	handler, known := handlers(h.Op)
	if !known || h.Failed {
		return c.reject(h, errs.New(errs.Invalid, "wire: operation %d is not known", h.Op))
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	taken, err := c.server.memory.acquire(c.ctx, int(h.Size)+handler.answer(int(h.Size)))
	if err != nil {
		return err
	}
	body, giveBack := c.server.body(int(h.Size))
	err = c.read(h, body)
	var ctx context.Context
	if err == nil {
		if ctx, err = c.begin(h); err != nil {
			err = c.reject(h, err)
		}
	}
	if err != nil {
		giveBack()
		c.server.memory.release(taken)
		return err
	}
	c.under.Go(func() {
		c.handle(ctx, h, handler, body)
		giveBack()
		c.server.memory.release(taken)
		<-c.slots
	})
	return nil
}

// read reads the body that follows the header.
func (c *conn) read(h wire.Header, body []byte) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return err
	}
	if _, err := io.ReadFull(c.in, body); err != nil {
		return err
	}
	if err := h.CheckBody(body); err != nil {
		return c.reject(h, err)
	}
	return c.conn.SetReadDeadline(time.Time{})
}

// discard skips a body that nobody wants.
func (c *conn) discard(h wire.Header) error {
	_, err := io.CopyN(io.Discard, c.in, int64(h.Size))
	return err
}

// begin notes that a request is under way.
func (c *conn) begin(h wire.Header) (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[h.Request] != nil {
		return nil, errs.New(errs.Invalid, "wire: request %d is under way already", h.Request)
	}
	ctx, cancel := context.WithCancel(access.With(c.ctx, c.caller))
	c.calls[h.Request] = cancel
	return ctx, nil
}

// abandon ends the waiting of a request whose caller went away. What it has changed stays.
func (c *conn) abandon(request uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.calls[request]; cancel != nil {
		cancel()
	}
}

// end forgets a request that has been carried out.
func (c *conn) end(request uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[request]()
	delete(c.calls, request)
}

// handle carries out one request and answers it. The number is free before the answer goes out: a
// client may use it again the moment it has read it.
func (c *conn) handle(ctx context.Context, h wire.Header, handler handler, body []byte) {
	answer, err := c.carryOut(ctx, handler, body)
	c.end(h.Request)
	if err != nil {
		c.fail(h, err)
		return
	}
	if err := c.answer(h, answer); err != nil {
		_ = c.conn.Close() // the reader sees it and ends the connection
	}
}

func (c *conn) carryOut(ctx context.Context, handler handler, body []byte) ([]byte, error) {
	if err := access.Require(ctx, handler.role); err != nil {
		return nil, err
	}
	answer, err := handler.call(ctx, c.server.ledger, body)
	if err == nil && len(answer) > wire.BodyMax {
		err = errs.New(errs.TooLarge, "the answer has %d bytes, the limit is %d",
			len(answer), wire.BodyMax)
	}
	return answer, err
}

// answer writes an answer.
func (c *conn) answer(h wire.Header, body []byte) error {
	return c.write(wire.Header{Op: h.Op, Request: h.Request}, body)
}

// fail answers with an error: its kind, and a sentence that may be shown.
func (c *conn) fail(h wire.Header, err error) {
	kind, text := errs.KindOf(err), err.Error()
	if kind == errs.Internal || kind == errs.Corrupt {
		c.server.log.Error("ledger server: a request failed", "remote", c.remote(),
			"caller", c.caller.Name, "operation", h.Op, "request", h.Request, "error", err)
		text = "the ledger failed; its log says why"
	}
	failed := wire.Header{Op: h.Op, Request: h.Request, Failed: true, Kind: kind}
	if err := c.write(failed, []byte(text[:min(len(text), wire.ErrorMax)])); err != nil {
		_ = c.conn.Close()
	}
}

func (c *conn) write(h wire.Header, body []byte) error {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return wire.WriteFrame(c.conn, h, body)
}
