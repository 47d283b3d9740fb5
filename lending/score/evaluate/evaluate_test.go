package evaluate

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/lending/score"
	"surety/lending/score/frame"
	"surety/lending/score/merchant"
	"surety/lending/score/portable"
	"surety/lending/score/train"
)

func TestMicroText(t *testing.T) {
	for m, want := range map[Micro]string{
		0: "0.0000", 769_500: "0.7695", 1_000_000: "1.0000", -12_349: "-0.0123", -12_350: "-0.0124",
		49: "0.0000", 50: "0.0001", 12_345_678: "12.3457",
	} {
		if got := m.String(); got != want {
			t.Errorf("%d is %q, want %q", int64(m), got, want)
		}
	}
}

// sample draws scores with ties, and ends that go with them more or less.
func sample(stream *portable.Stream, rows int) *Sample {
	s := &Sample{}
	for range rows {
		v := stream.Below(40)
		s.Scores = append(s.Scores, v-20)
		s.Points = append(s.Points, int32(v))
		s.PD = append(s.PD, 1_000_000-v*20_000)
		s.Bad = append(s.Bad, stream.Below(60) > v)
	}
	return s
}

// TestMeasureByDefinition compares each figure with its definition, computed the slow way.
func TestMeasureByDefinition(t *testing.T) {
	stream := portable.NewStream(1)
	for round := range 50 {
		s := sample(stream, int(2+stream.Below(300)))
		m := Measure(s)
		pairs, won := 0.0, 0.0
		squares, mean, bad := 0.0, 0.0, 0.0
		for i := range s.Bad {
			pd, end := float64(s.PD[i])/1e6, 0.0
			if s.Bad[i] {
				end = 1
			}
			squares, mean, bad = squares+(pd-end)*(pd-end), mean+pd, bad+end
			for k := range s.Bad {
				if s.Bad[i] || !s.Bad[k] {
					continue
				}
				pairs++
				if s.Scores[i] > s.Scores[k] {
					won++
				} else if s.Scores[i] == s.Scores[k] {
					won += 0.5
				}
			}
		}
		rows := float64(len(s.Bad))
		auc, ks := 0.5, 0.0
		if pairs > 0 {
			auc = won / pairs
			for cut := int64(-21); cut <= 21; cut++ {
				below := [2]float64{}
				for i := range s.Bad {
					if s.Scores[i] <= cut && s.Bad[i] {
						below[1]++
					} else if s.Scores[i] <= cut {
						below[0]++
					}
				}
				ks = max(ks, math.Abs(below[1]/bad-below[0]/(rows-bad)))
			}
		}
		for _, c := range []struct {
			name string
			got  Micro
			want float64
		}{
			{"AUC", m.AUC, auc}, {"KS", m.KS, ks}, {"Gini", m.Gini, 2*auc - 1},
			{"Brier", m.Brier, squares / rows}, {"mean PD", m.MeanPD, mean / rows},
		} {
			if off := math.Abs(float64(c.got)/1e6 - c.want); off > 3e-6 {
				t.Errorf("round %d: %s %s, by definition %v", round, c.name, c.got, c.want)
			}
		}
		if m.Rows != int64(rows) || m.Bad != int64(bad) {
			t.Errorf("round %d: %d rows, %d bad", round, m.Rows, m.Bad)
		}
	}
}

func TestMeasureAtTheEdges(t *testing.T) {
	perfect := &Sample{Scores: []int64{1, 2, 3, 4}, PD: []int64{999_999, 999_999, 1, 1},
		Bad: []bool{true, true, false, false}}
	m := Measure(perfect)
	if m.AUC != 1_000_000 || m.KS != 1_000_000 || m.Gini != 1_000_000 || m.ECE > 1 {
		t.Errorf("a perfect sample measures %+v", m)
	}
	for name, s := range map[string]*Sample{
		"empty":    {},
		"all good": {Scores: []int64{1, 2}, PD: []int64{1, 1}, Bad: []bool{false, false}},
		"all bad":  {Scores: []int64{1, 2}, PD: []int64{1, 1}, Bad: []bool{true, true}},
		"all tied": {Scores: []int64{5, 5}, PD: []int64{500_000, 500_000}, Bad: []bool{true, false}},
	} {
		if m := Measure(s); m.AUC != 500_000 || m.KS != 0 {
			t.Errorf("%s: AUC %s, KS %s, want a half and zero", name, m.AUC, m.KS)
		}
	}
}

