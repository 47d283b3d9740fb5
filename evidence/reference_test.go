package evidence

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The reference states the limits as they are.
func TestReferenceStatesTheLimits(t *testing.T) {
	text, err := os.ReadFile("../docs/reference/evidence.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		value int
	}{
		{"MaxName", MaxName}, {"MaxSubjects", MaxSubjects}, {"MaxRecord", MaxRecord},
		{"MaxPayload", MaxPayload}, {"MaxNote", MaxNote}, {"MaxBundle", MaxBundle},
		{"MaxBundleEntries", MaxBundleEntries}, {"MaxStatementIDs", MaxStatementIDs},
		{"MaxInner", MaxInner},
	} {
		line := fmt.Sprintf("| %s | %d |", row.name, row.value)
		if !strings.Contains(string(text), line) {
			t.Errorf("docs/reference/evidence.md does not say %q", line)
		}
	}
}
