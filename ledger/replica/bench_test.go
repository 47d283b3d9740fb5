package replica

import (
	"context"
	"sync"
	"testing"

	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

func benchOpen(b *testing.B) *Replica {
	r, err := Open(context.Background(), Config{Dir: b.TempDir()}, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	accounts := make([]ledger.Account, 0, 10_000)
	for i := range 10_000 {
		accounts = append(accounts, ledger.Account{ID: ident.ID{Lo: uint64(i + 1)}, Ledger: 840, Code: 1})
	}
	for len(accounts) > 0 {
		n := min(len(accounts), ledger.BatchMax)
		if _, err := r.CreateAccounts(context.Background(), accounts[:n]); err != nil {
			b.Fatal(err)
		}
		accounts = accounts[n:]
	}
	return r
}

func benchTransfers(b *testing.B, callers, batch int) {
	r := benchOpen(b)
	var wg sync.WaitGroup
	b.ResetTimer()
	per := b.N/callers/batch + 1
	for c := range callers {
		wg.Go(func() {
			x := uint64(c)*7919 + 1
			transfers := make([]ledger.Transfer, batch)
			id := uint64(0)
			for range per {
				for i := range transfers {
					x = x*6364136223846793005 + 1442695040888963407
					d := x>>33%10_000 + 1
					id++
					transfers[i] = ledger.Transfer{ID: ident.ID{Hi: uint64(c + 1), Lo: id},
						DebitAccountID:  ident.ID{Lo: d},
						CreditAccountID: ident.ID{Lo: d%10_000 + 1}, Amount: money.Minor(1), Ledger: 840, Code: 1}
				}
				results, err := r.CreateTransfers(context.Background(), transfers)
				if err != nil || results[0] != 0 {
					b.Error(results[0], err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(per*callers*batch)/b.Elapsed().Seconds(), "transfers/s")
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkTransfers(b *testing.B) {
	b.Run("callers=1/batch=1", func(b *testing.B) { benchTransfers(b, 1, 1) })
	b.Run("callers=64/batch=1", func(b *testing.B) { benchTransfers(b, 64, 1) })
	b.Run("callers=3/batch=8190", func(b *testing.B) { benchTransfers(b, 3, 8190) })
}
