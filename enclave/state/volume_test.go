package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
	"surety/sys/inode"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// anchorage is an anchor in memory: what a broker would keep.
type anchorage struct {
	mu     sync.Mutex
	at     mark
	fail   error // answers the next commits
	deaf   bool  // keeps what it is told and answers with an error
	counts int
}

func (a *anchorage) Last() (uint64, enclave.Digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at.epoch, a.at.root
}

func (a *anchorage) Commit(_ context.Context, epoch uint64, root enclave.Digest) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts++
	if a.fail != nil && !a.deaf {
		return a.fail
	}
	if (mark{epoch, root}) != a.at && epoch != a.at.epoch+1 {
		return errs.New(errs.Refused, "epoch %d after %d", epoch, a.at.epoch)
	}
	a.at = mark{epoch, root}
	return a.fail
}

var noAnchor Anchor

type bench struct {
	disk   *vfs.Memory
	anchor *anchorage
	clock  *wallclock.Manual
	config Config
}

func newBench() *bench {
	b := &bench{disk: vfs.NewMemory(), anchor: &anchorage{},
		clock: wallclock.NewManual(clock.Instant(1_700_000_000 * clock.Second))}
	b.config = Config{Dir: "/state", Keys: keysUpTo(3), Anchor: b.anchor, Bytes: 8 << 20,
		Disk: b.disk, Clock: b.clock, segmentBytes: 256 << 10}
	return b
}

// keysUpTo gives keys for SVN n and below, the newest first.
func keysUpTo(n uint64) []client.StateKey {
	var keys []client.StateKey
	for svn := n; svn > 0; svn-- {
		keys = append(keys, client.StateKey{SVN: svn, Key: [32]byte{byte(svn), 0x5e}})
	}
	return keys
}

func (b *bench) open(t testing.TB) *Volume {
	t.Helper()
	v, err := Open(t.Context(), b.config)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, v *Volume, name string, content []byte) inode.Number {
	t.Helper()
	a, err := v.Make(inode.Root, name, inode.New{Mode: inode.Regular | 0o644})
	must(t, err)
	_, err = v.Write(a.Number, content, 0)
	must(t, err)
	return a.Number
}

func contentOf(t testing.TB, v *Volume, name string) []byte {
	t.Helper()
	a, err := v.Lookup(inode.Root, name)
	must(t, err)
	content := make([]byte, a.Size)
	n, err := v.Read(a.Number, content, 0)
	must(t, err)
	return content[:n]
}

