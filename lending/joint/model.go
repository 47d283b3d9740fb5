package joint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/psi"
	"surety/lending/score"
	"surety/lending/score/evaluate"
	"surety/lending/score/frame"
	"surety/lending/score/train"
)

// Joined is the rows that every party has, ascending by token, with what each brings.
type Joined struct {
	Contract *enclave.Contract
	Tokens   []psi.Token
	Frame    *frame.Frame // of rows without an outcome, the outcome is good and means nothing
	Learn    []int32      // rows to learn from
	Held     []int32      // rows with an outcome that are not learnt from
	Blank    []int32      // rows without an outcome
}

// Join joins the parties' data, which stand in the order of the contract's parties, by token. It is
// errs.Refused where they were matched in different sessions, or fewer rows than the contract's
// least are shared, and Invalid where a value cannot be read.
func Join(c *enclave.Contract, parties []*Data) (*Joined, error) {
	if len(parties) != len(c.Parties) || len(parties) != 2 {
		return nil, errs.New(errs.Invalid, "joint.join: data of %d parties, want 2", len(parties))
	}
	a, b := parties[0], parties[1]
	if a.About.Session != b.About.Session {
		return nil, errs.New(errs.Refused, "joint.join: rows were matched in session %.12s by %q and %.12s "+
			"by %q", a.About.Session, a.About.Party, b.About.Session, b.About.Party)
	}
	j := &Joined{Contract: c}
	text, blank := j.lines(a, b)
	if uint64(len(j.Tokens)) < c.Rule.MinRows {
		return nil, errs.New(errs.Refused, "joint.join: %d rows are shared, the contract wants %d",
			len(j.Tokens), c.Rule.MinRows)
	}
	mapping, err := mappingOf(c)
	if err != nil {
		return nil, err
	}
	f, report, err := frame.Read(text, mapping)
	if err != nil {
		return nil, errs.Wrap(err, "joint.join")
	}
	if report.Broken > 0 { // the row's text stays inside: its number and column say enough
		first := report.Errors[0]
		return nil, errs.New(errs.Invalid, "joint.join: %d rows cannot be read, the first is %d, column %q",
			report.Broken, first.Row, first.Column)
	}
	j.Frame = f
	j.divide(blank)
	return j, nil
}

// lines merges both parties' rows into a delimited text, and says which have no outcome.
func (j *Joined) lines(a, b *Data) (text *bytes.Buffer, blank []bool) {
	text = &bytes.Buffer{}
	columns := slices.Concat(a.Columns, b.Columns)
	outcome := slices.Index(columns, j.Contract.Target.Column)
	writeLine(text, columns)
	for x, y := 0, 0; x < len(a.Tokens) && y < len(b.Tokens); {
		switch order := bytes.Compare(a.Tokens[x][:], b.Tokens[y][:]); {
		case order < 0:
			x++
		case order > 0:
			y++
		default:
			cells := slices.Concat(a.Rows[x], b.Rows[y])
			blank = append(blank, cells[outcome] == "")
			if cells[outcome] == "" {
				cells[outcome] = j.Contract.Target.Good
			}
			writeLine(text, cells)
			j.Tokens = append(j.Tokens, a.Tokens[x])
			x, y = x+1, y+1
		}
	}
	return text, blank
}

// divide says what is learnt from: a row's token decides, so that nobody chooses.
func (j *Joined) divide(blank []bool) {
	o := &j.Contract.Operation
	for row, token := range j.Tokens {
		switch {
		case blank[row]:
			j.Blank = append(j.Blank, int32(row))
		case o.Kind == enclave.OpScore || heldOut(o, token):
			j.Held = append(j.Held, int32(row))
		default:
			j.Learn = append(j.Learn, int32(row))
		}
	}
}

// heldOut reports whether a row is kept apart.
func heldOut(o *enclave.Operation, token psi.Token) bool {
	h := sha256.New()
	h.Write([]byte("surety joint holdout 1\n"))
	h.Write(binary.BigEndian.AppendUint64(nil, o.Seed))
	h.Write(token[:])
	return binary.BigEndian.Uint64(h.Sum(nil))%1000 < o.Holdout
}

