package ledger

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"surety/base/ident"
	"surety/base/money"
)

// load makes batches of transfers between random accounts. Ids are made anew for every batch.
type load struct {
	accounts int
	kind     string
	batches  [][]Transfer
	next     uint64 // last id used
	turn     int
}

const loadBatches = 16

func newLoad(accounts int, kind string) *load {
	l := &load{accounts: accounts, kind: kind, next: 1 << 32}
	r := rand.New(rand.NewPCG(1, 2))
	for range loadBatches {
		batch := make([]Transfer, BatchMax)
		for i := range batch {
			debit := r.IntN(accounts)
			credit := (debit + 1 + r.IntN(accounts-1)) % accounts
			batch[i] = Transfer{
				DebitAccountID:  loadAccount(debit),
				CreditAccountID: loadAccount(credit),
				Amount:          money.Minor(1 + uint64(r.IntN(1000))),
				Ledger:          840, Code: 10,
			}
		}
		l.batches = append(l.batches, batch)
	}
	return l
}

func loadAccount(i int) ident.ID {
	return ident.ID{Lo: uint64(i) + 1, Hi: 0x0193_0000_0000_0000}
}

// batch returns the next batch; it is good until the one after loadBatches more.
func (l *load) batch() []Transfer {
	batch := l.batches[l.turn%loadBatches]
	l.turn++
	for i := range batch {
		t := &batch[i]
		l.next++
		t.ID = ident.ID{Lo: scramble(l.next), Hi: l.next}
		switch l.kind {
		case "grouped": // three legs to a business event
			t.UserData128 = ident.ID{Lo: l.next / 3, Hi: 77}
		case "pending":
			l.settle(batch, i)
		case "linked":
			t.Flags = 0
			if i%3 != 2 && i != len(batch)-1 {
				t.Flags = TransferLinked
			}
		}
	}
	return batch
}

// settle makes every second transfer post the one before it.
func (l *load) settle(batch []Transfer, i int) {
	t := &batch[i]
	if i%2 == 0 {
		t.Flags, t.Timeout = TransferPending, 3600
		return
	}
	*t = Transfer{ID: t.ID, PendingID: batch[i-1].ID, Amount: money.Max, Flags: TransferPostPending}
}

func loadedState(tb testing.TB, accounts, transfers int, flags AccountFlags) *State {
	s := NewState(Limits{ReserveAccounts: accounts, ReserveTransfers: transfers, Seed: 1})
	batch := make([]Account, 0, BatchMax)
	for i := 0; i < accounts; {
		batch = batch[:0]
		for ; len(batch) < BatchMax && i < accounts; i++ {
			batch = append(batch, Account{ID: loadAccount(i), Ledger: 840, Code: uint16(1 + i%7), Flags: flags})
		}
		for _, r := range s.CreateAccounts(batch, s.NextTimestamp(1, len(batch)), nil) {
			if r != AccountOK {
				tb.Fatal(r)
			}
		}
	}
	return s
}

// processorTime is what the process has used, collector included. On a machine that others use too
// it says more than the clock on the wall.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func BenchmarkCreateTransfers(b *testing.B) {
	for _, accounts := range []int{10_000, 1_000_000} {
		for _, kind := range []string{"plain", "grouped", "pending", "linked"} {
			b.Run(fmt.Sprintf("%s/accounts=%d", kind, accounts), func(b *testing.B) {
				s := loadedState(b, accounts, 0, 0)
				l := newLoad(accounts, kind)
				results := make([]TransferResult, 0, BatchMax)
				var cpu time.Duration
				for b.Loop() {
					b.StopTimer()
					batch, before := l.batch(), processorTime(b)
					b.StartTimer()
					results = s.CreateTransfers(batch, s.NextTimestamp(0, len(batch)), results[:0])
					cpu += processorTime(b) - before
				}
				for i, r := range results {
					if r != TransferOK {
						b.Fatal(i, r)
					}
				}
				n := float64(b.N) * BatchMax
				b.ReportMetric(n/b.Elapsed().Seconds(), "transfers/s")
				b.ReportMetric(float64(cpu.Nanoseconds())/n, "cpu-ns/transfer")
			})
		}
	}
}

func BenchmarkCreateAccounts(b *testing.B) {
	s := NewState(Limits{Seed: 1})
	batch := make([]Account, BatchMax)
	results := make([]AccountResult, 0, BatchMax)
	next := uint64(0)
	for b.Loop() {
		for i := range batch {
			next++
			batch[i] = Account{ID: ident.ID{Lo: next}, Ledger: 840, Code: 1}
		}
		results = s.CreateAccounts(batch, s.NextTimestamp(0, len(batch)), results[:0])
	}
	b.ReportMetric(float64(b.N)*BatchMax/b.Elapsed().Seconds(), "accounts/s")
}

// BenchmarkGrowth fills one ledger with ten million transfers and reports the slowest batch: growth
// must not stop the writer.
func BenchmarkGrowth(b *testing.B) {
	for b.Loop() {
		s := loadedState(b, 10_000, 0, 0)
		l := newLoad(10_000, "grouped")
		results := make([]TransferResult, 0, BatchMax)
		var times []float64
		for s.TransfersLen() < 10_000_000 {
			batch := l.batch()
			begin := time.Now()
			results = s.CreateTransfers(batch, s.NextTimestamp(0, len(batch)), results[:0])
			times = append(times, time.Since(begin).Seconds()*1e3)
		}
		slices.Sort(times)
		b.ReportMetric(times[len(times)/2], "ms/median-batch")
		b.ReportMetric(times[len(times)*99/100], "ms/p99-batch")
		b.ReportMetric(times[len(times)-1], "ms/slowest-batch")
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/float64(s.TransfersLen()), "B/transfer")
		runtime.KeepAlive(s)
	}
}

// BenchmarkSnapshot writes and reads a million transfers.
func BenchmarkSnapshot(b *testing.B) {
	s := loadedState(b, 10_000, 0, 0)
	l := newLoad(10_000, "grouped")
	for s.TransfersLen() < 1_000_000 {
		s.CreateTransfers(l.batch(), s.NextTimestamp(0, BatchMax), nil)
	}
	var file bytes.Buffer
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			file.Reset()
			if err := s.WriteSnapshot(&file); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(file.Len()))
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(file.Len()))
		for b.Loop() {
			if _, err := ReadSnapshot(bytes.NewReader(file.Bytes()), Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("digest", func(b *testing.B) {
		for b.Loop() {
			s.Digest()
		}
	})
}

// BenchmarkOne applies batches of one.
func BenchmarkOne(b *testing.B) {
	s := loadedState(b, 10_000, 0, 0)
	l := newLoad(10_000, "grouped")
	results := make([]TransferResult, 0, 1)
	batch, i := l.batch(), 0
	for b.Loop() {
		if i == len(batch) {
			batch, i = l.batch(), 0
		}
		results = s.CreateTransfers(batch[i:i+1], s.NextTimestamp(0, 1), results[:0])
		i++
	}
}
