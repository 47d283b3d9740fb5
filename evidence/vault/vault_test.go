package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// noon is 2026-03-01T12:00:00Z.
var noon = clock.MustDate(2026, 3, 1).Instant().Add(12 * clock.Hour)

func open(t testing.TB, directory string) *Vault {
	t.Helper()
	v, err := Open(context.Background(), Options{
		Directory: directory, Clock: wallclock.NewManual(noon), CacheKeys: 8,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func subject(n uint64) ident.ID { return ident.ID{Hi: 7, Lo: n} }

func wantKind(t testing.TB, err error, kind errs.Kind, fragment string) {
	t.Helper()
	if !errs.Is(err, kind) || !strings.Contains(err.Error(), fragment) {
		t.Fatalf("got %v (%v), want kind %v and %q in the text", err, errs.KindOf(err), kind, fragment)
	}
}

func seal(t testing.TB, v *Vault, n uint64, text string) []byte {
	t.Helper()
	sealed, err := v.Seal(context.Background(), subject(n), []byte(text), "application")
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestWhatIsSealedOpensAfterReopening(t *testing.T) {
	directory := t.TempDir()
	texts := []string{"", "Ada Lovelace, 10 December 1815", strings.Repeat("x", MaxPlaintext)}
	var sealed [][]byte
	v, err := Open(context.Background(), Options{Directory: directory})
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		sealed = append(sealed, seal(t, v, uint64(i+1), text))
		if got, want := len(sealed[i]), len(text)+overhead; got != want {
			t.Errorf("sealed %d bytes to %d, want %d", len(text), got, want)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open(t, directory)
	for i, text := range texts {
		got, err := v.Unseal(context.Background(), subject(uint64(i+1)), sealed[i], "application")
		if err != nil || string(got) != text {
			t.Errorf("text %d: got %d bytes, %v", i, len(got), err)
		}
		if named, err := SubjectOf(sealed[i]); err != nil || named != subject(uint64(i+1)) {
			t.Errorf("text %d names %s, %v", i, named, err)
		}
	}
}

func TestSealHidesTheTextAndDiffersEachTime(t *testing.T) {
	v := open(t, t.TempDir())
	a, b := seal(t, v, 1, "Ada Lovelace"), seal(t, v, 1, "Ada Lovelace")
	if bytes.Equal(a, b) {
		t.Error("the same text was sealed to the same bytes")
	}
	if bytes.Contains(a, []byte("Ada")) {
		t.Error("the text stands in the sealed bytes")
	}
}

func TestEveryFlippedByteIsRefused(t *testing.T) {
	v := open(t, t.TempDir())
	sealed := seal(t, v, 1, "Ada")
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 0x10
		if _, err := v.Unseal(context.Background(), subject(1), damaged, "application"); err == nil {
			t.Errorf("byte %d flipped and opened", i)
		}
	}
	for n := range sealed {
		if _, err := v.Unseal(context.Background(), subject(1), sealed[:n], "application"); err == nil {
			t.Errorf("cut to %d bytes and opened", n)
		}
	}
}

// The refusals of Seal and Unseal, in the order they are checked.
func TestRefusals(t *testing.T) {
	v := open(t, t.TempDir())
	ctx := context.Background()
	sealed := seal(t, v, 1, "Ada")
	long := strings.Repeat("c", MaxContext+1)

	_, err := v.Seal(ctx, ident.ID{}, make([]byte, MaxPlaintext+1), long)
	wantKind(t, err, errs.Invalid, "names nobody")
	_, err = v.Seal(ctx, ident.Max, nil, "")
	wantKind(t, err, errs.Invalid, "names nobody")
	_, err = v.Seal(ctx, subject(1), make([]byte, MaxPlaintext+1), long)
	wantKind(t, err, errs.TooLarge, "196609 bytes, the limit is 196608")
	_, err = v.Seal(ctx, subject(1), nil, long)
	wantKind(t, err, errs.TooLarge, "context has 129 bytes, the limit is 128")

	_, err = v.Unseal(ctx, subject(1), nil, "application")
	wantKind(t, err, errs.Corrupt, "at least 45")
	_, err = v.Unseal(ctx, subject(1), append([]byte{9}, sealed[1:]...), "application")
	wantKind(t, err, errs.Corrupt, "version 9, known is 1")
	_, err = v.Unseal(ctx, subject(2), sealed, "application")
	wantKind(t, err, errs.Invalid, "sealed for subject")
	moved := appendHead(nil, subject(2))
	moved = append(moved, sealed[headBytes:]...)
	_, err = v.Unseal(ctx, subject(2), moved, "application")
	wantKind(t, err, errs.NotFound, "nothing was ever sealed")
	seal(t, v, 2, "somebody else")
	_, err = v.Unseal(ctx, subject(2), moved, "application")
	wantKind(t, err, errs.Corrupt, "not what was sealed")
	_, err = v.Unseal(ctx, subject(1), sealed, "contract")
	wantKind(t, err, errs.Corrupt, "not what was sealed")

	_, err = v.Erase(ctx, ident.ID{}, strings.Repeat("r", MaxReason+1))
	wantKind(t, err, errs.Invalid, "names nobody")
	_, err = v.Erase(ctx, subject(1), strings.Repeat("r", MaxReason+1))
	wantKind(t, err, errs.TooLarge, "the limit is 512")
	_, err = v.Erase(ctx, subject(1), "")
	wantKind(t, err, errs.Invalid, "no reason")
}

func TestErase(t *testing.T) {
	directory := t.TempDir()
	ctx := context.Background()
	v := open(t, directory)
	sealed := seal(t, v, 1, "Ada")
	other := seal(t, v, 2, "Grace")
	wrapped, err := v.read(ctx, subject(1))
	if err != nil {
		t.Fatal(err)
	}
	if !onDisk(t, directory, wrapped) {
		t.Fatal("the wrapped key is in no file: this test would show nothing")
	}

	at, err := v.Erase(ctx, subject(1), "request 17")
	if err != nil || at != noon {
		t.Fatalf("got %d, %v, want %d", at, err, noon)
	}
	if onDisk(t, directory, wrapped) {
		t.Error("the wrapped key is still in a file")
	}
	for range 2 { // the second time after a restart
		_, err = v.Unseal(ctx, subject(1), sealed, "application")
		wantKind(t, err, errs.Refused, "erased at 2026-03-01T12:00:00Z: request 17")
		var erased *Erased
		if !errors.As(err, &erased) || erased.At != noon || erased.Reason != "request 17" {
			t.Errorf("got cause %+v", erased)
		}
		_, err = v.Seal(ctx, subject(1), []byte("again"), "application")
		wantKind(t, err, errs.Refused, "erased at 2026-03-01T12:00:00Z")
		grace, err := v.Unseal(ctx, subject(2), other, "application")
		if err != nil || string(grace) != "Grace" {
			t.Errorf("another subject: got %q, %v", grace, err)
		}
		if n, err := v.Count(ctx); err != nil || n != (Count{Live: 1, Erased: 1}) {
			t.Errorf("got %+v, %v", n, err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		v = open(t, directory)
	}
}

func TestEraseTwiceAndBeforeTheFirstSeal(t *testing.T) {
	ctx := context.Background()
	now := wallclock.NewManual(noon)
	v, err := Open(ctx, Options{Directory: t.TempDir(), Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for range 2 {
		at, err := v.Erase(ctx, subject(5), "never a customer")
		if err != nil || at != noon {
			t.Fatalf("got %d, %v, want the first instant %d", at, err, noon)
		}
		now.Advance(clock.Hour)
	}
	_, err = v.Seal(ctx, subject(5), nil, "")
	wantKind(t, err, errs.Refused, "never a customer")
}

// onDisk reports whether any file of the directory holds the bytes.
func onDisk(t *testing.T, directory string, needle []byte) (found bool) {
	t.Helper()
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || bytes.Contains(content, needle)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestMoreSubjectsThanTheCacheHolds(t *testing.T) {
	v := open(t, t.TempDir())
	var sealed [][]byte
	for n := range 50 {
		sealed = append(sealed, seal(t, v, uint64(n+1), fmt.Sprint("text ", n)))
	}
	if kept := v.keys.recent.Len(); kept != 8 || len(v.keys.bySub) != 8 {
		t.Errorf("cache keeps %d keys, the limit is 8", kept)
	}
	for n, bytes := range sealed {
		got, err := v.Unseal(context.Background(), subject(uint64(n+1)), bytes, "application")
		if err != nil || string(got) != fmt.Sprint("text ", n) {
			t.Fatalf("subject %d: got %q, %v", n, got, err)
		}
	}
}

func TestAKeyReadBeforeAnErasureIsNotKept(t *testing.T) {
	c := newCache(2)
	_, _, epoch := c.get(subject(1))
	c.erase(subject(1))
	c.put(subject(1), key{1}, epoch)
	if _, found, _ := c.get(subject(1)); found {
		t.Fatal("an erased key came back into the cache")
	}
}

func TestConcurrentFirstSealsShareOneKey(t *testing.T) {
	v := open(t, t.TempDir())
	var wg sync.WaitGroup
	sealed := make([][]byte, 64)
	for i := range sealed {
		wg.Go(func() {
			var err error
			sealed[i], err = v.Seal(context.Background(), subject(uint64(i%4+1)), []byte("x"), "k")
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, bytes := range sealed {
		if _, err := v.Unseal(context.Background(), subject(uint64(i%4+1)), bytes, "k"); err != nil {
			t.Errorf("seal %d: %v", i, err)
		}
	}
}

// Seals and unseals beside an erasure give what was sealed or the refusal, and only the refusal
// once Erase has returned.
func TestErasureBesideUse(t *testing.T) {
	v := open(t, t.TempDir())
	ctx := context.Background()
	for round := range uint64(20) {
		who := subject(round + 1)
		sealed := seal(t, v, round+1, "Ada")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					_, err := v.Unseal(ctx, who, sealed, "application")
					if err != nil && !errs.Is(err, errs.Refused) {
						t.Error(err)
					}
				}
			})
		}
		if _, err := v.Erase(ctx, who, "round"); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Unseal(ctx, who, sealed, "application"); !errs.Is(err, errs.Refused) {
			t.Fatalf("after the erasure: got %v", err)
		}
		wg.Wait()
		if _, found, _ := v.keys.get(who); found {
			t.Fatal("the erased key is in the cache")
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	directory := t.TempDir()
	open(t, directory)
	_, err := Open(context.Background(), Options{Directory: directory})
	wantKind(t, err, errs.Locked, "vault.open")
}

func TestMasterKeyFile(t *testing.T) {
	ctx := context.Background()
	directory := t.TempDir()
	path := filepath.Join(directory, masterFile)
	v, err := Open(ctx, Options{Directory: directory})
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, v, 1, "Ada")
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, text, mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(kind errs.Kind, fragment string) {
		t.Helper()
		_, err := Open(ctx, Options{Directory: directory})
		wantKind(t, err, kind, fragment)
		if err != nil && strings.Contains(err.Error(), string(good[len(masterHeader)+1:len(good)-1])) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
	write(good, 0o644)
	refused(errs.Forbidden, "mode 0644, want 0600")
	write(good[:20], 0o600)
	refused(errs.Corrupt, "first line")
	write(good[:40], 0o600)
	refused(errs.Corrupt, "second line")
	write(make([]byte, maxMasterBytes+1), 0o600)
	refused(errs.Corrupt, "the limit is 4096")
	other := bytes.Clone(good)
	if at := len(masterHeader) + 3; other[at] == 'A' {
		other[at] = 'B'
	} else {
		other[at] = 'A'
	}
	write(other, 0o600)
	refused(errs.Invalid, "not the key of this vault")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refused(errs.NotFound, "master.key is missing")

	write(good, 0o600)
	if _, err := open(t, directory).Unseal(ctx, subject(1), sealed, "application"); err != nil {
		t.Fatalf("with the file back: %v", err)
	}
}

// A new master key survives a power cut at every step, or there is none yet and the next start
// makes one.
func TestNewMasterKeyAndPowerCuts(t *testing.T) {
	kinds := []vfs.OpKind{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir}
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			files := vfs.NewMemory()
			if err := files.MakeDir("v"); err != nil {
				t.Fatal(err)
			}
			planted := errs.New(errs.NoSpace, "planted")
			files.SetFault(func(op vfs.Op) error {
				if op.Kind == kind {
					return planted
				}
				return nil
			})
			_, err := createMaster(files, "v", entropy.Seeded(1))
			wantKind(t, err, errs.NoSpace, "planted")
			files.SetFault(nil)
			files.Crash(1)
			if _, found, err := loadMaster(files, "v"); found || err != nil {
				t.Fatalf("after a failed start: found %v, %v", found, err)
			}
			made, err := createMaster(files, "v", entropy.Seeded(2))
			if err != nil {
				t.Fatal(err)
			}
			files.Crash(2)
			loaded, found, err := loadMaster(files, "v")
			if !found || err != nil || loaded != made {
				t.Fatalf("after a power cut: found %v, %v", found, err)
			}
		})
	}
}

func TestKeysAreRedacted(t *testing.T) {
	k := key{1, 2, 3, 250}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", k, "pointer", &k)
	encoded, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%s %v %+v %#v %x %d %q %s", encoded, k, k, k, k, k, &k, &k)
	text := out.String()
	if strings.Contains(text, "250") || strings.Contains(text, "fa") || strings.Contains(text, "0x") {
		t.Fatalf("a key shows in %s", text)
	}
	if strings.Count(text, redacted) != 10 {
		t.Fatalf("got %s", text)
	}
}

func FuzzUnseal(f *testing.F) {
	v := open(f, f.TempDir())
	f.Add(seal(f, v, 1, "Ada"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if text, err := v.Unseal(context.Background(), subject(1), sealed, "elsewhere"); err == nil {
			t.Fatalf("opened %x to %q", sealed, text)
		}
	})
}

func BenchmarkSealKnownSubject(b *testing.B) {
	v := open(b, b.TempDir())
	text := make([]byte, 600)
	for b.Loop() {
		if _, err := v.Seal(context.Background(), subject(1), text, "application"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealNewSubjects(b *testing.B) {
	v := open(b, b.TempDir())
	text := make([]byte, 600)
	var mu sync.Mutex
	n := uint64(0)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.Lock()
			n++
			who := subject(n)
			mu.Unlock()
			if _, err := v.Seal(context.Background(), who, text, "application"); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
