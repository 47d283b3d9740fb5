package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"surety/base/errs"
	"surety/sys/vfs"
)

// TestPowerCutAtEveryPoint cuts the power before each changing operation of a run that crosses
// segments, marks, adopts and closes; tears what was under way; and holds what the next start finds
// to what was acknowledged. Then it goes on, and cuts again.
func TestPowerCutAtEveryPoint(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 1
	}
	for cut := int64(0); ; cut++ {
		finished := false
		for seed := range seeds {
			h, fs := newHarness(t)
			finished = powerCut(t, h, fs, cut, seed)
		}
		if finished {
			t.Logf("%d points, %d ways each", cut, seeds)
			if cut < 60 {
				t.Errorf("the run has only %d points", cut)
			}
			return
		}
	}
}

// powerCut reports whether the run came to its end before the cut.
func powerCut(t *testing.T, h *harness, fs *vfs.Memory, cut int64, seed uint64) bool {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, uint64(cut)))
	fs.SetFault(vfs.PowerOffAt(cut, nil))
	attempted, err := h.run(random)
	finished := err == nil
	for again := range uint64(2) { // the second cut falls into the mending of the first
		h.crash(fs, seed*2+again)
		fs.SetFault(vfs.PowerOffAt(int64(random.IntN(8)), nil))
		if got, err := h.start(); err == nil {
			h.check(t, got, attempted, fmt.Sprintf("cut %d, seed %d, again %d", cut, seed, again))
		}
	}
	h.crash(fs, seed)
	got, err := h.start()
	if err != nil {
		t.Fatalf("cut %d, seed %d: %v", cut, seed, err)
	}
	h.check(t, got, attempted, fmt.Sprintf("cut %d, seed %d", cut, seed))
	h.mustAppend(100, 5000)
	h.mustAppend(3)
	h.crash(fs, seed+1)
	want := h.acked
	h.mustStart()
	if err := same(h.acked, want); err != nil {
		t.Fatalf("cut %d, seed %d, after going on: %v", cut, seed, err)
	}
	h.mustClose()
	return finished
}

// run works until an error. It returns how many records may be there at most: those acknowledged
// and those of the group that was under way.
func (h *harness) run(random *rand.Rand) (attempted int, err error) {
	if h.acked, err = h.start(); err != nil {
		return 0, err
	}
	for i := range 24 {
		sizes := []int{random.IntN(6000), random.IntN(300), random.IntN(5000)}[:1+random.IntN(3)]
		if err := h.append(sizes...); err != nil {
			return len(h.acked) + len(sizes), err
		}
		if i%7 == 3 {
			if err := h.j.Mark(); err != nil {
				return len(h.acked), err
			}
		}
		if i%9 == 8 {
			if err := h.j.Adopt(Snapshot{Position: h.j.Durable()}); err != nil {
				return len(h.acked), err
			}
		}
	}
	j := h.j
	h.j = nil
	return len(h.acked), j.Close()
}

// check holds a start's findings to the acknowledged history, and takes them as the new one.
func (h *harness) check(t *testing.T, got []text, attempted int, where string) {
	t.Helper()
	if len(got) < len(h.acked) || len(got) > max(attempted, len(h.acked)) {
		t.Fatalf("%s: %d records found, %d acknowledged, %d attempted",
			where, len(got), len(h.acked), attempted)
	}
	if err := same(got[:len(h.acked)], h.acked); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	h.acked = got // what a start has shown must stay
}

// grown returns the file system of a journal with some segments, closed or not, and its history.
func grown(t testing.TB, closed bool) (*vfs.Memory, []text) {
	h, fs := newHarness(t)
	h.options.SegmentBytes, h.options.FirstSegmentBytes = 32<<10, 24<<10
	h.options.GroupBytes = 8 << 10
	h.mustStart()
	for i := range 12 {
		h.mustAppend(700+i*97, 300, 2100)
	}
	want := h.acked
	if closed {
		h.mustClose()
	} else {
		h.crash(fs, 1)
	}
	return fs, want
}

// TestEveryBitFlip flips bits all over the files, one at a time. Each start must refuse, or find
// exactly what was acknowledged.
func TestEveryBitFlip(t *testing.T) {
	for _, closed := range []bool{true, false} {
		pristine, want := grown(t, closed)
		refused, exact := 0, 0
		random := rand.New(rand.NewPCG(11, 12))
		for _, name := range pristine.Names("") {
			size := int64(len(read(t, pristine, name)))
			for at := int64(0); at < size; at++ {
				if at%4096 > 300 && at%499 != 0 || at%3 != 0 { // more of what starts a page
					continue
				}
				fs := pristine.Clone()
				fs.Flip(name, at*8+random.Int64N(8))
				h := &harness{t: t, fs: fs, options: small}
				h.options.ReadOnly = at%5 != 0
				got, err := h.start()
				switch {
				case err == nil:
					if err := same(got, want); err != nil {
						t.Fatalf("closed %v, %s, byte %d: silently different: %v", closed, name, at, err)
					}
					h.mustClose()
					exact++
				case errs.Is(err, errs.Corrupt):
					refused++
				default:
					t.Fatalf("closed %v, %s, byte %d: %v", closed, name, at, err)
				}
			}
		}
		t.Logf("closed %v: %d flips refused, %d without effect", closed, refused, exact)
		if refused < 300 || exact < 300 {
			t.Error("the flips do not reach both outcomes")
		}
	}
}

