// Package attest makes evidence of what runs on this machine, verifies the evidence of others, and
// signs what came of it.
//
// Think of a notary. A Device gives a report that the machine's hardware signed; Make puts it beside
// what it is bound to; a Verifier follows the signatures up to a root and says in Claims what was
// shown; a policy (package enclave) decides; an Issuer writes the decision down as a token that
// others can read without the evidence. A simulation goes exactly the same way, and says so at each
// step.
//
// # Invariants
//
//   - Only Verify makes claims, and every field of them was covered by a signature that ends in a
//     root the verifier was given or a vendor's own.
//   - What kind of machine it was follows from the root, not from the evidence. A simulation's root
//     gives claims of the kind sim, wherever it was passed.
//   - The time is the caller's argument: no date in the evidence moves it.
//   - A token of a simulation has the status contraindicated, whatever was decided.
//
// # Boundaries
//
// It asks no network: what a vendor says about firmware comes in Roots.Collateral. What the formats
// are stands in attest/sev, attest/tdx and attest/tpm, each the one holder of its library. Making
// evidence on SEV-SNP and TDX hardware is complete and was not run on silicon; verifying it is
// tested on evidence that such machines made.
//
// # Concurrency
//
// A Verifier and an Issuer never change and may be used by many goroutines, and so may a Device.
//
// # Sources
//
// RFC 9334 (RATS); draft-ietf-rats-ear (EAR); draft-ietf-rats-ar4si (trustworthiness vector);
// RFC 7519 (JWT), RFC 8037 (EdDSA in it), RFC 7638 (thumbprints); decisions 0031, 0033 to 0035.
package attest

import (
	"context"

	"surety/enclave"
	"surety/enclave/attest/tpm"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// Device makes reports: the processor's security module, a TPM, or the simulation. It may be used
// by many goroutines.
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
	// Program is the binary whose SHA-384 a simulated report has as its launch measurement; "": the
	// one that runs.
	Program string
	// TPM is a path of a TPM device or of swtpm's unix socket; "": /dev/tpmrm0.
	TPM string
	// TPMCertificate is a file with the certificate of the TPM's attestation key, in PEM, as its
	// enroller gave it; "": the TPM was not enrolled, and verifiers refuse its quotes.
	TPMCertificate string
	// Clock and Entropy are the simulation's; nil: the system's.
	Clock   wallclock.Clock
	Entropy entropy.Source
}

func (o Options) withDefaults() Options {
	if o.Program == "" {
		o.Program = "/proc/self/exe"
	}
	if o.TPM == "" {
		o.TPM = tpm.DefaultPath
	}
	if o.Clock == nil {
		o.Clock = wallclock.System()
	}
	if o.Entropy == nil {
		o.Entropy = entropy.System()
	}
	return o
}
