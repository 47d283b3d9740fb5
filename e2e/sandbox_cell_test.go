//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sandboxLimit is how long a command about sandboxes may take, a start included.
const sandboxLimit = 60 * time.Second

// cell is a state directory with sandboxes in it.
type cell struct {
	t       *testing.T
	root    string
	program string // a static program for sandboxes: see acts
}

// outcome is what a command gave.
type outcome struct {
	out, errors string
	code        int
}

// newCell makes the directory; what is in it is removed at the end, and nothing may be left then.
func newCell(t *testing.T) *cell {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("sandboxes with networks and limits need root")
	}
	c := &cell{t: t, root: filepath.Join(t.TempDir(), "state"), program: acts(t)}
	before := c.census()
	t.Cleanup(func() {
		var list []struct{ ID string }
		if r := c.surety("list", "--all", "-o", "json"); json.Unmarshal([]byte(r.out), &list) != nil {
			t.Errorf("list: %+v", r)
		}
		for _, s := range list {
			if r := c.surety("remove", "--force", s.ID); r.code != 0 {
				t.Errorf("remove %s: %+v", s.ID, r)
			}
		}
		c.unchanged(before)
	})
	return c
}

// surety runs `surety sandbox` with the words.
func (c *cell) surety(words ...string) outcome { return c.with("", words...) }

// with gives it a standard input too.
func (c *cell) with(input string, words ...string) outcome {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sandboxLimit)
	defer cancel()
	command := exec.CommandContext(ctx, binary(c.t), append([]string{"sandbox"}, words...)...)
	command.Env = append(os.Environ(), "SURETY_SANDBOX_ROOT="+c.root)
	var out, complaints bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &out, &complaints
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		c.t.Fatalf("surety sandbox %v: %v after %s: %s%s", words, err, sandboxLimit, &out, &complaints)
	}
	return outcome{out.String(), complaints.String(), command.ProcessState.ExitCode()}
}

// must runs a command that has to end well, and returns its output.
func (c *cell) must(words ...string) string {
	c.t.Helper()
	r := c.surety(words...)
	if r.code != 0 {
		c.t.Fatalf("surety sandbox %v: %+v", words, r)
	}
	return r.out
}

// acts builds a static program that does what its first argument says and tells what came of it.
func acts(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "acts.go")
	if err := os.WriteFile(source, []byte(actsSource), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "acts"), source)
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GO111MODULE=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return filepath.Join(dir, "acts")
}

const actsSource = `package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

func tell(err error) {
	var number syscall.Errno
	switch {
	case err == nil:
		fmt.Println("done")
	case errors.As(err, &number):
		fmt.Println("errno", int(number))
	default:
		fmt.Println(err)
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Println("nothing to do")
		return
	}
	switch a := os.Args[2:]; os.Args[1] {
	case "echo":
		fmt.Println(a)
		fmt.Fprintln(os.Stderr, "complaint")
	case "cat":
		io.Copy(os.Stdout, os.Stdin)
	case "env":
		fmt.Println(os.Getenv(a[0]))
	case "cwd":
		dir, _ := os.Getwd()
		fmt.Println(dir, os.Getuid(), os.Getgid())
	case "exit":
		code, _ := strconv.Atoi(a[0])
		os.Exit(code)
	case "die":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "read":
		text, err := os.ReadFile(a[0])
		if err == nil {
			fmt.Print(string(text))
		}
		tell(err)
	case "write":
		tell(os.WriteFile(a[0], []byte("written"), 0o644))
	case "run":
		tell(exec.Command(a[0], a[1:]...).Run())
	case "connect":
		_, err := net.Dial("tcp", a[0])
		tell(err)
	case "serve":
		l, err := net.Listen("tcp", a[0])
		tell(err)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "served")
			c.Close()
		}
	case "wait":
		fmt.Println("waiting")
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		<-ended
		os.Exit(7)
	case "busy":
		fmt.Println("busy")
		for i := 0; ; i++ {
			os.WriteFile("/tmp/busy", []byte(strconv.Itoa(i)), 0o644)
		}
	case "memory":
		size, _ := strconv.Atoi(a[0])
		page := make([]byte, size<<20)
		for i := 0; i < len(page); i += 4096 {
			page[i] = 1
		}
		fmt.Println("taken")
	case "forks":
		most, _ := strconv.Atoi(a[0])
		for i := 0; i < most; i++ {
			c := exec.Command(os.Args[0], "cat")
			c.StdinPipe()
			if err := c.Start(); err != nil {
				fmt.Println(i)
				tell(err)
				return
			}
		}
		fmt.Println(most)
	}
}
`

// rootDir makes a root directory with the program in it.
func (c *cell) rootDir() string {
	dir := c.t.TempDir()
	for _, name := range []string{"tmp", "etc", "secret", "volume", "bin"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			c.t.Fatal(err)
		}
	}
	content, err := os.ReadFile(c.program)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, text := range map[string][]byte{"acts": content, "bin/other": content,
		"etc/open": []byte("open\n"), "secret/word": []byte("hidden\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			c.t.Fatal(err)
		}
	}
	return dir
}

