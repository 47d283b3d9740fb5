// Package enclave says what an enclave is, what is measured of it, and who may have its secrets.
//
// Think of a sealed letter and its address. A manifest names everything that decides how a program
// behaves: its files, by digest; its secrets, by the digest of their ciphertext; its command,
// policy, state and contract. The SHA-384 of the manifest's one encoding is the measurement, and a
// signer's signature over it says whose product it is and which version. Evidence is a report from
// the machine that the program of that measurement runs in it, bound to a fresh nonce and a fresh
// key; appraising evidence yields claims; a release policy decides from claims alone whether a
// secret is sealed to that key.
//
// # Invariants
//
//   - A manifest has one encoding, and Decode accepts no other: equal manifests have equal
//     measurements, and different ones different.
//   - Nothing that is released depends on a fact that is not in the claims, the policy, or Facts.
//   - What a policy does not name is refused. A simulated machine is never accepted by a rule that
//     does not say "sim" and name the simulation's root.
//   - A claim about a simulated machine says so in its type (TEE), and in every form it is shown in.
//
// # Boundaries
//
// Nothing here reads a clock, a disk, a device or a random source. How bytes are sealed stands in
// enclave/layer, how evidence is made and verified in enclave/attest, who keeps keys in
// enclave/broker, how a program is started in enclave/launch. Simulation proves formats, builds,
// policies and refusals; it protects nothing against whoever runs the machine.
//
// # Sources
//
// RFC 9334 (roles, evidence, appraisal); RFC 8949 section 4.2.1 (deterministic encoding); RFC 9052
// section 4.2 (COSE_Sign1); draft-ietf-rats-ear and draft-ietf-rats-ar4si (results); decision 0031.
package enclave

import (
	"crypto/sha512"
	"encoding/hex"
	"strings"

	"surety/base/errs"
)

// TEE says what kind of machine speaks: what its word rests on.
type TEE string

// The kinds. Sim is none: a program that signs for itself.
const (
	Sim TEE = "sim" // SIMULATED: nothing is protected from whoever runs the machine
	SNP TEE = "snp" // AMD SEV-SNP
	TDX TEE = "tdx" // Intel TDX
	TPM TEE = "tpm" // a measured boot, quoted by a TPM; memory is not protected
)

// Known reports whether it is one of the kinds.
func (t TEE) Known() bool { return t == Sim || t == SNP || t == TDX || t == TPM }

// Guarantee says in one word what a result from such a machine rests on.
func (t TEE) Guarantee() Guarantee {
	if t == Sim {
		return Simulated
	}
	return Hardware
}

// Guarantee is what a result rests on; every result that leaves carries one.
type Guarantee string

// The guarantees. They are never mixed: a result has that of its weakest part.
const (
	Math Guarantee = "math" // a cryptographic protocol: no machine and no operator is trusted
	// Hardware trusts a machine's vendor, and not its operator. Of a TPM it means less: the machine
	// booted what it says, and whoever runs it can read its memory.
	Hardware  Guarantee = "hardware"
	Simulated Guarantee = "simulated" // whoever runs the machine is trusted with everything
)

// Digest is a SHA-384 hash. As text it is "sha384:" and 96 hexadecimal digits; the zero Digest is
// none, and as text empty.
type Digest [sha512.Size384]byte

// DigestOf returns the SHA-384 of data.
func DigestOf(data []byte) Digest { return Digest(sha512.Sum384(data)) }

// ParseDigest reads what String gives; kind Invalid otherwise. Empty text is the zero Digest.
func ParseDigest(text string) (d Digest, err error) {
	if text == "" {
		return d, nil
	}
	digits, found := strings.CutPrefix(text, digestPrefix)
	if raw, bad := hex.DecodeString(digits); found && bad == nil && len(raw) == len(d) {
		return Digest(raw), nil
	}
	return d, errs.New(errs.Invalid, "enclave.digest: %.120q is not sha384: and 96 hexadecimal digits",
		text)
}

const digestPrefix = "sha384:"

// IsZero reports whether it is none.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns the digest as text.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return digestPrefix + hex.EncodeToString(d[:])
}

// Short returns the first 12 hexadecimal digits, for people who compare by eye.
func (d Digest) Short() string { return hex.EncodeToString(d[:6]) }

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDigest(string(text))
	return err
}

// KeyID is the SHA-256 of a public key in PKIX form (SubjectPublicKeyInfo, DER). As text it is 64
// hexadecimal digits, empty where it is zero.
type KeyID [32]byte

// IsZero reports whether it is none.
func (k KeyID) IsZero() bool { return k == KeyID{} }

// String returns the id as text.
func (k KeyID) String() string {
	if k.IsZero() {
		return ""
	}
	return hex.EncodeToString(k[:])
}

// MarshalText implements encoding.TextMarshaler.
func (k KeyID) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *KeyID) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(k) && len(raw) != 0 {
		return errs.New(errs.Invalid, "enclave.key: %.80q is not 64 hexadecimal digits", text)
	}
	*k = KeyID{}
	copy(k[:], raw)
	return nil
}
