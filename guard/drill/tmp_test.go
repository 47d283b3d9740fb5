package drill

import (
	"context"
	"testing"
)

func TestTmp(t *testing.T) {
	report, err := Clean(context.Background(), CleanConfig{Seed: 3, Events: 150000})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", report.AlarmsN)
	for _, b := range report.Alarms {
		t.Logf("%s %s %s: expected %s, found %s", b.Class, b.Rule, b.EventKind, b.Expected.JSON(), b.Found.JSON())
	}
}
