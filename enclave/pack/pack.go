// Package pack turns a program and its files into an enclave: a project directory that people edit,
// and the bundle that is built of it, which runs anywhere.
//
// Think of a compiler for file systems. A project says in enclave.yaml what the program is and which
// directories go into which layer; Build lays each of them out as one EROFS image, measures the
// public ones, seals the secret ones, writes a manifest of it all and signs it. Nothing of the
// machine that builds goes in: no time, no user, no order of a directory. So who has the same files
// gets the same measurement, and can say which file made the difference where it is another one.
//
// A bundle is a directory
//
//	manifest.cose         the signed manifest
//	layers/NAME.erofs     a public layer
//	layers/NAME.sealed    a secret layer
//
// or one file, which is a tar of just these in this order, with the layers in the manifest's.
//
// # Invariants
//
// A bundle is there whole or not at all: it is made beside its place and renamed.
//
// The plaintext of a secret layer is in the files that the project has it in, and in no file that
// this package makes.
//
// A bundle is untrusted input: names in it are compared and never followed, sizes are those that the
// signed manifest says, and everything that is read of it is measured where it is used.
//
// # Boundaries
//
// It does not decide who is a good signer, keeps no keys but in the files it is told, and starts
// nothing. What a program opens while it runs (plug-ins, modules of name services) no reading of its
// headers can see; Add takes such files by name.
//
// # Concurrency
//
// A Bundle may be used by many goroutines until it is closed. A project is changed by one command at a
// time, in one or several processes: the second is refused.
//
// # Sources
//
// System V ABI, chapter 5 (dynamic linking); ld.so(8) for the order of search; POSIX pax for the
// file; decisions 0014, 0031 and 0032.
package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
)

// Names in a bundle.
const (
	manifestName = "manifest.cose"
	layersName   = "layers"
)

// Bundle is a built enclave, open for reading: a directory with manifest.cose and a file for each
// layer, or the same as one file.
type Bundle struct {
	path   string
	signed enclave.Signed
	raw    []byte
	packed *os.File // of a bundle in one file

	mu       sync.Mutex
	unpacked string // temporary directory with the layers of a packed one; empty until they are asked for
}

// Open reads a bundle's manifest and checks its signature; layers are not read. Kind NotFound or
// Corrupt.
func Open(path string) (*Bundle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(err, "pack.open")
	}
	b := &Bundle{path: path}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, errs.New(errs.Corrupt, "pack.open: %s is neither a directory nor a file", path)
	}
	if info.IsDir() {
		b.raw, err = readSmall(filepath.Join(path, manifestName), maxSigned)
	} else {
		b.packed, b.raw, err = openPacked(path)
	}
	if err == nil {
		b.signed, err = enclave.OpenSigned(b.raw)
	}
	if err != nil {
		return nil, errors.Join(errs.Wrap(err, "pack.open: %s", path), b.Close())
	}
	return b, nil
}

// Path is what the bundle was opened as.
func (b *Bundle) Path() string { return b.path }

// Signed is the bundle's manifest. It stays the bundle's: use its Clone to change it.
func (b *Bundle) Signed() enclave.Signed { return b.signed }

// SignedBytes is the signed manifest as it stands in the bundle.
func (b *Bundle) SignedBytes() []byte { return bytes.Clone(b.raw) }

// LayerBytes is the size of a layer's file.
func LayerBytes(l *enclave.Layer) int64 {
	if l.Kind == enclave.Secret {
		return layer.SealedBytes(int64(l.Bytes))
	}
	return int64(l.Bytes)
}

// layerFile is the path of a layer's file in a bundle.
func layerFile(l *enclave.Layer) string {
	if l.Kind == enclave.Secret {
		return filepath.Join(layersName, l.Name+".sealed")
	}
	return filepath.Join(layersName, l.Name+".erofs")
}

// LayerPath returns the path of a layer's file, which has exactly the layer's bytes: an EROFS image
// where it is public, a sealed file where it is secret. Of a packed bundle all layers are written to
// a temporary directory the first time. Kind Corrupt where the file is missing or has another size.
func (b *Bundle) LayerPath(index int) (string, error) {
	if index < 0 || index >= len(b.signed.Manifest.Layers) {
		return "", errs.New(errs.Invalid, "pack.layer: number %d of %d", index, len(b.signed.Manifest.Layers))
	}
	dir := b.path
	if b.packed != nil {
		var err error
		if dir, err = b.unpack(); err != nil {
			return "", err
		}
	}
	l := &b.signed.Manifest.Layers[index]
	path := filepath.Join(dir, layerFile(l))
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", errs.New(errs.Corrupt, "pack.layer: %s is missing", path)
	case err != nil:
		return "", fileError(err, "pack.layer")
	case !info.Mode().IsRegular():
		return "", errs.New(errs.Corrupt, "pack.layer: %s is no regular file", path)
	case info.Size() != LayerBytes(l):
		return "", errs.New(errs.Corrupt, "pack.layer: %s has %d bytes, its manifest says %d", path,
			info.Size(), LayerBytes(l))
	}
	return path, nil
}

