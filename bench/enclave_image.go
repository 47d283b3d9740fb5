package bench

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/enclave/pack"
	"surety/sys/entropy"
)

// The tree that is built has one large file, as a model is, and many small ones, as a language's
// library is. Its bytes are random: an image is not compressed, so what they are does not matter.
const (
	benchLibraryFile  = 16 << 10
	benchLibraryShare = 4 // one part in so many are small files
	benchReadBytes    = 64 << 10
)

// tree makes the files once, and returns where and how many bytes they have.
func (b *enclaveBench) tree() (dir string, size int64, err error) {
	dir, size = filepath.Join(b.config.Dir, "tree"), int64(b.config.Megabytes)<<20
	if _, err := os.Stat(dir); err == nil {
		return dir, size, nil
	}
	library := filepath.Join(dir, "library")
	if err := os.MkdirAll(library, 0o755); err != nil {
		return "", 0, errs.As(errs.NoSpace, err, "tree")
	}
	content := make([]byte, size)
	entropy.System().Fill(content)
	small := size / benchLibraryShare / benchLibraryFile * benchLibraryFile
	err = os.WriteFile(filepath.Join(dir, "model"), content[small:], 0o644)
	for at := int64(0); at < small; at += benchLibraryFile {
		name := filepath.Join(library, strconv.FormatInt(at/benchLibraryFile, 10))
		err = errors.Join(err, os.WriteFile(name, content[at:at+benchLibraryFile], 0o644))
	}
	return dir, size, errs.As(errs.NoSpace, err, "tree")
}

// bundle builds the tree as the layer of a kind and returns the time of it.
func (b *enclaveBench) bundle(ctx context.Context, kind enclave.LayerKind, out string, key layer.Key,
	signer ed25519.PrivateKey) (*pack.Bundle, float64, error) {
	dir, size, err := b.tree()
	if err != nil {
		return nil, 0, err
	}
	root := filepath.Join(b.config.Dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, 0, errs.As(errs.NoSpace, err, "root")
	}
	m := enclave.Manifest{Format: 1, Name: "bench", Product: "bench", SVN: 1, Command: []string{"/none"},
		Cwd: "/", Network: "none",
		Brokers: []enclave.Broker{{Name: "local", Key: enclave.KeyID{1}}}}
	parts := []pack.Part{{Name: "root", Kind: enclave.Public, Target: "/", Dir: root},
		{Name: "tree", Kind: kind, Target: "/tree", Dir: dir}}
	if kind == enclave.Secret {
		parts[1].Key, parts[1].KeyRef = key, "local/bench/layer/tree"
	}
	began := b.clock.Now()
	made, err := pack.Build(ctx, out, m, parts, signer, nil)
	return made, rate(size, b.clock.Now().Sub(began)), err
}

// newSigner is a signing key that nobody else has.
func newSigner() ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	entropy.System().Fill(seed)
	return ed25519.NewKeyFromSeed(seed)
}

// build builds images of both kinds, in turns.
func (b *enclaveBench) build(ctx context.Context) error {
	signer := newSigner()
	kinds := []enclave.LayerKind{enclave.Public, enclave.Secret}
	rates := map[enclave.LayerKind][]float64{}
	for range b.config.Rounds {
		for _, kind := range kinds {
			out := filepath.Join(b.config.Dir, "built")
			made, r, err := b.bundle(ctx, kind, out, layer.Key{1}, signer)
			if err != nil {
				return err
			}
			if err := errors.Join(made.Close(), os.RemoveAll(out)); err != nil {
				return err
			}
			rates[kind] = append(rates[kind], r)
		}
	}
	for _, kind := range kinds {
		b.add("image build", fmt.Sprintf("%s layer of %d MiB", kind, b.config.Megabytes), "MB/s", rates[kind])
	}
	return nil
}

// buffer takes what is written to it at any place.
type buffer []byte

// WriteAt implements io.WriterAt.
func (b buffer) WriteAt(p []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(p)) > int64(len(b)) {
		return 0, errs.New(errs.TooLarge, "bench.buffer: %d bytes at %d of %d", len(p), at, len(b))
	}
	return copy(b[at:], p), nil
}

// read reads a sealed layer as a start does, and from front to back in one goroutine, as a program does
// that has it behind a file system; both check every block.
func (b *enclaveBench) read(ctx context.Context) (err error) {
	signer := newSigner()
	key := layer.Key{2}
	out := filepath.Join(b.config.Dir, "sealed")
	made, _, err := b.bundle(ctx, enclave.Secret, out, key, signer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, made.Close(), os.RemoveAll(out)) }()
	path, err := made.LayerPath(1)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return errs.As(errs.NotFound, err, "layer")
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return errs.As(errs.NotFound, err, "layer")
	}
	l := made.Signed().Manifest.Layers[1]
	into := make(buffer, l.Bytes)
	var opened, whole, front []float64
	for range b.config.Rounds {
		began := b.clock.Now()
		r, err := layer.Open(file, info.Size(), layer.Sealed{ID: l.ID, Bytes: l.Bytes, Root: l.Root}, key)
		if err != nil {
			return err
		}
		opened = append(opened, millis(b.clock.Now().Sub(began)))
		if err := r.CopyTo(ctx, into); err != nil {
			return err
		}
		whole = append(whole, rate(int64(l.Bytes), b.clock.Now().Sub(began)))

		began = b.clock.Now()
		for at := int64(0); at < r.Size(); at += benchReadBytes {
			if _, err := r.ReadAt(into[:min(benchReadBytes, r.Size()-at)], at); err != nil {
				return err
			}
		}
		front = append(front, rate(r.Size(), b.clock.Now().Sub(began)))
	}
	b.add("sealed layer opened", "its tags against the measurement", "ms", opened)
	b.add("sealed layer read", "opened, all of it into memory", "MB/s", whole)
	b.add("sealed layer read", "front to back, 64 KiB a call", "MB/s", front)
	return nil
}
