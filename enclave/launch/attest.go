package launch

import (
	"context"
	"sync"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/client"
)

// Attester makes evidence that the enclave of one manifest runs on this machine.
type Attester struct {
	device  attest.Device
	signed  []byte
	measure enclave.Digest
}

// Attester returns what makes evidence for the enclave. It lives as long as the device that the order
// named.
func (o *Opened) Attester() *Attester {
	return &Attester{device: o.order.Device, signed: o.order.Bundle.SignedBytes(), measure: o.measure}
}

// TEE is the device's kind.
func (a *Attester) TEE() enclave.TEE { return a.device.TEE() }

// Measure is the manifest's.
func (a *Attester) Measure() enclave.Digest { return a.measure }

// Evidence makes evidence for a binding, whose measurement is the enclave's own.
func (a *Attester) Evidence(ctx context.Context, b enclave.Binding) (*enclave.Evidence, error) {
	b.Measure = a.measure
	return attest.Make(ctx, a.device, a.signed, b)
}

// attest shows evidence to every broker that has an address, all at once.
func (o *Opened) attest(ctx context.Context) error {
	sessions := make([]*client.Session, len(o.manifest.Brokers))
	failed := make([]error, len(o.manifest.Brokers))
	var workers sync.WaitGroup
	for i, b := range o.manifest.Brokers {
		if at, given := o.order.Brokers[b.Name]; given {
			workers.Go(func() {
				sessions[i], failed[i] = o.meet(ctx, b, at)
				failed[i] = errs.Wrap(failed[i], "broker %s", b.Name)
			})
		}
	}
	workers.Wait()
	o.sessions = map[string]*client.Session{}
	for i, b := range o.manifest.Brokers {
		if failed[i] != nil {
			return failed[i]
		}
		if sessions[i] != nil {
			o.sessions[b.Name] = sessions[i]
		}
	}
	return nil
}

// meet runs challenge and response with one broker.
func (o *Opened) meet(ctx context.Context, b enclave.Broker, at BrokerAt) (*client.Session, error) {
	key := b.Key
	if key.IsZero() {
		key = at.Key
	}
	c, err := client.New(client.Config{URL: at.URL, Key: key, Transport: at.Transport,
		Attester: o.Attester(), Clock: o.deps.Clock, FIPS: o.order.FIPS, Trace: o.order.Trace})
	if err != nil {
		return nil, err
	}
	return c.Attest(ctx)
}
