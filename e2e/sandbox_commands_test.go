//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSandboxCommands gives every command about sandboxes something to do, in the order of a day's
// work, and sees that the reference lists none besides.
func TestSandboxCommands(t *testing.T) {
	c := newCell(t)
	layout, _, _ := c.layout()
	dir := c.rootDir()
	snapshot, learnt := filepath.Join(t.TempDir(), "snapshot"), filepath.Join(t.TempDir(), "learnt.yaml")
	web, copied, pool := uniqueName(), uniqueName(), uniqueName()
	covered := map[string]bool{"drill": true, // TestSandboxEscape
		"image pull": true} // its own tests have a registry
	for _, row := range []struct {
		words string
		says  string
	}{
		{"image add --name app " + layout, ""},
		{"image list", "app"},
		{"image show app", "sha256:"},
		{"image check app", ""},
		{"run -d --learn --name " + web + " dir:" + dir + " -- /acts wait", web},
		{"list", web},
		{"show " + web, "learn"},
		{"ps " + web, "acts"},
		{"stats " + web, ""},
		{"logs " + web, ""},
		{"exec " + web + " -- /acts read /etc/open", "open"},
		{"pause " + web, ""},
		{"resume " + web, ""},
		{"checkpoint --leave-running " + web + " " + snapshot, ""},
		{"restore -d --name " + copied + " " + snapshot, copied},
		{"kill " + copied, ""},
		{"wait " + copied, ""},
		{"stop " + web, ""},
		{"audit show " + web, "/etc/open"},
		{"audit follow " + web, "final"},
		{"audit verify " + web, ""},
		{"audit head " + web, ""},
		{"audit key", "ed25519:"},
		{"audit export " + web, ""},
		{"policy learn --trail " + web, "policy: v1"},
		{"policy check " + learnt, ""},
		{"policy show " + learnt, "sha256:"},
		{"policy test " + learnt + " --trail " + web, ""},
		{"remove " + web + " " + copied, ""},
		{"pool make " + pool + " --size 1 " + c.program + " -- echo pooled", ""},
		{"pool list", pool},
		{"run --pool " + pool, "[pooled]"},
		{"pool fill " + pool, ""},
		{"pool remove " + pool, ""},
		{"image remove app", ""},
	} {
		words := strings.Fields(row.words)
		for n := 1; n <= min(2, len(words)); n++ {
			covered[strings.Join(words[:n], " ")] = true
		}
		r := c.surety(words...)
		allowed := r.code == 0 || words[0] == "wait" || words[0] == "run"
		if !allowed || !strings.Contains(r.out+r.errors, row.says) {
			t.Errorf("surety sandbox %s: %+v, want %q", row.words, r, row.says)
		}
		if words[0] == "policy" && words[1] == "learn" {
			if err := os.WriteFile(learnt, []byte(r.out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, command := range reference(t) {
		if verb, ours := strings.CutPrefix(command, "sandbox "); ours && !covered[verb] {
			t.Errorf("surety %s is in the reference and in no test", command)
		}
	}
}
