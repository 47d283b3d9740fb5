package broker

import (
	"crypto/hpke"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/client"
)

// serveAuth gives a challenge to whoever asks.
func (b *Broker) serveAuth(r *http.Request) (any, error) {
	var request client.AuthRequest
	if err := decodeBody(r, &request); err != nil {
		return nil, err
	}
	if err := checkVersion(request.Version); err != nil {
		return nil, err
	}
	if request.TEE != sampleTEE && !enclave.TEE(request.TEE).Known() {
		return nil, errs.New(errs.Invalid, "tee is %.40q, want sim, snp, tdx or tpm", request.TEE)
	}
	s, err := b.sessions.challenge(request.TEE, hostOf(r), traceOf(request.Extra), b.now())
	if err != nil {
		return nil, err
	}
	return withCookie{s.id, client.Challenge{Nonce: base64.StdEncoding.EncodeToString(s.nonce),
		Extra: json.RawMessage(`""`)}}, nil
}

// checkVersion takes every protocol 0.x, whose messages are those that are read here.
func checkVersion(version string) error {
	parts := strings.Split(version, ".")
	if len(parts) == 3 && parts[0] == "0" {
		_, minor := strconv.ParseUint(parts[1], 10, 16)
		_, patch := strconv.ParseUint(parts[2], 10, 16)
		if minor == nil && patch == nil {
			return nil
		}
	}
	return errs.New(errs.Invalid, "protocol version is %.40q, want 0.x.y", version)
}

// hostOf is the address that a limit counts for.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// traceOf reads our guests' hint. Others send nothing there, or something else.
func traceOf(extra json.RawMessage) ident.ID {
	var hint client.AuthExtra
	if json.Unmarshal(extra, &hint) != nil {
		return ident.ID{}
	}
	id, err := ident.Parse(hint.Trace)
	if err != nil || id == ident.Max {
		return ident.ID{}
	}
	return id
}

// serveAttest verifies the answer to a challenge, and admits who it shows.
func (b *Broker) serveAttest(r *http.Request) (any, error) {
	cookie, err := r.Cookie(client.Cookie)
	if err != nil {
		return nil, errs.New(errs.Unauthorized, "no cookie %s: ask for a challenge first", client.Cookie)
	}
	var message client.Attestation
	if err := decodeBody(r, &message); err != nil {
		return nil, err
	}
	s, err := b.sessions.take(cookie.Value, b.now())
	if err != nil {
		return nil, err
	}
	if err := b.verify(s, &message); err != nil {
		return nil, b.stranger(r, s, err)
	}
	token, err := b.appraise(s)
	if err != nil {
		return nil, err
	}
	if err := b.record(r.Context(), outcomeOf(s, actAppraised)); err != nil {
		return nil, err
	}
	if err := b.sessions.admit(s, token, b.now()); err != nil {
		return nil, err
	}
	return withCookie{s.id, client.TokenAnswer{Token: token}}, nil
}

// verify checks the evidence and fills in the session's claims and key.
func (b *Broker) verify(s *session, message *client.Attestation) error {
	var runtime client.RuntimeData
	if err := decodeJSON(message.RuntimeData, &runtime); err != nil {
		return errs.Wrap(err, "runtime-data")
	}
	nonce, err := client.DecodeNonce(runtime.Nonce)
	if err != nil {
		return err
	}
	if string(nonce) != string(s.nonce) {
		return errs.New(errs.Forbidden, "the nonce is not that of this session's challenge")
	}
	var form struct {
		Type string `json:"kty"`
	}
	if err := json.Unmarshal(runtime.Key, &form); err != nil {
		return errs.As(errs.Invalid, err, "tee-pubkey")
	}
	if form.Type == client.KeyType {
		return b.verifyOurs(s, runtime.Key, message.Evidence.Primary)
	}
	return b.verifyTrustee(s, message, runtime.Key)
}

