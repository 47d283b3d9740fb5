// Package ident holds the 128-bit identifiers that name everything: accounts, transfers, loans,
// events, traces.
//
// An ID is either time-ordered (milliseconds in the top 48 bits, entropy below, as in ULID) so that
// new ids sort by age and indexes stay dense, or derived from names by SHA-256 so that the same
// business act always gets the same id and a retry can do no harm.
//
// # Invariants
//
// Zero means "absent" and the maximum is reserved; neither is ever generated or derived.
package ident

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"surety/base/errs"
)

// ID is an unsigned 128-bit identifier; Hi holds the most significant half. Zero means absent.
type ID struct {
	Lo, Hi uint64
}

// TextSize is the length of an ID as text: 32 lower-case hexadecimal digits.
const TextSize = 32

// Max is the reserved greatest id.
var Max = ID{Lo: ^uint64(0), Hi: ^uint64(0)}

// IsZero reports whether the id is absent.
func (id ID) IsZero() bool { return id == ID{} }

// Less orders ids as unsigned numbers.
func (id ID) Less(other ID) bool {
	if id.Hi != other.Hi {
		return id.Hi < other.Hi
	}
	return id.Lo < other.Lo
}

// Bytes returns the id as 16 bytes, most significant first.
func (id ID) Bytes() [16]byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], id.Hi)
	binary.BigEndian.PutUint64(b[8:], id.Lo)
	return b
}

// FromBytes is the inverse of Bytes.
func FromBytes(b [16]byte) ID {
	return ID{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// String returns 32 lower-case hexadecimal digits.
func (id ID) String() string {
	b := id.Bytes()
	return hex.EncodeToString(b[:])
}

// MarshalText encodes the id as String does; the zero id is the empty text.
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return nil, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText accepts what MarshalText gives.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = ID{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Parse reads 1 to 32 hexadecimal digits; shorter texts are numbers with leading zeros left out.
// The error is of kind Invalid.
func Parse(text string) (ID, error) {
	if len(text) == 0 || len(text) > TextSize {
		return ID{}, errs.New(errs.Invalid, "ident: %q has %d characters, want 1 to %d hex digits",
			clip(text), len(text), TextSize)
	}
	var id ID
	for i := 0; i < len(text); i++ {
		digit, ok := hexDigit(text[i])
		if !ok {
			return ID{}, errs.New(errs.Invalid, "ident: %q has %q at position %d, want a hex digit",
				text, text[i], i+1)
		}
		id.Hi = id.Hi<<4 | id.Lo>>60
		id.Lo = id.Lo<<4 | uint64(digit)
	}
	return id, nil
}

// Ordered returns a time-ordered id: the low 48 bits of unixMillis above 80 bits of entropy.
func Ordered(unixMillis uint64, entropy [10]byte) ID {
	hi := unixMillis<<16 | uint64(binary.BigEndian.Uint16(entropy[:2]))
	return usable(ID{Hi: hi, Lo: binary.BigEndian.Uint64(entropy[2:])})
}

// Derive returns the id that the names stand for, always the same one: the first 16 bytes of
// SHA-256 over each name with its length before it, so that ("ab","c") and ("a","bc") differ.
func Derive(names ...string) ID {
	var buffer [256]byte
	message := buffer[:0]
	for _, name := range names {
		message = binary.BigEndian.AppendUint32(message, uint32(len(name)))
		message = append(message, name...)
	}
	sum := sha256.Sum256(message)
	return usable(FromBytes([16]byte(sum[:16])))
}

// usable moves the two reserved values off themselves.
func usable(id ID) ID {
	if id.IsZero() {
		return ID{Lo: 1}
	}
	if id == Max {
		return ID{Lo: Max.Lo - 1, Hi: Max.Hi}
	}
	return id
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// clip keeps hostile text out of messages and logs.
func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}
