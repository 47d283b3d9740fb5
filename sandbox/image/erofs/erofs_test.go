package erofs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"surety/base/errs"
)

// text is a content of these bytes.
type text string

func (s text) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(s))), nil }

func file(content string) *Node {
	return &Node{Mode: Regular | 0o644, Size: uint64(len(content)), Content: text(content)}
}

func link(target string) *Node { return &Node{Mode: Symlink | 0o777, Target: target} }

func dir(children map[string]*Node) *Node {
	n := &Node{Mode: Directory | 0o755}
	for name, child := range children {
		if err := n.Put(name, child); err != nil {
			panic(err)
		}
	}
	return n
}

// sample has one of everything, a block-sized file, and a directory of several blocks.
func sample() *Node {
	shared := file("one file, two names\n")
	setuid := file("#!/bin/sh\n")
	setuid.Mode, setuid.UID, setuid.GID = Regular|0o4755, 70000, 4_000_000_000
	setuid.Seconds, setuid.Nanos = 1_700_000_000, 123_456_789
	many := map[string]*Node{}
	for i := range 500 {
		many[fmt.Sprintf("entry-%03d-%s", i, strings.Repeat("x", i%90))] = file(fmt.Sprint(i))
	}
	return dir(map[string]*Node{
		"bin": dir(map[string]*Node{"su": setuid, "a": shared, "-first": file("before the dots")}),
		"b":   shared, "block": file(strings.Repeat("B", BlockBytes)), "empty": file(""),
		"link": link("/bin/su"), "up": link("../../bin/../b"), "loop": link("loop"), "many": dir(many),
		"null": {Mode: Character | 0o666, Device: DeviceNumber(1, 3)},
		"disk": {Mode: Block | 0o660, Device: DeviceNumber(259, 70000)},
		"pipe": {Mode: FIFO | 0o600}, "sock": {Mode: Socket | 0o600}, "void": dir(nil),
	})
}

func build(t testing.TB, root *Node) []byte {
	t.Helper()
	p, err := NewPlan(root)
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	if err := p.Write(context.Background(), &image, nil); err != nil {
		t.Fatal(err)
	}
	if int64(image.Len()) != p.Size() {
		t.Fatalf("wrote %d bytes, planned %d", image.Len(), p.Size())
	}
	return image.Bytes()
}

func open(t testing.TB, image []byte) *Reader {
	t.Helper()
	e, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestGolden holds the bytes themselves: a change of this digest changes the digest of every image
// that anybody has written down.
func TestGolden(t *testing.T) {
	sum := sha256.Sum256(build(t, sample()))
	const want = "87021fa98b34f53081e6930e7e9237223bc4d9bebf668e604e4245db325c2a6d"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestEveryKindIsReadBack(t *testing.T) {
	e := open(t, build(t, sample()))
	tally, err := e.Check()
	if err != nil {
		t.Fatal(err)
	}
	if want := (Tally{Files: 516, Names: 517, Directories: 4, Bytes: tally.Bytes}); tally != want {
		t.Errorf("counted %+v, want %+v", tally, want)
	}
	su, err := e.Lookup("link")
	if err != nil || su.Mode != Regular|0o4755 || su.UID != 70000 || su.GID != 4_000_000_000 ||
		su.Seconds != 1_700_000_000 || su.Nanos != 123_456_789 || su.Links != 1 {
		t.Errorf("su is %+v, %v", su, err)
	}
	for path, want := range map[string]string{"b": "one file, two names\n", "/bin/a": "one file, two names\n",
		"up": "one file, two names\n", "bin/-first": "before the dots", "empty": "",
		"block": strings.Repeat("B", BlockBytes), "many/entry-000-": "0"} {
		if got, err := e.ReadFile(path, BlockBytes); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
		}
	}
	for path, want := range map[string]uint32{"null": 0x103, "disk": 70000&0xff | 259<<8 | 70000&^0xff<<12} {
		if i, err := e.Lookup(path); err != nil || i.Device != want {
			t.Errorf("%s is device %#x, %v; want %#x", path, i.Device, err, want)
		}
	}
	if b, _ := e.Lookup("b"); b.Links != 2 {
		t.Errorf("b has %d links, want 2", b.Links)
	}
}

func TestLookupRefuses(t *testing.T) {
	e := open(t, build(t, sample()))
	for path, want := range map[string]errs.Kind{"absent": errs.NotFound, "b/c": errs.NotFound,
		"loop": errs.Invalid} {
		if _, err := e.Lookup(path); !errs.Is(err, want) {
			t.Errorf("%s: %v, want kind %s", path, err, want)
		}
	}
	if _, err := e.ReadFile("block", BlockBytes-1); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a long file: %v", err)
	}
	if _, err := e.ReadFile("void", 1); !errs.Is(err, errs.Invalid) {
		t.Errorf("a directory: %v", err)
	}
}

