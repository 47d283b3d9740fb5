package broker

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"

	jose "github.com/go-jose/go-jose/v4"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
)

// sampleTEE is the kind of Trustee's test evidence, which nobody signs.
const sampleTEE = "sample"

// verifyTrustee is verify of Trustee's guests. Their report data is the SHA-384 of the runtime data
// in canonical JSON, and zeros; they have no manifest, so that what runs is what the machine booted.
func (b *Broker) verifyTrustee(s *session, message *client.Attestation, jwk json.RawMessage) error {
	seals, err := newJWESealer(jwk)
	if err != nil {
		return err
	}
	runtime, err := canonical(message.RuntimeData)
	if err != nil {
		return errs.Wrap(err, "runtime-data")
	}
	evidence, err := trusteeEvidence(s.tee, message.Evidence.Primary)
	if err != nil {
		return err
	}
	var data [64]byte
	sum := sha512.Sum384(runtime)
	copy(data[:], sum[:])
	s.claims, err = b.deps.Verifier.VerifyRaw(evidence, data[:], b.now())
	s.seals = seals
	return err
}

// trusteeEvidence brings evidence of Trustee's guests into our form.
func trusteeEvidence(tee string, primary json.RawMessage) (*enclave.Evidence, error) {
	e := &enclave.Evidence{Format: enclave.EvidenceFormat, TEE: enclave.TEE(tee),
		Purpose: enclave.ForRelease}
	var err error
	switch tee {
	case string(enclave.TDX):
		e.Report, err = tdxQuote(primary)
	case string(enclave.SNP), string(enclave.Sim): // a simulation's report has the form of SNP's
		e.Report, e.Support, err = snpReport(primary)
	case sampleTEE:
		return nil, errs.New(errs.Forbidden, "evidence of kind %q is signed by nobody", tee)
	default:
		return nil, errs.New(errs.Invalid, "primary_evidence: the form of %.20q with a key of this kind is "+
			"not known", tee)
	}
	if err != nil {
		return nil, errs.Wrap(err, "primary_evidence")
	}
	if len(e.Report) > enclave.MaxReport || len(e.Support) > enclave.MaxSupport {
		return nil, errs.New(errs.TooLarge, "primary_evidence: %d bytes with certificates of %d, the limits "+
			"are %d and %d", len(e.Report), len(e.Support), enclave.MaxReport, enclave.MaxSupport)
	}
	return e, nil
}

// tdxQuote reads {"quote": BASE64, "cc_eventlog": ...}. The event log is not looked at: what counts
// are the registers that the quote has.
func tdxQuote(primary json.RawMessage) ([]byte, error) {
	var form struct {
		Quote []byte `json:"quote"`
	}
	if err := decodeJSON(primary, &form); err != nil {
		return nil, err
	}
	if len(form.Quote) == 0 {
		return nil, errs.New(errs.Invalid, "quote is empty")
	}
	return form.Quote, nil
}

// snpCertificates are the kinds of certificates that count, by their names there and the GUIDs of
// the table that processors give (AMD 56421), their bytes in the order of the text.
var snpCertificates = [...]struct{ name, guid string }{
	{"VCEK", "\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd"},
	{"VLEK", "\xa8\x07\x4b\xc2\xa2\x5a\x48\x3e\xaa\xe6\x39\xc0\x45\xa0\xb8\xa1"},
	{"ASK", "\x4a\xb7\xb3\x79\xbb\xac\x4f\xe4\xa0\x2f\x05\xae\xf3\x27\xc7\x82"},
	{"ARK", "\xc0\xb4\x06\xa4\xa8\x03\x49\x52\x97\x43\x3f\xb6\x01\x4c\xd0\xae"},
}

