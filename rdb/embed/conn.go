package embed

import (
	"container/list"
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"

	"modernc.org/sqlite"

	"surety/base/errs"
)

// native is what this package needs of the driver's connection.
type native interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// nativeStatement is what this package needs of the driver's statement.
type nativeStatement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// hooks tells of the end of transactions that nobody asked to end.
type hooks interface {
	RegisterCommitHook(sqlite.CommitHookFn)
	RegisterRollbackHook(sqlite.RollbackHookFn)
}

// connector opens connections that keep their prepared statements, give every error its kind and,
// on the writer's side, guard the transaction that closures share.
type connector struct {
	inner  driver.Connector
	writer bool
}

// Driver returns the underlying driver.
func (c *connector) Driver() driver.Driver { return c.inner.Driver() }

// Connect opens one connection.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.inner.Connect(ctx)
	if err != nil {
		return nil, classify(err)
	}
	inner, ok := opened.(native)
	if !ok {
		return nil, errors.Join(errs.New(errs.Internal, "sqlite: driver connection is a %T", opened),
			opened.Close())
	}
	conn := &conn{native: inner, writer: c.writer, byText: map[string]*list.Element{}}
	if c.writer {
		conn.guard(opened)
	}
	return conn, nil
}

// conn is one connection. database/sql uses it from one goroutine at a time.
type conn struct {
	native
	writer bool

	// Prepared statements by their text; recent holds *kept values, most recently used first.
	byText map[string]*list.Element
	recent list.List

	// inTx is set from begin to commit or rollback, ending during those two, and lost once the
	// transaction has ended otherwise: SQLite rolls back by itself after a full disk, an I/O error
	// or an interrupt, and what a closure executed next would be committed on its own.
	inTx, ending, lost bool
}

// kept is a prepared statement in the cache.
type kept struct {
	text string
	stmt nativeStatement
	busy bool // its rows are still being read: the same text needs a second statement
}

// guard notices a transaction that SQLite or the text of a closure ends.
func (c *conn) guard(opened driver.Conn) {
	h, ok := opened.(hooks)
	if !ok {
		return
	}
	h.RegisterCommitHook(func() int32 {
		if c.inTx && !c.ending {
			return 1 // a COMMIT inside a closure becomes a rollback, and lost is set by it
		}
		return 0
	})
	h.RegisterRollbackHook(func() {
		if c.inTx && !c.ending {
			c.lost = true
		}
	})
}

// context returns the context a statement runs under. A canceled caller must not interrupt the
// writer: an interrupt rolls back the whole transaction, which belongs to other callers as well.
func (c *conn) context(ctx context.Context) context.Context {
	if c.writer {
		return context.Background()
	}
	return ctx
}

func (c *conn) usable() error {
	if c.lost {
		return errs.New(errs.Internal, "sqlite: the transaction was rolled back by an earlier error")
	}
	return nil
}

// BeginTx starts a transaction.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	inner, err := c.native.BeginTx(c.context(ctx), opts)
	if err != nil {
		return nil, classify(err)
	}
	c.inTx, c.lost = true, false
	return &transaction{conn: c, inner: inner}, nil
}

type transaction struct {
	conn  *conn
	inner driver.Tx
}

// Commit makes the transaction durable, or reports that it has been lost.
func (t *transaction) Commit() error {
	if err := t.conn.usable(); err != nil {
		t.conn.inTx, t.conn.lost = false, false
		return err
	}
	return t.end(t.inner.Commit)
}

// Rollback ends the transaction; one that has been lost is rolled back already.
func (t *transaction) Rollback() error {
	if t.conn.lost {
		t.conn.inTx, t.conn.lost = false, false
		return nil
	}
	return t.end(t.inner.Rollback)
}

func (t *transaction) end(by func() error) error {
	t.conn.ending = true
	err := by()
	t.conn.inTx, t.conn.ending, t.conn.lost = false, false, false
	return classify(err)
}

