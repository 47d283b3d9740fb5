package access

import (
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"strings"

	"surety/base/errs"
	"surety/sys/entropy"
)

// Secret is a bearer token. Printing, logging or marshalling one shows "redacted"; Reveal shows
// it, once, to whom it was made for.
type Secret struct{ key [32]byte }

// secretPrefix lets scanners of source trees and logs find a token that leaked.
const secretPrefix = "surety_"

// newSecret returns 256 fresh bits.
func newSecret(source entropy.Source) Secret {
	var s Secret
	source.Fill(s.key[:])
	return s
}

// ParseSecret reads what Reveal gave. The error is of kind Unauthorized and does not repeat text.
func ParseSecret(text string) (Secret, error) {
	body, found := strings.CutPrefix(text, secretPrefix)
	key, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if !found || err != nil || len(key) != len(Secret{}.key) {
		return Secret{}, errs.New(errs.Unauthorized, "access: this is not a token")
	}
	return Secret{key: [32]byte(key)}, nil
}

// Reveal returns the token as text: "surety_" and 43 characters of unpadded base64url.
func (s Secret) Reveal() string { return secretPrefix + base64.RawURLEncoding.EncodeToString(s.key[:]) }

// hash is what is stored.
func (s Secret) hash() [32]byte { return sha256.Sum256(s.key[:]) }

const redacted = "redacted"

// String returns "redacted".
func (s Secret) String() string { return redacted }

// GoString returns "redacted".
func (s Secret) GoString() string { return redacted }

// LogValue returns "redacted".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "redacted".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
