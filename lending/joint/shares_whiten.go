package joint

import "math"

// whitened is a party's columns as the protocol takes them: of mean zero and variance one over the
// rows to learn from, and without correlation among themselves there.
type whitened struct {
	names   []string    // of the features that are columns, in their order
	dropped []string    // features that the columns before them say already, or that never vary
	rows    [][]float64 // every row
	factor  [][]float64 // Cholesky factor of the standardised features' correlations
}

// whiten prepares features. Everything is decided from the rows in learn.
func whiten(features []feature, rows int, learn []int32) *whitened {
	w := &whitened{rows: make([][]float64, rows)}
	for _, f := range features {
		if !standardise(f.values, learn) || !w.add(f, learn) {
			w.dropped = append(w.dropped, f.name)
			continue
		}
		w.names = append(w.names, f.name)
	}
	return w
}

// standardise gives values mean zero and variance one, twice: the first time to hold them within
// clampAt. It reports whether they vary at all.
func standardise(values []float64, learn []int32) bool {
	for range 2 {
		mean, deviation, _ := moments(values, nil, learn)
		if deviation <= 1e-12*(1+math.Abs(mean)) {
			return false
		}
		for row, v := range values {
			values[row] = max(-clampAt, min(clampAt, (v-mean)/deviation))
		}
	}
	return true
}

// add takes a feature in: the part of it that the columns before do not explain, scaled to variance
// one. It reports whether there is enough of that.
func (w *whitened) add(f feature, learn []int32) bool {
	n := float64(len(learn))
	line := make([]float64, len(w.names)+1)
	square := 0.0
	for _, row := range learn {
		v := f.values[row]
		square += v * v
		for k, column := range w.rows[row] {
			line[k] += v * column
		}
	}
	left := square / n
	for k := range w.names {
		line[k] /= n
		left -= line[k] * line[k]
	}
	if left < leastPivot {
		return false
	}
	scale := math.Sqrt(left)
	line[len(w.names)] = scale
	for row, v := range f.values {
		for k := range w.names {
			v -= line[k] * w.rows[row][k]
		}
		w.rows[row] = append(w.rows[row], v/scale)
	}
	w.factor = append(w.factor, line)
	return true
}

// take returns some rows.
func (w *whitened) take(rows []int32) [][]float64 {
	taken := make([][]float64, len(rows))
	for i, row := range rows {
		taken[i] = w.rows[row]
	}
	return taken
}

// unfold turns weights of the columns into weights of the standardised features.
func (w *whitened) unfold(weights []float64) []float64 {
	unfolded := append([]float64(nil), weights...)
	for i := len(unfolded) - 1; i >= 0; i-- {
		unfolded[i] /= w.factor[i][i]
		for k := range i {
			unfolded[k] -= w.factor[i][k] * unfolded[i]
		}
	}
	return unfolded
}
