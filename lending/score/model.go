package score

import (
	"crypto/sha256"
	"encoding/hex"

	"surety/base/errs"
)

// Model is a scorecard or a forest, ready to score. It never changes and is safe for any number of
// goroutines.
type Model struct {
	spec   *Spec
	file   []byte
	digest [32]byte

	card   []Binner // of a scorecard, else nil
	forest *forest  // of a forest, else nil

	// reasonOf[i] is the index into spec.Reasons under which feature i counts.
	reasonOf []int
}

// New returns the model that a spec describes, having written it to its file form and read it back:
// what scores is what the file says. The spec is copied on the way. A spec that breaks a limit is
// errs.TooLarge, one that contradicts itself errs.Corrupt.
func New(spec *Spec) (*Model, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	body, err := encodeBody(spec)
	if err != nil {
		return nil, err
	}
	return fromBody(body, sha256.Sum256(body))
}

// Load returns the model of a file, as Bytes gives it. It is errs.Corrupt if the digest is not that
// of the content, the content is not canonical or describes no model, and errs.TooLarge beyond the
// limits. The model keeps no reference to data.
func Load(data []byte) (*Model, error) {
	body, digest, err := decodeFile(data)
	if err != nil {
		return nil, err
	}
	return fromBody(body, digest)
}

func fromBody(body []byte, digest [32]byte) (*Model, error) {
	spec, err := decodeBody(body)
	if err != nil {
		return nil, err
	}
	m := &Model{spec: spec, digest: digest, file: encodeFile(body, digest)}
	if len(m.file) > MaxFileBytes {
		return nil, tooLarge("bytes", len(m.file), MaxFileBytes)
	}
	for i := range spec.Features {
		m.reasonOf = append(m.reasonOf, spec.reasonIndex(spec.Features[i].Reason))
	}
	if spec.Kind == KindCard {
		m.card = compileCard(spec.Card)
	} else {
		m.forest = compileForest(spec.Forest)
	}
	return m, nil
}

// Bytes returns the model file. The caller must not change it.
func (m *Model) Bytes() []byte { return m.file }

// Digest returns the SHA-256 of the model's content, which is its name in decisions.
func (m *Model) Digest() [32]byte { return m.digest }

// DigestText returns the digest in hexadecimal.
func (m *Model) DigestText() string { return hex.EncodeToString(m.digest[:]) }

// Kind returns what the model is.
func (m *Model) Kind() Kind { return m.spec.Kind }

// Name returns the model's name.
func (m *Model) Name() string { return m.spec.Name }

// Synthetic reports whether the model was trained on generated data, which must be said wherever it
// shows.
func (m *Model) Synthetic() bool { return m.spec.Synthetic }

// Features returns the features in the order in which Score takes their values. The caller must not
// change them.
func (m *Model) Features() []Feature { return m.spec.Features }

// Spec returns the whole content of the model. The caller must not change it.
func (m *Model) Spec() *Spec { return m.spec }

// Result is what a model says about one row. It is filled by Score and may be used again, which
// saves its memory; its slices are valid until then.
type Result struct {
	Kind        Kind  `json:"kind"`
	ScorePoints int32 `json:"points"` // on the common scale: 600 is 50 to 1, 20 more double the odds
	PDMicro     int64 `json:"pd_ppm"` // probability of default in parts per million, 1 to 999,999

	// Score is the sum itself, in Kind.Unit: points, or millionths of log-odds of good. It is Base
	// plus the amounts of all Contributions, exactly.
	Score int64 `json:"score"`
	Base  int64 `json:"base"`

	// Contributions has one entry for each feature, in the model's order. A negative amount is
	// adverse. The neutral value, against which points are lost, is that of a row about which
	// nothing is known: for a scorecard WOE zero, for a forest the mean over its training rows.
	Contributions []Contribution `json:"contributions"`

	// Reasons are the principal adverse reasons, at most TopReasons, the worst first: reason codes
	// whose features together contributed less than zero. Equal ones stand in order of code.
	Reasons []Reason `json:"reasons"`

	byReason []int64 // scratch: the sum of contributions under each code
	ordinals []int64 // scratch: what the splits of a forest compare
}

// Contribution is what one feature added to the score.
type Contribution struct {
	Feature string `json:"feature"`
	Amount  int64  `json:"amount"` // in the result's unit
}

