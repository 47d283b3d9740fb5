package state

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"surety/base/errs"
	"surety/sys/inode"
	"surety/sys/vfs"
)

// scatter overwrites random chunks of a file, and keeps want beside it.
func scatter(t testing.TB, v *Volume, n inode.Number, want []byte, random *rand.Rand) {
	t.Helper()
	at := random.IntN(len(want)/chunkBytes) * chunkBytes
	piece := bytes.Repeat([]byte{byte(random.Uint32())}, chunkBytes)
	_, err := v.Write(n, piece, uint64(at))
	must(t, err)
	copy(want[at:], piece)
}

func TestDiskIsBounded(t *testing.T) {
	b := newBench()
	v := b.open(t)
	want := make([]byte, 3<<20)
	n := create(t, v, "a", want)
	random := rand.New(rand.NewPCG(1, 2))
	most := int64(0)
	for i := range 600 {
		scatter(t, v, n, want, random)
		must(t, v.Sync(t.Context()))
		over := v.disk.reach - (2*v.disk.live() + 3*v.segmentLimit())
		if most = max(most, v.disk.reach); over > 0 {
			t.Fatalf("round %d: %d bytes on disk, %d live", i, v.disk.reach, v.disk.live())
		}
	}
	t.Logf("3 MiB of content, 18 MiB written over it: at most %d KiB on disk", most>>10)
	stored := int64(0)
	for _, name := range b.disk.Names("/state") {
		content, err := vfs.ReadWhole(b.disk, name, 1<<30)
		must(t, err)
		stored += int64(len(content))
	}
	if stored > v.disk.reach+100 {
		t.Errorf("%d bytes are on disk, %d are counted", stored, v.disk.reach)
	}
	must(t, v.Close(t.Context()))
	v = b.open(t)
	if !bytes.Equal(contentOf(t, v, "a"), want) {
		t.Error("the content differs")
	}
}

// TestBacklogIsBounded writes over a file while the anchor is away.
func TestBacklogIsBounded(t *testing.T) {
	b := newBench()
	b.config.backlogBytes, b.config.Bytes = 20<<20, 64<<20
	v := b.open(t)
	n := create(t, v, "a", nil)
	must(t, v.Sync(t.Context()))
	b.anchor.fail = errs.New(errs.Unavailable, "the broker is away")
	piece := make([]byte, 1<<20)
	wrote := 0
	for ; wrote < 200; wrote++ {
		if _, err := v.Write(n, piece, uint64(wrote%40)<<20); err != nil {
			if !errs.Is(err, errs.Unavailable) {
				t.Errorf("%v", err)
			}
			break
		}
	}
	if v.disk.reach > 60<<20 || wrote == 200 {
		t.Errorf("%d MiB on disk after %d MiB", v.disk.reach>>20, wrote)
	}
	b.anchor.fail = nil
	if _, err := v.Write(n, piece, 0); err != nil {
		t.Errorf("with the broker back: %v", err)
	}
	must(t, v.Close(t.Context()))
}

// TestCrashDuringCompaction cuts the power at every step of commits that move chunks.
func TestCrashDuringCompaction(t *testing.T) {
	for at := range int64(40) {
		b := newBench()
		v := b.open(t)
		want := make([]byte, 2<<20)
		n := create(t, v, "a", want)
		random := rand.New(rand.NewPCG(uint64(at), 2))
		for range 200 {
			scatter(t, v, n, want, random)
			must(t, v.Sync(t.Context()))
		}
		b.disk.SetFault(vfs.PowerOffAt(at*3, nil))
		kept := bytes.Clone(want)
		for {
			scatter(t, v, n, want, random)
			if err := v.Sync(t.Context()); err != nil {
				break
			}
			kept = bytes.Clone(want)
		}
		abandon(v)
		b.disk.Crash(uint64(at))
		v = b.open(t)
		if got := contentOf(t, v, "a"); !bytes.Equal(got, kept) && !bytes.Equal(got, want) {
			t.Errorf("cut after %d steps: neither what was acknowledged nor what was tried", at)
		}
		abandon(v)
	}
}

func TestLimits(t *testing.T) {
	b := newBench()
	b.config.Bytes = 100 << 10
	v := b.open(t)
	n := create(t, v, "a", make([]byte, 60<<10))
	wrote, err := v.Write(n, make([]byte, 60<<10), 60<<10)
	if !errors.Is(err, syscall.ENOSPC) || wrote != 36<<10 {
		t.Errorf("wrote %d: %v", wrote, err)
	}
	if s := v.Space(); s.BytesFree > 4<<10 {
		t.Errorf("%d bytes free", s.BytesFree)
	}
	if _, err := v.Write(n, make([]byte, 60<<10), 0); err != nil {
		t.Errorf("over what is there: %v", err)
	}
	size := uint64(0)
	_, err = v.Change(n, inode.Change{Size: &size})
	must(t, err)
	if s := v.Space(); s.BytesFree != b.config.Bytes {
		t.Errorf("%d bytes free of %d", s.BytesFree, b.config.Bytes)
	}
	must(t, v.Close(t.Context()))
}

