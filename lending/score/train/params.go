package train

import (
	"surety/base/errs"
	"surety/lending/score"
)

// Params says how to fit a model. All are integers, as they stand in the model file.
type Params struct {
	Kind    score.Kind
	Name    string // of the model; empty means that of the mapping
	Seed    uint64
	Workers int // goroutines; the model does not depend on it

	Card   CardParams
	Forest ForestParams

	// Progress, where set, is called after each step with the steps done and the steps there are.
	Progress func(done, total int)
}

// CardParams says how to fit a scorecard.
type CardParams struct {
	FineBins       int // quantile bins to start from
	MaxBins        int // bins of a feature at most, missing and special ones apart
	MinBinPermille int // of all rows, in each bin at least
	MinIVMicro     int // features with less information value stay out
	RidgeMilli     int // L2 penalty of the regression, in thousandths
}

// ForestParams says how to fit a forest.
type ForestParams struct {
	Trees            int
	Depth            int // splits between root and leaf at most
	Bins             int // of the histograms, missing included
	LearningPermille int // of each tree's answer that is used
	MinLeafRows      int
	MinLeafWeight    int // sum of p(1-p) in a leaf at least, in thousandths
	L2Milli          int // penalty on leaf values, in thousandths
	MinGainMilli     int // of a split, in thousandths
	RowPermille      int // of the rows, drawn anew for each tree
	FeaturePermille  int // of the features, drawn anew for each tree
	LevelPrior       int // rows' worth of the mean that a level's share of good is drawn towards
	HoldoutPermille  int // of the rows, kept apart to stop early; 0 means no early stop
	Patience         int // trees without improvement after which to stop
}

// Default returns the parameters that suit most data sets: those of the reported figures.
func Default(kind score.Kind) Params {
	return Params{
		Kind:    kind,
		Seed:    42,
		Workers: 2,
		Card: CardParams{FineBins: 50, MaxBins: 8, MinBinPermille: 30, MinIVMicro: 10_000,
			RidgeMilli: 1000},
		Forest: ForestParams{Trees: 200, Depth: 4, Bins: 128, LearningPermille: 50, MinLeafRows: 20,
			MinLeafWeight: 5000, L2Milli: 5000, RowPermille: 700, FeaturePermille: 600,
			LevelPrior: 20, Patience: 20},
	}
}

// Small returns parameters for a data set of some thousand rows or fewer, which many or deep trees
// would learn by heart.
func Small(kind score.Kind) Params {
	p := Default(kind)
	p.Card.MinBinPermille = 50
	p.Forest.Trees, p.Forest.Depth = 150, 2
	return p
}

// ForRows returns Small parameters below smallRows rows and Default ones from there on.
func ForRows(kind score.Kind, rows int) Params {
	const smallRows = 15_000
	if rows < smallRows {
		return Small(kind)
	}
	return Default(kind)
}

// bound is one parameter with the values it may have. The names stand in model files.
type bound struct {
	name             string
	value, low, high int
}

func (p *CardParams) bounds() []bound {
	return []bound{
		{"fine_bins", p.FineBins, 2, MaxFineBins},
		{"max_bins", p.MaxBins, 2, MaxCardBins},
		{"min_bin_permille", p.MinBinPermille, 1, 500},
		{"min_iv_micro", p.MinIVMicro, 0, 1_000_000},
		{"ridge_milli", p.RidgeMilli, 1, 1_000_000_000},
	}
}

func (p *ForestParams) bounds() []bound {
	return []bound{
		{"trees", p.Trees, 1, score.MaxTrees},
		{"depth", p.Depth, 1, score.MaxDepth},
		{"bins", p.Bins, 4, MaxHistogramBins},
		{"learning_permille", p.LearningPermille, 1, 1000},
		{"min_leaf_rows", p.MinLeafRows, 1, 1_000_000},
		{"min_leaf_weight_milli", p.MinLeafWeight, 0, 1_000_000_000},
		{"l2_milli", p.L2Milli, 1, 1_000_000_000},
		{"min_gain_milli", p.MinGainMilli, 0, 1_000_000_000},
		{"row_permille", p.RowPermille, 1, 1000},
		{"feature_permille", p.FeaturePermille, 1, 1000},
		{"level_prior", p.LevelPrior, 0, 1_000_000},
		{"holdout_permille", p.HoldoutPermille, 0, 500},
		{"patience", p.Patience, 1, score.MaxTrees},
	}
}

// bounds returns the parameters that matter to the kind, in the order of the model file.
func (p *Params) bounds() []bound {
	if p.Kind == score.KindCard {
		return p.Card.bounds()
	}
	return p.Forest.bounds()
}

// check returns nil or errs.Invalid, naming the parameter, its value and the values it may have.
func (p *Params) check() error {
	if p.Kind != score.KindCard && p.Kind != score.KindForest {
		return errs.New(errs.Invalid, "train.fit: kind %q is neither %s nor %s", p.Kind,
			score.KindCard, score.KindForest)
	}
	for _, b := range p.bounds() {
		if b.value < b.low || b.value > b.high {
			return errs.New(errs.Invalid, "train.fit: parameter %s is %d, beyond %d to %d", b.name,
				b.value, b.low, b.high)
		}
	}
	return nil
}

// recorded returns the parameters as the model file holds them.
func (p *Params) recorded() []score.Param {
	var params []score.Param
	for _, b := range p.bounds() {
		params = append(params, score.Param{Name: b.name, Value: int64(b.value)})
	}
	return params
}
