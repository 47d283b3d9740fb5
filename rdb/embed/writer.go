package embed

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"

	"surety/base/errs"
)

// Stats counts what the writer has done since Open.
type Stats struct {
	Batches  uint64 // transactions committed
	Closures uint64 // closures in them, failed ones included
	Largest  uint64 // most closures in one transaction, at most MaxBatch
	Queued   uint64 // closures waiting now
}

// Write runs change in a transaction and returns after the commit, durable as Options.Synchronous
// says. Where change returns an error, Write returns that error and nothing of change remains. What
// change sets outside the database counts only if Write returns nil: a commit can fail after it.
//
// Concurrent calls share a transaction; each sees what those before it wrote. change runs once, on
// the writer's goroutine, so it must be short, must not wait for anything and must not call Write;
// a panic in it is raised again in the caller. A canceled ctx abandons a change that has not
// begun (kind Canceled) and is ignored by one that has. Kinds: Busy where MaxQueue changes are
// waiting, Unavailable after Close or after a lost sync, Forbidden where ReadOnly.
func (db *DB) Write(ctx context.Context, change func(*sql.Tx) error) error {
	if db.writer == nil {
		return errs.New(errs.Forbidden, "embed.write: %s is open read-only", db.path)
	}
	return db.writer.run(ctx, &job{ctx: ctx, change: change})
}

// Checkpoint moves the write-ahead log into the database, syncs it and truncates the log, so that
// what was deleted is gone from both. Kind Locked where a reader keeps an older state for longer
// than five seconds.
func (db *DB) Checkpoint(ctx context.Context) error {
	if db.writer == nil {
		return errs.New(errs.Forbidden, "embed.checkpoint: %s is open read-only", db.path)
	}
	return db.writer.run(ctx, &job{ctx: ctx, alone: checkpoint})
}

// Stats returns the writer's counters; all zero where ReadOnly.
func (db *DB) Stats() Stats {
	if db.writer == nil {
		return Stats{}
	}
	w := db.writer
	w.mu.Lock()
	queued := len(w.queue)
	w.mu.Unlock()
	return Stats{
		Batches:  w.batches.Load(),
		Closures: w.closures.Load(),
		Largest:  w.largest.Load(),
		Queued:   uint64(queued),
	}
}

func checkpoint(pool *sql.DB) error {
	var busy, logged, moved int
	row := pool.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)")
	if err := row.Scan(&busy, &logged, &moved); err != nil {
		return errs.Wrap(err, "embed.checkpoint")
	}
	if busy != 0 {
		return errs.New(errs.Locked, "embed.checkpoint: a reader held an older state for %s",
			busyTimeout)
	}
	return nil
}

// The states of a job. Whoever moves it out of queued owns it.
const (
	jobQueued    = 0
	jobTaken     = 1
	jobAbandoned = 2
)

// job is one call of Write, or with alone set, something to run between transactions.
type job struct {
	ctx    context.Context
	change func(*sql.Tx) error
	alone  func(*sql.DB) error

	state    atomic.Uint32
	done     chan struct{} // closed when err and panicked are final
	err      error
	panicked any
}

// writer owns the writing connection.
type writer struct {
	pool    *sql.DB
	wake    chan struct{} // holds one token when the queue is not empty or the writer is stopping
	stopped chan struct{} // closed when the goroutine has ended
	failed  error         // set by the goroutine after a lost sync; nothing is written then

	batches, closures, largest atomic.Uint64

	mu       sync.Mutex
	queue    []*job
	stopping bool
}

func startWriter(pool *sql.DB) *writer {
	w := &writer{pool: pool, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	go w.loop()
	return w
}

// stop runs what is queued and ends the goroutine; a second call waits for the same end.
func (w *writer) stop() {
	w.mu.Lock()
	w.stopping = true
	w.mu.Unlock()
	w.signal()
	<-w.stopped
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run queues the job and waits until it is done or abandoned.
func (w *writer) run(ctx context.Context, j *job) error {
	j.done = make(chan struct{})
	if err := w.enqueue(j); err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobQueued, jobAbandoned) {
			return errs.As(errs.Canceled, ctx.Err(), "embed.write")
		}
		<-j.done
	}
	if j.panicked != nil {
		panic(j.panicked)
	}
	return j.err
}

