package client

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"

	"surety/base/errs"
	"surety/enclave"
)

// Where a broker listens for what. The names, the cookie and the shape of the messages are those of
// Trustee's protocol; what is below PathState is ours.
const (
	PathAuth     = "/kbs/v0/auth"
	PathAttest   = "/kbs/v0/attest"
	PathResource = "/kbs/v0/resource/"
	PathState    = "/kbs/v0/state/"

	Cookie = "kbs-session-id"
	// RequestHeader carries a random name of the request, which the answer is sealed for: an answer
	// that was kept cannot be given to another request.
	RequestHeader = "Surety-Request"
	// Version is the protocol's, as sent in the first message.
	Version = "0.4.0"
	// NonceBytes is the size of a challenge.
	NonceBytes = 32
)

// AuthRequest opens the exchange.
type AuthRequest struct {
	Version string          `json:"version"`
	TEE     string          `json:"tee"`
	Extra   json.RawMessage `json:"extra-params"`
}

// AuthExtra is what our guests put into Extra. It is a hint: nothing is decided by it.
type AuthExtra struct {
	Trace string `json:"trace,omitempty"` // of the run, which the broker's records then name
}

// Challenge answers it: 32 bytes in base64.
type Challenge struct {
	Nonce string          `json:"nonce"`
	Extra json.RawMessage `json:"extra-params"`
}

// Attestation answers the challenge.
type Attestation struct {
	InitData    json.RawMessage `json:"init-data,omitempty"`
	RuntimeData json.RawMessage `json:"runtime-data"`
	Evidence    TEEEvidence     `json:"tee-evidence"`
}

// RuntimeData is what the evidence is bound to.
type RuntimeData struct {
	Nonce string          `json:"nonce"`
	Key   json.RawMessage `json:"tee-pubkey"` // a JSON Web Key
}

// TEEEvidence is the machine's report.
type TEEEvidence struct {
	Primary    json.RawMessage `json:"primary_evidence"`
	Additional string          `json:"additional_evidence"`
}

// PrimaryEvidence is our guests' form of it: enclave.Evidence, encoded.
type PrimaryEvidence struct {
	Surety []byte `json:"surety"`
}

// TokenAnswer is what an admitted guest gets.
type TokenAnswer struct {
	Token string `json:"token"`
}

// Problem says why there is none: RFC 7807, with the kind beside it.
type Problem struct {
	Type   string `json:"type"`
	Detail string `json:"detail"`
	Kind   string `json:"kind,omitempty"` // as errs.Kind.String
}

// KeyType is the "kty" of the keys of our guests: an algorithm and its public key.
const KeyType = "AKP"

// Key is a public key that secrets are sealed to, as a JSON Web Key.
type Key struct {
	Type      string `json:"kty"`
	Algorithm string `json:"alg"`
	Public    string `json:"pub"` // base64url without padding
}

// Suite is a set of HPKE algorithms (RFC 9180).
type Suite struct {
	Name string // "alg" of the key
	KEM  hpke.KEM
	KDF  hpke.KDF
	AEAD hpke.AEAD
}

// Hybrid is the usual suite: secure while either ML-KEM-768 or X25519 is.
func Hybrid() Suite {
	return Suite{"HPKE-MLKEM768X25519-SHA256-A256GCM", hpke.MLKEM768X25519(), hpke.HKDFSHA256(),
		hpke.AES256GCM()}
}

// FIPS is the suite of algorithms that FIPS 140-3 modules have.
func FIPS() Suite {
	return Suite{"HPKE-P384-SHA384-A256GCM", hpke.DHKEM(ecdh.P384()), hpke.HKDFSHA384(),
		hpke.AES256GCM()}
}

// SuiteNamed returns the suite of a key's "alg"; kind Invalid where there is none of that name.
func SuiteNamed(name string) (Suite, error) {
	for _, s := range [...]Suite{Hybrid(), FIPS()} {
		if s.Name == name {
			return s, nil
		}
	}
	return Suite{}, errs.New(errs.Invalid, "client.suite: %.60q is none of %s and %s", name,
		Hybrid().Name, FIPS().Name)
}

