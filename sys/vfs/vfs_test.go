package vfs

import (
	"bytes"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// TestConformance holds both implementations to the interface's promises.
func TestConformance(t *testing.T) {
	t.Run("os", func(t *testing.T) { conform(t, OS{}, t.TempDir()) })
	t.Run("memory", func(t *testing.T) {
		m := NewMemory()
		if err := m.MakeDir("/top"); err != nil {
			t.Fatal(err)
		}
		conform(t, m, "/top")
	})
}

func conform(t *testing.T, fs FS, top string) {
	dir := path.Join(top, "a", "b")
	must(t, fs.MakeDir(dir))
	must(t, fs.MakeDir(dir))
	name := path.Join(dir, "file")

	_, err := fs.Open(name, 0)
	wantKind(t, err, errs.NotFound)
	_, err = fs.Open(path.Join(dir, "none", "file"), Create)
	wantKind(t, err, errs.NotFound)
	f, err := fs.Open(name, Create|Exclusive|Direct)
	must(t, err)
	_, err = fs.Open(name, Create|Exclusive)
	wantKind(t, err, errs.Exists)

	page := Aligned(PageSize)
	for i := range page {
		page[i] = byte(i)
	}
	must(t, f.Allocate(3*PageSize))
	must(t, f.Allocate(PageSize))
	if size, err := f.Size(); err != nil || size != 3*PageSize {
		t.Fatalf("size %d (%v), want %d: an allocation never shortens", size, err, 3*PageSize)
	}
	_, err = f.WriteAt(page, PageSize)
	must(t, err)
	must(t, f.Sync())
	must(t, fs.SyncDir(dir))
	must(t, f.Close())
	if err := f.Sync(); err == nil {
		t.Error("a closed file was synced")
	}

	f, err = fs.Open(name, 0)
	must(t, err)
	got := make([]byte, 3*PageSize)
	must(t, ReadFull(f, got, 0))
	want := slices.Concat(make([]byte, PageSize), page, make([]byte, PageSize))
	if !bytes.Equal(got, want) {
		t.Error("what was read is not what was written among zeros")
	}
	wantKind(t, ReadFull(f, got, 1), errs.Corrupt)
	if _, err := f.WriteAt(page, 0); err == nil {
		t.Error("a file opened for reading was written")
	}
	must(t, f.Close())

	other := path.Join(dir, "other")
	must(t, fs.Rename(name, other))
	if names, err := fs.List(dir); err != nil || !slices.Equal(names, []string{"other"}) {
		t.Errorf("list gives %v (%v), want [other]", names, err)
	}
	wantKind(t, fs.Rename(name, other), errs.NotFound)
	must(t, fs.Remove(other))
	wantKind(t, fs.Remove(other), errs.NotFound)
	_, err = fs.List(path.Join(top, "none"))
	wantKind(t, err, errs.NotFound)

	lockName := path.Join(dir, "LOCK")
	lock, err := fs.Lock(lockName)
	must(t, err)
	_, err = fs.Lock(lockName)
	wantKind(t, err, errs.Locked)
	if want := "process " + strconv.Itoa(os.Getpid()); err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not name %q", err, want)
	}
	must(t, lock.Close())
	lock, err = fs.Lock(lockName)
	must(t, err)
	must(t, lock.Close())
}

func TestAlignedIsAligned(t *testing.T) {
	for _, size := range []int{1, 100, PageSize, 1 << 20} {
		if b := Aligned(size); len(b) != size || cap(b) != size || addressOf(b)%PageSize != 0 {
			t.Errorf("size %d: length %d, capacity %d, address %x", size, len(b), cap(b), addressOf(b))
		}
	}
}

func TestSystemErrorsHaveKinds(t *testing.T) {
	for _, row := range []struct {
		cause error
		want  errs.Kind
	}{
		{unix.ENOSPC, errs.NoSpace}, {unix.EDQUOT, errs.NoSpace},
		{unix.EROFS, errs.Forbidden}, {unix.EACCES, errs.Forbidden},
		{unix.ENOENT, errs.NotFound}, {unix.EEXIST, errs.Exists}, {unix.EIO, errs.Internal},
	} {
		err := osError(&os.PathError{Op: "open", Path: "/d/x", Err: row.cause}, "open", "/d/x")
		wantKind(t, err, row.want)
		if want := "vfs.open: /d/x: " + row.cause.Error(); err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	for seed := range uint64(50) {
		m := NewMemory()
		f, err := m.Open("f", Create)
		must(t, err)
		write(t, f, bytes.Repeat([]byte{1}, 4*SectorSize), 0)
		must(t, f.Sync())
		must(t, m.SyncDir("."))
		write(t, f, bytes.Repeat([]byte{2}, 2*SectorSize), SectorSize)
		m.Crash(seed)
		if err := f.Sync(); err != ErrPowerOff {
			t.Fatalf("a handle from before the crash answers %v", err)
		}
		got := content(t, m, "f")
		if len(got) != 4*SectorSize {
			t.Fatalf("seed %d: %d bytes", seed, len(got))
		}
		for s := range 4 {
			sector := got[s*SectorSize : (s+1)*SectorSize]
			old := bytes.Equal(sector, bytes.Repeat([]byte{1}, SectorSize))
			new := bytes.Equal(sector, bytes.Repeat([]byte{2}, SectorSize))
			if !old && !(new && (s == 1 || s == 2)) {
				t.Fatalf("seed %d: sector %d is neither old nor new", seed, s)
			}
		}
	}
}

// TestCrashTearsEveryWay shows that the simulated disk is as bad as a real one: over the seeds an
// unsynced write is lost, kept, cut short and kept in pieces.
func TestCrashTearsEveryWay(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		m := NewMemory()
		f, err := m.Open("f", Create)
		must(t, err)
		must(t, f.Allocate(3*SectorSize))
		must(t, f.Sync())
		must(t, m.SyncDir("."))
		write(t, f, bytes.Repeat([]byte{1}, 3*SectorSize), 0)
		m.Crash(seed)
		pattern := ""
		for s, got := 0, content(t, m, "f"); s < 3; s++ {
			pattern += strconv.Itoa(int(got[s*SectorSize]))
		}
		seen[pattern] = true
	}
	if len(seen) != 8 {
		t.Errorf("200 crashes left %d of the 8 outcomes: %v", len(seen), seen)
	}
}

