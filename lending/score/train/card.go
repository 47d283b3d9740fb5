package train

import (
	"slices"

	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/portable"
)

// fitCard bins every feature, regresses the outcome on the weights of evidence, and turns the
// coefficients into points.
func fitCard(f *frame.Frame, p *Params) *score.Card {
	trend := trends(f)
	special := map[string][]int64{}
	for _, column := range f.Mapping.Features {
		special[column.Column] = column.Special
	}
	bad := int64(f.BadRows())
	b := binner{frame: f, params: &p.Card, all: counts{good: int64(f.Rows()) - bad, bad: bad}}
	card := &score.Card{Features: make([]score.CardFeature, len(f.Features))}
	forEach(len(f.Features), p.Workers, func(i int) {
		name := f.Features[i].Name
		if f.Features[i].Kind == score.Categorical {
			card.Features[i] = b.binLevels(i)
		} else {
			card.Features[i] = b.binNumbers(i, special[name], trend[i])
		}
		card.Features[i].Name = name
	})
	p.Progress(1, 2)
	regress(f, p, card)
	p.Progress(2, 2)
	return card
}

// binner cuts features into the bins of a card.
type binner struct {
	frame  *frame.Frame
	params *CardParams
	all    counts
}

// minRows returns how many rows a bin must have.
func (b *binner) minRows() int64 {
	share := b.all.rows() * int64(b.params.MinBinPermille)
	return max(1, (share+999)/1000)
}

// tally counts the rows of each bin that find assigns.
func (b *binner) tally(column []int64, bins int, find func(v int64) int) []counts {
	tallied := make([]counts, bins)
	for row, v := range column {
		if b.frame.Bad(row) {
			tallied[find(v)].bad++
		} else {
			tallied[find(v)].good++
		}
	}
	return tallied
}

// binNumbers bins a numeric feature: missing, each special value, then ranges.
func (b *binner) binNumbers(feature int, special []int64, trend frame.Trend) score.CardFeature {
	column := b.frame.Column(feature)
	cuts := cutPoints(column, special, b.params.FineBins)
	fixed := 1 + len(special)
	tallied := b.tally(column, fixed+len(cuts)+1, func(v int64) int {
		if v == score.Missing {
			return 0
		}
		if i, found := slices.BinarySearch(special, v); found {
			return 1 + i
		}
		return fixed + binOf(cuts, v)
	})
	c := score.CardFeature{Bins: []score.Bin{b.fixedBin(score.BinMissing, nil, tallied[0])}}
	for i := range special {
		c.Bins = append(c.Bins, b.fixedBin(score.BinSpecial, &special[i], tallied[1+i]))
	}
	j := joining{fine: tallied[fixed:], all: b.all, maxBins: b.params.MaxBins, minRows: b.minRows()}
	begin := 0
	for _, end := range j.join(trend) {
		bin := b.bin(score.BinRange, sumCounts(j.fine[begin:end]))
		if end <= len(cuts) {
			bin.Bound = &cuts[end-1]
		}
		c.Bins = append(c.Bins, bin)
		begin = end
	}
	c.IVMicro = b.informationValue(c.Bins)
	return c
}

// binLevels bins a categorical feature: missing, then levels of like share of bad rows together.
func (b *binner) binLevels(feature int) score.CardFeature {
	levels := int64(len(b.frame.Features[feature].Levels))
	tallied := b.tally(b.frame.Column(feature), int(levels)+1, func(v int64) int {
		if v == score.Missing {
			return int(levels)
		}
		return int(v)
	})
	order := make([]int64, levels)
	for i := range order {
		order[i] = int64(i)
	}
	slices.SortStableFunc(order, func(x, y int64) int { return compareBad(tallied[x], tallied[y]) })
	fine := b.gatherLevels(order, tallied)

	c := score.CardFeature{Bins: []score.Bin{b.fixedBin(score.BinMissing, nil, tallied[levels])}}
	j := joining{fine: fine.tallied, all: b.all, maxBins: b.params.MaxBins, minRows: b.minRows()}
	begin := 0
	for _, end := range j.join(frame.TrendFalls) { // the levels stand in order of rising bad share
		bin := b.bin(score.BinLevels, sumCounts(j.fine[begin:end]))
		bin.Levels = slices.Clone(order[fine.start(begin):fine.ends[end-1]])
		slices.Sort(bin.Levels)
		c.Bins = append(c.Bins, bin)
		begin = end
	}
	c.IVMicro = b.informationValue(c.Bins)
	return c
}

