package image

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"surety/base/errs"
)

// files is a set of named files: a directory, or an archive.
type files interface {
	open(name string) (io.ReadCloser, error) // kind NotFound where there is none
}

// openLayout prepares an image of a directory in OCI image layout.
func openLayout(ctx context.Context, source Source) (*material, error) {
	root, err := os.OpenRoot(source.Where)
	if err != nil {
		return nil, diskError(err, "image.add: layout %s", source.Where)
	}
	m, err := readLayout(ctx, folder{root}, source.Tag)
	if err != nil {
		return nil, errors.Join(errs.Wrap(err, "image.add: layout %s", source.Where), root.Close())
	}
	m.close = root.Close
	return m, nil
}

// folder is a directory of files; links out of it lead nowhere.
type folder struct{ root *os.Root }

func (f folder) open(name string) (io.ReadCloser, error) {
	return openRegular(func(flags int) (*os.File, error) { return f.root.OpenFile(name, flags, 0) })
}

// readLayout finds the image with the tag, or the only one, in an OCI image layout.
func readLayout(ctx context.Context, f files, tag string) (*material, error) {
	var marker struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := readJSON(f, "oci-layout", &marker); err != nil {
		return nil, err
	}
	if marker.Version != "1.0.0" {
		return nil, errs.New(errs.Invalid, "oci-layout: imageLayoutVersion is %q, want \"1.0.0\"",
			marker.Version)
	}
	index, err := readSmall(f, "index.json")
	if err != nil {
		return nil, err
	}
	chosen, err := choose(index, tag, "index.json")
	if err != nil {
		return nil, err
	}
	return resolve(ctx, blobs{f}, chosen, 0)
}

// blobs is the shelf of a layout.
type blobs struct{ f files }

func (b blobs) open(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest.Algorithm != "sha256" {
		return nil, errs.New(errs.Invalid, "the digest %q is not a sha256", d.Digest)
	}
	return b.f.open(filepath.Join("blobs", d.Digest.Algorithm, d.Digest.Hex))
}

// readSmall returns a small file whole.
func readSmall(f files, name string) ([]byte, error) {
	r, err := f.open(name)
	if err != nil {
		return nil, errs.Wrap(err, "%s", name)
	}
	content, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, diskError(err, "%s", name)
	}
	if len(content) > maxManifest {
		return nil, errs.New(errs.TooLarge, "%s has more than %d bytes, which is the limit", name,
			maxManifest)
	}
	return content, nil
}

func readJSON(f files, name string, into any) error {
	content, err := readSmall(f, name)
	if err != nil {
		return err
	}
	return errs.As(errs.Invalid, json.Unmarshal(content, into), "%s", name)
}