func TestCrashForgetsNamesThatWereNotSynced(t *testing.T) {
	kept, lost := 0, 0
	for seed := range uint64(40) {
		m := NewMemory()
		must(t, m.MakeDir("d"))
		for _, name := range []string{"d/a", "d/b"} {
			f, err := m.Open(name, Create)
			must(t, err)
			must(t, f.Sync())
		}
		must(t, m.SyncDir("d"))
		must(t, m.Rename("d/a", "d/b"))
		m.Crash(seed)
		switch names := m.Names("d/"); {
		case slices.Equal(names, []string{"d/a", "d/b"}):
			lost++
		case slices.Equal(names, []string{"d/b"}):
			kept++
		default:
			t.Fatalf("seed %d: a rename left %v", seed, names)
		}
	}
	if kept == 0 || lost == 0 {
		t.Errorf("the rename was kept %d times and lost %d times, want both", kept, lost)
	}
}

func TestFailedSyncLosesDataForGood(t *testing.T) {
	m := NewMemory()
	f, err := m.Open("f", Create)
	must(t, err)
	must(t, f.Allocate(SectorSize))
	must(t, f.Sync())
	must(t, m.SyncDir("."))
	failure := errs.New(errs.Internal, "input/output error")
	m.SetFault(FailOn(OpSync, 1, failure))
	write(t, f, []byte{7}, 0)
	if err := f.Sync(); err != failure {
		t.Fatalf("sync gave %v", err)
	}
	must(t, f.Sync())
	if got := content(t, m, "f"); got[0] != 7 {
		t.Error("reads no longer see the write")
	}
	m.Crash(1)
	if got := content(t, m, "f"); got[0] != 0 {
		t.Error("a second sync saved what the first had dropped")
	}
}

func TestCapacity(t *testing.T) {
	m := NewMemory()
	m.SetCapacity(1000)
	f, err := m.Open("f", Create)
	must(t, err)
	wantKind(t, f.Allocate(1001), errs.NoSpace)
	must(t, f.Allocate(900))
	n, err := f.WriteAt(make([]byte, 200), 850)
	if n != 150 {
		t.Errorf("%d bytes were written, want the 150 that fit", n)
	}
	wantKind(t, err, errs.NoSpace)
	m.SetCapacity(0)
	write(t, f, make([]byte, 200), 850)
}

func TestReadOnly(t *testing.T) {
	m := NewMemory()
	f, err := m.Open("f", Create)
	must(t, err)
	m.SetReadOnly(true)
	_, err = f.WriteAt([]byte{1}, 0)
	wantKind(t, err, errs.Forbidden)
	wantKind(t, f.Allocate(10), errs.Forbidden)
	_, err = m.Open("g", Create)
	wantKind(t, err, errs.Forbidden)
	_, err = m.Open("f", Writable)
	wantKind(t, err, errs.Forbidden)
	wantKind(t, m.Remove("f"), errs.Forbidden)
	wantKind(t, m.Rename("f", "g"), errs.Forbidden)
	wantKind(t, m.MakeDir("d"), errs.Forbidden)
	_, err = m.Lock("LOCK")
	wantKind(t, err, errs.Forbidden)
	if _, err = m.Open("f", 0); err != nil {
		t.Error(err)
	}
}

func TestPowerOffAt(t *testing.T) {
	m := NewMemory()
	var count atomic.Int64
	m.SetFault(PowerOffAt(2, &count))
	f, err := m.Open("f", Create)
	must(t, err)
	write(t, f, []byte{1}, 0)
	if err := f.Sync(); err != ErrPowerOff {
		t.Errorf("sync gave %v", err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); err != ErrPowerOff {
		t.Errorf("read gave %v", err)
	}
	if count.Load() != 3 {
		t.Errorf("counted %d", count.Load())
	}
}

func TestRot(t *testing.T) {
	m := NewMemory()
	f, err := m.Open("f", Create)
	must(t, err)
	write(t, f, []byte{0, 0, 0}, 0)
	must(t, f.Sync())
	must(t, m.SyncDir("."))
	m.Flip("f", 9)
	m.Overwrite("f", 2, []byte{9})
	if got := content(t, m, "f"); !bytes.Equal(got, []byte{0, 2, 9}) {
		t.Errorf("content %v", got)
	}
	if got := content(t, m.Clone(), "f"); !bytes.Equal(got, []byte{0, 2, 9}) {
		t.Errorf("clone's content %v", got)
	}
	m.Cut("f", 1)
	m.Crash(3)
	if got := content(t, m, "f"); !bytes.Equal(got, []byte{0}) {
		t.Errorf("content after the cut %v", got)
	}
}

func content(t *testing.T, m *Memory, name string) []byte {
	t.Helper()
	f, err := m.Open(name, 0)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	got := make([]byte, size)
	must(t, ReadFull(f, got, 0))
	return got
}

func write(t *testing.T, f File, p []byte, offset int64) {
	t.Helper()
	_, err := f.WriteAt(p, offset)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, kind errs.Kind) {
	t.Helper()
	if !errs.Is(err, kind) {
		t.Errorf("got %v, want kind %v", err, kind)
	}
}
