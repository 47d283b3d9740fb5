package ledger

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestResultsReference compares docs/reference/results.md with the code: the same results with the
// same numbers in the same order, and the same ones spend the id.
func TestResultsReference(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "reference", "results.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("^\\| (\\d+) \\| `(\\w+)` \\|(.*)\\|$")
	var have []string
	list := ""
	for _, line := range strings.Split(string(text), "\n") {
		switch line {
		case "## Creating an account":
			list = "account"
		case "## Creating a transfer":
			list = "transfer"
		case "## Freezing and releasing":
			list = "freeze"
		}
		if m := row.FindStringSubmatch(line); m != nil {
			rest := strings.Split(m[3], "|")
			entry := list + " " + m[1] + " " + m[2]
			if list == "transfer" && strings.TrimSpace(rest[0]) == "yes" {
				entry += " spends"
			}
			if strings.TrimSpace(rest[len(rest)-1]) == "" {
				t.Errorf("%s has no meaning", entry)
			}
			have = append(have, entry)
		}
	}
	var want []string
	for _, r := range AccountResults() {
		want = append(want, "account "+strconv.Itoa(int(r))+" "+r.String())
	}
	for _, r := range TransferResults() {
		entry := "transfer " + strconv.Itoa(int(r)) + " " + r.String()
		if r.Transient() {
			entry += " spends"
		}
		want = append(want, entry)
	}
	for _, r := range FreezeResults() {
		want = append(want, "freeze "+strconv.Itoa(int(r))+" "+r.String())
	}
	for i := range max(len(have), len(want)) {
		h, w := "(none)", "(none)"
		if i < len(have) {
			h = have[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if h != w {
			t.Fatalf("line %d of the lists: %q, want %q", i+1, h, w)
		}
	}
}

// TestResultsAreDeclaredInOrder compares the order of the constants in results.go, and that none is
// missing from the lists of names.
func TestResultsAreDeclaredInOrder(t *testing.T) {
	source, err := os.ReadFile("results.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^\t\w+\s+(Account|Transfer|Freeze)Result = (\d+)$`).
		FindAllStringSubmatch(string(source), -1)
	var want []string
	for _, r := range AccountResults() {
		want = append(want, "Account "+strconv.Itoa(int(r)))
	}
	for _, r := range TransferResults() {
		want = append(want, "Transfer "+strconv.Itoa(int(r)))
	}
	for _, r := range FreezeResults() {
		want = append(want, "Freeze "+strconv.Itoa(int(r)))
	}
	if len(declared) != len(want) {
		t.Fatalf("%d constants, %d names", len(declared), len(want))
	}
	seen := map[string]bool{}
	for i, d := range declared {
		if have := d[1] + " " + d[2]; have != want[i] || seen[have] {
			t.Fatalf("constant %d is %q, the names have %q", i+1, have, want[i])
		} else {
			seen[have] = true
		}
	}
	if TransferResult(999).String() != "result(999)" || AccountResult(99).String() != "result(99)" ||
		FreezeResult(99).String() != "result(99)" {
		t.Error("an unknown result has a name")
	}
}
