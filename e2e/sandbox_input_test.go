//go:build e2e

package e2e

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestSandboxKilled kills supervisors at moments of chance: what they owned dies with them, and
// whoever looks next ends the trail.
func TestSandboxKilled(t *testing.T) {
	c := newCell(t)
	dir := c.rootDir()
	seed := testSeed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	before := c.census()
	for round := range 6 {
		name := uniqueName()
		var starting sync.WaitGroup
		starting.Go(func() { c.surety("run", "-d", "--name", name, "dir:"+dir, "--", "/acts", "busy") })
		pid := c.supervisor()
		wait := time.Duration(random.Int64N(int64(600 * time.Millisecond)))
		<-time.After(wait)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("round %d: kill %d: %v", round, pid, err)
		}
		starting.Wait()
		all := c.must("list", "--all", "-o", "json")
		if strings.Contains(all, name) {
			// A process that was killed takes its time to die.
			until(t, commandLimit, fmt.Sprintf("round %d, killed after %s: stopped", round, wait),
				func() (bool, string) {
					all := c.must("list", "--all", "-o", "json")
					return strings.Contains(all, `"stopped"`), all
				})
			c.verified(name)
			c.recorded(name, "final")
			c.must("remove", name)
		}
		c.unchanged(before)
	}
}

// supervisor waits for the supervisor of the only sandbox there is.
func (c *cell) supervisor() int {
	c.t.Helper()
	for deadline := time.Now().Add(sandboxLimit); time.Now().Before(deadline); {
		for pid, name := range c.processes() {
			if filepath.Base(name) == "surety-supervisor" {
				return pid
			}
		}
		<-time.After(time.Millisecond)
	}
	c.t.Fatal("no supervisor")
	return 0
}

// TestSandboxBadInput gives run what it must refuse, and counts what is left behind.
func TestSandboxBadInput(t *testing.T) {
	c := newCell(t)
	dir := c.rootDir()
	spoiled := func(spoil func(map[string]any)) []string { return []string{"run", c.bundle(dir, spoil)} }
	process := func(field string, value any) func(map[string]any) {
		return func(config map[string]any) { config["process"].(map[string]any)[field] = value }
	}
	mounts := func(to, kind, source string) []string {
		return spoiled(func(config map[string]any) {
			config["mounts"] = append(config["mounts"].([]any), map[string]any{"destination": to, "type": kind,
				"source": source})
		})
	}
	changed := func(spoil func(layer, manifest string)) []string {
		layout, layer, manifest := c.layout()
		spoil(layer, manifest)
		return []string{"run", layout}
	}
	escaping := func(name, link string, kind byte) []string {
		layout, _, _ := c.layout(&tar.Header{Name: name, Linkname: link, Typeflag: kind, Mode: 0o644})
		return []string{"run", layout}
	}
	policy := func(text string) []string {
		file := writeFile(t, fmt.Sprintf("p%x.yaml", rand.Uint32()), text)
		return []string{"run", "--policy", file, c.program}
	}
	flag := func(words ...string) []string { return append(append([]string{"run"}, words...), c.program) }
	const observing = "policy: v1\nmode: observe\ndefault: allow\n"
	before := c.census()
	for _, row := range []struct {
		name  string
		words []string
		says  string
	}{
		{"unknown field of a bundle", spoiled(func(b map[string]any) { b["surprise"] = 1 }), "surprise"},
		{"unknown field of its process", spoiled(process("surprise", 1)), "surprise"},
		{"bundle without a root", spoiled(func(b map[string]any) { delete(b, "root") }), "root"},
		{"bundle without arguments", spoiled(process("args", nil)), "args"},
		{"mount type unknown", mounts("/x", "ext4", "/dev/vda"), "ext4"},
		{"mount at no absolute path", mounts("../x", "tmpfs", "t"), "../x"},
		{"mount of nothing", mounts("/x", "bind", "/nowhere/at/all"), "/nowhere/at/all"},
		{"layer changed", changed(func(layer, _ string) { appendTo(t, layer, "x") }), "sha256"},
		{"layer cut short", changed(func(layer, _ string) { truncate(t, layer) }), "sha256"},
		{"layer missing", changed(func(layer, _ string) { os.Remove(layer) }), "sha256"},
		{"manifest changed", changed(func(_, manifest string) { appendTo(t, manifest, " ") }), "sha256"},
		{"layer that climbs", escaping("../climbed", "", tar.TypeReg), "../climbed"},
		{"layer that links out", escaping("out", "../../etc/passwd", tar.TypeLink), "../../etc/passwd"},
		{"policy of another version", policy("policy: v9\n"), "v9"},
		{"policy with an unknown field", policy("policy: v1\nsurprise: 1\n"), "surprise"},
		{"policy that names nothing", policy("policy: v1\nmode: enforce\ndefault: deny\n"), "exec"},
		{"policy with a path that is none", policy(observing + "files:\n  - deny: etc\n"), "files[0]"},
		{"no source", []string{"run", "/nowhere/at/all"}, "/nowhere/at/all"},
		{"no volume", flag("-v", "/nowhere/at/all:/x"), "/nowhere/at/all"},
		{"volume that is no path", flag("-v", "x"), "x"},
		{"unknown network", flag("--network", "carrier"), "carrier"},
		{"unknown class", flag("--class", "glass"), "glass"},
		{"unknown capability", flag("--cap", "CAP_FLY"), "CAP_FLY"},
		{"memory that is no size", flag("--memory", "much"), "much"},
		{"cores that are none", flag("--cpus", "fast"), "fast"},
		{"user that is none", flag("-u", "x:y"), "x"},
		{"port that is none", flag("--network", "stack", "-p", "1:2:3:4"), "1:2:3"},
		{"port without a network", flag("-p", "127.0.0.1:0:80"), "network"},
		{"name that is none", flag("--name", "../up"), "../up"},
		{"program that is not there", []string{"run", "dir:" + dir, "--", "/none"}, "/none"},
		{"directory without a command", []string{"run", "dir:" + dir}, "--"},
		{"working directory that is not absolute", flag("-w", "up"), "up"},
	} {
		r := c.surety(row.words...)
		if r.code == 0 || !strings.Contains(r.errors, row.says) {
			t.Errorf("%s: %+v, want a complaint with %q", row.name, r, row.says)
		}
		if now := c.census(); !maps.Equal(before, now) {
			c.unchanged(before)
			t.Logf("after: %s", row.name)
		}
	}
	var left []any
	if text := c.must("list", "--all", "-o", "json"); json.Unmarshal([]byte(text), &left) != nil || len(left) > 0 {
		t.Errorf("left: %s", text)
	}
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(content, text...), 0o644); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, info.Size()/2); err != nil {
		t.Fatal(err)
	}
}