// TestEveryLostSector takes away one written sector at a time, as a disk does that acknowledged a
// write and lost it. Only in the very last group, above the floor, may that pass for a torn write.
func TestEveryLostSector(t *testing.T) {
	for _, marked := range []bool{true, false} {
		h, pristine := newHarness(t)
		h.mustStart()
		for range 12 {
			h.mustAppend(4000, 3000, 200)
		}
		if marked {
			if err := h.j.Mark(); err != nil {
				t.Fatal(err)
			}
		}
		last := h.j.Durable()
		h.crash(pristine, 1)
		for _, name := range pristine.Names(testDir + "/0") {
			for at := int64(0); at < int64(len(read(t, pristine, name))); at += vfs.SectorSize {
				fs := pristine.Clone()
				if blank(read(t, fs, name)[at : at+vfs.SectorSize]) {
					continue
				}
				fs.Overwrite(name, at, make([]byte, vfs.SectorSize))
				lost := &harness{t: t, fs: fs, options: small}
				got, err := lost.start()
				inLast := name == testDir+"/"+segmentName(last.Segment) && at >= last.Offset-8192
				switch {
				case err == nil && same(got, h.acked) == nil:
					lost.mustClose() // the sector held nothing but what is computed again
				case err == nil && !marked && inLast:
					if err := same(got, h.acked[:33]); err != nil {
						t.Errorf("%s at %d: %v", name, at, err)
					}
					lost.mustClose()
				case !errs.Is(err, errs.Corrupt):
					t.Fatalf("marked %v, %s at %d of %+v: %d records, %v", marked, name, at, last, len(got), err)
				}
			}
		}
	}
}

// TestTruncatedSegments cuts each file at many lengths.
func TestTruncatedSegments(t *testing.T) {
	for _, closed := range []bool{true, false} {
		pristine, want := grown(t, closed)
		for _, name := range pristine.Names(testDir + "/0") {
			size := int64(len(read(t, pristine, name)))
			for _, cut := range []int64{0, 1, 100, 4095, 4096, 5000, 8192, size / 2, size - 4096, size - 1} {
				fs := pristine.Clone()
				fs.Cut(name, cut)
				h := &harness{t: t, fs: fs, options: small}
				got, err := h.start()
				if err == nil {
					if err := same(got, want); err != nil {
						t.Fatalf("closed %v, %s cut to %d: silently different: %v", closed, name, cut, err)
					}
					h.mustClose()
				} else if !errs.Is(err, errs.Corrupt) {
					t.Fatalf("closed %v, %s cut to %d: %v", closed, name, cut, err)
				}
			}
			fs := pristine.Clone()
			if err := fs.Remove(name); err != nil {
				t.Fatal(err)
			}
			h := &harness{t: t, fs: fs, options: small}
			if got, err := h.start(); err == nil {
				if err := same(got, want); err != nil {
					t.Fatalf("closed %v, %s removed: silently different: %v", closed, name, err)
				}
				h.mustClose()
			} else if !errs.Is(err, errs.Corrupt) {
				t.Fatalf("closed %v, %s removed: %v", closed, name, err)
			}
		}
	}
}

// lyingFS says that it synced and did not: the planted fault by which the power-cut test is judged.
type lyingFS struct{ vfs.FS }

type lyingFile struct{ vfs.File }

func (f lyingFS) Open(name string, mode vfs.Mode) (vfs.File, error) {
	file, err := f.FS.Open(name, mode)
	if err != nil || mode&(vfs.Writable|vfs.Create) == 0 {
		return file, err
	}
	return lyingFile{file}, nil
}

func (lyingFile) Sync() error { return nil }

// TestPowerCutsFindALyingDisk shows that the comparison with what was acknowledged has teeth.
func TestPowerCutsFindALyingDisk(t *testing.T) {
	found := 0
	for cut := int64(20); cut < 120; cut += 7 {
		h, fs := newHarness(t)
		h.fs = lyingFS{fs}
		fs.SetFault(vfs.PowerOffAt(cut, nil))
		_, _ = h.run(rand.New(rand.NewPCG(1, uint64(cut)))) // it ends when the power does
		h.crash(fs, uint64(cut))
		h.fs = fs
		got, err := h.start()
		if err != nil || len(got) < len(h.acked) || same(got[:len(h.acked)], h.acked) != nil {
			found++
		}
		if err == nil {
			h.mustClose()
		}
	}
	if found == 0 {
		t.Error("a disk that never syncs was not found out")
	}
}
