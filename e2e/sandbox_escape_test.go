//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"
)

// escapeLimit is for all the attempts: four sandboxes of some two hundred processes each.
const escapeLimit = 15 * time.Minute

// TestSandboxEscape makes every attempt to escape there is, and ten seconds of random system calls;
// `surety sandbox drill --fuzz 10m` makes more of them.
func TestSandboxEscape(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a drill needs root, to give the sandbox every capability")
	}
	ctx, cancel := context.WithTimeout(t.Context(), escapeLimit)
	defer cancel()
	command := exec.CommandContext(ctx, binary(t), "sandbox", "drill", "--fuzz", "10s", "-o", "json")
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = time.Minute
	command.Stderr = os.Stderr
	out, err := command.Output()
	var report struct {
		Attempts, Reached, Things      int
		Odd, Breaches                  []map[string]any
		Missing, Changes, Hits, Trails []string
		Planted                        bool `json:"planted_found"`
		Fuzz                           []struct{ Calls uint64 }
	}
	if decode := json.Unmarshal(out, &report); decode != nil {
		t.Fatalf("drill: %v, %v: %s", err, decode, out)
	}
	if err != nil || report.Reached > 0 || len(report.Odd) > 0 || len(report.Missing) > 0 {
		t.Errorf("drill: %v\nreached %d: %v %v %v\nodd: %v\nnot in the audit: %v", err, report.Reached,
			report.Breaches, report.Changes, report.Hits, report.Odd, report.Missing)
	}
	if report.Attempts < 700 || report.Things < 100 || len(report.Trails) < 4 {
		t.Errorf("%d attempts, %d things compared, %d trails: that is not all", report.Attempts, report.Things,
			len(report.Trails))
	}
	if !report.Planted {
		t.Error("the planted fault was not found: this drill would not see a breach")
	}
	if len(report.Fuzz) != 1 || report.Fuzz[0].Calls < 1000 {
		t.Errorf("random calls: %+v", report.Fuzz)
	}
	t.Logf("%d attempts, %d things of the host compared", report.Attempts, report.Things)
}
