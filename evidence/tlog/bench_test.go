package tlog

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"surety/base/clock"
	"surety/base/ident"
	"surety/evidence"
)

// load returns a record as the relays bring them: an event with its own id, a loan, a customer and
// a trace, all of them hashes, and 400 bytes of payload.
func load(source string, seq uint64) evidence.Entry {
	n := fmt.Sprint(seq / 10)
	return evidence.Entry{
		Source: source, SourceSeq: seq, Part: "lending", Kind: "loan.repaid",
		Subjects: []ident.ID{
			ident.Derive("event", source, fmt.Sprint(seq)), ident.Derive("loan", n),
			ident.Derive("customer", n),
		},
		Trace: ident.Derive("trace", n), At: noon.Add(clock.Duration(seq)),
		Payload: fmt.Appendf(nil, "%0400d", seq),
	}
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkAppend is three relays that bring five hundred records at a time, as fast as they can.
func BenchmarkAppend(b *testing.B) {
	l, err := Open(context.Background(), Options{Directory: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	const relays, chunk = 3, 500
	start := processorTime()
	b.ResetTimer()
	var wg sync.WaitGroup
	for relay := range relays {
		source := fmt.Sprint("relay", relay)
		wg.Go(func() {
			for first := 1; first <= b.N; first += relays * chunk {
				var batch []evidence.Entry
				last, err := l.LastSeq(source)
				if err != nil {
					b.Error(err)
					return
				}
				for i := range uint64(chunk) {
					batch = append(batch, load(source, last+1+i))
				}
				if err := l.Append(context.Background(), batch...); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	size := float64(l.Size())
	b.ReportMetric(size/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64((processorTime()-start).Microseconds())/size, "cpu-µs/record")
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
