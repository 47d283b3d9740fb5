package house

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeneratedCodeIsCurrent compares the schemas and what was made from them with the digests that
// api/generate.sh wrote when it last made them: a schema that was edited since, and generated code
// that was edited by hand, both differ.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	tr := readTree(t)
	recorded := map[string]string{}
	sums := readFile(t, filepath.Join(tr.root, "api", "generated.sha256"))
	for line := range strings.Lines(sums) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			t.Fatalf("api/generated.sha256: %q is not a digest and a name", line)
		}
		recorded[name] = sum
	}
	for _, suffix := range []string{".proto", ".pb.go", ".connect.go", ".binpb"} {
		tr.walk(t, suffix, func(name string) {
			data, err := os.ReadFile(filepath.Join(tr.root, name))
			if err != nil {
				t.Error(err)
				return
			}
			sum := sha256.Sum256(data)
			if recorded[name] != hex.EncodeToString(sum[:]) {
				t.Errorf("%s has changed since the last `make generate`", name)
			}
			delete(recorded, name)
		})
	}
	for name := range recorded {
		t.Errorf("%s is recorded and gone: run `make generate`", name)
	}
}