// verifyOurs is verify of our own guests: evidence with a manifest, bound to an HPKE key.
func (b *Broker) verifyOurs(s *session, jwk, primary json.RawMessage) error {
	var key client.Key
	if err := decodeJSON(jwk, &key); err != nil {
		return errs.Wrap(err, "tee-pubkey")
	}
	suite, err := client.SuiteNamed(key.Algorithm)
	if err != nil {
		return err
	}
	public, err := base64.RawURLEncoding.Strict().DecodeString(key.Public)
	if err != nil || len(public) > enclave.MaxBindingKey {
		return errs.New(errs.Invalid, "tee-pubkey: pub is not base64url of at most %d bytes",
			enclave.MaxBindingKey)
	}
	kem, err := suite.KEM.NewPublicKey(public)
	if err != nil {
		return errs.As(errs.Invalid, err, "tee-pubkey: not a key of %s", suite.Name)
	}
	var form client.PrimaryEvidence
	if err := decodeJSON(primary, &form); err != nil {
		return errs.Wrap(err, "primary_evidence")
	}
	evidence, err := enclave.DecodeEvidence(form.Surety)
	if err != nil {
		return errs.As(errs.Invalid, err, "primary_evidence")
	}
	if string(evidence.TEE) != s.tee {
		return errs.New(errs.Forbidden, "the evidence is of kind %s, and the challenge was for %s",
			evidence.TEE, s.tee)
	}
	s.claims, err = b.deps.Verifier.Verify(evidence, enclave.Binding{Purpose: enclave.ForRelease,
		Nonce: client.BindingNonce(b.key, s.nonce), Key: public}, b.now())
	s.seals, s.size = hpkeSealer{kem, suite}, len(evidence.Signed)
	return err
}

// appraise issues the session's token. Its result is that of the strictest policy that knows
// nothing of the guest but its machine and measurement: what a tenant's policy says stands in the
// record of each release.
func (b *Broker) appraise(s *session) (string, error) {
	c := s.claims
	general := enclave.Policy{Name: "appraisal", TCB: enclave.TCBUnknown, Bare: c.Manifest == nil,
		Machines: []enclave.MachineRule{{TEE: c.TEE, Roots: []enclave.KeyID{c.Root},
			Platforms: [][]byte{c.Platform}}}, Measures: []enclave.Digest{c.Measure}}
	decision := general.Decide(c, enclave.Facts{Now: b.now()})
	token, err := b.issuer.Issue(c, general.Name, decision, s.seals.key(), b.now(), sessionLife)
	if err != nil {
		return "", errs.Wrap(err, "the token")
	}
	s.token, err = attest.OpenToken(token, b.key, b.now())
	return token, errs.As(errs.Internal, err, "the token")
}

// stranger records evidence that was refused, as long as there is room for such, and returns why.
func (b *Broker) stranger(r *http.Request, s *session, cause error) error {
	kept, skipped := b.strangers.admit(b.now())
	if !kept {
		return cause
	}
	o := outcomeOf(s, actRefused)
	o.Reason = cause.Error()
	if skipped > 0 {
		o.Reason += "; " + strconv.FormatUint(skipped, 10) + " more like this were not recorded"
	}
	if err := b.record(r.Context(), o); err != nil {
		return err
	}
	return cause
}

// sealer seals an answer to a guest's key.
type sealer interface {
	// key is what the token says of it.
	key() []byte
	// answer returns the body of an answer.
	answer(b *Broker, c client.Context, record string, secret []byte) (any, error)
}

// hpkeSealer is that of our guests.
type hpkeSealer struct {
	public hpke.PublicKey
	suite  client.Suite
}

func (h hpkeSealer) key() []byte { return h.public.Bytes() }

func (h hpkeSealer) answer(b *Broker, c client.Context, record string, secret []byte) (any, error) {
	sealed, err := hpke.Seal(h.public, h.suite.KDF, h.suite.AEAD, c.Info(), secret)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "seal")
	}
	answer := &client.Sealed{Record: record, Sealed: sealed}
	b.sign(c, answer)
	return answer, nil
}
