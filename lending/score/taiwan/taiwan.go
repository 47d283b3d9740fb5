// Package taiwan holds the models that ship for the public file of card holders, so that it can be
// lent on as it stands: its rows as applications, decided by models of its own.
//
// The models are trained on the rows at odd places of the file (the first, the third, ...). The
// rows between them are strangers to the models: figures about how well they decide come from those
// alone. The file itself is not part of the platform.
//
// # Sources
//
// I-C. Yeh, "Default of Credit Card Clients", UCI Machine Learning Repository, 2009, CC BY 4.0.
package taiwan

import (
	_ "embed" // the shipped models

	"surety/base/errs"
	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/train"
)

//go:embed models/scorecard.json
var scorecardFile []byte

//go:embed models/gbdt.json
var forestFile []byte

// Shipped returns a model that ships with the platform; errs.Invalid for a kind there is none of.
func Shipped(kind score.Kind) (*score.Model, error) {
	switch kind {
	case score.KindCard:
		return score.Load(scorecardFile)
	case score.KindForest:
		return score.Load(forestFile)
	}
	return nil, errs.New(errs.Invalid, "taiwan.shipped: no model of kind %.40q ships", kind)
}

// Train fits a model of a kind to the rows at odd places of the whole file, read through the
// mapping of the same name. Its file is that of the shipped model, byte for byte.
func Train(f *frame.Frame, kind score.Kind) (*score.Model, error) {
	odd := make([]int32, 0, f.Rows()/2+1)
	for row := 0; row < f.Rows(); row += 2 {
		odd = append(odd, int32(row))
	}
	params := train.Default(kind)
	params.Forest.Trees = 150
	return train.Fit(f.Subset(odd), params)
}
