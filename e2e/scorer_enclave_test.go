//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	evidencev1 "surety/api/evidence/v1"
	lendingv1 "surety/api/lending/v1"
	nodev1 "surety/api/node/v1"
)

// TestScorerEnclave follows a decision to the enclave that computed its scores: what it was measured
// as, how that was appraised, and which secret was released to it, each in the log.
func TestScorerEnclave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startNode(t, dir, "--rate", "0", "--set", "sandbox.scorer=enclave", "--set", "enclave.tee=sim")
	n.says(t, "in a SIMULATED enclave (no memory protection)")
	e := scorerBox(t, n).Enclave
	if e == nil || e.Tee != "sim" || e.Guarantee != "simulated" || e.Product != "surety-scorer" ||
		e.Svn != 1 || e.Status != "contraindicated" || e.Releases != 1 || e.Refusals != 0 ||
		!strings.HasPrefix(e.Measurement, "sha384:") || !strings.Contains(e.Line, "SIMULATED") {
		t.Errorf("the board: %v", e)
	}
	proved(t, n, lend(t, n, "ENCLAVE-1"), e)
	n.stop(t)

	n = startNode(t, dir, "--rate", "0", "--set", "sandbox.scorer=enclave")
	if again := scorerBox(t, n).Enclave; again == nil || again.Measurement != e.Measurement {
		t.Errorf("after a restart: %v, before: %v", again, e)
	}
	n.stop(t)

	sealed, err := filepath.Glob(filepath.Join(dir, "enclave", "scorer", "*", "layers", "models.sealed"))
	if err != nil || len(sealed) != 1 {
		t.Fatalf("the sealed models: %v, %v", sealed, err)
	}
	flipByte(t, sealed[0])
	refused(t, dir, 1, []string{"sandbox.scorer is enclave", "models"}, "up", "--rate", "0",
		"--set", "sandbox.scorer=enclave", "--http", "127.0.0.1:0", "--set", "ledger.address=")
}

// flipByte changes one byte in the middle of a file.
func flipByte(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// proved holds the decision of a loan to the enclave it was scored in.
func proved(t *testing.T, n *node, loan *lendingv1.Loan, want *nodev1.Enclave) {
	t.Helper()
	until(t, 20*time.Second, "the release is logged", func() (bool, string) {
		var trace evidencev1.TraceResponse
		ask(t, n.dir, &trace, "trace", loan.Id)
		for _, step := range trace.Steps {
			if step.Kind != "application.decided" || step.Enclave == nil ||
				len(step.Enclave.Released) == 0 || !step.Enclave.Released[0].Logged {
				continue
			}
			got := step.Enclave
			if got.Tee != want.Tee || got.Guarantee != want.Guarantee || got.Svn != want.Svn ||
				got.Measurement != want.Measurement || got.Signer != want.Signer ||
				got.Status != want.Status || got.Policy != "scorer" || got.Verifier != "node" ||
				got.Appraisal == "" || len(got.Released) != 1 ||
				got.Released[0].Resource != "node/layer-key/scorer-models" {
				t.Errorf("under the decision: %v", got)
			}
			text := run(t, n.dir, 0, "trace", loan.Id)
			for _, words := range []string{"SIMULATED enclave (self-reported measurement)",
				got.Measurement[:23], "appraised by node: contraindicated", "under policy scorer",
				"node/layer-key/scorer-models", fmt.Sprintf("at leaf %d", got.Released[0].Index)} {
				if !strings.Contains(text, words) {
					t.Errorf("the trace does not say %q:\n%s", words, text)
				}
			}
			return true, ""
		}
		return false, trace.String()
	})
}
