//go:build amd64

package kernel_test

import (
	"os"
	"path/filepath"
	"testing"
)

// raceRounds is enough for hundreds of changes to fall between looking and opening, were there a
// gap; $SURETY_RACE_ROUNDS asks for more.
func raceRounds() string {
	if asked := os.Getenv("SURETY_RACE_ROUNDS"); asked != "" {
		return asked
	}
	return "3000"
}

func TestRacedPathsNeverReadWhatIsDenied(t *testing.T) {
	play(t, plan{policy: deny("/shut/**"), files: map[string]string{"/open/file": "public",
		"/open/evil": "public", "/shut/file": "secret"}}, []step{
		{"race " + raceRounds(), "allowed true denied 0 refused true", want{}},
	})
}

func TestRacedPathsNeverChangeWhatIsDenied(t *testing.T) {
	b := play(t, plan{policy: deny("/shut/**"), files: map[string]string{"/open/file": "public",
		"/shut/file": "secret"}}, []step{{"raceWrite " + raceRounds(), "ok", want{}}})
	entries, err := os.ReadDir(filepath.Join(b.root, "shut"))
	must(t, err)
	data, err := os.ReadFile(filepath.Join(b.root, "shut", "file"))
	must(t, err)
	if len(entries) != 1 || string(data) != "secret" {
		t.Errorf("the denied directory changed: %v, %q", entries, data)
	}
}