func (w *writer) enqueue(j *job) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping {
		return errs.New(errs.Unavailable, "embed.write: the database is closed")
	}
	if len(w.queue) >= MaxQueue {
		return errs.New(errs.Busy, "embed.write: %d changes are waiting, the limit is %d",
			len(w.queue), MaxQueue)
	}
	w.queue = append(w.queue, j)
	w.signal()
	return nil
}

func (w *writer) loop() {
	defer close(w.stopped)
	for {
		batch, more := w.next()
		if len(batch) > 0 {
			w.process(batch)
			continue
		}
		if !more {
			return
		}
		<-w.wake
	}
}

// next takes the jobs of the next transaction off the queue: up to MaxBatch closures, or one job
// that runs alone. more is false where none will ever come.
func (w *writer) next() (batch []*job, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := 0
	for _, j := range w.queue {
		if len(batch) == MaxBatch || (len(batch) > 0 && (j.alone != nil || batch[0].alone != nil)) {
			break
		}
		taken++
		if j.state.CompareAndSwap(jobQueued, jobTaken) {
			batch = append(batch, j)
		}
	}
	remaining := copy(w.queue, w.queue[taken:])
	clear(w.queue[remaining:])
	w.queue = w.queue[:remaining]
	return batch, !w.stopping
}

// process runs a batch and wakes its callers. A job that failed alone keeps its own error.
func (w *writer) process(batch []*job) {
	err := w.failed
	if err == nil {
		err = w.execute(batch)
	}
	if err != nil && w.failed == nil && syncLost(err) {
		w.failed = errs.As(errs.Unavailable, err,
			"embed.write: stopped until the file is opened again")
	}
	for _, j := range batch {
		if j.err == nil {
			j.err = err
		}
		close(j.done)
	}
}

func (w *writer) execute(batch []*job) error {
	if batch[0].alone != nil {
		return batch[0].alone(w.pool)
	}
	tx, err := w.pool.BeginTx(context.Background(), nil)
	if err != nil {
		return errs.Wrap(classify(err), "embed.write: begin")
	}
	for _, j := range batch {
		if err := j.apply(tx); err != nil {
			return w.abort(tx, err, len(batch))
		}
	}
	if err := tx.Commit(); err != nil {
		return errs.Wrap(classify(err), "embed.write: commit of %d changes", len(batch))
	}
	w.batches.Add(1)
	w.closures.Add(uint64(len(batch)))
	w.largest.Store(max(w.largest.Load(), uint64(len(batch))))
	return nil
}

// abort gives the whole batch up because of cause. The rollback may find nothing to roll back.
func (w *writer) abort(tx *sql.Tx, cause error, changes int) error {
	err := errs.Wrap(cause, "embed.write: batch of %d changes is lost", changes)
	if rollbackErr := tx.Rollback(); rollbackErr != nil && rollbackErr != sql.ErrTxDone {
		return errs.As(errs.KindOf(cause), rollbackErr, "%v: rollback", err)
	}
	return err
}

// apply runs one closure inside a savepoint. Its own failure is kept in the job; the error returned
// is one that ended the transaction for everyone.
func (j *job) apply(tx *sql.Tx) error {
	if err := j.ctx.Err(); err != nil {
		j.err = errs.As(errs.Canceled, err, "embed.write")
		return nil
	}
	if _, err := tx.Exec("SAVEPOINT change"); err != nil {
		return classify(err)
	}
	j.call(tx)
	if j.err != nil || j.panicked != nil {
		if _, err := tx.Exec("ROLLBACK TO change"); err != nil {
			return j.ended(err)
		}
	}
	if _, err := tx.Exec("RELEASE change"); err != nil {
		return j.ended(err)
	}
	return nil
}

// ended returns why the transaction is over: the closure's error where it had one, since that is
// what made SQLite give the transaction up.
func (j *job) ended(err error) error {
	if j.err != nil {
		return j.err
	}
	return classify(err)
}

func (j *job) call(tx *sql.Tx) {
	defer func() { j.panicked = recover() }()
	j.err = j.change(tx)
}
