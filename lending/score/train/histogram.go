package train

import "surety/lending/score/frame"

// cell is the sums over the rows of one bin, as integers: they come out the same in any order.
type cell struct {
	gradient, hessian int64 // in units of 1/gradientOne
	rows              int64
}

func (c cell) plus(d cell) cell {
	return cell{c.gradient + d.gradient, c.hessian + d.hessian, c.rows + d.rows}
}

func (c cell) minus(d cell) cell {
	return cell{c.gradient - d.gradient, c.hessian - d.hessian, c.rows - d.rows}
}

// count returns the histogram, over all bins of all drawn features, of the rows from begin to end.
func (g *grower) count(begin, end int) []cell {
	histogram := make([]cell, g.width)
	rows := g.rows[begin:end]
	forEach(len(g.features), g.work, func(i int) {
		bins := g.bins[g.features[i]]
		cells := histogram[g.offsets[i]:]
		for _, row := range rows {
			c := &cells[bins[row]]
			c.gradient += int64(g.gradient[row])
			c.hessian += int64(g.hessian[row])
			c.rows++
		}
	})
	return histogram
}

// cells returns the bins of a drawn feature in a histogram.
func (g *grower) cells(histogram []cell, feature int) []cell {
	begin := g.offsets[feature]
	return histogram[begin : begin+len(g.cuts[g.features[feature]])+2]
}

// total returns the sums over all rows of a histogram.
func (g *grower) total(histogram []cell) cell {
	sum := cell{}
	for _, c := range g.cells(histogram, 0) {
		sum = sum.plus(c)
	}
	return sum
}

// bestSplit returns the split of a node that gains most; of equal ones that of the first feature,
// and there the first found.
func (g *grower) bestSplit(n *treeNode) split {
	found := make([]split, len(g.features))
	forEach(len(g.features), g.work, func(i int) { found[i] = g.bestOfFeature(n, i) })
	best := split{}
	for _, s := range found {
		if s.gain > best.gain {
			best = s
		}
	}
	return best
}

// bestOfFeature tries each cut of one feature, with the missing rows on either side of it. Where
// none is missing, a missing value is sent the way of the greater number of rows.
func (g *grower) bestOfFeature(n *treeNode, feature int) split {
	cells := g.cells(n.histogram, feature)
	parent := g.worth(n.sum, n.low, n.high)
	missing := cells[0]
	best := split{}
	left := cell{}
	for bin := 1; bin < len(cells)-1; bin++ {
		left = left.plus(cells[bin])
		if cells[bin].rows == 0 {
			continue
		}
		s := split{feature: feature, bin: bin, left: left}
		if missing.rows == 0 {
			s.missingLeft = 2*left.rows >= n.sum.rows
		}
		g.weigh(n, &s, parent)
		if s.gain > best.gain {
			best = s
		}
		if missing.rows == 0 {
			continue
		}
		s.missingLeft, s.left = true, left.plus(missing)
		g.weigh(n, &s, parent)
		if s.gain > best.gain {
			best = s
		}
	}
	return best
}

// weigh sets the gain of a split, zero where a side is too small or the trend would be broken, and
// the value between the sides.
func (g *grower) weigh(n *treeNode, s *split, parent float64) {
	s.gain = 0
	right := n.sum.minus(s.left)
	if !g.suffices(s.left) || !g.suffices(right) {
		return
	}
	below, above := g.leafValue(s.left, n.low, n.high), g.leafValue(right, n.low, n.high)
	trend := g.trend[g.features[s.feature]]
	if trend == frame.TrendRises && below > above || trend == frame.TrendFalls && below < above {
		return
	}
	s.middle = (below + above) / 2
	s.gain = g.worth(s.left, n.low, n.high) + g.worth(right, n.low, n.high) - parent
}

func (g *grower) suffices(c cell) bool {
	const unit = gradientOne / 1000
	return c.rows >= int64(g.params.MinLeafRows) && c.hessian >= int64(g.params.MinLeafWeight)*unit
}

// leafValue returns the log-odds that a leaf should add: Newton's step, kept within bounds.
func (g *grower) leafValue(c cell, low, high float64) float64 {
	step := (float64(c.gradient) / gradientOne) / (float64(c.hessian)/gradientOne + g.penalty())
	return min(max(step, low), high)
}

// worth returns twice what a leaf of those rows adds to the penalised likelihood, to second order.
func (g *grower) worth(c cell, low, high float64) float64 {
	value := g.leafValue(c, low, high)
	linear := float64(2 * float64(value*(float64(c.gradient)/gradientOne)))
	curved := float64(float64(value*value) * (float64(c.hessian)/gradientOne + g.penalty()))
	return linear - curved
}

func (g *grower) penalty() float64 { return float64(g.params.L2Milli) / 1000 }
