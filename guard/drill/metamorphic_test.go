package drill

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"surety/base/clock"
	"surety/base/ident"
	"surety/guard"
	"surety/guard/source"
	"surety/ledger"
)

// record is a run of traffic with faults, as both streams have it.
type record struct {
	events  []guard.Event
	entries []ledger.Event
}

// recordRun makes traffic in which one act in thirty is posted wrongly, in one of several ways.
func recordRun(t *testing.T, seed uint64, acts int) record {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	lender := NewLender(seed, "mixed", clock.MustDate(2024, 2, 1), 3)
	state := ledger.NewState(ledger.Limits{})
	now := clock.MustDate(2026, 1, 1).Instant()
	var r record
	broken := map[ident.ID]bool{} // loans that were spoiled are left alone
	for len(r.events) < acts {
		a := lender.Next()
		if broken[a.Event.Application] || broken[a.Event.Customer] {
			continue
		}
		if len(a.Transfers) > 0 && rng.IntN(30) == 0 {
			broken[a.Event.Application], broken[a.Event.Customer] = true, true
			spoil(rng, &a)
		}
		now = now.Add(2 * clock.Millisecond)
		a.Event.Seq, a.Event.At = uint64(len(r.events)+1), now
		r.events = append(r.events, source.Parse(&a.Event))
		if len(a.Transfers) > 0 {
			state.CreateAccounts(a.Accounts, state.NextTimestamp(now, len(a.Accounts)), nil)
			state.CreateTransfers(a.Transfers, state.NextTimestamp(now, len(a.Transfers)), nil)
		}
	}
	for n := range state.EventsLen() {
		r.entries = append(r.entries, state.Event(n))
	}
	return r
}

func spoil(rng *rand.Rand, a *Act) {
	t := &a.Transfers[rng.IntN(len(a.Transfers))]
	switch rng.IntN(6) {
	case 0:
		t.Amount.Lo++
	case 1:
		t.UserData32++
	case 2:
		t.ID = ident.Derive("wrong", t.ID.String())
	case 3:
		a.Transfers = a.Transfers[:len(a.Transfers)-1]
	case 4:
		a.Transfers = nil
	case 5:
		t.UserData64 = 7
	}
	link(a.Transfers)
}

// outcome is what a checker says in the end.
type outcome struct {
	breaches map[ident.ID]guard.Rule
	verdicts map[ident.ID]guard.VerdictKind
}

// replay gives a checker both streams, with every position delivered at least once: in order where
// rng is nil, otherwise shuffled within a window and repeated. Between deliveries the checker may be
// saved and restored, after which it reads on from its positions.
func replay(t *testing.T, r record, rng *rand.Rand, restarts int) outcome {
	t.Helper()
	c := guard.New(guard.Limits{})
	out := outcome{map[ident.ID]guard.Rule{}, map[ident.ID]guard.VerdictKind{}}
	now := clock.MustDate(2026, 1, 2).Instant()
	step := func(in guard.Input) {
		now = now.Add(10 * clock.Microsecond)
		in.Now = now
		for _, v := range c.Step(&in) {
			switch v.Kind {
			case guard.Breached:
				out.breaches[v.BreachID] = v.Breach.Rule
			case guard.Checked, guard.Failed:
				if before, twice := out.verdicts[v.Event]; twice && before != v.Kind {
					t.Errorf("event %s is %d and then %d", v.Event, before, v.Kind)
				}
				out.verdicts[v.Event] = v.Kind
			}
		}
	}
	for {
		events := r.events[c.Position(guard.StreamOutbox):]
		entries := r.entries[c.Position(guard.StreamFeed):]
		if len(events)+len(entries) == 0 {
			break
		}
		for _, in := range deliver(events[:min(500, len(events))], entries[:min(1200, len(entries))], rng) {
			step(in)
		}
		if restarts > 0 {
			restarts--
			c = reopened(t, c, now)
		}
	}
	for range 2 {
		now = now.Add(clock.Minute)
		step(guard.Input{Kind: guard.InputRead, Stream: guard.StreamOutbox, Last: uint64(len(r.events)), Began: now})
		step(guard.Input{Kind: guard.InputRead, Stream: guard.StreamFeed, Last: uint64(len(r.entries)), Began: now})
	}
	return out
}

// deliver returns the inputs of some of both streams, in a random order with repeats.
func deliver(events []guard.Event, entries []ledger.Event, rng *rand.Rand) []guard.Input {
	var list []guard.Input
	for i := range events {
		list = append(list, guard.Input{Kind: guard.InputEvent, Event: &events[i]})
	}
	for i := range entries {
		list = append(list, guard.Input{Kind: guard.InputEntry, Entry: &entries[i]})
	}
	if rng == nil {
		return list
	}
	for n := range list {
		if rng.IntN(20) == 0 {
			list = append(list, list[n])
		}
	}
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// The same work, delivered otherwise, gives the same breaches and verdicts.
func TestDeliveryDoesNotChangeVerdicts(t *testing.T) {
	const seed = 11
	r := recordRun(t, seed, 6000)
	plain := replay(t, r, nil, 0)
	if len(plain.breaches) < 50 {
		t.Fatalf("seed %d: %d breaches, want many", seed, len(plain.breaches))
	}
	t.Logf("seed %d: %d events, %d entries, %d breaches", seed, len(r.events), len(r.entries),
		len(plain.breaches))
	for shuffle := range uint64(3) {
		for _, restarts := range []int{0, 1000} {
			got := replay(t, r, rand.New(rand.NewPCG(shuffle, 2)), restarts)
			if !maps.Equal(plain.breaches, got.breaches) {
				t.Errorf("shuffle %d, %d restarts: %d breaches, want %d: %v", shuffle, restarts,
					len(got.breaches), len(plain.breaches), lacking(plain.breaches, got.breaches))
			}
			if !maps.Equal(plain.verdicts, got.verdicts) {
				t.Errorf("shuffle %d, %d restarts: verdicts differ", shuffle, restarts)
			}
		}
	}
}

func lacking(want, got map[ident.ID]guard.Rule) (list []string) {
	for id, rule := range want {
		if _, here := got[id]; !here {
			list = append(list, "lacks "+rule.String())
		}
	}
	for id, rule := range got {
		if _, here := want[id]; !here {
			list = append(list, "adds "+rule.String())
		}
	}
	slices.Sort(list)
	return list
}
