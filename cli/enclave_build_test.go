package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/enclave/pack"
)

// TestEnclaveIsBuilt goes from nothing to two packages, by the commands alone.
func TestEnclaveIsBuilt(t *testing.T) {
	t.Chdir(t.TempDir())
	script, weights := filepath.Join(t.TempDir(), "score"), filepath.Join(t.TempDir(), "weights")
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(script, "no interpreter is named here", 0o755)
	write(weights, "0.25", 0o644)
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"new", 2, "DIR is missing"},
		{"new credit --name Credit", 2, "name:"},
		{"new credit", 0, "credit/keys/signer.pem"},
		{"new credit", 1, ".gitignore"},
		{"build credit", 2, "enclave.yaml: line 7: command is missing"},
		{"inspect credit", 1, "is not built yet"},
		{"add credit", 2, "PATH is missing, or --from, or --lib"},
		{"add credit absent", 1, "absent"},
		{"add credit " + script, 0, "/bin/score"},
		{"add credit " + weights + " --secret models -o json", 0, `"path": "/models/weights"`},
		{"add credit " + weights + " --secret models:/elsewhere", 1, "is mounted at /models"},
		{"add credit --lib libabsent.so.1", 1, "libabsent.so.1"},
		{"build credit --layer-key models", 2, "is not NAME=FILE"},
		{"build credit --layer-key models=absent", 1, "layer models"},
		{"build credit --layer-key other=absent", 2, "no secret layer of that name"},
		{"build credit --sign-key absent", 1, "absent"},
		{"build credit", 0, "sha384:"},
		{"inspect credit --check", 0, "models: every block, with its key"},
		{"inspect credit --files", 0, "/etc/passwd"},
		{"inspect credit", 0, "NOT PINNED"},
		{"inspect " + script, 1, "pack.open"},
		{"diff credit credit", 0, "the same measurement: sha384:"},
		{"package credit credit.enclave", 1, "takes simulated evidence"},
	} {
		got := run(t, nil, append([]string{"enclave"}, strings.Fields(c.args)...)...)
		if got.status != c.status || !strings.Contains(got.stdout+got.stderr, c.says) {
			t.Errorf("%s: %+v, want status %d and %q", c.args, got, c.status, c.says)
		}
	}
	comparePackages(t, write)
}

// comparePackages packages two versions, and names the files that differ.
func comparePackages(t *testing.T, write func(path, text string, mode os.FileMode)) {
	t.Helper()
	text, err := os.ReadFile("credit/enclave.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pinned := strings.Replace(string(text), "{name: models, target: /models}",
		"{name: models, target: /models, key: bank/credit/layer-key/models}", 1)
	write("credit/enclave.yaml", pinned+"brokers:\n  - {name: bank, key: "+strings.Repeat("ab", 32)+"}\n", 0o644)
	for _, args := range []string{"build credit", "package credit one", "build credit", "package credit again"} {
		if got := run(t, nil, append([]string{"enclave"}, strings.Fields(args)...)...); got.status != 0 {
			t.Fatalf("%s: %+v", args, got)
		}
	}
	one, err1 := os.ReadFile("one")
	again, err2 := os.ReadFile("again")
	if err1 != nil || err2 != nil || string(one) != string(again) {
		t.Error("built and packaged again, the bytes differ")
	}
	write("credit/root/etc/motd", "welcome", 0o600)
	write("credit/secrets/models/weights", "0.26", 0o644)
	run(t, nil, "enclave", "build", "credit")
	var view struct{ Measure, Signer string }
	made := run(t, nil, "enclave", "package", "credit", "two", "-o", "json")
	if err := json.Unmarshal([]byte(made.stdout), &view); err != nil || !strings.HasPrefix(view.Measure, "sha384:") {
		t.Fatalf("package: %+v, %v", made, err)
	}
	var found pack.Comparison
	differ := run(t, nil, "enclave", "diff", "one", "credit", "-o", "json")
	if err := json.Unmarshal([]byte(differ.stdout), &found); err != nil || differ.status != 1 {
		t.Fatalf("diff: %+v, %v", differ, err)
	}
	if len(found.Files) != 1 || found.Files[0].Path != "/etc/motd" || found.Files[0].What != "added" ||
		len(found.Sealed) != 1 || found.Sealed[0] != "models" || found.After.String() != view.Measure {
		t.Errorf("diff: %s", differ.stdout)
	}
	for args, says := range map[string]string{"diff one two": "layer models is secret", "inspect two": view.Signer,
		"inspect two --check": "blocks only with its key"} {
		got := run(t, nil, append([]string{"enclave"}, strings.Fields(args)...)...)
		if !strings.Contains(got.stdout, says) || strings.Contains(got.stdout, "0.26") {
			t.Errorf("%s: %+v, want %q", args, got, says)
		}
	}
}
