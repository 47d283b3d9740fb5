package ring

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sandbox"
)

const patient = time.Minute

func newRing(t testing.TB, size int) *Ring {
	t.Helper()
	r, err := Create(filepath.Join(t.TempDir(), "ring"), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// sample is a record of a size that changes with n, from the smallest to some kilobytes.
func sample(n uint64) *sandbox.Record {
	random := rand.New(rand.NewPCG(n, 1))
	rec := &sandbox.Record{Kind: sandbox.KindOpen, Process: uint32(n), Verdict: sandbox.Allowed,
		Addr: netip.MustParseAddrPort("10.0.0.1:443")}
	if n%7 == 0 {
		rec.Verdict = sandbox.Refused
	}
	rec.Path = "/" + strings.Repeat("p", random.IntN(200))
	if n%100 == 0 {
		rec.Path2 = "/" + strings.Repeat("q", random.IntN(sandbox.MaxText))
		rec.Args = []string{strings.Repeat("a", random.IntN(sandbox.MaxArgBytes))}
	}
	return rec
}

// follower checks that frames continue one chain of samples.
type follower struct {
	t     testing.TB
	chain sandbox.Chain
	cheap bool // trusts that a record whose chain holds is the sample
}

// take checks whole frames and returns how many they were.
func (f *follower) take(frames []byte) int {
	f.t.Helper()
	count := 0
	for len(frames) > 0 {
		n, err := FrameSize(frames)
		if err != nil || n == 0 {
			f.t.Fatalf("after record %d: frame of %d bytes, %v", f.chain.Seq, n, err)
		}
		encoded, stated := frames[:n-HeadBytes], frames[n-HeadBytes:n]
		if head := f.chain.Add(encoded); string(stated) != string(head[:]) {
			f.t.Fatalf("record %d: its head does not continue the chain", f.chain.Seq)
		}
		if !f.cheap {
			f.compare(encoded)
		}
		frames = frames[n:]
		count++
	}
	return count
}

func (f *follower) compare(encoded []byte) {
	f.t.Helper()
	got, n, err := sandbox.DecodeRecord(encoded)
	if err != nil || n != len(encoded) {
		f.t.Fatalf("record %d: %d of %d bytes, %v", f.chain.Seq, n, len(encoded), err)
	}
	want := sample(f.chain.Seq)
	want.Seq, want.Trace = f.chain.Seq, got.Trace
	if string(want.Append(nil)) != string(encoded) {
		f.t.Fatalf("record %d: got %+v", f.chain.Seq, got)
	}
}

// readAll reads until want records have been seen in all.
func (f *follower) readAll(c *Consumer, want uint64) {
	f.t.Helper()
	for f.chain.Seq < want {
		frames, err := c.Next(patient)
		if err != nil || frames == nil {
			f.t.Fatalf("after record %d of %d: %d bytes, %v", f.chain.Seq, want, len(frames), err)
		}
		f.take(frames)
		c.Advance(len(frames))
	}
}

func TestRecordsArriveInOrderAndChained(t *testing.T) {
	r := newRing(t, MinSize)
	p, c := NewProducer(r, patient), NewConsumer(r)
	if frames, err := c.Next(0); frames != nil || err != nil {
		t.Fatalf("an empty ring gave %d bytes, %v", len(frames), err)
	}
	trace := ident.ID{Hi: 7, Lo: 9}
	r.SetTrace(trace)
	for n := uint64(1); n <= 100; n++ {
		if err := p.Write(sample(n)); err != nil {
			t.Fatal(err)
		}
	}
	frames, err := c.Next(0)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Next(0)
	if err != nil || string(again) != string(frames) {
		t.Fatalf("what was not given back came differently: %v", err)
	}
	f := follower{t: t}
	if n := f.take(frames); n != 100 {
		t.Fatalf("%d records, want 100", n)
	}
	first, _, err := sandbox.DecodeRecord(frames)
	if err != nil || first.Trace != trace || first.Seq != 1 {
		t.Fatalf("first record: seq %d, trace %v, %v", first.Seq, first.Trace, err)
	}
	counts := r.Counts()
	if counts.Records != 100 || counts.Refused != 14 || counts.Bytes != uint64(len(frames)) {
		t.Fatalf("counts: %+v", counts)
	}
}

func TestFramesRunOverTheEnd(t *testing.T) {
	r := newRing(t, MinSize)
	p, c := NewProducer(r, patient), NewConsumer(r)
	f := follower{t: t}
	n := uint64(0)
	for r.Counts().Bytes < 40*MinSize {
		for range 1 + n%97 {
			n++
			if err := p.Write(sample(n)); err != nil {
				t.Fatal(err)
			}
		}
		f.readAll(c, n)
	}
}

func TestManyWritersAndASlowReader(t *testing.T) {
	r := newRing(t, MinSize)
	p, c := NewProducer(r, patient), NewConsumer(r)
	const writers, each = 8, 2500
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for range each {
				if err := p.Write(&sandbox.Record{Kind: sandbox.KindClone, Path: "/bin/sh"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var chain sandbox.Chain
	for chain.Seq < writers*each {
		frames, err := c.Next(patient)
		if err != nil {
			t.Fatal(err)
		}
		n, err := FrameSize(frames) // one at a time
		if err != nil {
			t.Fatal(err)
		}
		head := chain.Add(frames[:n-HeadBytes])
		if string(head[:]) != string(frames[n-HeadBytes:n]) {
			t.Fatalf("record %d does not continue the chain", chain.Seq)
		}
		c.Advance(n)
	}
	wait.Wait()
	if frames, err := c.Next(0); frames != nil || err != nil {
		t.Fatalf("more than was written: %d bytes, %v", len(frames), err)
	}
}

// fill writes until the ring has no room, and returns the producer's error.
func fill(p *Producer) error {
	for n := uint64(1); ; n++ {
		if err := p.Write(sample(n)); err != nil {
			return err
		}
	}
}

func TestAFullRingEndsAfterPatience(t *testing.T) {
	r := newRing(t, MinSize)
	p := NewProducer(r, time.Millisecond)
	err := fill(p)
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "was full for 1ms") {
		t.Fatalf("got %v", err)
	}
	published := r.Counts().Bytes
	c := NewConsumer(r)
	frames, err := c.Next(0)
	if err != nil {
		t.Fatal(err)
	}
	f := follower{t: t}
	f.take(frames)
	c.Advance(len(frames))
	if err := p.Write(sample(1)); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("an error must stay, got %v", err)
	}
	if r.Counts().Bytes != published || r.Counts().Waits != 1 {
		t.Fatalf("counts: %+v, published %d", r.Counts(), published)
	}
}

func TestAClosedReaderEndsTheWriter(t *testing.T) {
	r := newRing(t, MinSize)
	p, c := NewProducer(r, patient), NewConsumer(r)
	done := make(chan error)
	go func() { done <- fill(p) }()
	for r.Counts().Waits == 0 {
		if _, err := c.Next(time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if err := <-done; !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "is gone") {
		t.Fatalf("got %v", err)
	}
	next := newRing(t, MinSize)
	NewConsumer(next).Close()
	if err := NewProducer(next, patient).Write(sample(1)); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestOneProducerForARing(t *testing.T) {
	r := newRing(t, MinSize)
	if err := NewProducer(r, patient).Write(sample(1)); err != nil {
		t.Fatal(err)
	}
	if err := NewProducer(r, patient).Write(sample(2)); !errs.Is(err, errs.Exists) {
		t.Fatalf("got %v", err)
	}
}

func TestWakeEndsAWait(t *testing.T) {
	r := newRing(t, MinSize)
	c := NewConsumer(r)
	done := make(chan error)
	go func() {
		frames, err := c.Next(patient)
		if len(frames) > 0 {
			err = fmt.Errorf("%d bytes from an empty ring", len(frames))
		}
		done <- err
	}()
	c.Wake()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestGate(t *testing.T) {
	r := newRing(t, MinSize)
	if !r.AwaitRelease() {
		t.Fatal("a gate nobody held was shut")
	}
	passed := make(chan bool)
	r.Hold()
	go func() { passed <- r.AwaitRelease() }()
	r.Release()
	if !<-passed {
		t.Fatal("released, and turned away")
	}
	r.Hold()
	go func() { passed <- r.AwaitRelease() }()
	NewConsumer(r).Close()
	if <-passed {
		t.Fatal("let through without a collector")
	}
	if r.Release(); r.AwaitRelease() {
		t.Fatal("a gate that is gone was opened")
	}
}

func TestTraceIsNeverHalfWritten(t *testing.T) {
	r := newRing(t, MinSize)
	var writers sync.WaitGroup
	for w := range uint64(2) {
		writers.Go(func() {
			for n := range uint64(20000) {
				r.SetTrace(ident.ID{Hi: 2*n + w, Lo: 2*n + w})
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if id := r.Trace(); id.Hi != id.Lo {
			t.Fatalf("half of two: %x and %x", id.Hi, id.Lo)
		}
	}
	r.store(offTrace, 1) // a writer that died half-way
	if id := r.Trace(); !id.IsZero() {
		t.Fatalf("read %v from a half-written word group", id)
	}
	if r.SetTrace(ident.ID{Lo: 5}); r.Trace() != (ident.ID{Lo: 5}) {
		t.Fatal("the next writer does not get past a dead one")
	}
}

func TestFromFDTakesTheDescriptor(t *testing.T) {
	r := newRing(t, MinSize)
	other, err := os.OpenFile(r.File().Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(other.Fd())
	inside, err := FromFD(dup(t, fd))
	if err != nil {
		t.Fatal(err)
	}
	if inside.File() != nil {
		t.Fatal("the descriptor is still at hand")
	}
	if err := NewProducer(inside, patient).Write(sample(1)); err != nil {
		t.Fatal(err)
	}
	f := follower{t: t}
	f.readAll(NewConsumer(r), 1)
	if err := inside.Close(); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := FromFD(-1); err == nil {
		t.Fatal("mapped descriptor -1")
	}
}

func TestCreateAndOpenRefuse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ring")
	for _, size := range []int{-1, 0, MinSize - 1, MinSize + 1, 2 * MaxSize} {
		if _, err := Create(path, size); !errs.Is(err, errs.Invalid) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if _, err := Open(path); !errs.Is(err, errs.NotFound) {
		t.Errorf("a missing file: %v", err)
	}
	r, err := Create(path, MinSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, MinSize); !errs.Is(err, errs.Exists) {
		t.Errorf("created twice: %v", err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(at int) []byte {
		data := append([]byte(nil), whole...)
		data[at] ^= 1
		return data
	}
	for name, data := range map[string][]byte{
		"empty": nil, "header alone": whole[:headerBytes], "short": whole[:len(whole)-1],
		"half": whole[:headerBytes+MinSize/2], "longer": append(whole[:len(whole):len(whole)], 0),
		"magic": damaged(offMagic), "version": damaged(offVersion), "size": damaged(offSize),
	} {
		bad := filepath.Join(dir, "bad")
		if err := os.WriteFile(bad, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(bad); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAClosedRingAnswersTheHost(t *testing.T) {
	r := newRing(t, MinSize)
	c := NewConsumer(r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.Hold()
	r.Release()
	r.SetTrace(ident.ID{Lo: 1})
	c.Wake()
	c.Advance(10)
	c.Close()
	if r.Counts() != (Counts{}) {
		t.Error("counts of nothing")
	}
	if _, err := c.Next(patient); !errs.Is(err, errs.Unavailable) {
		t.Errorf("next: %v", err)
	}
	if err := r.SetName(netip.MustParseAddr("::1"), "a", 0); !errs.Is(err, errs.Unavailable) {
		t.Errorf("set name: %v", err)
	}
}

// BenchmarkWrite is one writer whose reader keeps up and throws away.
func BenchmarkWrite(b *testing.B) {
	r := newRing(b, 4<<20)
	p, c := NewProducer(r, patient), NewConsumer(r)
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			frames, err := c.Next(time.Millisecond)
			if err != nil {
				b.Error(err)
				return
			}
			c.Advance(len(frames))
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	rec := &sandbox.Record{Kind: sandbox.KindOpen, At: 1, Process: 12, Thread: 12, Parent: 1,
		Comm: "server", Path: "/usr/lib/x86_64-linux-gnu/libc.so.6", Access: sandbox.Read,
		Verdict: sandbox.Allowed}
	for b.Loop() {
		if err := p.Write(rec); err != nil {
			b.Fatal(err)
		}
	}
	close(stop)
	reader.Wait()
	b.ReportMetric(float64(r.Counts().Bytes)/float64(r.Counts().Records), "bytes/record")
	b.ReportMetric(float64(r.Counts().Waits), "waits")
}

// BenchmarkHash is what the chain alone costs of BenchmarkWrite.
func BenchmarkHash(b *testing.B) {
	data := make([]byte, 32+96)
	for b.Loop() {
		sha256.Sum256(data)
	}
}
