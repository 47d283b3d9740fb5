package trail

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"surety/base/errs"
	"surety/sys/entropy"
	"surety/sys/vfs"
)

// keyPrefix stands before the digits of a key, public or secret, as text.
const keyPrefix = "ed25519:"

const redacted = "redacted"

// SigningKey signs seals: one per host. It shows as "redacted". The zero key signs nothing.
type SigningKey struct{ seed [ed25519.SeedSize]byte }

// NewKey makes a key.
func NewKey(source entropy.Source) SigningKey {
	var k SigningKey
	source.Fill(k.seed[:])
	return k
}

// IsZero reports whether there is no key.
func (k SigningKey) IsZero() bool { return k == SigningKey{} }

// Format writes "redacted" whatever the verb.
func (SigningKey) Format(state fmt.State, _ rune) { fmt.Fprint(state, redacted) }

// LogValue returns "redacted".
func (SigningKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "redacted".
func (SigningKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Public is the key's public half.
func (k SigningKey) Public() PublicKey {
	return PublicKey(k.private().Public().(ed25519.PublicKey))
}

func (k SigningKey) private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.seed[:]) }

// LoadKey reads the key at path, and makes it where there is none, readable by its owner alone. Of
// several processes that make it at once all get the same one. Errors: Forbidden where others may
// read it, Corrupt where it is not a key.
func LoadKey(path string) (SigningKey, error) {
	k, err := readKey(path)
	if !errs.Is(err, errs.NotFound) {
		return k, err
	}
	if err := makeKey(path); err != nil {
		return SigningKey{}, err
	}
	return readKey(path)
}

func readKey(path string) (SigningKey, error) {
	content, err := vfs.ReadWhole(vfs.OS{}, path, maxKeyBytes)
	if err != nil {
		return SigningKey{}, errs.Wrap(err, "trail.key")
	}
	defer clear(content)
	if err := (vfs.OS{}).RequirePrivate(path); err != nil {
		return SigningKey{}, errs.Wrap(err, "trail.key")
	}
	var k SigningKey
	digits, found := strings.CutPrefix(strings.TrimSuffix(string(content), "\n"), keyPrefix)
	if !found || !fromHex(k.seed[:], digits) || k.IsZero() {
		return SigningKey{}, errs.New(errs.Corrupt, "trail.key: %s is not a signing key", path)
	}
	return k, nil
}

// makeKey writes a whole key under a name of its own and then links it to path, which one process
// alone can do.
func makeKey(path string) error {
	k := NewKey(entropy.System())
	var own [8]byte
	entropy.System().Fill(own[:])
	temporary := path + "." + hex.EncodeToString(own[:])
	content := []byte(keyPrefix + hex.EncodeToString(k.seed[:]) + "\n")
	defer clear(content)
	if err := vfs.WriteWhole(vfs.OS{}, temporary, content); err != nil {
		return errs.Wrap(err, "trail.key: new")
	}
	err := os.Link(temporary, path)
	if os.IsExist(err) {
		err = nil // another was first
	}
	if err == nil {
		err = os.Remove(temporary)
	}
	if err != nil {
		return errs.As(errs.Internal, err, "trail.key: new")
	}
	return errs.Wrap((vfs.OS{}).SyncDir(filepath.Dir(path)), "trail.key: new")
}

// PublicKey checks seals. Its text is ed25519: and 64 hex digits, as in sandbox.Birth.Key.
type PublicKey [ed25519.PublicKeySize]byte

// IsZero reports whether there is no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// String returns ed25519: and 64 hex digits.
func (k PublicKey) String() string { return keyPrefix + hex.EncodeToString(k[:]) }

// ParseKey reads what String gave.
func ParseKey(text string) (PublicKey, error) {
	var k PublicKey
	digits, found := strings.CutPrefix(text, keyPrefix)
	if !found || !fromHex(k[:], digits) {
		return PublicKey{}, errs.New(errs.Invalid, "trail.key: %q is not %s and %d hex digits", text,
			keyPrefix, 2*len(k))
	}
	return k, nil
}

// fromHex fills into from exactly as many digits.
func fromHex(into []byte, digits string) bool {
	if len(digits) != 2*len(into) {
		return false
	}
	n, err := hex.Decode(into, []byte(digits))
	return err == nil && n == len(into)
}