func TestWhatWasSyncedIsThereAgain(t *testing.T) {
	b := newBench()
	v := b.open(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	create(t, v, "a", []byte("hello"))
	create(t, v, "big", big)
	must(t, v.Sync(t.Context()))
	if !v.Protected() || v.Epoch() != 2 {
		t.Errorf("protected %t, epoch %d", v.Protected(), v.Epoch())
	}
	b.disk.Crash(1)
	v = b.open(t)
	if got := contentOf(t, v, "a"); string(got) != "hello" {
		t.Errorf("a: %q", got)
	}
	if !bytes.Equal(contentOf(t, v, "big"), big) {
		t.Error("big differs")
	}
	must(t, v.Close(t.Context()))
	must(t, v.Close(t.Context()))
}

func TestTimedCommit(t *testing.T) {
	b := newBench()
	v := b.open(t)
	create(t, v, "a", []byte("hello"))
	b.clock.Advance(clock.Second)
	for v.Epoch() < 2 {
		if b.clock.Waiting() > 0 { // the commit may have come before the file
			b.clock.Advance(clock.Second)
		}
	}
	b.disk.Crash(1)
	if got := contentOf(t, b.open(t), "a"); string(got) != "hello" {
		t.Errorf("%q", got)
	}
}

func TestNothingReadableOnDisk(t *testing.T) {
	b := newBench()
	v := b.open(t)
	for i := range 50 {
		create(t, v, fmt.Sprintf("planted-name-%d", i), []byte("planted-content"))
	}
	must(t, v.Close(t.Context()))
	for _, name := range b.disk.Names("/state") {
		content, err := vfs.ReadWhole(b.disk, name, 1<<30)
		must(t, err)
		if bytes.Contains(content, []byte("planted")) {
			t.Errorf("%s shows what it holds", name)
		}
	}
}

func TestSecondOpenIsLocked(t *testing.T) {
	b := newBench()
	b.open(t)
	if _, err := Open(t.Context(), b.config); !errs.Is(err, errs.Locked) {
		t.Errorf("%v", err)
	}
}

func TestOldCopyIsRefused(t *testing.T) {
	b := newBench()
	v := b.open(t)
	create(t, v, "a", []byte("1"))
	must(t, v.Sync(t.Context()))
	old := b.disk.Clone()
	create(t, v, "b", []byte("2"))
	must(t, v.Close(t.Context()))
	late := b.disk.Clone()

	b.config.Disk = old // one epoch behind
	_, err := Open(t.Context(), b.config)
	if !errs.Is(err, errs.Refused) || !bytes.Contains([]byte(err.Error()), []byte("rolled back")) {
		t.Errorf("an old copy: %v", err)
	}
	b.config.Disk = vfs.NewMemory() // nothing at all
	if _, err := Open(t.Context(), b.config); !errs.Is(err, errs.Refused) {
		t.Errorf("an empty directory: %v", err)
	}
	b.config.Disk = late
	v = b.open(t)
	must(t, v.Close(t.Context()))
}

func TestOldCopyWithoutAnchorGoesUnnoticed(t *testing.T) {
	b := newBench()
	b.config.Anchor = noAnchor
	v := b.open(t)
	create(t, v, "a", []byte("1"))
	must(t, v.Sync(t.Context()))
	old := b.disk.Clone()
	create(t, v, "b", []byte("2"))
	must(t, v.Close(t.Context()))
	b.config.Disk = old
	v = b.open(t)
	if v.Protected() {
		t.Error("it says that it is protected")
	}
	must(t, v.Close(t.Context()))
}

func TestForkIsRefused(t *testing.T) {
	b := newBench()
	v := b.open(t)
	must(t, v.Close(t.Context()))
	fork := b.disk.Clone()
	remembered := b.anchor.at
	v = b.open(t)
	create(t, v, "a", []byte("1"))
	must(t, v.Close(t.Context()))
	told := b.anchor.at

	b.config.Disk, b.anchor.at = fork, remembered
	v = b.open(t)
	create(t, v, "a", []byte("other"))
	must(t, v.Close(t.Context()))
	b.anchor.at = told
	if _, err := Open(t.Context(), b.config); !errs.Is(err, errs.Refused) {
		t.Errorf("%v", err)
	}
}

func TestTwoCommitsAheadAreRefused(t *testing.T) {
	b := newBench()
	v := b.open(t)
	remembered := b.anchor.at
	for _, name := range []string{"a", "b"} {
		create(t, v, name, nil)
		must(t, v.Sync(t.Context()))
	}
	must(t, v.Close(t.Context()))
	b.anchor.at = remembered
	if _, err := Open(t.Context(), b.config); !errs.Is(err, errs.Refused) {
		t.Errorf("%v", err)
	}
}

func TestUnacknowledgedTailIsAnchored(t *testing.T) {
	b := newBench()
	v := b.open(t)
	create(t, v, "a", []byte("1"))
	b.anchor.fail = errs.New(errs.Unavailable, "the broker is away")
	if err := v.Sync(t.Context()); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("%v", err)
	}
	b.anchor.fail = nil
	b.disk.Crash(1)
	before, _ := b.anchor.Last()
	v = b.open(t)
	if after, _ := b.anchor.Last(); after != before+1 || string(contentOf(t, v, "a")) != "1" {
		t.Errorf("epoch %d after %d", after, before)
	}
}

func TestAnchorThatComesBack(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		b := newBench()
		v := b.open(t)
		b.anchor.fail, b.anchor.deaf = errs.New(errs.Unavailable, "the broker is away"), deaf
		create(t, v, "a", []byte("1"))
		if err := v.Sync(t.Context()); !errs.Is(err, errs.Unavailable) {
			t.Fatalf("%v", err)
		}
		create(t, v, "b", []byte("2")) // the program may go on, unacknowledged
		b.anchor.fail = nil
		must(t, v.Sync(t.Context()))
		if last, _ := b.anchor.Last(); last != 3 || v.Epoch() != 3 {
			t.Errorf("epoch %d, anchored %d", v.Epoch(), last)
		}
	}
}

