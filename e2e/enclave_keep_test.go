//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// enclaveLimit is how long a command about enclaves may take, a start included.
const enclaveLimit = 60 * time.Second

// keep is a machine's directory of enclaves, with everything that commands leave behind below it.
type keep struct {
	t    *testing.T
	dir  string // all of it
	root string // of enclaves
	env  []string
}

func newKeep(t *testing.T) *keep {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("enclaves with all that is promised of them need root")
	}
	k := &keep{t: t, dir: t.TempDir()}
	k.root = filepath.Join(k.dir, "root")
	for _, name := range []string{"home", "tmp"} {
		if err := os.Mkdir(filepath.Join(k.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	k.env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "SURETY_") || strings.HasPrefix(v, "XDG_")
	}), "SURETY_ENCLAVE_ROOT="+k.root, "HOME="+filepath.Join(k.dir, "home"),
		"TMPDIR="+filepath.Join(k.dir, "tmp"))
	return k
}

// command prepares `surety enclave` with the words.
func (k *keep) command(ctx context.Context, words ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, binary(k.t), append([]string{"enclave"}, words...)...)
	c.Env, c.Dir = k.env, k.dir
	return c
}

func (k *keep) surety(words ...string) outcome {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), enclaveLimit)
	defer cancel()
	c := k.command(ctx, words...)
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		k.t.Fatalf("surety enclave %v: %v after %s: %s%s", words, err, enclaveLimit, &out, &complaints)
	}
	return outcome{out.String(), complaints.String(), c.ProcessState.ExitCode()}
}

// must runs a command that has to end well, and returns its output.
func (k *keep) must(words ...string) string {
	k.t.Helper()
	r := k.surety(words...)
	if r.code != 0 {
		k.t.Fatalf("surety enclave %v: %+v", words, r)
	}
	return r.out
}

// refused runs a command that must fail, say all the words in one complaint, and print nothing.
func (k *keep) refused(why []string, words ...string) {
	k.t.Helper()
	r := k.surety(words...)
	if r.code == 0 || r.out != "" {
		k.t.Errorf("surety enclave %v was not refused: %+v", words, r)
		return
	}
	for _, word := range why {
		if !strings.Contains(r.errors, word) {
			k.t.Errorf("surety enclave %v: no %q in %q", words, word, r.errors)
		}
	}
}

// design is what a project in a test consists of.
type design struct {
	name    string
	command []string
	more    string            // further lines of enclave.yaml
	layers  string            // its list of layers, in flow style
	secrets map[string][]byte // LAYER/FILE to content
}

// project makes a project of the keeper program and builds it.
func (k *keep) project(d design) string {
	k.t.Helper()
	dir := filepath.Join(k.dir, d.name)
	k.must("new", dir)
	if err := os.Mkdir(filepath.Join(dir, "root", "tmp"), 0o755); err != nil {
		k.t.Fatal(err)
	}
	program, err := os.ReadFile(keeperProgram(k.t))
	if err != nil {
		k.t.Fatal(err)
	}
	k.write(filepath.Join(dir, "root", "bin", "keeper"), program, 0o755)
	for name, content := range d.secrets {
		k.write(filepath.Join(dir, "secrets", name), content, 0o600)
	}
	k.design(dir, d)
	k.must("build", dir)
	return dir
}

// design writes a project's enclave.yaml.
func (k *keep) design(dir string, d design) {
	k.t.Helper()
	command := append([]string{"/bin/keeper"}, d.command...)
	text := fmt.Sprintf("name: %s\ncommand: [%s]\nlayers: %s\n%s", d.name, strings.Join(command, ", "),
		d.layers, d.more)
	k.write(filepath.Join(dir, "enclave.yaml"), []byte(text), 0o644)
}

func (k *keep) write(name string, content []byte, mode os.FileMode) {
	k.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755),
		os.WriteFile(name, content, mode)); err != nil {
		k.t.Fatal(err)
	}
}
