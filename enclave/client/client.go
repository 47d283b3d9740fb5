// Package client is an enclave's side of a key broker: it answers the broker's challenge with
// evidence and opens what the broker seals to the key in it.
//
// Think of two sealed directions. The evidence is bound to a fresh key of this session, to the
// broker's challenge and to the broker itself; whatever comes back is sealed to that key, for one
// request, and signed by the broker's key that the manifest pins. Who stands between them can refuse
// service and learn who asks for what; he can read nothing and replace nothing.
//
// # Invariants
//
//   - A secret is returned only if the pinned broker signed it for this request, and it opens with
//     this session's key.
//   - A private key never leaves its session, and a session has its own.
//   - Only what found nobody (kind Unavailable) is asked again. A refusal is final. A request whose
//     answer was lost may have been counted by the broker.
//
// # Boundaries
//
// How evidence is made stands behind Attester. The messages' forms, which the broker shares, stand
// in wire.go. TLS is used where the address says https, and protects what is asked for from being
// seen; no secret rests on it.
//
// # Concurrency
//
// A Client, a Session and a Lease may each be used by many goroutines. An open lease has one
// goroutine, which Close ends. Session.mu is never held across a request.
//
// # Sources
//
// Trustee's kbs_attestation_protocol.md; RFC 9180 (HPKE); RFC 7807; decision 0042.
package client

import (
	"bytes"
	"context"
	"crypto/hpke"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// Attester makes evidence for this enclave.
type Attester interface {
	TEE() enclave.TEE
	Evidence(ctx context.Context, b enclave.Binding) (*enclave.Evidence, error)
	// Measure is that of the manifest which evidence is made for.
	Measure() enclave.Digest
}

// Config says which broker.
type Config struct {
	URL       string            // base address, https, or http on loopback
	Key       enclave.KeyID     // of the key that signs its tokens: another broker is refused
	Transport http.RoundTripper // nil: the default one
	Attester  Attester
	Clock     wallclock.Clock
	FIPS      bool     // DHKEM(P-384) instead of ML-KEM-768 with X25519
	Trace     ident.ID // of the run; the broker's records name it. Zero: none
}

// Client speaks with one broker.
type Client struct {
	config Config
	base   string
	http   *http.Client
	suite  Suite
}

// New checks the configuration; nothing is sent. Kind Invalid.
func New(c Config) (*Client, error) {
	base, err := url.Parse(c.URL)
	switch {
	case err != nil || base.Host == "" || base.RawQuery != "" || base.User != nil:
		return nil, errs.New(errs.Invalid, "client.new: broker address %.200q is not http(s)://HOST[:PORT]",
			c.URL)
	case base.Scheme != "https" && !(base.Scheme == "http" && private(base.Hostname(), c.Transport)):
		return nil, errs.New(errs.Invalid, "client.new: broker address %.200q: want https, or http on "+
			"loopback", c.URL)
	case c.Key.IsZero():
		return nil, errs.New(errs.Invalid, "client.new: broker %s: no key is pinned", base.Host)
	case c.Attester == nil || c.Clock == nil:
		return nil, errs.New(errs.Invalid, "client.new: broker %s: no attester or no clock", base.Host)
	}
	suite := Hybrid()
	if c.FIPS {
		suite = FIPS()
	}
	return &Client{config: c, base: strings.TrimSuffix(c.URL, "/"), suite: suite, http: &http.Client{
		Transport:     c.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// private reports whether nobody else hears what is sent there.
func private(host string, transport http.RoundTripper) bool {
	if _, within := transport.(inside); within || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Attest runs challenge and response, and returns the session that was admitted. Kind Forbidden with
// the broker's reason where it was not.
func (c *Client) Attest(ctx context.Context) (*Session, error) {
	proved, err := c.prove(ctx)
	if err != nil {
		return nil, err
	}
	return &Session{client: c, proved: proved}, nil
}

// proof is one appraisal: what it was made for, and what it gave.
type proof struct {
	cookie string
	nonce  []byte
	key    hpke.PrivateKey
	token  string
	id     string // of the token
}

// prove runs the exchange, as a whole again where the broker was not there: a challenge serves once.
func (c *Client) prove(ctx context.Context) (p *proof, err error) {
	err = c.again(ctx, func() error {
		p, err = c.exchange(ctx)
		return err
	})
	return p, err
}

func (c *Client) exchange(ctx context.Context) (*proof, error) {
	key, err := c.suite.KEM.GenerateKey()
	if err != nil {
		return nil, errs.As(errs.Internal, err, "client.attest: key")
	}
	p := &proof{key: key}
	if err := c.challenge(ctx, p); err != nil {
		return nil, err
	}
	message, err := c.attestation(ctx, p)
	if err != nil {
		return nil, err
	}
	var answer TokenAnswer
	if _, err := c.post(ctx, PathAttest, p.cookie, "", message, &answer); err != nil {
		return nil, err
	}
	token, err := attest.OpenToken(answer.Token, c.config.Key, c.config.Clock.Now())
	if err != nil {
		return nil, errs.As(errs.Forbidden, err, "client.attest: broker %s: its token", c.base)
	}
	if !bytes.Equal(token.Key, key.PublicKey().Bytes()) || token.Measure != c.config.Attester.Measure() {
		return nil, errs.New(errs.Forbidden, "client.attest: broker %s: its token is for another key or "+
			"measurement", c.base)
	}
	p.token, p.id = answer.Token, token.ID
	return p, nil
}

// challenge asks for one, and keeps it with the session's cookie.
func (c *Client) challenge(ctx context.Context, p *proof) error {
	extra := json.RawMessage(`""`)
	if !c.config.Trace.IsZero() {
		encoded, err := json.Marshal(AuthExtra{Trace: c.config.Trace.String()})
		if err != nil {
			return errs.As(errs.Internal, err, "client.attest")
		}
		extra = encoded
	}
	var challenge Challenge
	request := AuthRequest{Version: Version, TEE: string(c.config.Attester.TEE()), Extra: extra}
	cookies, err := c.post(ctx, PathAuth, "", "", request, &challenge)
	if err != nil {
		return err
	}
	for _, cookie := range cookies {
		if cookie.Name == Cookie {
			p.cookie = cookie.Value
		}
	}
	p.nonce, err = DecodeNonce(challenge.Nonce)
	if err != nil || p.cookie == "" {
		return errs.New(errs.Invalid, "client.attest: broker %s: its challenge has no cookie or no nonce",
			c.base)
	}
	return nil
}

// attestation makes evidence bound to challenge, broker and key.
func (c *Client) attestation(ctx context.Context, p *proof) (*Attestation, error) {
	public := p.key.PublicKey().Bytes()
	made, err := c.config.Attester.Evidence(ctx, enclave.Binding{Purpose: enclave.ForRelease,
		Nonce: BindingNonce(c.config.Key, p.nonce), Key: public, Measure: c.config.Attester.Measure()})
	if err != nil {
		return nil, errs.Wrap(err, "client.attest: evidence")
	}
	encoded, err := made.Encode()
	if err != nil {
		return nil, errs.Wrap(err, "client.attest: evidence")
	}
	primary, err := json.Marshal(PrimaryEvidence{Surety: encoded})
	if err != nil {
		return nil, errs.As(errs.Internal, err, "client.attest")
	}
	key, err := json.Marshal(Key{Type: KeyType, Algorithm: c.suite.Name,
		Public: base64.RawURLEncoding.EncodeToString(public)})
	if err != nil {
		return nil, errs.As(errs.Internal, err, "client.attest")
	}
	runtime, err := json.Marshal(RuntimeData{
		Nonce: base64.StdEncoding.EncodeToString(p.nonce), Key: key})
	if err != nil {
		return nil, errs.As(errs.Internal, err, "client.attest")
	}
	return &Attestation{RuntimeData: runtime, Evidence: TEEEvidence{Primary: primary}}, nil
}

// again runs act until it ends in anything but Unavailable, at most attempts times.
func (c *Client) again(ctx context.Context, act func() error) error {
	pause := pauseFirst
	for left := attempts; ; left-- {
		err := act()
		if !errs.Is(err, errs.Unavailable) || left == 1 {
			return err
		}
		timer := c.config.Clock.NewTimer(pause)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return errs.As(errs.Canceled, ctx.Err(), "%s", c.base)
		}
		pause *= 4
	}
}

func (c *Client) post(ctx context.Context, path, cookie, request string, body, into any,
) ([]*http.Cookie, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "client: %s", path)
	}
	return c.do(ctx, http.MethodPost, path, cookie, request, bytes.NewReader(encoded), into)
}

// do makes one request and decodes its answer. Kind Unavailable where nobody answered; otherwise the
// broker's, with its reason.
func (c *Client) do(ctx context.Context, method, path, cookie, request string, body io.Reader,
	into any) ([]*http.Cookie, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "%s", c.base)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: Cookie, Value: cookie})
	}
	if request != "" {
		r.Header.Set(RequestHeader, request)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		kind := errs.Unavailable
		if ctx.Err() != nil {
			kind = errs.Canceled
		}
		return nil, errs.As(kind, err, "%s", c.base)
	}
	defer answer.Body.Close() // it was read, or is of no use
	content, err := io.ReadAll(io.LimitReader(answer.Body, MaxMessage+1))
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "%s: its answer broke off", c.base)
	}
	if len(content) > MaxMessage {
		return nil, errs.New(errs.TooLarge, "%s: an answer of more than %d bytes", c.base,
			MaxMessage)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, c.refusal(answer.StatusCode, content)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return nil, errs.As(errs.Invalid, err, "%s: its answer", c.base)
	}
	return answer.Cookies(), nil
}

