package shares

import (
	"encoding/binary"
	"math/bits"

	"surety/base/errs"
)

// The fit is gradient ascent on the likelihood with momentum. Where each party's columns have
// variance one and no correlation among themselves, the curvature of the mean loss is at most a
// half (a quarter, times two for correlation between the parties), and a step of four with a
// momentum of a half converges: 4 · 0.5 < 2 · (1 + 0.5).
const (
	stepSize     = 4 // times the mean gradient
	momentum     = 8 // sixteenths
	momentumBits = 4
	factorBits   = 7 // of the integer that stands for stepSize over the rows
)

// model is a party's shares of the weights, with weightFraction bits of fraction.
type model struct {
	intercept uint64
	ours      []uint64 // shares of the weights of our columns
	theirs    []uint64 // of the other's
}

// all returns the shares in the order that both parties have: intercept, Active, Passive.
func (m *model) all(role Role) []uint64 {
	active, passive := m.ours, m.theirs
	if role == Passive {
		active, passive = passive, active
	}
	joined := append([]uint64{m.intercept}, active...)
	return append(joined, passive...)
}

// set takes shares in the order of all.
func (m *model) set(role Role, shares []uint64) {
	active, passive := m.ours, m.theirs
	if role == Passive {
		active, passive = passive, active
	}
	m.intercept = shares[0]
	copy(active, shares[1:])
	copy(passive, shares[1+len(active):])
}

// fit returns shares of the weights.
func (p *party) fit(in *Input) (*model, error) {
	m := &model{ours: make([]uint64, p.params.columns(p.role)),
		theirs: make([]uint64, p.params.columns(p.role.Other()))}
	keys, err := p.keep(in.Train)
	if err != nil {
		return nil, errs.Wrap(err, "transfer of the columns")
	}
	velocity := make([]uint64, 1+len(m.ours)+len(m.theirs))
	steps := int(p.params.Coarse + p.params.Steps)
	for step := range steps {
		stride := 1
		if step < int(p.params.Coarse) {
			stride = CoarseStride
		}
		residuals, err := p.residuals(keys, stride, m, in.Labels, step == 0)
		if err != nil {
			return nil, errs.Wrap(err, "step %d: residuals", step)
		}
		gradient, err := p.gradient(keys, stride, m, residuals)
		if err != nil {
			return nil, errs.Wrap(err, "step %d: gradient", step)
		}
		if velocity, err = p.accelerate(len(residuals), velocity, gradient); err != nil {
			return nil, errs.Wrap(err, "step %d: truncation", step)
		}
		weights := m.all(p.role)
		for i, v := range velocity {
			weights[i] += v
		}
		m.set(p.role, weights)
		p.report("fit", step+1, steps)
	}
	return m, nil
}

// odds returns shares of the log-odds of every stride-th row, with oddsFraction bits of fraction.
func (p *party) odds(keys *cells, stride int, m *model) ([]uint64, error) {
	products, err := keys.multiply(forward, stride, m.ours, m.theirs)
	if err != nil {
		return nil, err
	}
	odds := products.ours
	for i, v := range products.theirs {
		odds[i] += v + m.intercept<<cellFraction
	}
	return odds, nil
}

// residuals returns shares of label less probability of every stride-th row, with residualFraction
// bits of fraction. Before the first step the weights are zero and the probabilities a half: both
// know.
func (p *party) residuals(keys *cells, stride int, m *model, labels []bool, first bool) ([]uint64,
	error) {
	residuals := make([]uint64, strided(int(p.params.Rows), stride))
	if first {
		if p.role == Active {
			for i := range residuals {
				residuals[i] = 1 << (residualFraction - 1)
			}
		}
	} else {
		odds, err := p.odds(keys, stride, m)
		if err != nil {
			return nil, err
		}
		if residuals, err = p.sigmoid(odds); err != nil {
			return nil, err
		}
	}
	for i := range residuals {
		residuals[i] = -residuals[i]
		if labels != nil && labels[i*stride] {
			residuals[i] += 1 << residualFraction
		}
	}
	return residuals, nil
}

