//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestSecondProcess wants a second node on a directory refused, with the first one's pid, and the
// first one undisturbed. What a killed node leaves does not keep the next one out.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--rate", "0")
	for range 2 {
		refused(t, n.dir, 1, []string{"is in use", "process " + strconv.Itoa(n.command.Process.Pid)},
			append(upArgs(), "--rate", "0")...)
	}
	lend(t, n, "second-process")
	// Another node, whose ports are taken by the first one.
	refused(t, t.TempDir(), 1, []string{"http.address", n.address, "in use"}, "up", "--http", n.address)
	n.kill(t)
	n = startNode(t, n.dir, "--rate", "0")
	refused(t, n.dir, 1, []string{"process " + strconv.Itoa(n.command.Process.Pid)}, upArgs()...)
}

// TestReadOnlyDirectory wants a start refused in a directory that it cannot write: one on a
// read-only file system where this user may mount one, else one without the permission.
func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	n := startNode(t, t.TempDir(), "--rate", "0")
	loan := lend(t, n, "read-only")
	n.stop(t)
	up := append(upArgs(), "--rate", "0")
	before := listing(t, n.dir)
	switch {
	case mount(t, n.dir, n.dir, syscall.MS_BIND) == nil:
		if err := mount(t, "", n.dir, syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY); err != nil {
			t.Fatal(err)
		}
		refused(t, n.dir, 1, []string{"read-only file system", n.dir}, up...)
		refused(t, filepath.Join(n.dir, "below"), 1, []string{"read-only file system"}, up...)
		run(t, n.dir, 0, "ledger", "verify") // reading needs no more than that
		_ = syscall.Unmount(n.dir, syscall.MNT_DETACH)
	case os.Geteuid() != 0:
		t.Log("this user may not mount: the permission is taken instead")
		if err := os.Chmod(n.dir, 0o500); err != nil {
			t.Fatal(err)
		}
		refused(t, n.dir, 1, []string{"permission denied", n.dir}, up...)
		run(t, n.dir, 0, "ledger", "verify")
		if err := os.Chmod(n.dir, 0o700); err != nil {
			t.Fatal(err)
		}
	default:
		t.Log("root may not mount here, and may write everywhere: another user starts the node")
		nobody(t, up)
	}
	if after := listing(t, n.dir); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	n = startNode(t, n.dir, "--rate", "0")
	run(t, n.dir, 0, "lend", "loan", loan.Id)
}

// nobody starts a node as a user without rights, in a directory of root's.
func nobody(t *testing.T, up []string) {
	t.Helper()
	place, err := os.MkdirTemp("", "surety-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(place) }) // it is in the folder for such
	program := filepath.Join(place, "surety")
	out, err := exec.Command("cp", binary(t), program).CombinedOutput()
	if err == nil {
		err = os.Chmod(place, 0o755)
	}
	if err != nil {
		t.Fatal(err, string(out))
	}
	const nobodyID = 65534
	command := exec.Command(program, append(up, "--data-dir", place)...)
	command.Env = []string{}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
	out, _ = command.CombinedOutput() // how it ended is looked at below
	if command.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "permission denied") {
		t.Errorf("as nobody: %s\n%s", command.ProcessState, out)
	}
}

// mount mounts, and unmounts when the test ends.
func mount(t *testing.T, source, target string, flags uintptr) error {
	t.Helper()
	err := syscall.Mount(source, target, "", flags, "")
	if err == nil {
		t.Cleanup(func() { _ = syscall.Unmount(target, syscall.MNT_DETACH) }) // it may be unmounted
	}
	return err
}

// TestConfiguration wants every mistake of a file told with its place, and nothing started.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := func(text string) string { return writeFile(t, "surety.yaml", text) }
	for _, row := range []struct {
		text  string
		words []string
	}{
		{"http:\n  adress: x\n", []string{"surety.yaml:2:3", "http.adress", "did you mean http.address"}},
		{"lendng:\n  seed: 1\n", []string{"surety.yaml:1:1", "lendng", "did you mean lending"}},
		{"lending: {seed: many}\nlog:\n  level: loud\n", []string{"surety.yaml:1:11", "many", "surety.yaml:3:3", "loud"}},
		{"guard:\n  freeze: dry_run\n  freeze: enforce\n", []string{"surety.yaml:3:3", "freeze"}},
		{"http: [1, 2\n", []string{"surety.yaml:"}},
		{"http:\n  address: 0.0.0.0:80\n", []string{"http.address", "http.tls_certificate"}},
	} {
		file := config(row.text)
		refused(t, dir, 2, row.words, "up", "--config", file)
		_, complaint, status := execute(t, dir, "", "config", "check", file)
		if status == 0 {
			t.Errorf("config check finds nothing in\n%s", row.text)
		}
		for _, word := range row.words {
			if !strings.Contains(complaint, word) {
				t.Errorf("config check says nothing of %q:\n%s", word, complaint)
			}
		}
	}
	refused(t, dir, 1, []string{"absent.yaml"}, append(upArgs(), "--config", "absent.yaml")...)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("a refused configuration has made %v, %v", entries, err)
	}
	n := startNode(t, dir, "--config", config("lending:\n  rate_per_second: 7\nlog: {format: json}\n"))
	if now := board(t, n); !strings.Contains(now.Input, "7 a second") {
		t.Errorf("the file's rate is not in force: %s", now.Input)
	}
}
