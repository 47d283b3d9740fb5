package scorer

import (
	"context"

	"surety/base/ident"
	"surety/lending/score"
)

// Scorer runs models. Local and *Remote are the two kinds.
type Scorer interface {
	// Score returns what both models say. It is errs.Invalid where the number of values is not that
	// of a model's features, or the scorer does not have a model; errs.Busy where too many ask at
	// once; errs.Unavailable where no answer came in time; errs.Canceled where ctx ended first.
	Score(ctx context.Context, ask Ask) (Answer, error)
}

// Ask is one applicant's features and the models to run over them.
type Ask struct {
	Trace  ident.ID     // of the work it is part of; zero where there is none
	Card   *score.Model // both are over the same features
	Forest *score.Model
	Values []int64 // one for each feature, in the models' order; not changed until answered
}

// Answer is what the models say.
type Answer struct {
	Card, Forest score.Result
	By           Mark
}

// Mark says which sandbox computed an answer, and where its audit trail was then.
type Mark struct {
	Sandbox string `json:"sandbox"` // id; empty where it was computed outside of any
	Seq     uint64 `json:"seq"`     // of the newest audit record known at that time
}

// Local scores in the process that asks. Its zero value is ready.
type Local struct{}

// Score implements Scorer.
func (Local) Score(_ context.Context, ask Ask) (answer Answer, err error) {
	if err = ask.Card.Score(ask.Values, &answer.Card); err != nil {
		return Answer{}, err
	}
	if err = ask.Forest.Score(ask.Values, &answer.Forest); err != nil {
		return Answer{}, err
	}
	return answer, nil
}