// mappingOf returns what the contract says of the columns as a mapping of data sets. Its text is
// JSON, which is YAML, and the same for the same contract.
func mappingOf(c *enclave.Contract) (*frame.Mapping, error) {
	type column struct {
		Column   string  `json:"column"`
		Kind     string  `json:"kind"`
		Decimals uint64  `json:"decimals,omitempty"`
		Special  []int64 `json:"special,omitempty"`
		Trend    string  `json:"trend,omitempty"`
		Reason   string  `json:"reason"`
	}
	m := struct {
		Name     string            `json:"name"`
		Target   map[string]string `json:"target"`
		Features []column          `json:"features"`
		Reasons  []enclave.Reason  `json:"reasons"`
	}{Name: c.Name, Reasons: c.Reasons, Target: map[string]string{
		"column": c.Target.Column, "good": c.Target.Good, "bad": c.Target.Bad}}
	for _, from := range c.Columns {
		m.Features = append(m.Features, column{from.Name, from.Kind, from.Decimals, from.Special, from.Trend,
			from.Reason})
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "joint.mapping")
	}
	mapping, err := frame.ParseMapping(text)
	return mapping, errs.Wrap(err, "joint.mapping")
}

// paramsOf returns how the model is fitted: the trainer's own parameters and what the contract says
// otherwise.
func paramsOf(o *enclave.Operation) (train.Params, error) {
	p := train.Default(score.Kind(o.Model))
	p.Seed = o.Seed
	fields := map[string]*int{
		"trees": &p.Forest.Trees, "depth": &p.Forest.Depth, "bins": &p.Forest.Bins,
		"learning_permille": &p.Forest.LearningPermille, "min_leaf_rows": &p.Forest.MinLeafRows,
		"min_leaf_weight_milli": &p.Forest.MinLeafWeight, "l2_milli": &p.Forest.L2Milli,
		"min_gain_milli": &p.Forest.MinGainMilli, "row_permille": &p.Forest.RowPermille,
		"feature_permille": &p.Forest.FeaturePermille, "level_prior": &p.Forest.LevelPrior,
		"holdout_permille": &p.Forest.HoldoutPermille, "patience": &p.Forest.Patience,
	}
	if p.Kind == score.KindCard {
		fields = map[string]*int{"fine_bins": &p.Card.FineBins, "max_bins": &p.Card.MaxBins,
			"min_bin_permille": &p.Card.MinBinPermille, "min_iv_micro": &p.Card.MinIVMicro,
			"ridge_milli": &p.Card.RidgeMilli}
	}
	for _, param := range o.Params {
		field := fields[param.Name]
		if field == nil || int64(int(param.Value)) != param.Value {
			return p, errs.New(errs.Invalid, "joint.params: a %s has no parameter %.80q of %d", o.Model,
				param.Name, param.Value)
		}
		*field = int(param.Value)
	}
	return p, nil
}

// Fit fits the contract's model to the rows to learn from, over the columns of the parties named, or
// of all where none is.
func (j *Joined) Fit(parties ...string) (*score.Model, error) {
	o := &j.Contract.Operation
	if o.Model != enclave.ModelCard && o.Model != enclave.ModelForest {
		return nil, errs.New(errs.Invalid, "joint.fit: a %s model is computed by shares", o.Model)
	}
	p, err := paramsOf(o)
	if err != nil {
		return nil, err
	}
	f := j.Frame
	if len(parties) > 0 {
		if f, err = f.Align(j.features(parties)); err != nil {
			return nil, errs.Wrap(err, "joint.fit")
		}
	}
	m, err := train.Fit(f.Subset(j.Learn), p)
	return m, errs.Wrap(err, "joint.fit")
}

// features returns those that some parties bring.
func (j *Joined) features(parties []string) []score.Feature {
	var own []score.Feature
	for i, column := range j.Contract.Columns {
		if slices.Contains(parties, column.Party) {
			own = append(own, j.Frame.Features[i])
		}
	}
	return own
}

// Measure says how well a model does on the rows held out.
func (j *Joined) Measure(m *score.Model) (evaluate.Metrics, error) {
	_, metrics, err := evaluate.Evaluate(m, j.Frame.Subset(j.Held))
	return metrics, errs.Wrap(err, "joint.measure")
}
