package train

import (
	"slices"

	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/portable"
)

// gradientOne is a gradient of one in the integers that histograms sum. A gradient is at most one,
// a row at most 5 million, so sums stay below 2^53 and are exact as floats too.
const gradientOne = 1 << 30

// booster fits a forest. Rows and features are numbered as in the frame.
type booster struct {
	params *ForestParams
	frame  *frame.Frame
	trend  []frame.Trend
	work   int // workers

	ranks [][]int64 // of the levels of each categorical feature
	cuts  [][]int64 // between the bins of each feature
	bins  [][]uint8 // of each feature, of each row: 0 is missing, then from 1 the bins in order

	train    []int32 // rows to fit to
	holdout  []int32 // rows to stop early by
	margin   []int64 // of each row, the forest so far: millionths of log-odds of good
	gradient []int32 // of each row, in units of 1/gradientOne
	hessian  []int32
	stream   *portable.Stream
}

// fitForest fits a forest to a frame.
func fitForest(f *frame.Frame, p *Params) *score.Forest {
	b := &booster{params: &p.Forest, frame: f, trend: trends(f), work: p.Workers,
		stream: portable.NewStream(p.Seed)}
	return b.fit(p.Progress)
}

// fit bins the features and adds trees one at a time, each fitted to a part of rows and features
// drawn from the seed.
func (b *booster) fit(progress func(done, total int)) *score.Forest {
	b.splitRows()
	b.binFeatures()
	forest := &score.Forest{Ranks: b.ranks, BaseMicro: b.baseMicro()}
	for row := range b.margin {
		b.margin[row] = forest.BaseMicro
	}
	best, bestLoss := 0, b.holdoutLoss()
	for t := range b.params.Trees {
		b.derive()
		g := b.newGrower()
		g.grow()
		forest.Trees = append(forest.Trees, g.preorder(0, nil))
		b.advance(g)
		progress(t+1, b.params.Trees)
		if len(b.holdout) == 0 {
			continue
		}
		if loss := b.holdoutLoss(); loss < bestLoss {
			best, bestLoss = t+1, loss
		} else if t+1-best >= b.params.Patience {
			break
		}
	}
	if len(b.holdout) > 0 {
		forest.Trees = forest.Trees[:best]
	}
	return forest
}

// splitRows draws the rows that are held out; the others are trained on.
func (b *booster) splitRows() {
	rows := b.frame.Rows()
	b.margin = make([]int64, rows)
	b.gradient = make([]int32, rows)
	b.hessian = make([]int32, rows)
	for row := range rows {
		if b.stream.Below(1000) < int64(b.params.HoldoutPermille) {
			b.holdout = append(b.holdout, int32(row))
		} else {
			b.train = append(b.train, int32(row))
		}
	}
}

// baseMicro returns the log-odds of good of the rows trained on, in millionths.
func (b *booster) baseMicro() int64 {
	c := counts{}
	for _, row := range b.train {
		if b.frame.Bad(int(row)) {
			c.bad++
		} else {
			c.good++
		}
	}
	odds := portable.Ln((float64(c.good) + 0.5) / (float64(c.bad) + 0.5))
	return portable.Round(float64(odds * score.Micro))
}

// binFeatures turns every column into one byte a row.
func (b *booster) binFeatures() {
	features := len(b.frame.Features)
	b.ranks = make([][]int64, features)
	b.cuts = make([][]int64, features)
	b.bins = make([][]uint8, features)
	forEach(features, b.work, func(i int) {
		column := b.frame.Column(i)
		b.ranks[i] = []int64{}
		if b.frame.Features[i].Kind == score.Categorical {
			b.ranks[i] = b.rankLevels(i)
			column = ranked(column, b.ranks[i])
		}
		b.cuts[i] = cutPoints(pickRows(column, b.train), nil, b.params.Bins-1)
		b.bins[i] = make([]uint8, len(column))
		for row, v := range column {
			if v != score.Missing {
				b.bins[i][row] = uint8(1 + binOf(b.cuts[i], v))
			}
		}
	})
}

