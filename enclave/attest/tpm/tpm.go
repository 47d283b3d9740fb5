// Package tpm makes and verifies quotes of a TPM 2.0, and keeps in one how far a sealed state has
// come.
//
// Think of a tachograph. From power-on each program writes the hash of the next into the TPM's
// registers (PCRs), which can be extended and not set back. A quote is the TPM's signature over them
// and a challenge, by an attestation key (AK) that never leaves it and signs nothing that was made
// outside. That the AK lives in a real TPM was proven once, at enrolment: the enroller encrypts a
// secret to the TPM's endorsement key (EK) that only the TPM which holds this very AK can open
// (TPM2_ActivateCredential), and then signs a certificate for the AK. A verifier trusts enrollers,
// by their certificates, and needs no second round trip.
//
// # Invariants
//
//   - A quote counts only with the magic that the TPM puts before what it made itself, over exactly
//     our selection of registers, with the caller's challenge.
//   - Every byte of a report is read, and has the one form it can have.
//   - Whoever certified the AK is one of the roots given; without roots every quote is refused.
//   - An Anchor's epoch never goes back, as long as the TPM is not cleared.
//
// # Boundaries
//
// A TPM measures what was booted. It encrypts no memory, and whoever holds the machine's TPM device
// may have quotes: they speak for the whole machine. What booted is judged by a policy, by the
// launch measurement: the SHA-384 over the selected registers. Its firmware's status is unknown.
//
// # Concurrency
//
// A Device and an Anchor lock themselves: a TPM does one thing at a time.
//
// # Sources
//
// TCG TPM 2.0 Library, parts 1 (chapters 24 and 31), 2 and 3; TCG PC Client Platform Firmware
// Profile section 3.3 (use of PCRs); TCG EK Credential Profile section 2.2; decision 0035.
package tpm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"

	"surety/base/errs"
	"surety/enclave"
)

// registers are the PCRs that are quoted: firmware and boot (0-7), kernel and its command line by
// the boot loader (9), and by unified kernel images (11-14). The others change while the machine
// runs, or may be reset.
func registers() []uint { return []uint{0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 13, 14} }

// selection is that of the registers, of the bank of SHA-256.
func selection() tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256,
		PCRSelect: tpm2.PCClientCompatible.PCRs(registers()...)}}}
}

// usageAK is the extended key usage of certificates for attestation keys (tcg-kp-AIKCertificate).
func usageAK() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 23, 133, 8, 3} }

// qualifying is what a quote is made for: the SHA-256 of the report data, since a TPM takes no more
// than one of its digests.
func qualifying(data [64]byte) []byte {
	sum := sha256.Sum256(data[:])
	return sum[:]
}

// Verify returns what a quote proves at the instant, if it was made for the report data. support are
// certificates in PEM: that of the attestation key first, then those of authorities between it and a
// root. The claims have no manifest. The error is kind Forbidden.
func Verify(report, support []byte, roots []*x509.Certificate, data [64]byte, now time.Time,
) (*enclave.Claims, error) {
	r, err := parseReport(report)
	if err != nil {
		return nil, err
	}
	leaf, root, err := chain(support, roots, now)
	if err != nil {
		return nil, err
	}
	if err := r.signedBy(leaf); err != nil {
		return nil, err
	}
	attest, err := r.quote(data)
	if err != nil {
		return nil, err
	}
	sum := sha512.New384()
	for _, value := range r.values {
		sum.Write(value[:])
	}
	return &enclave.Claims{TEE: enclave.TPM, Root: sha256.Sum256(root.RawSubjectPublicKeyInfo),
		RootName: root.Subject.CommonName, Chip: chip(leaf), Platform: sum.Sum(nil), ReportData: data,
		TCB: enclave.TCB{Version: attest.FirmwareVersion, Status: enclave.TCBUnknown}}, nil
}

