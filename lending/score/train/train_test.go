package train

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/portable"
)

// made is a mapping of every kind of column: trends both ways, a special value, a category, noise.
const made = `
name: made
target: {column: end, good: "0", bad: "1"}
features:
  - {column: income, trend: rises, reason: R1}
  - {column: debt, trend: falls, reason: R2}
  - {column: hump, reason: R3}
  - {column: trade, kind: categorical, reason: R4}
  - {column: noise, reason: R5}
  - {column: code, special: [-1], reason: R6}
  - {column: same, reason: R7}
  - {column: never, reason: R8}
reasons:
  - {code: R1, sentence: Income.}
  - {code: R2, sentence: Debt.}
  - {code: R3, sentence: Hump.}
  - {code: R4, sentence: Trade.}
  - {code: R5, sentence: Noise.}
  - {code: R6, sentence: Code.}
  - {code: R7, sentence: Same.}
  - {code: R8, sentence: Never.}
`

// makeFrame generates rows whose risk falls with income, rises with debt, is lowest in the middle
// of hump and differs by trade; income is missing now and then.
func makeFrame(t testing.TB, seed uint64, rows int) *frame.Frame {
	t.Helper()
	stream := portable.NewStream(seed)
	trades := []string{"bar", "farm", "mill", "shop", "zoo"}
	text := &strings.Builder{}
	text.WriteString("income,debt,hump,trade,noise,code,same,never,end\n")
	for range rows {
		income, debt, hump := stream.Below(1000), stream.Below(100), stream.Below(200)
		trade, code := stream.Below(5), stream.Below(20)-1
		odds := 2.2 + 2*(float64(income)/1000-0.5) - 0.015*float64(debt) -
			float64((hump-100)*(hump-100))/8000 + []float64{-0.8, 0, 0.2, 0.4, 0.9}[trade]
		if code == -1 {
			odds--
		}
		end, shown := 0, fmt.Sprint(income)
		if stream.Unit() > portable.Sigmoid(odds) {
			end = 1
		}
		if stream.Below(12) == 0 {
			shown = ""
		}
		fmt.Fprintf(text, "%s,%d,%d,%s,%d,%d,7,,%d\n", shown, debt, hump, trades[trade],
			stream.Below(1000), code, end)
	}
	mapping, err := frame.ParseMapping([]byte(made))
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := frame.Read(strings.NewReader(text.String()), mapping)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func fit(t testing.TB, f *frame.Frame, p Params) *score.Model {
	t.Helper()
	m, err := Fit(f, p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// quick returns parameters of small models.
func quick(kind score.Kind) Params {
	p := Default(kind)
	p.Forest.Trees, p.Forest.LearningPermille = 40, 150
	return p
}

var kinds = [...]score.Kind{score.KindCard, score.KindForest}

// TestWorkersDoNotShow: the same work on one goroutine or many gives the same file.
func TestWorkersDoNotShow(t *testing.T) {
	f := makeFrame(t, 1, 4000)
	for _, kind := range kinds {
		p := quick(kind)
		p.Workers = 1
		want := fit(t, f, p).Bytes()
		for _, workers := range []int{2, 3, 64, 1000, 0, -1} {
			p.Workers = workers
			if got := fit(t, f, p).Bytes(); !bytes.Equal(got, want) {
				t.Errorf("%s: %d workers give another file", kind, workers)
			}
		}
	}
}

func TestSeedAndDataShow(t *testing.T) {
	f := makeFrame(t, 1, 2000)
	p := quick(score.KindForest)
	first := fit(t, f, p)
	p.Seed++
	second := fit(t, f, p)
	if first.Digest() == second.Digest() ||
		bytes.Equal([]byte(fmt.Sprint(first.Spec().Forest)), []byte(fmt.Sprint(second.Spec().Forest))) {
		t.Error("another seed draws the same rows and features")
	}
	training := first.Spec().Training
	if training.Rows != 2000 || training.Bad != int64(f.BadRows()) || training.Seed != 42 ||
		training.DataSHA256 != f.Digest() {
		t.Errorf("the file records %+v", training)
	}
	if fit(t, makeFrame(t, 2, 2000), quick(score.KindCard)).Digest() ==
		fit(t, f, quick(score.KindCard)).Digest() {
		t.Error("other data give the same scorecard")
	}
}

// TestTrendsHold moves a feature with a trend through its range in many rows: the score follows the
// trend or stays.
func TestTrendsHold(t *testing.T) {
	f := makeFrame(t, 3, 5000)
	stream := portable.NewStream(4)
	for _, kind := range kinds {
		m := fit(t, f, quick(kind))
		moved := 0
		for range 200 {
			values := f.Row(int(stream.Below(int64(f.Rows()))), nil)
			for feature, sign := range []int64{1, -1} { // income rises, debt falls
				row := append([]int64(nil), values...)
				last := int64(0)
				for v := int64(-10); v < 1100; v += 7 {
					row[feature] = v
					sum, err := m.Sum(row)
					if err != nil {
						t.Fatal(err)
					}
					if v > -10 && (sum-last)*sign < 0 {
						t.Fatalf("%s: feature %d at %d moves the score from %d to %d", kind, feature, v,
							last, sum)
					}
					if v > -10 && sum != last {
						moved++
					}
					last = sum
				}
			}
		}
		if moved == 0 {
			t.Errorf("%s: the features with trends do nothing", kind)
		}
	}
}

// TestContributionsAddUp holds trained models to the promise of package score, row by row.
func TestContributionsAddUp(t *testing.T) {
	f := makeFrame(t, 5, 3000)
	for _, kind := range kinds {
		m := fit(t, f, quick(kind))
		out := &score.Result{}
		var values []int64
		for row := range f.Rows() {
			values = f.Row(row, values[:0])
			if err := m.Score(values, out); err != nil {
				t.Fatal(err)
			}
			sum := out.Base
			for _, c := range out.Contributions {
				sum += c.Amount
			}
			walked, err := m.Sum(values)
			if err != nil || sum != walked || out.Score != walked {
				t.Fatalf("%s: row %d: %d and %d, %v", kind, row, sum, walked, err)
			}
		}
	}
}

// TestUselessColumns: what is constant or always missing takes no part.
func TestUselessColumns(t *testing.T) {
	f := makeFrame(t, 6, 3000)
	for _, kind := range kinds {
		m := fit(t, f, quick(kind))
		out := &score.Result{}
		if err := m.Score(f.Row(0, nil), out); err != nil {
			t.Fatal(err)
		}
		for _, c := range out.Contributions[6:] {
			if c.Amount != 0 {
				t.Errorf("%s: %s contributes %d", kind, c.Feature, c.Amount)
			}
		}
	}
}

// TestCardsAreReadable holds every bin of a trained card to its limits.
func TestCardsAreReadable(t *testing.T) {
	f := makeFrame(t, 7, 6000)
	p := quick(score.KindCard)
	m := fit(t, f, p)
	least := int64(f.Rows()*p.Card.MinBinPermille) / 1000
	for i, c := range m.Spec().Card.Features {
		ranges, rows, rising, falling := 0, int64(0), false, false
		var before *score.Bin
		for b := range c.Bins {
			bin := &c.Bins[b]
			rows += bin.Good + bin.Bad
			if bin.Kind == score.BinMissing || bin.Kind == score.BinSpecial {
				if bin.Good+bin.Bad < least && bin.WOEMicro != 0 {
					t.Errorf("%s: a %s bin of %d rows has weight", c.Name, bin.Kind, bin.Good+bin.Bad)
				}
				continue
			}
			ranges++
			if bin.Good+bin.Bad < least && c.IVMicro > 0 {
				t.Errorf("%s: a bin of %d rows, the least is %d", c.Name, bin.Good+bin.Bad, least)
			}
			if before != nil && bin.Kind == score.BinRange {
				rising = rising || bin.WOEMicro > before.WOEMicro
				falling = falling || bin.WOEMicro < before.WOEMicro
			}
			before = bin
		}
		if ranges > p.Card.MaxBins || rows != int64(f.Rows()) {
			t.Errorf("%s: %d bins of %d rows in all", c.Name, ranges, rows)
		}
		if rising && falling {
			t.Errorf("%s: the weight of evidence goes up and down", c.Name)
		}
		if c.CoefficientMicro < 0 {
			t.Errorf("feature %d: coefficient %d turns the evidence round", i, c.CoefficientMicro)
		}
	}
	for _, c := range m.Spec().Card.Features[6:] {
		if c.IVMicro != 0 || c.CoefficientMicro != 0 {
			t.Errorf("%s: information %d, coefficient %d", c.Name, c.IVMicro, c.CoefficientMicro)
		}
	}
}

// TestRefusalsInOrder starts with every defect and mends one a row.
func TestRefusalsInOrder(t *testing.T) {
	f := makeFrame(t, 8, 200)
	few := f.Subset([]int32{0, 1, 2})
	card, forest := Params{Kind: "oracle"}, Params{Kind: score.KindForest}
	data := few
	for _, c := range []struct {
		want string
		p    *Params
		mend func()
	}{
		{`kind "oracle"`, &card, func() { card.Kind = score.KindCard }},
		{"fine_bins is 0", &card, func() { card.Card.FineBins = 20 }},
		{"max_bins is 0", &card, func() { card.Card.MaxBins = MaxCardBins + 1 }},
		{"max_bins is 17", &card, func() { card.Card.MaxBins = 8 }},
		{"min_bin_permille is 0", &card, func() { card.Card.MinBinPermille = 30 }},
		{"ridge_milli is 0", &card, func() { card.Card.RidgeMilli = 1 }},
		{"and at least 10 of each", &card, func() { data = f }},
		{"trees is 0", &forest, func() { forest.Forest.Trees = 5 }},
		{"depth is 0", &forest, func() { forest.Forest.Depth = score.MaxDepth + 1 }},
		{"depth is 7", &forest, func() { forest.Forest.Depth = 2 }},
		{"bins is 0", &forest, func() { forest.Forest.Bins = 4 }},
		{"learning_permille is 0", &forest, func() { forest.Forest.LearningPermille = 1000 }},
		{"min_leaf_rows is 0", &forest, func() { forest.Forest.MinLeafRows = 1 }},
		{"l2_milli is 0", &forest, func() { forest.Forest.L2Milli = 1 }},
		{"row_permille is 0", &forest, func() { forest.Forest.RowPermille = 1 }},
		{"feature_permille is 0", &forest, func() { forest.Forest.FeaturePermille = 1 }},
		{"patience is 0", &forest, func() { forest.Forest.Patience = 1 }},
	} {
		_, err := Fit(data, *c.p)
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Fatalf("got %v, want %q", err, c.want)
		}
		c.mend()
	}
	for _, p := range []Params{card, forest} { // mended, if with odd values
		if _, err := Fit(data, p); err != nil {
			t.Errorf("%s: %v", p.Kind, err)
		}
	}
}

func TestEarlyStop(t *testing.T) {
	f := makeFrame(t, 9, 3000)
	p := quick(score.KindForest)
	p.Forest.Trees, p.Forest.LearningPermille, p.Forest.MinLeafRows = 500, 500, 1
	p.Forest.HoldoutPermille, p.Forest.Patience = 250, 5
	steps := 0
	p.Progress = func(done, total int) {
		if steps++; done != steps || total != 500 {
			t.Fatalf("step %d of %d, want %d of 500", done, total, steps)
		}
	}
	m := fit(t, f, p)
	trees := len(m.Spec().Forest.Trees)
	if trees == 0 || trees > steps-5 || steps == 500 {
		t.Errorf("%d trees are kept after %d", trees, steps)
	}
}

func TestProgressOfACard(t *testing.T) {
	p := quick(score.KindCard)
	calls := ""
	p.Progress = func(done, total int) { calls += fmt.Sprint(done, "/", total, " ") }
	fit(t, makeFrame(t, 1, 500), p)
	if calls != "1/2 2/2 " {
		t.Errorf("progress is %q", calls)
	}
}

func BenchmarkFitForest(b *testing.B) { benchmarkFit(b, score.KindForest) }

func BenchmarkFitCard(b *testing.B) { benchmarkFit(b, score.KindCard) }

func benchmarkFit(b *testing.B, kind score.Kind) {
	f := makeFrame(b, 1, 20_000)
	p := Default(kind)
	for b.Loop() {
		fit(b, f, p)
	}
}
