package trail

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sys/vfs"
)

// TestMain lets the test binary be a supervisor that is killed: TRAIL_TEST_RING and TRAIL_TEST_DIR.
func TestMain(m *testing.M) {
	path := os.Getenv("TRAIL_TEST_RING")
	if path == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, supervise(path, os.Getenv("TRAIL_TEST_DIR")))
	os.Exit(1)
}

func supervise(path, dir string) error {
	r, err := ring.Open(path)
	if err != nil {
		return err
	}
	w, err := Create(Config{Dir: dir, Sandbox: "box", Key: testKey(1), SegmentBytes: 32 << 10,
		SealRecords: 100, SyncEvery: time.Millisecond})
	if err != nil {
		return err
	}
	return w.Drain(context.Background(), ring.NewConsumer(r))
}

// TestAKilledSupervisorLosesNothing kills a draining supervisor at a random record: with the ring's
// file, recovery makes the trail whole.
func TestAKilledSupervisorLosesNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		b := newBook(t, nil)
		if err := b.w.Close(); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "trail")
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "TRAIL_TEST_RING="+b.path, "TRAIL_TEST_DIR="+dir)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		b.inside(1000 + random.IntN(9000)) // more than the ring holds: it must have begun
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, as was asked
		conf := Config{Dir: dir, Sandbox: "box", Key: testKey(1)}
		for range 2 { // once is enough, and twice is as good
			if err := Recover(conf, b.path, "its supervisor died", 137); err != nil {
				t.Fatal(err)
			}
			report, err := Verify(dir, Check{Key: conf.Key.Public()})
			if err != nil {
				t.Fatal(err)
			}
			if report.Records != b.wrote || report.Outside != 1 || report.Status != 137 ||
				report.Reason != "its supervisor died" {
				t.Fatalf("wrote %d, report %+v", b.wrote, report)
			}
		}
	}
}

func TestRecoverRefuses(t *testing.T) {
	b := newBook(t, nil)
	b.write(5)
	if err := Recover(b.conf, b.path, "", 0); !errs.Is(err, errs.Locked) {
		t.Errorf("while it is written: %v", err)
	}
	if err := b.w.Close(); err != nil {
		t.Fatal(err)
	}
	other := b.conf
	other.Key = testKey(2)
	if err := Recover(other, b.path, "", 0); !errs.Is(err, errs.Corrupt) {
		t.Errorf("with another key: %v", err)
	}
	other = b.conf
	other.Sandbox = "other"
	if err := Recover(other, b.path, "", 0); !errs.Is(err, errs.Corrupt) {
		t.Errorf("for another sandbox: %v", err)
	}
	if err := Recover(b.conf, filepath.Join(b.dir, "none"), "gone", 1); err != nil {
		t.Errorf("without a ring: %v", err)
	}
	if r := b.sound(Check{}); r.Records != 5 || r.Reason != "gone" {
		t.Errorf("report %+v", r)
	}
}

func TestRecoverWithoutATrail(t *testing.T) {
	b := newBook(t, nil)
	b.inside(3)
	conf := b.conf
	conf.Dir = filepath.Join(t.TempDir(), "new")
	if err := Recover(conf, b.path, "died early", 1); err != nil {
		t.Fatal(err)
	}
	if r := verifyIn(t, conf, Check{}); r.Records != 3 || !r.Ended || len(r.Faults) > 0 {
		t.Fatalf("report %+v", r)
	}
}

func TestRecoverNamesADamagedRing(t *testing.T) {
	for name, damage := range map[string]func(b *book){
		"no ring":  func(b *book) { b.replace([]byte("not a ring")) },
		"in chain": func(b *book) { b.overwrite(b.ring.Counts().Bytes-40, b.ring.Counts().Bytes, flip) },
	} {
		b := newBook(t, nil)
		b.write(5)
		b.inside(2)
		if err := b.w.Close(); err != nil {
			t.Fatal(err)
		}
		damage(b)
		if err := Recover(b.conf, b.path, "died", 1); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r := b.sound(Check{}); !r.Ended || r.Records < 5 || !strings.Contains(r.Reason, "(the ring: ") {
			t.Errorf("%s: report %+v", name, r)
		}
	}
}

