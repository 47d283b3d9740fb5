package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/lending/score"
	"surety/lending/score/evaluate"
	"surety/lending/score/frame"
	"surety/lending/score/merchant"
	"surety/lending/score/train"
)

// dataSet is where a command's rows come from.
type dataSet struct {
	file      string
	mapping   string
	synthetic bool
	rows      int
	seed      uint64
}

func (d *dataSet) flags(c *cobra.Command) {
	d.fileFlags(c, "CSV file with rows whose end is known")
	c.Flags().BoolVar(&d.synthetic, "synthetic", false,
		"use the synthetic merchants instead of --data")
	c.Flags().IntVar(&d.rows, "rows", merchant.TrainingRows, "synthetic merchants to make")
	c.Flags().Uint64Var(&d.seed, "seed", merchant.TrainingSeed,
		"seed of the synthetic merchants and of fitting")
}

// fileFlags are the flags of a command that reads a file and nothing else.
func (d *dataSet) fileFlags(c *cobra.Command, about string) {
	c.Flags().StringVar(&d.file, "data", "", about)
	c.Flags().StringVar(&d.mapping, "mapping", merchant.MappingName,
		"how columns become features: "+strings.Join(frame.Shipped(), ", ")+", or a YAML file")
	must(c.RegisterFlagCompletionFunc("mapping",
		cobra.FixedCompletions(frame.Shipped(), cobra.ShellCompDirectiveDefault)))
}

// read returns the rows. Broken ones are told on Stderr and left out.
func (d *dataSet) read(env *Env, c *cobra.Command) (*frame.Frame, error) {
	if d.synthetic == (d.file != "") {
		return nil, usage(c, "%s: give either --data or --synthetic", c.CommandPath())
	}
	if d.synthetic {
		return merchant.Frame(d.seed, d.rows)
	}
	mapping, err := readFrameMapping(d.mapping)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(d.file)
	if err != nil {
		return nil, fileError(err, "data")
	}
	defer file.Close()
	f, report, err := frame.Read(file, mapping)
	for _, broken := range report.Errors {
		env.note("%s: %s", d.file, broken)
	}
	if report.Broken > 0 {
		env.note("%s: %d of %d rows are broken and left out", d.file, report.Broken, report.Rows)
	}
	return f, err
}

func readFrameMapping(name string) (*frame.Mapping, error) {
	if !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") {
		return frame.Ship(name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fileError(err, "mapping")
	}
	return frame.ParseMapping(text)
}

func readModel(name string) (*score.Model, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fileError(err, "model")
	}
	if info.Size() > score.MaxFileBytes {
		return nil, errs.New(errs.TooLarge, "model %s: %d bytes, the limit is %d", name,
			info.Size(),
			score.MaxFileBytes)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fileError(err, "model")
	}
	return score.Load(data)
}

// kindFlag adds --kind.
func kindFlag(c *cobra.Command, into *string) {
	c.Flags().StringVar(into, "kind", string(score.KindForest),
		"kind of model: "+string(score.KindCard)+" or "+string(score.KindForest))
	must(c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(
		[]string{string(score.KindCard),
			string(score.KindForest)}, cobra.ShellCompDirectiveNoFileComp)))
}

func checkKind(c *cobra.Command, kind string) error {
	if kind != string(score.KindCard) && kind != string(score.KindForest) {
		return usage(c, "--kind %q is not %s or %s", kind, score.KindCard, score.KindForest)
	}
	return nil
}

func lendTrain(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "train",
		Short: "Fit a credit model to past loans and write its file",
		Long: `The same rows, parameters and seed give the same file, byte for byte. Protected columns of the
mapping never become features. With -o json, one object {name, kind, digest, rows, bad, file}.`,
		Example: `  surety lend train --synthetic --kind gbdt --out merchant.json
  surety lend train --mapping taiwan --data taiwan_default.csv --kind scorecard --out card.json`,
		Args: noArgs,
	}
	var data dataSet
	var kind, out string
	data.flags(c)
	kindFlag(c, &kind)
	c.Flags().StringVar(&out, "out", "", "model file to write")
	must(c.MarkFlagRequired("out"))
	return verb(env, c, func(_ context.Context, env *Env, _ []string) error {
		if err := checkKind(c, kind); err != nil {
			return err
		}
		f, err := data.read(env, c)
		if err != nil {
			return err
		}
		params := paramsOf(&data, kind, f.Rows())
		bar := env.newProgress(-1, "training")
		defer bar.finish()
		params.Progress = func(int, int) { bar.add(1) }
		m, err := train.Fit(f, params)
		if err != nil {
			return err
		}
		if err := os.WriteFile(out, m.Bytes(), 0o644); err != nil {
			return fileError(err, "model")
		}
		view := struct {
			Name   string `json:"name"`
			Kind   string `json:"kind"`
			Digest string `json:"digest"`
			Rows   int    `json:"rows"`
			Bad    int    `json:"bad"`
			File   string `json:"file"`
		}{m.Name(), string(m.Kind()), m.DigestText(), f.Rows(), f.BadRows(), out}
		return env.show(view, func(w io.Writer) error {
			return writePairs(w, pair{"model", view.Name}, pair{"kind", view.Kind},
				pair{"digest", view.Digest}, pair{"rows", view.Rows}, pair{"bad", view.Bad},
				pair{"file", view.File})
		})
	})
}

