package layer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"surety/base/errs"
)

var testKey = Key{1, 2, 3, 4, 5, 6, 7, 8, 9}

var testID = [16]byte{0xa, 0xb, 0xc}

// image returns size bytes that are the same in every run and compress to nothing.
func image(size int) []byte {
	b := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)})
	_, _ = source.Read(b)
	return b
}

// seal returns the sealed file of an image.
func seal(t testing.TB, plain []byte) ([]byte, Sealed) {
	t.Helper()
	var to bytes.Buffer
	s, err := Seal(context.Background(), bytes.NewReader(plain), int64(len(plain)), testKey, testID, &to)
	if err != nil {
		t.Fatal(err)
	}
	return to.Bytes(), s
}

func open(file []byte, want Sealed) (*Reader, error) {
	return Open(bytes.NewReader(file), int64(len(file)), want, testKey)
}

// memory is a file to copy to.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copy(m.b[at:], p), nil
}

// TestSealedIsReadBack reads images of every shape whole, copied, and in parts.
func TestSealedIsReadBack(t *testing.T) {
	for _, size := range []int{1, 15, 4096, BlockBytes - 1, BlockBytes, BlockBytes + 1, pieceBytes,
		pieceBytes + 4096, 3*pieceBytes - 1, 20*pieceBytes + 7} {
		plain := image(size)
		file, s := seal(t, plain)
		if int64(len(file)) != SealedBytes(int64(size)) || s.Bytes != uint64(size) || s.ID != testID {
			t.Fatalf("size %d: a file of %d bytes, %+v", size, len(file), s)
		}
		if size > 64 && bytes.Contains(file, plain[:32]) {
			t.Errorf("size %d: the file has the plaintext", size)
		}
		r, err := open(file, s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("size %d: read %d bytes, %v", size, len(got), err)
		}
		to := &memory{b: make([]byte, size)}
		if err := r.CopyTo(context.Background(), to); err != nil || !bytes.Equal(to.b, plain) {
			t.Errorf("size %d: copied: %v", size, err)
		}
		if err := r.Close(); err != nil || bytes.Contains(r.plain, plain[:1]) && size > 1 && r.plain[0] != 0 {
			t.Errorf("size %d: closed: %v", size, err)
		}
	}
}

// TestSealingIsAFunction gives the same bytes for the same image, key and id, and others for others.
func TestSealingIsAFunction(t *testing.T) {
	plain := image(3 * BlockBytes)
	file, s := seal(t, plain)
	again, s2 := seal(t, plain)
	if !bytes.Equal(file, again) || s != s2 {
		t.Error("sealed twice, the files differ")
	}
	var other bytes.Buffer
	s3, err := Seal(context.Background(), bytes.NewReader(plain), int64(len(plain)), testKey,
		[16]byte{1}, &other)
	if err != nil || s3.Root == s.Root || bytes.Equal(other.Bytes()[HeaderBytes:], file[HeaderBytes:]) {
		t.Errorf("another id: %v, root %s", err, s3.Root)
	}
}

// TestReadAtReadsAnyPart compares with the plaintext.
func TestReadAtReadsAnyPart(t *testing.T) {
	plain := image(5*BlockBytes + 100)
	file, s := seal(t, plain)
	r, err := open(file, s)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.IntRange(0, len(plain)+10).Draw(t, "at")
		p := make([]byte, rapid.IntRange(0, 3*BlockBytes).Draw(t, "length"))
		n, err := r.ReadAt(p, int64(at))
		want := plain[min(at, len(plain)):min(at+len(p), len(plain))]
		if !bytes.Equal(p[:n], want) || (err == io.EOF) != (n < len(p)) || err != nil && err != io.EOF {
			t.Fatalf("%d bytes at %d: %d, %v", len(p), at, n, err)
		}
	})
	if _, err := r.ReadAt(make([]byte, 1), -1); !errs.Is(err, errs.Invalid) {
		t.Errorf("before the beginning: %v", err)
	}
}

