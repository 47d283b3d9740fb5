package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

const patient = time.Minute

// start is when tests begin; their clocks stand still unless moved.
const start = clock.Instant(1_800_000_000_000_000_000)

// book is a sandbox as its trail sees it: a ring with a producer, a writer and a clock.
type book struct {
	t     testing.TB
	dir   string
	path  string // of the ring
	ring  *ring.Ring
	in    *ring.Producer
	out   *ring.Consumer
	time  *wallclock.Manual
	conf  Config
	w     *Writer
	wrote uint64 // inside records
}

func testKey(seed uint64) SigningKey { return NewKey(entropy.Seeded(seed)) }

func newBook(t testing.TB, change func(*Config)) *book {
	t.Helper()
	b := &book{t: t, dir: filepath.Join(t.TempDir(), "trail"), path: filepath.Join(t.TempDir(), "ring"),
		time: wallclock.NewManual(start)}
	b.conf = Config{Dir: b.dir, Sandbox: "box", Key: testKey(1), Clock: b.time}
	if change != nil {
		change(&b.conf)
	}
	var err error
	if b.ring, err = ring.Create(b.path, ring.MinSize); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.ring.Close(); err != nil {
			t.Error(err)
		}
	})
	b.in, b.out = ring.NewProducer(b.ring, patient), ring.NewConsumer(b.ring)
	if b.w, err = Create(b.conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.w.Close() }) // most tests end it themselves
	return b
}

func birthRecord(id string, key PublicKey) *sandbox.Record {
	text, err := sandbox.Birth{Sandbox: id, Class: "sentry", Mode: "enforce", Key: key.String()}.Encode()
	if err != nil {
		panic(err)
	}
	return &sandbox.Record{Kind: sandbox.KindBirth, At: start, Text: text}
}

func sample(n uint64) *sandbox.Record {
	rec := &sandbox.Record{Kind: sandbox.KindOpen, At: start.Add(clock.Duration(n)), Process: 7,
		Path: fmt.Sprintf("/srv/file-%d", n), Access: sandbox.Read, Verdict: sandbox.Allowed}
	if n%10 == 0 {
		rec.Verdict, rec.Errno = sandbox.Refused, 13
	}
	return rec
}

// inside puts n records into the ring, the first of them the birth.
func (b *book) inside(n int) {
	b.t.Helper()
	for range n {
		b.wrote++
		rec := sample(b.wrote)
		if b.wrote == 1 {
			rec = birthRecord(b.conf.Sandbox, b.conf.Key.Public())
		}
		if err := b.in.Write(rec); err != nil {
			b.t.Fatal(err)
		}
	}
}

// drain moves what the ring holds into the trail.
func (b *book) drain() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return b.w.Drain(ctx, b.out)
}

// write is n inside records, stored, and the clock moved past a seal.
func (b *book) write(n int) {
	b.t.Helper()
	b.inside(n)
	if err := b.drain(); err != nil {
		b.t.Fatal(err)
	}
	b.time.Advance(clock.Duration(2 * time.Second))
}

func (b *book) finish() {
	b.t.Helper()
	if err := b.w.Finish("the program ended", 3); err != nil {
		b.t.Fatal(err)
	}
}

// verify checks the trail in memory or on disk.
func (b *book) verify(c Check) Report {
	b.t.Helper()
	return verifyIn(b.t, b.conf, c)
}

func verifyIn(t testing.TB, conf Config, c Check) Report {
	t.Helper()
	fs := conf.FS
	if fs == nil {
		fs = vfs.OS{}
	}
	v := newVerifier(directory{fs, conf.Dir}, c)
	if err := v.run(); err != nil {
		t.Fatal(err)
	}
	v.conclude(func() bool { return false })
	if err := v.scan.close(); err != nil {
		t.Fatal(err)
	}
	return v.report
}

func (b *book) sound(c Check) Report {
	b.t.Helper()
	report := b.verify(c)
	for _, f := range report.Faults {
		b.t.Errorf("fault: %v", f)
	}
	return report
}

