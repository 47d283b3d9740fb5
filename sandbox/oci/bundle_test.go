package oci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"surety/base/errs"
	"surety/sandbox/runtime"
)

type object = map[string]any

// writeBundle writes a bundle that would run, after a change.
func writeBundle(t testing.TB, change func(object)) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := object{"ociVersion": "1.2.1",
		"process": object{"args": []string{"/x"}, "cwd": "/", "user": object{"uid": 7, "gid": 8}},
		"root":    object{"path": "rootfs"}, "linux": object{}}
	change(config)
	content, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// in sets a field below an object of the bundle.
func in(part, field string, value any) func(object) {
	return func(s object) {
		if part == "" {
			s[field] = value
			return
		}
		s[part].(object)[field] = value
	}
}

func mount(m object) func(object) { return in("", "mounts", []any{m}) }

func resource(field string, value any) func(object) {
	return in("linux", "resources", object{field: value})
}

func TestReadBundleRefuses(t *testing.T) {
	none := object{}
	for field, change := range map[string]func(object){
		"sparkle":                 in("", "sparkle", 1),
		"process: missing":        in("", "process", nil),
		"ociVersion":              in("", "ociVersion", "9.0.0"),
		"process.args":            in("process", "args", []string{}),
		"process.cwd":             in("process", "cwd", "here"),
		"process.commandLine":     in("process", "commandLine", "x"),
		"process.ioPriority":      in("process", "ioPriority", object{"class": "IOPRIO_CLASS_RT"}),
		"process.scheduler":       in("process", "scheduler", object{"policy": "SCHED_RR"}),
		"process.execCPUAffinity": in("process", "execCPUAffinity", object{"initial": "0"}),
		"root.path: missing":      in("", "root", nil),
		"root.path":               in("root", "path", "absent"),
		"linux: missing":          in("", "linux", nil),
		"solaris":                 in("", "solaris", none),
		"windows":                 in("", "windows", object{"layerFolders": []string{}}),
		"vm":                      in("", "vm", object{"kernel": object{"path": "/k"}}),
		"zos":                     in("", "zos", none),
		"mounts[0].destination":   mount(object{"destination": "m", "type": "tmpfs"}),
		"mounts[0].type":          mount(object{"destination": "/m", "type": "ext4"}),
		"mounts[0].source":        mount(object{"destination": "/m", "type": "bind", "source": "/absent"}),
		"mounts[0].uidMappings": mount(object{"destination": "/m", "type": "tmpfs",
			"uidMappings": []any{object{"containerID": 0, "hostID": 1, "size": 1}}}),
		"linux.intelRdt":    in("linux", "intelRdt", none),
		"linux.personality": in("linux", "personality", object{"domain": "LINUX32"}),
		"linux.timeOffsets": in("linux", "timeOffsets", object{"boottime": object{"secs": 1}}),
		"linux.devices[0].path": in("linux", "devices",
			[]any{object{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}}),
		"linux.sysctl[kernel.core_pattern]": in("linux", "sysctl", object{"kernel.core_pattern": "|/x"}),
		"linux.resources.hugepageLimits": resource("hugepageLimits",
			[]any{object{"pageSize": "2MB", "limit": 1}}),
		"linux.resources.rdma":    resource("rdma", object{"mlx": object{"hcaHandles": 1}}),
		"linux.resources.unified": resource("unified", object{"memory.high": "1"}),
		"linux.namespaces[0].path": in("linux", "namespaces",
			[]any{object{"type": "pid", "path": "/proc/1/ns/pid"}}),
		"annotations[dev.gvisor.flag.debug]": in("", "annotations",
			object{"dev.gvisor.flag.debug": "true"}),
		"annotations[surety.dev/sparkle]": in("", "annotations", object{"surety.dev/sparkle": "1"}),
		"annotations[surety.dev/network]": in("", "annotations", object{"surety.dev/network": "wifi"}),
		"annotations[surety.dev/overlay]": in("", "annotations", object{"surety.dev/overlay": "paper"}),
		"annotations[surety.dev/policy]":  in("", "annotations", object{"surety.dev/policy": "/absent"}),
	} {
		_, err := ReadBundle(writeBundle(t, change), "one")
		if err == nil || !strings.Contains(err.Error(), field) || !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestReadBundleTakes gives it the fields that have no effect because the program never meets what
// they protect.
func TestReadBundleTakes(t *testing.T) {
	for field, change := range map[string]func(object){
		"process.apparmorProfile": in("process", "apparmorProfile", "p"),
		"process.selinuxLabel":    in("process", "selinuxLabel", "l"),
		"process.oomScoreAdj":     in("process", "oomScoreAdj", 5),
		"linux.mountLabel":        in("linux", "mountLabel", "l"),
		"linux.seccomp":           in("linux", "seccomp", object{"defaultAction": "SCMP_ACT_ERRNO"}),
		"linux.maskedPaths":       in("linux", "maskedPaths", []string{"/proc/kcore"}),
		"linux.readonlyPaths":     in("linux", "readonlyPaths", []string{"/proc/sys"}),
		"linux.rootfsPropagation": in("linux", "rootfsPropagation", "private"),
		"linux.resources.devices": resource("devices", []any{object{"allow": false, "access": "rwm"}}),
		"linux.devices":           in("linux", "devices", []any{object{"path": "/dev/null", "type": "c"}}),
		"linux.sysctl": in("linux", "sysctl",
			object{"net.ipv4.ip_unprivileged_port_start": "0"}),
		"linux.namespaces": in("linux", "namespaces",
			[]any{object{"type": "ipc", "path": "/proc/1/ns/ipc"}}),
		"mounts": mount(object{"destination": "/m", "type": "none", "source": "/tmp",
			"options": []string{"rbind"}}),
	} {
		if _, err := ReadBundle(writeBundle(t, change), "one"); err != nil {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestReadBundleAnnotations(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	err := os.WriteFile(policy, []byte("policy: v1\nname: p\nmode: enforce\ndefault: allow\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	dir := writeBundle(t, func(s object) {
		s["annotations"] = object{"surety.dev/policy": policy, "surety.dev/learn": "true",
			"surety.dev/network": "stack", "surety.dev/overlay": "memory", "other": "kept"}
		s["hostname"] = "inside"
	})
	spec, err := ReadBundle(dir, "one")
	if err != nil {
		t.Fatal(err)
	}
	if spec.Policy == nil || spec.Policy.Name != "p" || !spec.Learn || spec.Network.Mode != "stack" ||
		spec.Overlay != "memory" || spec.Labels["other"] != "kept" || spec.Bundle != dir ||
		spec.User.UID != 7 || spec.User.GID != 8 || spec.Hostname != "inside" {
		t.Errorf("spec: %+v", spec)
	}
}

func TestReadBundleNetwork(t *testing.T) {
	for want, spaces := range map[string][]any{
		"host": {}, "none": {object{"type": "network"}},
	} {
		spec, err := ReadBundle(writeBundle(t, in("linux", "namespaces", spaces)), "one")
		if err != nil || spec.Network.Mode != want {
			t.Errorf("%v: %v %v", spaces, spec, err)
		}
	}
	spec, err := ReadBundle(writeBundle(t, in("linux", "namespaces",
		[]any{object{"type": "network", "path": "/proc/self/ns/net"}})), "one")
	if err != nil || spec.Network.Mode != "host" {
		t.Errorf("a pod's: %v %v", spec, err)
	}
}

func TestStateHasTheSpecificationsForm(t *testing.T) {
	content, err := json.Marshal(stateOf("one", &runtime.State{Status: runtime.Running, Supervisor: 42,
		Spec: runtime.Spec{Bundle: "/b", Labels: map[string]string{"a": "b"}}}))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"ociVersion":"1.2.1","id":"one","status":"running","pid":42,"bundle":"/b",` +
		`"annotations":{"a":"b"}}`
	if string(content) != want {
		t.Errorf("state: %s\nwants  %s", content, want)
	}
	for _, s := range []runtime.Status{runtime.Created, runtime.Running, runtime.Paused,
		runtime.Stopped} {
		if got := stateOf("one", &runtime.State{Status: s}).Status; got != specs.ContainerState(s) {
			t.Errorf("%s is said as %s", s, got)
		}
	}
}

func FuzzReadBundle(f *testing.F) {
	f.Add([]byte(`{"process":{"args":["/x"],"cwd":"/"},"root":{"path":"/"},"linux":{}}`))
	f.Add([]byte(`{"process":{"args":["/x"],"cwd":"/"},"root":{"path":"/"},"linux":{"namespaces":` +
		`[{"type":"network","path":"/n"}]},"mounts":[{"destination":"/m","type":"bind"}]}`))
	f.Add([]byte(`{`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		spec, err := ReadBundle(dir, "one")
		switch {
		case err == nil && spec.OCI == nil:
			t.Error("a spec without its bundle")
		case err != nil && !errs.Is(err, errs.Invalid):
			t.Errorf("kind %v: %v", errs.KindOf(err), err)
		}
	})
}
