//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ociHost is surety-runtime with a state directory of the test's own and a bundle of busybox.
type ociHost struct {
	t      *testing.T
	dir    string
	bundle string
}

func newOCIHost(t *testing.T) *ociHost {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("an OCI runtime runs as root")
	}
	dir, err := os.MkdirTemp("", "oci") // short: sockets go in it
	if err != nil {
		t.Fatal(err)
	}
	h := &ociHost{t: t, dir: dir, bundle: filepath.Join(dir, "bundle")}
	t.Cleanup(func() {
		(&daemon{t: t, dir: dir}).countLeft()
		os.RemoveAll(dir)
	})
	if err := os.Symlink(binary(t), filepath.Join(dir, "surety-runtime")); err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal("busybox-static is not installed: tools/need busybox installs it")
	}
	bin := filepath.Join(h.bundle, "rootfs", "bin")
	for _, made := range []string{bin, filepath.Join(h.bundle, "rootfs", "tmp")} {
		if err := os.MkdirAll(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "sleep", "cat", "nc", "echo"} {
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// id is the name of a container of this test alone.
func (h *ociHost) id(name string) string { return filepath.Base(h.dir) + name }

// object is a part of a bundle's configuration.
type object = map[string]any

// configure writes the bundle's configuration, in a network namespace where one is named.
func (h *ociHost) configure(netns, policy string, command ...string) {
	h.t.Helper()
	network := object{"type": "network"}
	if netns != "" {
		network["path"] = netns
	}
	config := object{"ociVersion": "1.2.1", "hostname": "inside",
		"process": object{"args": command, "cwd": "/", "env": []string{"PATH=/bin"},
			"user": object{"uid": 0, "gid": 0}, "noNewPrivileges": true},
		"root": object{"path": "rootfs"},
		"mounts": []object{{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}},
		"linux": object{"namespaces": []object{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"},
			{"type": "uts"}, network}}}
	if policy != "" {
		config["annotations"] = object{"surety.dev/policy": policy}
	}
	content, err := json.Marshal(config)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.bundle, "config.json"), content, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// try runs one command of the runtime. Its output is a file: what it starts lives on and keeps it.
func (h *ociHost) try(args ...string) (string, error) {
	h.t.Helper()
	out, err := os.CreateTemp(h.dir, "out")
	if err != nil {
		h.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(filepath.Join(h.dir, "surety-runtime"),
		append([]string{"--root", filepath.Join(h.dir, "sr")}, args...)...)
	cmd.Env = append(os.Environ(), "SURETY_TRAILS="+filepath.Join(h.dir, "trails"))
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	content, readErr := os.ReadFile(out.Name())
	if readErr != nil {
		h.t.Fatal(readErr)
	}
	return string(content), err
}

// run runs one that has to work.
func (h *ociHost) run(args ...string) string {
	h.t.Helper()
	out, err := h.try(args...)
	if err != nil {
		h.t.Fatalf("surety-runtime %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (h *ociHost) status(id string) string {
	h.t.Helper()
	var state struct{ Status, Bundle string }
	if err := json.Unmarshal([]byte(h.run("state", id)), &state); err != nil || state.Bundle != h.bundle {
		h.t.Errorf("state: %+v %v", state, err)
	}
	return state.Status
}

// TestRuntimeKillsCreated ends a container whose program never began: it must not run, and nothing
// of it may stay.
func TestRuntimeKillsCreated(t *testing.T) {
	h := newOCIHost(t)
	h.configure("", "", "/bin/sh", "-c", "echo ran > /tmp/ran")
	id := h.id("created")
	pidFile := filepath.Join(h.dir, "pid")
	h.run("create", "--bundle", h.bundle, "--pid-file", pidFile, id)
	if status := h.status(id); status != "created" {
		t.Errorf("after create it is %s", status)
	}
	if out, err := h.try("delete", "absent"); err == nil || !strings.Contains(out, "absent") {
		t.Errorf("delete of what is not there: %v %s", err, out)
	}
	h.run("kill", id, "KILL")
	until(t, commandLimit, "it stops", func() (bool, string) {
		status := h.status(id)
		return status == "stopped", status
	})
	if out, err := h.try("kill", id, "KILL"); err == nil || !strings.Contains(out, "not running") {
		t.Errorf("kill of a stopped one: %v %s", err, out)
	}
	h.run("delete", id)
	if out, err := h.try("state", id); err == nil {
		t.Errorf("it is there after delete: %s", out)
	}
	if _, err := os.Stat(pidFile); err != nil {
		t.Error(err)
	}
}

// TestPodSharesItsNetwork joins two containers to one network namespace: each has a kernel of its
// own, they reach each other over the loopback, and each one's policy stands.
func TestPodSharesItsNetwork(t *testing.T) {
	h := newOCIHost(t)
	name := h.id("pod")
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	ip("netns", "add", name)
	t.Cleanup(func() { ip("netns", "delete", name) })
	ip("-n", name, "link", "set", "lo", "up")
	netns := "/run/netns/" + name

	h.configure(netns, "", "/bin/sh", "-c", "while :; do echo hello | nc -l -p 7000; done")
	server := h.id("server")
	h.run("run", "--detach", "--bundle", h.bundle, server)
	t.Cleanup(func() { h.run("delete", "--force", server) })

	client := "for i in 1 2 3 4 5 6 7 8 9 10; do nc 127.0.0.1 7000 </dev/null && exit 0; sleep 1; done; exit 1"
	h.configure(netns, "", "/bin/sh", "-c", client)
	if out, err := h.try("run", "--bundle", h.bundle, h.id("client")); err != nil ||
		!strings.Contains(out, "hello") {
		t.Errorf("client: %v\n%s", err, out)
	}

	policy := filepath.Join(h.dir, "policy.yaml")
	content := "policy: v1\nname: pod\nmode: enforce\ndefault: allow\nnetwork:\n  - deny: 127.0.0.1\n" +
		"    ports: [7000]\n    act: [connect]\n"
	if err := os.WriteFile(policy, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	h.configure(netns, policy, "/bin/sh", "-c", "nc 127.0.0.1 7000 </dev/null || echo refused")
	out, err := h.try("run", "--bundle", h.bundle, h.id("ruled"))
	if err != nil || !strings.Contains(out, "refused") || strings.Contains(out, "hello") {
		t.Errorf("client under a policy: %v\n%s", err, out)
	}
	shown, err := exec.Command(binary(t), "sandbox", "audit", "show", "--verdict", "refuse",
		filepath.Join(h.dir, "trails", h.id("ruled"))).CombinedOutput()
	if err != nil || !strings.Contains(string(shown), "127.0.0.1:7000") {
		t.Errorf("audit show: %v\n%s", err, shown)
	}
}
