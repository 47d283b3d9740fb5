package tlog

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"surety/base/errs"
	"surety/evidence"
	"surety/sys/entropy"
	"surety/sys/vfs"
)

// The log's key: the signer's file, mode 0600, and the public key beside it for who verifies.
const (
	keyFile    = "log.key"
	publicFile = "log.pub"
)

const redacted = "redacted"

// signingKey signs checkpoints and statements. It shows as "redacted".
type signingKey struct{ note.Signer }

// Format writes "redacted" whatever the verb.
func (signingKey) Format(state fmt.State, _ rune) { fmt.Fprint(state, redacted) }

// LogValue returns "redacted".
func (signingKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "redacted".
func (signingKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// loadKey reads the log's key; kind NotFound where there is none, Forbidden where others may read
// it, Corrupt where it is not a key.
func loadKey(directory string) (signingKey, error) {
	path := filepath.Join(directory, keyFile)
	text, err := vfs.ReadWhole(vfs.OS{}, path, maxKeyBytes)
	if err != nil {
		return signingKey{}, errs.Wrap(err, "tlog.open: key")
	}
	defer clear(text)
	if err := (vfs.OS{}).RequirePrivate(path); err != nil {
		return signingKey{}, errs.Wrap(err, "tlog.open: key")
	}
	signer, err := note.NewSigner(strings.TrimSuffix(string(text), "\n"))
	if err != nil { // the cause may repeat the text
		return signingKey{}, errs.New(errs.Corrupt, "tlog.open: %s is not a signer's key", path)
	}
	return signingKey{signer}, nil
}

// createKey makes a key named origin and its two files, durable before it returns. The public key
// is written first: a crash between the two leaves it alone, and the next start replaces it.
func createKey(directory, origin string, source entropy.Source) (signingKey, error) {
	secret, public, err := note.GenerateKey(randomReader{source}, origin)
	if err != nil {
		return signingKey{}, errs.As(errs.Invalid, err, "tlog.open: origin %q", origin)
	}
	signer, err := note.NewSigner(secret)
	if err != nil { // the cause may repeat the secret
		return signingKey{}, errs.New(errs.Invalid, "tlog.open: origin %q is not a key's name", origin)
	}
	for _, file := range [...]struct{ name, text string }{{publicFile, public}, {keyFile, secret}} {
		text := []byte(file.text + "\n")
		err := vfs.WriteWhole(vfs.OS{}, filepath.Join(directory, file.name), text)
		clear(text)
		if err != nil {
			return signingKey{}, errs.Wrap(err, "tlog.open: new key")
		}
	}
	return signingKey{signer}, nil
}

// ReadKey returns the public key that the log in the directory states. It is as trustworthy as the
// directory: who verifies a log or a bundle had better have the key from elsewhere.
func ReadKey(directory string) (evidence.Key, error) {
	text, err := vfs.ReadWhole(vfs.OS{}, filepath.Join(directory, publicFile), maxKeyBytes)
	if err != nil {
		return evidence.Key{}, errs.Wrap(err, "tlog.key")
	}
	return evidence.ParseKey(string(text))
}

// randomReader makes a reader of a source of entropy.
type randomReader struct{ source entropy.Source }

var _ io.Reader = randomReader{}

// Read fills p.
func (r randomReader) Read(p []byte) (int, error) {
	r.source.Fill(p)
	return len(p), nil
}
