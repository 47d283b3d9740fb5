package node

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"sync"

	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/broker"
	"surety/enclave/client"
	"surety/enclave/launch"
	"surety/evidence"
	"surety/evidence/tlog"
	"surety/sys/edge"
)

// brokerName is what the node's own key broker is called, in manifests and in its tokens.
const brokerName = "node"

// enclaves is what the node's enclaves have in common: the machine's device, and the broker that
// keeps their secrets and those of others who come through the node's door.
type enclaves struct {
	node     *Node
	device   attest.Device
	verifier *attest.Verifier
	broker   *broker.Broker
	guests   http.Handler

	writing sync.Mutex // one record of our source after the other
}

// Kinds of our records in the evidence log.
const (
	kindMeasured = "enclave.measured" // a build was published, with its manifest
	kindStarted  = "enclave.started"  // an enclave runs, in which sandbox, and what it had shown
)

// openEnclaves opens the machine's device and the broker.
func (n *Node) openEnclaves(ctx context.Context) error {
	if n.deps.Program == "" {
		return nil
	}
	e := &enclaves{node: n}
	if err := e.openDevice(ctx); err != nil {
		if n.config.Enclave.TEE != TEEAuto {
			return errs.Wrap(err, "enclave.tee is %s", n.config.Enclave.TEE)
		}
		n.log.Warn("this node has no enclaves", "reason", err)
		return nil
	}
	n.onClose("enclave device", e.device.Close)
	var err error
	e.broker, err = broker.Open(ctx, broker.Config{Dir: n.path("broker"), Name: brokerName},
		broker.Deps{Verifier: e.verifier, Log: n.log, Clock: n.deps.Clock, Evidence: n.evidence,
			Logged: Published(n.evidence)})
	if err != nil {
		return err
	}
	n.onClose("key broker", e.broker.Close)
	e.guests = e.broker.Handler()
	n.enclaves = e
	return e.openOwner()
}

// openDevice opens what vouches for this machine, and trusts its root beside the vendors'. Both stand
// where the commands about enclaves keep them, so that "surety enclave enrol" serves the node too.
func (e *enclaves) openDevice(ctx context.Context) (err error) {
	n := e.node
	options := attest.Options{SimDir: n.path("enclave", "simulated"), Program: n.deps.Program}
	certificate := n.path("enclave", "tpm", "certificate.pem")
	if _, err := os.Stat(certificate); err == nil {
		options.TPMCertificate = certificate
	}
	var tee enclave.TEE
	if n.config.Enclave.TEE != TEEAuto {
		tee = enclave.TEE(n.config.Enclave.TEE)
	}
	if e.device, err = attest.OpenDevice(ctx, tee, options); err != nil {
		return err
	}
	var roots attest.Roots
	switch e.device.TEE() {
	case enclave.Sim:
		roots.Sim, err = readRoot(attest.SimRoot(options))
	case enclave.TPM:
		roots.TPM, err = readRoot(os.ReadFile(n.path("enclave", "tpm", "authority", "authority.pem")))
	}
	if err == nil {
		e.verifier, err = attest.NewVerifier(roots)
	}
	if err != nil {
		return errors.Join(err, e.device.Close())
	}
	return nil
}

// readRoot is a list of the one certificate that was read.
func readRoot(certificate []byte, err error) ([][]byte, error) {
	return [][]byte{certificate}, errs.As(errs.Unavailable, err, "node.enclave: root")
}

// openOwner lets the owner of the data directory manage the broker, by the commands that would open
// its store where no node runs.
func (e *enclaves) openOwner() error {
	n := e.node
	socket, err := broker.ListenOwner(n.path("broker"))
	if errs.Is(err, errs.Invalid) { // the directory's path is too long for a socket's
		n.log.Warn("the key broker is managed over the network alone", "reason", err)
		return nil
	}
	if err != nil {
		return err
	}
	server := edge.NewServer(e.broker.OwnerHandler(), n.log)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(socket) }) // until it is closed
	n.onClose("key broker's socket", func() error {
		defer serving.Wait()
		return server.Close()
	})
	return nil
}

// simulated reports whether nothing but this program's word stands behind the node's enclaves.
func (e *enclaves) simulated() bool { return e.device.TEE() == enclave.Sim }

