package bench

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/broker"
	"surety/enclave/client"
	"surety/enclave/layer"
	"surety/sys/entropy"
)

// benchTenant is whose secret is released.
const benchTenant = "bench"

// guest is an enclave as a broker sees it: evidence for one signed manifest.
type guest struct {
	device attest.Device
	signed enclave.Signed
	bytes  []byte
	root   enclave.KeyID // that its device's word ends in
}

func (g guest) TEE() enclave.TEE        { return g.device.TEE() }
func (g guest) Measure() enclave.Digest { return g.signed.Measure }

func (g guest) Evidence(ctx context.Context, b enclave.Binding) (*enclave.Evidence, error) {
	return attest.Make(ctx, g.device, g.bytes, b)
}

// release asks a broker over loopback for one key again and again, from the challenge on: evidence is
// made, appraised, recorded, and the key sealed to it, each time.
func (b *enclaveBench) release(ctx context.Context) (err error) {
	g, verifier, err := b.guest(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.device.Close()) }()
	keeper, err := broker.Open(ctx, broker.Config{Dir: filepath.Join(b.config.Dir, "broker"),
		Name: "bench"}, broker.Deps{Verifier: verifier, Clock: b.clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keeper.Close()) }()
	if err := b.admit(ctx, keeper, g); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errs.As(errs.Unavailable, err, "port")
	}
	server := &http.Server{Handler: keeper.Handler()}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		err = errors.Join(err, server.Close())
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
	}()
	return b.releases(ctx, client.Config{URL: "http://" + l.Addr().String(), Key: keeper.Key(),
		Attester: g, Clock: b.clock})
}

// guest makes an enclave of the smallest program, on the machine's simulation.
func (b *enclaveBench) guest(ctx context.Context) (g guest, v *attest.Verifier, err error) {
	out := filepath.Join(b.config.Dir, "guest")
	made, _, err := b.bundle(ctx, enclave.Public, out, layer.Key{}, newSigner())
	if err != nil {
		return g, nil, err
	}
	g.signed, g.bytes = made.Signed(), made.SignedBytes()
	if err := made.Close(); err != nil {
		return g, nil, err
	}
	o := attest.Options{SimDir: filepath.Join(b.config.Dir, "simulated"), Program: b.config.Program}
	root, err := attest.SimRoot(o)
	if err != nil {
		return g, nil, err
	}
	if g.root, err = attest.SimRootID(root); err != nil {
		return g, nil, err
	}
	if v, err = attest.NewVerifier(attest.Roots{Sim: [][]byte{root}}); err != nil {
		return g, nil, err
	}
	g.device, err = attest.OpenDevice(ctx, enclave.Sim, o)
	return g, v, err
}

// admit stores a key and a policy that releases it to the guest's signer.
func (b *enclaveBench) admit(ctx context.Context, keeper *broker.Broker, g guest) error {
	key := make([]byte, layer.KeyBytes)
	entropy.System().Fill(key)
	m := g.signed.Manifest
	return errors.Join(keeper.PutSecret(ctx, benchTenant, "layer-key", "tree", key, false),
		keeper.SetPolicy(ctx, benchTenant, "layer-key/tree", enclave.Policy{Name: "bench",
			TCB:      enclave.TCBUnknown,
			Machines: []enclave.MachineRule{{TEE: enclave.Sim, Roots: []enclave.KeyID{g.root}}},
			Signers: []enclave.SignerRule{{Signer: g.signed.Signer, Product: m.Product,
				MinSVN: m.SVN}}}))
}

// releases measures a release whole, and the two halves of it.
func (b *enclaveBench) releases(ctx context.Context, c client.Config) error {
	var whole, attested, released []float64
	for range b.config.Releases {
		began := b.clock.Now()
		asks, err := client.New(c)
		if err != nil {
			return err
		}
		session, err := asks.Attest(ctx)
		if err != nil {
			return err
		}
		half := b.clock.Now()
		if _, err := session.Release(ctx, benchTenant+"/layer-key/tree"); err != nil {
			return err
		}
		over := b.clock.Now()
		whole = append(whole, millis(over.Sub(began)))
		attested = append(attested, millis(half.Sub(began)))
		released = append(released, millis(over.Sub(half)))
	}
	b.add("key release", "challenge to key", "ms", whole)
	b.add("key release", "challenge to token", "ms", attested)
	b.add("key release", "token to key", "ms", released)
	return nil
}