// rankLevels orders the levels of a feature by their share of good rows, drawn towards the mean of
// all by LevelPrior rows' worth; equal ones keep their order. Levels without rows stand at the
// mean.
func (b *booster) rankLevels(feature int) []int64 {
	tallied := make([]counts, len(b.frame.Features[feature].Levels))
	all := counts{}
	column := b.frame.Column(feature)
	for _, row := range b.train {
		c := &counts{}
		if v := column[row]; v != score.Missing {
			c = &tallied[v]
		}
		if b.frame.Bad(int(row)) {
			c.bad, all.bad = c.bad+1, all.bad+1
		} else {
			c.good, all.good = c.good+1, all.good+1
		}
	}
	prior := float64(b.params.LevelPrior) + 0.5 // above zero: no level without rows divides by zero
	mean := float64(all.good) / float64(all.rows())
	share := func(level int) float64 {
		c := tallied[level]
		return (float64(c.good) + float64(prior*mean)) / (float64(c.rows()) + prior)
	}
	order := make([]int, len(tallied))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int {
		switch left, right := share(x), share(y); {
		case left < right:
			return -1
		case left > right:
			return 1
		}
		return 0
	})
	ranks := make([]int64, len(order))
	for rank, level := range order {
		ranks[level] = int64(rank)
	}
	return ranks
}

func ranked(column, ranks []int64) []int64 {
	out := make([]int64, len(column))
	for row, v := range column {
		out[row] = v
		if v != score.Missing {
			out[row] = ranks[v]
		}
	}
	return out
}

func pickRows(column []int64, rows []int32) []int64 {
	picked := make([]int64, len(rows))
	for i, row := range rows {
		picked[i] = column[row]
	}
	return picked
}

// derive computes the gradient and the second derivative of the log-likelihood at each row's
// margin.
func (b *booster) derive() {
	const chunks = 16
	forEach(chunks, b.work, func(chunk int) {
		rows := len(b.margin)
		for row := rows * chunk / chunks; row < rows*(chunk+1)/chunks; row++ {
			good := portable.Sigmoid(float64(b.margin[row]) / score.Micro)
			target := 1.0
			if b.frame.Bad(row) {
				target = 0
			}
			b.gradient[row] = int32(portable.Round(float64((target - good) * gradientOne)))
			b.hessian[row] = int32(portable.Round(float64(float64(good*(1-good)) * gradientOne)))
		}
	})
}

// drawRows returns the rows of one tree. At least one row is drawn.
func (b *booster) drawRows() []int32 {
	drawn := make([]int32, 0, len(b.train))
	for _, row := range b.train {
		if b.stream.Below(1000) < int64(b.params.RowPermille) {
			drawn = append(drawn, row)
		}
	}
	if len(drawn) == 0 {
		drawn = append(drawn, b.train[0])
	}
	return drawn
}

// drawFeatures returns the features of one tree, in ascending order.
func (b *booster) drawFeatures() []int32 {
	all := make([]int32, len(b.bins))
	for i := range all {
		all[i] = int32(i)
	}
	b.stream.Shuffle(all)
	count := (len(all)*b.params.FeaturePermille + 999) / 1000
	drawn := all[:count]
	slices.Sort(drawn)
	return drawn
}

// advance adds a tree to the margin of every row, drawn or not.
func (b *booster) advance(g *grower) {
	const chunks = 16
	forEach(chunks, b.work, func(chunk int) {
		rows := len(b.margin)
		for row := rows * chunk / chunks; row < rows*(chunk+1)/chunks; row++ {
			b.margin[row] += g.answer(row)
		}
	})
}

// holdoutLoss returns the mean negative log-likelihood of the rows held out; zero if there are
// none.
func (b *booster) holdoutLoss() float64 {
	if len(b.holdout) == 0 {
		return 0
	}
	sum := 0.0
	for _, row := range b.holdout {
		odds := float64(b.margin[row]) / score.Micro
		if b.frame.Bad(int(row)) {
			odds = -odds
		}
		sum -= portable.Ln(portable.Sigmoid(odds))
	}
	return sum / float64(len(b.holdout))
}
