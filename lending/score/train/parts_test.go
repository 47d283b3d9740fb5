package train

import (
	"fmt"
	"math"
	"testing"

	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/portable"
)

func TestCutPoints(t *testing.T) {
	for _, c := range []struct {
		column, skip []int64
		bins         int
		want         string
	}{
		{nil, nil, 4, "[]"},
		{[]int64{score.Missing}, nil, 4, "[]"},
		{[]int64{5, 5, 5}, nil, 4, "[]"},
		{[]int64{1, 2, 3, 4}, nil, 4, "[1 2 3]"},
		{[]int64{4, 3, 2, 1}, nil, 2, "[2]"},
		{[]int64{1, 1, 1, 1, 2, 3}, nil, 3, "[1 2]"},
		{[]int64{1, 2, 2, 2, 2, 2}, nil, 3, "[1]"},
		{[]int64{-1, 0, 1, 2, 3, score.Missing}, []int64{-1}, 2, "[1]"},
		{[]int64{math.MinInt64 + 1, math.MaxInt64}, nil, 9, "[-9223372036854775807]"},
	} {
		if got := fmt.Sprint(cutPoints(c.column, c.skip, c.bins)); got != c.want {
			t.Errorf("%d in %d bins is cut at %s, want %s", c.column, c.bins, got, c.want)
		}
	}
}

// TestCutsHoldForAnyColumn: bins are non-empty, in number, and where values differ enough, even.
func TestCutsHoldForAnyColumn(t *testing.T) {
	stream := portable.NewStream(1)
	for range 300 {
		column := make([]int64, 1+stream.Below(500))
		spread := 1 + stream.Below(1000)
		for i := range column {
			column[i] = stream.Below(spread)
		}
		bins := int(2 + stream.Below(60))
		cuts := cutPoints(column, nil, bins)
		counts := make([]int, len(cuts)+1)
		for _, v := range column {
			counts[binOf(cuts, v)]++
		}
		for i, count := range counts {
			if count == 0 {
				t.Fatalf("bin %d of %d is empty: cuts %d", i, len(counts), cuts)
			}
		}
		if len(counts) > bins || !ascendingCuts(cuts) {
			t.Fatalf("%d bins of at most %d: cuts %d", len(counts), bins, cuts)
		}
	}
}

func ascendingCuts(cuts []int64) bool {
	for i := 1; i < len(cuts); i++ {
		if cuts[i-1] >= cuts[i] {
			return false
		}
	}
	return true
}

// slowJoin tries every way to join fine bins.
func slowJoin(j *joining, trend frame.Trend) float64 {
	n := len(j.fine)
	best := -1.0
	for mask := range 1 << (n - 1) { // bit i set: a cut after fine bin i
		var bins []counts
		sum := counts{}
		for i, c := range j.fine {
			sum.good, sum.bad = sum.good+c.good, sum.bad+c.bad
			if i == n-1 || mask>>i&1 == 1 {
				bins = append(bins, sum)
				sum = counts{}
			}
		}
		if value, ok := j.judge(bins, trend); ok && value > best {
			best = value
		}
	}
	return best
}

// judge returns the information value of bins, if they are allowed.
func (j *joining) judge(bins []counts, trend frame.Trend) (value float64, ok bool) {
	rises, falls := len(bins) <= j.maxBins, len(bins) <= j.maxBins
	for i, b := range bins {
		if b.rows() < j.minRows {
			return 0, false
		}
		value += b.iv(j.all)
		if i > 0 { // of the score: a bad share that falls
			rises = rises && compareBad(b, bins[i-1]) < 0
			falls = falls && compareBad(b, bins[i-1]) > 0
		}
	}
	return value, rises && trend != frame.TrendFalls || falls && trend != frame.TrendRises
}

// TestJoinIsOptimal compares the search with trying everything.
func TestJoinIsOptimal(t *testing.T) {
	stream := portable.NewStream(2)
	for round := range 400 {
		j := &joining{maxBins: int(1 + stream.Below(5)), minRows: stream.Below(40)}
		for range 1 + stream.Below(9) {
			c := counts{good: stream.Below(50), bad: stream.Below(20)}
			j.fine = append(j.fine, c)
			j.all.good, j.all.bad = j.all.good+c.good, j.all.bad+c.bad
		}
		trend := []frame.Trend{frame.TrendAny, frame.TrendRises, frame.TrendFalls}[stream.Below(3)]
		ends := j.join(trend)
		var bins []counts
		begin := 0
		for _, end := range ends {
			bins = append(bins, sumCounts(j.fine[begin:end]))
			begin = end
		}
		want := slowJoin(j, trend)
		got, ok := j.judge(bins, trend)
		if begin != len(j.fine) {
			t.Fatalf("round %d: ends %d do not cover %d fine bins", round, ends, len(j.fine))
		}
		if want < 0 { // nothing is allowed, so all are joined
			if len(ends) != 1 {
				t.Fatalf("round %d: ends %d, want one bin", round, ends)
			}
			continue
		}
		if !ok || math.Abs(got-want) > 1e-9 {
			t.Fatalf("round %d: ends %d of %v are worth %v (%v), the best is %v", round, ends, j.fine,
				got, ok, want)
		}
	}
}

