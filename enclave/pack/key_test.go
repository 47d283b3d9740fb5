package pack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/errs"
)

var errPlanted = errors.New("planted")

func counting(p []byte) error {
	for i := range p {
		p[i] = byte(i)
	}
	return nil
}

// TestKeysAreKept makes keys, reads them again, and overwrites none.
func TestKeysAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "signer.pem")
	made, err := NewKey(path, counting)
	must(t, err)
	if read, err := LoadKey(path); err != nil || !read.Equal(made) {
		t.Errorf("read again: %v", err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := NewKey(path, counting); !errs.Is(err, errs.Exists) {
		t.Errorf("made twice: %v", err)
	}
	layerPath := filepath.Join(filepath.Dir(path), "models.key")
	key, err := NewLayerKey(layerPath, counting)
	must(t, err)
	if read, err := LoadLayerKey(layerPath); err != nil || read != key || key[3] != 3 {
		t.Errorf("a layer's key: %v", err)
	}
	if _, err := NewLayerKey(layerPath, counting); !errs.Is(err, errs.Exists) {
		t.Errorf("a layer's key, made twice: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 2 {
		t.Errorf("there are %v", left)
	}
	failing := func([]byte) error { return errPlanted }
	_, err1 := NewKey(path+"2", failing)
	_, err2 := NewLayerKey(path+"2", failing)
	if !errors.Is(err1, errPlanted) || !errors.Is(err2, errPlanted) {
		t.Errorf("without entropy: %v, %v", err1, err2)
	}
}

// TestOtherKeysAreRefused gives files that are no keys, and does not show what is in them.
func TestOtherKeysAreRefused(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(other)
	must(t, err)
	p256 := string(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
	path := filepath.Join(t.TempDir(), "good.pem")
	_, err = NewKey(path, counting)
	must(t, err)
	good, err := os.ReadFile(path)
	must(t, err)
	for _, row := range []struct {
		name, content string
		mode          os.FileMode
		kind          errs.Kind
	}{
		{"empty", "", 0o600, errs.Invalid},
		{"no PEM", "SECRET", 0o600, errs.Invalid},
		{"P-256", p256, 0o600, errs.Invalid},
		{"two", string(good) + string(good), 0o600, errs.Invalid},
		{"too long", strings.Repeat("SECRET", maxKey), 0o600, errs.TooLarge},
		{"readable by a group", string(good), 0o640, errs.Forbidden},
		{"readable by all", string(good), 0o604, errs.Forbidden},
	} {
		path := filepath.Join(t.TempDir(), "key")
		must(t, os.WriteFile(path, []byte(row.content), 0o600))
		must(t, os.Chmod(path, row.mode))
		_, err1 := LoadKey(path)
		_, err2 := LoadLayerKey(path)
		if !errs.Is(err1, row.kind) || !errs.Is(err2, row.kind) {
			t.Errorf("%s: %v; %v; want %v", row.name, err1, err2, row.kind)
		}
		if strings.Contains(err1.Error()+err2.Error(), "SECRET") {
			t.Errorf("%s: the error shows the file", row.name)
		}
	}
	if _, err := LoadKey(filepath.Join(t.TempDir(), "none")); !errs.Is(err, errs.NotFound) {
		t.Errorf("none: %v", err)
	}
}
