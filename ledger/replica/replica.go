// Package replica is a ledger that runs: the core's state, the journal that makes it durable, and
// the one writer that gives batches their order and time.
//
// A batch goes: queue, writer, group, disk, answer. The writer applies each batch to the state the
// moment it takes it, and adds it with its results to the group being gathered. A group closes when
// the disk has finished the one before, or when it is full: no timer decides, so one caller alone
// waits for one sync, and under load a sync carries everything that came during the last. While one
// group is on its way to the disk the next is being applied.
//
// The state in memory is therefore ahead of the disk, and nobody may see that. A batch is answered
// when its group is durable. A read is done at once, under a lock that the writer shares, notes
// the last batch it could have seen, and is handed out when that batch is durable; where the disk
// fails, so does the read. It costs a reader at most two syncs and the writer nothing. Events and
// batches are read up to the durable watermark and wait for nothing.
//
// A snapshot is the core's, which shares the records and can be written while batches go on; names
// are kept in the same way. The writer takes it between two batches, in no time, at the end of a
// group; once the group is durable another goroutine writes it. So a snapshot never stops the
// writer, and takes no memory but a buffer.
//
// # Invariants
//
// The journal's records, applied in order to an empty state, give this state: results, events and
// their numbers are stored with each record, and a start compares them.
//
// What was answered or shown survives every crash. A batch that was refused for want of room (in
// the limits, the queue or on the disk) left no trace.
//
// # Boundaries
//
// The rules about money are the core's, how bytes become durable is the journal's. There is no
// network here (package server) and no authority: whoever holds a Replica may do everything.
//
// # Concurrency
//
// All methods may be called by many goroutines. The state and the names belong to the writer,
// which changes them under mu; readers hold mu for reading. Three goroutines run inside, and Close
// waits for them: the writer, the committer, and the keeper, who raises the journal's floor and
// writes snapshots. No lock is held while waiting for the disk.
package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/journal"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// Config says which ledger and how it is kept.
type Config struct {
	// Dir is the ledger's own directory; it is made where it is missing.
	Dir string
	// Limits are the sizes the state may reach. Its Seed is chosen at random where it is zero.
	Limits ledger.Limits
	// Journal has the sizes of the journal's files; zero fields are the journal's defaults. ID and
	// Log are set here.
	Journal journal.Options
	// QueueMax is how many requests may wait; zero means the constant of that name.
	QueueMax int
	// SnapshotBytes is how much journal is written between snapshots at least; zero means the
	// constant of that name.
	SnapshotBytes int64
}

// Deps is the world. Nil fields are the machine's own.
type Deps struct {
	FS      vfs.FS
	Clock   wallclock.Clock
	Entropy entropy.Source
	Log     *slog.Logger
}

// Replica is an open ledger. It implements client.Ledger. Make one with Open.
type Replica struct {
	config  Config
	fs      vfs.FS
	clock   wallclock.Clock
	log     *slog.Logger
	journal *journal.Journal

	mu      sync.RWMutex
	state   *ledger.State
	names   *names
	applied uint64 // Seq of the last batch in state

	durable  watermark
	readOnly atomic.Pointer[string] // why batches are refused at the moment

	door  sync.RWMutex // held for reading while a request is queued
	shut  bool         // nothing is queued any more
	queue chan *request
	spare chan *group   // groups not in use
	ready chan struct{} // holds a token while the committer has nothing to do
	pipe  chan *group   // to the committer; sent only with the token taken
	quit  chan struct{} // closed by Close
	idle  sync.Pool     // of requests

	written sync.WaitGroup // the writer and the committer
	kept    sync.WaitGroup // the keeper
	keeper  keeper
}

var _ client.Ledger = (*Replica)(nil)

// Open opens the ledger in a directory, or makes one: it reads the newest good snapshot and replays
// the journal after it. It starts the goroutines that Close stops.
//
// The error is of kind Locked where another process has it, Corrupt where what is stored is not
// what was written (with the file and the offset), NoSpace where the disk or the limits have no
// room, Forbidden where the directory may not be written, Canceled where ctx ended.
func Open(ctx context.Context, config Config, deps Deps) (*Replica, error) {
	r := newReplica(config, deps)
	if err := r.open(ctx); err != nil {
		return nil, errs.Wrap(err, "ledger.open: %s", config.Dir)
	}
	r.start()
	return r, nil
}

