//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// daemon is a containerd of the test's own, and the runtime under the names that it calls it by.
type daemon struct {
	t       *testing.T
	dir     string
	runtime string // path of surety-runtime
	shim    bool   // containerd calls our own shim, not the one for runc
}

const busyboxImage = "docker.io/library/busybox:e2e"

// startContainerd starts one in a directory of the test's, with an image of busybox in it.
func startContainerd(t *testing.T, shim bool) *daemon {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("containerd runs as root")
	}
	program, err := exec.LookPath("containerd")
	if err != nil {
		t.Fatal("containerd is not installed: tools/need containerd installs it")
	}
	dir, err := os.MkdirTemp("", "ctd") // short: sockets go in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &daemon{t: t, dir: dir, runtime: filepath.Join(dir, "surety-runtime"), shim: shim}
	for _, name := range []string{d.runtime, d.path("containerd-shim-surety-v1")} {
		if err := os.Symlink(binary(t), name); err != nil {
			t.Fatal(err)
		}
	}
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = %q
`, d.path("root"), d.path("state"), d.path("c.sock"))
	if err := os.WriteFile(d.path("config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(d.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config", d.path("config.toml"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "SURETY_TRAILS="+d.path("trails"),
		"SURETY_RUNTIME_ROOT="+d.path("sr"), "PATH="+d.dir+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.abandon()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		d.countLeft()
		if t.Failed() {
			content, _ := os.ReadFile(d.path("log"))
			t.Logf("containerd:\n%s", content)
		}
	})
	until(t, commandLimit, "containerd answers", func() (bool, string) {
		out, err := d.try("version")
		return err == nil, out
	})
	if err := os.WriteFile(d.path("busybox.tar"), imageArchive(t, busyboxImage), 0o600); err != nil {
		t.Fatal(err)
	}
	d.ctr("images", "import", d.path("busybox.tar"))
	return d
}

func (d *daemon) path(name string) string { return filepath.Join(d.dir, name) }

// abandon removes the containers that a test that failed left.
func (d *daemon) abandon() {
	instances, _ := filepath.Glob(d.path("sr/*/instances/*"))
	for _, dir := range instances {
		id := filepath.Base(dir)
		_, _ = d.try("task", "kill", "--signal", "SIGKILL", id)
		_, _ = d.try("task", "rm", "--force", id)
		_ = exec.Command(d.runtime, "--root", filepath.Dir(filepath.Dir(dir)), "delete", "--force", id).Run()
	}
}

// countLeft sees that nothing of the test's own stays on the host: no mount below its directory, no
// process that names it, no control group of its containers.
func (d *daemon) countLeft() {
	d.t.Helper()
	until(d.t, commandLimit, "nothing is left", func() (bool, string) {
		var left []string
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			d.t.Fatal(err)
		}
		for line := range strings.Lines(string(mounts)) {
			if strings.Contains(line, d.dir) {
				left = append(left, "mount "+line)
			}
		}
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range lines {
			if line, err := os.ReadFile(name); err == nil && bytes.Contains(line, []byte(d.dir)) {
				left = append(left, fmt.Sprintf("process %s %q", name, line))
			}
		}
		for _, pattern := range []string{"/sys/fs/cgroup/*/default/", "/sys/fs/cgroup/default/"} {
			groups, _ := filepath.Glob(pattern + d.id("*"))
			left = append(left, groups...)
		}
		sockets, _ := filepath.Glob(d.path("sr/s/*"))
		instances, _ := filepath.Glob(d.path("sr/*/instances/*"))
		left = append(append(left, sockets...), instances...)
		return len(left) == 0, strings.Join(left, "\n")
	})
}

// id is the name of a container of this test alone: control groups are named by it.
func (d *daemon) id(name string) string { return filepath.Base(d.dir) + name }

// try runs one ctr command.
func (d *daemon) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ctr", append([]string{"--address", d.path("c.sock")}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ctr runs one that has to work.
func (d *daemon) ctr(args ...string) string {
	d.t.Helper()
	out, err := d.try(args...)
	if err != nil {
		d.t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// flags name our runtime: by our shim, or by its program, as containerd's shim for runc takes it.
func (d *daemon) flags() []string {
	if d.shim {
		return []string{"--runtime", "io.containerd.surety.v1"}
	}
	return []string{"--runtime", "io.containerd.runc.v2", "--runc-binary", d.runtime, "--runc-root",
		d.path("sr")}
}

func (d *daemon) run(flags []string, id string, command ...string) (string, error) {
	args := append(append([]string{"run"}, d.flags()...), flags...)
	return d.try(append(append(args, busyboxImage, d.id(id)), command...)...)
}

// imageArchive is an OCI layout, as a tar file, of an image that is busybox alone.
func imageArchive(t *testing.T, name string) []byte {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal("busybox-static is not installed: tools/need busybox installs it")
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	entry := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "etc", "tmp", "proc", "dev", "sys"} {
		entry(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	entry(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, program)
	for _, link := range []string{"sh", "ls", "cat", "echo", "sleep"} {
		entry(tar.Header{Name: "bin/" + link, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return layoutArchive(t, name, layer.Bytes())
}

// layoutArchive wraps one layer.
func layoutArchive(t *testing.T, name string, layer []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	file := func(name string, content []byte) {
		h := tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	type object = map[string]any
	blob := func(kind string, content []byte) object {
		digest := fmt.Sprintf("%x", sha256.Sum256(content))
		file("blobs/sha256/"+digest, content)
		return object{"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest,
			"size": len(content)}
	}
	encoded := func(value any) []byte {
		content, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	layers := blob("layer.v1.tar", layer)
	config := blob("config.v1+json", encoded(object{"architecture": "amd64", "os": "linux",
		"config": object{"Cmd": []string{"/bin/sh"}, "Env": []string{"PATH=/bin"}},
		"rootfs": object{"type": "layers",
			"diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}}}))
	manifest := blob("manifest.v1+json", encoded(object{"schemaVersion": 2,
		"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
		"layers": []any{layers}}))
	manifest["annotations"] = object{"io.containerd.image.name": name,
		"org.opencontainers.image.ref.name": name}
	file("index.json", encoded(object{"schemaVersion": 2, "manifests": []any{manifest}}))
	file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestContainerd runs containers under Debian's containerd with the shipped binary as their runtime,
// called by containerd's shim for runc and by our own.
func TestContainerd(t *testing.T) {
	for name, shim := range map[string]bool{"runc shim": false, "own shim": true} {
		t.Run(name, func(t *testing.T) {
			d := startContainerd(t, shim)
			d.runOnce()
			d.live()
			d.checkpoint()
			d.end("two")
			d.verifyTrail(d.id("two"))
		})
	}
}

// exits sees that a command ended with a code and said something.
func (d *daemon) exits(what string, code int, says, out string, err error) {
	d.t.Helper()
	var exited *exec.ExitError
	if !errors.As(err, &exited) || exited.ExitCode() != code || !strings.Contains(out, says) {
		d.t.Fatalf("%s: %v, wants %d and %q\n%s", what, err, code, says, out)
	}
}

// runOnce runs a program to its end, with its input and both outputs.
func (d *daemon) runOnce() {
	d.t.Helper()
	out, err := d.run([]string{"--rm"}, "one", "/bin/sh", "-c", "cat /proc/version; echo e >&2; exit 3")
	d.exits("run", 3, "gvisor", out, err)
	if !d.shim {
		return // the other's ctr loses the end of an input that is short, with runc too
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	args := append([]string{"--address", d.path("c.sock"), "run", "--rm"}, d.flags()...)
	cmd := exec.CommandContext(ctx, "ctr", append(args, busyboxImage, d.id("in"), "/bin/sh", "-c",
		"cat; echo after")...)
	cmd.Stdin = strings.NewReader("before\n")
	piped, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(piped), "before\nafter") {
		d.t.Errorf("input: %v\n%s", err, piped)
	}
}

// live tries what can be done to a running container.
func (d *daemon) live() {
	d.t.Helper()
	two := d.id("two")
	out, err := d.run([]string{"-d"}, "two", "/bin/sh", "-c", "while :; do sleep 1; done")
	if err != nil {
		d.t.Fatalf("run: %v\n%s", err, out)
	}
	if out := d.ctr("task", "ls"); !strings.Contains(out, "RUNNING") {
		d.t.Errorf("task ls: %s", out)
	}
	out, err = d.try("task", "exec", "--exec-id", "e1", two, "/bin/sh", "-c", "echo inside; exit 5")
	d.exits("exec", 5, "inside", out, err)
	out, err = d.try("task", "exec", "--exec-id", "e2", two, "/absent")
	d.exits("exec of what is absent", 1, "/absent", out, err)
	d.execTerminal(two)
	d.ctr("task", "pause", two)
	if out := d.ctr("task", "ls"); !strings.Contains(out, "PAUSED") {
		d.t.Errorf("after pause: %s", out)
	}
	d.ctr("task", "resume", two)
	if out := d.ctr("task", "metrics", two); !strings.Contains(out, two) {
		d.t.Errorf("metrics: %s", out)
	}
	state, err := os.ReadFile(filepath.Join(d.stateRoot(), "instances", two, "state.json"))
	if err != nil {
		d.t.Fatal(err)
	}
	var of struct{ Supervisor int }
	if err := json.Unmarshal(state, &of); err != nil {
		d.t.Fatal(err)
	}
	if out := d.ctr("task", "ps", two); !strings.Contains(out, fmt.Sprint(of.Supervisor)) {
		d.t.Errorf("task ps: %s, the supervisor is %d", out, of.Supervisor)
	}
}

// execTerminal runs a process with a terminal, from a terminal that script(1) makes.
func (d *daemon) execTerminal(id string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	line := fmt.Sprintf("ctr --address %s task exec -t --exec-id e3 %s /bin/sh -c "+
		"'test -t 0 && test -t 1 && echo terminal; exit 4'", d.path("c.sock"), id)
	out, err := exec.CommandContext(ctx, "script", "-eqc", line, "/dev/null").CombinedOutput()
	d.exits("exec with a terminal", 4, "terminal", string(out), err)
}

// stateRoot is the runtime's state directory, that of containerd's namespace in it.
func (d *daemon) stateRoot() string { return d.path("sr/default") }

// surety runs surety-runtime on the containers that containerd made.
func (d *daemon) surety(args ...string) []byte {
	d.t.Helper()
	file, err := os.CreateTemp(d.dir, "out") // a pipe would be kept by what a command starts
	if err != nil {
		d.t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(d.runtime, append([]string{"--root", d.stateRoot()}, args...)...)
	cmd.Env = append(os.Environ(), "SURETY_TRAILS="+d.path("trails"))
	cmd.Stdout, cmd.Stderr = file, file
	err = cmd.Run()
	out, readErr := os.ReadFile(file.Name())
	if err != nil || readErr != nil {
		d.t.Fatalf("surety-runtime %s: %v %v\n%s", strings.Join(args, " "), err, readErr, out)
	}
	return out
}

// checkpoint saves a running container, and restores the snapshot beside it by the runtime's own
// command.
func (d *daemon) checkpoint() {
	d.t.Helper()
	two := d.id("two")
	var state struct{ OCIVersion, ID, Status, Bundle string }
	if err := json.Unmarshal(d.surety("state", two), &state); err != nil || state.Status != "running" ||
		state.ID != two || state.OCIVersion == "" {
		d.t.Errorf("state: %+v %v", state, err)
	}
	if _, err := os.Stat(filepath.Join(state.Bundle, "config.json")); err != nil {
		d.t.Errorf("state.bundle: %v", err)
	}
	if out := string(d.surety("ps", two)); !strings.Contains(out, "sleep") {
		d.t.Errorf("ps: %s", out)
	}
	var event struct {
		Type string
		Data struct {
			Memory struct{ Usage struct{ Usage uint64 } }
			Audit  struct{ Records uint64 }
		}
	}
	if err := json.Unmarshal(d.surety("events", "--stats", two), &event); err != nil ||
		event.Type != "stats" || event.Data.Audit.Records == 0 || event.Data.Memory.Usage.Usage == 0 {
		d.t.Errorf("events: %+v %v", event, err)
	}
	d.surety("checkpoint", "--image-path", d.path("snapshot"), "--leave-running", two)
	if _, err := os.Stat(d.path("snapshot/surety.json")); err != nil {
		d.t.Fatalf("checkpoint: %v", err)
	}
	again := d.id("again")
	d.surety("restore", "--detach", "--bundle", state.Bundle, "--image-path", d.path("snapshot"), again)
	until(d.t, commandLimit, "the restored runs", func() (bool, string) {
		out, err := exec.Command(d.runtime, "--root", d.stateRoot(), "ps", again).CombinedOutput()
		return err == nil && strings.Contains(string(out), "sleep"), string(out)
	})
	d.surety("delete", "--force", again)
	d.verifyTrail(again)
}

// end kills a container's program and removes the container.
func (d *daemon) end(id string) {
	d.t.Helper()
	id = d.id(id)
	_, _ = d.try("task", "kill", "--signal", "SIGKILL", id) // it may have ended
	until(d.t, commandLimit, id+" stops", func() (bool, string) {
		out, err := d.try("task", "ls")
		return err == nil && !strings.Contains(out, "RUNNING"), out
	})
	_, _ = d.try("task", "rm", id) // which says with which code the program ended
	d.ctr("container", "rm", id)
}

// verifyTrail proves the trail that a container left. Its supervisor inherited the environment of
// containerd, and so the directory of trails.
func (d *daemon) verifyTrail(id string) {
	d.t.Helper()
	out, err := exec.Command(binary(d.t), "sandbox", "audit", "verify", d.path("trails/"+id)).CombinedOutput()
	if err != nil {
		d.t.Errorf("verify: %v\n%s", err, out)
	}
}

// TestContainerdPolicy gives a container a policy by annotation and finds it enforced.
func TestContainerdPolicy(t *testing.T) {
	d := startContainerd(t, true)
	policy := d.path("policy.yaml")
	content := "policy: v1\nname: e2e\nmode: enforce\ndefault: allow\nfiles:\n  - deny: /etc/**\n" +
		"    access: [create, write]\n"
	if err := os.WriteFile(policy, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := d.run([]string{"--rm", "--annotation", "surety.dev/policy=" + policy}, "ruled",
		"/bin/sh", "-c", "echo x > /etc/made || echo refused; echo y > /tmp/made && echo made")
	if err != nil || !strings.Contains(out, "refused") || !strings.Contains(out, "made") {
		t.Fatalf("run: %v\n%s", err, out)
	}
	shown, err := exec.Command(binary(t), "sandbox", "audit", "show", "--verdict", "refuse",
		d.path("trails/"+d.id("ruled"))).CombinedOutput()
	if err != nil || !strings.Contains(string(shown), "/etc/made") {
		t.Errorf("audit show: %v\n%s", err, shown)
	}
}

// TestRuntimeFeatures asks the runtime what it can do.
func TestRuntimeFeatures(t *testing.T) {
	runtime := filepath.Join(t.TempDir(), "surety-runtime")
	if err := os.Symlink(binary(t), runtime); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(runtime, "features").Output()
	if err != nil {
		t.Fatal(err)
	}
	var can struct{ OCIVersionMin, OCIVersionMax string }
	if err := json.Unmarshal(out, &can); err != nil || can.OCIVersionMin != "1.0.0" ||
		can.OCIVersionMax < can.OCIVersionMin {
		t.Errorf("features: %v\n%s", err, out)
	}
}

// TestRuntimeRefusesBundles gives the runtime bundles it must not take.
func TestRuntimeRefusesBundles(t *testing.T) {
	dir := t.TempDir()
	runtime := filepath.Join(dir, "surety-runtime")
	if err := os.Symlink(binary(t), runtime); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(map[string]any){
		"sparkle":      func(s map[string]any) { s["sparkle"] = 1 },
		"process.args": func(s map[string]any) { s["process"].(map[string]any)["args"] = []string{} },
		"mounts[0].type": func(s map[string]any) {
			s["mounts"] = []any{map[string]any{"destination": "/m", "type": "ext4", "source": "/dev/sda"}}
		},
		"linux.intelRdt": func(s map[string]any) { s["linux"].(map[string]any)["intelRdt"] = map[string]any{} },
		"linux.devices[0].path": func(s map[string]any) {
			s["linux"].(map[string]any)["devices"] = []any{map[string]any{"path": "/dev/sda", "type": "b"}}
		},
		"linux.sysctl[kernel.core_pattern]": func(s map[string]any) {
			s["linux"].(map[string]any)["sysctl"] = map[string]any{"kernel.core_pattern": "|/x"}
		},
		"annotations[dev.gvisor.flag.debug]": func(s map[string]any) {
			s["annotations"] = map[string]any{"dev.gvisor.flag.debug": "true"}
		},
		"root.path": func(s map[string]any) { s["root"] = map[string]any{"path": "absent"} },
	} {
		bundle := map[string]any{"ociVersion": "1.2.1",
			"process": map[string]any{"args": []string{"/x"}, "cwd": "/", "user": map[string]any{}},
			"root":    map[string]any{"path": "rootfs"}, "linux": map[string]any{}}
		change(bundle)
		content, err := json.Marshal(bundle)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		state := filepath.Join(dir, "state")
		cmd := exec.Command(runtime, "--root", state, "create", "--bundle", dir, "refused")
		cmd.Env = append(os.Environ(), "SURETY_TRAILS="+filepath.Join(dir, "trails"))
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), field) {
			t.Errorf("%s: %v: %s", field, err, out)
		}
		if left, _ := filepath.Glob(state + "/instances/*"); len(left) > 0 {
			t.Errorf("%s: left %v", field, left)
		}
	}
}
