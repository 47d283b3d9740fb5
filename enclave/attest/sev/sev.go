// Package sev verifies attestation reports of AMD SEV-SNP, makes them on a machine that has it, and
// simulates them on one that has not.
//
// Think of a report as a letter with a chain of seals: the report is signed by a key of the chip
// (VCEK) or of a cloud (VLEK), whose certificate is signed by AMD's signing key (ASK, ASVK), whose
// certificate is signed by AMD's root (ARK). A chain ends in an Anchor or the report is refused. A
// simulation has a chain of the same shape under a root of its own that is named SIMULATED, and goes
// through the same code: only the Anchor that its chain ends in says what it is.
//
// # Invariants
//
//   - What a report proves is decided by the anchor, never by a word in the evidence.
//   - Every byte of a report is either covered by the signature and read exactly once, or refused.
//   - The endorsement certificate belongs to the report: its chip is the report's chip and its
//     firmware version the report's.
//   - Nothing is fetched: what is not in the evidence or the collateral is not known.
//
// # Boundaries
//
// Signatures, certificates and their extensions are go-sev-guest's business (decision 0033), and no
// other package imports it. Whether the launch measurement, the chip or the firmware is one to trust
// is a policy's. Making reports on silicon is complete and was not run on silicon: verification is
// tested on a report that a Milan machine made.
//
// # Sources
//
// AMD 56860 (SEV-SNP firmware ABI) sections 7.3 and 8.17.3; AMD 57230 (VCEK certificates and KDS);
// AMD 56421 (GHCB) section 4.1.8 (certificate table).
package sev

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"

	"surety/base/errs"
	"surety/enclave"
)

// ReportBytes is the size of a report.
const ReportBytes = abi.ReportSize

// Anchor is a root that chains may end in, and the one certificate that may stand below it.
type Anchor struct {
	line  string // product line as reports and certificates have it
	label string // product line in the name of the intermediate's certificate
	sim   bool
	crl   string // where the vendor publishes what it revoked; of a simulation none
	root  *x509.Certificate
	below *x509.Certificate // ASK or ASVK; of a simulation it comes with the report
}

// Vendor returns AMD's own roots, as the library embeds them: for each product line that of keys of
// chips and that of keys of clouds.
func Vendor() ([]Anchor, error) {
	var anchors []Anchor
	for _, bundle := range [...]struct {
		line, kind string
		pem        []byte
	}{
		{"Milan", "vcek", trust.AskArkMilanVcekBytes},
		{"Milan", "vlek", trust.AskArkMilanVlekBytes},
		{"Genoa", "vcek", trust.AskArkGenoaVcekBytes},
		{"Genoa", "vlek", trust.AskArkGenoaVlekBytes},
		{"Turin", "vcek", trust.AskArkTurinVcekBytes},
		{"Turin", "vlek", trust.AskArkTurinVlekBytes},
	} {
		// One of them ends in an empty line, which the library's own parser does not take.
		chain := append(bytes.TrimSpace(bundle.pem), '\n')
		below, root, err := kds.ParseProductCertChain(chain)
		if err != nil {
			return nil, errs.As(errs.Internal, err, "sev.vendor: %s %s", bundle.line, bundle.kind)
		}
		a := Anchor{line: bundle.line, label: bundle.line,
			crl: "https://kdsintf.amd.com/" + bundle.kind + "/v1/" + bundle.line + "/crl"}
		if a.below, err = x509.ParseCertificate(below); err == nil {
			a.root, err = x509.ParseCertificate(root)
		}
		if err != nil {
			return nil, errs.As(errs.Internal, err, "sev.vendor: %s %s", bundle.line, bundle.kind)
		}
		anchors = append(anchors, a)
	}
	return anchors, nil
}

// Sim returns the anchor of a simulation's root, in PEM or DER. Kind Invalid where it is no
// certificate of that shape: its name has to begin with SIMULATED, so that a vendor's root cannot be
// taken for one, nor one for a vendor's.
func Sim(certificate []byte) (Anchor, error) {
	der := certificate
	if block, rest := pem.Decode(certificate); block != nil {
		if block.Type != "CERTIFICATE" || len(strings.TrimSpace(string(rest))) != 0 {
			return Anchor{}, errs.New(errs.Invalid, "sev.sim: a root is one certificate, and this is more")
		}
		der = block.Bytes
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return Anchor{}, errs.As(errs.Invalid, err, "sev.sim: root")
	}
	if !Simulated(root) || !root.IsCA {
		return Anchor{}, errs.New(errs.Invalid, "sev.sim: %.80q is not the root of a simulation: its name "+
			"does not begin with %q", root.Subject.CommonName, simulatedPrefix)
	}
	return Anchor{line: simLine, label: simLabel, sim: true, root: root}, nil
}

// Simulated reports whether a certificate says of itself that it is a simulation's.
func Simulated(c *x509.Certificate) bool {
	return strings.HasPrefix(c.Subject.CommonName, simulatedPrefix)
}

