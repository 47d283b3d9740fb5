package evaluate

import (
	"math"

	"surety/base/errs"
	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/portable"
	"surety/lending/score/train"
)

// CrossValidation is what came of fitting a model to all folds but one and scoring that one, for
// each fold in turn.
type CrossValidation struct {
	Folds []Metrics // PSI compares the fold's scores with those of the rows trained on
	Mean  Metrics   // over the folds; Rows and Bad are sums
	SD    Metrics   // standard deviation over the folds; Rows and Bad are zero

	// Sample has each row of the frame scored by the model that has not seen it. Scores of different
	// folds are on one scale but come from different models.
	Sample *Sample
}

// CrossValidate fits and measures a model folds times. The folds have the same share of bad rows,
// as nearly as can be, and are drawn from the seed. It is errs.Invalid for fewer than two folds or
// more than MaxFolds, and where train.Fit is for a fold.
func CrossValidate(
	f *frame.Frame, p train.Params, folds int, seed uint64,
) (*CrossValidation, error) {
	if folds < 2 || folds > MaxFolds {
		return nil, errs.New(errs.Invalid, "evaluate.crossvalidate: %d folds, beyond 2 to %d", folds,
			MaxFolds)
	}
	rows := f.Rows()
	cv := &CrossValidation{Sample: &Sample{Scores: make([]int64, rows), Points: make([]int32, rows),
		PD: make([]int64, rows), Bad: make([]bool, rows)}}
	assigned := stratify(f, folds, seed)
	for fold := range folds {
		fitted, held := divide(assigned, int32(fold))
		m, err := train.Fit(f.Subset(fitted), p)
		if err != nil {
			return nil, errs.Wrap(err, "evaluate.crossvalidate: fold %d", fold)
		}
		seen, err := Score(m, f.Subset(fitted))
		if err != nil {
			return nil, errs.Wrap(err, "evaluate.crossvalidate: fold %d", fold)
		}
		unseen, err := Score(m, f.Subset(held))
		if err != nil {
			return nil, errs.Wrap(err, "evaluate.crossvalidate: fold %d", fold)
		}
		metrics := Measure(unseen)
		metrics.PSI = PSI(seen.Scores, unseen.Scores)
		cv.Folds = append(cv.Folds, metrics)
		cv.Sample.place(unseen, held)
	}
	cv.summarise()
	return cv, nil
}

// stratify assigns each row to a fold: good and bad rows are shuffled apart and dealt in turn.
func stratify(f *frame.Frame, folds int, seed uint64) []int32 {
	var byEnd [2][]int32
	for row := range f.Rows() {
		end := 0
		if f.Bad(row) {
			end = 1
		}
		byEnd[end] = append(byEnd[end], int32(row))
	}
	assigned := make([]int32, f.Rows())
	stream := portable.NewStream(seed)
	dealt := 0
	for _, rows := range byEnd {
		stream.Shuffle(rows)
		for _, row := range rows {
			assigned[row] = int32(dealt % folds)
			dealt++
		}
	}
	return assigned
}

// divide returns the rows outside a fold and those in it, in ascending order.
func divide(assigned []int32, fold int32) (fitted, held []int32) {
	for row, f := range assigned {
		if f == fold {
			held = append(held, int32(row))
		} else {
			fitted = append(fitted, int32(row))
		}
	}
	return fitted, held
}

// place copies a fold's sample to where its rows stand in the frame.
func (s *Sample) place(fold *Sample, rows []int32) {
	for i, row := range rows {
		s.Scores[row] = fold.Scores[i]
		s.Points[row] = fold.Points[i]
		s.PD[row] = fold.PD[i]
		s.Bad[row] = fold.Bad[i]
	}
}

// summarise sets Mean and SD from the folds.
func (cv *CrossValidation) summarise() {
	for _, field := range metricFields {
		values := make([]Micro, len(cv.Folds))
		for i := range cv.Folds {
			values[i] = *field(&cv.Folds[i])
		}
		*field(&cv.Mean), *field(&cv.SD) = meanAndDeviation(values)
	}
	for i := range cv.Folds {
		cv.Mean.Rows += cv.Folds[i].Rows
		cv.Mean.Bad += cv.Folds[i].Bad
	}
}

var metricFields = [...]func(*Metrics) *Micro{
	func(m *Metrics) *Micro { return &m.AUC },
	func(m *Metrics) *Micro { return &m.KS },
	func(m *Metrics) *Micro { return &m.Gini },
	func(m *Metrics) *Micro { return &m.Brier },
	func(m *Metrics) *Micro { return &m.ECE },
	func(m *Metrics) *Micro { return &m.MeanPD },
	func(m *Metrics) *Micro { return &m.PSI },
}

// meanAndDeviation returns the mean of values and their standard deviation about it.
func meanAndDeviation(values []Micro) (mean, deviation Micro) {
	sum := Micro(0)
	for _, v := range values {
		sum += v
	}
	mean = sum / Micro(len(values))
	squares := 0.0
	for _, v := range values {
		off := float64(v - mean)
		squares += float64(off * off)
	}
	return mean, Micro(portable.Round(math.Sqrt(squares / float64(len(values)))))
}

// Evaluate returns what a model says about a frame, and its metrics.
func Evaluate(m *score.Model, f *frame.Frame) (*Sample, Metrics, error) {
	s, err := Score(m, f)
	if err != nil {
		return nil, Metrics{}, errs.Wrap(err, "evaluate.evaluate")
	}
	return s, Measure(s), nil
}
