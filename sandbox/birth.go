package sandbox

import (
	"bytes"
	"encoding/json"

	"surety/base/errs"
)

// Encode returns the birth as JSON, its keys in the order of the fields: the Text of the first
// record. Errors: TooLarge where it is longer than MaxText, as a record would cut it.
func (b Birth) Encode() (string, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return "", errs.As(errs.Internal, err, "sandbox.birth")
	}
	if len(text) > MaxText {
		return "", errs.New(errs.TooLarge, "sandbox.birth: %d bytes, limit %d", len(text), MaxText)
	}
	return string(text), nil
}

// DecodeBirth is the inverse of Encode. It takes exactly what Encode writes: a birth that says
// something twice or in other words proves nothing. Errors: Invalid.
func DecodeBirth(text string) (Birth, error) {
	var b Birth
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b); err != nil {
		return Birth{}, errs.As(errs.Invalid, err, "sandbox.birth")
	}
	again, err := b.Encode()
	if err != nil || again != text {
		return Birth{}, errs.New(errs.Invalid, "sandbox.birth: not in the form it is written in")
	}
	return b, nil
}