// Reason is one principal reason against the applicant.
type Reason struct {
	Code     string `json:"code"`
	Sentence string `json:"sentence"`
	Feature  string `json:"feature"` // the feature of the code that contributed least
	Amount   int64  `json:"amount"`  // the sum over the code's features, below zero, in its unit
}

// Score fills out with what the model says about a row of values, one for each of Features and in
// their order; a categorical value that is no level counts as Missing. It allocates nothing once
// out has been used with a model as large. It is errs.Invalid, with out untouched, when the number
// of values is not that of the features.
func (m *Model) Score(values []int64, out *Result) error {
	if err := m.checkLength(values); err != nil {
		return err
	}
	out.Kind = m.spec.Kind
	m.resetContributions(out)
	if m.card != nil {
		out.Base = m.spec.Card.BasePoints
		for i := range m.card {
			out.Contributions[i].Amount = m.card[i].value(values[i])
		}
	} else {
		out.Base = m.forest.base
		out.ordinals = m.forest.ordinals(values, out.ordinals[:0])
		m.forest.attribute(out.ordinals, out.Contributions)
	}
	out.Score = out.Base
	for i := range out.Contributions {
		out.Score += out.Contributions[i].Amount
	}
	out.ScorePoints, out.PDMicro = m.Scale(out.Score)
	m.findReasons(out)
	return nil
}

// Sum returns the score of a row alone, as Result.Score would be, at a fraction of the cost.
func (m *Model) Sum(values []int64) (int64, error) {
	if err := m.checkLength(values); err != nil {
		return 0, err
	}
	if m.card == nil {
		return m.forest.sum(values), nil
	}
	sum := m.spec.Card.BasePoints
	for i := range m.card {
		sum += m.card[i].value(values[i])
	}
	return sum, nil
}

// Scale returns the points and the probability of default, in parts per million, of a score of this
// model's kind.
func (m *Model) Scale(score int64) (points int32, pdMicro int64) {
	if m.card != nil {
		return int32(score), PDOfOdds(OddsOfPoints(score))
	}
	return PointsOfOdds(score), PDOfOdds(score)
}

func (m *Model) checkLength(values []int64) error {
	if len(values) == len(m.spec.Features) {
		return nil
	}
	return errs.New(errs.Invalid, "score.score: %d values for the %d features of model %s",
		len(values), len(m.spec.Features), m.spec.Name)
}

// resetContributions names the contributions and sets them to zero.
func (m *Model) resetContributions(out *Result) {
	out.Contributions = out.Contributions[:0]
	for i := range m.spec.Features {
		out.Contributions = append(out.Contributions, Contribution{Feature: m.spec.Features[i].Name})
	}
}

// findReasons sums the contributions by code and keeps the lowest sums below zero.
func (m *Model) findReasons(out *Result) {
	out.byReason = out.byReason[:0]
	for range m.spec.Reasons {
		out.byReason = append(out.byReason, 0)
	}
	for i := range out.Contributions {
		out.byReason[m.reasonOf[i]] += out.Contributions[i].Amount
	}
	out.Reasons = out.Reasons[:0]
	for code, amount := range out.byReason {
		if amount < 0 {
			out.Reasons = m.insertReason(out.Reasons, code, amount)
		}
	}
	for i := range out.Reasons {
		out.Reasons[i].Feature = m.worstFeature(out, out.Reasons[i].Code)
	}
}

// insertReason puts a reason where it belongs among the worst TopReasons; codes come in ascending
// order, so that of equal amounts the earlier code stays in front.
func (m *Model) insertReason(top []Reason, code int, amount int64) []Reason {
	at := len(top)
	for at > 0 && top[at-1].Amount > amount {
		at--
	}
	if at == TopReasons {
		return top
	}
	if len(top) < TopReasons {
		top = append(top, Reason{})
	}
	copy(top[at+1:], top[at:])
	text := &m.spec.Reasons[code]
	top[at] = Reason{Code: text.Code, Sentence: text.Sentence, Amount: amount}
	return top
}

// worstFeature returns the feature under a code that contributed least, the first of equal ones.
func (m *Model) worstFeature(out *Result, code string) string {
	worst := -1
	for i := range out.Contributions {
		if m.spec.Features[i].Reason != code {
			continue
		}
		if worst < 0 || out.Contributions[i].Amount < out.Contributions[worst].Amount {
			worst = i
		}
	}
	return out.Contributions[worst].Feature
}
