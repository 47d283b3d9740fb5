// Package lendingtest stands the lending service up for tests, over a real ledger and real records,
// breaks it where it is told to, and checks that what is left holds together.
//
// A World is one lending service: records in a directory of the test, the ledger on files in memory,
// a clock and a business date that the test moves. Every commit of the records and every batch of
// the ledger passes a Gate, which can fail one of them, or from one on all of them: that is a crash,
// after which Reopen opens what is durable, as a new process would.
//
// Audit compares what the parts say of the same money: each event with its postings, each loan with
// its accounts, each customer and product with theirs. It knows the accounting table from
// docs/reference/events.md and shares no code with what it checks but the encodings.
//
// # Boundaries
//
// For tests alone: nothing of it is in the binary.
package lendingtest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"surety/base/clock"
	"surety/ledger"
	"surety/ledger/journal"
	"surety/ledger/replica"
	"surety/lending/origination"
	"surety/lending/recovery"
	"surety/lending/servicing"
	"surety/lending/settlement"
	"surety/lending/store"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// Start is the business date on which a world begins.
var Start = clock.MustDate(2026, 1, 15)

// World is one lending service. The parts are those of the last opening.
type World struct {
	T         testing.TB
	Gate      *Gate
	Clock     *wallclock.Manual
	Sealer    *Sealer
	Catalogue origination.Catalogue

	Ledger      *replica.Replica
	Store       *store.Store
	Records     *Records // Store behind the gate
	Finisher    *settlement.Finisher
	Origination *origination.Desk
	Servicing   *servicing.Desk
	Recovery    *recovery.Recovery

	directory string
	files     vfs.FS
	idents    *entropy.Idents
	today     atomic.Int32
	moneyOut  atomic.Pointer[error]
}

// catalogue is the shipped programmes, read once: they never change.
var catalogue = sync.OnceValues(func() (origination.Catalogue, error) {
	return origination.NewCatalogue(nil)
})

// New returns an open world, closed when the test ends.
func New(t testing.TB) *World {
	t.Helper()
	programmes, err := catalogue()
	if err != nil {
		t.Fatal(err)
	}
	return NewWith(t, programmes)
}

// NewWith is New with other programmes than the shipped ones.
func NewWith(t testing.TB, programmes origination.Catalogue) *World {
	t.Helper()
	return begin(t, &World{Catalogue: programmes, directory: directory(t), files: vfs.NewMemory()})
}

// NewOnDisk is New with everything on the disk and synced: for benchmarks.
func NewOnDisk(t testing.TB) *World {
	t.Helper()
	programmes, err := catalogue()
	if err != nil {
		t.Fatal(err)
	}
	return begin(t, &World{Catalogue: programmes, directory: t.TempDir(), files: vfs.OS{}})
}

func begin(t testing.TB, w *World) *World {
	t.Helper()
	w.T, w.Gate, w.Sealer = t, &Gate{}, NewSealer()
	w.Clock = wallclock.NewManual(Start.Instant())
	w.idents = entropy.NewIdents(entropy.Seeded(1), w.Clock.Now)
	w.SetToday(Start)
	t.Cleanup(func() { _ = w.shut() })
	if err := w.Open(); err != nil {
		t.Fatal(err)
	}
	return w
}

// directory returns a directory for the records, in memory where the machine has such a place: a
// world's crashes do not cut the power, so that waiting for a disk would show nothing.
func directory(t testing.TB) string {
	t.Helper()
	made, err := os.MkdirTemp("/dev/shm", "lendingtest-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(made); err != nil {
			t.Error(err)
		}
	})
	return made
}

// Today returns the business date.
func (w *World) Today() clock.Date { return clock.Date(w.today.Load()) }

// SetToday moves the business date; the clock stays where it is.
func (w *World) SetToday(on clock.Date) { w.today.Store(int32(on)) }

// StopMoney stops money-out with a reason, nil lets it go again.
func (w *World) StopMoney(why error) { w.moneyOut.Store(&why) }

func (w *World) moneyAllowed() error {
	if why := w.moneyOut.Load(); why != nil {
		return *why
	}
	return nil
}

// Open opens what is durable and finishes what is unfinished, as a node does at its start.
func (w *World) Open() error {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(testLog{w.T}, nil))
	err := w.openStores(ctx, log)
	if err != nil {
		return err
	}
	w.Records = &Records{Store: w.Store, gate: w.Gate}
	money := &Money{Replica: w.Ledger, gate: w.Gate}
	w.Finisher = settlement.NewFinisher(w.Records, log)
	w.Origination = origination.New(origination.Deps{Store: w.Records, Ledger: money,
		Sealer:   w.Sealer,
		Finisher: w.Finisher, Catalogue: w.Catalogue, Clock: w.Clock, Idents: w.idents, Today: w.Today,
		MoneyOut: w.moneyAllowed, IdentityKey: [32]byte{7}, Log: log,
		Decided: func(clock.Duration) {}, Paid: func(clock.Duration) {}})
	w.Servicing = servicing.New(servicing.Deps{Store: w.Records, Ledger: money,
		Finisher: w.Finisher,
		Clock:    w.Clock, Today: w.Today, Log: log})
	w.Recovery = recovery.New(recovery.Deps{Store: w.Records, Origination: w.Origination,
		Servicing: w.Servicing, MoneyOut: w.moneyAllowed, Clock: w.Clock, Log: log})
	if err := w.Origination.Publish(ctx); err != nil {
		return err
	}
	_, err = w.Recovery.Finish(ctx)
	return err
}

func (w *World) openStores(ctx context.Context, log *slog.Logger) (err error) {
	w.Ledger, err = replica.Open(ctx, replica.Config{Dir: filepath.Join(w.directory, "ledger"),
		Limits:  ledger.Limits{Seed: 1},
		Journal: journal.Options{SegmentBytes: 4 << 20, FirstSegmentBytes: 1 << 20}},
		replica.Deps{FS: w.files, Clock: w.Clock, Entropy: entropy.Seeded(1), Log: log})
	if err != nil {
		return err
	}
	w.Store, err = store.Open(ctx, filepath.Join(w.directory, "lending.db"))
	return err
}

// shut closes what is open.
func (w *World) shut() error {
	var failures []error
	if w.Finisher != nil {
		w.Finisher.Close()
	}
	if w.Store != nil {
		failures = append(failures, w.Store.Close())
	}
	if w.Ledger != nil {
		failures = append(failures, w.Ledger.Close())
	}
	w.Finisher, w.Store, w.Ledger = nil, nil, nil
	return errors.Join(failures...)
}

// Close ends the world before its test does.
func (w *World) Close() {
	w.T.Helper()
	if err := w.shut(); err != nil {
		w.T.Error(err)
	}
}

// Crash ends the process: nothing that has not passed the gate will, and Open finds what has.
func (w *World) Crash() {
	w.Gate.cut()
	_ = w.shut() // without the gate nothing changes any more
	w.Gate.Clear()
}

// Reopen crashes the world and opens it again.
func (w *World) Reopen() {
	w.T.Helper()
	w.Crash()
	if err := w.Open(); err != nil {
		w.T.Fatal(err)
	}
}

// Settled waits until what follows the answers given so far is noted.
func (w *World) Settled() {
	w.T.Helper()
	if err := w.Finisher.Flush(context.Background()); err != nil {
		w.T.Fatal(err)
	}
}

// testLog writes a log into the test's.
type testLog struct{ t testing.TB }

// Write logs one line.
func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}
