// Package broker keeps secrets and releases them to enclaves that prove what they are.
package broker

import (
	"context"
	"log/slog"
	"net/http"

	"surety/base/clock"
	"surety/enclave"
	"surety/enclave/attest"
	evidence "surety/evidence/client"
	"surety/sys/wallclock"
)

// Config says where a broker keeps what it has.
type Config struct {
	Dir  string // database, master key and token key; made where absent, mode 0700
	Name string // "iss" of its tokens
}

// Deps are what it works with.
type Deps struct {
	Verifier *attest.Verifier
	Log      *slog.Logger
	Clock    wallclock.Clock
	Evidence evidence.Appender                                               // where releases and refusals are recorded; nil: its own database alone
	Logged   func(ctx context.Context, measure enclave.Digest) (bool, error) // nil: nothing is
}

// Broker is a key broker. It may be used by many goroutines.
type Broker struct{}

// Open opens the store, and recovers what a crash left half done: a release that was not recorded did
// not happen.
func Open(ctx context.Context, c Config, d Deps) (*Broker, error) { panic("unimplemented") }

// Key is the id of the key that signs its tokens.
func (b *Broker) Key() enclave.KeyID { panic("unimplemented") }

// Handler serves guests: /kbs/v0/auth, /kbs/v0/attest, /kbs/v0/resource/REPOSITORY/TYPE/TAG and
// /kbs/v0/state/...
func (b *Broker) Handler() http.Handler { panic("unimplemented") }

// Close ends it; what is being released is finished or refused.
func (b *Broker) Close() error { panic("unimplemented") }

// PutSecret stores a secret of a tenant. The repository is the tenant's name. Kind Exists where
// another stands there, unless replace.
func (b *Broker) PutSecret(ctx context.Context, tenant, kind, tag string, secret []byte,
	replace bool) error {
	panic("unimplemented")
}

// SetPolicy says to whom a tenant's secrets whose KIND/TAG match the pattern are released. The most
// exact pattern counts; a secret without a policy is released to nobody.
func (b *Broker) SetPolicy(ctx context.Context, tenant, pattern string, p enclave.Policy) error {
	panic("unimplemented")
}

// Approve takes an owner's signature over Policy.Approval.
func (b *Broker) Approve(ctx context.Context, tenant, pattern string, measure enclave.Digest,
	owner []byte, signature []byte) error {
	panic("unimplemented")
}

// Outcome is one record of what the broker did.
type Outcome struct {
	ID        string            `json:"id"`
	At        clock.Instant     `json:"at"`
	Act       string            `json:"act"` // attested, released, refused, state opened, state refused...
	Tenant    string            `json:"tenant"`
	Resource  string            `json:"resource"`
	Policy    string            `json:"policy"`
	TEE       enclave.TEE       `json:"tee"`
	Guarantee enclave.Guarantee `json:"guarantee"`
	Measure   enclave.Digest    `json:"measure"`
	Signer    enclave.KeyID     `json:"signer"`
	Product   string            `json:"product"`
	SVN       uint64            `json:"svn"`
	Reason    string            `json:"reason"` // of a refusal: the result's sentence
	Token     string            `json:"token"`  // id of the appraisal
	Checks    []enclave.Check   `json:"checks"`
}

// Outcomes lists the newest records of a tenant, the newest first; tenant "" is all.
func (b *Broker) Outcomes(ctx context.Context, tenant string, limit int) ([]Outcome, error) {
	panic("unimplemented")
}
