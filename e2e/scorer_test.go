//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	evidencev1 "surety/api/evidence/v1"
	lendingv1 "surety/api/lending/v1"
	nodev1 "surety/api/node/v1"
)

// scorerBox returns what the board says of the scorer.
func scorerBox(t *testing.T, n *node) *nodev1.Sandbox {
	t.Helper()
	for _, box := range board(t, n).Sandboxes {
		if box.Name == "scorer" {
			return box
		}
	}
	t.Fatal("the board has no scorer")
	return nil
}

// TestScorerSandbox keeps the credit scorer in a sandbox whose policy is enforced, plain and as an
// enclave: the board and the trace say so, and what of it is killed while applications come in is
// started again without a lost or a wrong decision.
func TestScorerSandbox(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"sandbox", "enclave"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			scorerSandbox(t, "sandbox.scorer="+setting)
		})
	}
}

func scorerSandbox(t *testing.T, setting string) {
	dir := t.TempDir()
	n := startNode(t, dir, "--rate", "0", "--set", setting)
	box := scorerBox(t, n)
	if box.Class != "sentry" || box.Status != "running" || box.Policy != "scorer" ||
		box.Mode != "enforce" || !strings.HasPrefix(box.Image, "sha256:") ||
		!strings.HasPrefix(box.PolicyDigest, "sha256:") || box.Refused != 0 {
		t.Errorf("the board: %v", box)
	}
	n.says(t, box.Id+", policy scorer (enforce)")

	first := box.Id
	audited(t, n, lend(t, n, "SCORER-1"), box)
	metricsOf(t, n, "surety_sandbox_scorer_serving_bool 1", "surety_sandbox_acts_refused_count 0")

	decided := make(map[string]bool)
	for _, victim := range []func(boxState) int{
		func(s boxState) int { return s.Kernel },
		func(s boxState) int { return s.Supervisor },
	} {
		killWhileLending(t, n, victim, decided)
	}
	if box := scorerBox(t, n); box.Restarts < 2 {
		t.Errorf("after two kills: %v", box)
	}
	everyDecision(t, n, decided)
	balanced(t, n)
	unbreached(t, n)

	heads := headsOf(t, n, first)
	cut := scorerBox(t, n).Id
	n.kill(t)
	n = startNode(t, dir, "--rate", "0", "--set", setting)
	last := scorerBox(t, n).Id
	until(t, 20*time.Second, "the sandbox of the killed node is put away", func() (bool, string) {
		left := instances(dir)
		return len(left) == 1 && left[0] == last, fmt.Sprint(left)
	})
	n.stop(t)
	if status := n.command.ProcessState.ExitCode(); status != 0 {
		t.Errorf("stopped with exit status %d\n%s", status, n.output)
	}
	if left := instances(dir); len(left) > 0 {
		t.Errorf("left behind: %v\n%s", left, n.output)
	}
	for _, box := range []string{first, cut, last} {
		run(t, dir, 0, "sandbox", "audit", "verify", filepath.Join(dir, "sandbox", "trails", box))
	}
	run(t, dir, 0, "sandbox", "audit", "verify", filepath.Join(dir, "sandbox", "trails", first),
		"--anchors", heads)
	run(t, dir, 0, "evidence", "check")
}

// headsOf writes the heads of a sandbox's trail that the evidence log holds into a file.
func headsOf(t *testing.T, n *node, box string) string {
	t.Helper()
	var trace evidencev1.TraceResponse
	ask(t, n.dir, &trace, "trace", box)
	var heads []string
	ended := false
	for _, step := range trace.Steps {
		if step.Kind == "enclave.started" && step.Proved {
			continue
		}
		if step.Kind != "audit.head" || !step.Proved {
			t.Errorf("on the trace of %s: %v", box, step)
		}
		ended = ended || strings.Contains(step.Payload, `"ended":true`)
		heads = append(heads, step.Payload)
	}
	bundle := filepath.Join(t.TempDir(), "heads.bundle")
	run(t, n.dir, 0, "evidence", "export", box, "--out", bundle)
	run(t, n.dir, 0, "evidence", "verify", bundle)
	if len(heads) < 2 || !ended {
		t.Errorf("the heads of %s: %v", box, heads)
	}
	return writeFile(t, "heads.json", "["+strings.Join(heads, ",")+"]")
}

// instances lists the sandboxes of a data directory.
func instances(dir string) (ids []string) {
	entries, _ := os.ReadDir(filepath.Join(dir, "sandbox", "instances"))
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids
}