// gradient returns shares of the penalised likelihood's derivatives, with gradientFraction bits of
// fraction, in the order of model.all. The intercept is not penalised; of a part of the rows the
// penalty is that part.
func (p *party) gradient(keys *cells, stride int, m *model, residuals []uint64) ([]uint64, error) {
	products, err := keys.multiply(backward, stride, residuals, residuals)
	if err != nil {
		return nil, err
	}
	g := model{ours: products.ours, theirs: products.theirs}
	for _, r := range residuals {
		g.intercept += r << cellFraction
	}
	gradient := g.all(p.role)
	scale := gradientFraction - weightFraction - bits.TrailingZeros(uint(stride))
	for i, w := range m.all(p.role) {
		if i > 0 {
			gradient[i] -= uint64(p.params.Ridge) * w << scale
		}
	}
	return gradient, nil
}

// accelerate returns shares of the next velocity: momentum times this one, and the step along the
// gradient of so many rows.
func (p *party) accelerate(rows int, velocity, gradient []uint64) ([]uint64, error) {
	factor, shift := stepFactor(rows)
	drop := gradientFraction - weightFraction + shift
	sums := make([]uint64, len(gradient))
	for i, g := range gradient {
		sums[i] = factor*g + momentum*velocity[i]<<(drop-momentumBits)
	}
	return p.truncate(sums, drop)
}

// stepFactor returns the integer of factorBits and the shift that stand for stepSize over the rows,
// rounded down.
func stepFactor(rows int) (factor uint64, shift int) {
	shift = bits.Len(uint(rows)) + factorBits - bits.Len(stepSize)
	return stepSize << shift / uint64(rows), shift
}

// score computes the log-odds of the rows to score in shares, and shows them to the party that is
// to have them: it is sent the other's shares without their lowest bits, and so learns an interval, one
// unit of the last bit shown wide, that the log-odds are in. A score is its middle.
func (p *party) score(rows *Matrix, m *model, r *Result) error {
	total := int(p.params.ScoreRows)
	for begin := 0; begin < total; begin += scoreRows {
		end := min(begin+scoreRows, total)
		keys, err := p.keep(rows.slice(begin, end))
		if err != nil {
			return errs.Wrap(err, "transfer of rows %d to %d to score", begin, end)
		}
		odds, err := p.odds(keys, 1, m)
		if err != nil {
			return errs.Wrap(err, "scores of rows %d to %d", begin, end)
		}
		drop := oddsFraction - int(p.params.ScoreBits)
		others, err := p.showScores(odds, drop)
		if err != nil {
			return errs.Wrap(err, "scores of rows %d to %d", begin, end)
		}
		for i, v := range others {
			middle := odds[i] + v<<drop + 1<<(drop-1)
			r.Scores = append(r.Scores, float64(int64(middle))/(1<<oddsFraction))
		}
		p.report("score", end, total)
	}
	return nil
}

// showWeights shows each party the weights of its own columns, and the Active party the intercept,
// where that was agreed.
func (p *party) showWeights(m *model, r *Result) error {
	if !p.params.Weights {
		return nil
	}
	theirs, ours := m.theirs, m.ours
	if p.role == Active {
		ours = append([]uint64{m.intercept}, ours...)
	} else {
		theirs = append([]uint64{m.intercept}, theirs...)
	}
	p.sendWords(kindWeights, theirs)
	others, err := p.receiveWords(kindWeights, len(ours))
	if err != nil {
		return errs.Wrap(err, "weights")
	}
	for i, v := range others {
		r.Weights = append(r.Weights, float64(int64(v+ours[i]))/(1<<weightFraction))
	}
	if p.role == Active {
		r.Intercept, r.Weights = r.Weights[0], r.Weights[1:]
	}
	return nil
}

// showScores sends our shares without their lowest bits to the party that is told the scores, which
// returns those of the other; the other returns none.
func (p *party) showScores(odds []uint64, drop int) ([]uint64, error) {
	if p.role == p.params.ScoresTo {
		return p.receiveWords(kindScores, len(odds))
	}
	coarse := make([]uint64, len(odds))
	for i, share := range odds {
		coarse[i] = share >> drop
	}
	p.sendWords(kindScores, coarse)
	return nil, nil
}

func (p *party) sendWords(k kind, words []uint64) {
	m := p.wire.message(k, 8*len(words))
	for i, v := range words {
		binary.LittleEndian.PutUint64(m[headerBytes+8*i:], v)
	}
	p.wire.send(m)
}

func (p *party) receiveWords(k kind, n int) ([]uint64, error) {
	raw := make([]byte, 8*n)
	if err := p.wire.receive(k, raw); err != nil {
		return nil, err
	}
	words := make([]uint64, n)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	return words, nil
}
