package trail

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sys/vfs"
)

func TestCreateRefuses(t *testing.T) {
	b := newBook(t, nil)
	for _, test := range []struct {
		name   string
		change func(*Config)
		kind   errs.Kind
	}{
		{"no directory", func(c *Config) { c.Dir = "" }, errs.Invalid},
		{"no sandbox", func(c *Config) { c.Sandbox = "" }, errs.Invalid},
		{"long id", func(c *Config) { c.Sandbox = strings.Repeat("x", MaxSandbox+1) }, errs.Invalid},
		{"no key", func(c *Config) { c.Key = SigningKey{} }, errs.Invalid},
		{"held", func(*Config) {}, errs.Locked},
	} {
		conf := b.conf
		test.change(&conf)
		if _, err := Create(conf); !errs.Is(err, test.kind) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	b.finish()
	if _, err := Create(b.conf); !errs.Is(err, errs.Exists) {
		t.Errorf("a second trail: %v", err)
	}
}

// TestDrainRefuses gives a writer records that are not the next of its sandbox: none is stored, the
// ring is closed to its producer, and the final record says why.
func TestDrainRefuses(t *testing.T) {
	key := testKey(1).Public()
	for name, test := range map[string]struct {
		first *sandbox.Record
		want  string
	}{
		"no birth":        {sample(1), "is of kind open and not a birth"},
		"no content":      {&sandbox.Record{Kind: sandbox.KindBirth, Text: "{}x"}, "record 1"},
		"another sandbox": {birthRecord("other", key), `is of sandbox "other"`},
		"another key":     {birthRecord("box", testKey(2).Public()), "this is"},
		"a final":         {&sandbox.Record{Kind: sandbox.KindFinal}, "says it is the host's"},
		"of the host":     {&sandbox.Record{Kind: sandbox.KindOpen, Outside: true}, "says it is the host's"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, nil)
			if err := b.in.Write(test.first); err != nil {
				t.Fatal(err)
			}
			if err := b.drain(); !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v", err)
			}
			if err := b.in.Write(sample(2)); !errs.Is(err, errs.Unavailable) {
				t.Fatalf("the producer may go on: %v", err)
			}
			if _, err := b.w.Birth(t.Context()); !errs.Is(err, errs.Unavailable) {
				t.Fatalf("birth: %v", err)
			}
			b.finish()
			if r := b.sound(Check{}); r.Records != 0 || !strings.Contains(r.Reason, test.want) {
				t.Fatalf("report %+v", r)
			}
		})
	}
}

// TestABrokenChainIsNotStored damages frames in the ring, as a kernel that was taken over might.
func TestABrokenChainIsNotStored(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(frame []byte)
		want   string
	}{
		"changed":  {func(f []byte) { f[60] ^= 1 }, "record 3 does not continue the chain"},
		"head":     {func(f []byte) { f[len(f)-1] ^= 1 }, "record 3 does not continue the chain"},
		"number":   {func(f []byte) { f[8]++ }, "record 4 came after record 2"},
		"no kind":  {func(f []byte) { f[5] = 255 }, "kind 255 is unknown"},
		"shorter":  {func(f []byte) { f[0]-- }, "after record 2"},
		"too long": {func(f []byte) { f[3] = 1 }, "bytes, limit"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, nil)
			b.inside(2)
			from := b.ring.Counts().Bytes
			b.inside(1)
			to := b.ring.Counts().Bytes
			b.inside(2)
			b.overwrite(from, to, test.damage)
			if err := b.drain(); !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v", err)
			}
			b.finish()
			if r := b.sound(Check{}); r.Records != 2 || !strings.Contains(r.Reason, test.want) {
				t.Fatalf("report %+v", r)
			}
		})
	}
}

// overwrite changes the bytes of the ring from one position to another, through its file.
func (b *book) overwrite(from, to uint64, change func([]byte)) {
	b.t.Helper()
	file := b.ring.File()
	info, err := file.Stat()
	if err != nil {
		b.t.Fatal(err)
	}
	at := info.Size() - int64(b.out.Size()) + int64(from)
	data := make([]byte, to-from)
	if _, err := file.ReadAt(data, at); err != nil {
		b.t.Fatal(err)
	}
	change(data)
	if _, err := file.WriteAt(data, at); err != nil {
		b.t.Fatal(err)
	}
}

func TestSealsByCountAndByTime(t *testing.T) {
	b := newBook(t, func(c *Config) { c.SealRecords = 10 })
	seals := func() uint64 {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		return b.w.state.seals
	}
	b.inside(3)
	if err := b.drain(); err != nil || seals() != 0 {
		t.Fatalf("after 3 records: %d seals, %v", seals(), err)
	}
	b.time.Advance(clock.Second)
	if err := b.drain(); err != nil || seals() != 1 {
		t.Fatalf("a second later: %d seals, %v", seals(), err)
	}
	b.inside(10)
	if err := b.drain(); err != nil || seals() != 2 {
		t.Fatalf("after 10 more: %d seals, %v", seals(), err)
	}
	b.time.Advance(clock.Hour)
	if err := b.drain(); err != nil || seals() != 2 {
		t.Fatalf("after nothing: %d seals, %v", seals(), err)
	}
	b.finish()
	b.sound(Check{})
}

