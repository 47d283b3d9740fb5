package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"surety/base/clock"
	"surety/base/ident"
	"surety/guard"
	"surety/guard/client"
	"surety/ledger"
)

// crashDir names the guard's directory to the process that is killed.
const crashDir = "SURETY_GUARD_CRASH_DIR"

// crashEvents is how many events the killed guard has to check; every seventh is posted wrongly.
const crashEvents = 30_000

// fill makes the same streams in every process: ids are derived, so the breaches are the same.
func (w *world) fill() {
	w.state = ledger.NewState(ledger.Limits{})
	for n := range uint64(crashEvents / 2) {
		if n%7 == 0 {
			w.fault(n + 1)
			continue
		}
		w.emit(received(n + 1))
		e := granted(n+1, 500)
		w.emit(e)
		w.grant(&e, 500)
	}
}

// TestGuardIsKilled is not a test of its own: it is the process that TestCrash kills.
func TestGuardIsKilled(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Log("runs as the victim of TestCrash only")
		return
	}
	w := newWorld(t, Config{SnapshotEvery: 30 * clock.Millisecond, AccountFreezes: 1 << 20})
	w.config.Dir, w.config.Limits = dir, guard.Limits{}
	w.fill()
	os.Stdout.WriteString("ready\n")
	w.start()
	<-context.Background().Done() // until the kill
}

// TestCrash kills the guard at random moments, and lets it finish at last: no alarm is lost, none is
// doubled, and every event has one verdict.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	const seed = 4
	rng := rand.New(rand.NewPCG(seed, 0))
	kills := 0
	for range 10 {
		victim := exec.Command(os.Args[0], "-test.run=^TestGuardIsKilled$")
		victim.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := victim.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		timer := time.NewTimer(time.Duration(20+rng.IntN(230)) * time.Millisecond)
		<-timer.C
		if err := victim.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := victim.Wait(); err == nil {
			t.Fatal("the victim ended before it was killed")
		}
		kills++
	}
	w := newWorld(t, Config{AccountFreezes: 1 << 20})
	w.config.Dir, w.config.Limits = dir, guard.Limits{}
	w.fill()
	w.open()
	found := w.checker().Position(guard.StreamOutbox)
	w.run()
	w.eventually("all events are checked", func() bool {
		s, err := w.guard.Status(context.Background())
		return err == nil && s.EventsChecked == crashEvents
	})
	w.verdictsOnce(crashEvents)
	want := map[ident.ID]bool{}
	for n := uint64(0); n < crashEvents/2; n += 7 {
		want[granted(n+1, 500).ID] = true
	}
	got, raised := w.alarmed(t)
	if !maps.Equal(want, got) {
		t.Errorf("seed %d: breaches of %d events, want %d", seed, len(got), len(want))
	}
	if raised != len(want) {
		t.Errorf("seed %d: the batches tell of %d alarms, want %d", seed, raised, len(want))
	}
	t.Logf("seed %d: %d kills; the last start took up at event %d of %d; %d breaches", seed, kills, found,
		crashEvents, len(got))
}

func (w *world) checker() *guard.Checker { return w.guard.checker }

// alarmed returns the events of all breaches, each once, and how many alarms the batches tell of.
func (w *world) alarmed(t *testing.T) (events map[ident.ID]bool, raised int) {
	t.Helper()
	events = map[ident.ID]bool{}
	batches, err := w.guard.Verdicts(context.Background(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var ids []ident.ID
	for _, b := range batches {
		var body struct {
			Alarms []struct{ Breach, Event ident.ID }
		}
		if err := json.Unmarshal(b.Body, &body); err != nil {
			t.Fatal(err)
		}
		for _, a := range body.Alarms {
			events[a.Event] = true
			ids = append(ids, a.Breach)
		}
	}
	for _, id := range ids {
		b, err := w.guard.Breach(context.Background(), id)
		if err != nil || b.State != client.Open || len(b.Stops) != 1 {
			t.Errorf("breach %s is stored as %s with %d stops: %v", id, b.State, len(b.Stops), err)
		}
	}
	slices.SortFunc(ids, func(a, b ident.ID) int {
		if a.Less(b) {
			return -1
		}
		return 1
	})
	if n := len(slices.Compact(slices.Clone(ids))); n != len(ids) {
		t.Errorf("%s alarms of %s breaches", strconv.Itoa(len(ids)), strconv.Itoa(n))
	}
	return events, len(ids)
}
