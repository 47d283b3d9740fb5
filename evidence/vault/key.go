package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sys/entropy"
	"surety/sys/vfs"
)

// key is 256 bits for AES-GCM: the master key, or the data key of one subject.
type key [32]byte

const redacted = "redacted"

// Format writes "redacted" whatever the verb.
func (key) Format(state fmt.State, _ rune) { fmt.Fprint(state, redacted) }

// String returns "redacted".
func (key) String() string { return redacted }

// LogValue returns "redacted".
func (key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "redacted".
func (key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// wipe overwrites the key in memory. Copies that the runtime or the cipher made are out of reach.
func (k *key) wipe() { clear(k[:]) }

const (
	nonceBytes = 12
	tagBytes   = 16
	// wrappedBytes is a data key under the master key: nonce, ciphertext, tag.
	wrappedBytes = nonceBytes + len(key{}) + tagBytes
)

// seal appends nonce, ciphertext and tag of plaintext to into. A nonce is 96 random bits, which is
// sound for up to 2^32 messages under one key (NIST SP 800-38D section 8.3).
func (k *key) seal(into, plaintext, bound []byte, source entropy.Source) []byte {
	var nonce [nonceBytes]byte
	source.Fill(nonce[:])
	into = append(into, nonce[:]...)
	return k.gcm().Seal(into, nonce[:], plaintext, bound)
}

// unseal returns the plaintext of what seal appended, and whether it is authentic.
func (k *key) unseal(sealed, bound []byte) ([]byte, bool) {
	if len(sealed) < nonceBytes+tagBytes {
		return nil, false
	}
	plaintext, err := k.gcm().Open(nil, sealed[:nonceBytes], sealed[nonceBytes:], bound)
	return plaintext, err == nil
}

func (k *key) gcm() cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	sealer, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has blocks of 16 bytes
	}
	return sealer
}

// check returns what tells one master key from another without giving it away.
func (k *key) check() []byte {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("surety vault master check 1"))
	return mac.Sum(nil)
}

// wrap returns the subject's data key under the master key.
func (k *key) wrap(data *key, subject ident.ID, source entropy.Source) []byte {
	return k.seal(make([]byte, 0, wrappedBytes), data[:], wrapBound(subject), source)
}

// unwrap is the inverse of wrap; kind Corrupt where the bytes are not what wrap returned.
func (k *key) unwrap(wrapped []byte, subject ident.ID) (key, error) {
	plaintext, authentic := k.unseal(wrapped, wrapBound(subject))
	if !authentic || len(plaintext) != len(key{}) {
		return key{}, errs.New(errs.Corrupt, "vault: the wrapped key of subject %s is damaged", subject)
	}
	data := key(plaintext)
	clear(plaintext)
	return data, nil
}

func wrapBound(subject ident.ID) []byte {
	b := subject.Bytes()
	return append([]byte("surety vault key 1\x00"), b[:]...)
}

// The master key's file: a line that names the format, and the key in base64.
const (
	masterFile   = "master.key"
	masterHeader = "surety vault master key 1"
	// maxMasterBytes is far above the length of the file, far below what would hurt to read.
	maxMasterBytes = 4096
)

// loadMaster reads the master key of the directory. found is false where there is no file. Kind
// Corrupt where it is not a key.
func loadMaster(files vfs.FS, directory string) (master key, found bool, err error) {
	path := filepath.Join(directory, masterFile)
	text, err := vfs.ReadWhole(files, path, maxMasterBytes)
	if errs.Is(err, errs.NotFound) {
		return key{}, false, nil
	}
	if errs.Is(err, errs.TooLarge) {
		return key{}, false, errs.As(errs.Corrupt, err, "vault.open: master key")
	}
	if err != nil {
		return key{}, false, errs.Wrap(err, "vault.open: master key")
	}
	master, err = parseMaster(text)
	clear(text)
	return master, true, errs.Wrap(err, "vault.open: %s", path)
}

// parseMaster reads the text of a master key's file. Errors do not repeat it.
func parseMaster(text []byte) (key, error) {
	header, body, _ := strings.Cut(string(text), "\n")
	if header != masterHeader {
		return key{}, errs.New(errs.Corrupt, "first line is not %q", masterHeader)
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(body, "\n"))
	if err != nil || len(decoded) != len(key{}) {
		return key{}, errs.New(errs.Corrupt, "second line is not a key of %d bytes", len(key{}))
	}
	master := key(decoded)
	clear(decoded)
	return master, nil
}

// createMaster makes a master key and its file, mode 0600, durable before it returns.
func createMaster(files vfs.FS, directory string, source entropy.Source) (key, error) {
	var master key
	source.Fill(master[:])
	text := []byte(masterHeader + "\n" + base64.StdEncoding.EncodeToString(master[:]) + "\n")
	defer clear(text)
	err := vfs.WriteWhole(files, filepath.Join(directory, masterFile), text)
	return master, errs.Wrap(err, "vault.open: new master key")
}
