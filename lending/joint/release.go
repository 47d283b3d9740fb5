package joint

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/psi"
	"surety/lending/score"
	"surety/lending/score/evaluate"
)

// Verdict is what the model says of one row that was not learnt from, as coarse as the contract
// wants it.
type Verdict struct {
	Token   psi.Token
	Points  int32
	Reasons []string // codes of families, the worst first
}

// judge scores the rows that were not learnt from: those held out, and those without an outcome.
func (j *Joined) judge(m *score.Model) ([]Verdict, error) {
	rows := slices.Sorted(slices.Values(slices.Concat(j.Held, j.Blank)))
	if limit := j.Contract.Budget.Scores; uint64(len(rows)) > limit {
		return nil, errs.New(errs.Refused, "joint.budget: %d rows to score, the budget is %d",
			len(rows), limit)
	}
	f, err := j.Frame.Align(m.Features())
	if err != nil {
		return nil, errs.Wrap(err, "joint.judge")
	}
	verdicts := make([]Verdict, 0, len(rows))
	var values []int64
	var said score.Result
	for _, row := range rows {
		values = f.Row(int(row), values[:0])
		if err := m.Score(values, &said); err != nil {
			return nil, errs.Wrap(err, "joint.judge")
		}
		v := Verdict{Token: j.Tokens[row], Points: said.ScorePoints}
		for _, r := range said.Reasons[:min(len(said.Reasons), int(j.Contract.Rule.Reasons))] {
			v.Reasons = append(v.Reasons, r.Code)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, coarsen(j.Contract.Rule, verdicts)
}

// coarsen rounds points down, joins groups of equal points until each has the least rows, and
// shortens lists of reasons until each is shared by as many. It is errs.Refused where there are
// fewer rows than one group's least.
func coarsen(rule enclave.OutputRule, verdicts []Verdict) error {
	least := int(rule.MinGroup)
	if len(verdicts) < least {
		return errs.New(errs.Refused, "joint.rule: %d rows were scored, the least group is %d",
			len(verdicts), least)
	}
	count := map[int32]int{}
	for i := range verdicts {
		verdicts[i].Points = roundDown(verdicts[i].Points, int32(rule.Round))
		count[verdicts[i].Points]++
	}
	groups := groupPoints(count, least)
	for i := range verdicts {
		verdicts[i].Points = groups[verdicts[i].Points]
	}
	for length := int(rule.Reasons); length > 0; length-- {
		shorten(verdicts, length, least)
	}
	return nil
}

func roundDown(points, unit int32) int32 {
	rest := points % unit
	if rest < 0 {
		rest += unit
	}
	return points - rest
}

// groupPoints gives every number of points the lowest of its group. Groups are made from below; what
// is left at the top belongs to the last.
func groupPoints(count map[int32]int, least int) map[int32]int32 {
	all := make([]int32, 0, len(count))
	for points := range count {
		all = append(all, points)
	}
	slices.Sort(all)
	groups := make(map[int32]int32, len(all))
	low, last, size := all[0], all[0], 0
	for _, points := range all {
		if size >= least {
			last, low, size = low, points, 0
		}
		groups[points] = low
		size += count[points]
	}
	if size < least {
		for _, points := range all {
			if groups[points] == low {
				groups[points] = last
			}
		}
	}
	return groups
}

// shorten cuts the last of lists of some length that fewer than least rows have.
func shorten(verdicts []Verdict, length, least int) {
	count := map[string]int{}
	for i := range verdicts {
		count[strings.Join(verdicts[i].Reasons, "|")]++
	}
	for i := range verdicts {
		reasons := verdicts[i].Reasons
		if len(reasons) == length && count[strings.Join(reasons, "|")] < least {
			verdicts[i].Reasons = reasons[:length-1]
		}
	}
}

// Figures are how well the model does on the rows held out.
type Figures struct {
	Model    string           `json:"model"` // SHA-256 that names it
	Rows     int              `json:"rows"`  // shared
	Learnt   int              `json:"learnt"`
	Measured evaluate.Metrics `json:"measured"`
}

// contents returns what one output holds, and of how many rows it speaks.
func (r *result) contents(o enclave.Output) (content []byte, rows int, err error) {
	var b bytes.Buffer
	switch o.What {
	case enclave.OutScores:
		b.WriteString("token,points\n")
		for i := range r.verdicts {
			fmt.Fprintf(&b, "%x,%d\n", r.verdicts[i].Token, r.verdicts[i].Points)
		}
		return b.Bytes(), len(r.verdicts), nil
	case enclave.OutReasons:
		b.WriteString("token,reasons\n")
		for i := range r.verdicts {
			fmt.Fprintf(&b, "%x,%s\n", r.verdicts[i].Token, strings.Join(r.verdicts[i].Reasons, "|"))
		}
		return b.Bytes(), len(r.verdicts), nil
	case enclave.OutModel:
		return r.model.Bytes(), len(r.joined.Learn), nil
	case enclave.OutMetrics:
		content, err := r.figures()
		return content, len(r.joined.Held), err
	}
	return nil, 0, errs.New(errs.Internal, "joint.release: nothing is called %.40q", o.What)
}

// figures measures the model, where good and bad rows are both a group.
func (r *result) figures() ([]byte, error) {
	metrics, err := r.joined.Measure(r.model)
	if err != nil {
		return nil, err
	}
	least := int64(r.joined.Contract.Rule.MinGroup)
	if metrics.Bad < least || metrics.Rows-metrics.Bad < least {
		return nil, errs.New(errs.Refused,
			"joint.rule: %d good and %d bad rows were held out, the least group is %d",
			metrics.Rows-metrics.Bad, metrics.Bad, least)
	}
	digest := r.model.Digest()
	figures, err := json.Marshal(Figures{Model: hex.EncodeToString(digest[:]), Rows: len(r.joined.Tokens),
		Learnt: len(r.joined.Learn), Measured: metrics})
	return append(figures, '\n'), errs.As(errs.Internal, err, "joint.figures")
}
