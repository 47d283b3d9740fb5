package replica

import (
	"context"
	"slices"
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/sys/wallclock"
)

// million is a ledger of 10,000 accounts and a million transfers on the real disk.
func million(b *testing.B) *Replica {
	b.Helper()
	ctx := context.Background()
	r, err := Open(ctx, Config{Dir: b.TempDir(), SnapshotBytes: 1 << 40}, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	accounts := make([]ledger.Account, 5000)
	for half := range uint64(2) {
		for i := range accounts {
			accounts[i] = ledger.Account{ID: id(half*5000 + uint64(i) + 1), Ledger: eur, Code: 1}
		}
		if _, err := r.CreateAccounts(ctx, accounts); err != nil {
			b.Fatal(err)
		}
	}
	batch := make([]ledger.Transfer, 8000)
	for n := range uint64(125) {
		for i := range batch {
			number := n*8000 + uint64(i)
			batch[i] = benchTransfer(number + 1)
		}
		if results, err := r.CreateTransfers(ctx, batch); err != nil || results[0] != ledger.TransferOK {
			b.Fatal(results[0], err)
		}
	}
	return r
}

func benchTransfer(n uint64) ledger.Transfer {
	return ledger.Transfer{ID: id(n), DebitAccountID: id(n*7919%10_000 + 1), UserData128: id(n / 3),
		CreditAccountID: id((n*7919+1)%10_000 + 1), Amount: money.Minor(1), Ledger: eur, Code: 1}
}

// BenchmarkDuringSnapshot measures single transfers of one caller while a snapshot of a million is
// being written, and while none is: the difference is what a snapshot costs.
func BenchmarkDuringSnapshot(b *testing.B) {
	r := million(b)
	next := uint64(2_000_000)
	call := func() clock.Duration {
		next++
		began := r.clock.Now()
		if _, err := r.CreateTransfers(context.Background(), []ledger.Transfer{benchTransfer(next)}); err != nil {
			b.Fatal(err)
		}
		return r.clock.Now().Sub(began)
	}
	report := func(b *testing.B, times []clock.Duration) {
		slices.Sort(times)
		b.ReportMetric(float64(len(times)), "calls")
		b.ReportMetric(float64(times[len(times)/2])/1e3, "p50-us")
		b.ReportMetric(float64(times[len(times)*99/100])/1e3, "p99-us")
		b.ReportMetric(float64(times[len(times)-1])/1e3, "max-us")
	}
	b.Run("quiet", func(b *testing.B) {
		for b.Loop() {
			var times []clock.Duration
			for range 3000 {
				times = append(times, call())
			}
			report(b, times)
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			before := r.lastSnapshot()
			r.keeper.busy.Store(true)
			r.keeper.want.Store(true)
			var times []clock.Duration
			for r.lastSnapshot() == before {
				times = append(times, call())
			}
			report(b, times)
		}
	})
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpen measures a start after a clean end with a million transfers.
func BenchmarkOpen(b *testing.B) {
	r := million(b)
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	config := r.config
	config.Journal.ID = ident.ID{}
	for b.Loop() {
		again, err := Open(context.Background(), config, Deps{Clock: wallclock.System()})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := again.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