// TestManyReaders reads parts from several goroutines.
func TestManyReaders(t *testing.T) {
	plain := image(4 * BlockBytes)
	file, s := seal(t, plain)
	r, err := open(file, s)
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for g := range 4 {
		readers.Go(func() {
			p := make([]byte, 1000)
			for i := range 200 {
				at := (i*7919 + g*65521) % (len(plain) - len(p))
				if _, err := r.ReadAt(p, int64(at)); err != nil || !bytes.Equal(p, plain[at:at+len(p)]) {
					t.Errorf("at %d: %v", at, err)
				}
			}
		})
	}
	readers.Wait()
}

// TestEveryBlockIsAuthenticated flips a bit of each block: the others are still read, and the copy
// stops.
func TestEveryBlockIsAuthenticated(t *testing.T) {
	plain := image(2*pieceBytes + BlockBytes/2)
	file, s := seal(t, plain)
	for block := range int(blocksOf(int64(len(plain)))) {
		file[HeaderBytes+block*BlockBytes+block%4096] ^= 0x10
		r, err := open(file, s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(blocksOf(int64(len(plain)))) {
			p := make([]byte, r.blockSize(int64(i)))
			for _, part := range [][]byte{p, p[:10]} { // by both ways of reading
				_, err := r.ReadAt(part, int64(i*BlockBytes))
				if i == block && (!errs.Is(err, errs.Corrupt) ||
					!strings.Contains(err.Error(), fmt.Sprintf("block %d was changed", block))) {
					t.Errorf("block %d was flipped and read: %v", block, err)
				}
				if i == block && !bytes.Equal(part, make([]byte, len(part))) {
					t.Errorf("block %d was flipped, and something of it was given", block)
				}
				if i != block && err != nil {
					t.Errorf("block %d was flipped, block %d: %v", block, i, err)
				}
			}
		}
		err = r.CopyTo(context.Background(), &memory{b: make([]byte, len(plain))})
		if !errs.Is(err, errs.Corrupt) {
			t.Errorf("block %d was flipped and copied: %v", block, err)
		}
		file[HeaderBytes+block*BlockBytes+block%4096] ^= 0x10
	}
}

// TestHeaderAndTagsAreMeasured flips every bit outside the blocks: nothing is opened.
func TestHeaderAndTagsAreMeasured(t *testing.T) {
	plain := image(2*BlockBytes + 1)
	file, s := seal(t, plain)
	refused := func(at int) {
		for bit := range 8 {
			file[at] ^= 1 << bit
			if _, err := open(file, s); !errs.Is(err, errs.Corrupt) {
				t.Errorf("byte %d, bit %d: %v", at, bit, err)
			}
			file[at] ^= 1 << bit
		}
	}
	for at := range HeaderBytes {
		refused(at)
	}
	for at := HeaderBytes + len(plain); at < len(file); at++ {
		refused(at)
	}
	if _, err := open(file, s); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// TestOtherFilesAreRefused cuts, lengthens, and swaps, and asks for something else.
func TestOtherFilesAreRefused(t *testing.T) {
	plain := image(4 * BlockBytes)
	file, s := seal(t, plain)
	swapped := slices.Clone(file)
	copy(swapped[HeaderBytes:], file[HeaderBytes+BlockBytes:HeaderBytes+2*BlockBytes])
	copy(swapped[HeaderBytes+BlockBytes:], file[HeaderBytes:HeaderBytes+BlockBytes])
	r, err := open(swapped, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, BlockBytes), 0); !errs.Is(err, errs.Corrupt) {
		t.Errorf("swapped blocks: %v", err)
	}
	tags := slices.Clone(swapped) // and their tags with them
	at := HeaderBytes + len(plain)
	copy(tags[at:], file[at+tagBytes:at+2*tagBytes])
	copy(tags[at+tagBytes:], file[at:at+tagBytes])
	longer, shorter, other, noBytes := s, s, s, s
	longer.Bytes++
	shorter.Bytes--
	other.ID[0]++
	noBytes.Bytes = 0
	huge := s
	huge.Bytes = 1 << 63
	wrongRoot := s
	wrongRoot.Root[47] ^= 1
	for _, row := range []struct {
		name string
		file []byte
		want Sealed
		text string
	}{
		{"swapped blocks and tags", tags, s, "root"},
		{"cut by a byte", file[:len(file)-1], s, "no layer of"},
		{"cut by a block", file[:len(file)-BlockBytes-tagBytes], s, "no layer of"},
		{"cut to nothing", nil, s, "no layer of"},
		{"a byte appended", append(slices.Clone(file), 0), s, "no layer of"},
		{"longer", file, longer, "no layer of"},
		{"shorter", file, shorter, "no layer of"},
		{"of no size", file, noBytes, "no layer of"},
		{"of no possible size", file, huge, "no layer of"},
		{"another id", file, other, "its header is not"},
		{"another root", file, wrongRoot, "its root is"},
	} {
		_, err := open(row.file, row.want)
		if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v, want corrupt with %q", row.name, err, row.text)
		}
		if err := Check(bytes.NewReader(row.file), int64(len(row.file)), row.want); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s, without the key: %v", row.name, err)
		}
	}
	if err := Check(bytes.NewReader(file), int64(len(file)), s); err != nil {
		t.Errorf("the right file: %v", err)
	}
	for bit := range 8 * KeyBytes {
		key := testKey
		key[bit/8] ^= 1 << (bit % 8)
		if _, err := Open(bytes.NewReader(file), int64(len(file)), s, key); !errs.Is(err, errs.Unauthorized) {
			t.Errorf("bit %d of the key: %v", bit, err)
		}
	}
}

