package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
)

// jwk is a public key as a token carries it (RFC 8037 section 2).
type jwk struct {
	Curve string `json:"crv"`
	Type  string `json:"kty"`
	X     string `json:"x"`
}

// thumbprint is the key's id in tokens (RFC 7638): SHA-256 of its members in alphabetical order,
// which is how jwk is written.
func (k jwk) thumbprint() (string, error) {
	data, err := json.Marshal(k)
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:]), err
}

// header is that of every token: there is one algorithm, so that none can be chosen.
type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	ID        string `json:"kid"`
	Key       jwk    `json:"jwk"`
}

const (
	algorithm = "EdDSA"
	tokenType = "JWT"
)

// sign returns the payload as a token.
func sign(key ed25519.PrivateKey, payload []byte) (string, error) {
	public := key.Public().(ed25519.PublicKey)
	k := jwk{Curve: "Ed25519", Type: "OKP", X: base64.RawURLEncoding.EncodeToString(public)}
	id, err := k.thumbprint()
	if err != nil {
		return "", errs.As(errs.Internal, err, "attest.issue")
	}
	head, err := json.Marshal(header{algorithm, tokenType, id, k})
	if err != nil {
		return "", errs.As(errs.Internal, err, "attest.issue")
	}
	signed := base64.RawURLEncoding.EncodeToString(head) + "." +
		base64.RawURLEncoding.EncodeToString(payload)
	signature := ed25519.Sign(key, []byte(signed))
	token := signed + "." + base64.RawURLEncoding.EncodeToString(signature)
	if len(token) > maxToken {
		return "", errs.New(errs.TooLarge, "attest.issue: a token of %d bytes, the limit is %d",
			len(token), maxToken)
	}
	return token, nil
}

// Token is what an EAR says, once its signature was checked.
type Token struct {
	Issuer    string            `json:"iss"`
	Issued    int64             `json:"iat"` // seconds since 1970
	Expires   int64             `json:"exp"`
	TEE       enclave.TEE       `json:"tee"`
	Simulated bool              `json:"simulated"`
	Guarantee enclave.Guarantee `json:"guarantee"`
	Status    string            `json:"status"` // ear.status; that of a simulation is contraindicated
	Measure   enclave.Digest    `json:"measure"`
	Signer    enclave.KeyID     `json:"signer"`
	Product   string            `json:"product"`
	SVN       uint64            `json:"svn"`
	Debug     bool              `json:"debug"`
	Policy    string            `json:"policy"` // that was decided by
	Result    enclave.Result    `json:"result"`
	Key       []byte            `json:"key"` // public key that the evidence was bound to
	ID        string            `json:"jti"`
}

// OpenToken checks a token's signature by the key with the id, which the token carries, and its
// time: issued not later than a minute from now, and not expired. Kind Unauthorized.
func OpenToken(token string, issuer enclave.KeyID, now clock.Instant) (*Token, error) {
	if len(token) > maxToken {
		return nil, denied("%d bytes, the limit is %d", len(token), maxToken)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, denied("%d parts, want 3", len(parts))
	}
	key, err := tokenKey(parts[0])
	if err != nil {
		return nil, err
	}
	if id := enclave.KeyIDOf(key); id != issuer {
		return nil, denied("signed by key %s, want %s", id, issuer)
	}
	signature, err := decode64(parts[2])
	if err != nil {
		return nil, denied("signature: %v", err)
	}
	if !ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), signature) {
		return nil, denied("the signature is not one by key %s", issuer)
	}
	var set claimSet
	if err := decodeJSON(parts[1], &set); err != nil {
		return nil, denied("claims: %v", err)
	}
	return set.token(now)
}

func denied(format string, args ...any) error {
	return errs.New(errs.Unauthorized, "attest.token: "+format, args...)
}

// tokenKey returns the key in the header of a token.
func tokenKey(part string) (ed25519.PublicKey, error) {
	var head header
	if err := decodeJSON(part, &head); err != nil {
		return nil, denied("header: %v", err)
	}
	if head.Algorithm != algorithm || head.Type != tokenType {
		return nil, denied("algorithm %.20q and type %.20q, want %s and %s", head.Algorithm, head.Type,
			algorithm, tokenType)
	}
	id, err := head.Key.thumbprint()
	if err != nil || id != head.ID || head.Key.Curve != "Ed25519" || head.Key.Type != "OKP" {
		return nil, denied("its key is not the one that it names, or no Ed25519 key")
	}
	key, err := decode64(head.Key.X)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, denied("a key of %d bytes, want %d", len(key), ed25519.PublicKeySize)
	}
	return key, nil
}

// token checks what the claims say of themselves and returns them in short.
func (s *claimSet) token(now clock.Instant) (*Token, error) {
	at := seconds(now)
	module, found := s.Modules[submodule]
	switch {
	case s.Profile != Profile:
		return nil, denied("profile %.60q, want %s", s.Profile, Profile)
	case !found || len(s.Modules) != 1:
		return nil, denied("%d submodules, want %s alone", len(s.Modules), submodule)
	case s.Issued != s.NotBefore || s.Issued <= 0 || s.Expires <= s.Issued ||
		s.Expires-s.Issued > int64(maxLifetime/clock.Second):
		return nil, denied("issued at %d, in force from %d to %d", s.Issued, s.NotBefore, s.Expires)
	case s.Issued > at+int64(leeway/clock.Second):
		return nil, denied("issued at %d, and it is %d", s.Issued, at)
	case at >= s.Expires:
		return nil, denied("expired at %d, and it is %d", s.Expires, at)
	case !s.TEE.Known() || s.TEE != module.Evidence.TEE || s.Simulated != (s.TEE == enclave.Sim) ||
		s.Guarantee != s.TEE.Guarantee():
		return nil, denied("machine %.20q, simulated %t, guarantee %.20q", string(s.TEE), s.Simulated,
			string(s.Guarantee))
	case s.Simulated && module.Status != StatusContraindicated:
		return nil, denied("a simulation with the status %.30q, want %s", module.Status,
			StatusContraindicated)
	}
	key, err := decode64(module.Key)
	if err != nil {
		return nil, denied("key: %v", err)
	}
	e := module.Evidence
	return &Token{Issuer: s.Issuer, Issued: s.Issued, Expires: s.Expires, TEE: s.TEE,
		Simulated: s.Simulated, Guarantee: s.Guarantee, Status: module.Status, Measure: e.Measure,
		Signer: e.Signer, Product: e.Product, SVN: e.SVN, Debug: e.Debug, Policy: module.Policy,
		Result: e.Result, Key: key, ID: s.ID}, nil
}

// decode64 reads base64url in its one form: no padding, no line ends, no bits left over.
func decode64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errs.New(errs.Unauthorized, "attest.token: a line end")
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// decodeJSON reads one object and nothing after it, without fields that are not known.
func decodeJSON(part string, into any) error {
	data, err := decode64(part)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errs.New(errs.Unauthorized, "attest.token: bytes after the object")
	}
	return nil
}
