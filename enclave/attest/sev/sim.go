package sev

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"

	"surety/base/errs"
	"surety/sys/entropy"
)

// simulatedPrefix begins the name of a simulation's root, and stands in each of its certificates.
const simulatedPrefix = "SIMULATED"

// What a simulation's reports and certificates say they are: a Milan, since the format needs some
// product, of a line whose intermediate is called SEV-SIMULATED.
const (
	simLine  = "Milan"
	simLabel = "SIMULATED"
	simFMS   = 0x00a00f11
	rootName = "SIMULATED ROOT: PROVES NOTHING ABOUT ANY MACHINE"
	warning  = "SIMULATED: this is not AMD's, and protects nothing"
)

// simTCB is the firmware version of a simulation, and simABI that of the interface it speaks.
const (
	simTCB      = 1<<56 | 1<<48 | 1<<8 | 1
	simABIMajor = 1
	simABIMinor = 51
)

// authority holds the keys that a simulation signs with. It stands for AMD and for the processor at
// once, which is why it proves nothing.
type authority struct {
	root, below, chip          *x509.Certificate
	rootKey, belowKey, chipKey crypto.Signer
}

// newAuthority makes keys and certificates of the shape that AMD's have (AMD 57230 section 3), in
// force from now.
func newAuthority(now time.Time, source entropy.Source) (*authority, error) {
	random := reader{source}
	a := &authority{}
	var err error
	if a.rootKey, err = rsa.GenerateKey(random, simBits); err != nil {
		return nil, errs.As(errs.Internal, err, "sev.simulate: root key")
	}
	if a.belowKey, err = rsa.GenerateKey(random, simBits); err != nil {
		return nil, errs.As(errs.Internal, err, "sev.simulate: intermediate key")
	}
	if a.chipKey, err = ecdsa.GenerateKey(elliptic.P384(), random); err != nil {
		return nil, errs.As(errs.Internal, err, "sev.simulate: chip key")
	}
	from := now.Add(-backdate)
	rootTemplate := signer(pkix.Name{CommonName: rootName}, 1, from)
	if a.root, err = issue(rootTemplate, rootTemplate, a.rootKey.Public(), a.rootKey, random); err != nil {
		return nil, err
	}
	below := signer(shaped("SEV-"+simLabel), 2, from)
	if a.below, err = issue(below, a.root, a.belowKey.Public(), a.rootKey, random); err != nil {
		return nil, err
	}
	var hwid [abi.ChipIDSize]byte
	source.Fill(hwid[:])
	chip := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: shaped("SEV-VCEK"),
		NotBefore: from, NotAfter: now.AddDate(chipYears, 0, 0),
		SignatureAlgorithm: x509.SHA384WithRSAPSS, ExtraExtensions: chipExtensions(hwid[:])}
	a.chip, err = issue(chip, a.below, a.chipKey.Public(), a.belowKey, random)
	return a, err
}

// shaped is a name with the fields that the verifier wants to see in certificates below a root, and
// in the rest of it what this is.
func shaped(common string) pkix.Name {
	return pkix.Name{Country: []string{"US"}, Locality: []string{"Santa Clara"},
		Province: []string{"CA"}, Organization: []string{"Advanced Micro Devices"},
		OrganizationalUnit: []string{"Engineering"}, StreetAddress: []string{warning},
		SerialNumber: simulatedPrefix, CommonName: common}
}

func signer(name pkix.Name, serial int64, from time.Time) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: name,
		NotBefore: from, NotAfter: from.AddDate(rootYears, 0, 0), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SignatureAlgorithm: x509.SHA384WithRSAPSS}
}

func issue(c, parent *x509.Certificate, key crypto.PublicKey, by crypto.Signer, random reader,
) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(random, c, parent, key, by)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "sev.simulate: certificate %q", c.Subject.CommonName)
	}
	made, err := x509.ParseCertificate(der)
	return made, errs.As(errs.Internal, err, "sev.simulate: certificate %q", c.Subject.CommonName)
}

// chipExtensions are those of a VCEK certificate (AMD 57230 table 8).
func chipExtensions(hwid []byte) []pkix.Extension {
	parts := kds.DecomposeTCBVersion(simTCB)
	extensions := []pkix.Extension{
		{Id: kds.OidStructVersion, Value: derInt(0)},
		{Id: kds.OidProductName1, Value: append([]byte{asn1.TagIA5String, 8}, "Milan-B1"...)},
	}
	for _, level := range [...]struct {
		id    asn1.ObjectIdentifier
		value uint8
	}{
		{kds.OidBlSpl, parts.BlSpl}, {kds.OidTeeSpl, parts.TeeSpl}, {kds.OidSnpSpl, parts.SnpSpl},
		{kds.OidSpl4, parts.Spl4}, {kds.OidSpl5, parts.Spl5}, {kds.OidSpl6, parts.Spl6},
		{kds.OidSpl7, parts.Spl7}, {kds.OidUcodeSpl, parts.UcodeSpl},
	} {
		extensions = append(extensions, pkix.Extension{Id: level.id, Value: derInt(level.value)})
	}
	return append(extensions, pkix.Extension{Id: kds.OidHwid, Value: hwid})
}

// derInt encodes a number below 128.
func derInt(n uint8) []byte { return []byte{asn1.TagInteger, 1, n} }

// revoke returns a list of revoked certificates with nothing in it, in force from now.
func (a *authority) revoke(now time.Time, random reader) ([]byte, error) {
	der, err := x509.CreateRevocationList(random, &x509.RevocationList{Number: big.NewInt(now.Unix()),
		ThisUpdate: now, NextUpdate: now.Add(crlLife), SignatureAlgorithm: x509.SHA384WithRSAPSS},
		a.root, a.rootKey)
	return der, errs.As(errs.Internal, err, "sev.simulate: list of revoked certificates")
}

// report returns a signed report of version 3 (AMD 56860 table 23).
func (a *authority) report(data [64]byte, measurement [48]byte, hostData [32]byte, random reader,
) ([]byte, error) {
	r := make([]byte, ReportBytes)
	policy := abi.SnpPolicy{SMT: true, ABIMajor: simABIMajor, ABIMinor: simABIMinor}
	put32(r, 0x00, abi.ReportVersion3)
	put64(r, 0x08, abi.SnpPolicyToBytes(policy))
	put32(r, 0x34, abi.SignEcdsaP384Sha384)
	put64(r, 0x38, simTCB)
	copy(r[0x50:], data[:])
	copy(r[0x90:], measurement[:])
	copy(r[0xC0:], hostData[:])
	random.source.Fill(r[0x140:0x160]) // REPORT_ID
	for i := range 32 {
		r[0x160+i] = 0xff // REPORT_ID_MA: no migration agent
	}
	put64(r, 0x180, simTCB)
	r[0x188], r[0x189], r[0x18A] = abi.FmsFromCpuid1Eax(simFMS)
	copy(r[0x1A0:], a.hwid())
	put64(r, 0x1E0, simTCB)
	put64(r, 0x1F0, simTCB)
	digest := sha384(abi.SignedComponent(r))
	signature, err := a.chipKey.Sign(random, digest, crypto.SHA384)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "sev.simulate: sign")
	}
	var parts struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &parts); err != nil {
		return nil, errs.As(errs.Internal, err, "sev.simulate: signature")
	}
	return r, errs.As(errs.Internal, abi.SetSignature(parts.R, parts.S, r), "sev.simulate: signature")
}

func (a *authority) hwid() []byte {
	for _, e := range a.chip.Extensions {
		if slices.Equal(e.Id, kds.OidHwid) {
			return e.Value
		}
	}
	return nil
}