// audited holds the decision of a loan to the sandbox it was scored in, by the trace.
func audited(t *testing.T, n *node, loan *lendingv1.Loan, box *nodev1.Sandbox) {
	t.Helper()
	until(t, 20*time.Second, "the audit head is anchored", func() (bool, string) {
		var trace evidencev1.TraceResponse
		ask(t, n.dir, &trace, "trace", loan.Id)
		for _, step := range trace.Steps {
			if step.Kind != "application.decided" || step.Audit == nil || !step.Audit.Anchored {
				continue
			}
			a := step.Audit
			if a.Sandbox != box.Id || a.Image != box.Image || a.PolicyDigest != box.PolicyDigest ||
				a.Mode != "enforce" || a.Seq < a.DecidedSeq || a.DecidedSeq == 0 || len(a.Head) != 64 ||
				a.Refused != 0 {
				t.Errorf("under the decision: %v", a)
			}
			text := run(t, n.dir, 0, "trace", loan.Id)
			for _, words := range []string{box.Id, box.Image[:20], "policy scorer", "mode enforce",
				a.Head[:16], fmt.Sprintf("anchored at leaf %d", a.Index)} {
				if !strings.Contains(text, words) {
					t.Errorf("the trace does not say %q:\n%s", words, text)
				}
			}
			return true, ""
		}
		return false, trace.String()
	})
}

// metricsOf wants lines among the metrics.
func metricsOf(t *testing.T, n *node, lines ...string) {
	t.Helper()
	status, body := call{method: "GET", path: "/metrics"}.do(t, n)
	for _, line := range lines {
		if status != 200 || !strings.Contains(body, line) {
			t.Errorf("metrics: status %d, no line %q", status, line)
		}
	}
}

// boxState is the state file of a sandbox.
type boxState struct {
	Supervisor, Kernel int
}

// killWhileLending kills a process of the scorer's sandbox while twelve callers apply. Each of them
// gets a decision, which is noted.
func killWhileLending(t *testing.T, n *node, victim func(boxState) int, decided map[string]bool) {
	t.Helper()
	before := scorerBox(t, n)
	var state boxState
	text := readFile(t, filepath.Join(n.dir, "sandbox", "instances", before.Id, "state.json"))
	if err := json.Unmarshal([]byte(text), &state); err != nil {
		t.Fatal(err)
	}
	pid := victim(state)
	if pid <= 1 {
		t.Fatalf("state of %s: %s", before.Id, text)
	}
	var mu sync.Mutex
	var callers sync.WaitGroup
	for c := range 12 {
		callers.Go(func() {
			for i := range 25 {
				if c == 0 && i == 5 {
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
						t.Errorf("kill %d: %v", pid, err)
					}
				}
				response, err := n.lending().Submit(t.Context(), connect.NewRequest(
					&lendingv1.SubmitRequest{Form: goodForm(fmt.Sprintf("KILLED-%d-%d-%d", pid, c, i))}))
				if err != nil {
					t.Errorf("caller %d, application %d: %v", c, i, err)
					return
				}
				mu.Lock()
				decided[response.Msg.Application.Id] = true
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	until(t, 20*time.Second, "another sandbox serves", func() (bool, string) {
		now := scorerBox(t, n)
		return now.Status == "running" && now.Id != "" && now.Id != before.Id, now.String()
	})
}

// everyDecision wants each application decided, and its decision to come out again.
func everyDecision(t *testing.T, n *node, decided map[string]bool) {
	t.Helper()
	if len(decided) != 600 {
		t.Errorf("%d applications were decided, want 600", len(decided))
	}
	for id := range decided {
		response, err := n.lending().Replay(t.Context(), connect.NewRequest(
			&lendingv1.ReplayRequest{Application: id}))
		if err != nil || !response.Msg.Equal {
			t.Errorf("application %s, replayed: %v %v", id, response, err)
		}
	}
}

// TestScorerElsewhere runs the scorer where the setting says: decisions are the same everywhere.
func TestScorerElsewhere(t *testing.T) {
	t.Parallel()
	digests := map[string]string{}
	for _, setting := range []string{"off", "process", "auto"} {
		n := startNode(t, t.TempDir(), "--rate", "0", "--set", "sandbox.scorer="+setting)
		response := apply(t, n, "SCORER-9")
		d := response.Application.Decision
		digests[fmt.Sprint(d.Points, d.ModelMicroLogOdds, d.PdPpm, d.FeaturesDigest, d.Limit)] = setting
		n.says(t, "scorer    in ")
		var trace evidencev1.TraceResponse
		ask(t, n.dir, &trace, "trace", response.Application.Id)
		for _, step := range trace.Steps {
			if setting != "auto" && step.Audit != nil {
				t.Errorf("%s: under the decision stands %v", setting, step.Audit)
			}
		}
		n.stop(t)
	}
	if len(digests) != 1 {
		t.Errorf("one form, scored differently: %v", digests)
	}
	refused(t, t.TempDir(), 2, []string{"sandbox.scorer", "auto, enclave, sandbox, process or off"}, "up",
		"--set", "sandbox.scorer=maybe")
}
