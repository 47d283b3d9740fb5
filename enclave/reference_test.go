package enclave_test

import (
	"os"
	"strings"
	"testing"

	"surety/enclave"
)

// The reference lists the refusals of a policy as they are, in the order of precedence.
func TestReferenceListsTheResults(t *testing.T) {
	text, err := os.ReadFile("../docs/reference/enclave-broker.md")
	if err != nil {
		t.Fatal(err)
	}
	c, f := good(t)
	p := strict()
	checks := p.Decide(&c, f).Checks
	rest := string(text)
	for i, check := range checks {
		line := "| `" + check.Name + "` | " + enclave.Result(i+1).String() + " |\n"
		_, after, found := strings.Cut(rest, line)
		if !found {
			t.Fatalf("docs/reference/enclave-broker.md does not say %q, or not in its place", line)
		}
		if i > 0 && !strings.HasPrefix(rest, line) {
			t.Errorf("there is something before %q", line)
		}
		rest = after
	}
}
