package enclave

import (
	"crypto/sha512"
	"encoding/binary"
	"hash"

	"surety/base/errs"
)

// bindingDomain begins what is hashed, so that the hash can stand for nothing else.
const bindingDomain = "surety.enclave/binding/v1\n"

// ReportData returns the 64 bytes that a machine signs for the binding: SHA-512 over a domain line
// and every field with its length before it. Kind Invalid or TooLarge where a field is out of its
// bounds.
func (b Binding) ReportData() (data [64]byte, err error) {
	if err := b.check(); err != nil {
		return data, err
	}
	sum := sha512.New()
	sum.Write([]byte(bindingDomain))
	writeField(sum, []byte(b.Purpose))
	writeField(sum, b.Nonce)
	writeField(sum, b.Key)
	writeField(sum, b.Measure[:])
	sum.Sum(data[:0])
	return data, nil
}

// check refuses a binding that would prove nothing, or whose parts are out of bounds.
func (b Binding) check() error {
	switch {
	case !b.Purpose.Known():
		return errs.New(errs.Invalid, "enclave.binding: purpose %.40q is none of release, channel, "+
			"audit, receipt", string(b.Purpose))
	case len(b.Nonce) < MinNonce:
		return errs.New(errs.Invalid, "enclave.binding: a nonce of %d bytes; at least %d",
			len(b.Nonce), MinNonce)
	case len(b.Nonce) > MaxNonce:
		return errs.New(errs.TooLarge, "enclave.binding: a nonce of %d bytes; at most %d",
			len(b.Nonce), MaxNonce)
	case len(b.Key) > MaxBindingKey:
		return errs.New(errs.TooLarge, "enclave.binding: a key of %d bytes; at most %d",
			len(b.Key), MaxBindingKey)
	case b.Purpose == ForAudit && len(b.Key) != 0:
		return errs.New(errs.Invalid, "enclave.binding: evidence for an audit is bound to no key, and "+
			"here is one of %d bytes", len(b.Key))
	case b.Purpose != ForAudit && len(b.Key) == 0:
		return errs.New(errs.Invalid, "enclave.binding: evidence for %s is bound to a key, and there is "+
			"none", b.Purpose)
	}
	return nil
}

// writeField adds a field and, before it, its length, so that no two lists of fields are one string
// of bytes.
func writeField(sum hash.Hash, field []byte) {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(field)))
	sum.Write(length[:])
	sum.Write(field)
}
