package pack

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
)

// TestSealedByItsOwner builds a bundle of a layer whose key the builder does not have.
func TestSealedByItsOwner(t *testing.T) {
	dir, root, data := t.TempDir(), t.TempDir(), t.TempDir()
	for path, content := range map[string]string{root + "/run": "program", data + "/columns.csv": "a,b\n"} {
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	key := layer.Key{7}
	file := filepath.Join(dir, "data.sealed")
	sealed, err := SealDir(t.Context(), data, file, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := SealDir(t.Context(), data, file, key); !errs.Is(err, errs.Exists) {
		t.Errorf("sealed over a file: %v", err)
	}
	m := enclave.Manifest{Format: 1, Name: "joint", Product: "joint", Command: []string{"/run"}, Cwd: "/",
		Network: "none", Brokers: []enclave.Broker{{Name: "bank", Key: enclave.KeyID{1}}}}
	parts := []Part{{Name: "root", Kind: enclave.Public, Target: "/", Dir: root},
		{Name: "data", Kind: enclave.Secret, Target: "/data", Image: file, KeyRef: "bank/bank/joint/key", Sealed: &sealed}}
	signer := ed25519.NewKeyFromSeed(make([]byte, 32))
	b, err := Build(t.Context(), filepath.Join(dir, "bundle"), m, parts, signer, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if l := b.Signed().Manifest.Layers[1]; SealedOf(&l) != sealed || l.Key != "bank/bank/joint/key" {
		t.Errorf("%+v is not %+v", l, sealed)
	}
	if err := b.VerifyWith(context.Background(), map[string]layer.Key{"data": key}); err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(file)
	if err != nil || bytes.Contains(content, []byte("columns.csv")) {
		t.Error("the sealed file shows what is in it", err)
	}
	content[len(content)-1] ^= 1
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), filepath.Join(dir, "again"), m, parts, signer, nil); !errs.Is(err, errs.Corrupt) {
		t.Errorf("a changed file: %v", err)
	}
	parts[1].Kind = enclave.Public
	if _, err := Build(t.Context(), filepath.Join(dir, "other"), m, parts, signer, nil); !errs.Is(err, errs.Invalid) {
		t.Errorf("a sealed public layer: %v", err)
	}
}
