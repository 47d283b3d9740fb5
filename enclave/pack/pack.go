// Package pack turns a program and its files into an enclave: a project directory that people edit,
// and the bundle that is built of it, which runs anywhere.
package pack

import (
	"context"
	"crypto/ed25519"
	"os"

	"surety/enclave"
	"surety/enclave/layer"
)

// Bundle is a built enclave, open for reading: a directory with manifest.cose and a file for each
// layer, or the same as one file.
type Bundle struct{}

// Open reads a bundle's manifest and checks its signature; layers are not read. Kind NotFound or
// Corrupt.
func Open(path string) (*Bundle, error) { panic("unimplemented") }

// Signed is the bundle's manifest.
func (b *Bundle) Signed() enclave.Signed { panic("unimplemented") }

// SignedBytes is the signed manifest as it stands in the bundle.
func (b *Bundle) SignedBytes() []byte { panic("unimplemented") }

// LayerPath returns the path of a layer's file, which has exactly the layer's bytes: an EROFS image
// where it is public, a sealed file where it is secret.
func (b *Bundle) LayerPath(index int) (string, error) { panic("unimplemented") }

// Close lets go of the bundle.
func (b *Bundle) Close() error { panic("unimplemented") }

// Verify reads every layer and says whether it is what the manifest measures. Kind Corrupt with the
// layer's name.
func (b *Bundle) Verify(ctx context.Context) error { panic("unimplemented") }

// Part is one layer to build: of a directory, a static program, or a file that is an EROFS image.
type Part struct {
	Name   string
	Kind   enclave.LayerKind
	Target string
	Dir    string    // laid out with times at 1970 and root as owner
	Image  string    // path of an EROFS file that is there already, instead of Dir
	Key    layer.Key // of a secret layer
	KeyRef string    // where its key will be asked for: BROKER/REPOSITORY/TYPE/TAG
}

// Build makes a bundle at out, which must not exist, of parts and a manifest whose Layers are filled
// in. The same parts, manifest and keys give the same bytes but for a secret layer's id, which is
// new each time unless reuse holds a bundle whose plaintext, under the same key, is the same.
func Build(ctx context.Context, out string, m enclave.Manifest, parts []Part,
	signer ed25519.PrivateKey, reuse *Bundle) (*Bundle, error) {
	panic("unimplemented")
}

// LoadKey reads an Ed25519 signing key (PKCS #8, PEM) from a file that is its user's alone.
func LoadKey(path string) (ed25519.PrivateKey, error) { panic("unimplemented") }

// NewKey writes a new signing key to path, mode 0600; kind Exists where there is one.
func NewKey(path string, random func([]byte) error) (ed25519.PrivateKey, error) {
	panic("unimplemented")
}

var _ = os.ErrNotExist
