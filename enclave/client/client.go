// Package client is an enclave's side of a key broker: it answers the broker's challenge with
// evidence and opens what the broker seals to the key in it.
package client

import (
	"context"
	"net/http"

	"surety/enclave"
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
	FIPS      bool // DHKEM(P-384) instead of ML-KEM-768 with X25519
}

// Client speaks with one broker.
type Client struct{}

// New checks the configuration; nothing is sent.
func New(c Config) (*Client, error) { panic("unimplemented") }

// Attest runs challenge and response, and returns the session that was admitted. Kind Forbidden with
// the broker's reason where it was not.
func (c *Client) Attest(ctx context.Context) (*Session, error) { panic("unimplemented") }

// Session is an admitted enclave: a token, and the private key of its evidence.
type Session struct{}

// Token is the broker's appraisal, an EAR.
func (s *Session) Token() string { panic("unimplemented") }

// Release returns the secret at REPOSITORY/TYPE/TAG. Kind Forbidden with the broker's reason.
func (s *Session) Release(ctx context.Context, resource string) ([]byte, error) {
	panic("unimplemented")
}

// Released says which record of the broker's log a release stands in, for whoever follows it.
type Released struct {
	Resource string `json:"resource"`
	Record   string `json:"record"` // id of the broker's record
}

// Releases lists what this session was given.
func (s *Session) Releases() []Released { panic("unimplemented") }

// StateRequest names a sealed state.
type StateRequest struct {
	Instance string // of the enclave: one instance has one state of a name
	Name     string
}

// OpenState leases a state: nobody else has it until the lease is closed or lapses. Kind Locked
// where somebody has.
func (s *Session) OpenState(ctx context.Context, r StateRequest) (*Lease, error) {
	panic("unimplemented")
}

// StateKey is a state's key for one SVN.
type StateKey struct {
	SVN uint64
	Key [32]byte
}

// Lease is the right to write one state, and what the broker remembers of it.
type Lease struct{}

// Keys are those of this enclave's SVN and every older one that has been used, the newest first.
func (l *Lease) Keys() []StateKey { panic("unimplemented") }

// Last is the epoch and root of the last commit; zero before the first.
func (l *Lease) Last() (epoch uint64, root enclave.Digest) { panic("unimplemented") }

// Commit tells the broker that the state is now at the epoch, which must be one more than the last,
// with the root. It returns once the broker has it for good. A lease that was lost is kind Locked:
// nothing more may be written.
func (l *Lease) Commit(ctx context.Context, epoch uint64, root enclave.Digest) error {
	panic("unimplemented")
}

// Close gives the lease back. It is renewed meanwhile by a goroutine that Close ends.
func (l *Lease) Close(ctx context.Context) error { panic("unimplemented") }
