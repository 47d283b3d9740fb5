package vm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"surety/base/errs"
)

// TestArchiveBytes holds the form to the kernel's document, field by field.
func TestArchiveBytes(t *testing.T) {
	var out bytes.Buffer
	a := &archive{to: &out}
	a.add(entry{name: "d", mode: modeDir})
	a.add(entry{name: "c", mode: modeChar, major: 5, minor: 1})
	a.add(entry{name: "f", mode: modeExec, size: 5, content: strings.NewReader("hello")})
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	//      magic  inode   mode    uid     gid     links   mtime   size    dev maj min  rdev maj min  name    check
	want := "070701" + "00000001" + "000041ED" + "00000000" + "00000000" + "00000002" + "00000000" + "00000000" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "d\x00" +
		"070701" + "00000002" + "00002180" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
		"00000000" + "00000000" + "00000005" + "00000001" + "00000002" + "00000000" + "c\x00" +
		"070701" + "00000003" + "000081ED" + "00000000" + "00000000" + "00000001" + "00000000" + "00000005" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "f\x00" + "hello\x00\x00\x00" +
		"070701" + "00000000" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
		"00000000" + "00000000" + "00000000" + "00000000" + "0000000B" + "00000000" + "TRAILER!!!\x00\x00\x00\x00"
	if out.String() != want {
		t.Errorf("got\n%q\nwant\n%q", out.String(), want)
	}
	if out.Len()%4 != 0 {
		t.Errorf("%d bytes are no multiple of four", out.Len())
	}
}

func TestArchiveErrors(t *testing.T) {
	short := entry{name: "f", mode: modeFile, size: 9, content: strings.NewReader("hello")}
	large := entry{name: "f", mode: modeFile, size: 1 << 32}
	for name, c := range map[string]struct {
		e    entry
		kind errs.Kind
	}{"shorter than said": {short, errs.Corrupt}, "too large": {large, errs.TooLarge}} {
		a := &archive{to: new(bytes.Buffer)}
		a.add(c.e)
		if err := a.close(); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := errors.New("no space left on device")
	for after := range 6 {
		a := &archive{to: &failing{after: after, err: full}}
		a.add(entry{name: "f", mode: modeFile, size: 5, content: strings.NewReader("hello")})
		if err := a.close(); !errors.Is(err, full) {
			t.Errorf("failing at write %d: %v", after, err)
		}
	}
}

// fakeProgram is an ELF file with one segment, which holds text, and something behind it.
func fakeProgram(text string) []byte {
	out := make([]byte, 64+56)
	copy(out, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(out[16:], 2)
	le.PutUint16(out[18:], 62)
	le.PutUint32(out[20:], 1)
	le.PutUint64(out[32:], 64)
	le.PutUint16(out[52:], 64)
	le.PutUint16(out[54:], 56)
	le.PutUint16(out[56:], 1)
	le.PutUint32(out[64:], 1)
	le.PutUint64(out[64+32:], uint64(len(out)+len(text)))
	le.PutUint64(out[64+40:], uint64(len(out)+len(text)))
	return append(out, text+"symbols"...)
}

// failing takes a number of writes.
type failing struct {
	after int
	err   error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.after == 0 {
		return 0, f.err
	}
	f.after--
	return len(p), nil
}

// TestInitial holds the initial file system to equal bytes for equal files, to another name for any
// other, and to a cache that does not grow.
func TestInitial(t *testing.T) {
	dir, cache := t.TempDir(), filepath.Join(t.TempDir(), "cache")
	file := filepath.Join(dir, "binary")
	k := Kernel{Release: "1", Modules: fakeModules(t, map[string]string{
		"virtio": "", "virtio_mmio": "virtio", "virtio_console": "virtio", "virtio_blk": "virtio",
		"virtio_net": "virtio",
	})}
	var seen []string
	for i := range 4 {
		if err := os.WriteFile(file, fakeProgram("binary "+strconv.Itoa(i)), 0o755); err != nil {
			t.Fatal(err)
		}
		path, err := prepareInitial(cache, file, k)
		if err != nil {
			t.Fatal(err)
		}
		first, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		again, err := prepareInitial(cache, file, k)
		second, readErr := os.ReadFile(again)
		if err != nil || readErr != nil || again != path || !bytes.Equal(first, second) {
			t.Errorf("made again: %v %v, %s and %s, equal %t", err, readErr, path, again, bytes.Equal(first, second))
		}
		seen = append(seen, path)
	}
	left, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil || len(left) != keptArchives {
		t.Errorf("%v, left %v", err, left)
	}
	for i := range seen[1:] {
		if seen[i] == seen[i+1] {
			t.Errorf("another binary has the name %s too", seen[i])
		}
	}
	content, err := os.ReadFile(seen[len(seen)-1])
	if err != nil {
		t.Fatal(err)
	}
	order := "virtio.ko\nvirtio_mmio.ko\nvirtio_console.ko\nvirtio_blk.ko\nvirtio_net.ko\n"
	if !bytes.Contains(content, []byte(order)) || !bytes.Contains(content, []byte("binary 3")) {
		t.Error("the list of modules or the binary is missing")
	}
	if bytes.Contains(content, []byte("symbols")) {
		t.Error("what debuggers read is in it")
	}
}

// TestInitialGolden pins the whole archive: other bytes mean that every machine boots another guest.
func TestInitialGolden(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "init")
	driver := filepath.Join(dir, "a.ko")
	for path, content := range map[string][]byte{program: fakeProgram("binary"), driver: []byte("driver")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := (initial{binary: program, modules: []module{{name: "a", path: driver}}}).write(&out); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(out.Bytes())
	const want = "a4a28b40bff9a5c87250373339544ed5229d19855f33f506a4a8ca665b444a45"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("SHA-256 %s of %d bytes, want %s", got, out.Len(), want)
	}
}
