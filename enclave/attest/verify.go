package attest

import (
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest/sev"
	"surety/enclave/attest/tdx"
	"surety/enclave/attest/tpm"
)

// Roots are the certificates that a verifier trusts beside those of AMD and Intel.
type Roots struct {
	Sim [][]byte // PEM or DER certificates of simulations; none: simulated evidence is refused
	TPM [][]byte // certificates of TPM makers, or of who enrolled TPMs; none: those are refused
	// Collateral holds vendors' statements that were fetched beforehand (KDS, PCS), by URL.
	Collateral map[string][]byte
}

// Verifier checks evidence. It never asks the network. It may be used by many goroutines.
type Verifier struct {
	amd, sim   []sev.Anchor
	intel      *x509.Certificate
	tpm        []*x509.Certificate
	collateral map[string][]byte
}

// NewVerifier checks the roots: kind Invalid. They must not be changed afterwards.
func NewVerifier(r Roots) (*Verifier, error) {
	v := &Verifier{collateral: r.Collateral}
	var err error
	if v.amd, err = sev.Vendor(); err != nil {
		return nil, err
	}
	if v.intel, err = tdx.Root(); err != nil {
		return nil, err
	}
	for i, certificate := range r.TPM {
		root, err := parseRoot(certificate)
		if err != nil {
			return nil, errs.Wrap(err, "attest.roots: TPM %d", i)
		}
		v.tpm = append(v.tpm, root)
	}
	for i, certificate := range r.Sim {
		anchor, err := sev.Sim(certificate)
		if err != nil {
			return nil, errs.Wrap(err, "attest.roots: simulation %d", i)
		}
		v.sim = append(v.sim, anchor)
	}
	return v, nil
}

// parseRoot reads an authority's certificate in PEM or DER. A simulation's is none of a TPM's.
func parseRoot(certificate []byte) (*x509.Certificate, error) {
	if block, _ := pem.Decode(certificate); block != nil {
		certificate = block.Bytes
	}
	root, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "attest.roots")
	}
	if !root.IsCA || sev.Simulated(root) {
		return nil, errs.New(errs.Invalid, "attest.roots: %.80q is no authority for TPMs",
			root.Subject.CommonName)
	}
	return root, nil
}

// VendorRoots are the ids of the vendors' own roots, for enclave.Facts. A simulation and a TPM have
// none: a policy names them.
func (v *Verifier) VendorRoots() map[enclave.TEE][]enclave.KeyID {
	roots := map[enclave.TEE][]enclave.KeyID{}
	for _, a := range v.amd {
		if !slices.Contains(roots[enclave.SNP], a.Root()) {
			roots[enclave.SNP] = append(roots[enclave.SNP], a.Root())
		}
	}
	roots[enclave.TDX] = []enclave.KeyID{tdx.RootID(v.intel)}
	return roots
}

// Verify checks that evidence is what it says: signatures up to a root, certificates in force at
// now, report data that is the binding's, a manifest that its signer signed. b.Measure is filled in
// from the evidence's manifest where it is zero. The error is kind Forbidden, and names the first
// thing that does not hold; Invalid or TooLarge where the binding itself is out of bounds.
func (v *Verifier) Verify(e *enclave.Evidence, b enclave.Binding, now clock.Instant,
) (*enclave.Claims, error) {
	if e.Purpose != b.Purpose {
		return nil, errs.New(errs.Forbidden, "attest.verify: evidence was made for %.20q, not for %s",
			string(e.Purpose), b.Purpose)
	}
	var manifest enclave.Signed
	if len(e.Signed) > 0 {
		opened, err := enclave.OpenSigned(e.Signed)
		if err != nil {
			return nil, errs.As(errs.Forbidden, err, "attest.verify: the manifest")
		}
		manifest = opened
	}
	if !b.Measure.IsZero() && b.Measure != manifest.Measure {
		return nil, errs.New(errs.Forbidden, "attest.verify: measurement %s, want %s",
			orNone(manifest.Measure), b.Measure)
	}
	b.Measure = manifest.Measure
	want, err := b.ReportData()
	if err != nil {
		return nil, err
	}
	c, err := v.report(e, want, now)
	if err != nil {
		return nil, err
	}
	c.Manifest, c.Measure, c.Signer = manifest.Manifest, manifest.Measure, manifest.Signer
	return c, nil
}

func orNone(d enclave.Digest) string {
	if d.IsZero() {
		return "of no manifest"
	}
	return d.String()
}

// VerifyRaw is Verify of evidence whose report data was made by another rule, as guests of other
// systems make it: the report data has to be data, of 32 to 64 bytes, and zeros after it. Such
// evidence shows no manifest: nothing would bind one to it.
func (v *Verifier) VerifyRaw(e *enclave.Evidence, data []byte, now clock.Instant,
) (*enclave.Claims, error) {
	var want [64]byte
	if len(data) < minRawData || len(data) > len(want) {
		return nil, errs.New(errs.Invalid, "attest.verify: report data of %d bytes, want %d to %d",
			len(data), minRawData, len(want))
	}
	if len(e.Signed) > 0 {
		return nil, errs.New(errs.Forbidden, "attest.verify: a manifest that the report data does not bind")
	}
	copy(want[:], data)
	return v.report(e, want, now)
}

// report verifies the report alone, and that it has the report data.
func (v *Verifier) report(e *enclave.Evidence, want [64]byte, now clock.Instant,
) (*enclave.Claims, error) {
	c, err := v.backend(e, want, time.Unix(0, int64(now)).UTC())
	if err != nil {
		return nil, err
	}
	if c.TEE != e.TEE {
		return nil, errs.New(errs.Forbidden, "attest.verify: evidence says %.20q and its root is one of %s",
			string(e.TEE), c.TEE)
	}
	if subtle.ConstantTimeCompare(c.ReportData[:], want[:]) != 1 {
		return nil, errs.New(errs.Forbidden, "attest.verify: report data is %.8x, want %.8x: another "+
			"challenge, key, purpose or manifest", c.ReportData[:], want[:])
	}
	return c, nil
}

// backend hands the report to who knows its format. Only a TPM's needs to know what it was made for:
// it signs a hash of that.
func (v *Verifier) backend(e *enclave.Evidence, want [64]byte, now time.Time,
) (*enclave.Claims, error) {
	switch e.TEE {
	case enclave.Sim:
		return sev.Verify(e.Report, e.Support, v.sim, v.collateral, now)
	case enclave.SNP:
		return sev.Verify(e.Report, e.Support, v.amd, v.collateral, now)
	case enclave.TDX:
		if len(e.Support) != 0 {
			return nil, errs.New(errs.Forbidden, "attest.verify: a quote has its certificates in it, and "+
				"here are %d bytes beside it", len(e.Support))
		}
		return tdx.Verify(e.Report, v.intel, v.collateral, now)
	case enclave.TPM:
		return tpm.Verify(e.Report, e.Support, v.tpm, want, now)
	}
	return nil, errs.New(errs.Forbidden, "attest.verify: nobody verifies machines of the kind %.20q",
		string(e.TEE))
}