// ExecContext runs a statement that gives no rows.
func (c *conn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (
	driver.Result, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	k, err := c.take(ctx, text)
	if err != nil {
		return nil, err
	}
	if k == nil {
		result, err := c.native.ExecContext(c.context(ctx), text, args)
		return result, classify(err)
	}
	result, err := k.stmt.ExecContext(c.context(ctx), args)
	k.busy = false
	return result, classify(err)
}

// QueryContext runs a statement that gives rows.
func (c *conn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (
	driver.Rows, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	k, err := c.take(ctx, text)
	if err != nil {
		return nil, err
	}
	if k == nil {
		inner, err := c.native.QueryContext(c.context(ctx), text, args)
		return wrapRows(inner, nil, err)
	}
	inner, err := k.stmt.QueryContext(c.context(ctx), args)
	if err != nil {
		k.busy = false
	}
	return wrapRows(inner, k, err)
}

// PrepareContext prepares a statement outside the cache; its owner closes it.
func (c *conn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	s, err := c.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	return &statement{nativeStatement: s, conn: c}, nil
}

// Close closes the cached statements and the connection.
func (c *conn) Close() error {
	var failures []error
	for e := c.recent.Front(); e != nil; e = e.Next() {
		failures = append(failures, e.Value.(*kept).stmt.Close())
	}
	c.byText, c.recent = map[string]*list.Element{}, list.List{}
	return classify(errors.Join(append(failures, c.native.Close())...))
}

// take returns the cached statement for text, marked busy, preparing it at its first use. It
// returns nil for what is not cached: scripts, and a text whose statement is in use.
func (c *conn) take(ctx context.Context, text string) (*kept, error) {
	if e, ok := c.byText[text]; ok {
		k := e.Value.(*kept)
		if k.busy {
			return nil, nil
		}
		c.recent.MoveToFront(e)
		k.busy = true
		return k, nil
	}
	if strings.Contains(strings.TrimRight(text, "; \t\r\n"), ";") {
		return nil, nil
	}
	s, err := c.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	if err := c.evict(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	k := &kept{text: text, stmt: s, busy: true}
	c.byText[text] = c.recent.PushFront(k)
	return k, nil
}

// evict makes room for one statement by closing the one used longest ago that is not in use.
func (c *conn) evict() error {
	for e := c.recent.Back(); e != nil && c.recent.Len() >= statementCache; {
		k, newer := e.Value.(*kept), e.Prev()
		if !k.busy {
			c.recent.Remove(e)
			delete(c.byText, k.text)
			if err := k.stmt.Close(); err != nil {
				return classify(err)
			}
		}
		e = newer
	}
	return nil
}

func (c *conn) prepare(ctx context.Context, text string) (nativeStatement, error) {
	prepared, err := c.native.PrepareContext(c.context(ctx), text)
	if err != nil {
		return nil, classify(err)
	}
	s, ok := prepared.(nativeStatement)
	if !ok {
		return nil, errors.Join(errs.New(errs.Internal, "sqlite: driver statement is a %T", prepared),
			prepared.Close())
	}
	return s, nil
}

// statement is one that a caller prepared.
type statement struct {
	nativeStatement
	conn *conn
}

// ExecContext runs the statement.
func (s *statement) ExecContext(ctx context.Context, args []driver.NamedValue) (
	driver.Result, error) {
	if err := s.conn.usable(); err != nil {
		return nil, err
	}
	result, err := s.nativeStatement.ExecContext(s.conn.context(ctx), args)
	return result, classify(err)
}

// QueryContext runs the statement and gives its rows.
func (s *statement) QueryContext(ctx context.Context, args []driver.NamedValue) (
	driver.Rows, error) {
	if err := s.conn.usable(); err != nil {
		return nil, err
	}
	inner, err := s.nativeStatement.QueryContext(s.conn.context(ctx), args)
	return wrapRows(inner, nil, err)
}

// rows gives errors their kind and its statement back when it closes.
type rows struct {
	inner driver.Rows
	from  *kept // nil where the statement is not of the cache
}

func wrapRows(inner driver.Rows, from *kept, err error) (driver.Rows, error) {
	if err != nil {
		return nil, classify(err)
	}
	return &rows{inner: inner, from: from}, nil
}

// Columns returns the names of the columns.
func (r *rows) Columns() []string { return r.inner.Columns() }

// Next fills dest with the next row, or returns io.EOF.
func (r *rows) Next(dest []driver.Value) error {
	err := r.inner.Next(dest)
	if err == io.EOF {
		return err
	}
	return classify(err)
}

// Close ends the reading.
func (r *rows) Close() error {
	err := classify(r.inner.Close())
	if r.from != nil {
		r.from.busy = false
	}
	return err
}