// Close lets go of the bundle, and removes what was unpacked of it.
func (b *Bundle) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	if b.packed != nil {
		err = b.packed.Close()
		b.packed = nil
	}
	if b.unpacked != "" {
		err = errors.Join(err, os.RemoveAll(b.unpacked))
		b.unpacked = ""
	}
	return fileError(err, "pack.close")
}

// Verify reads every layer and says whether it is what the manifest measures. Kind Corrupt with the
// layer's name. Of a secret layer it reads the header and the tags: whether its blocks are those of
// the tags only the key tells, see VerifyWith.
func (b *Bundle) Verify(ctx context.Context) error { return b.VerifyWith(ctx, nil) }

// VerifyWith is Verify that decrypts the secret layers whose keys are given, by name. Kind
// Unauthorized where a key is another layer's.
func (b *Bundle) VerifyWith(ctx context.Context, keys map[string]layer.Key) error {
	for i := range b.signed.Manifest.Layers {
		l := &b.signed.Manifest.Layers[i]
		path, err := b.LayerPath(i)
		if err != nil {
			return err
		}
		key, has := keys[l.Name]
		if err := verifyLayer(ctx, path, l, key, has); err != nil {
			return errs.Wrap(err, "pack.verify: layer %s", l.Name)
		}
	}
	return nil
}

// SealedOf is what a secret layer's file is wanted to be.
func SealedOf(l *enclave.Layer) layer.Sealed {
	return layer.Sealed{ID: l.ID, Bytes: l.Bytes, Root: l.Root}
}

func verifyLayer(ctx context.Context, path string, l *enclave.Layer, key layer.Key, open bool) error {
	f, err := os.Open(path)
	if err != nil {
		return fileError(err, "open")
	}
	defer f.Close() // nothing was written
	if l.Kind == enclave.Public {
		m := newMeasure(io.Discard, l.Salt)
		_, err := io.CopyBuffer(m, onlyReader{stopping{ctx, io.LimitReader(f, int64(l.Bytes)+1)}},
			make([]byte, copyBytes))
		digest, verity, closed := m.close()
		switch {
		case err != nil:
			return fileError(err, "read")
		case digest != l.Digest:
			return errs.New(errs.Corrupt, "its SHA-256 is %x, want %x", digest, l.Digest)
		case closed != nil || verity != l.Verity:
			return errs.New(errs.Corrupt, "its dm-verity root is %x, want %x", verity, l.Verity)
		}
		return nil
	}
	if !open {
		return layer.Check(f, LayerBytes(l), SealedOf(l))
	}
	r, err := layer.Open(f, LayerBytes(l), SealedOf(l), key)
	if err != nil {
		return err
	}
	return errors.Join(r.CopyTo(ctx, nowhere{}), r.Close())
}

// nowhere takes bytes and forgets them.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// onlyReader hides shorter ways that would pass by the buffer.
type onlyReader struct{ io.Reader }

// stopping is a reader that fails when its context ends.
type stopping struct {
	ctx context.Context
	r   io.Reader
}

func (s stopping) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, errs.As(errs.Canceled, err, "stopped")
	}
	return s.r.Read(p)
}

// measure hashes what goes through it, both ways, at the same time.
type measure struct {
	to   io.Writer
	sum  interface{ Write([]byte) (int, error) }
	last func([]byte) []byte
	tree *layer.Tree
}

func newMeasure(to io.Writer, salt [32]byte) *measure {
	sum := sha256.New()
	return &measure{to: to, sum: sum, last: sum.Sum, tree: layer.NewTree(salt)}
}

func (m *measure) Write(p []byte) (int, error) {
	var hashing sync.WaitGroup
	hashing.Go(func() { _, _ = m.sum.Write(p) }) // a hash takes everything
	_, _ = m.tree.Write(p)                       // and so does a tree
	n, err := m.to.Write(p)
	hashing.Wait()
	return n, err
}

// close returns the SHA-256 and the root of the dm-verity tree.
func (m *measure) close() (digest, verity [32]byte, err error) {
	verity, err = m.tree.Root()
	return [32]byte(m.last(nil)), verity, err
}

// readSmall reads a file whole; kind TooLarge past the limit.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileError(err, "read")
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errs.New(errs.Invalid, "%s is no regular file", path)
	}
	if err != nil {
		return nil, fileError(err, "read")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errs.New(errs.TooLarge, "%s has more than %d bytes, which is the limit", path, limit)
	}
	return data, fileError(err, "read")
}

// fileError gives an error of the file system its kind; nil stays nil, and what has a kind keeps it.
func fileError(err error, format string, args ...any) error {
	kind := errs.Internal
	var typed *errs.Error
	switch {
	case errors.As(err, &typed):
		kind = typed.Kind
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = errs.NoSpace
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		kind = errs.NotFound
	case errors.Is(err, os.ErrExist):
		kind = errs.Exists
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		kind = errs.Forbidden
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind = errs.Canceled
	}
	return errs.As(kind, err, format, args...)
}
