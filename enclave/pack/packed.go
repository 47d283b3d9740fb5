package pack

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"surety/base/errs"
	"surety/enclave"
)

// Package writes a bundle as one file, for others to run: the same bundle gives the same bytes. to
// must not exist. Kind Refused for a bundle that is not for others: a debug build, or one whose
// secrets or state are with the broker of whatever machine it runs on, where simulated evidence
// counts. Every layer is verified on the way.
func Package(ctx context.Context, b *Bundle, to string, advanced func(Progress)) error {
	if err := forOthers(b.signed.Manifest); err != nil {
		return err
	}
	if err := b.Verify(ctx); err != nil {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return errs.New(errs.Exists, "pack.package: %s is there already", to)
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".packing-")
	if err != nil {
		return fileError(err, "pack.package")
	}
	defer os.Remove(f.Name()) // the other name of the same file stays
	err = b.archive(ctx, f, advanced)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), to) // fails where there is one by now
	}
	return fileError(err, "pack.package")
}

// forOthers refuses what is made for trying out.
func forOthers(m *enclave.Manifest) error {
	if m.Debug {
		return errs.New(errs.Refused, "pack.package: %s is a debug build: its operator may look inside; "+
			"build it with debug: false", m.Name)
	}
	for _, broker := range m.Brokers {
		if broker.Name == enclave.LocalBroker || broker.Key.IsZero() {
			return errs.New(errs.Refused, "pack.package: %s has its secrets or state from the broker %q, which "+
				"is that of whatever machine runs it, and takes simulated evidence: name a broker and pin its "+
				"key", m.Name, broker.Name)
		}
	}
	return nil
}

// archive writes the tar.
func (b *Bundle) archive(ctx context.Context, f io.Writer, advanced func(Progress)) error {
	w := tar.NewWriter(f)
	m := b.signed.Manifest
	p := &tally{advanced: advanced, stage: "pack"}
	for i := range m.Layers {
		p.total += LayerBytes(&m.Layers[i])
	}
	err := w.WriteHeader(header(manifestName, int64(len(b.raw))))
	if err == nil {
		_, err = w.Write(b.raw)
	}
	for i := range m.Layers {
		if err == nil {
			err = b.archiveLayer(ctx, w, i, p)
		}
	}
	if err == nil {
		err = w.Close()
	}
	return err
}

func (b *Bundle) archiveLayer(ctx context.Context, w *tar.Writer, index int, p *tally) error {
	path, err := b.LayerPath(index)
	if err != nil {
		return err
	}
	l := &b.signed.Manifest.Layers[index]
	if err := w.WriteHeader(header(layerFile(l), LayerBytes(l))); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // nothing was written
	_, err = io.CopyBuffer(io.MultiWriter(w, p), onlyReader{stopping{ctx, f}}, make([]byte, copyBytes))
	return err
}

// header is that of a file in a bundle: nothing but its name and size.
func header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(name), Size: size, Mode: 0o644}
}

// openPacked opens a bundle in one file and reads its manifest. Kind Corrupt where it is none.
func openPacked(path string) (*os.File, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fileError(err, "open")
	}
	r := tar.NewReader(f)
	if err := expect(r, manifestName, -1); err != nil {
		return f, nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxSigned))
	return f, raw, errs.As(errs.Corrupt, err, "%s", manifestName)
}

// expect reads the next header, which has to be that of the file; a size below zero is any.
func expect(r *tar.Reader, name string, size int64) error {
	h, err := r.Next()
	if err == io.EOF {
		return errs.New(errs.Corrupt, "it ends where %s is expected", name)
	}
	if err != nil {
		return errs.As(errs.Corrupt, err, "it is no bundle")
	}
	if h.Typeflag != tar.TypeReg || h.Name != filepath.ToSlash(name) || size >= 0 && h.Size != size {
		return errs.New(errs.Corrupt, "it has %.80q with %d bytes where %s is expected, with %d", h.Name,
			h.Size, name, size)
	}
	return nil
}

// unpack writes the layers of a packed bundle to a directory of this process. Names and sizes are the
// manifest's: the file's only have to agree.
func (b *Bundle) unpack() (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unpacked != "" || b.packed == nil {
		return b.unpacked, nil
	}
	if _, err := b.packed.Seek(0, io.SeekStart); err != nil {
		return "", fileError(err, "pack.unpack")
	}
	dir, err := os.MkdirTemp("", "surety-bundle-")
	if err != nil {
		return "", fileError(err, "pack.unpack")
	}
	if err := b.unpackTo(dir); err != nil {
		return "", errors.Join(fileError(err, "pack.unpack: %s", b.path), os.RemoveAll(dir))
	}
	b.unpacked = dir
	return dir, nil
}

func (b *Bundle) unpackTo(dir string) error {
	if err := os.Mkdir(filepath.Join(dir, layersName), 0o700); err != nil {
		return err
	}
	r := tar.NewReader(b.packed)
	if err := expect(r, manifestName, int64(len(b.raw))); err != nil {
		return err
	}
	for i := range b.signed.Manifest.Layers {
		l := &b.signed.Manifest.Layers[i]
		if err := expect(r, layerFile(l), LayerBytes(l)); err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, layerFile(l)), r); err != nil {
			return err
		}
	}
	if h, err := r.Next(); err != io.EOF {
		name := "something"
		if h != nil {
			name = h.Name
		}
		return errs.New(errs.Corrupt, "it goes on behind its last layer, with %.80q", name)
	}
	return nil
}

func writeFile(path string, from io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(f, onlyReader{from}, make([]byte, copyBytes))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errs.New(errs.Corrupt, "it is cut within %s", filepath.Base(path))
	}
	return errors.Join(err, f.Close())
}