// TestBlocksOfAnotherFileAreRefused puts a block of the same place and key, but of another id, in.
func TestBlocksOfAnotherFileAreRefused(t *testing.T) {
	plain := image(2 * BlockBytes)
	file, s := seal(t, plain)
	var other bytes.Buffer
	if _, err := Seal(context.Background(), bytes.NewReader(plain), int64(len(plain)), testKey,
		[16]byte{9}, &other); err != nil {
		t.Fatal(err)
	}
	copy(file[HeaderBytes:], other.Bytes()[HeaderBytes:HeaderBytes+BlockBytes])
	r, err := open(file, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 1), 0); !errs.Is(err, errs.Corrupt) {
		t.Errorf("another file's block: %v", err)
	}
}

var errPlanted = errors.New("planted")

// failing fails once n bytes have been written or read.
type failing struct{ n int }

func (f *failing) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errPlanted
	}
	return len(p), nil
}

func (f *failing) WriteAt(p []byte, _ int64) (int, error) { return 0, errPlanted }

func (f *failing) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > int64(f.n) {
		return 0, errPlanted
	}
	return len(p), nil
}

// TestSealReportsEveryError fails reads and writes at every stage.
func TestSealReportsEveryError(t *testing.T) {
	ctx := context.Background()
	size := 9 * pieceBytes
	for _, n := range []int{0, HeaderBytes, HeaderBytes + pieceBytes, HeaderBytes + size} {
		_, err := Seal(ctx, bytes.NewReader(image(size)), int64(size), testKey, testID, &failing{n})
		if !errors.Is(err, errPlanted) {
			t.Errorf("writing fails after %d bytes: %v", n, err)
		}
	}
	if _, err := Seal(ctx, &failing{pieceBytes}, int64(size), testKey, testID, io.Discard); !errors.Is(err,
		errPlanted) {
		t.Errorf("reading fails: %v", err)
	}
	short := bytes.NewReader(image(size - 1))
	if _, err := Seal(ctx, short, int64(size), testKey, testID, io.Discard); !errs.Is(err, errs.Corrupt) {
		t.Errorf("a short image: %v", err)
	}
	for size, kind := range map[int64]errs.Kind{0: errs.Invalid, -1: errs.Invalid, maxBytes + 1: errs.TooLarge} {
		if _, err := Seal(ctx, short, size, testKey, testID, io.Discard); !errs.Is(err, kind) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := Seal(stopped, short, 4096, testKey, testID, io.Discard); !errs.Is(err, errs.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	w, err := NewWriter(io.Discard, 10, testKey, testID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 11)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("more than was said: %v", err)
	}
	if _, err := w.Close(); !errs.Is(err, errs.Invalid) {
		t.Errorf("less than was said: %v", err)
	}
}

// TestReadReportsEveryError fails the file below a reader, and what it copies to.
func TestReadReportsEveryError(t *testing.T) {
	plain := image(4 * pieceBytes)
	file, s := seal(t, plain)
	for _, n := range []int{0, HeaderBytes} {
		if _, err := Open(&failing{n}, int64(len(file)), s, testKey); !errors.Is(err, errPlanted) {
			t.Errorf("reading fails after %d bytes: %v", n, err)
		}
	}
	r, err := open(file, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CopyTo(context.Background(), &failing{}); !errors.Is(err, errPlanted) {
		t.Errorf("what is copied to fails: %v", err)
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if err := r.CopyTo(stopped, &failing{}); !errs.Is(err, errs.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	r.file = &failing{}
	if err := r.CopyTo(context.Background(), &memory{b: make([]byte, len(plain))}); !errors.Is(err, errPlanted) {
		t.Errorf("copied from a file that fails: %v", err)
	}
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, errPlanted) {
		t.Errorf("read from a file that fails: %v", err)
	}
}

// TestKeysAreNotShown prints a key in every way.
func TestKeysAreNotShown(t *testing.T) {
	js, _ := json.Marshal(struct{ K Key }{testKey})
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "key", testKey)
	for _, text := range []string{fmt.Sprint(testKey), fmt.Sprintf("%v %+v %#v %x %X %d %s %q", testKey, testKey,
		testKey, testKey, testKey, testKey, testKey, testKey), string(js), log.String(), testKey.String(),
		fmt.Sprintf("%v", struct{ K Key }{testKey}), fmt.Sprintf("%x", &testKey)} {
		if strings.Contains(text, "010203") || strings.Contains(text, "1 2 3") ||
			!strings.Contains(text, redacted) {
			t.Errorf("it shows as %s", text)
		}
	}
	k, err := ParseKey("010203040506070809" + strings.Repeat("00", 23))
	if err != nil || k != testKey {
		t.Errorf("parsed: %v", err)
	}
	for _, text := range []string{"", "01", strings.Repeat("0", 63), strings.Repeat("g", 64)} {
		if _, err := ParseKey(text); !errs.Is(err, errs.Invalid) || strings.Contains(err.Error(), "gg") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzOpen opens any bytes for what they claim to be: it never panics, and gives nothing that was
// not sealed.
func FuzzOpen(f *testing.F) {
	plain := image(BlockBytes + 10)
	file, s := seal(f, plain)
	f.Add(file, s.Bytes, s.Root[:], s.ID[:])
	f.Add([]byte{}, uint64(0), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, file []byte, size uint64, root, id []byte) {
		want := Sealed{Bytes: size}
		copy(want.Root[:], root)
		copy(want.ID[:], id)
		r, err := open(file, want)
		if err != nil {
			if !errs.Is(err, errs.Corrupt) && !errs.Is(err, errs.Unauthorized) {
				t.Fatalf("kind %v: %v", errs.KindOf(err), err)
			}
			return
		}
		p := make([]byte, r.Size())
		n, err := r.ReadAt(p, 0)
		if !bytes.Equal(p[:n], plain[:n]) || err == nil && n != len(plain) {
			t.Fatalf("read %d bytes that nobody sealed, %v", n, err)
		}
	})
}
