package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/sandbox/image"
)

// TestSandboxImages goes through an image's life by its commands.
func TestSandboxImages(t *testing.T) {
	env := map[string]string{"SURETY_SANDBOX_ROOT": t.TempDir()}
	source := filepath.Join(t.TempDir(), "scorer")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "app"), []byte("app"), 0o755); err != nil {
		t.Fatal(err)
	}
	added := run(t, env, "sandbox", "image", "add", source, "-o", "json")
	var made image.Image
	if err := json.Unmarshal([]byte(added.stdout), &made); err != nil || made.Name != "scorer" || made.Files != 5 {
		t.Fatalf("add: %+v, %v", added, err)
	}
	if again := run(t, env, "sandbox", "image", "add", source, "--name", "other", "--zero-time"); again.status != 0 {
		t.Errorf("add again: %+v", again)
	}
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"list", 0, made.Digest[:19]},
		{"list -o json", 0, `"name": "other"`},
		{"show scorer", 0, made.Digest},
		{"show " + made.Digest + " -o json", 0, `"source": "directory ` + source},
		{"check scorer", 0, "whole"},
		{"check scorer -o json", 0, `"directories": 4`},
		{"show absent", 1, `there is no image "absent"`},
		{"add " + source + " --devices some", 2, "want refuse, drop or keep"},
		{"add " + source + " --tag v1", 2, "--tag is for layouts and archives"},
		{"add " + source + "/absent", 1, "absent"},
		{"pull NOT-A-REFERENCE:", 2, "NOT-A-REFERENCE"},
		{"remove scorer other", 0, "removed other"},
		{"remove scorer", 1, `there is no image "scorer"`},
		{"list -o json", 0, "[]\n"},
	} {
		got := run(t, env, append([]string{"sandbox", "image"}, strings.Fields(c.args)...)...)
		if got.status != c.status || !strings.Contains(got.stdout+got.stderr, c.says) {
			t.Errorf("%s: %+v, want status %d and %q", c.args, got, c.status, c.says)
		}
	}
}
