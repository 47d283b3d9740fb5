package origination

import (
	"context"
	"encoding/json"

	"surety/base/errs"
	"surety/base/money"
	"surety/lending"
	"surety/lending/score"
	"surety/lending/scorer"
	"surety/lending/store"
)

// The kinds of artefact that decisions name.
const (
	artefactProduct = "product"
	artefactPolicy  = "policy"
	artefactModel   = "model"
)

// Publish stores the catalogue's terms, policies and models under their digests, so that every
// decision can be computed again however the catalogue changes.
func (d *Desk) Publish(ctx context.Context) error {
	var writes []store.Write
	for _, p := range d.deps.Catalogue {
		writes = append(writes,
			store.PutArtefact(p.Product.Digest(), artefactProduct, p.Product.Encode()),
			store.PutArtefact(p.Policy.Digest(), artefactPolicy, p.Policy.Encode()),
			store.PutArtefact(p.Card.Digest(), artefactModel, p.Card.Bytes()),
			store.PutArtefact(p.Forest.Digest(), artefactModel, p.Forest.Bytes()))
	}
	return errs.Wrap(d.deps.Store.Commit(ctx, writes...), "origination.publish")
}

// programmeOf returns what an application was decided under, from the artefacts.
func (d *Desk) programmeOf(ctx context.Context, stored *inputs, in *lending.Inputs) (*Programme, error) {
	p := &Programme{}
	_, body, err := d.deps.Store.Artefact(ctx, stored.Product)
	if err != nil {
		return nil, err
	}
	if p.Product, err = lending.DecodeProduct(body); err != nil {
		return nil, err
	}
	if _, body, err = d.deps.Store.Artefact(ctx, stored.Policy); err != nil {
		return nil, err
	}
	if p.Policy, err = lending.DecodePolicy(body, &p.Product); err != nil {
		return nil, err
	}
	if p.Card, err = d.model(ctx, in.Scores.Card); err != nil {
		return nil, err
	}
	if p.Forest, err = d.model(ctx, in.Scores.Model); err != nil {
		return nil, err
	}
	p.Currency, err = money.CurrencyOf(p.Product.Currency)
	return p, err
}

// model returns a model by digest: one of the catalogue's where it has it, else from the artefacts.
func (d *Desk) model(ctx context.Context, digest lending.Digest) (*score.Model, error) {
	for _, p := range d.deps.Catalogue {
		for _, m := range []*score.Model{p.Card, p.Forest} {
			if m.Digest() == digest {
				return m, nil
			}
		}
	}
	_, body, err := d.deps.Store.Artefact(ctx, digest)
	if err != nil {
		return nil, err
	}
	return score.Load(body)
}

// Told is a decision with all that can be said about how it came about.
type Told struct {
	Decision lending.Decision
	Inputs   lending.Inputs
	Card     score.Result
	Forest   score.Result
	// Sentences of the models' reason codes.
	Factors map[string]string
}

// Explain returns a stored decision with the contribution of every feature, computed again from the
// stored features under the stored models.
func (d *Desk) Explain(ctx context.Context, row *store.Application) (*Told, error) {
	t := &Told{Factors: map[string]string{}}
	stored, in, err := storedInputs(row)
	if err != nil {
		return nil, err
	}
	t.Inputs = in
	if t.Decision, err = lending.DecodeDecision(row.Decision); err != nil {
		return nil, errs.Wrap(err, "origination.explain: %s", row.ID)
	}
	for _, m := range []struct {
		digest lending.Digest
		into   *score.Result
	}{{t.Inputs.Scores.Card, &t.Card}, {t.Inputs.Scores.Model, &t.Forest}} {
		model, err := d.model(ctx, m.digest)
		if err != nil {
			return nil, errs.Wrap(err, "origination.explain: %s", row.ID)
		}
		if err := model.Score(stored.Features, m.into); err != nil {
			return nil, errs.Wrap(err, "origination.explain: %s", row.ID)
		}
		for _, reason := range model.Spec().Reasons {
			t.Factors[reason.Code] = reason.Sentence
		}
	}
	return t, nil
}

// Replay computes a stored decision again: the features are scored by the models of the stored
// digests, and the scores decided by the policy of the stored digest. It returns the decision so
// computed, and where it or anything on the way differs from what is stored, what.
func (d *Desk) Replay(ctx context.Context, row *store.Application) (computed lending.Decision,
	difference string, _ error) {
	stored, in, err := storedInputs(row)
	if err != nil {
		return computed, "", err
	}
	p, err := d.programmeOf(ctx, &stored, &in)
	if err != nil {
		return computed, "", errs.Wrap(err, "origination.replay: %s", row.ID)
	}
	// Here and not where decisions are scored: what checks a decision shares no process with it.
	scored, err := scorer.Local{}.Score(ctx, p.ask(row.Trace, stored.Features))
	if err != nil {
		return computed, "", errs.Wrap(err, "origination.replay: %s", row.ID)
	}
	scores, factors, err := p.told(stored.Features, &scored)
	if err != nil {
		return computed, "", errs.Wrap(err, "origination.replay: %s", row.ID)
	}
	before := in.Digest()
	in.Scores, in.Factors = scores, factors
	computed = lending.Decide(&p.Policy, &p.Product, &in)
	switch {
	case in.Digest() != before:
		difference = "the scores of the stored features are not the stored scores"
	case string(computed.Encode()) != string(row.Decision):
		difference = "the decision of the stored scores is not the stored decision"
	}
	return computed, difference, nil
}

// StoredInputs returns what the policy took of an application; kind Corrupt where it cannot be read.
func StoredInputs(row *store.Application) (lending.Inputs, error) {
	_, in, err := storedInputs(row)
	return in, err
}

// storedInputs returns what is stored to decide again, and of that what the policy took.
func storedInputs(row *store.Application) (stored inputs, in lending.Inputs, err error) {
	if err := json.Unmarshal(row.Inputs, &stored); err != nil {
		return stored, in, errs.As(errs.Corrupt, err, "origination.inputs: %s", row.ID)
	}
	in, err = lending.DecodeInputs([]byte(stored.Inputs))
	return stored, in, errs.Wrap(err, "origination.inputs: %s", row.ID)
}
