package tlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"surety/base/errs"
	"surety/evidence"
)

// The environment of the child that TestKilledAtRandomPoints starts: this test binary again.
const (
	childDirectory = "SURETY_TLOG_CRASH_CHILD"
	childSeed      = "SURETY_TLOG_CRASH_SEED"
	roundsVariable = "SURETY_CRASH_ROUNDS"
)

const acknowledged = "acknowledged"

// crashEntry is entry with a payload that no other process of the child would give: what a relay
// seals again after a crash differs from what it sealed before.
func crashEntry(source string, seq, nonce uint64) evidence.Entry {
	e := entry(source, seq)
	e.Payload = fmt.Appendf(nil, "%s %d sealed as %d", source, seq, nonce)
	return e
}

// crashChild appends from three sources at once until it kills itself, at a moment of the seed's
// choice. Each acknowledged number is written down first.
func crashChild(directory string) int {
	seed, err := strconv.ParseUint(os.Getenv(childSeed), 10, 64)
	if err != nil {
		return 3
	}
	random := rand.New(rand.NewPCG(seed, 1))
	l, err := Open(context.Background(), options(directory))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	journal, err := os.OpenFile(filepath.Join(directory, acknowledged),
		os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 3
	}
	chunks := [...]int{1, 7, 100, 256, 300, 1024}
	time.AfterFunc(time.Duration(random.IntN(80_000))*time.Microsecond, func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	})
	var wg sync.WaitGroup
	for _, source := range []string{"a", "b", "c"}[:1+random.IntN(3)] {
		chunk := chunks[random.IntN(len(chunks))]
		wg.Go(func() {
			if err := appendForever(l, journal, source, chunk, seed); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(3)
			}
		})
	}
	wg.Wait()
	return 3
}

func appendForever(l *Log, journal *os.File, source string, chunk int, nonce uint64) error {
	for {
		last, err := l.LastSeq(source)
		if err != nil {
			return err
		}
		var batch []evidence.Entry
		for i := range chunk {
			batch = append(batch, crashEntry(source, last+1+uint64(i), nonce))
		}
		if err := l.Append(context.Background(), batch...); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(journal, "%s %d\n", source, last+uint64(chunk)); err != nil {
			return err
		}
	}
}

// Whatever moment the process is killed at, nothing acknowledged is missing, nothing is there
// twice, every record has its payload, and the log verifies.
func TestKilledAtRandomPoints(t *testing.T) {
	rounds := 20
	if text := os.Getenv(roundsVariable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	base := uint64(time.Now().UnixNano())
	if text := os.Getenv(childSeed); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		base = n
	}
	t.Logf("seeds from %d: %s=%d repeats the choices", base, childSeed, base)
	directory := t.TempDir()
	for round := range rounds {
		if round%4 == 0 {
			directory = t.TempDir()
		}
		killChild(t, directory, base+uint64(round))
		checkAfterCrash(t, directory)
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, base+uint64(round))
		}
	}
}

func killChild(t *testing.T, directory string, seed uint64) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDirectory+"="+directory,
		childSeed+"="+strconv.FormatUint(seed, 10))
	output, err := child.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("seed %d: the child ended with %v: %s", seed, err, output)
	}
}

func checkAfterCrash(t *testing.T, directory string) {
	t.Helper()
	l, err := Open(context.Background(), options(directory))
	if err != nil {
		t.Fatal(err)
	}
	for source, seq := range readAcknowledged(t, directory) {
		last, err := l.LastSeq(source)
		if err != nil || last < seq {
			t.Errorf("source %s: %d was acknowledged, the log ends with %d, %v", source, seq, last, err)
		}
	}
	for _, source := range []string{"a", "b", "c"} {
		checkSource(t, l, source)
		last, err := l.LastSeq(source)
		if err != nil {
			t.Fatal(err)
		}
		add(t, l, crashEntry(source, last+1, 0)) // the log goes on
	}
	if _, err := l.CheckpointOf(context.Background(), l.Size()); err != nil {
		t.Error(err)
	}
	closed(t, l)
	audit := verify(t, directory)
	if audit.Checkpoint.Size != l.Size() || audit.Payloads != l.Size() {
		t.Errorf("verified %+v of %d records", audit, l.Size())
	}
}

// checkSource checks that the last two batches of a source have the payloads of their numbers.
func checkSource(t *testing.T, l *Log, source string) {
	t.Helper()
	last, err := l.LastSeq(source)
	if err != nil {
		t.Fatal(err)
	}
	for seq := last; seq > 0 && seq+2*MaxBatch > last; seq -= min(seq, 17) {
		leaf, err := l.Find(context.Background(), source, seq)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := l.Payload(context.Background(), leaf)
		prefix := fmt.Sprintf("%s %d sealed as ", source, seq)
		if err != nil || !strings.HasPrefix(string(payload), prefix) {
			t.Errorf("record %d: got %q, %v, want %q", leaf.Index, payload, err, prefix)
		}
	}
}

