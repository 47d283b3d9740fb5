package launch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/broker"
	"surety/enclave/client"
	"surety/enclave/layer"
	"surety/enclave/pack"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// Local is the key broker of this machine: the same broker that others run as a service, in this
// process, over a directory. Whoever has the directory has the secrets. What it gives is that one
// command runs an enclave by the way that it takes everywhere, refusals included.
//
// Several processes may use one directory. The store is one process's at a time, so a Local opens it
// for each request and closes it behind it; between Hold and LetGo it stays open, because a challenge
// and its answer belong to one process. It implements http.RoundTripper.
type Local struct {
	config LocalConfig

	mu     sync.Mutex // held during a request
	broker *broker.Broker
	held   bool
}

// LocalConfig says where a local broker is, and whom it can believe.
type LocalConfig struct {
	Dir      string // of the store, made where absent
	Device   attest.Device
	Verifier *attest.Verifier // accepts evidence of Device
	Clock    wallclock.Clock  // nil: the machine's
	Log      *slog.Logger     // nil: none
}

// NewLocal checks the configuration; nothing is opened.
func NewLocal(c LocalConfig) (*Local, error) {
	if c.Dir == "" || c.Device == nil || c.Verifier == nil {
		return nil, errs.New(errs.Invalid, "launch.local: no directory, device or verifier")
	}
	if c.Clock == nil {
		c.Clock = wallclock.System()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Local{config: c}, nil
}

// localURL is where requests to it say that they go.
const localURL = "http://127.0.0.1"

// At is the address of the broker, with the key that it is known by, which it has once Hold returned.
func (l *Local) At() BrokerAt {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := BrokerAt{URL: localURL, Transport: l}
	if l.broker != nil {
		at.Key = l.broker.Key()
	}
	return at
}

// Hold opens the store, waiting for others who have it, and keeps it. Kind Locked where somebody keeps
// it longer than localPatience.
func (l *Local) Hold(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(ctx); err != nil {
		return err
	}
	l.held = true
	return nil
}

// LetGo closes the store for others. Without Hold before, it does nothing.
func (l *Local) LetGo() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	return l.close()
}

// open opens the store, as soon as it can be had; l.mu is held.
func (l *Local) open(ctx context.Context) error {
	if l.broker != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(localPatience))
	defer cancel()
	for {
		b, err := broker.Open(ctx, broker.Config{Dir: l.config.Dir, Name: enclave.LocalBroker,
			Direct: true},
			broker.Deps{Verifier: l.config.Verifier, Log: l.config.Log, Clock: l.config.Clock})
		if err == nil {
			l.broker = b
			return nil
		}
		if !errs.Is(err, errs.Locked) {
			return errs.Wrap(err, "launch.local")
		}
		timer := l.config.Clock.NewTimer(localPace)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return errs.Wrap(err, "launch.local: others keep it for more than %s", time.Duration(localPatience))
		}
	}
}

func (l *Local) close() error {
	if l.broker == nil || l.held {
		return nil
	}
	err := l.broker.Close()
	l.broker = nil
	return errs.Wrap(err, "launch.local")
}

// RoundTrip implements http.RoundTripper: a request to the broker, which is opened for it where it is
// not held.
func (l *Local) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	if err := l.open(r.Context()); err != nil {
		l.mu.Unlock()
		return nil, err
	}
	if l.held { // many requests at once, as at a socket
		handler := l.broker.Handler()
		l.mu.Unlock()
		return client.Inside(handler).RoundTrip(r)
	}
	defer l.mu.Unlock()
	response, err := client.Inside(l.broker.Handler()).RoundTrip(r)
	return response, errors.Join(err, l.close())
}

