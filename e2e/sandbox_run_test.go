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
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
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
	// Flags first: what follows a source belongs to the program.
	args := append([]string{"sandbox", words[0], "--root", c.root}, words[1:]...)
	command := exec.CommandContext(ctx, binary(c.t), args...)
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

// TestSandboxSources runs the same program from each thing that run takes.
func TestSandboxSources(t *testing.T) {
	c := newCell(t)
	dir := c.rootDir()
	layout, _, _ := c.layout()
	archive := filepath.Join(t.TempDir(), "image.tar")
	if out, err := exec.Command("tar", "-C", layout, "-cf", archive, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	for _, row := range []struct {
		source string
		words  []string
		want   string
	}{
		{c.program, []string{"echo", "a", "b"}, "[a b]\n"},
		{"binary:" + c.program, []string{"echo", "c"}, "[c]\n"},
		{dir, []string{"/acts", "echo", "d"}, "[d]\n"},
		{"dir:" + dir, []string{"/acts", "read", "/etc/open"}, "open\ndone\n"},
		{layout, nil, "nothing to do\n"},
		{"layout:" + layout, []string{"cwd"}, "/tmp 0 0\n"},
		{archive, []string{"env", "FROM"}, "image\n"},
		{c.bundle(dir, nil), nil, "[of a bundle]\n"},
	} {
		words := []string{"run", row.source}
		if row.words != nil {
			words = append(append(words, "--"), row.words...)
		}
		want := row.want
		if row.source == layout {
			want = "[by default]\n"
		}
		if r := c.surety(words...); r.out != want || r.code != 0 {
			t.Errorf("%v: %+v, want %q", words, r, want)
		}
	}
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

// TestSandboxProgram sees what a program is given, and that its end is the command's.
func TestSandboxProgram(t *testing.T) {
	c := newCell(t)
	dir := c.rootDir()
	for _, row := range []struct {
		flags, words []string
		input        string
		want         outcome
	}{
		{nil, []string{"echo", "x"}, "", outcome{"[x]\n", "complaint\n", 0}},
		{nil, []string{"exit", "42"}, "", outcome{"", "", 42}},
		{nil, []string{"die"}, "", outcome{"", "*", 137}},
		{[]string{"-i"}, []string{"cat"}, "from\noutside\n", outcome{"from\noutside\n", "", 0}},
		{nil, []string{"cat"}, "not connected", outcome{"", "", 0}},
		{[]string{"-e", "WORD=there"}, []string{"env", "WORD"}, "", outcome{"there\n", "", 0}},
		{[]string{"-w", "/etc"}, []string{"cwd"}, "", outcome{"/etc 0 0\n", "", 0}},
		{[]string{"-u", "1000:100"}, []string{"cwd"}, "", outcome{"/ 1000 100\n", "", 0}},
		{nil, []string{"write", "/etc/new"}, "", outcome{"done\n", "", 0}},
		{[]string{"--overlay", "disk"}, []string{"write", "/etc/new"}, "", outcome{"done\n", "", 0}},
		{[]string{"--read-only"}, []string{"write", "/etc/new"}, "", outcome{"errno 30\n", "", 0}},
		{nil, []string{"read", "/nowhere"}, "", outcome{"errno 2\n", "", 0}},
		{nil, []string{"connect", "8.8.8.8:53"}, "", outcome{"errno 101\n", "", 0}},
	} {
		words := append(append([]string{"run"}, row.flags...), "dir:"+dir, "--", "/acts")
		r := c.with(row.input, append(words, row.words...)...)
		if row.want.errors == "*" {
			r.errors = "*"
		}
		if r != row.want {
			t.Errorf("%v %v: %+v, want %+v", row.flags, row.words, r, row.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "etc/new")); err == nil {
		t.Error("a write reached the root directory on the host")
	}
}

// TestSandboxVolumes shows directories of the host inside, writable and not.
func TestSandboxVolumes(t *testing.T) {
	c := newCell(t)
	dir, shown := c.rootDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(shown, "word"), []byte("host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(volume string, words ...string) outcome {
		return c.surety(append([]string{"run", "-v", volume, "dir:" + dir, "--", "/acts"}, words...)...)
	}
	if r := run(shown+":/volume:ro", "read", "/volume/word"); r.out != "host\ndone\n" {
		t.Errorf("read: %+v", r)
	}
	if r := run(shown+":/volume:ro", "write", "/volume/word"); r.out != "errno 30\n" {
		t.Errorf("write to a read-only volume: %+v", r)
	}
	if r := run(shown+":/volume", "write", "/volume/word"); r.out != "done\n" {
		t.Errorf("write: %+v", r)
	}
	if text, _ := os.ReadFile(filepath.Join(shown, "word")); string(text) != "written" {
		t.Errorf("the host has %q", text)
	}
}

// TestSandboxLimits runs into each limit.
func TestSandboxLimits(t *testing.T) {
	c := newCell(t)
	dir := c.rootDir()
	if r := c.surety("run", "--memory", "512m", "dir:"+dir, "--", "/acts", "memory", "64"); r.out != "taken\n" {
		t.Errorf("64 of 512 MiB: %+v", r)
	}
	name := uniqueName()
	r := c.surety("run", "--name", name, "--memory", "128m", "dir:"+dir, "--", "/acts", "memory", "1024")
	if r.code == 0 || strings.Contains(r.out, "taken") {
		t.Errorf("1024 of 128 MiB: %+v", r)
	}
	c.verified(name)
	if r := c.surety("run", "--cpus", "0.5", "dir:"+dir, "--", "/acts", "echo"); r.code != 0 {
		t.Errorf("half a core: %+v", r)
	}
	policy := writeFile(t, "processes.yaml", "policy: v1\nmode: enforce\ndefault: allow\nprocesses: 5\n")
	r = c.surety("run", "--policy", policy, "dir:"+dir, "--", "/acts", "forks", "20")
	if r.out != "4\nerrno 11\n" {
		t.Errorf("5 processes: %+v", r)
	}
}

// uniqueName is a sandbox's name that no other has, and that the census looks for.
func uniqueName() string { return fmt.Sprintf("e2e-%08x", rand.Uint32()) }

// TestSandboxLife leads one sandbox through its life by the commands.
func TestSandboxLife(t *testing.T) {
	c := newCell(t)
	name := uniqueName()
	if out := c.must("run", "-d", "--name", name, "dir:"+c.rootDir(), "--", "/acts", "wait"); strings.TrimSpace(out) != name {
		t.Errorf("run -d said %q", out)
	}
	c.until("logs", "waiting", "logs", name)
	if out := c.must("ps", name); !strings.Contains(out, "acts") {
		t.Errorf("ps: %s", out)
	}
	if out := c.must("stats", name); !strings.Contains(strings.ToLower(out), "memory") {
		t.Errorf("stats: %s", out)
	}
	if out := c.must("list"); !strings.Contains(out, name) || !strings.Contains(out, "running") {
		t.Errorf("list: %s", out)
	}
	if r := c.surety("exec", name, "--", "/acts", "exit", "9"); r.code != 9 {
		t.Errorf("exec: %+v", r)
	}
	if r := c.with("passed\n", "exec", "-i", name, "--", "/acts", "cat"); r.out != "passed\n" || r.code != 0 {
		t.Errorf("exec -i: %+v", r)
	}
	if r := c.surety("run", "-d", "--name", name, c.program, "--", "echo"); r.code == 0 ||
		!strings.Contains(r.errors, "exists") {
		t.Errorf("a second of the name: %+v", r)
	}
	c.must("pause", name)
	if out := c.must("list"); !strings.Contains(out, "paused") {
		t.Errorf("list of a paused one: %s", out)
	}
	c.must("resume", name)
	if r := c.surety("remove", name); r.code == 0 {
		t.Errorf("remove of a running one: %+v", r)
	}
	c.must("stop", name)
	if out := c.must("show", name); !strings.Contains(out, "stopped") || !strings.Contains(out, "7") {
		t.Errorf("show: %s", out)
	}
	c.verified(name)
	for _, kind := range []string{"birth", "exec", "session", "pause", "resume", "final"} {
		c.recorded(name, kind)
	}
	c.must("remove", name)
	if r := c.surety("show", name); r.code == 0 {
		t.Errorf("show of a removed one: %+v", r)
	}
	c.verified(name) // the trail stays
}

// until asks again and again until the answer holds the word.
func (c *cell) until(what, word string, words ...string) {
	c.t.Helper()
	for deadline := time.Now().Add(sandboxLimit); time.Now().Before(deadline); {
		if strings.Contains(c.must(words...), word) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	c.t.Fatalf("%s: no %q within %s", what, word, sandboxLimit)
}

// TestSandboxPublish reaches a server inside from the host.
func TestSandboxPublish(t *testing.T) {
	c := newCell(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	name := uniqueName()
	c.must("run", "-d", "--name", name, "--network", "stack", "-p", address+":8080", c.program, "--",
		"serve", ":8080")
	c.until("logs", "done", "logs", name)
	connection, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 7)
	if _, err := connection.Read(answer); err != nil || string(answer) != "served\n" {
		t.Errorf("answer %q, %v", answer, err)
	}
	c.must("stop", name)
	c.recorded(name, "accept")
}

// TestSandboxPolicy refuses a file, a program and a connection, each with its errno and a record.
func TestSandboxPolicy(t *testing.T) {
	c := newCell(t)
	dir := c.rootDir()
	policy := writeFile(t, "policy.yaml", `policy: v1
name: narrow
mode: enforce
default: deny
exec:
  - allow: /acts
files:
  - allow: /**
  - deny: /secret/**
network:
  - allow: 127.0.0.0/8
    ports: ["80"]
`)
	for _, row := range []struct {
		words    []string
		want     string
		recorded []string
	}{
		{[]string{"read", "/etc/open"}, "open\ndone\n", []string{"open", "allow", "/etc/open"}},
		{[]string{"read", "/secret/word"}, "errno 13\n", []string{"open", "refuse", "/secret/word"}},
		{[]string{"write", "/secret/word"}, "errno 13\n", []string{"open", "refuse", "/secret/word"}},
		{[]string{"run", "/bin/other", "echo"}, "errno 13\n", []string{"exec", "refuse", "/bin/other"}},
		{[]string{"run", "/acts", "echo"}, "done\n", []string{"exec", "allow", "/acts"}},
		{[]string{"connect", "127.0.0.1:80"}, "errno 111\n", []string{"connect", "allow", "127.0.0.1:80"}},
		{[]string{"connect", "127.0.0.1:81"}, "errno 13\n", []string{"connect", "refuse", "127.0.0.1:81"}},
		{[]string{"connect", "10.1.2.3:80"}, "errno 13\n", []string{"connect", "refuse", "10.1.2.3:80"}},
	} {
		name := uniqueName()
		words := append([]string{"run", "--name", name, "--policy", policy, "dir:" + dir, "--", "/acts"}, row.words...)
		if r := c.surety(words...); r.out != row.want {
			t.Errorf("%v: %+v, want %q", row.words, r, row.want)
		}
		c.recorded(name, row.recorded...)
		c.verified(name)
	}
}

// TestSandboxUnmodified runs programs of this machine from a read-only view of its root.
func TestSandboxUnmodified(t *testing.T) {
	c := newCell(t)
	script := `set -e; ls / | sort | head -1; printf 'b\na\n' | sort | tr a-z A-Z | paste -sd,; ` +
		`grep -c ^root: /etc/passwd; seq 1000 | wc -l; find /etc -maxdepth 1 -name passwd; ` +
		`echo word | sha256sum | cut -c1-8; date -u +%Y | wc -c; stat -c %F /etc; tail -c 3 <<< xyz`
	for _, row := range []struct {
		program string
		args    []string
	}{
		{"bash", []string{"-c", script}},
		{"python3", []string{"-c", "import json,hashlib,threading,subprocess\nprint(json.dumps({'a': 1}), " +
			"hashlib.sha256(b'x').hexdigest()[:8], subprocess.check_output(['echo', 'sub']))"}},
		{"node", []string{"-e", "const c=require('crypto');console.log(c.createHash('sha256').update('x')" +
			".digest('hex'));setTimeout(()=>console.log('later'),5)"}},
		{c.program, []string{"echo", "go"}},
	} {
		file := row.program
		if !filepath.IsAbs(file) {
			if file = c.host(row.program); file == "" {
				t.Logf("this machine has no %s", row.program)
				continue
			}
		}
		outside, err := exec.Command(file, row.args...).Output()
		if err != nil {
			t.Fatalf("%s outside: %v", file, err)
		}
		inside := c.surety(append([]string{"run", "--read-only", "-e", "PATH=" + os.Getenv("PATH"), "dir:/", "--",
			file}, row.args...)...)
		if inside.out != string(outside) || inside.code != 0 {
			t.Errorf("%s inside: %+v, outside %q", row.program, inside, outside)
		}
	}
}

// host finds a program of this machine, past the shims that only choose one.
func (c *cell) host(program string) string {
	for _, file := range []string{"/usr/bin/" + program, "/usr/local/bin/" + program, "/bin/" + program} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	file, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	file, _ = filepath.Abs(file)
	return file
}

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
			if !strings.Contains(all, `"stopped"`) {
				t.Errorf("round %d, killed after %s: %s", round, wait, all)
			}
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
	mounts := func(m map[string]any) []string {
		return spoiled(func(config map[string]any) { config["mounts"] = append(config["mounts"].([]any), m) })
	}
	changed := func(spoil func(layer, manifest string)) []string {
		layout, layer, manifest := c.layout()
		spoil(layer, manifest)
		return []string{"run", layout}
	}
	escaping := func(h *tar.Header) []string {
		layout, _, _ := c.layout(h)
		return []string{"run", layout}
	}
	policy := func(text string) []string {
		return []string{"run", "--policy", writeFile(t, fmt.Sprintf("p%x.yaml", rand.Uint32()), text), c.program}
	}
	flag := func(words ...string) []string { return append(append([]string{"run"}, words...), c.program) }
	before := c.census()
	for _, row := range []struct {
		name  string
		words []string
		says  string
	}{
		{"unknown field of a bundle", spoiled(func(b map[string]any) { b["surprise"] = 1 }), "surprise"},
		{"unknown field of its process", spoiled(func(b map[string]any) { b["process"].(map[string]any)["surprise"] = 1 }), "surprise"},
		{"bundle without a root", spoiled(func(b map[string]any) { delete(b, "root") }), "root"},
		{"bundle without arguments", spoiled(func(b map[string]any) { delete(b["process"].(map[string]any), "args") }), "args"},
		{"mount type unknown", mounts(map[string]any{"destination": "/x", "type": "ext4", "source": "/dev/vda"}), "ext4"},
		{"mount at no absolute path", mounts(map[string]any{"destination": "../x", "type": "tmpfs", "source": "t"}), "../x"},
		{"mount of nothing", mounts(map[string]any{"destination": "/x", "type": "bind", "source": "/nowhere/at/all"}), "/nowhere/at/all"},
		{"layer changed", changed(func(layer, _ string) { appendTo(t, layer, "x") }), "sha256"},
		{"layer cut short", changed(func(layer, _ string) { truncate(t, layer) }), "sha256"},
		{"layer missing", changed(func(layer, _ string) { os.Remove(layer) }), "sha256"},
		{"manifest changed", changed(func(_, manifest string) { appendTo(t, manifest, " ") }), "sha256"},
		{"layer that climbs", escaping(&tar.Header{Name: "../climbed", Mode: 0o644, Typeflag: tar.TypeReg}), "../climbed"},
		{"layer that links out", escaping(&tar.Header{Name: "out", Linkname: "../../etc/passwd", Typeflag: tar.TypeLink}), "../../etc/passwd"},
		{"policy of another version", policy("policy: v9\n"), "v9"},
		{"policy with an unknown field", policy("policy: v1\nsurprise: 1\n"), "surprise"},
		{"policy that names nothing", policy("policy: v1\nmode: enforce\ndefault: deny\n"), "exec"},
		{"policy with a path that is none", policy("policy: v1\nmode: observe\ndefault: allow\nfiles:\n  - deny: etc\n"), "files[0]"},
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