// readAcknowledged returns the last acknowledged number of each source. The child may have died
// while it wrote a line.
func readAcknowledged(t *testing.T, directory string) map[string]uint64 {
	t.Helper()
	file, err := os.Open(filepath.Join(directory, acknowledged))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	last := map[string]uint64{}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return last
		}
		source, number, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		seq, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		last[source] = seq
	}
}

// copyTree copies the files below from to the same names below to, leaving alone what is there.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range files(t, from) {
		copyFile(t, filepath.Join(from, name), filepath.Join(to, name))
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A crash after the tiles of a batch and before the tree's state leaves full tiles past the end. If
// the tree ends where such a tile begins, tessera would take it for its own.
func TestTilesThatACrashLeft(t *testing.T) {
	for _, size := range []uint64{0, 256, 1000, 1024} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			before, after := t.TempDir(), t.TempDir()
			l := open(t, before)
			add(t, l, entries("s", 1, size)...)
			closed(t, l)
			copyTree(t, before, after)
			l = open(t, after)
			add(t, l, entries("s", size+1, size+1000)...)
			closed(t, l)
			left := 0
			for _, name := range files(t, after) {
				to := filepath.Join(before, name)
				_, err := os.Stat(to)
				if strings.HasPrefix(name, "log/tile/") && errors.Is(err, fs.ErrNotExist) {
					copyFile(t, filepath.Join(after, name), to)
					left++
				}
			}
			if left < 7 {
				t.Fatalf("only %d tiles would be left: this test would show nothing", left)
			}
			l = open(t, before)
			var other []evidence.Entry
			for seq := size + 1; seq <= size+10; seq++ {
				other = append(other, crashEntry("s", seq, 1))
			}
			add(t, l, other...)
			closed(t, l)
			if audit := verify(t, before); audit.Checkpoint.Size != size+10 {
				t.Errorf("got %+v", audit)
			}
		})
	}
}

// What a crash can leave between the steps of a batch, step by step.
func TestCrashBetweenSteps(t *testing.T) {
	prepared := func(t *testing.T) (*Log, string, []*item) {
		t.Helper()
		directory := t.TempDir()
		l, err := Open(context.Background(), options(directory))
		if err != nil {
			t.Fatal(err)
		}
		add(t, l, entries("s", 1, 300)...)
		l.queue.stop() // what follows stands in for the append goroutine
		<-l.queue.stopped
		items, err := prepare(entries("s", 301, 350))
		if err != nil {
			t.Fatal(err)
		}
		return l, directory, items
	}
	reopened := func(t *testing.T, l *Log, directory string, want uint64) {
		t.Helper()
		if err := l.release(); err != nil {
			t.Fatal(err)
		}
		l = open(t, directory)
		if l.Size() != want {
			t.Fatalf("got %d records, want %d", l.Size(), want)
		}
		add(t, l, entries("s", 290, 400)...)
		if l.Size() != 400 {
			t.Fatalf("got %d records after all were sent again, want 400", l.Size())
		}
		closed(t, l)
		verify(t, directory)
	}
	ctx := context.Background()
	t.Run("payloads only", func(t *testing.T) {
		l, directory, items := prepared(t)
		if err := l.payloads.put(ctx, 300, items); err != nil {
			t.Fatal(err)
		}
		reopened(t, l, directory, 300)
	})
	t.Run("payloads and tree", func(t *testing.T) {
		l, directory, items := prepared(t)
		if err := l.payloads.put(ctx, 300, items); err != nil {
			t.Fatal(err)
		}
		if _, err := l.integrate(300, items); err != nil {
			t.Fatal(err)
		}
		reopened(t, l, directory, 350)
	})
	t.Run("half of the tree, out of order", func(t *testing.T) {
		l, directory, items := prepared(t)
		if err := l.payloads.put(ctx, 300, items); err != nil {
			t.Fatal(err)
		}
		if _, err := l.integrate(300, items[30:]); err != nil { // under 300, payloads under 330
			t.Fatal(err)
		}
		reopened(t, l, directory, 320)
	})
	t.Run("a payload is lost", func(t *testing.T) {
		l, directory, items := prepared(t)
		if err := l.payloads.put(ctx, 300, items[:49]); err != nil {
			t.Fatal(err)
		}
		if _, err := l.integrate(300, items); err != nil {
			t.Fatal(err)
		}
		if err := l.release(); err != nil {
			t.Fatal(err)
		}
		_, err := Open(ctx, options(directory))
		wantKind(t, err, errs.Corrupt, "payload of record 349 is missing")
	})
}

// tessera's queue may hand over the parts of one batch in another order.
func TestBatchThatComesOutOfOrder(t *testing.T) {
	directory := t.TempDir()
	l := open(t, directory)
	l.queue.stop()
	<-l.queue.stopped
	items, err := prepare(entries("s", 1, 20))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.payloads.put(context.Background(), 0, items); err != nil {
		t.Fatal(err)
	}
	turned := append(append([]*item{}, items[12:]...), items[:12]...)
	records, err := l.integrate(0, turned)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.payloads.settle(context.Background(), 0, records); err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if _, err := l.payloads.get(context.Background(), uint64(i), &records[i]); err != nil {
			t.Error(err)
		}
	}
}
