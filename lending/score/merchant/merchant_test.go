package merchant

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/lending/score"
	"surety/lending/score/evaluate"
	"surety/lending/score/frame"
)

var update = flag.Bool("update", false, "write the models that ship")

// TestShippedModelsAreReproduced trains the models again. A difference means that the population, a
// trainer or the format has changed: then the models of users, too, come out different.
func TestShippedModelsAreReproduced(t *testing.T) {
	for _, c := range []struct {
		kind score.Kind
		file string
	}{{score.KindCard, "models/scorecard.json"}, {score.KindForest, "models/gbdt.json"}} {
		m, err := Train(c.kind)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(c.file, m.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		shipped, err := Shipped(c.kind)
		if err != nil {
			t.Fatalf("%s: %v", c.file, err)
		}
		if !bytes.Equal(m.Bytes(), shipped.Bytes()) {
			t.Errorf("%s: trained again it is %s, shipped it is %s; run go generate after a wanted change",
				c.file, m.DigestText(), shipped.DigestText())
		}
		if size := len(shipped.Bytes()); size > 400_000 {
			t.Errorf("%s has %d bytes, want at most 400,000", c.file, size)
		}
		if !shipped.Synthetic() {
			t.Errorf("%s is not labelled synthetic", c.file)
		}
	}
	if _, err := Shipped("neural"); !errs.Is(err, errs.Invalid) {
		t.Errorf("a model of an unknown kind: %v, want invalid", err)
	}
}

// TestProfileIsPinned holds one merchant to its values: stored applications refer to merchants by
// seed and index.
func TestProfileIsPinned(t *testing.T) {
	got := At(310, 7)
	if got != pinned {
		t.Errorf("merchant 7 of seed 310 is\n%+v, want\n%+v", got, pinned)
	}
	if again := At(310, 7); again != got {
		t.Error("the same merchant came out twice in two ways")
	}
	if other := At(311, 7); other == got {
		t.Error("another seed has the same merchant")
	}
}

func TestProfilesArePlausible(t *testing.T) {
	const rows = 20_000
	bad, expected := 0, int64(0)
	for i := range uint64(rows) {
		p := At(99, i)
		expected += p.TruePDMicro
		if p.Defaulted {
			bad++
		}
		for _, c := range []struct {
			what string
			ok   bool
		}{
			{"platform age", p.PlatformAgeMonths >= 0 && p.PlatformAgeMonths <= p.MonthsInBusiness},
			{"months", p.MonthsInBusiness >= 1 && p.MonthsInBusiness <= 360},
			{"turnover", p.MonthlyTurnoverMinor >= 50_000},
			{"transactions", p.Transactions30d >= 1 && p.Customers90d >= 1},
			{"customers", p.Customers90d <= 3*p.Transactions30d},
			{"days", p.ActiveDays90d >= 1 && p.ActiveDays90d <= 90},
			{"lateness", (p.LatePayments12m > 0) == (p.MaxDaysLate12m > 0)},
			{"shares", p.RefundRatePermille >= 0 && p.NightSharePermille <= 1000},
			{"request", p.RequestedMinor > 0 && p.RequestedMinor%10_000 == 0},
			{"ratio", p.RequestedToTurnoverPermille ==
				p.RequestedMinor*1000/p.MonthlyTurnoverMinor},
			{"owner", p.OwnerAge-p.MonthsInBusiness/12 >= 18 && p.OwnerAge <= 80},
			{"employees", p.Employees >= 0},
			{"probability", p.TruePDMicro >= 1 && p.TruePDMicro < score.Micro},
		} {
			if !c.ok {
				t.Fatalf("merchant %d: %s: %+v", i, c.what, p)
			}
		}
	}
	if bad < rows*8/100 || bad > rows*12/100 {
		t.Errorf("%d of %d default, want 8%% to 12%%", bad, rows)
	}
	if off := int64(bad)*score.Micro - expected; max(off, -off) > rows*score.Micro/100 {
		t.Errorf("%d defaults where the probabilities promise %d", bad, expected/score.Micro)
	}
}

// TestShippedModelsTellRisk measures the models on merchants they were not trained on, between what
// a coin and what the hidden probability itself would reach.
func TestShippedModelsTellRisk(t *testing.T) {
	f, err := Frame(4711, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	ideal := &evaluate.Sample{}
	for i := range uint64(f.Rows()) {
		p := At(4711, i)
		ideal.Scores = append(ideal.Scores, -p.TruePDMicro)
		ideal.PD = append(ideal.PD, p.TruePDMicro)
		ideal.Bad = append(ideal.Bad, p.Defaulted)
	}
	ceiling := evaluate.Measure(ideal)
	for _, c := range []struct {
		kind  score.Kind
		floor evaluate.Micro
	}{{score.KindCard, 780_000}, {score.KindForest, 780_000}} {
		m, err := Shipped(c.kind)
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := evaluate.Evaluate(m, f)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: AUC %s KS %s ECE %s, ceiling AUC %s", c.kind, got.AUC, got.KS, got.ECE, ceiling.AUC)
		if got.AUC < c.floor || got.AUC > ceiling.AUC {
			t.Errorf("%s: AUC %s, want %s to %s", c.kind, got.AUC, c.floor, ceiling.AUC)
		}
		if got.ECE > 20_000 {
			t.Errorf("%s: calibration error %s, want at most 0.02", c.kind, got.ECE)
		}
	}
}

// TestValuesAreThoseOfTheData holds Values, the mapping and the text to one order.
func TestValuesAreThoseOfTheData(t *testing.T) {
	f, err := Frame(5, 200)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Features) != FeatureCount {
		t.Fatalf("the mapping has %d features, profiles have %d", len(f.Features), FeatureCount)
	}
	m, err := Shipped(score.KindCard)
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Rows() {
		p := At(5, uint64(i))
		values := p.Values(nil)
		row := f.Row(i, nil)
		for k := range values {
			if values[k] != row[k] || m.Features()[k].Name != f.Features[k].Name {
				t.Fatalf("merchant %d: %s is %d in the data and %d in the profile", i,
					f.Features[k].Name, row[k], values[k])
			}
		}
		if p.Defaulted != f.Bad(i) {
			t.Fatalf("merchant %d ends otherwise in the data", i)
		}
	}
	if p := f.Protected(); len(p) != 2 {
		t.Errorf("%d protected attributes, want group and age", len(p))
	}
}

func TestWriteCSVRefusals(t *testing.T) {
	for _, rows := range []int{-1, MaxRows + 1} {
		if err := WriteCSV(&bytes.Buffer{}, 1, 0, rows); !errs.Is(err, errs.Invalid) {
			t.Errorf("%d rows: %v, want invalid", rows, err)
		}
	}
	for _, room := range []int{0, 1} {
		w := &fullWriter{room: room}
		if err := WriteCSV(w, 1, 0, 3); !errs.Is(err, errs.Unavailable) || !errors.Is(err, errFull) {
			t.Errorf("a writer with room for %d writes: %v", room, err)
		}
	}
	var text bytes.Buffer
	if err := WriteCSV(&text, 1, 0, 0); err != nil || strings.Count(text.String(), "\n") != 1 {
		t.Errorf("no rows: %q, %v, want the header alone", text.String(), err)
	}
	mapping, err := frame.Ship(MappingName)
	if err != nil || !mapping.Synthetic {
		t.Errorf("the mapping is not labelled synthetic: %v", err)
	}
}

var errFull = errors.New("full")

// fullWriter takes a number of writes and then fails.
type fullWriter struct {
	room int
}

func (w *fullWriter) Write(p []byte) (int, error) {
	if w.room == 0 {
		return 0, errFull
	}
	w.room--
	return len(p), nil
}

func BenchmarkAt(b *testing.B) {
	i := uint64(0)
	for b.Loop() {
		p := At(1, i)
		i += uint64(p.Transactions30d&1) + 1
	}
}

func BenchmarkScoreForest(b *testing.B) { benchmarkScore(b, score.KindForest) }

func BenchmarkScoreCard(b *testing.B) { benchmarkScore(b, score.KindCard) }

// benchmarkScore scores rows of the population with the shipped model, reasons and all.
func benchmarkScore(b *testing.B, kind score.Kind) {
	m, err := Shipped(kind)
	if err != nil {
		b.Fatal(err)
	}
	rows := make([][]int64, 1024)
	for i := range rows {
		p := At(2, uint64(i))
		rows[i] = p.Values(nil)
	}
	out := &score.Result{}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Score(rows[i&1023], out); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// pinned is merchant 7 of seed 310.
var pinned = Profile{
	Index: 7, MonthsInBusiness: 40, MonthlyTurnoverMinor: 4520004, TurnoverTrendPermille: -5,
	Transactions30d: 655, Customers90d: 1638, RefundRatePermille: 18, ActiveDays90d: 63,
	NightSharePermille: 28, LatePayments12m: 1, MaxDaysLate12m: 22, PlatformAgeMonths: 30,
	RequestedToTurnoverPermille: 1373, Employees: 1, RequestedMinor: 6210000, TermMonths: 6,
	OwnerAge: 46, OwnerGroup: "group b", TruePDMicro: 59953, Defaulted: true,
}