func TestCalibration(t *testing.T) {
	s := &Sample{}
	for i := range 1000 { // bands of 100 with probabilities 0.05, 0.15 ...; ends that fit but for one
		band := i / 100
		s.Scores = append(s.Scores, int64(-band))
		s.PD = append(s.PD, int64(50_000+100_000*band))
		s.Bad = append(s.Bad, i%100 < 5+10*band || band == 0)
	}
	if m := Measure(s); m.ECE != 95_000 { // the first band is off by 0.95 and is a tenth
		t.Errorf("the calibration error is %s, want 0.0950", m.ECE)
	}
}

func TestPSI(t *testing.T) {
	stream := portable.NewStream(3)
	draw := func(shift int64) []int64 {
		values := make([]int64, 5000)
		for i := range values {
			values[i] = stream.Below(1000) + shift
		}
		return values
	}
	reference := draw(0)
	for _, c := range []struct {
		name      string
		scores    []int64
		low, high Micro
	}{
		{"itself", reference, 0, 0},
		{"the same population", draw(0), 1, 20_000},
		{"shifted by a tenth", draw(100), 100_000, 2_000_000},
		{"elsewhere", draw(5000), 3_000_000, 100_000_000},
		{"nobody", nil, 0, 0},
	} {
		if got := PSI(reference, c.scores); got < c.low || got > c.high {
			t.Errorf("%s: %s, want %s to %s", c.name, got, c.low, c.high)
		}
	}
	if got := PSI([]int64{7, 7, 7}, []int64{7, 7}); got < 0 || got > 100_000 {
		t.Errorf("a single value: %s", got)
	}
}

func TestCutOff(t *testing.T) {
	s := &Sample{Points: []int32{500, 600, 700, 800, 800, 800, 900, 1000, 1100, 1200}}
	for _, c := range []struct {
		permille int64
		want     int32
		approved int
	}{
		{1000, 500, 10}, {900, 600, 9}, {700, 800, 7}, {600, 801, 4}, {500, 801, 4}, {400, 900, 4},
		{0, 1201, 0}, {2000, 500, 10},
	} {
		cut := CutOff(s, c.permille)
		approved := 0
		for _, p := range s.Points {
			if p >= cut {
				approved++
			}
		}
		if cut != c.want || approved != c.approved {
			t.Errorf("%d permille: cut-off %d approves %d, want %d and %d", c.permille, cut, approved,
				c.want, c.approved)
		}
	}
	if got := CutOff(&Sample{}, 500); got != 0 {
		t.Errorf("the cut-off of nobody is %d", got)
	}
}

