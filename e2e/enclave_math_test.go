//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestJointMath runs the example without an enclave on a small slice, between two processes, and looks
// for the planted values in everything that it left but the parties' own tables.
func TestJointMath(t *testing.T) {
	data, dir := t.TempDir(), filepath.Join(t.TempDir(), "math")
	p := jointFile(t, data)
	script := exec.CommandContext(t.Context(), filepath.Join("..", "examples", "joint-credit", "math.sh"), dir)
	script.Env = append(os.Environ(), "SURETY_DATA="+data, "SURETY_BIN="+binary(t))
	out, err := script.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, words := range []string{"guarantee           math", "a party of a contract by shares",
		`refused: surety: the contract does not tell "shop" the "scores"`, `the session with "shop"`,
		"1 runs of 1 were made under this contract", "rows                2400 shared"} {
		if !strings.Contains(string(out), words) {
			t.Errorf("the example does not say %q", words)
		}
	}
	if strings.Contains(string(out), "simulated") || strings.Contains(string(out), "attested") {
		t.Error("the example speaks of a machine, and there is none")
	}
	var places []string
	for _, name := range []string{"bank", "shop", "answer", "told", "contract.cbor", "shop-math.log", "shop-math.txt"} {
		places = append(places, filepath.Join(dir, name))
	}
	found, files, size := p.below(t, places...)
	t.Logf("searched %d files, %d bytes, for %d planted values", files, size, 2*jointRows)
	for _, one := range found {
		t.Errorf("a planted value: %s", one)
	}
	if found, _, _ := p.below(t, filepath.Join(dir, "shop.csv")); len(found) == 0 {
		t.Error("the search does not find what is there: the shop's own table")
	}
	if p.in(out) != "" {
		t.Error("the example prints a planted value")
	}
}
