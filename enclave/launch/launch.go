// Package launch starts a built enclave: it measures, attests, obtains the keys, opens the secret
// layers in memory, and lets the program run in a sandbox.
//
// Think of Open as the way from a bundle, which anybody may have made, to a specification whose every
// byte is what the manifest measures. Its steps are in an order in which nothing is shown or asked
// for before what it rests on was checked: what may be asked of the manifest, the files of the
// bundle, the evidence, the keys, the plaintext. What Open returns boots as any sandbox does; its
// layers are memory of this process, which is sent to the sandbox's supervisor.
//
// # Invariants
//
//   - What runs is what the manifest says: whoever starts an enclave adds only the arguments, the
//     variables and the directories that the manifest leaves open.
//   - Plaintext of a secret layer is in locked memory alone, and in no file.
//   - A key is cleared once its layer is open.
//   - A step that fails leaves nothing: no sandbox, no memory, no lease.
//
// # Boundaries
//
// Who may have a key is the broker's to decide, and how evidence is made the device's. The launcher
// runs inside the machine that the evidence is about; on a simulated one nothing is protected from
// whoever runs it, and Notice says so.
//
// # Concurrency
//
// Open works on a layer each in a goroutine, and waits for all of them. An Opened is used by one
// goroutine, but Evidence may be called by many.
//
// # Sources
//
// Decision 0031 (what is measured), 0039 (sealed state), 0042 (key broker).
package launch

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/client"
	"surety/enclave/layer"
	"surety/enclave/pack"
	"surety/sandbox/image"
	"surety/sandbox/runtime"
	"surety/sys/wallclock"
)

// BrokerAt says where a broker that the manifest names listens.
type BrokerAt struct {
	URL       string
	Transport http.RoundTripper // nil: the default

	// Key of a broker whose key the manifest does not pin, which only enclave.LocalBroker may be.
	Key enclave.KeyID
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
	Terminal bool
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

	deps     Deps
	order    Order
	manifest *enclave.Manifest
	measure  enclave.Digest
	signer   enclave.KeyID
	sessions map[string]*client.Session // by the manifest's names of brokers
	images   []*image.Sealed            // public layers
	keys     []layer.Key                // by layer; zero once used
	memories []*image.Memory            // by layer; nil of public ones
	states   []*sealedState
	timings  []Timing
}

// Timing is how long one step of a start took.
type Timing struct {
	Step   string        `json:"step"`
	Lasted time.Duration `json:"ns"`
}

// Open measures, attests, obtains keys and opens layers and states. On an error nothing is left: kind
// Refused where the manifest does not allow what is asked, Corrupt where the bundle is not what the
// manifest measures, Forbidden with the broker's reason, Unauthorized where a key is not the layer's.
func Open(ctx context.Context, d Deps, o Order) (*Opened, error) {
	return open(ctx, d, o, func(string) error { return nil })
}

// open is Open with a place to fail at behind each step.
func open(ctx context.Context, d Deps, o Order, after func(step string) error) (*Opened, error) {
	if d.Clock == nil {
		d.Clock = wallclock.System()
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	p := &Opened{deps: d, order: o}
	for _, step := range p.steps() {
		began := d.Clock.Now()
		err := step.take(ctx)
		if err == nil {
			err = after(step.name)
		}
		if err != nil {
			return nil, errors.Join(errs.Wrap(err, "launch.%s", step.name), p.undo(ctx))
		}
		p.timed(step.name, began)
	}
	return p, nil
}

// step is one part of the way.
type step struct {
	name string
	take func(context.Context) error
}

func (o *Opened) steps() []step {
	return []step{
		{"order", o.check}, {"measure", o.verify}, {"attest", o.attest}, {"release", o.obtain},
		{"unseal", o.unseal}, {"state", o.openStates}, {"compose", o.compose},
	}
}

func (o *Opened) timed(step string, began clock.Instant) {
	lasted := time.Duration(o.deps.Clock.Now().Sub(began))
	o.timings = append(o.timings, Timing{Step: step, Lasted: lasted})
}

// Timings are how long each step took so far, in their order.
func (o *Opened) Timings() []Timing { return o.timings }

// undo is Close after a failure, also where ctx is what failed.
func (o *Opened) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(undoPatience))
	defer cancel()
	return o.Close(ctx)
}

// Create boots the sandbox up to its gate, as runtime.Host.Create does. The supervisor has the layers
// then; leases stay with this process.
func (o *Opened) Create(ctx context.Context, io runtime.Stdio) (*runtime.Sandbox, error) {
	began := o.deps.Clock.Now()
	s, err := o.deps.Host.Create(ctx, o.Spec, io)
	o.timed("boot", began)
	return s, errs.Wrap(o.refusal(err), "launch.boot")
}

// Run runs the program to its end with this process as the supervisor, as runtime.Host.Run does.
func (o *Opened) Run(ctx context.Context, io runtime.Stdio, patience time.Duration) (runtime.State,
	error) {
	began, told := o.deps.Clock.Now(), io.HandedOver
	io.HandedOver = func() {
		o.timed("boot", began)
		if told != nil {
			told()
		}
	}
	st, err := o.deps.Host.Run(ctx, o.Spec, io, patience)
	return st, errs.Wrap(o.refusal(err), "launch.boot")
}

// Close gives back leases and memory; to be called once the sandbox has ended. Closing again does
// nothing.
func (o *Opened) Close(ctx context.Context) error {
	var failed []error
	clear(o.keys)
	failed = append(failed, o.closeStates(ctx))
	for _, m := range o.memories {
		if m != nil {
			failed = append(failed, m.Close())
		}
	}
	for _, s := range o.images {
		failed = append(failed, s.Close())
	}
	o.memories, o.images, o.keys = nil, nil, nil
	return errs.Wrap(errors.Join(failed...), "launch.close")
}
