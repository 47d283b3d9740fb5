package replica

import (
	"context"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/sys/vfs"
)

func (w *world) verify() (Report, error) {
	return Verify(context.Background(), w.config, Deps{FS: w.fs, Clock: w.clock}, nil)
}

func TestVerify(t *testing.T) {
	for _, closed := range []bool{true, false} {
		w, _ := aged(t, closed)
		before := w.memory.Clone()
		told := uint64(0)
		report, err := Verify(context.Background(), w.config, Deps{FS: w.fs, Clock: w.clock},
			func(done, last uint64) {
				if done != told+1 || last < done {
					t.Fatalf("told %d of %d after %d", done, last, told)
				}
				told = done
			})
		if err != nil {
			t.Fatal(err)
		}
		if report.FirstSeq != 1 || report.LastSeq != 90 || told != 90 || len(report.Snapshots) != 2 ||
			!report.Snapshots[0].Replayed || !report.Snapshots[1].Replayed {
			t.Errorf("report %+v", report)
		}
		for _, name := range w.memory.Names("") {
			if fileSize(t, w.memory, name) != fileSize(t, before, name) {
				t.Errorf("%s was changed", name)
			}
		}
		w.mustOpen()
		if report.Digest != w.r.state.Digest() || report.Chain != w.r.journal.Durable().Chain {
			t.Error("the report is of another ledger")
		}
		_, err = w.verify() // while it is open
		wantKind(t, err, errs.Locked)
		w.mustClose()
	}
}

func TestVerifyWithoutTheBeginning(t *testing.T) {
	w := newWorld(t)
	w.config.Journal.Retain = 1
	w.mustOpen()
	h := &history{load: newLoad(4, 0)}
	for i := range 400 {
		if err := h.step(w.r); err != nil {
			t.Fatal(err)
		}
		if i%130 == 129 { // each close leaves a snapshot, and two of them let go of segments
			w.mustClose()
			w.mustOpen()
		}
	}
	w.mustClose()
	report, err := w.verify()
	if err != nil || report.FirstSeq <= 1 || report.LastSeq != 400 || !report.Snapshots[0].Replayed ||
		report.Snapshots[1].Replayed {
		t.Errorf("report %+v, %v", report, err)
	}
}

func TestVerifyEmptyAndMissing(t *testing.T) {
	w := newWorld(t)
	_, err := w.verify()
	wantKind(t, err, errs.NotFound)
	w.mustOpen()
	w.mustClose()
	if report, err := w.verify(); err != nil || report.LastSeq != 0 || report.Snapshots != nil {
		t.Errorf("report %+v, %v", report, err)
	}
}

// TestVerifyFindsEveryFlip flips bits where a start would not look: in old segments and snapshots,
// which verification reads whole. What it passes is byte for byte what matters.
func TestVerifyFindsEveryFlip(t *testing.T) {
	pristine, _ := aged(t, true)
	want, err := pristine.verify()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(8, 9))
	found := map[string]int{}
	for _, name := range pristine.memory.Names(testDir + "/") {
		size := fileSize(t, pristine.memory, name)
		for range min(25, size) {
			w := newWorld(silent{t})
			w.memory = pristine.memory.Clone()
			w.fs = w.memory
			at := random.Int64N(size)
			byteBefore := byteAt(t, w.memory, name, at)
			w.memory.Flip(name, at*8+random.Int64N(8))
			report, err := w.verify()
			kind := name[strings.LastIndex(name, ".")+1:]
			switch {
			case err != nil:
				wantKind(t, err, errs.Corrupt)
				found[kind]++
			case !reflect.DeepEqual(report, want):
				t.Fatalf("%s byte %d: verified as another ledger", name, at)
			case kind == "snapshot" && at < size-4096 || kind == "segment" && byteBefore != 0:
				t.Errorf("%s byte %d: a flip was not found", name, at)
			}
		}
	}
	t.Logf("found %v", found)
}

func byteAt(t *testing.T, fs vfs.FS, name string, at int64) byte {
	t.Helper()
	f, err := fs.Open(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if err := vfs.ReadFull(f, b[:], at); err != nil {
		t.Fatal(err)
	}
	return b[0]
}
