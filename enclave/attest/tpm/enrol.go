package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"surety/base/errs"
	"surety/sys/entropy"
)

// Identity is what a TPM shows to be enrolled. None of it is proven yet.
type Identity struct {
	Endorsement []byte `json:"endorsement"` // public area of the EK (TPMT_PUBLIC)
	Certificate []byte `json:"certificate"` // of the EK by the TPM's maker, DER; empty: it has none
	Attestation []byte `json:"attestation"` // public area of the AK
}

// Challenge is a secret that only the TPM of an Identity can open.
type Challenge struct {
	Blob   []byte `json:"blob"`   // TPMS_ID_OBJECT
	Secret []byte `json:"secret"` // encrypted seed
}

// EKDigest is the SHA-256 of the endorsement key in PKIX form, by which an operator knows a TPM.
func (i Identity) EKDigest() ([32]byte, error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](i.Endorsement)
	if err != nil {
		return [32]byte{}, errs.As(errs.Invalid, err, "tpm.enrol: endorsement key")
	}
	key, err := tpm2.Pub(*public)
	if err != nil {
		return [32]byte{}, errs.As(errs.Invalid, err, "tpm.enrol: endorsement key")
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	return sha256.Sum256(der), errs.As(errs.Invalid, err, "tpm.enrol: endorsement key")
}

// endorsementCertificate is where TPMs keep the certificate of an EK on P-256 (TCG EK Credential
// Profile section 2.2.1.4).
const endorsementCertificate = 0x01C0000A

// Identity returns what the TPM shows to be enrolled.
func (d *Device) Identity() (id Identity, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	attestation, err := d.attestationKey()
	if err != nil {
		return id, err
	}
	id.Attestation = attestation.OutPublic.Bytes()
	endorsement, err := d.endorsementKey()
	if err != nil {
		return id, err
	}
	defer func() {
		_, _ = tpm2.FlushContext{FlushHandle: endorsement.ObjectHandle}.Execute(d.tpm) // it lapses anyway
	}()
	id.Endorsement = endorsement.OutPublic.Bytes()
	id.Certificate, err = d.readNV(endorsementCertificate)
	if errs.Is(err, errs.NotFound) {
		err = nil
	}
	return id, err
}

func (d *Device) endorsementKey() (*tpm2.CreatePrimaryResponse, error) {
	key, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement,
		InPublic: tpm2.New2B(tpm2.ECCEKTemplate)}.Execute(d.tpm)
	return key, errs.As(errs.Unavailable, err, "tpm: endorsement key")
}

// Challenge returns a challenge for the identity and the secret that its answer has to be, once the
// attestation key is seen to be one that signs only what a TPM made. Whether the endorsement key is
// that of a real TPM is for Trust, or for whoever knows its digest.
func (i Identity) Challenge(source entropy.Source) (c Challenge, secret []byte, err error) {
	attestation, err := i.attestationKey()
	if err != nil {
		return c, nil, err
	}
	name, err := tpm2.ObjectName(attestation)
	if err != nil {
		return c, nil, errs.As(errs.Invalid, err, "tpm.enrol: attestation key")
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](i.Endorsement)
	if err != nil {
		return c, nil, errs.As(errs.Invalid, err, "tpm.enrol: endorsement key")
	}
	to, err := tpm2.ImportEncapsulationKey(public)
	if err != nil {
		return c, nil, errs.As(errs.Invalid, err, "tpm.enrol: endorsement key")
	}
	secret = make([]byte, secretBytes)
	source.Fill(secret)
	c.Blob, c.Secret, err = tpm2.CreateCredential(reader{source}, to, name.Buffer, secret)
	return c, secret, errs.As(errs.Invalid, err, "tpm.enrol: challenge")
}

// attestationKey is the AK's public area, if it is what attestationTemplate makes.
func (i Identity) attestationKey() (*tpm2.TPMTPublic, error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](i.Attestation)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "tpm.enrol: attestation key")
	}
	want := attestationTemplate()
	want.Unique = public.Unique
	if public.Type != tpm2.TPMAlgECC || !slices.Equal(tpm2.Marshal(want), tpm2.Marshal(*public)) {
		return nil, errs.New(errs.Forbidden, "tpm.enrol: the attestation key is not a restricted signing "+
			"key on P-256")
	}
	return public, nil
}

