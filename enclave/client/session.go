package client

import (
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"surety/base/errs"
	"surety/enclave"
)

// Session is an admitted enclave: a token, and the private key of its evidence. Where the broker no
// longer knows it, because it restarted or the session lapsed, it attests anew, once a request.
type Session struct {
	client *Client

	mu       sync.Mutex
	proved   *proof
	released []Released
}

// Token is the broker's appraisal, an EAR: the newest, where the session attested anew.
func (s *Session) Token() string { return s.proof().token }

func (s *Session) proof() *proof {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proved
}

// Released says which record of the broker's log a release stands in, for whoever follows it.
type Released struct {
	Resource string `json:"resource"`
	Record   string `json:"record"` // id of the broker's record
}

// Releases lists what this session was given: the newest 1024, the oldest first.
func (s *Session) Releases() []Released {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.released)
}

// Release returns the secret at REPOSITORY/TYPE/TAG. Kind Forbidden with the broker's reason.
func (s *Session) Release(ctx context.Context, resource string) ([]byte, error) {
	names := strings.Split(resource, "/")
	if len(names) != 3 || slices.Contains(names, "") || len(resource) > MaxResource {
		return nil, errs.New(errs.Invalid, "client.release: %.200q is not REPOSITORY/TYPE/TAG", resource)
	}
	for i := range names {
		names[i] = url.PathEscape(names[i])
	}
	path := PathResource + strings.Join(names, "/")
	secret, record, err := s.ask(ctx, resource, func(p *proof, request string, into *Sealed) error {
		_, err := s.client.do(ctx, http.MethodGet, path, p.cookie, request, nil, into)
		return err
	})
	if err != nil {
		return nil, errs.Wrap(err, "client.release")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.released) == maxReleases {
		s.released = slices.Delete(s.released, 0, 1)
	}
	s.released = append(s.released, Released{Resource: resource, Record: record})
	return secret, nil
}

// ask makes a request whose answer is sealed, and opens it. It attests anew once where the session
// is not known any more.
func (s *Session) ask(ctx context.Context, resource string,
	send func(p *proof, request string, into *Sealed) error) (secret []byte, record string, err error) {
	for fresh := false; ; fresh = true {
		p := s.proof()
		request := newRequest()
		var answer Sealed
		err = s.client.again(ctx, func() error { return send(p, request, &answer) })
		if err == nil {
			secret, err = s.client.open(p, request, resource, &answer)
			return secret, answer.Record, err
		}
		if fresh || !expired(err) {
			return nil, "", err
		}
		if p, err = s.client.prove(ctx); err != nil {
			return nil, "", err
		}
		s.mu.Lock()
		s.proved = p
		s.mu.Unlock()
	}
}

// open checks that the pinned broker answered this request, and opens the answer.
func (c *Client) open(p *proof, request, resource string, answer *Sealed) ([]byte, error) {
	context := Context{Token: p.id, Nonce: p.nonce, Request: request, Resource: resource}
	if len(answer.Key) != ed25519.PublicKeySize || keyID(answer.Key) != c.config.Key {
		return nil, errs.New(errs.Forbidden, "broker %s: its answer is signed by another key than the "+
			"pinned %s", c.base, c.config.Key)
	}
	if !ed25519.Verify(answer.Key, context.Statement(answer), answer.Signature) {
		return nil, errs.New(errs.Forbidden, "broker %s: the signature of its answer is wrong, or for "+
			"another request", c.base)
	}
	secret, err := hpke.Open(p.key, c.suite.KDF, c.suite.AEAD, context.Info(), answer.Sealed)
	if err != nil {
		return nil, errs.As(errs.Forbidden, err, "broker %s: its answer is not sealed to this session",
			c.base)
	}
	if len(secret) > MaxSecret {
		return nil, errs.New(errs.TooLarge, "broker %s: a secret of %d bytes, the limit is %d", c.base,
			len(secret), MaxSecret)
	}
	return secret, nil
}

// keyID is enclave.KeyIDOf of a key that came from outside.
func keyID(key []byte) enclave.KeyID {
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(key))
	if err != nil {
		return enclave.KeyID{}
	}
	return sha256.Sum256(der)
}
