package runtime_test

import (
	"testing"

	"surety/base/errs"
	"surety/sandbox/runtime"
)

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]int{"9": 9, "KILL": 9, "SIGTERM": 15, "usr1": 10, "64": 64} {
		if got, err := runtime.ParseSignal(text); err != nil || got != want {
			t.Errorf("%s: %d %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "65", "-1", "SIGSPARKLE"} {
		if _, err := runtime.ParseSignal(text); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