// TestFsck asks the format's own tools about what we write.
func TestFsck(t *testing.T) {
	fsck, err := exec.LookPath("fsck.erofs")
	if err != nil {
		t.Skip("fsck.erofs is not installed (erofs-utils)")
	}
	for name, root := range map[string]*Node{"sample": sample(), "empty": dir(nil), "one": dir(
		map[string]*Node{"f": file("x")})} {
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, build(t, root), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(fsck, "-d9", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestForeign reads what mkfs.erofs writes, tails packed beside inodes and short inodes too.
func TestForeign(t *testing.T) {
	mkfs, err := exec.LookPath("mkfs.erofs")
	if err != nil {
		t.Skip("mkfs.erofs is not installed (erofs-utils)")
	}
	source, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	long := strings.Repeat("0123456789", 1000)
	for name, content := range map[string]string{"long": long, "short": "tail"} {
		if err := os.WriteFile(filepath.Join(source, name), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("long", filepath.Join(source, "alias")); err != nil {
		t.Fatal(err)
	}
	for _, options := range [][]string{nil, {"-E", "noinline_data"}, {"-E", "force-inode-extended"}} {
		arguments := append(slices.Clone(options), "-x-1", image, source)
		if out, err := exec.Command(mkfs, arguments...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		content, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		e := open(t, content)
		if tally, err := e.Check(); err != nil || tally.Files != 4 {
			t.Errorf("%v: %+v, %v", options, tally, err)
		}
		if got, err := e.ReadFile("alias", 1<<20); err != nil || string(got) != long {
			t.Errorf("%v: alias holds %d bytes, %v", options, len(got), err)
		}
	}
}

// TestSameTreeSameBytes builds random trees, each put together in two orders, and reads them back.
func TestSameTreeSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.MapOfN(rapid.StringMatching(`[a-c.-]{1,3}(/[a-z]{1,250}){0,2}`),
			rapid.StringOfN(rapid.RuneFrom([]rune("ab\n")), 0, 5000, -1), 0, 20).Draw(t, "files")
		names := slices.Sorted(maps.Keys(paths))
		model := map[string]string{}
		one := assemble(names, paths, model)
		other := assemble(rapid.Permutation(slices.Sorted(maps.Keys(model))).Draw(t, "order"), model,
			map[string]string{})
		image := buildRapid(t, one)
		if !bytes.Equal(image, buildRapid(t, other)) {
			t.Fatal("two orders, two images")
		}
		e, err := Open(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Check(); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		err = e.Walk(func(path string, i Inode) error {
			if i.Is(Regular) {
				content, err := io.ReadAll(e.Content(i))
				got[path] = string(content)
				return err
			}
			return nil
		})
		if err != nil || !maps.Equal(got, model) {
			t.Fatalf("read %d files, want %d; %v", len(got), len(model), err)
		}
	})
}

func buildRapid(t *rapid.T, root *Node) []byte {
	p, err := NewPlan(root)
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	if err := p.Write(context.Background(), &image, nil); err != nil {
		t.Fatal(err)
	}
	return image.Bytes()
}

// assemble makes a tree of files, leaving out those that no tree can have beside the earlier ones,
// and tells model what it holds.
func assemble(names []string, contents, model map[string]string) *Node {
	root := dir(nil)
	for _, path := range names {
		at, ok := root, true
		parts := strings.Split(path, "/")
		for i, part := range parts {
			child := at.Child(part)
			last := i == len(parts)-1
			if child != nil && (last || !child.Is(Directory)) {
				ok = false
				break
			}
			if child == nil {
				child = dir(nil)
				if last {
					child = file(contents[path])
				}
				if at.Put(part, child) != nil {
					ok = false
					break
				}
			}
			at = child
		}
		if ok {
			model[path] = contents[path]
		}
	}
	return root
}

func TestPlanRefuses(t *testing.T) {
	twice := dir(nil)
	deep := dir(nil)
	for at, i := deep, 0; i < 20; i++ {
		next := dir(nil)
		_ = at.Put(strings.Repeat("d", MaxName), next)
		at = next
	}
	within := dir(nil)
	_ = within.Put("self", within)
	for _, c := range []struct {
		name string
		root *Node
		kind errs.Kind
		says string
	}{
		{"no directory", file(""), errs.Invalid, "root"},
		{"no type", dir(map[string]*Node{"odd": {Mode: 0o644}}), errs.Invalid, `"odd"`},
		{"two names", dir(map[string]*Node{"a": twice, "b": twice}), errs.Invalid, `"b"`},
		{"within itself", within, errs.Invalid, `"self"`},
		{"deep", deep, errs.TooLarge, "4095"},
		{"long target", dir(map[string]*Node{"l": link(strings.Repeat("t", MaxTarget+1))}), errs.TooLarge, `"l"`},
		{"no target", dir(map[string]*Node{"l": link("")}), errs.Invalid, `"l"`},
		{"huge", dir(map[string]*Node{"f": {Mode: Regular, Size: MaxBytes + 1}}), errs.TooLarge, `"f"`},
		{"two halves", dir(map[string]*Node{"f": {Mode: Regular, Size: MaxBytes / 2, Content: text("")},
			"g": {Mode: Regular, Size: MaxBytes / 2, Content: text("")}}), errs.TooLarge, "image"},
		{"no content", dir(map[string]*Node{"f": {Mode: Regular, Size: 1}}), errs.Invalid, `"f"`},
		{"sized pipe", dir(map[string]*Node{"p": {Mode: FIFO, Size: 1}}), errs.Invalid, `"p"`},
		{"before 1970", dir(map[string]*Node{"f": {Mode: Regular, Seconds: -1}}), errs.Invalid, `"f"`},
	} {
		_, err := NewPlan(c.root)
		if !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want kind %s with %s", c.name, err, c.kind, c.says)
		}
	}
}

func TestPutRefuses(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b"} {
		if err := dir(nil).Put(name, file("")); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := dir(nil).Put(strings.Repeat("n", MaxName+1), file("")); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a long name: %v", err)
	}
	if err := file("").Put("a", file("")); !errs.Is(err, errs.Invalid) {
		t.Errorf("a file's child: %v", err)
	}
}

var errDisk = errors.New("no space")

// faulty fails the nth call.
type faulty struct{ left int }

func (f *faulty) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

type broken struct{ error }

func (b broken) Open() (io.ReadCloser, error) { return nil, b.error }

func TestWriteFails(t *testing.T) {
	whole := strings.Repeat("x", 3<<20)
	p, err := NewPlan(dir(map[string]*Node{"f": file(whole)}))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := p.Write(context.Background(), &faulty{left: n}, nil); !errors.Is(err, errDisk) {
			t.Errorf("write %d fails: %v", n, err)
		}
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if err := p.Write(stopped, io.Discard, nil); !errs.Is(err, errs.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	for name, content := range map[string]Content{"short": text(whole[1:]), "long": text(whole + "x"),
		"absent": broken{errDisk}} {
		p.nodes[1].Content = content
		if err := p.Write(context.Background(), io.Discard, nil); err == nil {
			t.Errorf("a content that is %s was written", name)
		}
	}
}

// TestCheckCatches plants each fault that Check promises to find.
func TestCheckCatches(t *testing.T) {
	small := func() []byte {
		return build(t, dir(map[string]*Node{"a": file("a"), "b": file("b"), "d": dir(nil)}))
	}
	inode := func(i int) int { return firstInode + i*inodeBytes }
	for name, plant := range map[string]func(image []byte){
		"links":      func(image []byte) { order.PutUint32(image[inode(1)+44:], 2) },
		"overlap":    func(image []byte) { copy(image[inode(1)+16:inode(1)+20], image[inode(2)+16:]) },
		"type":       func(image []byte) { order.PutUint16(image[inode(1)+4:], FIFO) },
		"beyond":     func(image []byte) { order.PutUint64(image[inode(1)+8:], 1<<40) },
		"dots":       func(image []byte) { image[BlockBytes] ^= 2 },
		"order":      func(image []byte) { image[BlockBytes+5*direntBytes+3] = 'z' },
		"attributes": func(image []byte) { image[inode(1)+2] = 1 },
		"layout":     func(image []byte) { image[inode(1)] |= 8 },
		"count":      func(image []byte) { image[superOffset+16]++ },
	} {
		image := small()
		plant(image)
		clear(image[superOffset+4 : superOffset+8])
		order.PutUint32(image[superOffset+4:], checksum(image[superOffset:BlockBytes]))
		if _, err := open(t, image).Check(); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	good := build(t, dir(nil))
	for name, plant := range map[string]func(image []byte) []byte{
		"short":    func(image []byte) []byte { return image[:100] },
		"cut":      func(image []byte) []byte { return image[:len(image)-1] },
		"magic":    func(image []byte) []byte { image[superOffset] ^= 1; return image },
		"checksum": func(image []byte) []byte { image[superOffset+20] ^= 1; return image },
		"blocks":   func(image []byte) []byte { image[superOffset+12] = 9; return image },
		"features": func(image []byte) []byte {
			image[superOffset+80], image[superOffset+8] = 1, 0
			return image
		},
	} {
		image := plant(bytes.Clone(good))
		if _, err := Open(bytes.NewReader(image), int64(len(image))); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// FuzzRead reads damaged images: an error or a tree, and nothing else.
func FuzzRead(f *testing.F) {
	f.Add(build(f, dir(map[string]*Node{"a": file("a"), "d": dir(map[string]*Node{"l": link("a")})})))
	f.Fuzz(func(t *testing.T, image []byte) {
		if image = bytes.Clone(image); len(image) > BlockBytes {
			image[superOffset+8] = 0 // past the checksum
		}
		e, err := Open(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			return
		}
		_, _ = e.Check()
		_ = e.Walk(func(string, Inode) error { return nil })
		_, _ = e.ReadFile("d/l", 1<<20)
	})
}

func BenchmarkWrite(b *testing.B) {
	children := map[string]*Node{}
	for i := range 1000 {
		children[fmt.Sprint(i)] = file(strings.Repeat("x", 64<<10))
	}
	p, err := NewPlan(dir(children))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(p.Size())
	for b.Loop() {
		if err := p.Write(context.Background(), io.Discard, nil); err != nil {
			b.Fatal(err)
		}
	}
}