// readAll returns the records of a trail.
func readAll(t testing.TB, path string) []sandbox.Record {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []sandbox.Record
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, *rec)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestATrailIsWrittenReadAndProven(t *testing.T) {
	b := newBook(t, func(c *Config) { c.SegmentBytes = 64 << 10 })
	b.write(1)
	birth, err := b.w.Birth(t.Context())
	if err != nil || birth.Mode != "enforce" {
		t.Fatalf("birth %+v, %v", birth, err)
	}
	if err := b.w.Outside(sandbox.Record{Kind: sandbox.KindSession, Path: "/bin/sh"}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		b.write(300)
	}
	b.inside(5)
	if err := b.w.Outside(sandbox.Record{Kind: sandbox.KindPause}); err != nil {
		t.Fatal(err)
	}
	b.finish()

	report, err := Verify(b.dir, Check{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Records != 3006 || report.Outside != 3 || !report.Ended || report.KeyFrom != KeyBirth ||
		report.Reason != "the program ended" || report.Status != 3 || report.Segments < 3 ||
		report.Refused != 300 || report.Head.Seq != 3006 || report.Torn != 0 || report.Running {
		t.Fatalf("report %+v", report)
	}
	head, err := HeadOf(b.dir)
	if err != nil || head != report.Head {
		t.Fatalf("head %+v, %v; report has %+v", head, err, report.Head)
	}
	if err := os.Remove(filepath.Join(b.dir, headName)); err != nil {
		t.Fatal(err)
	}
	if again, err := HeadOf(b.dir); err != nil || again != head {
		t.Fatalf("head without its hint: %+v, %v", again, err)
	}

	inside, outside := uint64(0), uint64(0)
	all := readAll(t, b.dir)
	for i := range all {
		rec := &all[i]
		if rec.Outside {
			if outside++; rec.Seq != outside {
				t.Fatalf("outside record %d is %d", outside, rec.Seq)
			}
			continue
		}
		if inside++; rec.Seq != inside || inside > 1 && rec.Path != sample(inside).Path {
			t.Fatalf("record %d is %+v", inside, rec)
		}
	}
	if last := all[len(all)-1]; last.Kind != sandbox.KindFinal || last.Text != "the program ended" {
		t.Fatalf("last record %+v", last)
	}

	var bundle bytes.Buffer
	if err := Export(b.dir, &bundle); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bundle.tar")
	if err := os.WriteFile(path, bundle.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	from, err := Verify(path, Check{Key: b.conf.Key.Public(), Anchors: []Head{head}})
	if err != nil || from.Head != head || from.Anchored != 1 || from.KeyFrom != KeyGiven {
		t.Fatalf("bundle %+v, %v", from, err)
	}
	if n := len(readAll(t, path)); n != len(all) {
		t.Fatalf("%d records in the bundle, %d in the directory", n, len(all))
	}
}

func TestFollowSeesAllAndEnds(t *testing.T) {
	b := newBook(t, func(c *Config) { c.SegmentBytes = 1 << 10 })
	b.write(10)
	r, err := Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	seen := make(chan uint64)
	done := make(chan error)
	go func() {
		for {
			rec, err := r.Follow(context.Background())
			if err != nil {
				done <- err
				return
			}
			if !rec.Outside {
				seen <- rec.Seq
			}
		}
	}()
	for n := uint64(1); n <= 30; n++ {
		if n > 10 {
			b.write(1)
		}
		if got := <-seen; got != n {
			t.Fatalf("saw record %d, want %d", got, n)
		}
	}
	b.finish()
	if err := <-done; err != io.EOF {
		t.Fatal(err)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	b := newBook(t, nil)
	b.write(1)
	r, err := Open(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := r.Follow(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := r.Follow(ctx); !errs.Is(err, errs.Canceled) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestExportOfARunningTrail: the bundle ends with the last seal, and says that it is not the end.
func TestExportOfARunningTrail(t *testing.T) {
	b := newBook(t, func(c *Config) { c.SegmentBytes = 4 << 10 })
	if err := Export(b.dir, io.Discard); !errs.Is(err, errs.NotFound) {
		t.Fatalf("before the first seal: %v", err)
	}
	for range 5 {
		b.write(20)
	}
	b.inside(3)
	if err := b.drain(); err != nil { // too soon for a seal
		t.Fatal(err)
	}
	report, err := Verify(b.dir, Check{})
	if err != nil || !report.Running || report.Ended || report.Unsealed == 0 {
		t.Fatalf("while it is written: %+v, %v", report, err)
	}
	path := filepath.Join(t.TempDir(), "bundle.tar")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Export(b.dir, file), file.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(path, Check{}); !errs.Is(err, errs.Corrupt) {
		t.Fatalf("taken for whole: %v", err)
	}
	report, err = Verify(path, Check{Running: true})
	if err != nil || report.Records == 0 || report.Unsealed != 0 {
		t.Fatalf("bundle: %+v, %v", report, err)
	}
}
