package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"surety/enclave/launch"
)

// TestEnclaveUsage types verbs on enclaves wrongly: status 2, and a word of what is wrong.
func TestEnclaveUsage(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"SURETY_ENCLAVE_ROOT": filepath.Join(dir, "root")}
	project := filepath.Join(dir, "project")
	if err := os.Mkdir(project, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, row := range [...]struct {
		words []string
		says  string
	}{
		{[]string{"run"}, "ENCLAVE"},
		{[]string{"run", "--broker", "x", project}, "--broker: \"x\" is not NAME=URL"},
		{[]string{"run", "--broker", "a=http://1", "--broker", "a=http://2", project}, "a is there twice"},
		{[]string{"run", "--volume", "/x", project}, "not TARGET=DIRECTORY"},
		{[]string{"run", "-p", "80", project}, "not ADDRESS:PORT:INSIDE"},
		{[]string{"run", "--tee", "sgx", project}, "--tee \"sgx\""},
		{[]string{"run", "--name", "../x", project}, "--name"},
		{[]string{"start", "--name", "a/b", project}, "--name"},
		{[]string{"exec", "x"}, "no enclave x"},
		{[]string{"connect"}, "ADDRESS:PORT"},
		{[]string{"connect", "127.0.0.1:1"}, "one of --policy and --measure"},
		{[]string{"connect", "--measure", "sha384:00", "127.0.0.1:1"}, "--sim-root"},
		{[]string{"stop"}, "name"},
	} {
		got := run(t, env, append([]string{"enclave"}, row.words...)...)
		want := 2
		if row.words[0] == "exec" {
			want = 1
		}
		if got.status != want || !strings.Contains(got.stderr, row.says) || got.stdout != "" {
			t.Errorf("%v: %+v, want %d and %q", row.words, got, want, row.says)
		}
	}
}

// TestEnclaveNowhere names what is no enclave, or not built.
func TestEnclaveNowhere(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"SURETY_ENCLAVE_ROOT": filepath.Join(dir, "root")}
	unbuilt := filepath.Join(dir, "unbuilt")
	if err := os.Mkdir(unbuilt, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(unbuilt, "enclave.yaml"), []byte("name: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(policy, []byte(`{"name": "x", "machine": []}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, row := range [...]struct {
		words []string
		says  string
	}{
		{[]string{"run", filepath.Join(dir, "absent")}, "absent"},
		{[]string{"run", dir}, "neither a project"},
		{[]string{"run", unbuilt}, "is not built yet"},
		{[]string{"start", unbuilt}, "is not built yet"},
		{[]string{"status", "absent"}, "no enclave absent"},
		{[]string{"stop", "absent"}, "no enclave absent"},
		{[]string{"logs", "absent"}, "no enclave absent"},
		{[]string{"connect", "--policy", policy, "127.0.0.1:1"}, "unknown field"},
		{[]string{"connect", "--policy", filepath.Join(dir, "no.json"), "127.0.0.1:1"}, "--policy"},
	} {
		got := run(t, env, append([]string{"enclave"}, row.words...)...)
		if got.status == 0 || !strings.Contains(got.stderr, row.says) || got.stdout != "" {
			t.Errorf("%v: %+v, want %q", row.words, got, row.says)
		}
	}
	if got := run(t, env, "enclave", "list", "-o", "json"); got.status != 0 || strings.TrimSpace(got.stdout) != "[]" {
		t.Errorf("list: %+v", got)
	}
}

func TestTimingLine(t *testing.T) {
	line := timingLine([]launch.Timing{{Step: "measure", Lasted: 1500 * time.Microsecond},
		{Step: "boot", Lasted: 80 * time.Millisecond}})
	if line != "started in 81.5 ms: measure 1.5, boot 80.0" {
		t.Errorf("%q", line)
	}
}

// TestEnclaveLock has one who answers for a name, and others who wait for it.
func TestEnclaveLock(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockEnclave(dir, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockEnclave(dir, "x"); err == nil || !strings.Contains(err.Error(), "an enclave x") {
		t.Errorf("a second: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- awaitEnclave(t.Context(), dir, "x") }()
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
}