// refusal gives an answer that is none back as the error that the broker had.
func (c *Client) refusal(status int, content []byte) error {
	return errs.Wrap(Refusal(status, content), "%s", c.base)
}

// Refusal returns the error in a broker's answer: its kind and its reason.
func Refusal(status int, content []byte) error {
	kind := kindOf(status)
	var problem Problem
	if json.Unmarshal(content, &problem) != nil || problem.Detail == "" {
		return errs.New(kind, "HTTP status %d", status)
	}
	if named, found := errs.KindNamed(problem.Kind); found {
		kind = named
	}
	return errs.New(kind, "%.1000s", problem.Detail)
}

// kindOf is for brokers and proxies that name no kind.
func kindOf(status int) errs.Kind {
	switch status {
	case http.StatusBadRequest:
		return errs.Invalid
	case http.StatusUnauthorized:
		return errs.Unauthorized
	case http.StatusForbidden:
		return errs.Forbidden
	case http.StatusNotFound:
		return errs.NotFound
	case http.StatusRequestEntityTooLarge:
		return errs.TooLarge
	case http.StatusTooManyRequests:
		return errs.Busy
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return errs.Unavailable
	}
	return errs.Internal
}

// newRequest returns a name that no other request has.
func newRequest() string {
	var name [16]byte
	entropy.System().Fill(name[:])
	return hex.EncodeToString(name[:])
}

// expired reports whether an error says that the broker no longer knows the session.
func expired(err error) bool { return errs.Is(err, errs.Unauthorized) }

// leaseTime is how long a grant lasts, never longer than what a client may believe.
func leaseTime(millis int64) clock.Duration {
	return min(max(clock.Duration(millis)*clock.Millisecond, 0), LeaseTime)
}