// Answer opens a challenge: only the TPM that holds both keys of the Identity can.
func (d *Device) Answer(c Challenge) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	attestation, err := d.attestationKey()
	if err != nil {
		return nil, err
	}
	endorsement, err := d.endorsementKey()
	if err != nil {
		return nil, err
	}
	defer func() {
		_, _ = tpm2.FlushContext{FlushHandle: endorsement.ObjectHandle}.Execute(d.tpm) // it lapses anyway
	}()
	opened, err := tpm2.ActivateCredential{
		ActivateHandle: tpm2.AuthHandle{Handle: attestation.ObjectHandle, Name: attestation.Name,
			Auth: tpm2.PasswordAuth(nil)},
		KeyHandle: tpm2.AuthHandle{Handle: endorsement.ObjectHandle, Name: endorsement.Name,
			Auth: tpm2.Policy(tpm2.TPMAlgSHA256, 16, endorsementPolicy)},
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: c.Blob},
		Secret:         tpm2.TPM2BEncryptedSecret{Buffer: c.Secret},
	}.Execute(d.tpm)
	if err != nil {
		return nil, errs.As(errs.Forbidden, err, "tpm.enrol: the challenge is not for this TPM")
	}
	return opened.CertInfo.Buffer, nil
}

// endorsementPolicy is what the template of endorsement keys asks of their user: to know the
// hierarchy's password, which is empty unless somebody set one.
func endorsementPolicy(t transport.TPM, session tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
	_, err := tpm2.PolicySecret{AuthHandle: tpm2.TPMRHEndorsement, PolicySession: session,
		NonceTPM: nonce}.Execute(t)
	return err
}

// Trust sees that the endorsement key has a certificate that ends in one of the TPM makers' roots.
func (i Identity) Trust(makers *x509.CertPool, between *x509.CertPool, now time.Time) error {
	if len(i.Certificate) == 0 {
		return errs.New(errs.Forbidden, "tpm.enrol: the TPM has no endorsement certificate: name its key's "+
			"digest instead")
	}
	c, err := x509.ParseCertificate(i.Certificate)
	if err != nil {
		return errs.As(errs.Forbidden, err, "tpm.enrol: endorsement certificate")
	}
	// These name the TPM's maker in an alternative name of a sort that Go leaves to its caller.
	c.UnhandledCriticalExtensions = slices.DeleteFunc(c.UnhandledCriticalExtensions,
		asn1.ObjectIdentifier{2, 5, 29, 17}.Equal)
	if _, err := c.Verify(x509.VerifyOptions{Roots: makers, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return errs.As(errs.Forbidden, err, "tpm.enrol: endorsement certificate")
	}
	digest, err := i.EKDigest()
	if err != nil {
		return err
	}
	if digest != sha256.Sum256(c.RawSubjectPublicKeyInfo) {
		return errs.New(errs.Forbidden, "tpm.enrol: the endorsement certificate is for another key")
	}
	return nil
}

// Enroller certifies attestation keys whose TPM proved that it holds them.
type Enroller struct {
	Certificate *x509.Certificate // an authority's
	Key         crypto.Signer
	Entropy     entropy.Source
}

// Certify returns the certificate, in PEM, of an identity's attestation key, if the answer is the
// secret of its challenge. Kind Forbidden otherwise. It is good for five years.
func (e Enroller) Certify(i Identity, secret, answer []byte, now time.Time) ([]byte, error) {
	if len(secret) != secretBytes || subtle.ConstantTimeCompare(secret, answer) != 1 {
		return nil, errs.New(errs.Forbidden, "tpm.enrol: the answer is not the challenge's secret")
	}
	attestation, err := i.attestationKey()
	if err != nil {
		return nil, err
	}
	key, err := tpm2.Pub(*attestation)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "tpm.enrol: attestation key")
	}
	digest, err := i.EKDigest()
	if err != nil {
		return nil, err
	}
	public, is := key.(*ecdsa.PublicKey)
	if !is {
		return nil, errs.New(errs.Invalid, "tpm.enrol: attestation key is a %T", key)
	}
	template := &x509.Certificate{SerialNumber: new(big.Int).SetBytes(digest[:16]),
		Subject:   pkix.Name{CommonName: "TPM attestation key", SerialNumber: hex.EncodeToString(digest[:])},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{usageAK()}}
	der, err := x509.CreateCertificate(reader{e.Entropy}, template, e.Certificate, public, e.Key)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "tpm.enrol: certificate")
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "tpm.enrol: certificate")
	}
	return pemOf(made), nil
}

// reader gives entropy to what wants an io.Reader.
type reader struct{ source entropy.Source }

func (r reader) Read(p []byte) (int, error) {
	r.source.Fill(p)
	return len(p), nil
}
