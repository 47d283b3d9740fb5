package drill

import (
	"context"
	"testing"
)

func TestCleanTrafficRaisesNoAlarm(t *testing.T) {
	cfg := CleanConfig{Seed: 1, Events: 20_000}
	report, err := Clean(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d: %d events, %d postings, %d late, %d repeats, %d checked", cfg.Seed,
		report.Events, report.Postings, report.Late, report.Repeats, report.Checked)
	if report.Events != uint64(cfg.Events) {
		t.Errorf("%d events were checked, want %d", report.Events, cfg.Events)
	}
	for _, b := range report.Alarms {
		t.Errorf("false alarm: %s %s %s: expected %s, found %s", b.Class, b.Rule, b.EventKind,
			b.Expected.JSON(), b.Found.JSON())
	}
}
