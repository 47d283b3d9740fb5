package tlog

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/transparency-dev/tessera"

	"surety/base/errs"
	"surety/evidence"
)

// item is an entry on its way into the log.
type item struct {
	record  evidence.Record
	encoded []byte
	payload []byte
}

func (it *item) bytes() int { return len(it.encoded) + len(it.payload) }

// Append returns once all entries are in the log for good: their payloads and the tree that holds
// their records have been synced. An entry whose source and number are in the log already is passed
// over, whatever else it says. Entries are taken in batches of up to MaxBatch; where one is
// refused, earlier ones of the same call may be in, and none after it is; LastSeq tells. Kinds:
// Invalid and TooLarge for an entry against the rules, and Invalid for one that leaves a gap in its
// source; Busy where MaxQueuedBytes are waiting; NoSpace; Canceled where ctx ended before the turn
// of an entry; Unavailable after Close, or after a failure of the disk until the log is opened
// again. The caller may reuse the payloads after Append returns.
func (l *Log) Append(ctx context.Context, entries ...evidence.Entry) error {
	for len(entries) > 0 {
		items, err := prepare(entries)
		if err != nil {
			return err
		}
		if err := l.queue.run(ctx, items); err != nil {
			return err
		}
		entries = entries[len(items):]
	}
	return nil
}

// prepare encodes as many of the entries, from the first, as fit in a batch.
func prepare(entries []evidence.Entry) ([]*item, error) {
	items := make([]*item, 0, min(len(entries), MaxBatch))
	total := 0
	for i := range entries[:min(len(entries), MaxBatch)] {
		it := &item{record: entries[i].Record(), payload: entries[i].Payload}
		encoded, err := it.record.Append(nil)
		if err != nil {
			return nil, errs.Wrap(err, "tlog.append: entry %d of source %.64q", entries[i].SourceSeq,
				entries[i].Source)
		}
		it.encoded = encoded
		if total += it.bytes(); total > MaxBatchBytes && i > 0 {
			break
		}
		items = append(items, it)
	}
	return items, nil
}

// The states of a request. Whoever moves it out of queued owns it.
const (
	requestQueued    = 0
	requestTaken     = 1
	requestAbandoned = 2
)

// request is some items that one caller waits for.
type request struct {
	items []*item
	bytes int
	state atomic.Uint32
	done  chan struct{} // closed when err is final
	err   error
}

// queue holds requests until the append goroutine takes them.
type queue struct {
	wake    chan struct{} // holds one token when there is something to take or to stop for
	stopped chan struct{} // closed when the append goroutine has ended

	mu       sync.Mutex
	waiting  []*request
	bytes    int // of waiting
	stopping bool
}

func newQueue() *queue {
	return &queue{wake: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// stop lets the append goroutine end once nothing waits.
func (q *queue) stop() {
	q.mu.Lock()
	q.stopping = true
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run queues the items and waits until they are in the log, refused, or abandoned.
func (q *queue) run(ctx context.Context, items []*item) error {
	r := &request{items: items, done: make(chan struct{})}
	for _, it := range items {
		r.bytes += it.bytes()
	}
	if err := q.put(r); err != nil {
		return err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(requestQueued, requestAbandoned) {
			return errs.As(errs.Canceled, ctx.Err(), "tlog.append")
		}
		<-r.done
	}
	return r.err
}

func (q *queue) put(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopping {
		return errs.New(errs.Unavailable, "tlog.append: the log is closed")
	}
	if q.bytes > 0 && q.bytes+r.bytes > MaxQueuedBytes {
		return errs.New(errs.Busy, "tlog.append: %d bytes are waiting, the limit is %d",
			q.bytes, MaxQueuedBytes)
	}
	q.waiting = append(q.waiting, r)
	q.bytes += r.bytes
	q.signal()
	return nil
}

// take returns the requests of the next batch, in the order they came; more is false where none
// will ever come.
func (q *queue) take() (batch []*request, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken, items, bytes := 0, 0, 0
	for _, r := range q.waiting {
		full := items+len(r.items) > MaxBatch || bytes+r.bytes > MaxBatchBytes
		if len(batch) > 0 && full {
			break
		}
		taken++
		q.bytes -= r.bytes
		if r.state.CompareAndSwap(requestQueued, requestTaken) {
			batch = append(batch, r)
			items, bytes = items+len(r.items), bytes+r.bytes
		}
	}
	remaining := copy(q.waiting, q.waiting[taken:])
	clear(q.waiting[remaining:])
	q.waiting = q.waiting[:remaining]
	return batch, !q.stopping
}

// run is the append goroutine.
func (l *Log) run() {
	defer close(l.queue.stopped)
	for {
		batch, more := l.queue.take()
		if len(batch) > 0 {
			l.process(batch)
			continue
		}
		if !more {
			return
		}
		<-l.queue.wake
	}
}

// process appends a batch and answers its callers. A request that is refused alone keeps its own
// error.
func (l *Log) process(batch []*request) {
	err := l.failure()
	if err == nil {
		err = l.extend(batch)
	}
	for _, r := range batch {
		if r.err == nil {
			r.err = err
		}
		close(r.done)
	}
}

func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// extend puts what is new of the batch into the log.
func (l *Log) extend(batch []*request) error {
	plan := newDraft(l.positions)
	var items []*item
	for _, r := range batch {
		fresh, err := plan.admit(r.items)
		if err != nil {
			r.err = err
			continue
		}
		items = append(items, fresh...)
	}
	if len(items) == 0 {
		return nil
	}
	first := l.Size()
	if err := l.payloads.put(context.Background(), first, items); err != nil {
		return errs.Wrap(err, "tlog.append: payloads") // nothing is in the log yet
	}
	records, err := l.integrate(first, items)
	if err == nil {
		err = l.index.add(context.Background(), first, records, plan.changed)
	}
	if err != nil {
		return l.fail(err)
	}
	l.settle(plan, first+uint64(len(items)))
	return nil
}

// integrate adds the items to the tree and returns their records in the order of the log, once the
// tree that holds them is durable.
func (l *Log) integrate(first uint64, items []*item) ([]evidence.Record, error) {
	futures := make([]tessera.IndexFuture, len(items))
	for i, it := range items {
		futures[i] = l.appender.Add(context.Background(), tessera.NewEntry(it.encoded))
	}
	records := make([]evidence.Record, len(items))
	moved := false
	var failure error
	for i, future := range futures {
		at, err := future()
		switch {
		case err != nil:
			failure = errs.As(treeKind(err), err, "tlog.append: tree")
		case at.Index < first || at.Index-first >= uint64(len(items)):
			failure = errs.New(errs.Corrupt, "tlog.append: tree gave index %d to one of %d records from %d",
				at.Index, len(items), first)
		default:
			records[at.Index-first] = items[i].record
			moved = moved || at.Index != first+uint64(i)
		}
	}
	if failure == nil && moved {
		// Two flushes of tessera's queue overtook each other: see DESIGN.md.
		failure = l.payloads.settle(context.Background(), first, records)
	}
	return records, failure
}

// fail stops the log: what of the batch is in the tree is known only to the disk, and the next Open
// asks it.
func (l *Log) fail(cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = errs.As(errs.Unavailable, cause, "tlog.append: stopped until the log is opened again")
	return errs.Wrap(cause, "tlog.append")
}

// settle makes the plan the present.
func (l *Log) settle(plan *draft, size uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for source, p := range plan.changed { // the order does not show: each source stands alone
		l.positions[source] = p.trim()
	}
	l.size = size
}
