package journal

import (
	"context"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sys/vfs"
)

func TestAppendAndRecover(t *testing.T) {
	h, _ := newHarness(t)
	h.mustStart()
	for i := range 40 { // over several segments
		h.mustAppend(i*100, 300, 1)
	}
	want := h.acked
	end := h.j.Durable()
	h.mustClose()
	h.mustStart()
	if err := same(h.acked, want); err != nil {
		t.Fatal(err)
	}
	if got := h.j.Durable(); got != end {
		t.Errorf("ends at %+v, want %+v", got, end)
	}
	h.mustAppend(5)
	want = h.acked
	h.mustClose()
	h.mustStart()
	if err := same(h.acked, want); err != nil {
		t.Fatal(err)
	}
	if e := h.j.Extent(); e.FirstSeq != 1 || e.LastSeq != 121 || e.Segments < 3 {
		t.Errorf("extent %+v", e)
	}
	h.mustClose()
}

func TestRealDisk(t *testing.T) {
	h := &harness{t: t, fs: vfs.OS{}, options: small}
	t.Chdir(t.TempDir())
	h.mustStart()
	for i := range 30 {
		h.mustAppend(i*50, 4000)
	}
	want := h.acked
	h.mustClose()
	h.mustStart()
	if err := same(h.acked, want); err != nil {
		t.Fatal(err)
	}
	_, err := Open(h.fs, testDir, small)
	wantKind(t, err, errs.Locked)
	h.mustClose()
}

