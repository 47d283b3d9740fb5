package merchant

import (
	"bytes"
	_ "embed" // the shipped models
	"io"
	"strconv"

	"surety/base/errs"
	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/train"
)

// What the shipped models are trained on. Applications are drawn from other seeds, so that no model
// meets in use a merchant it was trained on.
const (
	TrainingSeed = 310
	TrainingRows = 30_000
)

// MappingName is the name of the shipped mapping that describes the population.
const MappingName = "merchant"

//go:embed models/scorecard.json
var scorecardFile []byte

//go:embed models/gbdt.json
var forestFile []byte

// Shipped returns a model that ships with the platform: trained on TrainingRows synthetic
// merchants. It is errs.Invalid for a kind there is none of.
func Shipped(kind score.Kind) (*score.Model, error) {
	switch kind {
	case score.KindCard:
		return score.Load(scorecardFile)
	case score.KindForest:
		return score.Load(forestFile)
	}
	return nil, errs.New(errs.Invalid, "merchant.shipped: no model of kind %.40q ships", kind)
}

// Params returns the parameters the shipped models are trained with.
func Params(kind score.Kind) train.Params {
	p := train.Default(kind)
	p.Seed = TrainingSeed
	p.Forest.Trees, p.Forest.Depth, p.Forest.LearningPermille = 150, 3, 100
	return p
}

// Train fits a model of a kind to the training population. The file of the result is that of the
// shipped model, byte for byte.
func Train(kind score.Kind) (*score.Model, error) {
	f, err := Frame(TrainingSeed, TrainingRows)
	if err != nil {
		return nil, err
	}
	return train.Fit(f, Params(kind))
}

// Frame returns the first merchants of a population as a data set, by way of the text WriteCSV
// writes and the mapping of the same name.
func Frame(seed uint64, rows int) (*frame.Frame, error) {
	mapping, err := frame.Ship(MappingName)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := WriteCSV(&text, seed, 0, rows); err != nil {
		return nil, err
	}
	f, report, err := frame.Read(&text, mapping)
	if err != nil {
		return nil, errs.Wrap(err, "merchant.frame")
	}
	if report.Broken > 0 {
		return nil, errs.As(errs.Internal, report.Errors[0], "merchant.frame")
	}
	return f, nil
}

// WriteCSV writes merchants of a population, from an index on, as comma-separated text that the
// mapping "merchant" reads: a header, the features, the protected attributes, the request, and
// whether the loan defaulted. It is errs.Invalid for a negative number of rows or more than
// MaxRows, and errs.Unavailable if w fails.
func WriteCSV(w io.Writer, seed, from uint64, rows int) error {
	if rows < 0 || rows > MaxRows {
		return errs.New(errs.Invalid, "merchant.write: %d rows, beyond 0 to %d", rows, MaxRows)
	}
	mapping, err := frame.Ship(MappingName)
	if err != nil {
		return err
	}
	line := []byte("merchant")
	for i := range mapping.Features {
		line = append(append(line, ','), mapping.Features[i].Column...)
	}
	line = append(line, ",owner_group,owner_age,requested_minor,term_months,defaulted\n"...)
	if _, err := w.Write(line); err != nil {
		return errs.As(errs.Unavailable, err, "merchant.write: header")
	}
	var values []int64
	for i := range uint64(rows) {
		p := At(seed, from+i)
		values = p.Values(values[:0])
		if _, err := w.Write(p.appendCSV(line[:0], values)); err != nil {
			return errs.As(errs.Unavailable, err, "merchant.write: row %d", i+1)
		}
	}
	return nil
}

// appendCSV appends the merchant's line.
func (p *Profile) appendCSV(line []byte, values []int64) []byte {
	line = strconv.AppendUint(line, p.Index, 10)
	for _, v := range values {
		line = strconv.AppendInt(append(line, ','), v, 10)
	}
	line = append(append(line, ','), p.OwnerGroup...)
	for _, v := range [...]int64{p.OwnerAge, p.RequestedMinor, p.TermMonths} {
		line = strconv.AppendInt(append(line, ','), v, 10)
	}
	if p.Defaulted {
		return append(line, ",1\n"...)
	}
	return append(line, ",0\n"...)
}
