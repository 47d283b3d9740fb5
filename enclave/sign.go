package enclave

import (
	"crypto/ed25519"
	"crypto/sha256"

	"surety/base/errs"
)

// Signed is a manifest whose signature was checked.
type Signed struct {
	Manifest *Manifest
	Bytes    []byte // its encoding, which was signed
	Measure  Digest // of Bytes
	Signer   KeyID
	Key      ed25519.PublicKey
}

// contentType stands in the protected header, so that no signature over something else is one over
// a manifest.
const contentType = "application/vnd.surety.enclave-manifest+cbor"

// algEdDSA is the number of the algorithm (RFC 9053 section 2.2).
const algEdDSA = -8

// tagSign1 begins a COSE_Sign1 that says what it is: tag 18 (RFC 9052 section 2).
const tagSign1 = 0xd2

// protected is what the signature covers beside the payload.
type protected struct {
	Algorithm   int    `cbor:"1,keyasint"`
	ContentType string `cbor:"3,keyasint"`
	Key         []byte `cbor:"key"` // Ed25519 public key
}

// sign1 is a COSE_Sign1 without its tag.
type sign1 struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected struct{} // nothing
	Payload     []byte
	Signature   []byte
}

// toBeSigned is a Sig_structure (RFC 9052 section 4.4).
type toBeSigned struct {
	_         struct{} `cbor:",toarray"`
	Context   string
	Protected []byte
	External  []byte // nothing
	Payload   []byte
}

// Sign returns the signed form of a manifest: a COSE_Sign1 (RFC 9052 section 4.2) with algorithm
// EdDSA, the public key in the protected header, and the manifest's encoding as payload. The same
// manifest and key give the same bytes. Kind Invalid or TooLarge where Check refuses the manifest,
// Invalid where the key is none.
func Sign(m *Manifest, key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errs.New(errs.Invalid, "enclave.sign: a key of %d bytes, want %d", len(key),
			ed25519.PrivateKeySize)
	}
	payload, err := m.Encode()
	if err != nil {
		return nil, err
	}
	return sign(payload, contentType, key)
}

// sign returns the COSE_Sign1 of a payload of the content type.
func sign(payload []byte, content string, key ed25519.PrivateKey) ([]byte, error) {
	header, err := encode(protected{algEdDSA, content, key.Public().(ed25519.PublicKey)})
	if err != nil {
		return nil, err
	}
	message, err := signedBytes(header, payload)
	if err != nil {
		return nil, err
	}
	body, err := encode(sign1{Protected: header, Payload: payload, Signature: ed25519.Sign(key, message)})
	if err != nil {
		return nil, err
	}
	return append([]byte{tagSign1}, body...), nil
}

func signedBytes(header, payload []byte) ([]byte, error) {
	return encode(toBeSigned{Context: "Signature1", Protected: header, Payload: payload})
}

// OpenSigned checks a signed manifest and returns what it holds. It accepts only what Sign gives:
// kind Corrupt for anything else. Whether the signer is one to trust is not its business.
func OpenSigned(signed []byte) (Signed, error) {
	if len(signed) > maxSigned {
		return Signed{}, errs.New(errs.Corrupt, "enclave.open: %d bytes, the limit is %d", len(signed),
			maxSigned)
	}
	if len(signed) == 0 || signed[0] != tagSign1 {
		return Signed{}, errs.New(errs.Corrupt, "enclave.open: it is no COSE_Sign1")
	}
	var outer sign1
	if err := decode(signed[1:], &outer); err != nil {
		return Signed{}, errs.As(errs.Corrupt, err, "enclave.open")
	}
	var header protected
	if err := decode(outer.Protected, &header); err != nil {
		return Signed{}, errs.As(errs.Corrupt, err, "enclave.open: protected header")
	}
	if header.Algorithm != algEdDSA || header.ContentType != contentType ||
		len(header.Key) != ed25519.PublicKeySize {
		return Signed{}, errs.New(errs.Corrupt,
			"enclave.open: algorithm %d, content %.80q and a key of %d bytes, want %d, %q and %d",
			header.Algorithm, header.ContentType, len(header.Key), algEdDSA, contentType,
			ed25519.PublicKeySize)
	}
	message, err := signedBytes(outer.Protected, outer.Payload)
	if err != nil {
		return Signed{}, err
	}
	s := Signed{Bytes: outer.Payload, Measure: DigestOf(outer.Payload), Key: header.Key}
	if !ed25519.Verify(s.Key, message, outer.Signature) {
		return Signed{}, errs.New(errs.Corrupt, "enclave.open: the signature is not one by key %s",
			KeyIDOf(s.Key))
	}
	if s.Manifest, err = DecodeManifest(outer.Payload); err != nil {
		return Signed{}, err
	}
	s.Signer = KeyIDOf(s.Key)
	return s, nil
}

// KeyIDOf returns the id of an Ed25519 public key. It panics where the key has another size.
func KeyIDOf(key ed25519.PublicKey) KeyID {
	_ = key[ed25519.PublicKeySize-1]
	return sha256.Sum256(append([]byte(pkixPrefix), key[:ed25519.PublicKeySize]...))
}

// pkixPrefix is what stands before the 32 bytes of an Ed25519 key in SubjectPublicKeyInfo
// (RFC 8410 section 10.1).
const pkixPrefix = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"

// Encode returns the manifest's one encoding. Kind Invalid or TooLarge where Check refuses it or
// the encoding has more than MaxManifest bytes.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	data, err := encode(m)
	if err == nil && len(data) > MaxManifest {
		err = errs.New(errs.TooLarge, "enclave.manifest: %d bytes, the limit is %d", len(data), MaxManifest)
	}
	return data, err
}

// DecodeManifest reads what Encode gives; kind Corrupt for any other bytes.
func DecodeManifest(data []byte) (*Manifest, error) {
	if len(data) > MaxManifest {
		return nil, errs.New(errs.Corrupt, "enclave.manifest: %d bytes, the limit is %d", len(data),
			MaxManifest)
	}
	m := &Manifest{}
	if err := decode(data, m); err != nil {
		return nil, errs.As(errs.Corrupt, err, "enclave.manifest")
	}
	if err := m.Check(); err != nil {
		return nil, errs.As(errs.Corrupt, err, "enclave.manifest: its encoding is well made")
	}
	return m, nil
}