// measuredBuild is the payload of a record that publishes a build.
type measuredBuild struct {
	Measure  enclave.Digest    `json:"measure"`
	Signer   enclave.KeyID     `json:"signer"`
	Name     string            `json:"name"`
	Product  string            `json:"product"`
	SVN      uint64            `json:"svn"`
	Manifest *enclave.Manifest `json:"manifest"`
}

// publish puts a build's measurement into the evidence log, where it is not there yet.
func (e *enclaves) publish(ctx context.Context, s enclave.Signed) error {
	known, err := Published(e.node.evidence)(ctx, s.Measure)
	if err != nil || known {
		return err
	}
	return e.record(ctx, kindMeasured, measuredBuild{Measure: s.Measure, Signer: s.Signer,
		Name: s.Manifest.Name, Product: s.Manifest.Product, SVN: s.Manifest.SVN,
		Manifest: s.Manifest}, broker.Subject(s.Measure))
}

// Published returns what says whether an evidence log holds a build's measurement, published by a node
// or by a tenant of a broker, with a proof that was checked.
func Published(log *tlog.Log) func(context.Context, enclave.Digest) (bool, error) {
	return func(ctx context.Context, m enclave.Digest) (bool, error) {
		leaves, err := log.Lookup(ctx, broker.Subject(m), 0, tlog.MaxLookup)
		if err != nil {
			return false, err
		}
		for _, leaf := range leaves {
			r := &leaf.Record
			if r.Source == sourceEnclave && r.Kind == kindMeasured ||
				r.Source == broker.Source && r.Kind == broker.KindPublished {
				return prove(ctx, log, leaf)
			}
		}
		return false, nil
	}
}

// prove checks that a record is in the tree of a checkpoint.
func prove(ctx context.Context, log *tlog.Log, leaf tlog.LeafAt) (bool, error) {
	checkpoint, err := log.CheckpointOf(ctx, leaf.Index+1)
	if err != nil {
		return false, err
	}
	prover, err := log.Prover(ctx, checkpoint)
	if err != nil {
		return false, err
	}
	_, err = prover.Inclusion(ctx, leaf)
	return err == nil, err
}

// tellStarted records that an enclave runs, what it had shown to get its secrets, and what was made
// of it.
func (e *enclaves) tellStarted(ctx context.Context, s started) error {
	return e.record(ctx, kindStarted, s, sandboxSubject(s.Sandbox), broker.Subject(s.Proof.Measure))
}

// record appends a record of ours to the evidence log.
func (e *enclaves) record(ctx context.Context, kind string, payload any, about ...ident.ID) error {
	data, err := json.Marshal(payload)
	if err != nil {
		return errs.As(errs.Internal, err, "node.enclave")
	}
	e.writing.Lock()
	defer e.writing.Unlock()
	seq, err := e.node.evidence.LastSeq(sourceEnclave)
	if err != nil {
		return err
	}
	return e.node.evidence.Append(ctx, evidence.Entry{Source: sourceEnclave, SourceSeq: seq + 1,
		Part: "enclave", Kind: kind, Subjects: about, At: e.node.deps.Clock.Now(), Payload: data})
}

// order says how the scorer's bundle is started: its secrets come from this node's broker, through
// the handler that the door has, without a socket between.
func (e *enclaves) order(id string, c *cells) launch.Order {
	return launch.Order{Instance: id, Bundle: c.bundle, Device: e.device,
		Brokers: map[string]launch.BrokerAt{brokerName: {URL: "http://127.0.0.1",
			Transport: client.Inside(e.guests)}},
		Labels: map[string]string{"part": "lending", "program": "scorer"}}
}

// open measures and attests the scorer, and obtains its models.
func (e *enclaves) open(ctx context.Context, id string, c *cells) (*launch.Opened, error) {
	return launch.Open(ctx, launch.Deps{Host: c.host, Clock: e.node.deps.Clock, Log: e.node.log},
		e.order(id, c))
}

// refusalsBack is how many of the broker's newest records the board looks through.
const refusalsBack = 256

// refusals counts what the broker has refused of late.
func (e *enclaves) refusals(ctx context.Context) (uint64, error) {
	return e.broker.Refused(ctx, refusalsBack)
}
