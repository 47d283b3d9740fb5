package drill

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/guard"
)

func TestCleanTrafficRaisesNoAlarm(t *testing.T) {
	cfg := CleanConfig{Seed: 1, Events: 50_000}
	if n, err := strconv.Atoi(os.Getenv("SURETY_CLEAN_EVENTS")); err == nil {
		cfg.Events = n
	}
	report, err := Clean(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	t.Log(text.String())
	if report.Events != uint64(cfg.Events) || report.Checked != report.Events {
		t.Errorf("%d events were seen and %d found well, want %d", report.Events, report.Checked,
			cfg.Events)
	}
	if report.FalseAlarms > 0 {
		t.Errorf("%d false alarms", report.FalseAlarms)
	}
	if report.Late == 0 || report.Repeats == 0 {
		t.Error("nothing was late or came again")
	}
}

// The traffic must hold the cases that make checking hard, or its silence means little.
func TestCleanTrafficIsHard(t *testing.T) {
	kinds := map[string]int{}
	lender := NewLender(2, "hard", clock.MustDate(2023, 12, 20), 4)
	leapDay, monthEnd, madeGood := false, false, false
	for range 60_000 {
		a := lender.Next()
		kinds[a.Event.Kind]++
		_, month, day := a.Event.Date.Civil()
		leapDay = leapDay || month == 2 && day == 29
		monthEnd = monthEnd || day == 31
		madeGood = madeGood || a.Event.Date < lender.today
	}
	for kind := guard.ApplicationReceived; kind <= guard.EventCancelled; kind++ {
		if kinds[kind.String()] < 50 {
			t.Errorf("%d events of kind %s in 60,000, want more", kinds[kind.String()], kind)
		}
	}
	if !leapDay || !monthEnd || !madeGood {
		t.Errorf("a leap day came: %v, the end of a month: %v, days made good: %v", leapDay, monthEnd,
			madeGood)
	}
}
