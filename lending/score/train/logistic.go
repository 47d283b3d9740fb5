package train

import (
	"math"

	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/portable"
)

// logistic regresses "repaid" on the weights of evidence of a card's features.
type logistic struct {
	frame *frame.Frame
	woe   [][]float64 // for each feature of the card, for each row
	ridge float64
}

func newLogistic(f *frame.Frame, card *score.Card, ridge float64) *logistic {
	l := &logistic{frame: f, ridge: ridge, woe: make([][]float64, len(card.Features))}
	for i := range card.Features {
		column := f.Column(i)
		weights := make([]float64, len(column))
		bins := card.Features[i].Bins
		binner := score.NewBinner(bins)
		for row, v := range column {
			weights[row] = float64(bins[binner.Find(v)].WOEMicro) / score.Micro
		}
		l.woe[i] = weights
	}
	return l
}

// fit returns the intercept and then the coefficient of each feature listed, by Newton's method on
// the penalised likelihood. The intercept is not penalised. The likelihood is strictly concave, so
// a step that is too long is halved until it improves, and the end does not depend on the start.
func (l *logistic) fit(in []int) []float64 {
	size := len(in) + 1
	weights := make([]float64, size)
	likelihood := l.likelihood(in, weights)
	for range maxNewtonSteps {
		gradient, hessian := l.derivatives(in, weights)
		step := solve(hessian, gradient)
		next := make([]float64, size)
		improved := false
		for scale := 1.0; scale > 1e-6; scale /= 2 {
			for i := range next {
				next[i] = weights[i] + float64(scale*step[i])
			}
			if value := l.likelihood(in, next); value > likelihood {
				improved = value-likelihood > float64(1e-9*math.Abs(likelihood))
				likelihood = value
				copy(weights, next)
				break
			}
		}
		if !improved {
			break
		}
	}
	return weights
}

// odds returns the log-odds of good of a row.
func (l *logistic) odds(in []int, weights []float64, row int) float64 {
	sum := weights[0]
	for i, feature := range in {
		sum += float64(weights[1+i] * l.woe[feature][row])
	}
	return sum
}

// likelihood returns the logarithm of the likelihood of the data, less the penalty.
func (l *logistic) likelihood(in []int, weights []float64) float64 {
	sum := 0.0
	for row := range l.frame.Rows() {
		odds := l.odds(in, weights, row)
		if l.frame.Bad(row) {
			odds = -odds
		}
		sum += portable.Ln(portable.Sigmoid(odds))
	}
	for _, w := range weights[1:] {
		sum -= float64(float64(l.ridge*w)*w) / 2
	}
	return sum
}

// derivatives returns the gradient of the penalised likelihood and the negative of its second
// derivatives, of which only the lower triangle is filled.
func (l *logistic) derivatives(in []int, weights []float64) ([]float64, [][]float64) {
	size := len(weights)
	gradient := make([]float64, size)
	hessian := make([][]float64, size)
	for i := range hessian {
		hessian[i] = make([]float64, size)
	}
	x := make([]float64, size)
	x[0] = 1
	for row := range l.frame.Rows() {
		for i, feature := range in {
			x[1+i] = l.woe[feature][row]
		}
		good := portable.Sigmoid(l.odds(in, weights, row))
		residual := -good
		if !l.frame.Bad(row) {
			residual = 1 - good
		}
		weight := float64(good * (1 - good))
		for i := range x {
			gradient[i] += float64(residual * x[i])
			scaled := float64(weight * x[i])
			for k := 0; k <= i; k++ {
				hessian[i][k] += float64(scaled * x[k])
			}
		}
	}
	for i := 1; i < size; i++ {
		gradient[i] -= float64(l.ridge * weights[i])
		hessian[i][i] += l.ridge
	}
	return gradient, hessian
}

// solve returns x of a·x = b for a symmetric positive definite a, given by its lower triangle,
// which it overwrites with its Cholesky factor. The ridge makes a definite but for an intercept
// whose weights all vanish; a pivot that small is raised, and the halving of the step does the
// rest.
func solve(a [][]float64, b []float64) []float64 {
	const leastPivot = 1e-9
	n := len(b)
	for i := range n {
		for k := range i {
			a[i][k] = (a[i][k] - dot(a[i][:k], a[k][:k])) / a[k][k]
		}
		a[i][i] = math.Sqrt(max(a[i][i]-dot(a[i][:i], a[i][:i]), leastPivot))
	}
	x := make([]float64, n)
	for i := range n {
		x[i] = (b[i] - dot(a[i][:i], x[:i])) / a[i][i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			x[i] -= float64(a[k][i] * x[k])
		}
		x[i] /= a[i][i]
	}
	return x
}

func dot(x, y []float64) float64 {
	sum := 0.0
	for i := range x {
		sum += float64(x[i] * y[i])
	}
	return sum
}
