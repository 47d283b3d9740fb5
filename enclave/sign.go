package enclave

import "crypto/ed25519"

// Signed is a manifest whose signature was checked.
type Signed struct {
	Manifest *Manifest
	Bytes    []byte // its encoding, which was signed
	Measure  Digest // of Bytes
	Signer   KeyID
	Key      ed25519.PublicKey
}

// Sign returns the signed form of a manifest: a COSE_Sign1 (RFC 9052 section 4.2) with algorithm
// EdDSA, the public key in the protected header, and the manifest's encoding as payload. Kind
// Invalid or TooLarge where Check refuses the manifest.
func Sign(m *Manifest, key ed25519.PrivateKey) ([]byte, error) { panic("unimplemented") }

// OpenSigned checks a signed manifest and returns what it holds. It accepts only what Sign gives:
// kind Corrupt for anything else. Whether the signer is one to trust is not its business.
func OpenSigned(signed []byte) (Signed, error) { panic("unimplemented") }

// KeyIDOf returns the id of an Ed25519 public key.
func KeyIDOf(key ed25519.PublicKey) KeyID { panic("unimplemented") }

// Check returns the first field that is wrong, by its CBOR name: kind Invalid or TooLarge.
func (m *Manifest) Check() error { panic("unimplemented") }

// Encode returns the manifest's one encoding.
func (m *Manifest) Encode() ([]byte, error) { panic("unimplemented") }

// DecodeManifest reads what Encode gives; kind Corrupt for any other bytes.
func DecodeManifest(data []byte) (*Manifest, error) { panic("unimplemented") }

// Difference is one field that two manifests have differently.
type Difference struct {
	Field  string `json:"field"`  // such as "env[2]" or "layers.models.root"
	Before string `json:"before"` // empty: absent
	After  string `json:"after"`
}

// Diff names every field that differs, in the manifest's order; none where the measurements are
// equal.
func Diff(before, after *Manifest) []Difference { panic("unimplemented") }
