package tlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/evidence"
	"surety/evidence/client"
)

var _ client.Appender = (*Log)(nil)

func TestMain(m *testing.M) {
	RouteLibraryLog(slog.New(slog.DiscardHandler))
	if directory := os.Getenv(childDirectory); directory != "" {
		os.Exit(crashChild(directory))
	}
	os.Exit(m.Run())
}

var noon = clock.MustDate(2026, 3, 1).Instant().Add(12 * clock.Hour)

func options(directory string) Options {
	return Options{
		Directory: directory, Origin: "log.example/evidence",
		BatchAge: clock.Millisecond, CheckpointInterval: 100 * clock.Millisecond,
	}
}

// open opens a log that the test closes, or that is closed when it ends.
func open(t testing.TB, directory string) *Log {
	t.Helper()
	l, err := Open(context.Background(), options(directory))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func closed(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func loan(n uint64) ident.ID { return ident.ID{Hi: 11, Lo: n} }

func trace(n uint64) ident.ID { return ident.ID{Hi: 12, Lo: n} }

// entry returns the entry number seq of a source; entries of ten numbers share a loan and a trace.
func entry(source string, seq uint64) evidence.Entry {
	return evidence.Entry{
		Source: source, SourceSeq: seq, Part: "lending", Kind: "loan.repaid",
		Subjects: []ident.ID{loan(seq / 10), {Hi: 13, Lo: seq}}, Trace: trace(seq / 10),
		At: noon.Add(clock.Duration(seq)), Payload: fmt.Appendf(nil, `{"source":%q,"n":%d}`, source, seq),
	}
}

func entries(source string, first, last uint64) (all []evidence.Entry) {
	for seq := first; seq <= last; seq++ {
		all = append(all, entry(source, seq))
	}
	return all
}

func add(t testing.TB, l *Log, entries ...evidence.Entry) {
	t.Helper()
	if err := l.Append(context.Background(), entries...); err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, err error, kind errs.Kind, fragment string) {
	t.Helper()
	if !errs.Is(err, kind) || !strings.Contains(err.Error(), fragment) {
		t.Fatalf("got %v (%v), want kind %v and %q in the text", err, errs.KindOf(err), kind, fragment)
	}
}

// verify audits the directory and returns what was found.
func verify(t testing.TB, directory string) Audit {
	t.Helper()
	key, err := ReadKey(directory)
	if err != nil {
		t.Fatal(err)
	}
	audit, err := Verify(context.Background(), directory, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return audit
}

func TestWhatIsAppendedIsFoundAndProved(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "new", "evidence")
	l := open(t, directory)
	ctx := context.Background()
	add(t, l, entries("lending.outbox", 1, 600)...)
	add(t, l, entries("guard.verdicts", 1, 25)...)
	if l.Size() != 625 {
		t.Fatalf("got size %d", l.Size())
	}
	for range 2 { // the second time after a restart
		found, err := l.Lookup(ctx, loan(2), 0, 0)
		if err != nil || len(found) != 16 {
			t.Fatalf("got %d records, %v, want 10 repayments and 6 verdicts", len(found), err)
		}
		checkpoint, err := l.CheckpointOf(ctx, l.Size())
		if err != nil {
			t.Fatal(err)
		}
		prover, err := l.Prover(ctx, checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		for _, leaf := range found {
			want := entry(leaf.Record.Source, leaf.Record.SourceSeq)
			payload, err := l.Payload(ctx, leaf)
			if err != nil || string(payload) != string(want.Payload) {
				t.Errorf("record %d: payload %q, %v", leaf.Index, payload, err)
			}
			if _, err := prover.Inclusion(ctx, leaf); err != nil {
				t.Error(err)
			}
		}
		byTrace, err := l.Lookup(ctx, trace(2), 0, 0)
		if err != nil || len(byTrace) != 16 {
			t.Fatalf("by trace: %d records, %v", len(byTrace), err)
		}
		one, err := l.Find(ctx, "guard.verdicts", 25)
		if err != nil || one.Record.SourceSeq != 25 || one.Index != 624 {
			t.Fatalf("got %+v, %v", one, err)
		}
		last, err := l.LastSeq("lending.outbox")
		if err != nil || last != 600 {
			t.Fatalf("got last %d, %v", last, err)
		}
		closed(t, l)
		audit := verify(t, directory)
		if audit.Checkpoint.Size != 625 || audit.Payloads != 625 || audit.Sources != 2 {
			t.Errorf("got %+v", audit)
		}
		l = open(t, directory)
	}
}

func TestLookupPages(t *testing.T) {
	l := open(t, t.TempDir())
	add(t, l, entries("s", 1, 19)...)
	var got []uint64
	for first := uint64(0); ; {
		page, err := l.Lookup(context.Background(), loan(1), first, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, leaf := range page {
			got = append(got, leaf.Record.SourceSeq)
			first = leaf.Index + 1
		}
		if len(page) < 4 {
			break
		}
	}
	if want := "[10 11 12 13 14 15 16 17 18 19]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	none, err := l.Lookup(context.Background(), ident.ID{Lo: 1}, 0, 0)
	if err != nil || len(none) != 0 {
		t.Errorf("got %d records of nobody, %v", len(none), err)
	}
}

func TestRepeatedEntriesArePassedOver(t *testing.T) {
	directory := t.TempDir()
	l := open(t, directory)
	add(t, l, entries("s", 1, 10)...)
	add(t, l, entries("s", 1, 10)...)
	add(t, l, entries("s", 5, 15)...)
	add(t, l, entry("s", 16), entry("s", 16), entry("s", 3), entry("s", 17))
	closed(t, l)
	l = open(t, directory)
	add(t, l, entries("s", 15, 20)...)
	if l.Size() != 20 {
		t.Errorf("got %d records, want 20", l.Size())
	}
	closed(t, l)
	verify(t, directory)
}

// The refusals of Append, in the order they are found; none leaves anything behind.
func TestAppendRefusals(t *testing.T) {
	l := open(t, t.TempDir())
	ctx := context.Background()
	add(t, l, entries("s", 1, 3)...)

	bad := entry("s", 9)
	bad.Kind, bad.Payload = "", make([]byte, evidence.MaxPayload+1)
	wantKind(t, l.Append(ctx, entry("s", 4), bad), errs.Invalid, "kind has 0 characters")
	bad.Kind = "k"
	wantKind(t, l.Append(ctx, entry("s", 4), bad), errs.TooLarge, "the limit is 262144")
	bad.Payload = nil
	wantKind(t, l.Append(ctx, entry("s", 4), bad), errs.Invalid,
		"source s: number 9 after 4 leaves a gap")
	wantKind(t, l.Append(ctx, entry("new", 2)), errs.Invalid, "source new: number 2 after 0")
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := l.Append(canceled, entry("s", 4)); err != nil && !errs.Is(err, errs.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := l.Append(ctx); err != nil {
		t.Errorf("nothing: %v", err)
	}
	closed(t, l)
	wantKind(t, l.Append(ctx, entry("s", 5)), errs.Unavailable, "closed")
}

// A batch of several callers, one of whom leaves a gap: the others are not disturbed.
func TestGapIsRefusedAlone(t *testing.T) {
	l := open(t, t.TempDir())
	requests := []*request{}
	for _, list := range [][]evidence.Entry{
		entries("a", 1, 3), entries("b", 2, 3), entries("a", 4, 6), entries("b", 1, 2),
	} {
		items, err := prepare(list)
		if err != nil {
			t.Fatal(err)
		}
		requests = append(requests, &request{items: items, done: make(chan struct{})})
	}
	l.queue.stop() // the append goroutine ends, and this one takes its place
	<-l.queue.stopped
	l.process(requests)
	for i, r := range requests {
		if (r.err != nil) != (i == 1) {
			t.Errorf("request %d: %v", i, r.err)
		}
	}
	wantKind(t, requests[1].err, errs.Invalid, "source b: number 2 after 0")
	if l.Size() != 8 || l.positions["a"].last != 6 || l.positions["b"].last != 2 {
		t.Errorf("got size %d and %+v", l.Size(), l.positions)
	}
}

func TestTooManySources(t *testing.T) {
	settled := map[string]position{}
	for i := range MaxSources - 1 {
		settled[fmt.Sprint("s", i)] = position{last: 1}
	}
	plan := newDraft(settled)
	items := func(sources ...string) (items []*item) {
		for _, source := range sources {
			items = append(items, &item{record: evidence.Record{Source: source, SourceSeq: 1}})
		}
		return items
	}
	_, err := plan.admit(items("new", "newer"))
	wantKind(t, err, errs.TooLarge, "4097 sources, the limit is 4096")
	if _, err := plan.admit(items("new")); err != nil {
		t.Fatal(err)
	}
	_, err = plan.admit(items("newer"))
	wantKind(t, err, errs.TooLarge, "4097 sources")
	if _, err := plan.admit(items("new", "s1")); err != nil {
		t.Fatal(err)
	}
}

// A source whose numbers came to the log out of order, as after a crash between two parts of a
// batch, fills its gap and goes on.
func TestPositionsFillGaps(t *testing.T) {
	var p position
	for _, seq := range []uint64{1, 2, 5, 4, 7} {
		var fresh bool
		if p, fresh = p.note(seq); !fresh {
			t.Fatalf("%d is not new", seq)
		}
	}
	if _, fresh := p.note(5); fresh {
		t.Error("5 is new a second time")
	}
	if p.last != 2 || len(p.beyond) != 3 {
		t.Fatalf("got %+v", p)
	}
	plan := newDraft(map[string]position{"s": p})
	var items []*item
	for seq := uint64(2); seq <= 8; seq++ {
		items = append(items, &item{record: evidence.Record{Source: "s", SourceSeq: seq}})
	}
	fresh, err := plan.admit(items)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, it := range fresh {
		got = append(got, it.record.SourceSeq)
	}
	if fmt.Sprint(got) != "[3 6 8]" || plan.changed["s"].last != 8 {
		t.Errorf("admitted %v, position %+v", got, plan.changed["s"])
	}
	if after := plan.changed["s"].trim(); len(after.beyond) != 0 {
		t.Errorf("kept %v", after.beyond)
	}
}

func TestConcurrentCallersShareBatches(t *testing.T) {
	directory := t.TempDir()
	l := open(t, directory)
	var wg sync.WaitGroup
	for caller := range 8 {
		source := fmt.Sprint("source", caller)
		wg.Go(func() {
			for first := uint64(1); first < 200; first += 20 {
				if err := l.Append(context.Background(), entries(source, first, first+19)...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if l.Size() != 1600 {
		t.Fatalf("got %d records", l.Size())
	}
	closed(t, l)
	if audit := verify(t, directory); audit.Sources != 8 {
		t.Errorf("got %+v", audit)
	}
}

// Readers beside the writer see whole batches: what they find is there, in order and provable.
func TestReadersBesideTheWriter(t *testing.T) {
	l := open(t, t.TempDir())
	ctx := context.Background()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for last := 0; ; {
				found, err := l.Lookup(ctx, ident.ID{Hi: 14, Lo: 1}, 0, 0)
				if err != nil || len(found) < last {
					t.Errorf("got %d records after %d, %v", len(found), last, err)
					return
				}
				last = len(found)
				if _, err := l.Find(ctx, "s", l.Size()+1); err != nil && !errs.Is(err, errs.NotFound) {
					t.Error(err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for first := uint64(1); first < 1500; first += 50 {
		batch := entries("s", first, first+49)
		for i := range batch {
			batch[i].Subjects = append(batch[i].Subjects, ident.ID{Hi: 14, Lo: 1})
		}
		add(t, l, batch...)
		if first%500 == 1 {
			if _, err := l.Export(ctx, Query{First: first - 1}); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}

// One call of more than a batch, by count and by bytes.
func TestLargeAppend(t *testing.T) {
	directory := t.TempDir()
	l := open(t, directory)
	add(t, l, entries("s", 1, 2*MaxBatch+10)...)
	var big []evidence.Entry
	for seq := uint64(1); seq <= 40; seq++ {
		e := entry("big", seq)
		e.Payload = make([]byte, evidence.MaxPayload)
		e.Payload[0] = byte(seq)
		big = append(big, e)
	}
	add(t, l, big...)
	if l.Size() != 2*MaxBatch+50 {
		t.Fatalf("got %d records", l.Size())
	}
	closed(t, l)
	verify(t, directory)
}

func TestEmptyPayloads(t *testing.T) {
	directory := t.TempDir()
	l := open(t, directory)
	batch := entries("s", 1, 300)
	for i := range batch {
		if batch[i].SourceSeq%3 == 0 {
			batch[i].Payload = nil
		}
	}
	add(t, l, batch...)
	leaf, err := l.Find(context.Background(), "s", 3)
	if err != nil {
		t.Fatal(err)
	}
	if payload, err := l.Payload(context.Background(), leaf); err != nil || len(payload) != 0 {
		t.Errorf("got %q, %v", payload, err)
	}
	closed(t, l)
	if audit := verify(t, directory); audit.Payloads != 200 {
		t.Errorf("got %+v", audit)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	directory := t.TempDir()
	open(t, directory)
	_, err := Open(context.Background(), options(directory))
	wantKind(t, err, errs.Locked, "tlog.open")
}

func TestVerifyBesideTheWriter(t *testing.T) {
	directory := t.TempDir()
	l := open(t, directory)
	for seq := uint64(1); seq <= 400; seq += 100 {
		add(t, l, entries("s", seq, seq+99)...)
		if _, err := l.CheckpointOf(context.Background(), l.Size()); err != nil {
			t.Fatal(err)
		}
		if audit := verify(t, directory); audit.Checkpoint.Size != seq+99 {
			t.Errorf("got %+v", audit)
		}
	}
}

func TestOrigin(t *testing.T) {
	directory := t.TempDir()
	l := open(t, directory)
	if l.Key().Origin() != "log.example/evidence" {
		t.Errorf("got origin %q", l.Key().Origin())
	}
	closed(t, l)
	o := options(directory)
	o.Origin = "other.example"
	_, err := Open(context.Background(), o)
	wantKind(t, err, errs.Invalid, `the log is "log.example/evidence", not "other.example"`)
	o.Origin = ""
	l, err = Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	o.Directory, o.Origin = t.TempDir(), "with space"
	_, err = Open(context.Background(), o)
	wantKind(t, err, errs.Invalid, "with space")
	o.Directory, o.Origin = t.TempDir(), ""
	l, err = Open(context.Background(), o)
	if err != nil || l.Key().Origin() != DefaultOrigin {
		t.Fatalf("got %v", err)
	}
	closed(t, l)
}

func TestKeyFiles(t *testing.T) {
	directory := t.TempDir()
	l := open(t, directory)
	add(t, l, entries("s", 1, 5)...)
	closed(t, l)
	path := filepath.Join(directory, keyFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte, mode os.FileMode) {
		t.Helper()
		name = filepath.Join(directory, name)
		if err := errors.Join(os.WriteFile(name, text, mode), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(kind errs.Kind, fragment string) {
		t.Helper()
		_, err := Open(context.Background(), options(directory))
		wantKind(t, err, kind, fragment)
		if strings.Contains(err.Error(), string(good[len(good)-20:len(good)-1])) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
	write(keyFile, good, 0o644)
	refused(errs.Forbidden, "mode 0644, want 0600")
	write(keyFile, good[:len(good)-9], 0o600)
	refused(errs.Corrupt, "not a signer's key")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refused(errs.NotFound, "log.key is missing")
	write(keyFile, good, 0o600)

	other := open(t, t.TempDir())
	write(publicFile, []byte(other.Key().String()), 0o600)
	refused(errs.Corrupt, "log.pub does not belong to log.key")
	if got := fmt.Sprintf("%v %+v %#v %s %x", other.signer, other.signer, other.signer, other.signer,
		other.signer); strings.Trim(strings.ReplaceAll(got, redacted, ""), " ") != "" {
		t.Errorf("the key shows in %s", got)
	}
}

// files returns the paths of all files below the directory, relative to it.
func files(t testing.TB, directory string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(directory, path)
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