// stretches is neighbouring levels taken together: how many levels end each, and their rows.
type stretches struct {
	ends    []int
	tallied []counts
}

func (s *stretches) start(i int) int {
	if i == 0 {
		return 0
	}
	return s.ends[i-1]
}

// gatherLevels joins neighbouring levels, in order of their share of bad, until each stretch has
// the rows of a fine bin. So there are no more stretches than fine bins of a numeric feature,
// however many levels there are.
func (b *binner) gatherLevels(order []int64, tallied []counts) *stretches {
	s := &stretches{}
	least := b.all.rows() / int64(b.params.FineBins)
	sum := counts{}
	for i, level := range order {
		sum.good += tallied[level].good
		sum.bad += tallied[level].bad
		if last := i == len(order)-1; sum.rows() < least && !last {
			continue
		}
		s.ends = append(s.ends, i+1)
		s.tallied = append(s.tallied, sum)
		sum = counts{}
	}
	return s
}

func sumCounts(list []counts) counts {
	sum := counts{}
	for _, c := range list {
		sum.good += c.good
		sum.bad += c.bad
	}
	return sum
}

// fixedBin is a bin of its own, which is not joined with others.
func (b *binner) fixedBin(kind score.BinKind, bound *int64, c counts) score.Bin {
	bin := b.bin(kind, c)
	bin.Bound = bound
	return bin
}

// bin gives a bin its weight of evidence. With too few rows to say anything it has none: an
// applicant is not judged by a handful of others.
func (b *binner) bin(kind score.BinKind, c counts) score.Bin {
	bin := score.Bin{Kind: kind, Good: c.good, Bad: c.bad}
	if c.rows() >= b.minRows() {
		bin.WOEMicro = portable.Round(float64(c.woe(b.all) * score.Micro))
	}
	return bin
}

// informationValue sums the parts of the bins that have a weight.
func (b *binner) informationValue(bins []score.Bin) int64 {
	sum := 0.0
	for _, bin := range bins {
		if bin.WOEMicro != 0 {
			sum += counts{good: bin.Good, bad: bin.Bad}.iv(b.all)
		}
	}
	return portable.Round(float64(sum * score.Micro))
}

// regress fits the coefficients and writes coefficients and points into the card. A feature of too
// little information stays out, and so does one whose coefficient would turn its own evidence
// round: it says again what another says, and its reason would read the wrong way.
func regress(f *frame.Frame, p *Params, card *score.Card) {
	var in []int
	for i := range card.Features {
		if card.Features[i].IVMicro >= int64(p.Card.MinIVMicro) {
			in = append(in, i)
		}
	}
	l := newLogistic(f, card, float64(p.Card.RidgeMilli)/1000)
	weights := l.fit(in)
	for {
		worst := -1
		for i := range in {
			if weights[1+i] <= 0 && (worst < 0 || weights[1+i] < weights[1+worst]) {
				worst = i
			}
		}
		if worst < 0 {
			break
		}
		in = slices.Delete(in, worst, worst+1)
		weights = l.fit(in)
	}
	const factor = float64(score.FactorNano) / 1e9
	card.BasePoints = portable.Round(float64(score.OffsetNano)/1e9 + float64(factor*weights[0]))
	for i, feature := range in {
		c := &card.Features[feature]
		c.CoefficientMicro = portable.Round(float64(weights[1+i] * score.Micro))
		perWOE := float64(factor * weights[1+i])
		for b := range c.Bins {
			c.Bins[b].Points = portable.Round(float64(perWOE*float64(c.Bins[b].WOEMicro)) / score.Micro)
		}
	}
}
