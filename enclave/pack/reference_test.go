package pack

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestReferenceIsCurrent holds the reference to the keys that are read, and its example to the reader.
func TestReferenceIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/enclave-bundle.md")
	must(t, err)
	source, err := os.ReadFile("project.go")
	must(t, err)
	table := string(page)[strings.Index(string(page), "| key | what it says"):]
	table = table[:strings.Index(table, "\n\n")]
	keys := regexp.MustCompile(`(?m)^\tcase "(\w+)":$`).FindAllSubmatch(source, -1)
	if len(keys) < 20 {
		t.Fatalf("%d keys are read: the test looks at the wrong thing", len(keys))
	}
	for _, key := range keys {
		if !strings.Contains(table, "`"+string(key[1])+"`") {
			t.Errorf("the reference has no key %s", key[1])
		}
	}
	example := regexp.MustCompile(`(?s)## enclave.yaml\n\n(    .*?)\n\n`).FindSubmatch(page)
	text := strings.ReplaceAll(string(example[1]), "\n    ", "\n")
	if _, err := parseProject([]byte(strings.TrimPrefix(text, "    ") + "\n")); err != nil {
		t.Errorf("the example: %v\n%s", err, text)
	}
}
