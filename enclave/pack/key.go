package pack

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"surety/base/errs"
	"surety/enclave/layer"
)

const pemType = "PRIVATE KEY"

// LoadKey reads an Ed25519 signing key (PKCS #8, PEM) from a file that is its user's alone. Kinds
// NotFound, Forbidden where others may read it, Invalid where it is none.
func LoadKey(path string) (ed25519.PrivateKey, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, errs.Wrap(err, "pack.key")
	}
	defer clear(data)
	block, rest := pem.Decode(data)
	if block == nil || block.Type != pemType || strings.TrimSpace(string(rest)) != "" {
		return nil, errs.New(errs.Invalid, "pack.key: %s is not one PEM block %q", path, pemType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, errs.New(errs.Invalid, "pack.key: %s holds no Ed25519 key", path)
	}
	return key, nil
}

// NewKey writes a new signing key to path, mode 0600; kind Exists where there is one. Directories on
// the way are made, mode 0700.
func NewKey(path string, random func([]byte) error) (ed25519.PrivateKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	defer clear(seed)
	if err := random(seed); err != nil {
		return nil, errs.Wrap(err, "pack.key: random bytes")
	}
	key := ed25519.NewKeyFromSeed(seed)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "pack.key")
	}
	defer clear(der)
	text := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
	defer clear(text)
	return key, errs.Wrap(writeSecret(path, text), "pack.key")
}

// LoadLayerKey reads a layer's key, 64 hexadecimal digits, from a file that is its user's alone. Kinds
// as LoadKey.
func LoadLayerKey(path string) (layer.Key, error) {
	data, err := readSecret(path)
	if err != nil {
		return layer.Key{}, errs.Wrap(err, "pack.key")
	}
	defer clear(data)
	key, err := layer.ParseKey(strings.TrimSpace(string(data)))
	return key, errs.Wrap(err, "pack.key: %s", path)
}

// NewLayerKey writes a new key of a layer to path, as NewKey does.
func NewLayerKey(path string, random func([]byte) error) (key layer.Key, err error) {
	if err := random(key[:]); err != nil {
		return key, errs.Wrap(err, "pack.key: random bytes")
	}
	text := hex.AppendEncode(nil, key[:])
	defer clear(text)
	return key, errs.Wrap(writeSecret(path, append(text, '\n')), "pack.key")
}

// readSecret reads a small file that nobody but its owner may read.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(err, "read")
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, errs.New(errs.Forbidden, "%s has mode %04o: others may read it; run chmod 600", path,
			info.Mode().Perm())
	}
	return readSmall(path, maxKey)
}

// writeSecret writes a file that was not there, whole or not at all.
func writeSecret(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fileError(err, "make")
	}
	f, err := os.CreateTemp(dir, ".key-") // its mode is 0600
	if err != nil {
		return fileError(err, "make")
	}
	defer os.Remove(f.Name()) // the other name of the same file stays
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path) // fails where there is one
	}
	return fileError(err, "write")
}
