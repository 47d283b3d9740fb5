package pack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
)

// reused takes the file of a secret layer that was built before, where its plaintext is the same: so
// that nothing changes where nothing has changed. What cannot be read of it is built anew.
func (w *work) reused(ctx context.Context, p *Part, s *source, l *enclave.Layer) (bool, error) {
	index := layerOf(w.Reuse, p.Name)
	if index < 0 {
		return false, nil
	}
	old := &w.Reuse.signed.Manifest.Layers[index]
	if old.Kind != enclave.Secret || old.Bytes != l.Bytes {
		return false, nil
	}
	path, err := w.Reuse.LayerPath(index)
	if err != nil {
		return false, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, nil
	}
	defer f.Close() // nothing was written
	r, err := layer.Open(f, LayerBytes(old), SealedOf(old), p.Key)
	if err != nil {
		return false, nil
	}
	defer r.Close() // it forgets
	switch err := s.write(ctx, &comparison{r: r}); {
	case errors.Is(err, errDiffers) || errs.Is(err, errs.Corrupt):
		return false, nil
	case err != nil:
		return false, err
	}
	l.ID, l.Root = old.ID, old.Root
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	return true, writeFile(filepath.Join(w.dir, layerFile(l)), stopping{ctx, f})
}

// layerOf is a layer's number in a bundle by its name; -1 where there is none.
func layerOf(b *Bundle, name string) int {
	if b != nil {
		for i := range b.signed.Manifest.Layers {
			if b.signed.Manifest.Layers[i].Name == name {
				return i
			}
		}
	}
	return -1
}

// errDiffers is what a comparison fails with.
var errDiffers = errs.New(errs.Invalid, "it differs")

// comparison takes what is written to it only as long as a sealed layer holds the same.
type comparison struct {
	r      *layer.Reader
	at     int64
	buffer []byte
}

func (c *comparison) Write(p []byte) (int, error) {
	if len(c.buffer) < len(p) {
		c.buffer = make([]byte, len(p))
	}
	was := c.buffer[:len(p)]
	defer clear(was)
	if n, err := c.r.ReadAt(was, c.at); n < len(p) {
		return 0, errors.Join(err, errDiffers)
	}
	if !bytes.Equal(was, p) {
		return 0, errDiffers
	}
	c.at += int64(len(p))
	return len(p), nil
}
