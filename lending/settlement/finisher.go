package settlement

import (
	"context"
	"log/slog"
	"sync"

	"surety/base/errs"
	"surety/lending/store"
)

// Records is what the finisher needs of the store.
type Records interface {
	Commit(ctx context.Context, writes ...store.Write) error
}

// Finisher notes, after the customer has been answered, that an instruction is settled, many notes
// in one commit. A note that is lost in a crash costs work and nothing else: the act is driven again
// and the ledger says that it stands. A note that the records cannot take for a passing reason (a
// full queue, a full disk) is held and tried again with the next.
type Finisher struct {
	records Records
	log     *slog.Logger
	queue   chan finish
	done    chan struct{}
	held    []finish // what could not be written yet; of the loop alone

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

// Later makes the writes durable soon, together, after all those before them. It blocks only where
// finishQueue is full. After Close it does nothing: the next start repeats the act.
func (f *Finisher) Later(writes ...store.Write) {
	_ = f.send(context.Background(), finish{writes: writes}) // closed: as the comment says
}

// Flush returns once all writes given before it are durable, or could not be made. Kinds: Canceled
// where ctx ends first, Unavailable after Close.
func (f *Finisher) Flush(ctx context.Context) error {
	flushed := make(chan struct{})
	if err := f.send(ctx, finish{flushed: flushed}); err != nil {
		return err
	}
	select {
	case <-flushed:
		return nil
	case <-ctx.Done():
		return errs.As(errs.Canceled, ctx.Err(), "settlement.flush")
	}
}

// Close writes what is queued and ends the goroutine. A second Close waits for the same end.
func (f *Finisher) Close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.queue)
	}
	f.mu.Unlock()
	<-f.done
}

func (f *Finisher) send(ctx context.Context, item finish) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return errs.New(errs.Unavailable, "settlement.flush: closed")
	}
	select {
	case f.queue <- item:
		return nil
	case <-ctx.Done():
		return errs.As(errs.Canceled, ctx.Err(), "settlement.flush")
	}
}

func (f *Finisher) loop() {
	defer close(f.done)
	for item := range f.queue {
		f.commit(f.gather(item))
	}
	if n := len(f.held); n > 0 {
		f.log.Warn("settled instructions are left to the next start", "count", n)
	}
}

// gather adds what is held and what is queued already to the first item, in the order of their
// coming.
func (f *Finisher) gather(first finish) []finish {
	items := append(f.held, first)
	f.held = nil
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

// commit writes the items together. Where the records take nothing now, they are held; where one
// item cannot be written, each is tried alone, so that it does not keep the others from it.
func (f *Finisher) commit(items []finish) {
	var writes []store.Write
	for _, item := range items {
		writes = append(writes, item.writes...)
	}
	if len(writes) > 0 {
		f.settle(items, f.records.Commit(context.Background(), writes...))
	}
	for _, item := range items {
		if item.flushed != nil {
			close(item.flushed)
		}
	}
}

// settle deals with what became of the items' writes.
func (f *Finisher) settle(items []finish, err error) {
	switch {
	case err == nil:
	case passing(err):
		f.hold(items)
	case len(items) == 1:
		f.log.Error("a settled instruction could not be noted", "error", err)
	default:
		for i := range items {
			if one := items[i : i+1]; len(one[0].writes) > 0 {
				f.settle(one, f.records.Commit(context.Background(), one[0].writes...))
			}
		}
	}
}

// hold keeps what fits for the next commit. What does not fit is driven again at the next start.
func (f *Finisher) hold(items []finish) {
	dropped := 0
	for _, item := range items {
		switch {
		case len(item.writes) == 0:
		case len(f.held) < finishQueue:
			f.held = append(f.held, finish{writes: item.writes})
		default:
			dropped++
		}
	}
	if dropped > 0 {
		f.log.Error("settled instructions could not be noted", "count", dropped)
	}
}

// passing reports whether the records may take later what they did not take now.
func passing(err error) bool {
	return errs.Is(err, errs.Busy) || errs.Is(err, errs.NoSpace) || errs.Is(err, errs.Locked)
}
