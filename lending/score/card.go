package score

// Binner is the bins of one feature of a card, laid out for looking a value up.
type Binner struct {
	bins     []Bin
	specials int     // bins[1:1+specials] are the special ones
	levelBin []int32 // for a categorical feature: the bin of each level; nil for a numeric one
}

func compileCard(card *Card) []Binner {
	compiled := make([]Binner, len(card.Features))
	for i := range card.Features {
		compiled[i] = NewBinner(card.Features[i].Bins)
	}
	return compiled
}

// NewBinner returns a Binner of bins that stand as a card has them: missing, special, then ranges
// or levels. It is exported for trainers, which bin before there is a model. It keeps the bins.
func NewBinner(bins []Bin) Binner {
	c := Binner{bins: bins}
	levels := 0
	for i := range bins {
		if bins[i].Kind == BinSpecial {
			c.specials++
		}
		levels += len(bins[i].Levels)
	}
	if levels == 0 {
		return c
	}
	c.levelBin = make([]int32, levels)
	for i := range bins {
		for _, level := range bins[i].Levels {
			c.levelBin[level] = int32(i)
		}
	}
	return c
}

// value returns the points of the bin a value falls in.
func (c *Binner) value(v int64) int64 { return c.bins[c.Find(v)].Points }

// Find returns the index of the bin a value falls in. There is always one: the last range is open.
func (c *Binner) Find(v int64) int {
	if c.levelBin != nil {
		if v < 0 || v >= int64(len(c.levelBin)) {
			return 0
		}
		return int(c.levelBin[v])
	}
	if v == Missing {
		return 0
	}
	i := 1
	for ; i <= c.specials; i++ {
		if *c.bins[i].Bound == v {
			return i
		}
	}
	for c.bins[i].Bound != nil && v > *c.bins[i].Bound {
		i++
	}
	return i
}