func flip(frame []byte) { frame[0] ^= 1 }

func (b *book) replace(content []byte) {
	b.t.Helper()
	if err := os.Remove(b.path); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.path, content, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// TestTornTails cuts an unfinished trail at each of its last bytes, and puts garbage there.
func TestTornTails(t *testing.T) {
	fs := vfs.NewMemory()
	b := newBook(t, func(c *Config) { c.FS, c.Dir = fs, "trail" })
	b.write(4)
	if err := b.w.Outside(sandbox.Record{Kind: sandbox.KindPause}); err != nil {
		t.Fatal(err)
	}
	if err := b.w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("trail", segmentName(1))
	whole, err := vfs.ReadWhole(fs, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut <= len(whole); cut++ {
		garbage := bytes.Repeat([]byte{byte(cut)}, cut%40)
		content := append(bytes.Clone(whole[:len(whole)-cut]), garbage...)
		conf := b.conf
		conf.FS = vfs.NewMemory()
		if err := conf.FS.MakeDir("trail"); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteWhole(conf.FS, name, content); err != nil {
			t.Fatal(err)
		}
		if err := Recover(conf, "no ring", "died", 1); err != nil {
			t.Fatalf("cut by %d: %v", cut, err)
		}
		r := verifyIn(t, conf, Check{})
		if len(r.Faults) > 0 || !r.Ended {
			t.Fatalf("cut by %d: %+v", cut, r)
		}
	}
}

// TestPowerCuts cuts the power before each operation of a trail's life, restores it, and recovers:
// what a sync covered is there, and the trail is sound. The ring's file is taken to have survived.
func TestPowerCuts(t *testing.T) {
	for n := int64(0); ; n++ {
		for seed := range uint64(4) {
			fs := vfs.NewMemory()
			b := newBook(t, func(c *Config) { c.FS, c.Dir, c.SegmentBytes = fs, "trail", 2<<10 })
			fs.SetFault(vfs.PowerOffAt(n, nil))
			var err error
			synced := uint64(0)
			for i := 0; i < 6 && err == nil; i++ {
				b.inside(12)
				if err = b.drain(); err == nil {
					b.time.Advance(2_000_000_000)
					b.w.mu.Lock()
					err = b.w.settle()
					b.w.mu.Unlock()
				}
				if err == nil {
					synced = b.wrote
				}
			}
			if err == nil {
				err = b.w.Finish("over", 0)
			}
			if err == nil && n > 20 {
				return // all of its life passed before the cut
			}
			_ = b.w.Close() // the power is off
			fs.Crash(seed)
			if err := Recover(b.conf, b.path, "the power failed", 1); err != nil {
				t.Fatalf("cut %d, seed %d: %v", n, seed, err)
			}
			r := b.verify(Check{})
			if len(r.Faults) > 0 || !r.Ended || r.Records < synced {
				t.Fatalf("cut %d, seed %d: %d synced, %+v", n, seed, synced, r)
			}
		}
	}
}

// TestDamageBeforeTheEndIsLeftAlone: recovery covers what is unfinished, and nothing that was whole
// once.
func TestDamageBeforeTheEndIsLeftAlone(t *testing.T) {
	fs := vfs.NewMemory()
	b := newBook(t, func(c *Config) { c.FS, c.Dir = fs, "trail" })
	b.write(20)
	if err := b.w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("trail", segmentName(1))
	fs.Flip(name, 8*1000)
	before, err := vfs.ReadWhole(fs, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := Recover(b.conf, b.path, "died", 1); err != nil {
		t.Fatal(err)
	}
	after, err := vfs.ReadWhole(fs, name, 1<<20)
	if err != nil || !bytes.Equal(before, after) {
		t.Fatalf("the damaged segment was changed, %v", err)
	}
	r := b.verify(Check{})
	if !r.Ended || r.Reason != "died" || len(r.Faults) == 0 ||
		!strings.Contains(r.Faults[0].Text, "not what was written") {
		t.Fatalf("report %+v", r)
	}
}
