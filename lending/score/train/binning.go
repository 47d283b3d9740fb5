package train

import (
	"surety/lending/score/frame"
	"surety/lending/score/portable"
)

// counts is how many rows of a bin ended well and how many did not.
type counts struct {
	good, bad int64
}

func (c counts) rows() int64 { return c.good + c.bad }

// woe returns the weight of evidence of a bin among all rows: ln(share of the good that are in it /
// share of the bad). Half a row is added to each count, so that a bin of one kind is finite.
func (c counts) woe(all counts) float64 {
	good := (float64(c.good) + 0.5) / (float64(all.good) + 0.5)
	bad := (float64(c.bad) + 0.5) / (float64(all.bad) + 0.5)
	return portable.Ln(good / bad)
}

// iv returns the bin's part of the information value: what separating it tells good from bad by.
func (c counts) iv(all counts) float64 {
	good := (float64(c.good) + 0.5) / (float64(all.good) + 0.5)
	bad := (float64(c.bad) + 0.5) / (float64(all.bad) + 0.5)
	return float64((good - bad) * portable.Ln(good/bad))
}

// compareBad returns -1, 0 or 1 as the share of bad rows in a is below, equal to or above that in
// b.
func compareBad(a, b counts) int {
	left, right := a.bad*b.rows(), b.bad*a.rows()
	switch {
	case left < right:
		return -1
	case left > right:
		return 1
	}
	return 0
}

// joining is the search for the best way to join neighbouring fine bins.
type joining struct {
	fine    []counts
	all     counts // of the whole data, in whose terms weight of evidence is
	maxBins int
	minRows int64
}

// join returns how to join the fine bins into at most maxBins, each of at least minRows rows, so
// that the share of bad rows strictly rises or strictly falls from bin to bin, with the greatest
// information value: for each joined bin the index after its last fine bin. The trend says which of
// the two it may be. Where the rows do not suffice for two bins, the answer is one.
func (j *joining) join(trend frame.Trend) []int {
	var best []int
	bestValue := -1.0
	for _, direction := range [...]struct {
		sign  int
		trend frame.Trend
	}{{-1, frame.TrendRises}, {1, frame.TrendFalls}} { // a score that rises is a bad share that falls
		if trend != frame.TrendAny && trend != direction.trend {
			continue
		}
		if ends, value := j.search(direction.sign); value > bestValue {
			best, bestValue = ends, value
		}
	}
	if best == nil {
		best = []int{len(j.fine)}
	}
	return best
}

// state is the best way to arrive at a last bin with a number of bins in all.
type state struct {
	value float64 // information value of the bins so far; negative if there is no way
	from  int     // where the bin before the last begins
}

// search is a dynamic programme over (number of bins, first and last fine bin of the last bin). It
// needs the last bin in its state because the next must differ from it in the right direction.
func (j *joining) search(sign int) (ends []int, value float64) {
	n := len(j.fine)
	table := make([][]state, j.maxBins)
	merged := j.mergeAll()
	for bins := range table {
		table[bins] = make([]state, n*(n+1))
		for begin := range n {
			for end := begin + 1; end <= n; end++ {
				table[bins][begin*(n+1)+end] = j.arrive(table, merged, bins, begin, end, sign)
			}
		}
	}
	bestBins, bestBegin, value := -1, 0, -1.0
	for bins := range table {
		for begin := range n {
			if s := table[bins][begin*(n+1)+n]; s.value > value {
				bestBins, bestBegin, value = bins, begin, s.value
			}
		}
	}
	if bestBins < 0 {
		return nil, -1
	}
	ends = make([]int, bestBins+1)
	begin, end := bestBegin, n
	for bins := bestBins; bins >= 0; bins-- {
		ends[bins] = end
		begin, end = table[bins][begin*(n+1)+end].from, begin
	}
	return ends, value
}

// arrive returns the best way to a last bin from begin to end that is number bins, counted from
// zero.
func (j *joining) arrive(table [][]state, merged []counts, bins, begin, end, sign int) state {
	n := len(j.fine)
	last := merged[begin*(n+1)+end]
	none := state{value: -1}
	if last.rows() < j.minRows || (bins == 0) != (begin == 0) {
		return none
	}
	own := last.iv(j.all)
	if bins == 0 {
		return state{value: own}
	}
	best := none
	for from := range begin {
		before := table[bins-1][from*(n+1)+begin]
		if before.value < 0 || compareBad(last, merged[from*(n+1)+begin]) != sign {
			continue
		}
		if total := before.value + own; total > best.value {
			best = state{value: total, from: from}
		}
	}
	return best
}

// mergeAll returns the counts of every stretch of fine bins, at begin*(n+1)+end.
func (j *joining) mergeAll() []counts {
	n := len(j.fine)
	merged := make([]counts, n*(n+1))
	for begin := range n {
		sum := counts{}
		for end := begin + 1; end <= n; end++ {
			sum.good += j.fine[end-1].good
			sum.bad += j.fine[end-1].bad
			merged[begin*(n+1)+end] = sum
		}
	}
	return merged
}
