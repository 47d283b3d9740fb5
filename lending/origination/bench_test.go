package origination_test

import (
	"context"
	"sync"
	"syscall"
	"testing"

	"surety/lending/lendingtest"
	"surety/lending/origination"
)

// BenchmarkSubmit takes synthetic applications to their end, records and ledger on the disk and
// synced, with so many under way at once. It reports the processor time of one, user and system.
func BenchmarkSubmit(b *testing.B) {
	for name, atOnce := range map[string]int{"alone": 1, "32 at once": 32} {
		b.Run(name, func(b *testing.B) { benchmarkSubmit(b, atOnce) })
	}
}

func benchmarkSubmit(b *testing.B, atOnce int) {
	w := lendingtest.NewOnDisk(b)
	of := w.Applicants(1, true)
	queue := make(chan origination.Submission)
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for s := range queue {
				if _, err := w.Origination.Submit(context.Background(), s); err != nil {
					b.Error(err)
				}
			}
		})
	}
	before := processorTime(b)
	index := uint64(0)
	for b.Loop() {
		queue <- of(index)
		index++
	}
	close(queue)
	group.Wait()
	w.Settled()
	b.ReportMetric((processorTime(b)-before)*1_000/float64(b.N), "cpu-ms/op")
}

// processorTime returns the seconds that the process has used.
func processorTime(b *testing.B) float64 {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(used.Utime) + seconds(used.Stime)
}
