package replica

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/ledger/journal"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

const testDir = "ledger"

// tiny makes everything happen often: segments fill, snapshots are written.
func tiny() Config {
	return Config{Dir: testDir, SnapshotBytes: 96 << 10, Limits: ledger.Limits{Seed: 1},
		Journal: journal.Options{SegmentBytes: 64 << 10, FirstSegmentBytes: 48 << 10, GroupBytes: 32 << 10}}
}

// bench is a ledger under test and the world it stands in.
type world struct {
	t      testing.TB
	fs     vfs.FS
	memory *vfs.Memory // fs, where it is one
	clock  *wallclock.Manual
	config Config
	r      *Replica
}

func newWorld(t testing.TB) *world {
	memory := vfs.NewMemory()
	return &world{t: t, fs: memory, memory: memory, clock: wallclock.NewManual(1_000_000), config: tiny()}
}

func (w *world) open() error {
	r, err := Open(context.Background(), w.config, Deps{FS: w.fs, Clock: w.clock,
		Entropy: entropy.Seeded(1), Log: slog.New(slog.NewTextHandler(testLog{w.t}, nil))})
	w.r = r
	return err
}

func (w *world) mustOpen() {
	w.t.Helper()
	if err := w.open(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) mustClose() {
	w.t.Helper()
	if err := w.r.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.r = nil
}

// crash cuts the power under the ledger.
func (w *world) crash(seed uint64) {
	w.memory.SetFault(vfs.PowerOffAt(0, nil))
	if w.r != nil {
		_ = w.r.Close() // ends its goroutines; without power they do no more
		w.r = nil
	}
	w.memory.Crash(seed)
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

func id(n uint64) ident.ID { return ident.ID{Lo: n} }

const (
	eur      = 978
	deposits = 200
)

// accounts makes n accounts, numbered from 1; the first may go below zero, the others are deposits.
func (w *world) accounts(n int) {
	w.t.Helper()
	batch := make([]ledger.Account, n)
	for i := range batch {
		batch[i] = ledger.Account{ID: id(uint64(i + 1)), Ledger: eur, Code: deposits,
			Flags: ledger.AccountDebitsMustNotExceedCredits}
	}
	batch[0].Flags = 0
	results, err := w.r.CreateAccounts(context.Background(), batch)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, result := range results {
		if result != ledger.AccountOK {
			w.t.Fatalf("account %d: %s", i, result)
		}
	}
}

func transfer(n, debit, credit, amount uint64) ledger.Transfer {
	return ledger.Transfer{ID: id(n), DebitAccountID: id(debit), CreditAccountID: id(credit),
		Amount: money.Minor(amount), Ledger: eur, Code: 1}
}

// send creates the transfers and returns their results.
func (w *world) send(transfers ...ledger.Transfer) []ledger.TransferResult {
	w.t.Helper()
	results, err := w.r.CreateTransfers(context.Background(), transfers)
	if err != nil {
		w.t.Fatal(err)
	}
	return results
}

// digest is everything about a state: the core's, and the names.
func (w *world) digest() string {
	w.t.Helper()
	if err := w.r.state.CheckInvariants(); err != nil {
		w.t.Fatal(err)
	}
	sum := w.r.state.Digest()
	return string(sum[:]) + string(bytes.Join(w.r.names.prefix(), nil))
}

func wantKind(t testing.TB, err error, kind errs.Kind) {
	t.Helper()
	if !errs.Is(err, kind) {
		t.Errorf("got %v, want kind %v", err, kind)
	}
}

const second = clock.Second
