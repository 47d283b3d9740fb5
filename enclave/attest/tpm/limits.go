package tpm

import "time"

const (
	// maxChain bounds the certificates of an attestation key: its own, and authorities above it.
	maxChain = 4

	// maxPart bounds a quote and a signature, each, in bytes: they have some 145 and 70.
	maxPart = 1024

	// maxCertificate bounds an endorsement certificate that is read from a TPM, in bytes, and
	// nvBlock one read: 512 is the least that every TPM gives.
	maxCertificate = 4096
	nvBlock        = 512

	// certificateLife is how long an enrolment is good for: as long as a server stands.
	certificateLife = 5 * 365 * 24 * time.Hour

	// authorityYears is how long an enroller's authority is in force.
	authorityYears = 20

	// backdate lies before an enrolment's certificate, for verifiers whose clock is slow.
	backdate = time.Hour

	// secretBytes is the size of the secret that proves where an attestation key lives.
	secretBytes = 32

	// firstIndex and indexPairs are where anchors of states by name are: 65,536 pairs of indices in
	// the owner's part, of which a machine uses a few.
	firstIndex = 0x01A00000
	indexPairs = 1 << 16

	// defaultIndex is where an Anchor keeps its record, and the next one its counter: from the part
	// of the index space that belongs to the machine's owner.
	defaultIndex = 0x01805355
)
