package journal

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestReference holds docs/reference/journal.md to the sizes in the code.
func TestReference(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what  string
		bytes int
	}{
		{"page: groups start at and fill whole pages", PageSize},
		{"record header; records start at multiples of it", HeaderSize},
		{"stored result", ResultSize},
		{"most in a record's body", BodyMax},
		{"most in a group", GroupMax},
		{"segment, unless configured", SegmentBytes},
		{"first segment, unless configured", FirstSegmentBytes},
	} {
		if line := fmt.Sprintf("| %s | %d |", row.what, row.bytes); !strings.Contains(string(text), line) {
			t.Errorf("the reference does not say %q", line)
		}
	}
}
