//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"surety/sandbox/vm"
)

// machineLimit is how long a command about a virtual machine may take under software emulation, on
// a machine that does other things too.
const machineLimit = 5 * time.Minute

const machinePolicy = `policy: v1
name: machine
mode: enforce
default: allow
files:
  - deny: /secret/**
network:
  - deny: 10.1.0.0/16
    act: [connect]
`

// newMachines is newCell for class vm: it skips where there is nothing to make a machine from.
func newMachines(t *testing.T) *cell {
	t.Helper()
	beside, err := filepath.EvalSymlinks(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	kernel := filepath.Join(filepath.Dir(beside), "vm-kernel")
	if _, err := os.Stat(kernel); err != nil {
		kernel = "" // the host's own, then
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skipf("there is no QEMU: %s", vm.Install)
	}
	if _, err := vm.FindKernel(kernel); err != nil {
		t.Skip(err)
	}
	return newCell(t)
}

// slowly runs `surety sandbox` with the words and the patience that emulation takes.
func (c *cell) slowly(words ...string) outcome {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), machineLimit)
	defer cancel()
	args := append([]string{"sandbox", words[0], "--root", c.root}, words[1:]...)
	command := exec.CommandContext(ctx, binary(c.t), args...)
	var out, complaints bytes.Buffer
	command.Stdin = strings.NewReader("what was typed")
	command.Stdout, command.Stderr = &out, &complaints
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		c.t.Fatalf("surety sandbox %v: %v: %s%s", words, err, &out, &complaints)
	}
	return outcome{out.String(), complaints.String(), command.ProcessState.ExitCode()}
}

// TestSandboxMachine leads the life of a sandbox in a virtual machine: run, exec, logs, stop, and
// the audit of it all, under an enforced policy.
func TestSandboxMachine(t *testing.T) {
	c := newMachines(t)
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte(machinePolicy), 0o644); err != nil {
		t.Fatal(err)
	}
	image := c.rootImage()

	t.Run("run", func(t *testing.T) {
		began := time.Now()
		r := c.slowly("run", "--class", "vm", "--emulation", "--policy", policy, "--name", "e2e-once", "-i",
			image, "--", "/acts", "cat")
		t.Logf("from the command to its end in %s", time.Since(began).Round(time.Millisecond))
		if r.code != 0 || r.out != "what was typed" || !strings.Contains(r.errors, "SOFTWARE EMULATION") {
			t.Errorf("%+v", r)
		}
		r = c.slowly("run", "--class", "vm", "--emulation", "--policy", policy, "--name", "e2e-refused",
			image, "--", "/acts", "read", "/secret/word")
		if r.code != 0 || r.out != "errno 13\n" {
			t.Errorf("%+v", r)
		}
		r = c.slowly("run", "--class", "vm", "--emulation", "--name", "e2e-code", image, "--", "/acts",
			"exit", "42")
		if r.code != 42 {
			t.Errorf("%+v", r)
		}
		for _, name := range []string{"e2e-once", "e2e-refused", "e2e-code"} {
			c.verified(name)
		}
		c.recorded("e2e-once", "birth", "class vm", "enforce")
		c.recorded("e2e-refused", "open", "refuse", "/secret/word")
	})

	t.Run("life", func(t *testing.T) {
		r := c.slowly("run", "--class", "vm", "--emulation", "--policy", policy, "--name", "e2e-life", "-d",
			image, "--", "/acts", "wait")
		if r.code != 0 {
			t.Fatalf("%+v", r)
		}
		if r = c.slowly("exec", "e2e-life", "--", "/acts", "echo", "from", "outside"); r.code != 0 ||
			r.out != "[from outside]\n" || r.errors != "complaint\n" {
			t.Errorf("exec: %+v", r)
		}
		if r = c.slowly("exec", "e2e-life", "--", "/acts", "read", "/secret/word"); r.out != "errno 13\n" {
			t.Errorf("exec under the policy: %+v", r)
		}
		if r = c.slowly("exec", "e2e-life", "--", "/acts", "exit", "9"); r.code != 9 {
			t.Errorf("the code of an exec: %+v", r)
		}
		if r = c.slowly("ps", "e2e-life"); !strings.Contains(r.out, "acts") {
			t.Errorf("ps: %+v", r)
		}
		if r = c.slowly("logs", "e2e-life"); !strings.Contains(r.out, "waiting") {
			t.Errorf("logs: %+v", r)
		}
		if r = c.slowly("stop", "e2e-life"); r.code != 0 {
			t.Errorf("stop: %+v", r)
		}
		var list []struct {
			ID       string
			ExitCode int `json:"exit_code"`
		}
		if r = c.slowly("list", "--all", "-o", "json"); json.Unmarshal([]byte(r.out), &list) != nil ||
			len(list) != 1 || list[0].ID != "e2e-life" || list[0].ExitCode != 7 {
			t.Errorf("list: %+v", r)
		}
		c.verified("e2e-life")
		c.recorded("e2e-life", "session", "/acts")
		c.recorded("e2e-life", "open", "refuse", "/secret/word")
	})
}

