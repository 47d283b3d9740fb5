package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// TestMain lets the test's program be another process: one that holds a sealed image until its
// input ends, one that is killed while it adds an image, or one whose disk is full.
func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv("IMAGE_TEST_HOLD") != "":
		err = beHolder(os.Getenv("IMAGE_TEST_HOLD"))
	case os.Getenv("IMAGE_TEST_ADD") != "":
		err = beAdder(os.Getenv("IMAGE_TEST_ADD"))
	case os.Getenv("IMAGE_TEST_FULL") != "":
		var said string
		said, err = beFull(os.Getenv("IMAGE_TEST_FULL"))
		fmt.Println(said)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func beHolder(dir string) error {
	s, err := Share(context.Background(), dir, os.Args[1], os.Args[2])
	if err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(s.File().Fd()), &stat); err != nil {
		return err
	}
	fmt.Println(stat.Ino, s.Path())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Close()
}

// beAdder says at which stage it is, and stays there, once it has come to the one it is asked for.
func beAdder(root string) error {
	s, err := Open(root)
	if err != nil {
		return err
	}
	_, err = s.Add(context.Background(), Source{Where: os.Args[1], Advanced: func(p Progress) {
		if p.Stage == os.Args[2] && p.Done > 1<<20 {
			fmt.Println(p.Stage)
			_, _ = io.Copy(io.Discard, os.Stdin)
		}
	}}, "i")
	return err
}

// other starts this program as another process and returns the first line it says.
func other(t *testing.T, variable string, args ...string) *holder {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{process: exec.Command(exe, args...)}
	h.process.Env = append(os.Environ(), variable)
	if h.stdin, err = h.process.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := h.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.process.Process.Kill()
		_ = h.process.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		t.Fatalf("another process: %s, %v", line, err)
	}
	h.said, _, _ = strings.Cut(strings.TrimSpace(line), " ")
	return h
}

// holder is another process that shares an image.
type holder struct {
	process *exec.Cmd
	stdin   io.WriteCloser
	said    string
}

func hold(t *testing.T, dir string, i Image) *holder {
	t.Helper()
	return other(t, "IMAGE_TEST_HOLD="+dir, i.Path, i.Digest)
}

// end lets the holder go in good order.
func (h *holder) end(t *testing.T) {
	t.Helper()
	if err := errors.Join(h.stdin.Close(), h.process.Wait()); err != nil {
		t.Fatal(err)
	}
}

// kill ends the holder as a crash would.
func (h *holder) kill(t *testing.T) {
	t.Helper()
	if err := h.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.process.Wait() // it says that it was killed
}

func inodeOf(t *testing.T, f *os.File) string {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(stat.Ino)
}

func notices(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.*.*.*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSealed(t *testing.T) {
	i := add(t, newStore(t), Source{Where: small(t).layout(t)}, "i")
	s, err := Seal(context.Background(), i.Path, i.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Size != i.Size || s.Digest != i.Digest {
		t.Errorf("sealed %+v of %+v", s, i)
	}
	want, err := os.ReadFile(i.Path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(s.Path()); err != nil || string(got) != string(want) {
		t.Errorf("%s holds %d bytes, %v; want %d", s.Path(), len(got), err, len(want))
	}
	for _, flags := range []int{os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC} {
		f, err := os.OpenFile(s.Path(), flags, 0)
		if err != nil {
			continue
		}
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Errorf("opened with %#x, it can be written", flags)
		}
		if err := f.Truncate(0); err == nil {
			t.Errorf("opened with %#x, it can be cut", flags)
		}
		if _, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
			t.Errorf("opened with %#x, it can be mapped to write", flags)
		}
		if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE); err == nil {
			t.Error("its seals can be changed")
		}
		f.Close()
	}
}

func TestSealRefuses(t *testing.T) {
	s := newStore(t)
	i := add(t, s, Source{Where: small(t).layout(t)}, "i")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(i.Path, link); err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	before := remains(t, s)["fd"]
	for name, c := range map[string]struct {
		ctx          context.Context
		path, digest string
		kind         errs.Kind
	}{
		"another digest": {context.Background(), i.Path, digestBytes(nil), errs.Corrupt},
		"no digest":      {context.Background(), i.Path, "latest", errs.Invalid},
		"no file":        {context.Background(), i.Path + "x", i.Digest, errs.NotFound},
		"a link":         {context.Background(), link, i.Digest, errs.Internal},
		"canceled":       {stopped, i.Path, i.Digest, errs.Canceled},
	} {
		if _, err := Seal(c.ctx, c.path, c.digest); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v, want kind %s", name, err, c.kind)
		}
	}
	if after := remains(t, s)["fd"]; after != before {
		t.Errorf("%d files open, %d before", after, before)
	}
}

