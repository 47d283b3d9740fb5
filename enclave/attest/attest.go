// Package attest makes evidence on this machine, and verifies evidence of others.
package attest

import (
	"context"
	"crypto/ed25519"

	"surety/base/clock"
	"surety/enclave"
)

// Device makes reports: the processor's security module, a TPM, or the simulation.
type Device interface {
	TEE() enclave.TEE
	// Report returns a report with the 64 bytes in it, and the certificates that came with it.
	Report(ctx context.Context, data [64]byte) (report, support []byte, err error)
	// Describe says in a few words what it is; that of the simulation begins with "SIMULATED".
	Describe() string
	Close() error
}

// Options say how devices of this machine are found.
type Options struct {
	// SimDir holds the simulation's root and keys, made at the first use, mode 0700; "": no simulation.
	SimDir string
	// Program is the binary whose SHA-384 a simulated report has as its launch measurement.
	Program string
	// TPM is a path of a TPM device or of swtpm's unix socket; "": /dev/tpmrm0.
	TPM string
}

// OpenDevice opens the machine's device of the kind; "" is the best that is there: snp, tdx, tpm,
// then sim. Kind Unavailable with why not.
func OpenDevice(ctx context.Context, tee enclave.TEE, o Options) (Device, error) {
	panic("unimplemented")
}

// Found is a line of what this machine has.
type Found struct {
	TEE    enclave.TEE
	Ready  bool
	Detail string // what is there, or what is missing
}

// Detect says what this machine has, in the order of OpenDevice.
func Detect(o Options) []Found { panic("unimplemented") }

// Make returns evidence for a binding. signed is the signed manifest, whose measurement must be the
// binding's; nil where the binding has none.
func Make(ctx context.Context, d Device, signed []byte, b enclave.Binding) (*enclave.Evidence, error) {
	panic("unimplemented")
}

// Roots are the certificates that a verifier trusts beside those of AMD and Intel.
type Roots struct {
	Sim [][]byte // PEM or DER certificates of simulations; none: simulated evidence is refused
	TPM [][]byte // certificates of TPM makers
	// Collateral holds vendors' statements that were fetched beforehand (KDS, PCS), by URL.
	Collateral map[string][]byte
}

// Verifier checks evidence. It never asks the network. It may be used by many goroutines.
type Verifier struct{}

// NewVerifier checks the roots: kind Invalid.
func NewVerifier(r Roots) (*Verifier, error) { panic("unimplemented") }

// VendorRoots are the ids of the vendors' own roots, for enclave.Facts.
func (v *Verifier) VendorRoots() map[enclave.TEE][]enclave.KeyID { panic("unimplemented") }

// Verify checks that evidence is what it says: signatures up to a root, certificates in force at
// now, report data that is the binding's, a manifest that its signer signed. b.Measure is filled in
// from the evidence's manifest where it is zero. The error is kind Forbidden, and names the first
// thing that does not hold.
func (v *Verifier) Verify(e *enclave.Evidence, b enclave.Binding, now clock.Instant,
) (*enclave.Claims, error) {
	panic("unimplemented")
}

// VerifyRaw is Verify of evidence whose report data was made by another rule, as guests of other
// systems make it: data is what it must begin with.
func (v *Verifier) VerifyRaw(e *enclave.Evidence, data []byte, now clock.Instant,
) (*enclave.Claims, error) {
	panic("unimplemented")
}

// Issuer signs appraisals: Entity Attestation Results (EAR) as JSON Web Tokens, algorithm EdDSA.
type Issuer struct {
	Name string // of the verifier, "iss"
	Key  ed25519.PrivateKey
}

// Token is what an EAR says, once its signature was checked.
type Token struct {
	Issuer  string         `json:"iss"`
	Issued  int64          `json:"iat"` // seconds since 1970
	Expires int64          `json:"exp"`
	TEE     enclave.TEE    `json:"tee"`
	Status  string         `json:"status"` // ear.status; that of a simulation is contraindicated
	Measure enclave.Digest `json:"measure"`
	Signer  enclave.KeyID  `json:"signer"`
	Product string         `json:"product"`
	SVN     uint64         `json:"svn"`
	Debug   bool           `json:"debug"`
	Policy  string         `json:"policy"` // that was decided by
	Result  enclave.Result `json:"result"`
	Key     []byte         `json:"key"` // public key that the evidence was bound to
	ID      string         `json:"jti"`
}

// Issue returns the token of an appraisal.
func (i Issuer) Issue(c *enclave.Claims, policy string, d enclave.Decision, key []byte,
	now clock.Instant, lifetime clock.Duration) (string, error) {
	panic("unimplemented")
}

// OpenToken checks a token's signature by the key with the id, which the token carries, and its
// time. Kind Unauthorized.
func OpenToken(token string, issuer enclave.KeyID, now clock.Instant) (*Token, error) {
	panic("unimplemented")
}