// snpReport reads {"attestation_report": ..., "cert_chain": [{"cert_type": ..., "data": ...}]}, the
// report field by field, or as its bytes, in base64 or as a list of numbers.
func snpReport(primary json.RawMessage) (report, support []byte, err error) {
	var form struct {
		Report snpBytes `json:"attestation_report"`
		Chain  []struct {
			Kind string   `json:"cert_type"`
			Data rawBytes `json:"data"`
		} `json:"cert_chain"`
	}
	if err := decodeJSON(primary, &form); err != nil {
		return nil, nil, err
	}
	if len(form.Report) == 0 || len(form.Chain) > len(snpCertificates) {
		return nil, nil, errs.New(errs.Invalid, "attestation_report is empty, or cert_chain has more than "+
			"%d entries", len(snpCertificates))
	}
	const entryBytes = 24
	entries := make([]byte, 0, entryBytes*(len(form.Chain)+1))
	var content []byte
	for _, certificate := range form.Chain {
		for _, known := range snpCertificates {
			if known.name != certificate.Kind {
				continue
			}
			entries = append(entries, known.guid...)
			entries = binary.LittleEndian.AppendUint32(entries,
				uint32(entryBytes*(len(form.Chain)+1)+len(content)))
			entries = binary.LittleEndian.AppendUint32(entries, uint32(len(certificate.Data)))
			content = append(content, certificate.Data...)
		}
	}
	if len(entries) == 0 {
		return form.Report, nil, nil
	}
	return form.Report, append(entries[:cap(entries)], content...), nil
}

// rawBytes are bytes in base64, or a list of numbers as serde writes them.
type rawBytes []byte

// UnmarshalJSON takes both forms.
func (r *rawBytes) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var plain []byte
		err := json.Unmarshal(data, &plain)
		*r = plain
		return err
	}
	var numbers []uint8List
	if err := json.Unmarshal(data, &numbers); err != nil {
		return errs.New(errs.Invalid, "want bytes, in base64 or as a list of numbers")
	}
	*r = make([]byte, len(numbers))
	for i, n := range numbers {
		(*r)[i] = byte(n)
	}
	return nil
}

// uint8List keeps encoding/json from taking a list of bytes for base64.
type uint8List uint8

// jweSealer seals for Trustee's guests: a JSON Web Encryption to their key.
type jweSealer struct {
	public    any
	algorithm jose.KeyAlgorithm
	jwk       []byte // canonical
}

// newJWESealer takes an EC key of P-256, P-384 or P-521 for ECDH-ES+A256KW, or an RSA key for
// RSA-OAEP-256. Kind Invalid for any other: RSA with PKCS #1 v1.5 can be taken apart by who may ask
// often enough.
func newJWESealer(jwk json.RawMessage) (sealer, error) {
	if len(jwk) > enclave.MaxBindingKey {
		return nil, errs.New(errs.TooLarge, "tee-pubkey has %d bytes, the limit is %d", len(jwk),
			enclave.MaxBindingKey)
	}
	text, err := canonical(jwk)
	if err != nil {
		return nil, errs.Wrap(err, "tee-pubkey")
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(jwk); err != nil {
		return nil, errs.As(errs.Invalid, err, "tee-pubkey")
	}
	var algorithm jose.KeyAlgorithm
	switch public := key.Key.(type) {
	case *ecdsa.PublicKey:
		algorithm = jose.ECDH_ES_A256KW
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSA || bits > maxRSA || public.E < 3 {
			return nil, errs.New(errs.Invalid, "tee-pubkey: RSA of %d bits, want %d to %d", bits, minRSA,
				maxRSA)
		}
		algorithm = jose.RSA_OAEP_256
	default:
		return nil, errs.New(errs.Invalid, "tee-pubkey: want a public key of kind EC, RSA or %s",
			client.KeyType)
	}
	if key.Algorithm != string(algorithm) {
		return nil, errs.New(errs.Invalid, "tee-pubkey: alg is %.40q, want %s for such a key",
			key.Algorithm, algorithm)
	}
	return jweSealer{key.Key, algorithm, text}, nil
}

func (j jweSealer) key() []byte { return j.jwk }

// answer returns the secret as a flattened JWE.
func (j jweSealer) answer(_ *Broker, _ client.Context, _ string, secret []byte) (any, error) {
	encrypter, err := jose.NewEncrypter(jose.A256GCM,
		jose.Recipient{Algorithm: j.algorithm, Key: j.public}, nil)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "seal")
	}
	sealed, err := encrypter.Encrypt(secret)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "seal")
	}
	return json.RawMessage(sealed.FullSerialize()), nil
}
