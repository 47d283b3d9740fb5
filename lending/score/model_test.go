package score

import (
	"strings"
	"sync"
	"testing"

	"surety/base/errs"
	"surety/lending/score/portable"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func bound(v int64) *int64 { return &v }

// cardSpec is a small scorecard written by hand.
func cardSpec() *Spec {
	return &Spec{
		Format: Format, Kind: KindCard, Name: "hand", Mapping: "hand", MappingSHA256: zeros,
		Training: Training{Rows: 100, Bad: 20, Seed: 1, DataSHA256: zeros,
			Params: []Param{{"max_bins", 8}}},
		Reasons: []ReasonText{{"R1", "Income is low & debts > income."}, {"R2", "The trade is risky."},
			{"R3", "Payments were late."}},
		Features: []Feature{
			{Name: "income", Kind: Numeric, Decimals: 2, Reason: "R1"},
			{Name: "trade", Kind: Categorical, Levels: []string{"bar", "farm", "shop"}, Reason: "R2"},
			{Name: "late", Kind: Numeric, Reason: "R3"},
			{Name: "days", Kind: Numeric, Reason: "R3"},
		},
		Card: &Card{BasePoints: 500, Features: []CardFeature{
			{Name: "income", Bins: []Bin{
				{Kind: BinMissing, Points: -5},
				{Kind: BinSpecial, Bound: bound(-1), Points: 7},
				{Kind: BinSpecial, Bound: bound(0), Points: -30},
				{Kind: BinRange, Bound: bound(100_00), Points: -20},
				{Kind: BinRange, Bound: bound(500_00), Points: 3},
				{Kind: BinRange, Points: 25},
			}},
			{Name: "trade", Bins: []Bin{
				{Kind: BinMissing, Points: 1},
				{Kind: BinLevels, Levels: []int64{0}, Points: -15},
				{Kind: BinLevels, Levels: []int64{1, 2}, Points: 8},
			}},
			{Name: "late", Bins: []Bin{
				{Kind: BinMissing}, {Kind: BinRange, Bound: bound(0), Points: 12},
				{Kind: BinRange, Points: -40},
			}},
			{Name: "days", Bins: []Bin{
				{Kind: BinMissing}, {Kind: BinRange, Bound: bound(30), Points: 9},
				{Kind: BinRange, Points: -50},
			}},
		}},
	}
}

// forestSpec is two trees written by hand over the same features.
func forestSpec() *Spec {
	s := cardSpec()
	s.Kind, s.Card = KindForest, nil
	s.Forest = &Forest{BaseMicro: 1_400_000, Ranks: [][]int64{{}, {2, 0, 1}, {}, {}}, Trees: []Tree{
		{
			{2, 0, 1},
			{0, 100_00, 0}, {-100_000, 30}, {250_000, 40},
			{1, 0, 0}, {-300_000, 10}, {-700_000, 20},
		},
		{{3, 30, 0}, {90_000, 80}, {-410_000, 20}},
	}}
	return s
}

func newModel(t testing.TB, s *Spec) *Model {
	t.Helper()
	m, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestScoreOfACard(t *testing.T) {
	m := newModel(t, cardSpec())
	for _, c := range []struct {
		name   string
		values []int64
		want   []int64 // contributions
	}{
		{"special before range", []int64{0, 1, 0, 0}, []int64{-30, 8, 12, 9}},
		{"another special", []int64{-1, 1, 0, 0}, []int64{7, 8, 12, 9}},
		{"below the first bound", []int64{-2, 1, 0, 0}, []int64{-20, 8, 12, 9}},
		{"at a bound", []int64{100_00, 2, 0, 30}, []int64{-20, 8, 12, 9}},
		{"above a bound", []int64{100_01, 0, 1, 31}, []int64{3, -15, -40, -50}},
		{"the open end", []int64{1 << 62, 0, 1, 31}, []int64{25, -15, -40, -50}},
		{"all missing", []int64{Missing, Missing, Missing, Missing}, []int64{-5, 1, 0, 0}},
		{"levels that are none", []int64{1, 3, 0, 0}, []int64{-20, 1, 12, 9}},
		{"a level below zero", []int64{1, -1, 0, 0}, []int64{-20, 1, 12, 9}},
	} {
		out := &Result{}
		if err := m.Score(c.values, out); err != nil {
			t.Fatal(err)
		}
		sum := int64(500)
		for i, want := range c.want {
			sum += want
			if got := out.Contributions[i]; got.Amount != want || got.Feature != m.Features()[i].Name {
				t.Errorf("%s: %s contributes %d, want %d", c.name, got.Feature, got.Amount, want)
			}
		}
		if out.Score != sum || int64(out.ScorePoints) != sum || out.Base != 500 {
			t.Errorf("%s: score %d, points %d, base %d, want %d", c.name, out.Score, out.ScorePoints,
				out.Base, sum)
		}
	}
}

func TestScoreOfAForest(t *testing.T) {
	m := newModel(t, forestSpec())
	for _, c := range []struct {
		name   string
		values []int64
		want   int64 // millionths over the base of 1,400,000
	}{
		{"left, left; left", []int64{100_00, 0, 0, 30}, -100_000 + 90_000},
		{"left, right; right", []int64{100_01, 0, 0, 31}, 250_000 - 410_000},
		{"right, rank 0", []int64{0, 1, 1, 0}, -300_000 + 90_000},
		{"right, rank 1", []int64{0, 2, 1, 0}, -700_000 + 90_000},
		{"right, rank 2", []int64{0, 0, 1, 0}, -700_000 + 90_000},
		{"missing goes left, right; right", []int64{Missing, 0, Missing, Missing}, 250_000 - 410_000},
		{"a level that is none is missing", []int64{0, 9, 1, 0}, -700_000 + 90_000},
	} {
		out := &Result{}
		if err := m.Score(c.values, out); err != nil {
			t.Fatal(err)
		}
		sum, err := m.Sum(c.values)
		if err != nil || sum != 1_400_000+c.want || out.Score != sum {
			t.Errorf("%s: sum %d, score %d, %v, want %d", c.name, sum, out.Score, err, 1_400_000+c.want)
		}
		if out.ScorePoints != PointsOfOdds(sum) || out.PDMicro != PDOfOdds(sum) {
			t.Errorf("%s: %d points, probability %d", c.name, out.ScorePoints, out.PDMicro)
		}
	}
}

func TestReasonsAreTheWorstGroups(t *testing.T) {
	m := newModel(t, cardSpec())
	out := &Result{}
	for _, c := range []struct {
		name   string
		values []int64
		want   string // code:amount:feature
	}{
		// days lost 50 and late 40 under one code: they count together, and days is named.
		{"grouped", []int64{0, 0, 1, 31}, "R3:-90:days R1:-30:income R2:-15:trade"},
		// late lost 40 and days won 9 under the same code.
		{"netted", []int64{1 << 40, 1, 1, 0}, "R3:-31:late"},
		{"none", []int64{1 << 40, 1, 0, 0}, ""},
	} {
		if err := m.Score(c.values, out); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range out.Reasons {
			got = append(got, r.Code+":"+formatDecimal(r.Amount, 0)+":"+r.Feature)
			if r.Sentence == "" {
				t.Errorf("%s: reason %s has no sentence", c.name, r.Code)
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: reasons %q, want %q", c.name, text, c.want)
		}
	}
}

// TestReasonsAreAtMostFour gives every feature a code of its own and ties some.
func TestReasonsAreAtMostFour(t *testing.T) {
	s := &Spec{Format: Format, Kind: KindCard, Name: "many", Mapping: "many", MappingSHA256: zeros,
		Training: Training{Rows: 1, DataSHA256: zeros}, Card: &Card{}}
	for i, points := range []int64{-3, -9, -1, -9, 4, -5, -9, 0} {
		code := "R" + string(rune('0'+i))
		s.Reasons = append(s.Reasons, ReasonText{code, "Sentence."})
		s.Features = append(s.Features, Feature{Name: "f" + code, Kind: Numeric, Reason: code})
		s.Card.Features = append(s.Card.Features, CardFeature{Name: "f" + code,
			Bins: []Bin{{Kind: BinMissing}, {Kind: BinRange, Points: points}}})
	}
	out := &Result{}
	if err := newModel(t, s).Score(make([]int64, 8), out); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, r := range out.Reasons {
		got += r.Code + " "
	}
	if got != "R1 R3 R6 R5 " {
		t.Errorf("reasons are %q, want the four worst, equal ones by code", got)
	}
}

func TestScoreRefusesAWrongLength(t *testing.T) {
	m := newModel(t, cardSpec())
	out := &Result{}
	if err := m.Score([]int64{1, 1, 1, 1}, out); err != nil {
		t.Fatal(err)
	}
	before := out.Score
	for _, values := range [][]int64{nil, {1}, {1, 1, 1, 1, 1}} {
		if err := m.Score(values, out); !errs.Is(err, errs.Invalid) || out.Score != before {
			t.Errorf("%d values: %v, score %d, want invalid and untouched", len(values), err, out.Score)
		}
		if _, err := m.Sum(values); !errs.Is(err, errs.Invalid) {
			t.Errorf("%d values: %v, want invalid", len(values), err)
		}
		if _, err := m.Explain(values); !errs.Is(err, errs.Invalid) {
			t.Errorf("%d values: %v, want invalid", len(values), err)
		}
	}
}

func TestAResultIsUsedAgain(t *testing.T) {
	card, forest := newModel(t, cardSpec()), newModel(t, forestSpec())
	out := &Result{}
	for range 3 {
		for _, m := range []*Model{card, forest} {
			values := []int64{5, 0, 1, 31}
			if err := m.Score(values, out); err != nil {
				t.Fatal(err)
			}
			sum := out.Base
			for _, c := range out.Contributions {
				sum += c.Amount
			}
			if sum != out.Score || out.Kind != m.Kind() || len(out.Contributions) != 4 {
				t.Fatalf("%s: contributions add up to %d, score %d", m.Kind(), sum, out.Score)
			}
			if n := testing.AllocsPerRun(20, func() { _ = m.Score(values, out) }); n != 0 {
				t.Errorf("%s: %v allocations for a row", m.Kind(), n)
			}
		}
	}
}

// TestModelsAreShared scores with one model from several goroutines; the race detector watches.
func TestModelsAreShared(t *testing.T) {
	m := newModel(t, forestSpec())
	values := []int64{5, 0, 1, 31}
	want, err := m.Sum(values)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			out := &Result{}
			for range 100 {
				if err := m.Score(values, out); err != nil || out.Score != want {
					t.Errorf("score %d, %v, want %d", out.Score, err, want)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestExplain(t *testing.T) {
	card, forest := newModel(t, cardSpec()), newModel(t, forestSpec())
	for _, c := range []struct {
		model  *Model
		values []int64
		want   []string
	}{
		{card, []int64{250_00, 1, 0, 31}, []string{
			"income 250.00 [above 100.00 up to 500.00]", "trade farm [farm | shop]",
			"late 0 [up to 0]", "days 31 [above 30]"}},
		{card, []int64{-1, Missing, Missing, 7}, []string{
			"income -0.01 [= -0.01]", "trade missing [missing]", "late missing [missing]",
			"days 7 [up to 30]"}},
		{forest, []int64{250_00, 0, 0, 31}, []string{
			"income 250.00 [above 100.00]", "trade bar [bar | shop]", "late 0 [up to 0]",
			"days 31 [above 30]"}},
		{forest, []int64{Missing, 1, 4, 31}, []string{
			"income missing [missing]", "trade farm [farm]", "late 4 [above 0]", "days 31 [above 30]"}},
	} {
		e, err := c.model.Explain(c.values)
		if err != nil {
			t.Fatal(err)
		}
		sum := e.Result.Base
		for i, line := range e.Lines {
			sum += line.Amount
			if got := line.Feature + " " + line.Value + " [" + line.Bin + "]"; got != c.want[i] {
				t.Errorf("%s: %q, want %q", c.model.Kind(), got, c.want[i])
			}
			if line.Reason != c.model.Features()[i].Reason {
				t.Errorf("%s: reason %q", line.Feature, line.Reason)
			}
		}
		if sum != e.Result.Score {
			t.Errorf("the lines add up to %d, the score is %d", sum, e.Result.Score)
		}
	}
}

func TestLevelsTextIsShort(t *testing.T) {
	f := Feature{Kind: Categorical, Levels: []string{"a", "b", "c", "d", "e", "f"}}
	if got := levelsText(&f, []int64{0, 1, 2, 3, 4, 5}); got != "a | b | c | d and 2 more" {
		t.Errorf("levels are told as %q", got)
	}
}

// randomForest grows a forest of random trees over features of which one is categorical.
func randomForest(stream *portable.Stream, features, trees, depth int) *Spec {
	s := &Spec{Format: Format, Kind: KindForest, Name: "random", Mapping: "random",
		MappingSHA256: zeros, Training: Training{Rows: 1, DataSHA256: zeros},
		Reasons: []ReasonText{{"R", "Sentence."}}, Forest: &Forest{BaseMicro: stream.Below(2_000_000)}}
	for i := range features {
		f := Feature{Name: "f" + string(rune('a'+i)), Kind: Numeric, Reason: "R"}
		ranks := []int64{}
		if i == 0 {
			f.Kind, f.Levels, ranks = Categorical, []string{"p", "q", "r", "s"}, []int64{2, 0, 3, 1}
		}
		s.Features = append(s.Features, f)
		s.Forest.Ranks = append(s.Forest.Ranks, ranks)
	}
	for range trees {
		s.Forest.Trees = append(s.Forest.Trees, randomTree(stream, features, depth, nil))
	}
	return s
}

func randomTree(stream *portable.Stream, features, depth int, tree Tree) Tree {
	if depth == 0 || stream.Below(6) == 0 {
		return append(tree, []int64{stream.Below(2_000_000) - 1_000_000, 1 + stream.Below(500)})
	}
	tree = append(tree, []int64{stream.Below(int64(features)), stream.Below(4), stream.Below(2)})
	tree = randomTree(stream, features, depth-1, tree)
	return randomTree(stream, features, depth-1, tree)
}

func randomRow(stream *portable.Stream, features int) []int64 {
	values := make([]int64, features)
	for i := range values {
		values[i] = stream.Below(6) - 1
		if stream.Below(8) == 0 {
			values[i] = Missing
		}
	}
	return values
}
