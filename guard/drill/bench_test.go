package drill

import (
	"os"
	"runtime"
	"strconv"
	"testing"

	"surety/base/clock"
	"surety/guard"
	"surety/guard/source"
	"surety/ledger"
)

// feedChecker gives a checker both streams as the engine does, in batches by turns.
func feedChecker(c *guard.Checker, r *record) (breaches int) {
	now := clock.MustDate(2026, 1, 2).Instant()
	step := func(in guard.Input) {
		now += 1000
		in.Now = now
		for _, v := range c.Step(&in) {
			if v.Kind == guard.Breached {
				breaches++
			}
		}
	}
	fed := 0
	for n := range r.events {
		step(guard.Input{Kind: guard.InputEvent, Event: &r.events[n]})
		if n%512 != 511 && n+1 < len(r.events) {
			continue
		}
		for ; fed < len(r.entries)*(n+1)/len(r.events); fed++ {
			step(guard.Input{Kind: guard.InputEntry, Entry: &r.entries[fed]})
		}
	}
	for range 2 {
		now = now.Add(clock.Minute)
		step(guard.Input{Kind: guard.InputRead, Stream: guard.StreamOutbox, Last: uint64(len(r.events)), Began: now})
		step(guard.Input{Kind: guard.InputRead, Stream: guard.StreamFeed, Last: uint64(fed), Began: now})
	}
	return breaches
}

// cleanRecord makes clean traffic in which so many loans begin and live for some days.
func cleanRecord(tb testing.TB, loans, perDay, days int) *record {
	tb.Helper()
	lender := NewLender(1, "bench", clock.MustDate(2024, 1, 1), perDay)
	state := ledger.NewState(ledger.Limits{})
	now := clock.MustDate(2026, 1, 1).Instant()
	r := &record{}
	for day := range days {
		applications := min(perDay, loans-lender.started)
		for _, a := range lender.Day(clock.MustDate(2024, 1, 1).AddDays(day), applications) {
			now = now.Add(clock.Microsecond)
			a.Event.Seq, a.Event.At = uint64(len(r.events)+1), now
			r.events = append(r.events, source.Parse(&a.Event))
			if err := apply(state, &a, now); err != nil {
				tb.Fatal(err)
			}
		}
	}
	for n := range state.EventsLen() {
		r.entries = append(r.entries, state.Event(n))
	}
	return r
}

// BenchmarkChecker measures the checker on the life of loans: events a second, with their postings.
func BenchmarkChecker(b *testing.B) {
	r := cleanRecord(b, 1500, 10, 400)
	events := 0
	for b.Loop() {
		if n := feedChecker(guard.New(guard.Limits{}), r); n != 0 {
			b.Fatalf("%d breaches in clean traffic", n)
		}
		events += len(r.events)
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(len(r.entries))/float64(len(r.events)), "entries/event")
}

// TestMemory bounds what a checker keeps for each loan: sixty megabytes for a hundred thousand.
func TestMemory(t *testing.T) {
	loans := 2000
	if n, err := strconv.Atoi(os.Getenv("SURETY_GUARD_LOANS")); err == nil {
		loans = n
	}
	r := cleanRecord(t, loans, loans, 2)
	before := liveBytes()
	c := guard.New(guard.Limits{})
	if n := feedChecker(c, r); n != 0 {
		t.Fatalf("%d breaches in clean traffic", n)
	}
	used := liveBytes() - before
	each := float64(used) / float64(loans)
	t.Logf("%d loans, %d events, %d entries: %.1f MB, %.0f bytes a loan", loans, len(r.events),
		len(r.entries), float64(used)/1e6, each)
	if each > 1000 {
		t.Errorf("a loan takes %.0f bytes, the limit is 1000", each)
	}
	runtime.KeepAlive(c)
	runtime.KeepAlive(r)
}

func liveBytes() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
