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

// daemon is a containerd of the test's own, and the runtime under the name that it calls it by.
type daemon struct {
	t       *testing.T
	dir     string
	runtime string // path of surety-runtime
}

const busyboxImage = "docker.io/library/busybox:e2e"

// startContainerd starts one in a directory of the test's, with an image of busybox in it.
func startContainerd(t *testing.T) *daemon {
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
	d := &daemon{t: t, dir: dir, runtime: filepath.Join(dir, "surety-runtime")}
	if err := os.Symlink(binary(t), d.runtime); err != nil {
		t.Fatal(err)
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
	cmd.Env = append(os.Environ(), "SURETY_TRAILS="+d.path("trails"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
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

// flags name our runtime as containerd's runc shim takes them.
func (d *daemon) flags() []string {
	return []string{"--runtime", "io.containerd.runc.v2", "--runc-binary", d.runtime, "--runc-root",
		d.path("sr")}
}

func (d *daemon) run(flags []string, id string, command ...string) (string, error) {
	args := append(append([]string{"run"}, d.flags()...), flags...)
	return d.try(append(append(args, busyboxImage, id), command...)...)
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

// TestContainerd runs containers under Debian's containerd with the shipped binary as their runtime.
func TestContainerd(t *testing.T) {
	d := startContainerd(t)
	out, err := d.run([]string{"--rm"}, "one", "/bin/sh", "-c", "cat /proc/version; exit 3")
	var exited *exec.ExitError
	if !errors.As(err, &exited) || exited.ExitCode() != 3 || !strings.Contains(out, "gvisor") {
		t.Fatalf("run: %v\n%s", err, out)
	}
	if out, err := d.run([]string{"-d"}, "two", "/bin/sh", "-c", "while :; do sleep 1; done"); err != nil {
		t.Fatalf("run: %v\n%s", err, out)
	}
	if out := d.ctr("task", "ls"); !strings.Contains(out, "RUNNING") {
		t.Errorf("task ls: %s", out)
	}
	out, err = d.try("task", "exec", "--exec-id", "e1", "two", "/bin/sh", "-c", "echo inside; exit 5")
	if !errors.As(err, &exited) || exited.ExitCode() != 5 || !strings.Contains(out, "inside") {
		t.Errorf("exec: %v\n%s", err, out)
	}
	if out, err = d.try("task", "exec", "--exec-id", "e2", "two", "/absent"); err == nil ||
		!strings.Contains(out, "/absent") {
		t.Errorf("exec of a program that is absent: %v\n%s", err, out)
	}
	d.ctr("task", "pause", "two")
	if out := d.ctr("task", "ls"); !strings.Contains(out, "PAUSED") {
		t.Errorf("after pause: %s", out)
	}
	d.ctr("task", "resume", "two")
	if out := d.ctr("task", "metrics", "two"); !strings.Contains(out, "two") {
		t.Errorf("metrics: %s", out)
	}
	d.ctr("task", "checkpoint", "--image-path", d.path("snapshot"), "two")
	if _, err := os.Stat(d.path("snapshot/surety.json")); err != nil {
		t.Errorf("checkpoint: %v", err)
	}
	d.end("two")
	d.verifyTrail("two")
}

// end kills a container's program, removes it, and sees that nothing of it is left.
func (d *daemon) end(id string) {
	d.t.Helper()
	_, _ = d.try("task", "kill", "--signal", "SIGKILL", id) // a checkpoint may have ended it
	until(d.t, commandLimit, id+" stops", func() (bool, string) {
		out, err := d.try("task", "ls")
		return err == nil && !strings.Contains(out, "RUNNING"), out
	})
	d.ctr("task", "rm", "--force", id)
	d.ctr("container", "rm", id)
	if left, _ := filepath.Glob(d.path("sr/*/instances/*")); len(left) > 0 {
		d.t.Errorf("left: %v", left)
	}
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
	d := startContainerd(t)
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
		d.path("trails/ruled")).CombinedOutput()
	if err != nil || !strings.Contains(string(shown), "/etc/made") {
		t.Errorf("audit show: %v\n%s", err, shown)
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
