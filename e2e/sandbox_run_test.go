//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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
	out := c.must("run", "-d", "--name", name, "dir:"+c.rootDir(), "--", "/acts", "wait")
	if strings.TrimSpace(out) != name {
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
