package vault

import (
	"surety/base/errs"
	"surety/base/ident"
)

// A sealed text is its version, the subject in 16 bytes, a nonce, the ciphertext and the tag. The
// subject stands in the open, so that whoever finds the bytes knows whose erasure concerns them.
const (
	sealedVersion = 1
	headBytes     = 1 + 16
	overhead      = headBytes + nonceBytes + tagBytes
)

func appendHead(into []byte, subject ident.ID) []byte {
	id := subject.Bytes()
	return append(append(into, sealedVersion), id[:]...)
}

// sealBound is what a seal authenticates besides the plaintext. The subject has a fixed length, so
// that no two pairs of subject and context give the same bytes.
func sealBound(subject ident.ID, binding string) []byte {
	id := subject.Bytes()
	bound := append([]byte("surety vault seal 1\x00"), id[:]...)
	return append(bound, binding...)
}

// SubjectOf returns the subject that sealed bytes name, without opening them; kind Corrupt where
// they are not sealed bytes of a known version.
func SubjectOf(sealed []byte) (ident.ID, error) {
	if len(sealed) < overhead {
		return ident.ID{}, errs.New(errs.Corrupt, "vault: sealed bytes are %d long, at least %d belong",
			len(sealed), overhead)
	}
	if sealed[0] != sealedVersion {
		return ident.ID{}, errs.New(errs.Corrupt, "vault: sealed bytes have version %d, known is %d",
			sealed[0], sealedVersion)
	}
	return ident.FromBytes([16]byte(sealed[1:headBytes])), nil
}

func checkArguments(subject ident.ID, size, limit int, binding string) error {
	if subject.IsZero() || subject == ident.Max {
		return errs.New(errs.Invalid, "subject %s names nobody", subject)
	}
	if size > limit {
		return errs.New(errs.TooLarge, "%d bytes, the limit is %d", size, limit)
	}
	if len(binding) > MaxContext {
		return errs.New(errs.TooLarge, "context has %d bytes, the limit is %d", len(binding), MaxContext)
	}
	return nil
}
