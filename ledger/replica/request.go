package replica

import (
	"context"
	"encoding/binary"
	"sync/atomic"

	"surety/base/errs"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/journal"
	"surety/ledger/wire"
)

// request is a batch on its way. Its caller waits on done, and may give up while it is queued; once
// the writer has claimed it, it is carried to its end. It is the body of its own journal record.
type request struct {
	operation ledger.Operation
	accounts  []ledger.Account
	transfers []ledger.Transfer
	freezes   []ledger.Freeze
	names     []client.Name
	encoded   []byte // names only
	count     int

	accountResults  []ledger.AccountResult
	transferResults []ledger.TransferResult
	freezeResults   []ledger.FreezeResult
	failures        int // results that are not OK

	owner atomic.Int32 // who decides its end
	err   error        // valid once done
	done  chan struct{}
}

// The owners of a request.
const (
	ownedByQueue  = 0
	ownedByWriter = 1
	ownedByNobody = 2 // its caller went away
)

// CreateAccounts implements client.Writer.
func (r *Replica) CreateAccounts(ctx context.Context, batch []ledger.Account) (
	[]ledger.AccountResult, error) {
	q := r.request(ledger.OperationCreateAccounts, len(batch))
	q.accounts, q.accountResults = batch, make([]ledger.AccountResult, 0, len(batch))
	err := r.submit(ctx, q)
	if err != nil {
		return nil, errs.Wrap(err, "ledger.create_accounts")
	}
	results := q.accountResults
	r.recycle(q)
	return results, nil
}

// CreateTransfers implements client.Writer.
func (r *Replica) CreateTransfers(ctx context.Context, batch []ledger.Transfer) (
	[]ledger.TransferResult, error) {
	q := r.request(ledger.OperationCreateTransfers, len(batch))
	q.transfers, q.transferResults = batch, make([]ledger.TransferResult, 0, len(batch))
	err := r.submit(ctx, q)
	if err != nil {
		return nil, errs.Wrap(err, "ledger.create_transfers")
	}
	results := q.transferResults
	r.recycle(q)
	return results, nil
}

// ApplyFreezes implements client.Writer.
func (r *Replica) ApplyFreezes(ctx context.Context, batch []ledger.Freeze) (
	[]ledger.FreezeResult, error) {
	q := r.request(ledger.OperationFreezes, len(batch))
	q.freezes, q.freezeResults = batch, make([]ledger.FreezeResult, 0, len(batch))
	err := r.submit(ctx, q)
	if err != nil {
		return nil, errs.Wrap(err, "ledger.apply_freezes")
	}
	results := q.freezeResults
	r.recycle(q)
	return results, nil
}

// SetNames implements client.Namer.
func (r *Replica) SetNames(ctx context.Context, names []client.Name) error {
	for i := range names {
		if err := names[i].Check(); err != nil {
			return errs.Wrap(err, "ledger.set_names: names[%d]", i)
		}
	}
	q := r.request(ledger.OperationNames, len(names))
	q.names, q.encoded = names, wire.AppendNames(nil, names)
	if len(q.encoded) > wire.NamesBytesMax {
		return errs.New(errs.TooLarge, "ledger.set_names: %d bytes, the limit is %d",
			len(q.encoded), wire.NamesBytesMax)
	}
	err := r.submit(ctx, q)
	if err != nil {
		return errs.Wrap(err, "ledger.set_names")
	}
	r.recycle(q)
	return nil
}

// request returns an empty request.
func (r *Replica) request(operation ledger.Operation, count int) *request {
	q, ok := r.idle.Get().(*request)
	if !ok {
		q = &request{done: make(chan struct{}, 1)}
	}
	q.operation, q.count = operation, count
	return q
}

// recycle keeps a request whose end its caller has seen.
func (r *Replica) recycle(q *request) {
	done := q.done
	*q = request{done: done}
	r.idle.Put(q)
}

// submit queues the request and returns at its end.
func (r *Replica) submit(ctx context.Context, q *request) error {
	if q.count == 0 {
		return nil
	}
	if q.count > ledger.BatchMax {
		return errs.New(errs.TooLarge, "a batch of %d records, the limit is %d", q.count, ledger.BatchMax)
	}
	if err := ctx.Err(); err != nil {
		return errs.As(errs.Canceled, err, "the caller went away")
	}
	if err := r.enqueue(q); err != nil {
		return err
	}
	select {
	case <-q.done:
		return q.err
	case <-ctx.Done():
		if q.owner.CompareAndSwap(ownedByQueue, ownedByNobody) {
			return errs.As(errs.Canceled, ctx.Err(), "the caller went away")
		}
		<-q.done // it has been applied: only the disk is still to answer
		return q.err
	}
}

// enqueue never waits: where the queue is full, so says kind Busy.
func (r *Replica) enqueue(q *request) error {
	r.door.RLock()
	defer r.door.RUnlock()
	if r.shut {
		return errs.New(errs.Unavailable, "the ledger is closed")
	}
	select {
	case r.queue <- q:
		return nil
	default:
		return errs.New(errs.Busy, "%d requests are waiting, the limit is %d",
			len(r.queue), cap(r.queue))
	}
}

// finish ends the request; its caller goes on.
func (q *request) finish(err error) {
	q.err = err
	q.done <- struct{}{}
}

var _ journal.Body = (*request)(nil)

// bound is the most that Size can be, known before the batch is applied.
func (q *request) bound() int {
	if q.operation == ledger.OperationNames {
		return len(q.encoded)
	}
	return q.count * (ledger.RecordSize + journal.ResultSize)
}

// Size implements journal.Body.
func (q *request) Size() int {
	if q.operation == ledger.OperationNames {
		return len(q.encoded)
	}
	return q.count*ledger.RecordSize + q.failures*journal.ResultSize
}

// Encode implements journal.Body: the records as they were sent, then the results that are not OK,
// each as the record's index and the result's number.
func (q *request) Encode(into []byte) {
	var rest []byte
	switch q.operation {
	case ledger.OperationCreateAccounts:
		rest = into[len(ledger.EncodeAccounts(into[:0], q.accounts)):]
		encodeFailures(rest, q.accountResults)
	case ledger.OperationCreateTransfers:
		rest = into[len(ledger.EncodeTransfers(into[:0], q.transfers)):]
		encodeFailures(rest, q.transferResults)
	case ledger.OperationFreezes:
		rest = into[len(ledger.EncodeFreezes(into[:0], q.freezes)):]
		encodeFailures(rest, q.freezeResults)
	case ledger.OperationNames:
		copy(into, q.encoded)
	}
}

func encodeFailures[R ~uint16](into []byte, results []R) {
	at := 0
	for i, result := range results {
		if at == len(into) {
			return
		}
		if result != 0 {
			binary.LittleEndian.PutUint16(into[at:], uint16(i))
			binary.LittleEndian.PutUint16(into[at+2:], uint16(result))
			at += journal.ResultSize
		}
	}
}

func countFailures[R ~uint16](results []R) int {
	n := 0
	for _, result := range results {
		if result != 0 {
			n++
		}
	}
	return n
}
