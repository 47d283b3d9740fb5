package store

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/guard"
	"surety/guard/client"
	"surety/ledger"
	"surety/sys/vfs"
)

func open(t *testing.T, dir string, files vfs.FS) *Store {
	t.Helper()
	s, err := Open(context.Background(), dir, files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func id(n uint64) ident.ID { return ident.ID{Lo: n, Hi: 7} }

// alarm is a breach with one stop.
func alarmOf(n uint64) (Alarm, Planned) {
	b := &guard.Breach{ID: id(n), Rule: guard.PostingAmount, Class: 301, Event: id(100 + n),
		Loan: id(200 + n), Ledger: 156, AtRisk: money.Minor(n),
		Expected: guard.Record{{Name: "amount", Value: "1"}}, Found: guard.Record{{Name: "amount", Value: "2"}},
		FirstSeen: 10, DecidableAt: 20, DetectedAt: 30}
	f := ledger.Freeze{ID: id(300 + n), UserData128: b.ID, AccountID: id(400 + n), Actor: id(1),
		ExpiresAt: 999, Reason: 301, Scope: ledger.FreezeAccount, Sides: ledger.FreezeBoth}
	return Alarm{Breach: b, Body: []byte(`{"kind":"x"}`)},
		Planned{Freeze: f, Number: 1, Text: "account", Outcome: client.StopPlanned}
}

func TestRecordIsExactlyOnce(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s := open(t, dir, nil)
	a, p := alarmOf(1)
	b := &Batch{At: 50, Through: 40, FromEvent: 1, ToEvent: 5, FromPosting: 1, ToPosting: 9,
		Checked: []Pair{{id(11), id(12)}, {id(11), id(13)}}, Failed: []Pair{{id(14), id(15)}},
		Alarms: []Alarm{a}, Stops: []Planned{p}}
	for range 2 { // the same breach again is the same breach
		if err := s.Record(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.Breaches(ctx, client.Filter{})
	if err != nil || len(list) != 1 || len(list[0].Stops) != 1 {
		t.Fatalf("%d breaches, want 1 with a stop: %v", len(list), err)
	}
	got := list[0]
	if got.Class != "3.1" || got.Rule != "posting_amount" || got.Currency != "CNY" ||
		got.EventBody != `{"kind":"x"}` || got.Expected != `{"amount":"1"}` || len(got.Differing) != 1 ||
		got.DecidableAt != 20 || got.AtRisk != money.Minor(1) {
		t.Errorf("breach reads back as %+v", got)
	}
	batches, err := s.Verdicts(ctx, 0, 10)
	if err != nil || len(batches) != 2 || batches[1].Seq != 2 {
		t.Fatalf("%d batches, want 2: %v", len(batches), err)
	}
	var text struct {
		Events, Breaches int
		Checked          [][2]ident.ID
	}
	if err := json.Unmarshal(batches[0].Body, &text); err != nil || text.Events != 3 ||
		text.Breaches != 1 || text.Checked[1] != [2]ident.ID{id(11), id(13)} {
		t.Errorf("batch %s: %v", batches[0].Body, err)
	}
	if len(batches[0].Subjects) != 3 { // two of events and the breach's
		t.Errorf("subjects are %v, want 3", batches[0].Subjects)
	}
	settled, err := s.Settled(ctx, 0)
	if err != nil || len(settled) != 3 {
		t.Errorf("%d events are settled, want 3: %v", len(settled), err)
	}
	if settled, err = s.Settled(ctx, 2); err != nil || len(settled) != 0 {
		t.Errorf("%d events are settled after the last batch: %v", len(settled), err)
	}
	if known, err := s.Known(ctx, id(1)); err != nil || !known {
		t.Errorf("the breach is known: %v, %v", known, err)
	}
}

func TestLargeBatchesAreDivided(t *testing.T) {
	ctx, s := context.Background(), open(t, t.TempDir(), nil)
	b := &Batch{At: 1}
	for n := range uint64(2*verdictsMax + 5) {
		b.Checked = append(b.Checked, Pair{id(n), id(n)})
	}
	for n := range uint64(verdictsMax) {
		b.Failed = append(b.Failed, Pair{id(n), id(1<<20 + n)})
	}
	a, _ := alarmOf(1)
	b.Alarms = []Alarm{a}
	if err := s.Record(ctx, b); err != nil {
		t.Fatal(err)
	}
	batches, err := s.Verdicts(ctx, 0, 10)
	if err != nil || len(batches) != 4 || s.LastBatch() != 4 {
		t.Fatalf("%d batches and the last is %d, want 4: %v", len(batches), s.LastBatch(), err)
	}
	total := 0
	for i, stored := range batches {
		var text struct{ Seq, Events, Breaches int }
		if err := json.Unmarshal(stored.Body, &text); err != nil {
			t.Fatal(err)
		}
		if text.Seq != i+1 || text.Events+text.Breaches > verdictsMax {
			t.Errorf("batch %d is numbered %d and has %d verdicts", i+1, text.Seq, text.Events)
		}
		total += text.Events + text.Breaches
	}
	if total != 3*verdictsMax+6 {
		t.Errorf("%d verdicts are stored, want %d", total, 3*verdictsMax+6)
	}
}

func TestWatermarkWithoutVerdicts(t *testing.T) {
	ctx, s := context.Background(), open(t, t.TempDir(), nil)
	if at, err := s.Through(ctx); err != nil || at != 0 {
		t.Errorf("a new store is through %d: %v", at, err)
	}
	if err := s.Record(ctx, &Batch{Through: 77}); err != nil {
		t.Fatal(err)
	}
	if at, err := s.Through(ctx); err != nil || at != 77 || s.LastBatch() != 0 {
		t.Errorf("through %d in batch %d, want 77 in none: %v", at, s.LastBatch(), err)
	}
}

func TestBreachesAreFiltered(t *testing.T) {
	ctx, s := context.Background(), open(t, t.TempDir(), nil)
	for n := range uint64(5) {
		a, _ := alarmOf(n + 1)
		if err := s.Record(ctx, &Batch{Alarms: []Alarm{a}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Resolve(ctx, client.Resolution{Breach: id(2), State: client.False, Note: "n"}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		f    client.Filter
		want []ident.ID
	}{
		{client.Filter{}, []ident.ID{id(5), id(4), id(3), id(2), id(1)}},
		{client.Filter{Limit: 2}, []ident.ID{id(5), id(4)}},
		{client.Filter{State: client.False}, []ident.ID{id(2)}},
		{client.Filter{State: client.Open, Limit: 1}, []ident.ID{id(5)}},
		{client.Filter{Subject: id(203)}, []ident.ID{id(3)}},
		{client.Filter{Subject: id(104)}, []ident.ID{id(4)}},
		{client.Filter{Subject: id(999)}, nil},
	} {
		list, err := s.Breaches(ctx, row.f)
		if err != nil || len(list) != len(row.want) {
			t.Errorf("%+v: %d breaches, want %d: %v", row.f, len(list), len(row.want), err)
			continue
		}
		for i := range list {
			if list[i].ID != row.want[i] {
				t.Errorf("%+v: breach %d is %s, want %s", row.f, i, list[i].ID, row.want[i])
			}
		}
	}
	tally, err := s.Tally(ctx)
	if err != nil || tally.Open != 4 || tally.Total != 5 || tally.ByRule[guard.PostingAmount] != 4 {
		t.Errorf("tally is %+v: %v", tally, err)
	}
	if _, err := s.Breach(ctx, id(9)); !errs.Is(err, errs.NotFound) {
		t.Errorf("a breach that is not there: %v, want kind not_found", err)
	}
}

func TestStopsLive(t *testing.T) {
	ctx, s := context.Background(), open(t, t.TempDir(), nil)
	a, p := alarmOf(1)
	if err := s.Record(ctx, &Batch{Alarms: []Alarm{a}, Stops: []Planned{p}}); err != nil {
		t.Fatal(err)
	}
	unfinished, err := s.Unfinished(ctx)
	if err != nil || len(unfinished) != 1 || unfinished[0] != p.Freeze {
		t.Fatalf("unfinished stops are %+v: %v", unfinished, err)
	}
	freeze := p.Freeze.ID
	if err := s.RequestRelease(ctx, freeze, id(1), "r", 60); !errs.Is(err, errs.Refused) {
		t.Errorf("the release of a stop not in force: %v, want kind refused", err)
	}
	for _, step := range []func() error{
		func() error { return s.FinishStops(ctx, []Finished{{freeze, client.StopInForce, ""}}, 55) },
		func() error { // no effect
			return s.FinishStops(ctx, []Finished{{freeze, client.StopRefused, "late"}}, 56)
		},
		func() error { return s.RequestRelease(ctx, freeze, id(1), "mended", 60) },
		func() error { return s.Approve(ctx, freeze, id(2), 70) },
		func() error { return s.EndStop(ctx, freeze, client.StopExpired, 80) }, // ended already
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Stop(ctx, freeze)
	if err != nil || got.Outcome != client.StopReleased || got.TakenAt != 55 || got.EndedAt != 70 ||
		got.RequestedBy != id(1) || got.ApprovedBy != id(2) || got.Reason != "mended" {
		t.Errorf("the stop is %+v: %v", got, err)
	}
	if unfinished, err = s.Unfinished(ctx); err != nil || len(unfinished) != 0 {
		t.Errorf("unfinished stops are %+v: %v", unfinished, err)
	}
	if _, err := s.Stop(ctx, id(9)); !errs.Is(err, errs.NotFound) {
		t.Errorf("a stop that is not there: %v, want kind not_found", err)
	}
}

func save(s *Store, text string) error {
	return s.SaveSnapshot(func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

func load(s *Store) (text string, batch uint64, err error) {
	err = s.LoadSnapshot(func(r io.Reader, last uint64) error {
		batch = last
		data, err := io.ReadAll(r)
		text = string(data)
		return err
	})
	return text, batch, err
}

func TestSnapshotSurvivesFailures(t *testing.T) {
	files := vfs.NewMemory()
	dir := t.TempDir()
	if err := files.MakeDir(dir); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, files)
	if _, _, err := load(s); !errs.Is(err, errs.NotFound) {
		t.Errorf("no snapshot: %v, want kind not_found", err)
	}
	if err := save(s, "first"); err != nil {
		t.Fatal(err)
	}
	broken := errs.New(errs.Internal, "broken")
	if err := s.SaveSnapshot(func(io.Writer) error { return broken }); !errs.Is(err, errs.Internal) {
		t.Errorf("a snapshot that cannot be written: %v", err)
	}
	if text, _, err := load(s); err != nil || text != "first" {
		t.Errorf("after a failure the snapshot is %q: %v", text, err)
	}
	files.SetCapacity(64)
	if err := save(s, string(bytes.Repeat([]byte("x"), 4096))); !errs.Is(err, errs.NoSpace) {
		t.Errorf("a full disk: %v, want kind no_space", err)
	}
	files.SetCapacity(0)
	files.Crash(1)
	if text, _, err := load(s); err != nil || text != "first" {
		t.Errorf("after a power cut the snapshot is %q: %v", text, err)
	}
	a, _ := alarmOf(1)
	if err := s.Record(context.Background(), &Batch{Alarms: []Alarm{a}}); err != nil {
		t.Fatal(err)
	}
	if err := save(s, "second"); err != nil {
		t.Fatal(err)
	}
	files.Crash(2)
	if text, batch, err := load(s); err != nil || text != "second" || batch != 1 {
		t.Errorf("the snapshot is %q of batch %d, want the second of batch 1: %v", text, batch, err)
	}
}

func TestOneGuardOneDirectory(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, nil)
	if _, err := Open(context.Background(), dir, nil); !errs.Is(err, errs.Locked) {
		t.Errorf("a second opening: %v, want kind locked", err)
	}
}

func TestRecordRefusesWhenClosed(t *testing.T) {
	s, err := Open(context.Background(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	a, _ := alarmOf(1)
	if err := s.Record(context.Background(), &Batch{Alarms: []Alarm{a}}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a closed store: %v, want kind unavailable", err)
	}
	if s.LastBatch() != 0 {
		t.Error("a batch that was not recorded is counted")
	}
}