// Root is the id of the anchor's key.
func (a Anchor) Root() enclave.KeyID { return sha256.Sum256(a.root.RawSubjectPublicKeyInfo) }

// Name is that of the anchor's certificate.
func (a Anchor) Name() string { return a.root.Subject.CommonName }

// TEE is what a chain that ends here proves.
func (a Anchor) TEE() enclave.TEE {
	if a.sim {
		return enclave.Sim
	}
	return enclave.SNP
}

// Verify returns what a report proves by one of the anchors at the instant. support is a certificate
// table as the machine's firmware gives it. collateral holds vendors' statements by URL; without
// them the status of the firmware is unknown. The claims have no manifest. The error is kind
// Forbidden.
func Verify(report, support []byte, anchors []Anchor, collateral map[string][]byte, now time.Time,
) (*enclave.Claims, error) {
	parsed, err := parse(report)
	if err != nil {
		return nil, err
	}
	table, err := parseTable(support)
	if err != nil {
		return nil, err
	}
	info, err := abi.ParseSignerInfo(parsed.SignerInfo)
	if err != nil {
		return nil, refuse(err, "who signed the report")
	}
	if info.SigningKey == abi.VcekReportSigner && table[abi.VcekGUID] == nil {
		table.add(abi.VcekGUID, recordedVCEK(parsed, collateral))
	}
	leaf, err := endorsement(parsed, table, info)
	if err != nil {
		return nil, err
	}
	anchor, err := chain(parsed, table, anchors, now)
	if err != nil {
		return nil, err
	}
	tcb, err := anchor.tcb(parsed, leaf, table, collateral, now)
	if err != nil {
		return nil, err
	}
	return claims(parsed, info, anchor, tcb), nil
}

// chain returns the anchor that the endorsement certificate's chain ends in. The library tries the
// names, the extensions, the dates and the signatures of every certificate in it, and the signature
// over the report.
func chain(report *spb.Report, table table, anchors []Anchor, now time.Time) (Anchor, error) {
	if len(anchors) == 0 {
		return Anchor{}, errs.New(errs.Forbidden, "sev.verify: no root is trusted for such reports")
	}
	var last error
	for _, a := range anchors {
		certificates, err := a.certificates(table)
		if err == nil {
			err = verify.SnpAttestation(&spb.Attestation{Report: report,
				CertificateChain: &spb.CertificateChain{VcekCert: table[abi.VcekGUID],
					VlekCert: table[abi.VlekGUID]}},
				&verify.Options{DisableCertFetching: true, Now: now,
					TrustedRoots: map[string][]*trust.AMDRootCerts{a.line: {certificates}}})
		}
		if err == nil {
			return a, nil
		}
		last = better(last, err)
	}
	return Anchor{}, refuse(last, "no chain ends in a root that is trusted for such reports")
}

// better keeps the error that says most.
func better(last, err error) error {
	if last == nil || weight(err) >= weight(last) {
		return err
	}
	return last
}

// weight says how much an error of the library tells: that of another product line, or of the other
// kind of key, only that this anchor was not meant.
func weight(err error) int {
	text := err.Error()
	switch {
	case strings.HasSuffix(text, "Last error: <nil>"):
		return 0
	case strings.Contains(text, "missing intermediate"):
		return 1
	case strings.Contains(text, "issuer common name"):
		return 2
	}
	return 3
}

// certificates returns the anchor in the library's form. The intermediate of a simulation comes with
// the report: it is used as one whose chain is still to be verified.
func (a Anchor) certificates(t table) (*trust.AMDRootCerts, error) {
	below := a.below
	if below == nil {
		var err error
		if below, err = x509.ParseCertificate(t[abi.AskGUID]); err != nil {
			return nil, errs.As(errs.Forbidden, err, "sev.verify: the intermediate certificate")
		}
	}
	certs := trust.AMDRootCertsProduct(a.label)
	certs.ProductCerts = &trust.ProductCerts{Ark: a.root}
	if strings.HasPrefix(below.Subject.CommonName, "SEV-VLEK") {
		certs.ProductCerts.Asvk = below
	} else {
		certs.ProductCerts.Ask = below
	}
	return certs, nil
}

// intermediate is the certificate below the root, which the chain was verified with.
func (a Anchor) intermediate(t table) (*x509.Certificate, error) {
	if a.below != nil {
		return a.below, nil
	}
	return x509.ParseCertificate(t[abi.AskGUID])
}

func claims(r *spb.Report, info abi.SignerInfo, a Anchor, tcb enclave.TCB) *enclave.Claims {
	c := &enclave.Claims{TEE: a.TEE(), Root: a.Root(), RootName: a.Name(), TCB: tcb,
		Platform: r.Measurement, HostData: r.HostData}
	if !info.MaskChipKey {
		c.Chip = r.ChipId
	}
	copy(c.ReportData[:], r.ReportData)
	policy, err := abi.ParseSnpPolicy(r.Policy)
	c.PlatformDebug = err != nil || policy.Debug
	return c
}

func refuse(err error, format string, args ...any) error {
	return errs.As(errs.Forbidden, err, "sev.verify: "+format, args...)
}