// paramsOf returns how to fit: for the synthetic merchants as the shipped models were, else what
// suits the number of rows.
func paramsOf(data *dataSet, kind string, rows int) train.Params {
	if data.synthetic {
		params := merchant.Params(score.Kind(kind))
		params.Seed = data.seed
		return params
	}
	params := train.ForRows(score.Kind(kind), rows)
	params.Seed = data.seed
	return params
}

func lendEvaluate(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "evaluate",
		Short: "Measure a model, or the making of one by cross-validation",
		Long: `With --model, that model is measured on the rows. Without it, models are fitted to all folds but
one and measured on that one, for each fold in turn. Shows AUC, KS, Gini, Brier score, calibration
error, and for each protected column how its groups would be approved. With -o json, one object
{mean, sd, folds, fairness}, ratios in millionths.`,
		Example: `  surety lend evaluate --mapping taiwan --data taiwan_default.csv --kind gbdt --folds 5
  surety lend evaluate --synthetic --model merchant.json`,
		Args: noArgs,
	}
	var data dataSet
	var kind, model string
	var folds int
	var approve int64
	data.flags(c)
	kindFlag(c, &kind)
	c.Flags().StringVar(&model, "model", "", "model file to measure (default: cross-validate)")
	c.Flags().IntVar(&folds, "folds", 5, "folds of the cross-validation")
	c.Flags().Int64Var(&approve, "approve", 800,
		"approvals in thousandths, for the comparison of groups")
	return verb(env, c, func(_ context.Context, env *Env, _ []string) error {
		if err := checkKind(c, kind); err != nil {
			return err
		}
		f, err := data.read(env, c)
		if err != nil {
			return err
		}
		view, err := evaluation(f, model, paramsOf(&data, kind, f.Rows()), folds, data.seed,
			approve)
		if err != nil {
			return err
		}
		return env.show(view, view.write)
	})
}

// evaluationView is what lend evaluate shows.
type evaluationView struct {
	Mean     evaluate.Metrics    `json:"mean"`
	SD       *evaluate.Metrics   `json:"sd,omitempty"`
	Folds    []evaluate.Metrics  `json:"folds,omitempty"`
	Fairness []evaluate.Fairness `json:"fairness"`
}

func evaluation(f *frame.Frame, model string, params train.Params, folds int, seed uint64,
	approve int64) (*evaluationView, error) {
	if model == "" {
		cv, err := evaluate.CrossValidate(f, params, folds, seed)
		if err != nil {
			return nil, err
		}
		return &evaluationView{Mean: cv.Mean, SD: &cv.SD, Folds: cv.Folds,
			Fairness: evaluate.Compare(f, cv.Sample, evaluate.CutOff(cv.Sample, approve))}, nil
	}
	m, err := readModel(model)
	if err != nil {
		return nil, err
	}
	sample, metrics, err := evaluate.Evaluate(m, f)
	if err != nil {
		return nil, err
	}
	return &evaluationView{Mean: metrics,
		Fairness: evaluate.Compare(f, sample, evaluate.CutOff(sample, approve))}, nil
}

func (v *evaluationView) write(w io.Writer) error {
	g := newGrid(left("measure"), right("mean"), right("sd"))
	add := func(name string, mean, sd evaluate.Micro) {
		if v.SD == nil {
			g.row(name, mean, "")
			return
		}
		g.row(name, mean, sd)
	}
	var sd evaluate.Metrics
	if v.SD != nil {
		sd = *v.SD
	}
	g.row("rows", v.Mean.Rows, "")
	g.row("bad", v.Mean.Bad, "")
	add("AUC", v.Mean.AUC, sd.AUC)
	add("KS", v.Mean.KS, sd.KS)
	add("Gini", v.Mean.Gini, sd.Gini)
	add("Brier", v.Mean.Brier, sd.Brier)
	add("ECE", v.Mean.ECE, sd.ECE)
	if err := g.write(w); err != nil {
		return err
	}
	for _, attribute := range v.Fairness {
		if err := writeFairness(w, &attribute); err != nil {
			return err
		}
	}
	return nil
}

func writeFairness(w io.Writer, f *evaluate.Fairness) error {
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	g := newGrid(left(f.Column), right("rows"), right("bad"), right("expected"), right("approved"),
		right("impact"), left(""))
	for _, group := range f.Groups {
		remark := ""
		switch {
		case group.Small:
			remark = "too few to judge"
		case group.Name == f.Reference:
			remark = "reference"
		case group.Impact < 800_000:
			remark = "adverse: below four fifths"
		}
		g.row(group.Name, group.Rows, group.BadRate, group.MeanPD, group.Approved, group.Impact,
			remark)
	}
	return g.write(w)
}

