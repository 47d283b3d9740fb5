package drill

import (
	"context"
	"strings"
	"testing"
)

func TestDrillCatchesEveryClass(t *testing.T) {
	cfg := Config{Seed: 7, Instances: 4, Dir: t.TempDir()}
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
	for _, c := range report.Classes {
		t.Log(c.Class, c.Also)
	}
}
