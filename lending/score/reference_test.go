package score

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestReferenceStatesTheLimits holds docs/reference/models.md to the limits in the code, in order.
func TestReferenceStatesTheLimits(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/models.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Limits\n")
	if !found {
		t.Fatal("the page has no section Limits")
	}
	for _, limit := range []struct {
		name  string
		value int
	}{
		{"MaxFileBytes", MaxFileBytes}, {"MaxFeatures", MaxFeatures}, {"MaxLevels", MaxLevels},
		{"MaxDecimals", MaxDecimals}, {"MaxBins", MaxBins}, {"MaxTrees", MaxTrees},
		{"MaxDepth", MaxDepth}, {"MaxAttributionEntries", MaxAttributionEntries},
		{"MaxReasons", MaxReasons}, {"TopReasons", TopReasons}, {"MaxTextBytes", MaxTextBytes},
		{"MaxParams", MaxParams}, {"MaxPoints", MaxPoints}, {"MaxLeafMicro", MaxLeafMicro},
		{"MaxBaseMicro", MaxBaseMicro},
	} {
		row := fmt.Sprintf("| `%s` | %d |", limit.name, limit.value)
		at := strings.Index(section, row)
		if at < 0 {
			t.Fatalf("the page does not have, after the limits before it, %q", row)
		}
		section = section[at:]
	}
}