func TestLostLeaseEndsWriting(t *testing.T) {
	b := newBench()
	v := b.open(t)
	n := create(t, v, "a", []byte("1"))
	b.anchor.fail = errs.New(errs.Locked, "another has the lease")
	for range 2 {
		if err := v.Sync(t.Context()); !errs.Is(err, errs.Locked) {
			t.Fatalf("%v", err)
		}
	}
	if _, err := v.Write(n, []byte("2"), 0); !errs.Is(err, errs.Locked) {
		t.Errorf("%v", err)
	}
	if string(contentOf(t, v, "a")) != "1" {
		t.Error("it is not even readable")
	}
}

func TestVersions(t *testing.T) {
	b := newBench()
	b.config.Keys = keysUpTo(1)
	v := b.open(t)
	create(t, v, "a", []byte("by 1"))
	must(t, v.Close(t.Context()))
	untouched := b.disk.Clone()

	b.config.Keys = keysUpTo(2)
	v = b.open(t)
	if got := contentOf(t, v, "a"); string(got) != "by 1" {
		t.Errorf("%q", got)
	}
	must(t, v.Close(t.Context()))

	b.config.Keys = keysUpTo(1) // the older version, though the newer one changed nothing
	_, err := Open(t.Context(), b.config)
	want := "was written by SVN 2; this build has up to 1"
	if !errs.Is(err, errs.Unauthorized) || !bytes.Contains([]byte(err.Error()), []byte(want)) {
		t.Errorf("%v", err)
	}
	b.config.Disk = untouched
	if _, err := Open(t.Context(), b.config); !errs.Is(err, errs.Refused) {
		t.Errorf("the copy from before: %v", err)
	}
}

func TestAnothersKeyIsRefused(t *testing.T) {
	for _, anchored := range []bool{true, false} {
		b := newBench()
		if !anchored {
			b.config.Anchor = noAnchor
		}
		v := b.open(t)
		create(t, v, "a", make([]byte, 10000))
		must(t, v.Close(t.Context()))
		b.config.Keys[0].Key[31]++
		if _, err := Open(t.Context(), b.config); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%v", err)
		}
		b.config.Keys[0].Key[31]--
		v = b.open(t) // nothing of it was touched
		must(t, v.Close(t.Context()))
	}
}

func TestOpenRefusesItsConfiguration(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"directory": func(c *Config) { c.Dir = "state" },
		"no keys":   func(c *Config) { c.Keys = nil },
		"order":     func(c *Config) { c.Keys[0].SVN = 0 },
		"no limit":  func(c *Config) { c.Bytes = 0 },
		"limit":     func(c *Config) { c.Bytes = MaxBytes + 1 },
	} {
		b := newBench()
		spoil(&b.config)
		if _, err := Open(t.Context(), b.config); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConcurrentSyncsShareCommits(t *testing.T) {
	b := newBench()
	v := b.open(t)
	var group sync.WaitGroup
	const writers, each = 8, 20
	for w := range writers {
		n := create(t, v, fmt.Sprint(w), nil)
		group.Go(func() {
			for i := range each {
				if _, err := v.Write(n, []byte{byte(i)}, uint64(i)); err != nil {
					t.Error(err)
				}
				if err := v.Sync(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	must(t, v.Close(t.Context()))
	t.Logf("%d syncs, %d commits", writers*each, b.anchor.counts)
	if b.anchor.counts > writers*each+2 {
		t.Errorf("%d commits for %d syncs", b.anchor.counts, writers*each)
	}
}

func TestDiskFull(t *testing.T) {
	b := newBench()
	v := b.open(t)
	create(t, v, "a", []byte("1"))
	must(t, v.Sync(t.Context()))
	b.disk.SetCapacity(1)
	n := create(t, v, "b", make([]byte, 100<<10))
	if err := v.Sync(t.Context()); !errs.Is(err, errs.NoSpace) {
		t.Fatalf("%v", err)
	}
	b.disk.SetCapacity(0)
	must(t, v.Sync(t.Context()))
	b.disk.Crash(3)
	v = b.open(t)
	if a, err := v.Stat(n); err != nil || a.Size != 100<<10 {
		t.Errorf("%v, %v", a, err)
	}
}

func TestFailedSyncEndsWriting(t *testing.T) {
	b := newBench()
	v := b.open(t)
	create(t, v, "a", []byte("1"))
	broken := errors.New("the disk is gone")
	b.disk.SetFault(vfs.FailOn(vfs.OpSync, 1, broken))
	if err := v.Sync(t.Context()); !errors.Is(err, broken) {
		t.Fatalf("%v", err)
	}
	if err := v.Sync(t.Context()); !errors.Is(err, broken) {
		t.Fatalf("the second time: %v", err)
	}
}
