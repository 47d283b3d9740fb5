package ring

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"surety/sandbox"
)

// The roles that the test binary plays when it is started again, by RING_TEST_ROLE.
const (
	roleProduce = "produce" // writes RING_TEST_COUNT samples
	roleConsume = "consume" // appends what it reads to RING_TEST_OUT
	roleLight   = "light"   // writes RING_TEST_COUNT small records
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv("RING_TEST_ROLE") {
	case "":
		os.Exit(m.Run())
	case roleProduce:
		err = produce(sample)
	case roleLight:
		rec := &sandbox.Record{Kind: sandbox.KindOpen, Process: 12, Comm: "server", Path: "/lib/libc.so.6"}
		err = produce(func(uint64) *sandbox.Record { return rec })
	case roleConsume:
		err = consume()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func produce(record func(uint64) *sandbox.Record) error {
	r, err := FromFD(3)
	if err != nil {
		return err
	}
	count, err := strconv.ParseUint(os.Getenv("RING_TEST_COUNT"), 10, 64)
	if err != nil {
		return err
	}
	if !r.AwaitRelease() {
		return fmt.Errorf("turned away at the gate")
	}
	p := NewProducer(r, patient)
	for n := uint64(1); n <= count; n++ {
		if err := p.Write(record(n)); err != nil {
			return err
		}
	}
	return nil
}

func consume() error {
	r, err := FromFD(3)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(os.Getenv("RING_TEST_OUT"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for c := NewConsumer(r); ; {
		frames, err := c.Next(patient)
		if err != nil {
			return err
		}
		if _, err := out.Write(frames); err != nil {
			return err
		}
		c.Advance(len(frames))
	}
}

// start runs this binary again in a role, with the ring as descriptor 3.
func start(t testing.TB, r *Ring, role string, env ...string) (*exec.Cmd, io.Reader) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), "RING_TEST_ROLE="+role), env...)
	cmd.ExtraFiles = []*os.File{r.File()}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended where the test went well
		_ = cmd.Wait()
	})
	return cmd, out
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// TestNothingIsLostToASlowReader is a producer in a process of its own against a reader that does
// far more work for each record.
func TestNothingIsLostToASlowReader(t *testing.T) {
	const count = 200_000
	r := newRing(t, MinSize)
	r.Hold()
	cmd, _ := start(t, r, roleProduce, fmt.Sprint("RING_TEST_COUNT=", count))
	r.Release()
	f := follower{t: t}
	f.readAll(NewConsumer(r), count)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if counts := r.Counts(); counts.Records != count || counts.Waits == 0 {
		t.Fatalf("counts: %+v", counts)
	}
}

// BenchmarkTenMillion is the same with ten million records; run it with -benchtime 1x.
func BenchmarkTenMillion(b *testing.B) {
	const count = 10_000_000
	for b.Loop() {
		r := newRing(b, 1<<20)
		cmd, _ := start(b, r, roleLight, fmt.Sprint("RING_TEST_COUNT=", count))
		f := follower{t: b, cheap: true}
		f.readAll(NewConsumer(r), count)
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(r.Counts().Waits), "waits")
	}
	b.ReportMetric(float64(b.N)*count/b.Elapsed().Seconds(), "records/s")
}

// TestAKilledProducerLeavesWholeFrames kills a writer at a random record and reads what it left
// through a mapping of its own.
func TestAKilledProducerLeavesWholeFrames(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 12 {
		r := newRing(t, MinSize)
		cmd, _ := start(t, r, roleProduce, "RING_TEST_COUNT=1000000000")
		f := follower{t: t}
		f.readAll(NewConsumer(r), 1+random.Uint64N(5000))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, as was asked
		counts := r.Counts()
		again, err := Open(r.File().Name())
		if err != nil {
			t.Fatal(err)
		}
		c := NewConsumer(again)
		for {
			frames, err := c.Next(0)
			if err != nil {
				t.Fatal(err)
			}
			if frames == nil {
				break
			}
			f.take(frames)
			c.Advance(len(frames))
		}
		// A record is counted just before it is published: the last one may be counted alone.
		if f.chain.Seq != counts.Records && f.chain.Seq+1 != counts.Records || c.head != counts.Bytes {
			t.Fatalf("read %d records, %d bytes; written %+v", f.chain.Seq, c.head, counts)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAKilledConsumerLosesNothing kills a reader at random points, each followed by another: what
// they stored holds every record, some twice.
func TestAKilledConsumerLosesNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newRing(t, MinSize)
	p := NewProducer(r, patient)
	f := follower{t: t}
	written := uint64(0)
	for round := range 12 {
		out := filepath.Join(t.TempDir(), "out")
		cmd, lines := start(t, r, roleConsume, "RING_TEST_OUT="+out)
		if _, err := bufio.NewReader(lines).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		for range 1000 + random.IntN(4000) {
			written++
			if err := p.Write(sample(written)); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, as was asked
		stored, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		f.takeNew(stored)
	}
	again, err := Open(r.File().Name())
	if err != nil {
		t.Fatal(err)
	}
	for c := NewConsumer(again); ; {
		frames, err := c.Next(0)
		if err != nil {
			t.Fatal(err)
		}
		if frames == nil {
			break
		}
		f.takeNew(frames)
		c.Advance(len(frames))
	}
	if f.chain.Seq != written {
		t.Fatalf("stored %d records of %d", f.chain.Seq, written)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// takeNew takes the frames that were not taken before, up to one that a kill cut short.
func (f *follower) takeNew(frames []byte) {
	f.t.Helper()
	for {
		n, err := FrameSize(frames)
		if err != nil {
			f.t.Fatal(err)
		}
		if n == 0 {
			return
		}
		rec, _, err := sandbox.DecodeRecord(frames)
		if err != nil {
			f.t.Fatal(err)
		}
		if rec.Seq > f.chain.Seq {
			f.take(frames[:n])
		}
		frames = frames[n:]
	}
}
