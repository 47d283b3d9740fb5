package pack

import (
	"context"
	"errors"
	"io"
	"os"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/sys/entropy"
)

// SealDir seals a directory as a secret layer of its own, under a new id, and writes the sealed file
// to a path that must not exist. So somebody else can build a bundle of it (Part.Sealed) who does not
// have the key. Kind Exists where the path is there; nothing is left of it after an error.
func SealDir(ctx context.Context, dir, to string, key layer.Key) (layer.Sealed, error) {
	s, err := openDirectory(ctx, Part{Dir: dir}, places{})
	if err != nil {
		return layer.Sealed{}, fileError(err, "pack.seal: %s", dir)
	}
	defer s.close() // it was only read
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return layer.Sealed{}, fileError(err, "pack.seal")
	}
	sealed, err := sealTo(ctx, f, s, key)
	if err = errors.Join(err, f.Close()); err != nil {
		return layer.Sealed{}, errors.Join(fileError(err, "pack.seal: %s", dir), os.Remove(to))
	}
	return sealed, nil
}

func sealTo(ctx context.Context, f *os.File, s *source, key layer.Key) (layer.Sealed, error) {
	var id [16]byte
	entropy.System().Fill(id[:])
	w, err := layer.NewWriter(f, s.size, key, id)
	if err != nil {
		return layer.Sealed{}, err
	}
	err = s.write(ctx, w)
	sealed, closed := w.Close()
	return sealed, errors.Join(err, closed, f.Sync())
}

// openSealed takes a file that its owner has sealed: it is copied as it is.
func openSealed(p Part) (*source, error) {
	if p.Kind != enclave.Secret || p.Dir != "" || p.Image == "" {
		return nil, errs.New(errs.Invalid, "a sealed part is a secret layer, and its image the sealed file")
	}
	f, err := os.Open(p.Image)
	if err != nil {
		return nil, err
	}
	size := layer.SealedBytes(int64(p.Sealed.Bytes))
	if err := layer.Check(f, size, *p.Sealed); err != nil {
		return nil, errors.Join(errs.Wrap(err, "%s", p.Image), f.Close())
	}
	plain := int64(p.Sealed.Bytes)
	return &source{size: plain, close: f.Close, write: func(ctx context.Context, to io.Writer) error {
		_, err := io.CopyBuffer(to, onlyReader{stopping{ctx, io.NewSectionReader(f, 0, size)}},
			make([]byte, copyBytes))
		return err
	}}, nil
}