// BindingNonce is the nonce that our guests' evidence is bound to: it covers, beside the challenge,
// the broker it is meant for, so that one broker cannot hand it to another.
func BindingNonce(broker enclave.KeyID, nonce []byte) []byte {
	sum := sha256.Sum256(fields("surety.kbs/challenge/v1\n", broker[:], nonce))
	return sum[:]
}

// Sealed is a broker's answer with a secret in it, to our guests.
type Sealed struct {
	Record    string `json:"record"` // of the broker's log
	Sealed    []byte `json:"sealed"` // HPKE: encapsulated key and ciphertext
	Key       []byte `json:"key"`    // Ed25519 public key of the broker
	Signature []byte `json:"signature"`
}

// Context is what an answer belongs to.
type Context struct {
	Token    string // id of the appraisal
	Nonce    []byte // that was answered
	Request  string // of RequestHeader
	Resource string // that was asked for
}

// Info is the HPKE info of an answer: sealed for one context, it opens in no other.
func (c Context) Info() []byte {
	return fields("surety.kbs/seal/v1\n", []byte(c.Token), c.Nonce, []byte(c.Request),
		[]byte(c.Resource))
}

// Statement is what the broker signs of an answer: anyone can seal to a public key.
func (c Context) Statement(s *Sealed) []byte {
	return fields("surety.kbs/answer/v1\n", c.Info(), []byte(s.Record), s.Sealed)
}

// fields joins a domain line and values, each with its length before it.
func fields(domain string, values ...[]byte) []byte {
	joined := []byte(domain)
	for _, value := range values {
		joined = binary.BigEndian.AppendUint32(joined, uint32(len(value)))
		joined = append(joined, value...)
	}
	return joined
}

// StateOpen asks for a lease.
type StateOpen struct {
	Tenant   string `json:"tenant"`
	Instance string `json:"instance"`
	Name     string `json:"name"`
}

// Resource is what the answer to it is sealed for.
func (o StateOpen) Resource() string {
	return string(fields("state\n", []byte(o.Tenant), []byte(o.Instance), []byte(o.Name)))
}

// StateGrant is the lease, sealed as a secret is.
type StateGrant struct {
	Lease  string         `json:"lease"`
	Fence  uint64         `json:"fence"` // rises with each lease of the state
	MAC    []byte         `json:"mac"`   // key that authenticates what is said about the lease
	Keys   []StateKey     `json:"keys"`
	Epoch  uint64         `json:"epoch"`
	Root   enclave.Digest `json:"root"`
	Millis int64          `json:"millis"` // how long it lasts unless renewed
}

// LeaseMessage is every message about a lease, in both directions.
type LeaseMessage struct {
	Lease string         `json:"lease"`
	Fence uint64         `json:"fence"`
	Count uint64         `json:"count"`          // of a commit the epoch, of a renewal its number
	Root  enclave.Digest `json:"root,omitempty"` // of a commit
	MAC   []byte         `json:"mac"`
}

// What is said about a lease.
const (
	ActCommit = "commit"
	ActRenew  = "renew"
	ActClose  = "close"
	// ActDone, before one of the others, is the broker's answer to it.
	ActDone = "done "
)

// Authenticate sets the message's MAC.
func (m *LeaseMessage) Authenticate(key []byte, act string) { m.MAC = m.mac(key, act) }

// Authentic reports whether the message's MAC is that of the key and the act.
func (m *LeaseMessage) Authentic(key []byte, act string) bool {
	return hmac.Equal(m.MAC, m.mac(key, act))
}

func (m *LeaseMessage) mac(key []byte, act string) []byte {
	var numbers [16]byte
	binary.BigEndian.PutUint64(numbers[:8], m.Fence)
	binary.BigEndian.PutUint64(numbers[8:], m.Count)
	h := hmac.New(sha256.New, key)
	h.Write(fields("surety.kbs/lease/v1\n", []byte(act), []byte(m.Lease), numbers[:], m.Root[:]))
	return h.Sum(nil)
}

// DecodeNonce reads a challenge: 32 bytes in base64.
func DecodeNonce(text string) ([]byte, error) {
	nonce, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(nonce) != NonceBytes {
		return nil, errs.New(errs.Invalid, "client.nonce: the challenge is not %d bytes in base64",
			NonceBytes)
	}
	return nonce, nil
}
