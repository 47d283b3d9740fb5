package joint

import (
	"math"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/shares"
	"surety/lending/score"
)

// sharesTerms is what a contract says of a computation by shares, for one party.
type sharesTerms struct {
	role      shares.Role
	weights   bool
	scoresTo  shares.Role
	scoreBits uint32
	metrics   bool // this party measures the model on the rows held out
	coarse    int64
	steps     int64
	ridge     int64
}

// The parameters of a fit by shares, where a contract does not say: the defaults reach the AUC of a
// fit without shares to a thousandth. "coarse" is used where there are rows enough.
const (
	defaultCoarse = 10
	defaultSteps  = 12
	defaultRidge  = 1
)

// termsOf reads a contract's terms. It is errs.Refused for what shares do not do, and Forbidden
// where the party is none of the contract's.
func termsOf(c *enclave.Contract, party string) (*sharesTerms, error) {
	if c.Party(party) == nil || len(c.Parties) != 2 {
		return nil, errs.New(errs.Forbidden, "joint.shares: %.80q is not one of the two parties", party)
	}
	if c.Operation.Model != enclave.ModelLogistic || c.Operation.Kind != enclave.OpTrain {
		return nil, errs.New(errs.Refused, "joint.shares: the contract wants %s of a %s, not %s of a %s",
			c.Operation.Kind, c.Operation.Model, enclave.OpTrain, enclave.ModelLogistic)
	}
	if c.Rule.MinGroup > 1 {
		return nil, errs.New(errs.Refused, "joint.shares: groups of at least %d rows cannot be formed "+
			"where nobody sees the scores of all: rule.min_group must be 1", c.Rule.MinGroup)
	}
	t := &sharesTerms{role: shares.Passive, coarse: defaultCoarse, steps: defaultSteps,
		ridge: defaultRidge}
	if c.Target.Party == party {
		t.role = shares.Active
	}
	if err := t.outputs(c, party); err != nil {
		return nil, err
	}
	if err := t.precision(c.Rule.Round); err != nil {
		return nil, err
	}
	return t, t.params(c.Operation.Params)
}

// outputs says who is told what. What the protocol cannot keep to one party is refused.
func (t *sharesTerms) outputs(c *enclave.Contract, party string) error {
	names := [3]string{"", c.Target.Party, c.Parties[0].Name}
	if c.Parties[0].Name == c.Target.Party {
		names[shares.Passive] = c.Parties[1].Name
	}
	active, passive := names[shares.Active], names[shares.Passive]
	for role := shares.Active; role <= shares.Passive; role++ {
		if c.Tells(names[role], enclave.OutReasons) {
			return errs.New(errs.Refused, "joint.shares: reasons are not computed by shares, and %q is to be "+
				"told them", names[role])
		}
		if c.Tells(names[role], enclave.OutScores) {
			t.scoresTo += role // both is neither
		}
	}
	if t.scoresTo > shares.Passive {
		return errs.New(errs.Refused, "joint.shares: scores are shown to one party, not to both")
	}
	if c.Tells(passive, enclave.OutMetrics) || c.Tells(active, enclave.OutMetrics) &&
		t.scoresTo != shares.Active {
		return errs.New(errs.Refused, "joint.shares: metrics are for %q, who has the outcomes, and only "+
			"with the scores", active)
	}
	t.weights = c.Tells(active, enclave.OutModel)
	if t.weights != c.Tells(passive, enclave.OutModel) {
		return errs.New(errs.Refused, "joint.shares: each party is told its own part of the model, or none "+
			"is")
	}
	t.metrics = t.role == shares.Active && c.Tells(party, enclave.OutMetrics)
	return nil
}

// precision finds the finest unit of log-odds that is not finer than so many points.
func (t *sharesTerms) precision(points uint64) error {
	unit := float64(points) * math.Ln2 / score.PointsToDouble
	bits := math.Floor(-math.Log2(unit))
	if bits < 0 {
		return errs.New(errs.Refused, "joint.shares: points are multiples of %d, and by shares of 28 at most",
			points)
	}
	t.scoreBits = uint32(min(bits, shares.MaxScoreBits))
	return nil
}

// params takes the contract's parameters; errs.Invalid for one there is none of.
func (t *sharesTerms) params(all []enclave.Param) error {
	known := map[string]struct {
		at  *int64
		max int64
	}{
		"coarse": {&t.coarse, shares.MaxSteps}, "steps": {&t.steps, shares.MaxSteps},
		"ridge": {&t.ridge, shares.MaxRidge},
	}
	for _, p := range all {
		field, found := known[p.Name]
		if !found || p.Value < 0 || p.Value > field.max {
			return errs.New(errs.Invalid, "joint.shares: parameter %.40q of %d: there are coarse and steps, "+
				"up to %d, and ridge, up to %d", p.Name, p.Value, shares.MaxSteps, shares.MaxRidge)
		}
		*field.at = p.Value
	}
	return nil
}

// of returns the protocol's parameters for so many rows and columns.
func (t *sharesTerms) of(agreed [32]byte, learn, judged int, columns [3]uint32) shares.Params {
	p := shares.Params{Context: agreed, Rows: uint32(learn), ScoreRows: uint32(judged),
		ActiveColumns: columns[shares.Active], PassiveColumns: columns[shares.Passive],
		Coarse: uint32(t.coarse), Steps: uint32(t.steps), Ridge: uint32(t.ridge), ScoreBits: t.scoreBits,
		ScoresTo: t.scoresTo, Weights: t.weights}
	all := p.ActiveColumns + p.PassiveColumns
	if p.Rows < all*shares.CoarseStride*shares.CoarseRowsPerColumn {
		p.Coarse, p.Steps = 0, min(p.Coarse+p.Steps, shares.MaxSteps)
	}
	if t.scoresTo == shares.Nobody {
		p.ScoreRows = 0
	}
	return p
}
