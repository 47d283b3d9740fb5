package node

import (
	"context"
	"encoding/json"
	"strings"

	evidencev1 "surety/api/evidence/v1"
	nodev1 "surety/api/node/v1"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/broker"
	"surety/enclave/launch"
)

// started is the payload of a record that an enclave runs: where, what it had shown, and what was
// made of it.
type started struct {
	Sandbox    string       `json:"sandbox"`
	Proof      launch.Proof `json:"proof"`
	Appraisals []appraisal  `json:"appraisals"` // in the order of the manifest's brokers
}

// appraisal is what a broker's token says.
type appraisal struct {
	Broker   string `json:"broker"`
	Verifier string `json:"verifier"`
	ID       string `json:"id"`
	Status   string `json:"status"` // ear.status
}

// appraisals reads the tokens that an enclave was given, by the keys that its manifest pins.
func appraisals(p *launch.Proof, brokers []enclave.Broker, now clock.Instant) ([]appraisal, error) {
	var list []appraisal
	for _, b := range brokers {
		text, given := p.Tokens[b.Name]
		if !given {
			continue
		}
		token, err := attest.OpenToken(text, b.Key, now)
		if err != nil {
			return nil, errs.Wrap(err, "the token of broker %s", b.Name)
		}
		list = append(list, appraisal{Broker: b.Name, Verifier: token.Issuer, ID: token.ID,
			Status: token.Status})
	}
	return list, nil
}

// show is what an enclave has shown, with the tokens read.
func (e *enclaves) show(p launch.Proof, m *enclave.Manifest, box string) (*started, error) {
	list, err := appraisals(&p, m.Brokers, e.node.deps.Clock.Now())
	return &started{Sandbox: box, Proof: p, Appraisals: list}, err
}

// enclave returns in which enclave a sandbox's program ran, nil where it was none.
func (s *evidenceService) enclave(ctx context.Context, sandbox string) (*evidencev1.Enclave, error) {
	// It is recorded before the first head of the sandbox's trail is.
	leaves, err := s.log.Lookup(ctx, sandboxSubject(sandbox), 0, headsAtOnce)
	if err != nil {
		return nil, err
	}
	for i := range leaves {
		if leaves[i].Record.Source != sourceEnclave || leaves[i].Record.Kind != kindStarted {
			continue
		}
		payload, err := s.log.Payload(ctx, leaves[i])
		if err != nil {
			return nil, err
		}
		var begun started
		if err := json.Unmarshal(payload, &begun); err != nil {
			return nil, errs.As(errs.Corrupt, err, "enclave start at %d", leaves[i].Index)
		}
		told := tellEnclave(&begun)
		told.StartedIndex = leaves[i].Index
		return told, s.findReleases(ctx, told)
	}
	return nil, nil
}

// tellEnclave tells what the record of a start says.
func tellEnclave(s *started) *evidencev1.Enclave {
	p := &s.Proof
	told := &evidencev1.Enclave{Tee: string(p.TEE), Guarantee: string(p.Guarantee),
		Measurement: p.Measure.String(), Signer: p.Signer.String(), Product: p.Product, Svn: p.SVN}
	if len(s.Appraisals) > 0 {
		a := &s.Appraisals[0]
		told.Status, told.Appraisal, told.Verifier = a.Status, a.ID, a.Verifier
	}
	for _, r := range p.Released {
		told.Released = append(told.Released, &evidencev1.Released{Broker: r.Broker,
			Resource: r.Resource, Record: r.Record})
	}
	return told
}

// findReleases fills in where the log holds the broker's records of what it released.
func (s *evidenceService) findReleases(ctx context.Context, told *evidencev1.Enclave) error {
	for _, r := range told.Released {
		id, err := ident.Parse(r.Record)
		if err != nil {
			continue // a broker that names its records otherwise keeps them elsewhere
		}
		leaves, err := s.log.Lookup(ctx, id, 0, 1)
		if err != nil {
			return err
		}
		if len(leaves) == 0 || leaves[0].Record.Source != broker.Source {
			continue // not yet, or in the log of another broker
		}
		payload, err := s.log.Payload(ctx, leaves[0])
		if err != nil {
			return err
		}
		var outcome broker.Outcome
		if err := json.Unmarshal(payload, &outcome); err != nil {
			return errs.As(errs.Corrupt, err, "release at %d", leaves[0].Index)
		}
		r.Logged, r.Index, told.Policy = true, leaves[0].Index, outcome.Policy
	}
	return nil
}

// enclaveSummary says in a few words what a record of an enclave holds.
func enclaveSummary(payload []byte) string {
	var told struct {
		measuredBuild
		started
	}
	if json.Unmarshal(payload, &told) != nil {
		return ""
	}
	if told.Sandbox == "" {
		return strings.Join([]string{told.measuredBuild.Name, told.Measure.String()[:23], "signed by",
			told.Signer.String()[:16]}, " ")
	}
	return strings.Join([]string{string(told.Proof.Guarantee), "enclave", told.Proof.Product, "in",
		told.Sandbox, told.Proof.Measure.String()[:23]}, " ")
}

// fillEnclave tells the board what the scorer's enclave has shown.
func (n *Node) fillEnclave(ctx context.Context, s *started) *nodev1.Enclave {
	p := &s.Proof
	told := &nodev1.Enclave{Tee: string(p.TEE), Guarantee: string(p.Guarantee),
		Measurement: p.Measure.String(), Signer: p.Signer.String(), Product: p.Product, Svn: p.SVN,
		Releases: uint64(len(p.Released)), Line: launch.Notice(p.TEE)}
	if len(s.Appraisals) > 0 {
		told.Status = s.Appraisals[0].Status
	}
	var err error
	if told.Refusals, err = n.enclaves.refusals(ctx); err != nil {
		told.Line = err.Error()
	}
	return told
}