// Entrust gives the broker what a project's owner has: the keys of the bundle's secret layers that are
// asked for here, which keys returns by the layer's name, and a policy that releases them, and the
// enclave's states, to this signer's product from this version on, on this very machine as it is now,
// and to nobody else. The store must be held. A key that its owner does not have here, kind NotFound,
// must be with the broker already.
func (l *Local) Entrust(ctx context.Context, b *pack.Bundle,
	keys func(name string) (layer.Key, error)) error {
	l.mu.Lock()
	held := l.broker
	l.mu.Unlock()
	if held == nil {
		return errs.New(errs.Invalid, "launch.local: it is not held")
	}
	signed := b.Signed()
	policy, err := l.policy(ctx, b)
	if err != nil {
		return err
	}
	for i := range signed.Manifest.Layers {
		where, found := strings.CutPrefix(signed.Manifest.Layers[i].Key, enclave.LocalBroker+"/")
		names := strings.Split(where, "/")
		if !found || len(names) != 3 {
			continue
		}
		if err := l.put(ctx, held, &signed.Manifest.Layers[i], names, keys); err != nil {
			return err
		}
		if err := held.SetPolicy(ctx, names[0], names[1]+"/"+names[2], policy); err != nil {
			return errs.Wrap(err, "launch.local: policy of layer %s", signed.Manifest.Layers[i].Name)
		}
	}
	return l.admitStates(ctx, held, signed.Manifest, policy)
}

// put stores a layer's key, where the owner has it.
func (l *Local) put(ctx context.Context, to *broker.Broker, of *enclave.Layer, names []string,
	keys func(name string) (layer.Key, error)) error {
	key, err := keys(of.Name)
	if errs.Is(err, errs.NotFound) {
		has, failed := to.HasSecret(ctx, names[0], names[1], names[2])
		if has || failed != nil {
			return errs.Wrap(failed, "launch.local: key of layer %s", of.Name)
		}
	}
	if err != nil {
		return errs.Wrap(err, "launch.local: key of layer %s", of.Name)
	}
	defer clear(key[:])
	return errs.Wrap(to.PutSecret(ctx, names[0], names[1], names[2], key[:], true),
		"launch.local: key of layer %s", of.Name)
}

// policy is whom the local broker releases to: the machine is what its own evidence shows just now.
func (l *Local) policy(ctx context.Context, b *pack.Bundle) (enclave.Policy, error) {
	signed := b.Signed()
	nonce := make([]byte, enclave.MaxNonce)
	entropy.System().Fill(nonce)
	bind := enclave.Binding{Purpose: enclave.ForAudit, Nonce: nonce, Measure: signed.Measure}
	e, err := attest.Make(ctx, l.config.Device, b.SignedBytes(), bind)
	if err != nil {
		return enclave.Policy{}, errs.Wrap(err, "launch.local: evidence of this machine")
	}
	claims, err := l.config.Verifier.Verify(e, bind, l.config.Clock.Now())
	if err != nil {
		return enclave.Policy{}, errs.Wrap(err, "launch.local: this machine's own evidence does not "+
			"verify here")
	}
	rule := enclave.MachineRule{TEE: claims.TEE, Roots: []enclave.KeyID{claims.Root},
		Platforms: [][]byte{bytes.Clone(claims.Platform)}}
	if len(claims.Chip) > 0 {
		rule.Chips = [][]byte{bytes.Clone(claims.Chip)}
	}
	m := signed.Manifest
	return enclave.Policy{Name: "local-" + m.Product, Machines: []enclave.MachineRule{rule},
		Signers: []enclave.SignerRule{{Signer: signed.Signer, Product: m.Product, MinSVN: m.SVN}},
		Debug:   m.Debug, TCB: enclave.TCBUnknown, Contract: m.Contract}, nil
}

// admitStates lets the enclave have those of its sealed states that this broker keeps, as the product's.
func (l *Local) admitStates(ctx context.Context, to *broker.Broker, m *enclave.Manifest,
	p enclave.Policy) error {
	for _, s := range m.State {
		if s.Broker != enclave.LocalBroker {
			continue
		}
		if err := to.SetPolicy(ctx, m.Product, "state/"+s.Name, p); err != nil {
			return errs.Wrap(err, "launch.local: policy of state %s", s.Name)
		}
	}
	return nil
}
