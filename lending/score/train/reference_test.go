package train

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"surety/lending/score"
)

// TestReferenceStatesTheParameters holds docs/reference/models.md to the parameters in the code.
func TestReferenceStatesTheParameters(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reference/models.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []score.Kind{score.KindCard, score.KindForest} {
		p := Default(kind)
		for _, b := range p.bounds() {
			row := fmt.Sprintf("\n| `%s` | %d | %d | %d |\n", b.name, b.value, b.low, b.high)
			if !strings.Contains(string(page), row) {
				t.Errorf("the page does not have %q", row)
			}
		}
	}
}