// chip is the digest of the endorsement key, as the enroller put it into the certificate's subject;
// of a certificate without it, that of the attestation key itself.
func chip(leaf *x509.Certificate) []byte {
	if digest, err := hex.DecodeString(leaf.Subject.SerialNumber); err == nil && len(digest) == 32 {
		return digest
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return sum[:]
}

// chain returns the attestation key's certificate and the root that it ends in.
func chain(support []byte, roots []*x509.Certificate, now time.Time,
) (leaf, root *x509.Certificate, err error) {
	if len(roots) == 0 {
		return nil, nil, errs.New(errs.Forbidden, "tpm.verify: no root is trusted for TPMs")
	}
	certificates, err := parseChain(support)
	if err != nil {
		return nil, nil, err
	}
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	for _, c := range certificates[1:] {
		between.AddCert(c)
	}
	leaf = certificates[0]
	if !slices.ContainsFunc(leaf.UnknownExtKeyUsage, usageAK().Equal) {
		return nil, nil, errs.New(errs.Forbidden, "tpm.verify: the certificate of %.60q is not one for an "+
			"attestation key", leaf.Subject.CommonName)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, nil, errs.As(errs.Forbidden, err, "tpm.verify: the attestation key's certificate")
	}
	return leaf, chains[0][len(chains[0])-1], nil
}

// parseChain reads certificates in the one form that PEM has.
func parseChain(support []byte) ([]*x509.Certificate, error) {
	if len(support) == 0 {
		return nil, errs.New(errs.Forbidden, "tpm.verify: the attestation key has no certificate: this "+
			"TPM was not enrolled")
	}
	var certificates []*x509.Certificate
	var form []byte
	for block, rest := pem.Decode(support); block != nil; block, rest = pem.Decode(rest) {
		if len(certificates) == maxChain {
			return nil, errs.New(errs.Forbidden, "tpm.verify: more than %d certificates", maxChain)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errs.As(errs.Forbidden, err, "tpm.verify: certificate %d", len(certificates))
		}
		certificates = append(certificates, c)
		form = append(form, pemOf(c)...)
	}
	if len(certificates) == 0 || !bytes.Equal(form, support) {
		return nil, errs.New(errs.Forbidden, "tpm.verify: the certificates are not in the form of PEM")
	}
	return certificates, nil
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// signedBy sees that the attestation key signed the quote.
func (r *report) signedBy(leaf *x509.Certificate) error {
	key, is := leaf.PublicKey.(*ecdsa.PublicKey)
	if !is || key.Curve != elliptic.P256() {
		return errs.New(errs.Forbidden, "tpm.verify: the attestation key is not one of ECDSA on P-256")
	}
	signature, err := r.signature.Signature.ECDSA()
	if err != nil || signature.Hash != tpm2.TPMAlgSHA256 {
		return errs.New(errs.Forbidden, "tpm.verify: the signature is not one of ECDSA with SHA-256")
	}
	digest := sha256.Sum256(r.quoted)
	number := func(p tpm2.TPM2BECCParameter) *big.Int { return new(big.Int).SetBytes(p.Buffer) }
	if !ecdsa.Verify(key, digest[:], number(signature.SignatureR), number(signature.SignatureS)) {
		return errs.New(errs.Forbidden, "tpm.verify: the quote's signature is not one by the attestation "+
			"key")
	}
	return nil
}

// quote returns what was signed, once it is a quote that this TPM made for the report data, over our
// registers, and with the values that stand beside it.
func (r *report) quote(data [64]byte) (*tpm2.TPMSAttest, error) {
	attest := r.attest
	if attest.Magic != tpm2.TPMGeneratedValue {
		return nil, errs.New(errs.Forbidden, "tpm.verify: magic %#x, want %#x: not made by a TPM",
			uint32(attest.Magic), uint32(tpm2.TPMGeneratedValue))
	}
	if attest.Type != tpm2.TPMSTAttestQuote {
		return nil, errs.New(errs.Forbidden, "tpm.verify: a statement of type %#x, want a quote",
			uint16(attest.Type))
	}
	if want := qualifying(data); !bytes.Equal(attest.ExtraData.Buffer, want) {
		return nil, errs.New(errs.Forbidden, "tpm.verify: made for %.8x, want %.8x: another challenge, "+
			"key, purpose or manifest", attest.ExtraData.Buffer, want)
	}
	info, err := attest.Attested.Quote()
	if err != nil {
		return nil, errs.As(errs.Forbidden, err, "tpm.verify: the quote")
	}
	want := tpm2.Marshal(selection())
	if !bytes.Equal(tpm2.Marshal(info.PCRSelect), want) {
		return nil, errs.New(errs.Forbidden, "tpm.verify: registers %x are quoted, want %x",
			tpm2.Marshal(info.PCRSelect), want)
	}
	sum := sha256.New()
	for _, value := range r.values {
		sum.Write(value[:])
	}
	if !bytes.Equal(info.PCRDigest.Buffer, sum.Sum(nil)) {
		return nil, errs.New(errs.Forbidden, "tpm.verify: the registers' values are not those quoted")
	}
	return attest, nil
}
