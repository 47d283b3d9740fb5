package settlement

import (
	"context"
	"log/slog"
	"sync"

	"surety/base/errs"
	"surety/lending/store"
)

// Limits of the finisher.
const (
	// finishMax bounds the writes of one commit: a few milliseconds of the database's writer.
	finishMax = 256
	// finishQueue bounds what waits: a burst of acts, a few hundred bytes each.
	finishQueue = 8_192
)

// Records is what the finisher needs of the store.
type Records interface {
	Commit(ctx context.Context, writes ...store.Write) error
}

// Finisher notes, after the customer has been answered, that an instruction is settled. The note
// saves work at the next start and nothing else: an act whose note is lost is driven again and the
// ledger says that it stands.
type Finisher struct {
	records Records
	log     *slog.Logger
	queue   chan finish
	done    chan struct{}

	mu     sync.RWMutex // guards closed against sends to queue
	closed bool
}

// finish is writes to make, or with flushed set, a caller who waits for those before it.
type finish struct {
	writes  []store.Write
	flushed chan struct{}
}

// NewFinisher returns a finisher at work; Close ends it.
func NewFinisher(records Records, log *slog.Logger) *Finisher {
	f := &Finisher{records: records, log: log, queue: make(chan finish, finishQueue),
		done: make(chan struct{})}
	go f.loop()
	return f
}

// Later makes the writes durable soon, after all those before them and together. It blocks only
// where finishQueue is full. After Close it does nothing: the next start repeats the act.
func (f *Finisher) Later(writes ...store.Write) {
	f.send(finish{writes: writes})
}

// Flush returns once all writes given before it are durable, or have failed.
func (f *Finisher) Flush(ctx context.Context) error {
	flushed := make(chan struct{})
	if !f.send(finish{flushed: flushed}) {
		return errs.New(errs.Unavailable, "settlement.flush: closed")
	}
	select {
	case <-flushed:
		return nil
	case <-ctx.Done():
		return errs.As(errs.Canceled, ctx.Err(), "settlement.flush")
	}
}

// Close writes what is queued and ends the goroutine.
func (f *Finisher) Close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.queue)
	}
	f.mu.Unlock()
	<-f.done
}

func (f *Finisher) send(item finish) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return false
	}
	f.queue <- item
	return true
}

func (f *Finisher) loop() {
	defer close(f.done)
	for item := range f.queue {
		f.commit(f.gather(item))
	}
}

// gather adds what is queued already to the first item.
func (f *Finisher) gather(first finish) []finish {
	items := []finish{first}
	for n := len(first.writes); n < finishMax; {
		select {
		case item, open := <-f.queue:
			if !open {
				return items
			}
			items = append(items, item)
			n += len(item.writes)
		default:
			return items
		}
	}
	return items
}

// commit writes the items together; where that fails, each alone, so that one that cannot be
// written does not keep the others from it.
func (f *Finisher) commit(items []finish) {
	var writes []store.Write
	for _, item := range items {
		writes = append(writes, item.writes...)
	}
	if len(writes) > 0 && f.records.Commit(context.Background(), writes...) != nil {
		f.commitEach(items)
	}
	for _, item := range items {
		if item.flushed != nil {
			close(item.flushed)
		}
	}
}

func (f *Finisher) commitEach(items []finish) {
	for _, item := range items {
		if len(item.writes) == 0 {
			continue
		}
		if err := f.records.Commit(context.Background(), item.writes...); err != nil {
			f.log.Error("a settled instruction could not be noted", "error", err)
		}
	}
}