func TestCompare(t *testing.T) {
	mapping, err := frame.ParseMapping([]byte(`
name: groups
target: {column: end, good: "0", bad: "1"}
features: [{column: x, reason: R}]
protected: [{column: sex}, {column: town}]
reasons: [{code: R, sentence: X.}]
`))
	if err != nil {
		t.Fatal(err)
	}
	text := &strings.Builder{}
	text.WriteString("x,sex,town,end\n")
	s := &Sample{}
	for i := range 1000 {
		// 600 women of whom 480 are approved, 390 men of whom 240 are, 10 others of whom none is.
		sex, points, end := "f", int32(500), 0
		switch {
		case i >= 990:
			sex = "x"
		case i >= 600:
			sex = "m"
		}
		if i < 480 || sex == "m" && i < 840 {
			points = 700
		}
		if i%10 == 0 {
			end = 1
		}
		fmt.Fprintf(text, "%d,%s,here,%d\n", i, sex, end)
		s.Points, s.PD, s.Bad = append(s.Points, points), append(s.PD, 100_000), append(s.Bad, end == 1)
	}
	f, _, err := frame.Read(strings.NewReader(text.String()), mapping)
	if err != nil {
		t.Fatal(err)
	}
	report := Compare(f, s, 700)
	sex := report[0]
	if sex.Column != "sex" || sex.Reference != "f" || !sex.Adverse || len(sex.Groups) != 3 {
		t.Fatalf("the report is %+v", sex)
	}
	for i, want := range []Group{
		{Name: "f", Rows: 600, BadRate: 100_000, MeanPD: 100_000, Approved: 800_000, Impact: 1_000_000},
		{Name: "m", Rows: 390, BadRate: 100_000, MeanPD: 100_000, Approved: 615_384, Impact: 769_230},
		{Name: "x", Rows: 10, BadRate: 100_000, MeanPD: 100_000, Small: true},
	} {
		if sex.Groups[i] != want {
			t.Errorf("group %d is %+v, want %+v", i, sex.Groups[i], want)
		}
	}
	if town := report[1]; town.Adverse || town.Groups[0].Impact != 1_000_000 {
		t.Errorf("one group alone: %+v", town)
	}
	for _, group := range Compare(f, s, 2000)[0].Groups {
		if group.Approved != 0 || group.Impact != 0 {
			t.Errorf("nobody approved: %+v", group)
		}
	}
	if Compare(f, s, 2000)[0].Adverse {
		t.Error("nobody approved, and yet somebody is worse off")
	}
}

func TestFoldsAreStratified(t *testing.T) {
	f, err := merchant.Frame(1, 1003)
	if err != nil {
		t.Fatal(err)
	}
	const folds = 4
	assigned := stratify(f, folds, 7)
	var rows, bad [folds]int
	for row, fold := range assigned {
		rows[fold]++
		if f.Bad(row) {
			bad[fold]++
		}
	}
	for fold := range folds {
		if off := rows[fold] - rows[0]; off < -1 || off > 1 {
			t.Errorf("folds have %d rows", rows)
		}
		if off := bad[fold] - bad[0]; off < -1 || off > 1 {
			t.Errorf("folds have %d bad rows", bad)
		}
	}
	if fmt.Sprint(assigned) == fmt.Sprint(stratify(f, folds, 8)) {
		t.Error("another seed gives the same folds")
	}
	if fmt.Sprint(assigned) != fmt.Sprint(stratify(f, folds, 7)) {
		t.Error("the same seed gives other folds")
	}
}

// TestCrossValidateSynthetic has its own floors and needs no data set.
func TestCrossValidateSynthetic(t *testing.T) {
	f, err := merchant.Frame(12, 6000)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []score.Kind{score.KindCard, score.KindForest} {
		p := train.ForRows(kind, f.Rows())
		p.Forest.Trees = 100
		cv, err := CrossValidate(f, p, 4, 42)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: AUC %s (%s), KS %s, ECE %s", kind, cv.Mean.AUC, cv.SD.AUC, cv.Mean.KS, cv.Mean.ECE)
		if cv.Mean.AUC < 770_000 || cv.Mean.AUC > 850_000 || cv.Mean.PSI > 100_000 {
			t.Errorf("%s: AUC %s, PSI %s", kind, cv.Mean.AUC, cv.Mean.PSI)
		}
		if cv.Mean.Rows != 6000 || len(cv.Folds) != 4 || len(cv.Sample.Scores) != 6000 {
			t.Errorf("%s: %d rows in %d folds, %d scored", kind, cv.Mean.Rows, len(cv.Folds),
				len(cv.Sample.Scores))
		}
		for row, points := range cv.Sample.Points {
			if points == 0 || cv.Sample.PD[row] == 0 || cv.Sample.Bad[row] != f.Bad(row) {
				t.Fatalf("%s: row %d was not scored in its place", kind, row)
			}
		}
	}
}