// TestRegressionIsAtItsPeak: at the weights found the gradient vanishes.
func TestRegressionIsAtItsPeak(t *testing.T) {
	f := makeFrame(t, 11, 4000)
	p := quick(score.KindCard)
	p.Progress = func(int, int) {}
	card := fitCard(f, &p)
	for _, ridge := range []float64{0.001, 1, 1000} {
		l := newLogistic(f, card, ridge)
		in := []int{0, 1, 2, 3}
		weights := l.fit(in)
		gradient, _ := l.derivatives(in, weights)
		for i, g := range gradient {
			if math.Abs(g) > 1e-2 {
				t.Errorf("ridge %v: the likelihood still rises by %v along weight %d", ridge, g, i)
			}
		}
	}
}

// TestRegressionOfTwins: two equal features share the weight and nothing breaks.
func TestRegressionOfTwins(t *testing.T) {
	f := makeFrame(t, 12, 2000)
	p := quick(score.KindCard)
	p.Progress = func(int, int) {}
	l := newLogistic(f, fitCard(f, &p), 1)
	weights := l.fit([]int{0, 0})
	if off := weights[1] - weights[2]; math.Abs(off) > 1e-6 || weights[1] <= 0 {
		t.Errorf("twins weigh %v and %v", weights[1], weights[2])
	}
}

func TestSolve(t *testing.T) {
	a := [][]float64{{4, 0, 0}, {2, 5, 0}, {1, 3, 6}}
	x := solve(a, []float64{1, 2, 3})
	for i, want := range []float64{6.0 / 67, 7.0 / 67, 29.0 / 67} {
		if math.Abs(x[i]-want) > 1e-12 {
			t.Errorf("x[%d] = %v, want %v", i, x[i], want)
		}
	}
}

// TestHistogramsAreExact: what subtraction leaves for the larger child is what counting it would
// give, and each split's sums are those of its rows.
func TestHistogramsAreExact(t *testing.T) {
	f := makeFrame(t, 13, 2000)
	p := quick(score.KindForest)
	p.Workers = 2
	b := &booster{params: &p.Forest, frame: f, trend: trends(f), work: 2,
		stream: portable.NewStream(1)}
	b.splitRows()
	b.binFeatures()
	b.derive()
	g := b.newGrower()
	g.grow()
	if len(g.nodes) < 7 {
		t.Fatalf("the tree has %d nodes", len(g.nodes))
	}
	for i := range g.nodes {
		n := &g.nodes[i]
		sum := cell{}
		for _, row := range g.rows[n.begin:n.end] {
			sum = sum.plus(cell{int64(b.gradient[row]), int64(b.hessian[row]), 1})
		}
		if sum != n.sum {
			t.Errorf("node %d: sums %v, of its rows %v", i, n.sum, sum)
		}
	}
}

// TestTheFileIsTheForestThatWasFitted: the margins that training ended with are what the file
// scores.
func TestTheFileIsTheForestThatWasFitted(t *testing.T) {
	f := makeFrame(t, 14, 2000)
	p := quick(score.KindForest)
	p.Workers = 1
	b := &booster{params: &p.Forest, frame: f, trend: trends(f), work: 1,
		stream: portable.NewStream(p.Seed)}
	forest := b.fit(func(int, int) {})
	spec := newSpec(f, &p)
	spec.Forest = forest
	m, err := score.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	for row := range f.Rows() {
		sum, err := m.Sum(f.Row(row, nil))
		if err != nil || sum != b.margin[row] {
			t.Fatalf("row %d: the file says %d, training ended with %d, %v", row, sum, b.margin[row], err)
		}
	}
}

func TestRankLevels(t *testing.T) {
	f := makeFrame(t, 15, 4000)
	p := quick(score.KindForest)
	b := &booster{params: &p.Forest, frame: f, stream: portable.NewStream(1)}
	b.splitRows()
	ranks := b.rankLevels(3)
	levels := f.Features[3].Levels
	if fmt.Sprint(levels) != "[bar farm mill shop zoo]" || ranks[0] != 0 || ranks[4] != 4 {
		t.Errorf("levels %v have ranks %d, want bar riskiest and zoo safest", levels, ranks)
	}
}
