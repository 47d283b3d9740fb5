//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/enclave"
	"surety/enclave/layer"
	"surety/enclave/pack"
)

// secretWord is the secret of an enclave under attack, and what its program says of it.
func secretWord(t *testing.T) (word []byte, says string) {
	t.Helper()
	word = make([]byte, 300<<10) // several sealed blocks
	if _, err := rand.Read(word); err != nil {
		t.Fatal(err)
	}
	return word, fmt.Sprintf("%x\n", sha256.Sum256(word))
}

// oneSecret is a design whose program tells the digest of its only secret.
func oneSecret(name string, word []byte) design {
	return design{name: name, command: []string{"sum", "/secret/word"},
		layers:  "[{name: word, kind: secret, target: /secret}]",
		secrets: map[string][]byte{"word/word": word}}
}

// TestEnclaveBundle spoils each file of a bundle in each way that a disk, a registry or an operator
// could. Unspoiled, before and after, it runs.
func TestEnclaveBundle(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	word, says := secretWord(t)
	dir := k.project(oneSecret("attacked", word))
	bundle := filepath.Join(dir, "build")
	files := filesOf(t, bundle)
	if len(files) != 3 {
		t.Fatalf("a bundle of %d files: %v", len(files), files)
	}
	whole := func(when string) {
		t.Helper()
		if out := k.must("run", dir); out != says {
			t.Fatalf("%s it says %q, want %q", when, out, says)
		}
		if err := sound(t, dir); err != nil {
			t.Fatalf("%s it is not sound: %v", when, err)
		}
	}
	whole("before")
	for _, name := range files {
		content := readBytes(t, name)
		for what, spoiled := range spoilings(content) {
			k.write(name, spoiled, 0o644)
			if r := k.surety("run", dir); r.code == 0 || r.out != "" || r.errors == "" {
				t.Errorf("%s, %s, was not refused: %+v", filepath.Base(name), what, r)
			}
		}
		random := mathrand.New(mathrand.NewPCG(1, uint64(len(content))))
		for range 64 {
			at := random.IntN(len(content))
			spoiled := bytes.Clone(content)
			spoiled[at] ^= 1 << random.IntN(8)
			k.write(name, spoiled, 0o644)
			if err := sound(t, dir); err == nil {
				t.Errorf("%s is sound with a bit of byte %d changed", filepath.Base(name), at)
			}
		}
		k.write(name, content, 0o644)
	}
	whole("after")

	t.Run("layers of another build", func(t *testing.T) {
		kept := filepath.Join(k.dir, "kept")
		if err := os.CopyFS(kept, os.DirFS(bundle)); err != nil {
			t.Fatal(err)
		}
		k.write(filepath.Join(dir, "secrets", "word", "word"), word[1:], 0o600)
		k.must("build", dir)
		for _, name := range files {
			base, err := filepath.Rel(bundle, name)
			if err != nil {
				t.Fatal(err)
			}
			now, old := readBytes(t, name), readBytes(t, filepath.Join(kept, base))
			if bytes.Equal(now, old) {
				continue // the public layer is the same, as it must be
			}
			k.write(name, old, 0o644)
			k.refused(nil, "run", dir)
			k.write(name, now, 0o644)
		}
		if out := k.must("run", dir); out == says || len(out) != len(says) {
			t.Errorf("the other build says %q", out)
		}
	})
}

// spoilings are what is done to a file: bits changed, ends cut off or added, blocks exchanged.
func spoilings(content []byte) map[string][]byte {
	n := len(content)
	all := map[string][]byte{
		"first byte changed": flipped(content, 0), "middle changed": flipped(content, 0.5),
		"last byte changed": flipped(content, 1), "cut in half": content[:n/2],
		"without its last byte": content[:n-1], "empty": nil,
		"with a byte more": append(bytes.Clone(content), 0),
	}
	for _, block := range []int{4096, 64 << 10} {
		if n < 3*block {
			continue
		}
		swapped := bytes.Clone(content)
		copy(swapped, content[block:2*block])
		copy(swapped[block:], content[:block])
		if !bytes.Equal(swapped, content) {
			all[fmt.Sprintf("blocks of %d exchanged", block)] = swapped
		}
		all[fmt.Sprintf("without its last %d bytes", block)] = content[:n-block]
	}
	return all
}

// sound checks a project's bundle by what the launcher is made of, without starting it: the signature,
// each layer against the manifest, each block of a secret one.
func sound(t *testing.T, dir string) (err error) {
	t.Helper()
	b, err := pack.Open(filepath.Join(dir, "build"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	ctx := context.Background()
	if err := b.Verify(ctx); err != nil {
		return err
	}
	for i, l := range b.Signed().Manifest.Layers {
		if l.Kind != enclave.Secret {
			continue
		}
		key, err := pack.LoadLayerKey(filepath.Join(dir, "keys", l.Name+".key"))
		if err != nil {
			return err
		}
		path, err := b.LayerPath(i)
		if err != nil {
			return err
		}
		content := readBytes(t, path)
		r, err := layer.Open(bytes.NewReader(content), int64(len(content)),
			layer.Sealed{ID: l.ID, Bytes: l.Bytes, Root: l.Root}, key)
		if err != nil {
			return err
		}
		if _, err := r.ReadAt(make([]byte, r.Size()), 0); err != nil {
			return err
		}
	}
	return nil
}

// filesOf lists the regular files below a directory.
func filesOf(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			list = append(list, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func readBytes(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

var _ = strings.TrimSpace
