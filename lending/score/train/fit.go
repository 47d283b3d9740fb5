package train

import (
	"surety/base/errs"
	"surety/lending/score"
	"surety/lending/score/frame"
)

// Fit fits a model to a frame. It is errs.Invalid for parameters beyond their bounds and for data
// with fewer than MinClassRows good or bad rows, and errs.TooLarge for a model beyond the limits of
// package score. It takes seconds for 10^5 rows, and about 40 bytes a row and one a value of
// memory.
func Fit(f *frame.Frame, p Params) (*score.Model, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	bad := f.BadRows()
	if good := f.Rows() - bad; bad < MinClassRows || good < MinClassRows {
		return nil, errs.New(errs.Invalid,
			"train.fit: %d good and %d bad rows, and at least %d of each are needed", good, bad,
			MinClassRows)
	}
	p.Workers = min(max(p.Workers, 1), MaxWorkers)
	if p.Progress == nil {
		p.Progress = func(done, total int) {}
	}
	spec := newSpec(f, &p)
	if p.Kind == score.KindCard {
		spec.Card = fitCard(f, &p)
	} else {
		spec.Forest = fitForest(f, &p)
	}
	m, err := score.New(spec)
	return m, errs.Wrap(err, "train.fit")
}

// newSpec describes the model to be: everything but the model itself.
func newSpec(f *frame.Frame, p *Params) *score.Spec {
	name := p.Name
	if name == "" {
		name = f.Mapping.Name
	}
	return &score.Spec{
		Format:        score.Format,
		Kind:          p.Kind,
		Name:          name,
		Synthetic:     f.Mapping.Synthetic,
		Mapping:       f.Mapping.Name,
		MappingSHA256: f.Mapping.Digest(),
		Reasons:       f.Mapping.ReasonTexts(),
		Features:      f.Features,
		Training: score.Training{Rows: int64(f.Rows()), Bad: int64(f.BadRows()), Seed: p.Seed,
			DataSHA256: f.Digest(), Params: p.recorded()},
	}
}

// trends returns the trend of each of the frame's features.
func trends(f *frame.Frame) []frame.Trend {
	known := map[string]frame.Trend{}
	for _, column := range f.Mapping.Features {
		known[column.Column] = column.Trend
	}
	list := make([]frame.Trend, len(f.Features))
	for i := range f.Features {
		list[i] = known[f.Features[i].Name]
	}
	return list
}

// forEach calls work for each number below count, spread over the workers. Work on one number must
// not touch what work on another writes; then the order, which varies, cannot show.
func forEach(count, workers int, work func(i int)) {
	workers = min(workers, count)
	if workers <= 1 {
		for i := range count {
			work(i)
		}
		return
	}
	done := make(chan struct{})
	for w := range workers {
		go func() {
			for i := w; i < count; i += workers {
				work(i)
			}
			done <- struct{}{}
		}()
	}
	for range workers {
		<-done
	}
}
