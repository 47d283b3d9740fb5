package enclave

import "surety/base/errs"

// Binding is what evidence is made for: the 64 bytes of report data that the machine signs are a
// hash over all of it. So a report cannot be used for another purpose, another challenge, another
// key, or by another program on the same machine.
type Binding struct {
	Purpose Purpose
	Nonce   []byte // the challenge, at most MaxNonce bytes; whoever verifies has made it
	Key     []byte // public key that secrets are sealed to, or the exporter value of a TLS session
	Measure Digest // of the manifest that the machine runs
}

// Purpose keeps evidence for one use from being taken for another.
type Purpose string

// The purposes.
const (
	ForRelease Purpose = "release" // to a key broker: Key is the key that secrets are sealed to
	ForChannel Purpose = "channel" // to a client: Key is the TLS session's exporter value
	ForAudit   Purpose = "audit"   // to whoever asks, on paper: Key is empty
	ForReceipt Purpose = "receipt" // to whoever reads a run's receipt: Key is the one that signed it
)

// Known reports whether it is one of the purposes.
func (p Purpose) Known() bool {
	return p == ForRelease || p == ForChannel || p == ForAudit || p == ForReceipt
}

// EvidenceFormat is the one format of evidence.
const EvidenceFormat = 1

// Evidence is what a machine sends: a report by its hardware, and what the report's hash stands
// for. Its encoding is deterministic CBOR.
type Evidence struct {
	Format  uint64  `cbor:"format"` // 1
	TEE     TEE     `cbor:"tee"`
	Report  []byte  `cbor:"report"`  // as the machine gives it: SNP report, TDX quote, TPM quote
	Support []byte  `cbor:"support"` // certificates and the like; verified, never believed
	Signed  []byte  `cbor:"signed"`  // the signed manifest, as Sign gives it; empty: no manifest
	Purpose Purpose `cbor:"purpose"`
}

// Encode returns the evidence's one encoding: deterministic CBOR (RFC 8949 section 4.2.1). Kind
// Invalid or TooLarge where a field is out of its bounds.
func (e *Evidence) Encode() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	return encode(e)
}

// DecodeEvidence reads what Encode gives; kind Corrupt or TooLarge otherwise. Nothing in it is
// verified.
func DecodeEvidence(data []byte) (*Evidence, error) {
	if len(data) > MaxEvidence {
		return nil, errs.New(errs.TooLarge, "enclave.evidence: %d bytes; at most %d", len(data),
			MaxEvidence)
	}
	e := &Evidence{}
	if err := decode(data, e); err != nil {
		return nil, errs.As(errs.Corrupt, err, "enclave.evidence")
	}
	if err := e.check(); err != nil {
		return nil, errs.As(errs.Corrupt, err, "enclave.evidence: its encoding is well made")
	}
	return e, nil
}

// check holds the fields to their bounds.
func (e *Evidence) check() error {
	switch {
	case e.Format != EvidenceFormat:
		return errs.New(errs.Invalid, "enclave.evidence: format %d; only %d is known",
			e.Format, EvidenceFormat)
	case !e.TEE.Known():
		return errs.New(errs.Invalid, "enclave.evidence: machine %.20q is none of sim, snp, tdx, tpm",
			string(e.TEE))
	case !e.Purpose.Known():
		return errs.New(errs.Invalid, "enclave.evidence: purpose %.40q is none of release, channel, "+
			"audit", string(e.Purpose))
	case len(e.Report) == 0:
		return errs.New(errs.Invalid, "enclave.evidence: no report")
	}
	for _, bound := range [...]struct {
		name      string
		size, max int
	}{
		{"report", len(e.Report), MaxReport},
		{"support", len(e.Support), MaxSupport},
		{"signed", len(e.Signed), maxSigned},
	} {
		if bound.size > bound.max {
			return errs.New(errs.TooLarge, "enclave.evidence: %s has %d bytes; at most %d",
				bound.name, bound.size, bound.max)
		}
	}
	return nil
}

// Claims are what verified evidence shows. Only enclave/attest makes them.
type Claims struct {
	TEE      TEE
	Root     KeyID  // of the key that the chain of certificates ends in
	RootName string // of that certificate, for people
	Chip     []byte // which machine: chip id, PPID, or the endorsement key's digest; may be empty

	Platform      []byte // launch measurement: what booted, and so who speaks for the manifest
	PlatformDebug bool   // the machine's owner may look into its memory
	HostData      []byte // what the launcher set at start: HOST_DATA or MRCONFIGID; may be empty
	TCB           TCB

	ReportData [64]byte // equal to the hash of the Binding that was asked for

	// Of the manifest; zero where the evidence has none.
	Manifest *Manifest
	Measure  Digest
	Signer   KeyID
}

// Debug reports whether somebody may look inside.
func (c *Claims) Debug() bool {
	return c.PlatformDebug || c.Manifest != nil && c.Manifest.Debug
}

// TCB says how current the machine's firmware is, and how current what we know about it.
type TCB struct {
	Version uint64    // as the report has it, for people and for comparison
	Status  TCBStatus // by the vendor's collateral
	// CollateralAt and CollateralEnds bound the vendor's statement, in seconds since 1970; zero
	// where there is none.
	CollateralAt   int64
	CollateralEnds int64
}

// TCBStatus is the vendor's word on a TCB version, the best first.
type TCBStatus uint8

// The statuses, in order: a policy names the worst it takes.
const (
	TCBUpToDate  TCBStatus = 1 // the vendor says so, with collateral that is in force
	TCBOutOfDate TCBStatus = 2
	TCBUnknown   TCBStatus = 3 // no collateral: certificates alone
	TCBRevoked   TCBStatus = 4
)