func TestRecoverFromTheMiddle(t *testing.T) {
	h, _ := newHarness(t)
	h.mustStart()
	var middle Position
	for i := range 60 {
		h.mustAppend(1000)
		if i == 33 {
			middle = h.j.Durable()
		}
	}
	h.mustClose()
	j, err := Open(h.fs, testDir, small)
	if err != nil {
		t.Fatal(err)
	}
	next := middle.Seq
	err = j.Recover(context.Background(), middle, func(r *Record) error {
		if next++; r.Seq != next {
			t.Fatalf("record %d came, want %d", r.Seq, next)
		}
		return nil
	})
	if err != nil || next != 60 {
		t.Fatalf("came to record %d: %v", next, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	middle.Chain[0] ^= 1
	j, err = Open(h.fs, testDir, small)
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, j.Recover(context.Background(), middle, func(*Record) error { return nil }), errs.Corrupt)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestGroupLimits(t *testing.T) {
	h, _ := newHarness(t)
	h.mustStart()
	var g Group
	_, err := h.j.Admit(&g, small.GroupBytes)
	wantKind(t, err, errs.TooLarge)
	if err == nil || !strings.Contains(err.Error(), "a body of 16384 bytes, the limit is 16128") {
		t.Errorf("message %q", err)
	}
	records := 0
	for ; ; records++ {
		ok, err := h.j.Admit(&g, 128)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		h.j.Add(&g, Entry{Operation: 2, Body: body(uint64(records+1), 128)})
	}
	if records != small.GroupBytes/512 || g.Bytes() != small.GroupBytes {
		t.Errorf("a group holds %d records in %d bytes", records, g.Bytes())
	}
	h.j.Seal(&g)
	if err := h.j.Write(&g); err != nil {
		t.Fatal(err)
	}
	g.Reset()
	if g.Len() != 0 || g.Bytes() != 0 {
		t.Error("a reset group is not empty")
	}
	h.mustClose()
}

func TestPipelinedGroups(t *testing.T) {
	h, _ := newHarness(t)
	h.mustStart()
	groups := make([]Group, 30)
	seq := uint64(0)
	for i := range groups { // sealed far ahead of being written, over several segments
		for range 2 {
			ok, err := h.j.Admit(&groups[i], 3000)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			seq++
			if got := h.j.Add(&groups[i], Entry{Body: body(seq, 3000)}); got != seq {
				t.Fatalf("added as %d, want %d", got, seq)
			}
			h.acked = append(h.acked, body(seq, 3000))
		}
		h.j.Seal(&groups[i])
	}
	for i := range groups {
		if err := h.j.Write(&groups[i]); err != nil {
			t.Fatal(err)
		}
	}
	want := h.acked
	h.mustClose()
	h.mustStart()
	if err := same(h.acked, want); err != nil {
		t.Fatal(err)
	}
	h.mustClose()
}

func TestRead(t *testing.T) {
	h, _ := newHarness(t)
	h.mustStart()
	for range 60 {
		h.mustAppend(700, 900)
	}
	for range 2 { // with marks from writing, then with marks from reading
		for _, from := range []uint64{0, 1, 2, 57, 119, 120, 121, 500} {
			for _, limit := range []int{1, 7, 1000} {
				got := 0
				err := h.j.Read(context.Background(), from, limit, func(r *Record) error {
					want := max(from, 1) + uint64(got)
					if r.Seq != want || string(r.Body) != string(h.acked[want-1]) {
						t.Fatalf("from %d: record %d came, want %d", from, r.Seq, want)
					}
					got++
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if want := min(limit, max(0, 121-int(max(from, 1)))); got != want {
					t.Errorf("from %d, limit %d: %d records, want %d", from, limit, got, want)
				}
			}
		}
		h.mustClose()
		h.mustStart()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	wantKind(t, h.j.Read(ctx, 1, 1, func(*Record) error { return nil }), errs.Canceled)
	h.mustClose()
}

func TestSyncErrorStopsForEver(t *testing.T) {
	h, fs := newHarness(t)
	h.mustStart()
	h.mustAppend(10)
	fs.SetFault(func(op vfs.Op) error { // of the segment, not of the next one's preparation
		if op.Kind == vfs.OpSync && strings.Contains(op.Name, segmentName(1)) {
			return errs.New(errs.Internal, "input/output error")
		}
		return nil
	})
	first := h.append(10)
	if first == nil {
		t.Fatal("a failed sync was acknowledged")
	}
	fs.SetFault(nil)
	for range 3 {
		if err := h.append(10); err != first {
			t.Errorf("later: %v, want the first error again: %v", err, first)
		}
	}
	if err := h.j.Mark(); err != first {
		t.Errorf("mark: %v, want %v", err, first)
	}
	if err := h.j.Adopt(Snapshot{}); err != first {
		t.Errorf("adopt: %v, want %v", err, first)
	}
	if err := h.j.Close(); err == nil {
		t.Error("closed as if all were well")
	}
	h.j = nil
	want := "journal: stopped for good: sync records 2 to 2: input/output error"
	if first.Error() != want {
		t.Errorf("message %q, want %q", first, want)
	}
	// The dropped write is gone for good, and the journal before it is whole.
	h.crash(fs, 1)
	want1 := h.acked
	h.mustStart()
	if err := same(h.acked, want1); err != nil {
		t.Error(err)
	}
	h.mustClose()
}

func TestFullDisk(t *testing.T) {
	h, fs := newHarness(t)
	fs.SetCapacity(48<<10 + 2*PageSize + 30<<10) // the first segment, no second
	h.mustStart()
	var err error
	for err == nil {
		err = h.append(4000)
	}
	wantKind(t, err, errs.NoSpace)
	if !strings.Contains(err.Error(), "prepare segment 00000002.segment") ||
		!strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("message %q", err)
	}
	wantKind(t, h.append(4000), errs.NoSpace)
	if h.j.Err() != nil {
		t.Errorf("a full disk stopped the journal: %v", h.j.Err())
	}
	fs.SetCapacity(0)
	h.mustAppend(4000) // room again: it goes on by itself
	want := h.acked
	h.mustClose()
	h.mustStart()
	if err := same(h.acked, want); err != nil {
		t.Fatal(err)
	}
	h.mustClose()
}

func TestNoRoomForANewJournal(t *testing.T) {
	h, fs := newHarness(t)
	fs.SetCapacity(20 << 10)
	_, err := h.start()
	wantKind(t, err, errs.NoSpace)
	fs.SetCapacity(0)
	h.mustStart()
	h.mustAppend(1)
	h.mustClose()
}

func TestReadOnlyFileSystem(t *testing.T) {
	h, fs := newHarness(t)
	h.mustStart()
	h.mustAppend(100)
	h.mustClose()
	fs.SetReadOnly(true)
	_, err := h.start()
	wantKind(t, err, errs.Forbidden)
	h.options.ReadOnly = true
	got, err := h.start()
	if err != nil || len(got) != 1 {
		t.Fatalf("looking gave %d records: %v", len(got), err)
	}
	wantKind(t, h.append(1), errs.Forbidden)
	h.mustClose()
}

func TestReadOnlyChangesNothing(t *testing.T) {
	h, fs := newHarness(t)
	h.mustStart()
	h.mustAppend(100)
	h.crash(fs, 2)
	before := fs.Clone()
	h.options.ReadOnly = true
	if _, err := h.start(); err != nil {
		t.Fatal(err)
	}
	h.mustClose()
	for _, name := range fs.Names("") {
		if string(read(t, fs, name)) != string(read(t, before, name)) {
			t.Errorf("%s was changed", name)
		}
	}
	h.fs = vfs.NewMemory()
	_, err := h.start()
	wantKind(t, err, errs.NotFound)
}

func TestSecondOpener(t *testing.T) {
	h, _ := newHarness(t)
	h.mustStart()
	_, err := Open(h.fs, testDir, small)
	wantKind(t, err, errs.Locked)
	h.mustClose()
	h.mustStart()
	h.mustClose()
}

func TestNewJournalNeedsAnID(t *testing.T) {
	_, err := Open(vfs.NewMemory(), testDir, Options{})
	wantKind(t, err, errs.Invalid)
}

func TestForeignSegment(t *testing.T) {
	h, fs := newHarness(t)
	h.mustStart()
	h.mustAppend(10)
	h.mustClose()
	other, otherFS := newHarness(t)
	other.options.ID = ident.ID{Lo: 8}
	other.mustStart()
	other.mustAppend(10)
	other.mustClose()
	name := testDir + "/" + segmentName(1)
	fs.Overwrite(name, 0, read(t, otherFS, name))
	_, err := h.start()
	wantKind(t, err, errs.Corrupt)
	if want := "the segment is of journal"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
}

func TestSnapshotsAndRecycling(t *testing.T) {
	h, fs := newHarness(t)
	h.options.Retain = 1
	h.mustStart()
	for round := range 6 {
		for range 40 {
			h.mustAppend(2000)
		}
		at := h.j.Durable()
		snapshot := Snapshot{Position: at, Timestamp: 9, Size: int64(round)}
		if err := h.j.Adopt(snapshot); err != nil {
			t.Fatal(err)
		}
		if got := h.j.Snapshots(); got[0] != snapshot || len(got) != min(2, round+1) {
			t.Fatalf("snapshots %+v", got)
		}
	}
	extent := h.j.Extent()
	if extent.FirstSeq < 100 || extent.Segments > 8 {
		t.Errorf("nothing was let go of: %+v", extent)
	}
	none := func(*Record) error { return nil }
	wantKind(t, h.j.Read(context.Background(), 1, 1, none), errs.NotFound)
	if err := h.j.Read(context.Background(), extent.FirstSeq, 1000, none); err != nil {
		t.Error(err)
	}
	older := h.j.Snapshots()[1]
	h.mustClose()
	_, err := h.start()
	wantKind(t, err, errs.Corrupt) // the beginning is gone: a start from nothing must say so

	j, err := Open(fs, testDir, h.options)
	if err != nil {
		t.Fatal(err)
	}
	seen := older.Seq
	if err := j.Recover(context.Background(), older.Position, func(r *Record) error {
		seen = r.Seq
		return nil
	}); err != nil || seen != 240 {
		t.Errorf("from the older snapshot: came to %d: %v", seen, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAdoptKeepsOrder(t *testing.T) {
	h, _ := newHarness(t)
	h.mustStart()
	var places []Position
	for range 3 {
		h.mustAppend(1)
		places = append(places, h.j.Durable())
	}
	for _, i := range []int{0, 1, 1, 2} {
		if err := h.j.Adopt(Snapshot{Position: places[i], Size: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.j.Snapshots(); len(got) != 2 || got[0].Seq != 3 || got[1].Seq != 2 {
		t.Errorf("snapshots %+v", got)
	}
	h.mustClose()
}

func read(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if err := vfs.ReadFull(f, b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}