// TestDrainWaitsAndEnds runs Drain as a supervisor does.
func TestDrainWaitsAndEnds(t *testing.T) {
	b := newBook(t, func(c *Config) { c.Clock = nil })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.w.Drain(ctx, b.out) }()
	b.inside(1)
	if birth, err := b.w.Birth(t.Context()); err != nil || birth.Sandbox != "box" {
		t.Fatalf("birth %+v, %v", birth, err)
	}
	b.inside(5000)
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.finish()
	if r := b.sound(Check{}); r.Records != 5001 {
		t.Fatalf("report %+v", r)
	}
	for what, err := range map[string]error{
		"outside": b.w.Outside(sandbox.Record{Kind: sandbox.KindPause}),
		"finish":  b.w.Finish("again", 0),
		"drain":   b.drain(),
	} {
		if !errs.Is(err, errs.Unavailable) {
			t.Errorf("%s after the end: %v", what, err)
		}
	}
}

func TestBirthEndsWithItsContext(t *testing.T) {
	b := newBook(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.w.Birth(ctx); !errs.Is(err, errs.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := b.w.Outside(sandbox.Record{Kind: sandbox.KindFinal}); !errs.Is(err, errs.Invalid) {
		t.Fatalf("a final record of the caller's: %v", err)
	}
}

// TestNothingIsLostOnAFullDisk fills the disk at every size there is: what the ring was given before
// the trail could not go on is in the trail in the end, with its seal.
func TestNothingIsLostOnAFullDisk(t *testing.T) {
	const most = 600 << 10
	for capacity := int64(230 << 10); capacity < most; capacity += 7919 {
		fs := vfs.NewMemory()
		fs.SetCapacity(capacity)
		b := newBook(t, func(c *Config) { c.FS, c.Dir, c.SegmentBytes = fs, "trail", 40<<10 })
		var full error
		for full == nil {
			b.inside(50)
			full = b.drain()
		}
		if !errs.Is(full, errs.NoSpace) {
			t.Fatalf("capacity %d: %v", capacity, full)
		}
		if err := b.in.Write(sample(1)); err == nil {
			t.Fatalf("capacity %d: the producer may go on", capacity)
		}
		b.finish()
		if r := b.sound(Check{}); r.Records != b.wrote || !strings.Contains(r.Reason, "no space") {
			t.Fatalf("capacity %d: %d records of %d, %q", capacity, r.Records, b.wrote, r.Reason)
		}
	}
}

func TestALimitIsKept(t *testing.T) {
	const limit = 64 << 10
	b := newBook(t, func(c *Config) { c.MaxBytes = limit })
	var full error
	for full == nil {
		b.inside(10)
		full = b.drain()
	}
	if !errs.Is(full, errs.NoSpace) || !strings.Contains(full.Error(), fmt.Sprint("limit ", limit)) {
		t.Fatalf("got %v", full)
	}
	b.finish()
	if r := b.sound(Check{}); r.Records != b.wrote || r.Bytes > limit+4096 {
		t.Fatalf("report %+v", r)
	}
}

// TestAFailedSyncEndsTheTrail: after it nothing may be written, as nobody knows what is there.
func TestAFailedSyncEndsTheTrail(t *testing.T) {
	fs := vfs.NewMemory()
	b := newBook(t, func(c *Config) { c.FS, c.Dir = fs, "trail" })
	b.write(10)
	fs.SetFault(vfs.FailOn(vfs.OpSync, 1, errs.New(errs.Internal, "the disk is ill")))
	b.inside(1)
	err := b.drain()
	for range 1000 { // the sync runs beside
		if err != nil {
			break
		}
		b.time.Advance(clock.Second)
		b.inside(1)
		err = b.drain()
	}
	if err == nil || !strings.Contains(err.Error(), "the disk is ill") {
		t.Fatalf("drain: %v", err)
	}
	if err := b.w.Finish("over", 0); err == nil || !strings.Contains(err.Error(), "the disk is ill") {
		t.Fatalf("finish: %v", err)
	}
	if r := b.verify(Check{}); r.Ended || len(r.Faults) == 0 {
		t.Fatalf("report %+v", r)
	}
}

// TestEveryFaultIsReported fails each operation of a trail's life in turn: the trail is sound and
// ended after all, or somebody was told.
func TestEveryFaultIsReported(t *testing.T) {
	life := func(fs *vfs.Memory) (told error) {
		dir := t.TempDir()
		r, err := ring.Create(filepath.Join(dir, "ring"), ring.MinSize)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b := &book{t: t, conf: Config{FS: fs, Dir: "trail", Sandbox: "box", Key: testKey(1),
			SegmentBytes: 4 << 10}, ring: r}
		b.in, b.out = ring.NewProducer(r, patient), ring.NewConsumer(r)
		if b.w, err = Create(b.conf); err != nil {
			return err
		}
		for range 5 {
			b.inside(20)
			if told = b.drain(); told != nil {
				break
			}
		}
		if err := b.w.Finish("over", 0); told == nil {
			told = err
		}
		return told
	}
	quiet := vfs.NewMemory()
	ops := map[vfs.OpKind]int{}
	quiet.SetFault(func(op vfs.Op) error { ops[op.Kind]++; return nil })
	if err := life(quiet); err != nil {
		t.Fatal(err)
	}
	for kind, count := range ops {
		for n := 1; n <= count; n++ {
			fs := vfs.NewMemory()
			fs.SetFault(vfs.FailOn(kind, n, errs.New(errs.Internal, "planted")))
			told := life(fs)
			fs.SetFault(nil)
			if told != nil {
				continue
			}
			conf := Config{FS: fs, Dir: "trail"}
			if r := verifyIn(t, conf, Check{}); !r.Ended || len(r.Faults) > 0 {
				t.Errorf("%v %d: nobody was told, %+v", kind, n, r)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.key")
	keys := make(chan SigningKey)
	for range 8 {
		go func() {
			k, err := LoadKey(path)
			if err != nil {
				t.Error(err)
			}
			keys <- k
		}()
	}
	first := <-keys
	for range 7 {
		if k := <-keys; k != first {
			t.Error("two keys for one host")
		}
	}
	if shown := fmt.Sprintf("%v %s %+v %#v %x", first, first, first, first, first); strings.Trim(shown,
		"redact ") != "" {
		t.Errorf("a key shows as %q", shown)
	}
	public, err := ParseKey(first.Public().String())
	if err != nil || public != first.Public() {
		t.Errorf("parsed %v, %v", public, err)
	}
	for _, text := range []string{"", "ed25519:", "ed25519:00", strings.Repeat("0", 72),
		"ed25519:" + strings.Repeat("g", 64)} {
		if _, err := ParseKey(text); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); !errs.Is(err, errs.Forbidden) {
		t.Errorf("a key for all: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("ed25519:c0ffee\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); !errs.Is(err, errs.Corrupt) || strings.Contains(err.Error(), "c0ffee") {
		t.Errorf("half a key: %v", err)
	}
}

// BenchmarkDrain is the whole way of a record from the ring to the disk, with nothing lost on it; run
// it with -benchtime 10000000x for ten million.
func BenchmarkDrain(b *testing.B) {
	bk := newBook(b, func(c *Config) { c.Clock = nil })
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- bk.w.Drain(ctx, bk.out) }()
	bk.inside(1)
	rec := &sandbox.Record{Kind: sandbox.KindOpen, At: 1, Process: 12, Thread: 12, Parent: 1,
		Comm: "server", Path: "/usr/lib/x86_64-linux-gnu/libc.so.6", Access: sandbox.Read,
		Verdict: sandbox.Allowed}
	began := time.Now()
	for b.Loop() {
		if err := bk.in.Write(rec); err != nil {
			b.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	if err := bk.w.Finish("over", 0); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began).Seconds()
	counts := bk.ring.Counts()
	b.ReportMetric(float64(counts.Bytes)/took/1e6, "MB/s")
	b.ReportMetric(float64(counts.Records)/took, "records/s")
	b.ReportMetric(float64(counts.Waits), "waits")
	report, err := Verify(bk.dir, Check{Key: bk.conf.Key.Public()})
	if err != nil || report.Records != counts.Records {
		b.Fatalf("%d records of %d, %v", report.Records, counts.Records, err)
	}
}

// BenchmarkVerify proves a trail of 200,000 records.
func BenchmarkVerify(b *testing.B) {
	const count = 200_000
	bk := newBook(b, nil)
	for range count / 500 {
		bk.inside(500)
		if err := bk.drain(); err != nil {
			b.Fatal(err)
		}
	}
	bk.finish()
	for b.Loop() {
		if _, err := Verify(bk.dir, Check{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*count/b.Elapsed().Seconds(), "records/s")
}

// torn is a source that breaks off, as a machine that was killed does.
type torn struct {
	*ring.Consumer
	err error
}

func (s *torn) Next(wait time.Duration) ([]byte, error) {
	frames, err := s.Consumer.Next(wait)
	if frames == nil && err == nil {
		err = s.err
	}
	return frames, err
}

// TestASourceThatBreaksOff: the trail has all that came, and an end that says why there is no more.
func TestASourceThatBreaksOff(t *testing.T) {
	b := newBook(t, nil)
	b.inside(7)
	from := &torn{b.out, errs.New(errs.Unavailable, "the machine is gone")}
	if err := b.w.Drain(t.Context(), from); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("got %v", err)
	}
	b.finish()
	want := "the program ended (the machine is gone)"
	if r := b.sound(Check{}); r.Records != 7 || !r.Ended || r.Reason != want {
		t.Fatalf("report %+v", r)
	}
}