func newReplica(config Config, deps Deps) *Replica {
	if config.QueueMax <= 0 {
		config.QueueMax = QueueMax
	}
	if config.SnapshotBytes <= 0 {
		config.SnapshotBytes = SnapshotBytes
	}
	if deps.FS == nil {
		deps.FS = vfs.OS{}
	}
	if deps.Clock == nil {
		deps.Clock = wallclock.System()
	}
	if deps.Entropy == nil {
		deps.Entropy = entropy.System()
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	idents := entropy.NewIdents(deps.Entropy, deps.Clock.Now)
	if config.Limits.Seed == 0 {
		config.Limits.Seed = idents.New().Lo
	}
	config.Journal.ID, config.Journal.Log = idents.New(), deps.Log
	return &Replica{
		config: config, fs: deps.FS, clock: deps.Clock, log: deps.Log,
		queue: make(chan *request, config.QueueMax),
		spare: make(chan *group, 2),
		ready: make(chan struct{}, 1),
		pipe:  make(chan *group, 1),
		quit:  make(chan struct{}),
	}
}

// start begins the goroutines.
func (r *Replica) start() {
	r.spare <- new(group)
	r.spare <- new(group)
	r.ready <- struct{}{}
	r.keeper.init()
	r.written.Go(r.write)
	r.written.Go(r.commitAll)
	r.kept.Go(r.keep)
}

// Close ends the ledger: what was taken is finished, what waits is refused with kind Unavailable, a
// last snapshot is written where anything has changed, and the directory is released. A second
// Close does nothing. It returns what stopped the ledger, or what went wrong while closing; what
// was answered is durable in any case.
func (r *Replica) Close() error {
	if !r.shutDoor() {
		return nil
	}
	close(r.quit)
	r.written.Wait()
	r.kept.Wait()
	_, _, _, err := r.durable.get()
	if err == nil && !r.config.Journal.ReadOnly && r.lastSnapshot() < r.applied {
		err = r.saveSnapshot(r.capture(), r.journal.Durable(), nil)
	}
	r.durable.fail(errs.New(errs.Unavailable, "ledger: closed"))
	return errors.Join(errs.Wrap(err, "ledger.close"), r.journal.Close())
}

// shutDoor lets no request in any more and reports whether it was open.
func (r *Replica) shutDoor() bool {
	r.door.Lock()
	defer r.door.Unlock()
	was := !r.shut
	r.shut = true
	return was
}

// lastSnapshot returns the Seq the newest snapshot covers, zero where there is none.
func (r *Replica) lastSnapshot() uint64 {
	if snapshots := r.journal.Snapshots(); len(snapshots) > 0 {
		return snapshots[0].Seq
	}
	return 0
}

// ID returns the ledger's own id, made when it was.
func (r *Replica) ID() ident.ID { return r.journal.ID() }

// Status implements client.Ledger.
func (r *Replica) Status(context.Context) (client.Status, error) {
	r.mu.RLock()
	status := client.Status{
		Accounts: uint64(r.state.AccountsLen()), Transfers: uint64(r.state.TransfersLen()),
		FailedIDs: uint64(r.state.FailedLen()), Names: uint64(r.names.count()),
	}
	r.mu.RUnlock()
	var err error
	var at clock.Instant
	status.Batches, status.Events, at, err = r.durable.get()
	if err != nil {
		status.Stopped = err.Error()
	}
	status.Timestamp = at
	if why := r.readOnly.Load(); why != nil {
		status.ReadOnly = *why
	}
	extent := r.journal.Extent()
	status.JournalBytes, status.Segments = uint64(extent.Bytes), uint32(extent.Segments)
	status.Snapshot = r.lastSnapshot()
	status.Queue = uint32(len(r.queue))
	return status, nil
}