func TestHeldFileOutlivesItsName(t *testing.T) {
	b := newBench()
	v := b.open(t)
	n := create(t, v, "a", []byte("content"))
	must(t, v.Hold(n))
	must(t, v.Sync(t.Context()))
	must(t, v.Unlink(inode.Root, "a"))
	must(t, v.Sync(t.Context()))
	got := make([]byte, 7)
	if _, err := v.Read(n, got, 0); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := v.Write(n, make([]byte, 100<<10), 0); err != nil {
		t.Error(err)
	}
	if _, err := v.Link(n, inode.Root, "again"); err != syscall.ENOENT {
		t.Errorf("a name for what has none: %v", err)
	}
	must(t, v.Sync(t.Context()))
	v.Drop(n)
	if _, err := v.Stat(n); err != syscall.ESTALE {
		t.Errorf("%v", err)
	}
	if s := v.Space(); s.BytesFree != b.config.Bytes {
		t.Errorf("%d bytes are still used", b.config.Bytes-s.BytesFree)
	}
	must(t, v.Close(t.Context()))
	v = b.open(t)
	if list, err := v.Entries(inode.Root); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestRefusals has each refusal of a name or a type.
func TestRefusals(t *testing.T) {
	b := newBench()
	v := b.open(t)
	file := create(t, v, "file", []byte("x"))
	dir, err := v.Make(inode.Root, "dir", inode.New{Mode: inode.Directory | 0o755})
	must(t, err)
	_, err = v.Make(dir.Number, "below", inode.New{Mode: inode.Directory | 0o755})
	must(t, err)
	link, err := v.Make(inode.Root, "link", inode.New{Mode: inode.Link | 0o777, Target: "t"})
	must(t, err)
	long := string(bytes.Repeat([]byte("n"), 256))
	huge := uint64(maxFileBytes + 1)
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"name that is there", failOf(v.Make(inode.Root, "file", inode.New{Mode: inode.Regular})), syscall.EEXIST},
		{"long name", failOf(v.Make(inode.Root, long, inode.New{Mode: inode.Regular})), syscall.ENAMETOOLONG},
		{"lookup of a long name", failOf(v.Lookup(inode.Root, long)), syscall.ENAMETOOLONG},
		{"slash", failOf(v.Make(inode.Root, "a/b", inode.New{Mode: inode.Regular})), syscall.EINVAL},
		{"dots", failOf(v.Make(inode.Root, "..", inode.New{Mode: inode.Regular})), syscall.EINVAL},
		{"device", failOf(v.Make(inode.Root, "null", inode.New{Mode: 0o020666})), syscall.EPERM},
		{"empty link", failOf(v.Make(inode.Root, "l", inode.New{Mode: inode.Link})), syscall.ENOENT},
		{"below a file", failOf(v.Make(file, "l", inode.New{Mode: inode.Regular})), syscall.ENOTDIR},
		{"no such inode", failOf(v.Stat(999)), syscall.ESTALE},
		{"hard link of a directory", failOf(v.Link(dir.Number, inode.Root, "l")), syscall.EPERM},
		{"unlink of a directory", v.Unlink(inode.Root, "dir"), syscall.EISDIR},
		{"rmdir of a file", v.Rmdir(inode.Root, "file"), syscall.ENOTDIR},
		{"rmdir of a full one", v.Rmdir(inode.Root, "dir"), syscall.ENOTEMPTY},
		{"rename of nothing", v.Rename(inode.Root, "no", inode.Root, "l", 0), syscall.ENOENT},
		{"rename into itself", v.Rename(inode.Root, "dir", dir.Number, "l", 0), syscall.EINVAL},
		{"rename onto a full one", v.Rename(dir.Number, "below", inode.Root, "dir", 0), syscall.ENOTEMPTY},
		{"rename of a file onto a directory", v.Rename(inode.Root, "file", inode.Root, "dir", 0), syscall.EISDIR},
		{"rename of a directory onto a file", v.Rename(inode.Root, "dir", inode.Root, "file", 0), syscall.ENOTDIR},
		{"rename both ways", v.Rename(inode.Root, "file", inode.Root, "l", 3), syscall.EINVAL},
		{"readlink of a file", failOf(v.Readlink(file)), syscall.EINVAL},
		{"read of a directory", failOf(v.Read(dir.Number, make([]byte, 1), 0)), syscall.EISDIR},
		{"write of a link", failOf(v.Write(link.Number, make([]byte, 1), 0)), syscall.EINVAL},
		{"write far out", failOf(v.Write(file, make([]byte, 1), maxFileBytes)), syscall.EFBIG},
		{"size", failOf(v.Change(file, inode.Change{Size: &huge})), syscall.EFBIG},
		{"entries of a file", failOf(v.Entries(file)), syscall.ENOTDIR},
		{"no attribute", failOf(v.Xattr(file, "user.a")), syscall.ENODATA},
		{"attribute too large", v.SetXattr(file, "user.a", string(make([]byte, maxXattrBytes)), 0), syscall.ENOSPC},
		{"replace no attribute", v.SetXattr(file, "user.a", "", xattrReplace), syscall.ENODATA},
		{"remove no attribute", v.RemoveXattr(file, "user.a"), syscall.ENODATA},
	} {
		if c.err != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
}

func failOf[T any](_ T, err error) error { return err }