func TestCrossValidateRefusals(t *testing.T) {
	f, err := merchant.Frame(1, 200)
	if err != nil {
		t.Fatal(err)
	}
	p := train.Small(score.KindCard)
	for _, folds := range []int{-1, 0, 1, MaxFolds + 1} {
		if _, err := CrossValidate(f, p, folds, 1); !errs.Is(err, errs.Invalid) {
			t.Errorf("%d folds: %v, want invalid", folds, err)
		}
	}
	if _, err := CrossValidate(f.Subset([]int32{0, 1, 2, 3}), p, 2, 1); !errs.Is(err, errs.Invalid) ||
		!strings.Contains(err.Error(), "fold 0") {
		t.Errorf("four rows: %v", err)
	}
	card, err := merchant.Shipped(score.KindCard)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := frame.Read(strings.NewReader("x,end\n1,0\n"), mustMapping(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Evaluate(card, other); !errs.Is(err, errs.Invalid) {
		t.Errorf("data of other features: %v", err)
	}
}

func mustMapping(t *testing.T) *frame.Mapping {
	t.Helper()
	m, err := frame.ParseMapping([]byte("name: one\ntarget: {column: end, good: '0', bad: '1'}\n" +
		"features: [{column: x, reason: R}]\nreasons: [{code: R, sentence: X.}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// reference is what logistic regression, a WOE scorecard and XGBoost of the usual Python libraries
// reach on the public data sets, with all columns as features, in 5-fold stratified
// cross-validation with seed 42: figures computed beforehand, as millionths. The floors are what
// ours must reach with the protected columns left out.
var reference = []struct {
	mapping, file                       string
	logistic, woe, xgboost              Micro // AUC
	logisticKS, woeKS, xgboostKS        Micro
	cardFloor, forestFloor, cardFloorKS Micro
}{
	{"taiwan", "taiwan_default.csv", 722_600, 769_500, 782_800, 379_900, 414_400, 436_800,
		765_000, 779_000, 400_000},
	{"german", "german_credit.csv", 776_400, 778_700, 787_500, 461_400, 461_000, 476_700,
		770_000, 770_000, 440_000},
	{"lendingclub", "lendingclub_2016q1.csv", 726_300, 709_500, 730_300, 367_800, 332_700, 371_000,
		710_000, 710_000, 330_000},
}

// TestPublicDataSets cross-validates on the public data sets where they are present.
func TestPublicDataSets(t *testing.T) {
	for _, r := range reference {
		f := readData(t, r.mapping, r.file)
		if f == nil {
			continue
		}
		for _, c := range []struct {
			kind      score.Kind
			floor, to Micro
		}{{score.KindCard, r.cardFloor, r.woe}, {score.KindForest, r.forestFloor, r.xgboost}} {
			cv, err := CrossValidate(f, train.ForRows(c.kind, f.Rows()), 5, 42)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %s: AUC %s (%s), KS %s, Brier %s, ECE %s; reference AUC %s", r.mapping, c.kind,
				cv.Mean.AUC, cv.SD.AUC, cv.Mean.KS, cv.Mean.Brier, cv.Mean.ECE, c.to)
			if cv.Mean.AUC < c.floor {
				t.Errorf("%s %s: AUC %s, the floor is %s", r.mapping, c.kind, cv.Mean.AUC, c.floor)
			}
			if c.kind == score.KindCard && cv.Mean.KS < r.cardFloorKS {
				t.Errorf("%s %s: KS %s, the floor is %s", r.mapping, c.kind, cv.Mean.KS, r.cardFloorKS)
			}
		}
	}
}

// readData reads a file of $SURETY_DATA or of shared/data beside the repository; nil where there is
// none, which the log says.
func readData(t *testing.T, mapping, name string) *frame.Frame {
	t.Helper()
	folders := []string{os.Getenv("SURETY_DATA")}
	if here, err := os.Getwd(); err == nil {
		for ; here != filepath.Dir(here); here = filepath.Dir(here) {
			folders = append(folders, filepath.Join(here, "shared", "data"))
		}
	}
	for _, folder := range folders {
		file, err := os.Open(filepath.Join(folder, name))
		if folder == "" || err != nil {
			continue
		}
		defer file.Close()
		m, err := frame.Ship(mapping)
		if err != nil {
			t.Fatal(err)
		}
		f, _, err := frame.Read(file, m)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	t.Logf("%s is in none of $SURETY_DATA and shared/data: not measured", name)
	return nil
}
