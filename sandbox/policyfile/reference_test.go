package policyfile

import (
	"os"
	"regexp"
	"testing"
)

// The examples of the reference are policies.
func TestReferenceExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/sandbox-policy.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(examples) == 0 {
		t.Fatal("the page has no example")
	}
	for _, example := range examples {
		if _, _, err := Compile(example[1]); err != nil {
			t.Errorf("%v in\n%s", err, example[1])
		}
	}
}
