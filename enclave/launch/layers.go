package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/sandbox/image"
)

// each does something with every layer of a kind, all at once, and waits for all of them. The error is
// that of the first layer, in the manifest's order, that has one.
func (o *Opened) each(kind enclave.LayerKind, do func(i int, l *enclave.Layer) error) error {
	failed := make([]error, len(o.manifest.Layers))
	var workers sync.WaitGroup
	for i := range o.manifest.Layers {
		if l := &o.manifest.Layers[i]; l.Kind == kind {
			workers.Go(func() { failed[i] = errs.Wrap(do(i, l), "layer %s", l.Name) })
		}
	}
	workers.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// verify reads the bundle's files and compares them with the manifest, before anything is shown to
// anybody: public layers whole, into the memory that the sandbox will map, and secret ones as far as
// can be said without a key.
func (o *Opened) verify(ctx context.Context) error {
	shared := make([]*image.Sealed, len(o.manifest.Layers))
	err := o.each(enclave.Public, func(i int, l *enclave.Layer) error {
		path, err := o.layerFile(i, int64(l.Bytes))
		if err != nil {
			return err
		}
		shared[i], err = o.deps.Host.Share(ctx, path, publicDigest(l))
		return err
	})
	for _, s := range shared {
		if s != nil {
			o.images = append(o.images, s)
		}
	}
	if err != nil {
		return err
	}
	return o.each(enclave.Secret, func(i int, l *enclave.Layer) error {
		return o.withSealed(i, l, func(f *os.File, size int64) error {
			return layer.Check(f, size, sealedOf(l))
		})
	})
}

// publicDigest is a public layer's, as the sandbox has it.
func publicDigest(l *enclave.Layer) string { return fmt.Sprintf("sha256:%x", l.Digest) }

// sealedOf is what is wanted of a secret layer's file.
func sealedOf(l *enclave.Layer) layer.Sealed {
	return layer.Sealed{ID: l.ID, Bytes: l.Bytes, Root: l.Root}
}

// layerFile is the path of a layer's file, which must have a size.
func (o *Opened) layerFile(i int, size int64) (string, error) {
	path, err := o.order.Bundle.LayerPath(i)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", errs.Wrap(err, "bundle")
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", errs.Wrap(err, "bundle")
	}
	if info.Size() != size {
		return "", errs.New(errs.Corrupt, "%s has %d bytes, the manifest measures %d", path, info.Size(), size)
	}
	return path, nil
}

// withSealed opens the file of a secret layer for a while.
func (o *Opened) withSealed(i int, l *enclave.Layer, do func(f *os.File, size int64) error) error {
	path, err := o.layerFile(i, layer.SealedBytes(int64(l.Bytes)))
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return errs.Wrap(err, "bundle")
	}
	defer f.Close() // it is only read
	info, err := f.Stat()
	if err != nil {
		return errs.Wrap(err, "bundle")
	}
	return do(f, info.Size())
}

// obtain asks the brokers for the keys of the secret layers.
func (o *Opened) obtain(ctx context.Context) error {
	o.keys = make([]layer.Key, len(o.manifest.Layers))
	return o.each(enclave.Secret, func(i int, l *enclave.Layer) error {
		broker, resource, _ := strings.Cut(l.Key, "/")
		secret, err := o.sessions[broker].Release(ctx, resource)
		if err != nil {
			return errs.Wrap(err, "broker %s", broker)
		}
		defer clear(secret)
		if len(secret) != layer.KeyBytes {
			return errs.New(errs.Unauthorized, "broker %s: what it keeps as %s has %d bytes, a layer's key has "+
				"%d", broker, resource, len(secret), layer.KeyBytes)
		}
		copy(o.keys[i][:], secret)
		return nil
	})
}

// unseal decrypts the secret layers, each into memory of its own, and clears their keys.
func (o *Opened) unseal(ctx context.Context) error {
	o.memories = make([]*image.Memory, len(o.manifest.Layers))
	defer clear(o.keys)
	return o.each(enclave.Secret, func(i int, l *enclave.Layer) error {
		return o.withSealed(i, l, func(f *os.File, size int64) error {
			m, err := o.decrypt(ctx, f, size, sealedOf(l), o.keys[i])
			o.memories[i] = m
			if m != nil && !m.Locked() {
				o.deps.Log.Warn("a secret layer may be swapped: this process may not lock so much memory",
					"layer", l.Name, "bytes", l.Bytes)
			}
			return err
		})
	})
}

// decrypt opens one sealed file into new memory. On an error none is left.
func (o *Opened) decrypt(ctx context.Context, f *os.File, size int64, want layer.Sealed,
	key layer.Key) (*image.Memory, error) {
	defer clear(key[:])
	reader, err := layer.Open(f, size, want, key)
	if err != nil {
		return nil, err
	}
	m, err := image.NewMemory(reader.Size())
	if err != nil {
		return nil, err
	}
	err = reader.CopyTo(ctx, m)
	if err == nil {
		err = m.Seal()
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// locked reports whether all secret layers are kept out of swap.
func (o *Opened) locked() bool {
	for _, m := range o.memories {
		if m != nil && !m.Locked() {
			return false
		}
	}
	return true
}
