package tpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/google/go-tpm/tpm2"

	"surety/base/errs"
)

// report is a TPM's parts: what it signed, the signature, and the registers' values. As bytes, each
// of the first two has its length before it in two bytes, the higher first; then the values.
type report struct {
	quoted    []byte
	attest    *tpm2.TPMSAttest
	signature *tpm2.TPMTSignature
	values    [][sha256.Size]byte
}

func (r *report) encode() []byte {
	var b []byte
	for _, part := range [][]byte{r.quoted, tpm2.Marshal(*r.signature)} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(part)))
		b = append(b, part...)
	}
	for _, value := range r.values {
		b = append(b, value[:]...)
	}
	return b
}

// parseReport reads a report; kind Forbidden where it has another form, or more than one would.
func parseReport(data []byte) (*report, error) {
	quoted, rest, whole := cut(data)
	if !whole {
		return nil, errs.New(errs.Forbidden, "tpm.verify: %d bytes end within the quote", len(data))
	}
	signature, rest, whole := cut(rest)
	if !whole {
		return nil, errs.New(errs.Forbidden, "tpm.verify: %d bytes end within the signature", len(data))
	}
	if want := len(registers()) * sha256.Size; len(rest) != want {
		return nil, errs.New(errs.Forbidden, "tpm.verify: values of registers in %d bytes, want %d",
			len(rest), want)
	}
	r := &report{quoted: quoted}
	var err error
	if r.attest, err = tpm2.Unmarshal[tpm2.TPMSAttest](quoted); err != nil {
		return nil, errs.As(errs.Forbidden, err, "tpm.verify: the quote's form")
	}
	if r.signature, err = tpm2.Unmarshal[tpm2.TPMTSignature](signature); err != nil {
		return nil, errs.As(errs.Forbidden, err, "tpm.verify: the signature's form")
	}
	for ; len(rest) > 0; rest = rest[sha256.Size:] {
		r.values = append(r.values, [sha256.Size]byte(rest))
	}
	if !bytes.Equal(tpm2.Marshal(*r.attest), quoted) || !bytes.Equal(r.encode(), data) {
		return nil, errs.New(errs.Forbidden, "tpm.verify: the report has bytes that belong to no field")
	}
	return r, nil
}

// cut returns the part that a length stands before.
func cut(data []byte) (part, rest []byte, whole bool) {
	if len(data) < 2 {
		return nil, nil, false
	}
	size := int(binary.BigEndian.Uint16(data))
	if size > maxPart || size > len(data)-2 {
		return nil, nil, false
	}
	return data[2 : 2+size], data[2+size:], true
}
