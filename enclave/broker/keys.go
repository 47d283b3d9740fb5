package broker

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"path/filepath"

	"surety/base/errs"
	"surety/enclave"
	"surety/sys/entropy"
	"surety/sys/vfs"
)

// The broker's files beside its database.
const (
	masterFile   = "master.key" // 32 bytes: everything at rest is sealed under it
	tokenFile    = "token.pem"  // PKCS #8: signs tokens and answers
	databaseFile = "broker.db"
)

const keyBytes = 32

// rest seals what is stored. What it sealed opens for the same context alone: a row that somebody
// moved to another name does not open. It shows as "redacted".
type rest struct{ aead cipher.AEAD }

// newRest derives the key for data at rest from the master key.
func newRest(master []byte) (rest, error) {
	key, err := hkdf.Key(sha256.New, master, nil, "surety.kbs/rest/v1", keyBytes)
	if err != nil {
		return rest{}, errs.As(errs.Internal, err, "broker.keys")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return rest{}, errs.As(errs.Internal, err, "broker.keys")
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return rest{aead}, errs.As(errs.Internal, err, "broker.keys")
}

func (r rest) seal(context string, plain []byte) []byte {
	return r.aead.Seal(nil, nil, plain, []byte(context))
}

// open returns what was sealed for the context; kind Corrupt where it was not.
func (r rest) open(context string, sealed []byte) ([]byte, error) {
	plain, err := r.aead.Open(nil, nil, sealed, []byte(context))
	if err != nil {
		return nil, errs.New(errs.Corrupt, "broker.store: %q was not sealed under this master key, or was "+
			"changed", context)
	}
	return plain, nil
}

// String returns "redacted".
func (rest) String() string { return redacted }

// LogValue returns "redacted".
func (rest) LogValue() slog.Value { return slog.StringValue(redacted) }

const redacted = "redacted"

// loadMaster reads the master key of the directory, or makes it where there is no database yet: a
// database without its key stays closed.
func loadMaster(directory string, exists bool) (rest, error) {
	path := filepath.Join(directory, masterFile)
	key, err := readKey(path)
	if errs.Is(err, errs.NotFound) && !exists {
		key = make([]byte, keyBytes)
		entropy.System().Fill(key)
		err = vfs.WriteWhole(vfs.OS{}, path, key)
	}
	if err != nil {
		return rest{}, errs.Wrap(err, "broker.open: master key")
	}
	defer clear(key)
	if len(key) != keyBytes {
		return rest{}, errs.New(errs.Corrupt, "broker.open: %s has %d bytes, want %d", path, len(key),
			keyBytes)
	}
	return newRest(key)
}

// loadToken reads the key that signs tokens, or makes it where there is no database yet.
func loadToken(directory string, exists bool) (ed25519.PrivateKey, error) {
	path := filepath.Join(directory, tokenFile)
	text, err := readKey(path)
	if errs.Is(err, errs.NotFound) && !exists {
		return newToken(path)
	}
	if err != nil {
		return nil, errs.Wrap(err, "broker.open: token key")
	}
	defer clear(text)
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType {
		return nil, errs.New(errs.Corrupt, "broker.open: %s is not a key in PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signing, ok := key.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, errs.New(errs.Corrupt, "broker.open: %s is not an Ed25519 key", path)
	}
	return signing, nil
}

const pemType = "PRIVATE KEY"

func newToken(path string) (ed25519.PrivateKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	entropy.System().Fill(seed)
	key := ed25519.NewKeyFromSeed(seed)
	clear(seed)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "broker.open: token key")
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
	defer clear(text)
	return key, errs.Wrap(vfs.WriteWhole(vfs.OS{}, path, text), "broker.open: token key")
}

// readKey reads a file that is its owner's alone.
func readKey(path string) ([]byte, error) {
	content, err := vfs.ReadWhole(vfs.OS{}, path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	if err := (vfs.OS{}).RequirePrivate(path); err != nil {
		clear(content)
		return nil, err
	}
	return content, nil
}

// ReadKey returns the id of the key of the broker in a directory, which may be running; kind NotFound
// where there is none.
func ReadKey(directory string) (enclave.KeyID, error) {
	key, err := loadToken(directory, true)
	if err != nil {
		return enclave.KeyID{}, err
	}
	defer clear(key)
	return enclave.KeyIDOf(key.Public().(ed25519.PublicKey)), nil
}
