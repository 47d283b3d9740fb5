package joint

import (
	"math"

	"surety/lending/score"
	"surety/lending/score/evaluate"
)

// fitPlain fits a logistic regression with an intercept and the same penalty as by shares, in floats
// and by Newton's method: what somebody who had all columns would get. It is what shares are
// measured against; nothing else uses it.
func fitPlain(rows [][]float64, bad []bool, ridge float64) []float64 {
	size := 1
	if len(rows) > 0 {
		size += len(rows[0])
	}
	weights := make([]float64, size)
	const steps = 10 // it doubles the correct digits with each, from the third or so on
	for range steps {
		system := newSystem(weights, ridge)
		x := make([]float64, size)
		for i, row := range rows {
			x[0] = 1
			copy(x[1:], row)
			p := 1 / (1 + math.Exp(-oddsOf(weights, row)))
			residual := -p
			if bad[i] {
				residual++
			}
			for k, v := range x {
				system[k][size] += residual * v
				scaled := p * (1 - p) * v
				for l := range k + 1 {
					system[k][l] += scaled * x[l]
				}
			}
		}
		for k := range system {
			for l := range k {
				system[l][k] = system[k][l]
			}
		}
		for i, v := range solveSystem(system) {
			weights[i] += v
		}
	}
	return weights
}

// newSystem returns the penalty's part of the equations: the right side stands last.
func newSystem(weights []float64, ridge float64) [][]float64 {
	system := make([][]float64, len(weights))
	for i := range system {
		system[i] = make([]float64, len(weights)+1)
		if i > 0 {
			system[i][i], system[i][len(weights)] = ridge, -ridge*weights[i]
		}
	}
	return system
}

// solveSystem eliminates, with no search for pivots: the matrix is positive definite.
func solveSystem(a [][]float64) []float64 {
	for c := range a {
		for r := range a {
			f := a[r][c] / a[c][c]
			for k := c; r != c && k < len(a[r]); k++ {
				a[r][k] -= f * a[c][k]
			}
		}
	}
	x := make([]float64, len(a))
	for i := range x {
		x[i] = a[i][len(a)] / a[i][i]
	}
	return x
}

// oddsOf returns the log-odds of a row: the intercept, and a weight for each column.
func oddsOf(weights, row []float64) float64 {
	sum := weights[0]
	for i, v := range row {
		sum += weights[1+i] * v
	}
	return sum
}

// sampleOf returns what log-odds of bad say of rows whose outcome is known.
func sampleOf(odds []float64, bad []bool) *evaluate.Sample {
	s := &evaluate.Sample{}
	for i, z := range odds {
		good := int64(math.Round(-z * score.Micro))
		s.Scores, s.Points = append(s.Scores, good), append(s.Points, score.PointsOfOdds(good))
		s.PD, s.Bad = append(s.PD, score.PDOfOdds(good)), append(s.Bad, bad[i])
	}
	return s
}
