// Package launch starts a built enclave: it measures, attests, obtains the keys, opens the secret
// layers in memory, and lets the program run in a sandbox.
package launch

import (
	"context"
	"log/slog"
	"net/http"

	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/pack"
	"surety/sandbox/runtime"
	"surety/sys/wallclock"
)

// BrokerAt says where a broker that the manifest names listens.
type BrokerAt struct {
	URL       string
	Transport http.RoundTripper // nil: the default
}

// Order says what to start.
type Order struct {
	Instance string // name of the running enclave, as a sandbox's id
	Bundle   *pack.Bundle
	Device   attest.Device
	Brokers  map[string]BrokerAt // by the manifest's names
	Args     []string            // appended, where the manifest allows it
	Env      []string            // NAME=value of names that the manifest allows
	Shown    map[string]string   // target to directory of the host, for each Shown of the manifest
	StateDir string              // directory of the host that holds sealed states
	Ports    []runtime.Port
	Trace    ident.ID
	Labels   map[string]string
	FIPS     bool
}

// Deps are what launches share.
type Deps struct {
	Host  *runtime.Host
	Clock wallclock.Clock
	Log   *slog.Logger
}

// Opened is an enclave whose secrets are there and whose program has not begun.
type Opened struct {
	Spec runtime.Spec // what will run; its layers are memory of this process
}

// Proof says what a running enclave has shown, and to whom.
type Proof struct {
	TEE       enclave.TEE       `json:"tee"`
	Guarantee enclave.Guarantee `json:"guarantee"`
	Measure   enclave.Digest    `json:"measure"`
	Signer    enclave.KeyID     `json:"signer"`
	Product   string            `json:"product"`
	SVN       uint64            `json:"svn"`
	Tokens    map[string]string `json:"tokens"` // appraisals, by broker
	Released  []Release         `json:"released"`
}

// Release is one secret that was released to the enclave.
type Release struct {
	Broker   string `json:"broker"`
	Resource string `json:"resource"`
	Record   string `json:"record"` // of the broker's log
}

// Open measures, attests, obtains keys and opens layers and states. On an error nothing is left.
func Open(ctx context.Context, d Deps, o Order) (*Opened, error) { panic("unimplemented") }

// Proof is what was shown on the way.
func (o *Opened) Proof() Proof { panic("unimplemented") }

// Create boots the sandbox up to its gate, as runtime.Host.Create does.
func (o *Opened) Create(ctx context.Context, io runtime.Stdio) (*runtime.Sandbox, error) {
	panic("unimplemented")
}

// Close gives back leases and memory; to be called once the sandbox has ended.
func (o *Opened) Close(ctx context.Context) error { panic("unimplemented") }