// layout writes an OCI image layout of one layer with the program, and returns the paths of its
// parts, so that a test can spoil them.
func (c *cell) layout(headers ...*tar.Header) (dir string, layer, manifest string) {
	c.t.Helper()
	dir = c.t.TempDir()
	content, err := os.ReadFile(c.program)
	if err != nil {
		c.t.Fatal(err)
	}
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	add := func(h *tar.Header, body []byte) {
		h.Size = int64(len(body))
		if err := w.WriteHeader(h); err != nil {
			c.t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			c.t.Fatal(err)
		}
	}
	add(&tar.Header{Name: "acts", Mode: 0o755, Typeflag: tar.TypeReg}, content)
	for _, h := range headers {
		add(h, nil)
	}
	if err := w.Close(); err != nil {
		c.t.Fatal(err)
	}
	z := gzip.NewWriter(&packed)
	z.Write(plain.Bytes())
	z.Close()
	blob := func(body []byte) map[string]any {
		sum := sha256.Sum256(body)
		name := hex.EncodeToString(sum[:])
		file := filepath.Join(dir, "blobs", "sha256", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755),
			os.WriteFile(file, body, 0o644)); err != nil {
			c.t.Fatal(err)
		}
		return map[string]any{"digest": "sha256:" + name, "size": len(body), "file": file}
	}
	encode := func(v any) []byte {
		text, err := json.Marshal(v)
		if err != nil {
			c.t.Fatal(err)
		}
		return text
	}
	describe := func(b map[string]any, kind string) map[string]any {
		return map[string]any{"mediaType": "application/vnd.oci.image." + kind, "digest": b["digest"],
			"size": b["size"]}
	}
	sum := sha256.Sum256(plain.Bytes())
	layerBlob := blob(packed.Bytes())
	config := blob(encode(map[string]any{"architecture": "amd64", "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/acts"}, "Cmd": []string{"echo", "by", "default"},
			"Env": []string{"FROM=image"}, "WorkingDir": "/tmp"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}}}))
	manifestBlob := blob(encode(map[string]any{"schemaVersion": 2,
		"mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config":    describe(config, "config.v1+json"),
		"layers":    []any{describe(layerBlob, "layer.v1.tar+gzip")}}))
	for name, text := range map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`),
		"index.json": encode(map[string]any{"schemaVersion": 2,
			"manifests": []any{describe(manifestBlob, "manifest.v1+json")}})} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	return dir, layerBlob["file"].(string), manifestBlob["file"].(string)
}

// census counts what sandboxes of this cell could leave on the host.
func (c *cell) census() map[string]int {
	counts := map[string]int{}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	counts["mounts"] = strings.Count(string(mounts), c.root)
	for pid := range c.processes() {
		counts["process "+strconv.Itoa(pid)]++
	}
	filepath.WalkDir("/sys/fs/cgroup", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(name, "surety") && strings.Contains(name, "e2e-") {
			counts["cgroup "+name]++
		}
		return nil
	})
	named, _ := os.ReadDir("/run/netns")
	counts["network namespaces"] = len(named)
	links, _ := os.ReadDir("/sys/class/net")
	counts["network devices"] = len(links)
	instances, _ := os.ReadDir(filepath.Join(c.root, "instances"))
	counts["instances"] = len(instances)
	for _, pattern := range []string{"/tmp/surety-*", "/run/surety*", "/dev/shm/*", "/tmp/runsc*"} {
		found, _ := filepath.Glob(pattern)
		counts[pattern] = len(found)
	}
	return counts
}

// processes are those whose command line names this cell, and what it is.
func (c *cell) processes() map[int]string {
	found := map[int]string{}
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range list {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(c.root)) && !bytes.Contains(line, []byte("\x00sandbox\x00")) {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			found[pid], _, _ = strings.Cut(string(line), "\x00")
		}
	}
	return found
}

// unchanged waits for what dies with its parent, and compares.
func (c *cell) unchanged(before map[string]int) {
	c.t.Helper()
	var now map[string]int
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if now = c.census(); maps.Equal(before, now) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	c.t.Errorf("the host was %v\nand is now   %v", before, now)
}

// verified sees that the trail of a sandbox is whole and ended.
func (c *cell) verified(name string) {
	c.t.Helper()
	var answer struct {
		Verified bool
		Report   struct {
			Records uint64
			Ended   bool
		}
	}
	text := c.must("audit", "verify", name, "-o", "json")
	if err := json.Unmarshal([]byte(text), &answer); err != nil || !answer.Verified ||
		answer.Report.Records == 0 || !answer.Report.Ended {
		c.t.Errorf("trail of %s: %v, %s", name, err, text)
	}
}

// recorded sees that the trail shows an act of a kind with all the words.
func (c *cell) recorded(name string, words ...string) {
	c.t.Helper()
	text := c.must("audit", "show", name)
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return
		}
	}
	c.t.Errorf("trail of %s: no record with %q in\n%s", name, words, text)
}

// bundle writes an OCI bundle for the root directory; spoil changes its configuration.
func (c *cell) bundle(root string, spoil func(config map[string]any)) string {
	dir := c.t.TempDir()
	config := map[string]any{"ociVersion": "1.0.2",
		"root": map[string]any{"path": root},
		"process": map[string]any{"args": []string{"/acts", "echo", "of", "a", "bundle"}, "cwd": "/",
			"user": map[string]any{"uid": 0, "gid": 0}, "env": []string{"PATH=/"}},
		"mounts": []any{map[string]any{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux": map[string]any{"namespaces": []any{map[string]any{"type": "pid"}, map[string]any{"type": "mount"},
			map[string]any{"type": "ipc"}, map[string]any{"type": "uts"}, map[string]any{"type": "network"}}}}
	if spoil != nil {
		spoil(config)
	}
	text, err := json.Marshal(config)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
		c.t.Fatal(err)
	}
	return dir
}