// TestAdoptRefuses offers memory that is not what it should be.
func TestAdoptRefuses(t *testing.T) {
	ctx := context.Background()
	i := add(t, newStore(t), Source{Where: small(t).layout(t)}, "i")
	good := memoryName + hexOf(i.Digest)
	memory := func(name, content string, seals int) *os.File {
		fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), name)
		if _, err := f.WriteString(content); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return f
	}
	plain, err := os.Open(i.Path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		f    *os.File
		ours bool
		kind errs.Kind
	}{
		"a file":         {plain, true, errs.Refused},
		"no write seal":  {memory(good, "x", sealAll&^unix.F_SEAL_WRITE), true, errs.Refused},
		"no seal seal":   {memory(good, "x", sealAll&^unix.F_SEAL_SEAL), true, errs.Refused},
		"another image":  {memory(memoryName+"0", "x", sealAll), true, errs.Refused},
		"other contents": {memory(good, "x", sealAll), false, errs.Corrupt},
	} {
		if _, err := Adopt(ctx, c.f, i.Digest, c.ours); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v, want kind %s", name, err, c.kind)
		}
		if c.f.Close() == nil {
			t.Errorf("%s: still open", name)
		}
	}
	content, err := os.ReadFile(i.Path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Adopt(ctx, memory(good, string(content), sealAll), i.Digest, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestShare has processes come, go and die around one image: as long as anybody has it, nobody
// makes another.
func TestShare(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "seals")
	i := add(t, newStore(t), Source{Where: small(t).layout(t)}, "i")
	first := hold(t, dir, i)
	second := hold(t, dir, i)
	if first.said != second.said {
		t.Fatal("two processes, two copies")
	}
	first.end(t)
	third := hold(t, dir, i)
	if third.said != second.said {
		t.Error("after the maker left: another copy")
	}
	second.kill(t)
	s, err := Share(ctx, dir, i.Path, i.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if inodeOf(t, s.File()) != third.said {
		t.Error("after a crash: another copy")
	}
	if n := len(notices(t, dir)); n != 2 {
		t.Errorf("%d notices, want 2: %v", n, notices(t, dir))
	}
	third.kill(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fresh, err := Share(ctx, dir, i.Path, i.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if inodeOf(t, fresh.File()) == third.said {
		t.Error("the memory of the dead is still there")
	}
	if err := fresh.Close(); err != nil {
		t.Fatal(err)
	}
	if n := notices(t, dir); len(n) != 0 {
		t.Errorf("left %v", n)
	}
}

// TestShareAtOnce starts many at a time: one of them seals.
func TestShareAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "seals")
	i := add(t, newStore(t), Source{Where: small(t).layout(t)}, "i")
	copies := make([]*Sealed, 12)
	var all sync.WaitGroup
	for n := range copies {
		all.Go(func() {
			s, err := Share(context.Background(), dir, i.Path, i.Digest)
			if err != nil {
				t.Error(err)
				return
			}
			copies[n] = s
		})
	}
	all.Wait()
	for _, s := range copies {
		if s == nil {
			continue
		}
		if inodeOf(t, s.File()) != inodeOf(t, copies[0].File()) {
			t.Error("more than one copy")
		}
	}
	for _, s := range copies {
		if s != nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestShareDistrusts plants notices that lie: each is passed over, and the past is cleared away.
func TestShareDistrusts(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "seals")
	store := newStore(t)
	i := add(t, store, Source{Where: small(t).layout(t)}, "i")
	another := add(t, store, Source{Where: plantTree(t)}, "other")
	wrong, err := Share(ctx, dir, another.Path, another.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	file, err := os.Open(i.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	self, start := os.Getpid(), startOf(os.Getpid())
	for _, lie := range []string{
		fmt.Sprintf("%s.%d.%s.%d", hexOf(i.Digest), self, start, wrong.File().Fd()),
		fmt.Sprintf("%s.%d.%s.%d", hexOf(i.Digest), self, start, file.Fd()),
		fmt.Sprintf("%s.%d.%s.%d", hexOf(i.Digest), self, start, 1<<20),
		fmt.Sprintf("%s.%d.%s.%d", hexOf(i.Digest), self, start+"0", file.Fd()),
		fmt.Sprintf("%s.%d.%s.%d", hexOf(i.Digest), 1<<30, start, 3),
		hexOf(i.Digest) + ".x.y.z", hexOf(i.Digest) + ".1..3", hexOf(i.Digest) + ".1.2",
	} {
		if err := os.WriteFile(filepath.Join(dir, lie), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Share(ctx, dir, i.Path, i.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(s.Path()); err != nil || digestBytes(content) != i.Digest {
		t.Errorf("shared something else: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, hexOf(i.Digest)+".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestShareRefuses(t *testing.T) {
	ctx := context.Background()
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := Share(ctx, open, "x", digestBytes(nil)); !errs.Is(err, errs.Forbidden) {
		t.Errorf("a directory for all: %v", err)
	}
	if _, err := Share(ctx, t.TempDir(), "x", "latest"); !errs.Is(err, errs.Invalid) {
		t.Errorf("no digest: %v", err)
	}
	if _, err := Share(ctx, t.TempDir(), "/absent", digestBytes(nil)); !errs.Is(err, errs.NotFound) {
		t.Errorf("no file: %v", err)
	}
}

// TestKilled kills a process while it fetches and while it writes: the store shows nothing of it,
// the next process clears it away, and adding works.
func TestKilled(t *testing.T) {
	noise := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(noise)
	where := draw(t, tarOf(t, regular("noise", string(noise)))).layout(t)
	root := t.TempDir()
	for _, stage := range []string{"fetch", "write"} {
		h := other(t, "IMAGE_TEST_ADD="+root, where, stage)
		h.kill(t)
		s, err := Open(root)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := s.List(); err != nil || len(all) != 0 {
			t.Errorf("killed at %s: %v, %v", stage, all, err)
		}
		if left := remains(t, s); left["tmp"]+left["erofs"]+left["names"]+left["builds"] != 0 {
			t.Errorf("killed at %s: left %v", stage, left)
		}
	}
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, Source{Where: where}, "i")
}

func BenchmarkSeal(b *testing.B) {
	path := writeFile(b, "image", make([]byte, 64<<20))
	digest := digestBytes(make([]byte, 64<<20))
	b.SetBytes(64 << 20)
	for b.Loop() {
		s, err := Seal(context.Background(), path, digest)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
