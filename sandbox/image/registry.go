package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"surety/base/errs"
)

// openRegistry asks a registry for an image. Credentials are those that `docker login` keeps.
func openRegistry(ctx context.Context, source Source) (*material, error) {
	ref, err := name.ParseReference(source.Where)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "image.add: reference %q", source.Where)
	}
	puller, err := remote.NewPuller(remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, errs.As(errs.Internal, err, "image.add: %s", ref)
	}
	top, err := puller.Get(ctx, ref)
	if err != nil {
		return nil, registryError(err, "image.add: %s", ref)
	}
	m, err := resolve(ctx, &repository{puller: puller, in: ref.Context()}, top.Descriptor, 0)
	return m, errs.Wrap(err, "image.add: %s", ref)
}

// repository is a shelf: that of one name in a registry.
type repository struct {
	puller *remote.Puller
	in     name.Repository
}

func (r *repository) open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	ref := r.in.Digest(d.Digest.String())
	if d.MediaType.IsIndex() || d.MediaType.IsImage() {
		got, err := r.puller.Get(ctx, ref)
		if err != nil {
			return nil, registryError(err, "fetch")
		}
		return io.NopCloser(bytes.NewReader(got.Manifest)), nil
	}
	layer, err := r.puller.Layer(ctx, ref)
	if err != nil {
		return nil, registryError(err, "fetch")
	}
	content, err := layer.Compressed()
	return content, registryError(err, "fetch")
}

// registryError gives a registry's answer its kind; nil stays nil.
func registryError(err error, format string, args ...any) error {
	kind := errs.Unavailable
	var answer *transport.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind = errs.Canceled
	case errors.As(err, &answer):
		switch answer.StatusCode {
		case http.StatusNotFound:
			kind = errs.NotFound
		case http.StatusUnauthorized:
			kind = errs.Unauthorized
		case http.StatusForbidden:
			kind = errs.Forbidden
		case http.StatusTooManyRequests:
			kind = errs.Busy
		}
	}
	return errs.As(kind, err, format, args...)
}