// TestSandboxMachineNetwork serves a published port from within a machine, and is refused an address
// by the policy.
func TestSandboxMachineNetwork(t *testing.T) {
	c := newMachines(t)
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte(machinePolicy), 0o644); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	r := c.slowly("run", "--class", "vm", "--emulation", "--policy", policy, "--network", "stack", "-p",
		address+":8080", "--name", "e2e-net", "-d", c.rootImage(), "--", "/acts", "serve", ":8080")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	var got []byte
	for deadline := time.Now().Add(time.Minute); len(got) == 0; <-time.After(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the published port does not answer")
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			continue
		}
		if err := conn.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		got, _ = io.ReadAll(conn) // nothing, until the program listens
		_ = conn.Close()
	}
	if string(got) != "served\n" {
		t.Errorf("the published port says %q", got)
	}
	if r = c.slowly("exec", "e2e-net", "--", "/acts", "connect", "10.1.2.3:80"); r.out != "errno 13\n" {
		t.Errorf("%+v", r)
	}
	if r = c.slowly("stop", "e2e-net"); r.code != 0 {
		t.Errorf("stop: %+v", r)
	}
	c.verified("e2e-net")
	c.recorded("e2e-net", "connect", "refuse", "10.1.2.3:80")
}

// TestSandboxMachineRefusals asks for what class vm does not give.
func TestSandboxMachineRefusals(t *testing.T) {
	c := newMachines(t)
	image := c.rootImage()
	if report := vm.Probe(t.Context(), ""); !report.KVM {
		r := c.slowly("run", "--class", "vm", image, "--", "/acts")
		if r.code == 0 || !strings.Contains(r.errors, "software emulation") {
			t.Errorf("without hardware and without --emulation: %+v", r)
		}
	}
	for _, row := range []struct{ name, flag, value, word string }{
		{"a volume", "-v", t.TempDir() + ":/volume", "volumes"},
		{"the host's network", "--network", "host", "network"},
	} {
		r := c.slowly("run", "--class", "vm", "--emulation", row.flag, row.value, image, "--", "/acts")
		if r.code == 0 || !strings.Contains(r.errors, row.word) {
			t.Errorf("%s: %+v", row.name, r)
		}
	}
	if r := c.slowly("run", "--class", "vm", "--emulation", c.rootDir(), "--", "/acts"); r.code == 0 ||
		!strings.Contains(r.errors, "image") {
		t.Errorf("a directory of the host: %+v", r)
	}
}

// TestSandboxMachineDiesWithItsSupervisor kills what owns a machine: the machine is gone too, and
// the trail still gets its end.
func TestSandboxMachineDiesWithItsSupervisor(t *testing.T) {
	c := newMachines(t)
	r := c.slowly("run", "--class", "vm", "--emulation", "--name", "e2e-orphan", "-d", c.rootImage(), "--",
		"/acts", "wait")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	for pid, name := range c.processes() {
		if name == "surety-supervisor" {
			if p, err := os.FindProcess(pid); err != nil || p.Kill() != nil {
				t.Fatalf("kill the supervisor: %v", err)
			}
		}
	}
	machines := func() (left []string) {
		list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range list {
			if line, err := os.ReadFile(file); err == nil && bytes.Contains(line, []byte("surety-e2e-orphan\x00")) {
				left = append(left, file)
			}
		}
		return left
	}
	for deadline := time.Now().Add(20 * time.Second); len(machines()) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %v", machines())
		}
		<-time.After(20 * time.Millisecond)
	}
	if r := c.slowly("list", "--all"); !strings.Contains(r.out, "stopped") {
		t.Errorf("%+v", r)
	}
	c.verified("e2e-orphan")
}

// rootImage adds the usual root directory as an image and returns its name.
func (c *cell) rootImage() string {
	c.t.Helper()
	c.must("image", "add", c.rootDir(), "--name", "machine")
	return "image:machine"
}
