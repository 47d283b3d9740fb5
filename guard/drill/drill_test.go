package drill

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/guard"
)

// instances is how many of each class the test plants; the full run sets SURETY_DRILL_INSTANCES.
func instances(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("SURETY_DRILL_INSTANCES"))
	if err != nil {
		return 2
	}
	t.Logf("%d instances of each class", n)
	return n
}

func TestDrillCatchesEveryClass(t *testing.T) {
	cfg := Config{Seed: 7, Instances: instances(t), PerDay: 1, Dir: t.TempDir()}
	report, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d\n%s", cfg.Seed, table.String())
	if !report.Passed() {
		t.Errorf("%d missed, %d false alarms", report.Missed, report.FalseAlarms)
	}
	if len(report.Classes) < 39 {
		t.Errorf("%d classes were planted, want at least 39", len(report.Classes))
	}
	if report.Planted != len(report.Classes)*cfg.Instances {
		t.Errorf("%d faults were planted, want %d of %d classes", report.Planted, cfg.Instances,
			len(report.Classes))
	}
	if report.Unstopped > 0 {
		t.Errorf("%d stops did not come into force", report.Unstopped)
	}
	// The promise is one second on an idle machine; tests share theirs.
	if report.P99Millis > 3000 {
		t.Errorf("alarms took %.0f ms at the 99th percentile", report.P99Millis)
	}
}

// A drill that cannot fail proves nothing: without a rule it must miss what only that rule finds.
func TestDrillMissesWhatABlindCheckerMisses(t *testing.T) {
	for _, row := range []struct {
		class guard.Class
		blind []guard.Rule
	}{
		{301, []guard.Rule{guard.PostingAmount, guard.PostingUnit}},
		{701, []guard.Rule{guard.InterestWrong}},
		{705, []guard.Rule{guard.AnnualRateWrong}},
	} {
		report, err := Run(context.Background(), Config{Seed: 3, Instances: 2, PerDay: 1,
			Classes: []guard.Class{row.class}, Blind: row.blind, Dir: t.TempDir(),
			patience: clock.Second})
		if err != nil {
			t.Fatal(err)
		}
		if report.Missed == 0 || report.Passed() {
			t.Errorf("class %s without %v: %d of %d were missed, want some", row.class, row.blind,
				report.Missed, report.Planted)
		}
		// The blinded checker's own canary raises an alarm that no fault explains.
		found := false
		for _, f := range report.False {
			found = found || f.Rule == guard.CheckerUnreliable.String()
		}
		if !found {
			t.Errorf("class %s without %v: no canary told of it", row.class, row.blind)
		}
	}
}

func TestDrillRefusesUnknownClasses(t *testing.T) {
	_, err := Run(context.Background(), Config{Classes: []guard.Class{104}})
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("a class that cannot be planted: %v, want kind invalid", err)
	}
	_, err = Run(context.Background(), Config{Instances: instancesMax + 1})
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("too many instances: %v, want kind invalid", err)
	}
}

func TestReportIsReadable(t *testing.T) {
	r := &Report{Seed: 1, Planted: 2, Missed: 1, FalseAlarms: 1,
		Classes: []ClassReport{{Class: "3.1", Title: "<amount>", Planted: 2, Caught: 1, Missed: 1,
			MissedNames: []string{"drill-3.1-1: more paid out"}, Leaked: "5", AtRisk: "100"}},
		False: []FalseAlarm{{Class: "2.3", Rule: "posting_orphan", Expected: json.RawMessage(`{}`),
			Found: json.RawMessage(`{}`)}}}
	var html, table, object strings.Builder
	for _, err := range []error{r.WriteHTML(&html), r.WriteTable(&table), r.WriteJSON(&object)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(html.String(), "<amount>") {
		t.Error("the page does not escape what it shows")
	}
	for _, want := range []string{"missed: class 3.1, drill-3.1-1", "false alarm: class 2.3", "5 of 100"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	var back Report
	if err := json.Unmarshal([]byte(object.String()), &back); err != nil || back.Missed != 1 {
		t.Errorf("the object does not read back: %v", err)
	}
}
