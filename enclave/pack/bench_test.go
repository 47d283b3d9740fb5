package pack

import (
	"context"
	"crypto/ed25519"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"surety/enclave"
)

// BenchmarkBuild builds a bundle of a public layer and a secret one of 128 MiB each: file systems,
// digests, dm-verity, encryption, signature and the look at the result.
func BenchmarkBuild(b *testing.B) {
	root, secret := b.TempDir(), b.TempDir()
	content := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(content)
	for i := range 128 {
		must(b, os.WriteFile(filepath.Join(root, strconv.Itoa(i)), content, 0o644))
		must(b, os.WriteFile(filepath.Join(secret, strconv.Itoa(i)), content, 0o644))
	}
	m := manifest()
	p := []Part{{Name: "root", Kind: enclave.Public, Target: "/", Dir: root},
		{Name: "models", Kind: enclave.Secret, Target: "/models", Dir: secret, Key: testLayerKey,
			KeyRef: "bank/credit/layer-key/models"}}
	var signer ed25519.PrivateKey = testKey("signer")
	out := filepath.Join(b.TempDir(), "bundle")
	b.SetBytes(256 << 20)
	for b.Loop() {
		made, err := Build(context.Background(), out, m, p, signer, nil)
		must(b, err)
		must(b, made.Close())
		must(b, os.RemoveAll(out))
	}
}