func lendScore(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "score",
		Short: "Score the rows of a file",
		Long: `Writes one line for each row: its number, points, and probability of default in parts per million.
With -o json, one object a line {row, points, pd_ppm, score}.`,
		Example: `  surety lend score --model card.json --mapping taiwan --data taiwan_default.csv`,
		Args:    noArgs,
	}
	var data dataSet
	var model string
	data.fileFlags(c, "CSV file with the rows")
	c.Flags().StringVar(&model, "model", "", "model file")
	must(c.MarkFlagRequired("model"))
	must(c.MarkFlagRequired("data"))
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		m, err := readModel(model)
		if err != nil {
			return err
		}
		mapping, err := readFrameMapping(data.mapping)
		if err != nil {
			return err
		}
		file, err := os.Open(data.file)
		if err != nil {
			return fileError(err, "data")
		}
		defer file.Close()
		rows, err := frame.NewReader(file, mapping)
		if err != nil {
			return err
		}
		return scoreRows(ctx, env, m, rows)
	})
}

func scoreRows(ctx context.Context, env *Env, m *score.Model, rows *frame.Reader) error {
	var values []int64
	for ctx.Err() == nil {
		row, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			values, err = row.Values(m.Features(), values[:0])
		}
		var broken *frame.RowError
		if errors.As(err, &broken) {
			env.note("%s", broken)
			continue
		}
		if err != nil {
			return err
		}
		sum, err := m.Sum(values)
		if err != nil {
			return err
		}
		if err := writeScore(env, m, row.Number, sum); err != nil {
			return err
		}
	}
	return errs.As(errs.Canceled, ctx.Err(), "lend score")
}

func writeScore(env *Env, m *score.Model, number int, sum int64) error {
	points, pd := m.Scale(sum)
	if !env.wantsJSON() {
		_, err := io.WriteString(env.Stdout,
			strconv.Itoa(number)+"\t"+strconv.Itoa(int(points))+"\t"+
				strconv.FormatInt(pd, 10)+"\n")
		return wrote(err)
	}
	return env.line(struct {
		Row    int   `json:"row"`
		Points int32 `json:"points"`
		PD     int64 `json:"pd_ppm"`
		Score  int64 `json:"score"`
	}{number, points, pd, sum})
}

func lendExplain(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "explain NAME=VALUE...",
		Short: "Show what each feature of a row adds to its score",
		Long: `The contributions and the base add up to the score exactly. A feature that is not given is
missing. With -o json, one object {result, lines}.`,
		Example: `  surety lend explain --model card.json LIMIT_BAL=20000 PAY_0=2 BILL_AMT1=3913`,
		Args:    anyArgs,
	}
	var model string
	c.Flags().StringVar(&model, "model", "", "model file")
	must(c.MarkFlagRequired("model"))
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		m, err := readModel(model)
		if err != nil {
			return err
		}
		values, err := featureValues(m, args)
		if err != nil {
			return err
		}
		e, err := m.Explain(values)
		if err != nil {
			return err
		}
		return env.show(e, func(w io.Writer) error { return writeExplanation(w, e) })
	})
}

func featureValues(m *score.Model, args []string) ([]int64, error) {
	given := map[string]string{}
	for _, arg := range args {
		name, value, found := strings.Cut(arg, "=")
		if !found {
			return nil, errs.New(errs.Invalid, "%q is not NAME=VALUE", arg)
		}
		given[name] = value
	}
	values := make([]int64, len(m.Features()))
	for i := range m.Features() {
		feature := &m.Features()[i]
		value, err := feature.Parse(given[feature.Name])
		if err != nil {
			return nil, errs.Wrap(err, "feature %s", feature.Name)
		}
		values[i] = value
		delete(given, feature.Name)
	}
	for _, name := range sortedKeys(given) {
		return nil, errs.New(errs.Invalid, "model %s has no feature %q", m.Name(), name)
	}
	return values, nil
}

func writeExplanation(w io.Writer, e *score.Explanation) error {
	g := newGrid(left("feature"), left("value"), left("bin"), right("contribution"), left("reason"))
	g.row("base", "", "", e.Result.Base, "")
	for _, line := range e.Lines {
		g.row(line.Feature, line.Value, line.Bin, line.Amount, line.Reason)
	}
	g.row("score", "", "", e.Result.Score, "")
	if err := g.write(w); err != nil {
		return err
	}
	err := writePairs(w, pair{"", ""}, pair{"points", e.Result.ScorePoints},
		pair{"probability of default", percentOfMillion(e.Result.PDMicro) + " %"})
	if err != nil {
		return err
	}
	for _, reason := range e.Result.Reasons {
		if err := writePairs(w, pair{"reason " + reason.Code, reason.Sentence}); err != nil {
			return err
		}
	}
	return nil
}
