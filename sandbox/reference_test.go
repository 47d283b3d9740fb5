package sandbox

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The reference lists the kinds, capabilities excepted, and limits as they are.
func TestReference(t *testing.T) {
	read := func(name string) string {
		page, err := os.ReadFile("../docs/reference/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(page)
	}
	audit, policy := read("sandbox-audit.md"), read("sandbox-policy.md")
	rows := 0
	for number := range 256 {
		kind := Kind(number)
		if !kind.known() {
			continue
		}
		rows++
		core := map[bool]string{true: "yes", false: "no"}[kind.Core()]
		if row := fmt.Sprintf("\n| %d | %s | %s |", number, kind, core); !strings.Contains(audit, row) {
			t.Errorf("sandbox-audit.md has no row%s", row)
		}
	}
	if rows != len(KindNames()) {
		t.Errorf("%d kinds, %d names", rows, len(KindNames()))
	}
	for bit, name := range accesses {
		if !strings.Contains(audit, fmt.Sprintf("%d %s", 1<<bit, name)) ||
			!strings.Contains(policy, "\n| `"+name+"` |") {
			t.Errorf("access %s is missing", name)
		}
	}
	for name, limit := range map[string]int{ // each by itself: the order cannot show
		"rules of `exec`, `files` and `network` together": MaxRules, "bytes of a pattern": MaxText,
	} {
		if !strings.Contains(policy, fmt.Sprintf("| %s | %d |", name, limit)) {
			t.Errorf("sandbox-policy.md: %s is not %d", name, limit)
		}
	}
}
