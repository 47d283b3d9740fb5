//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// teller is a static program that an enclave is made of, built once.
var teller = sync.OnceValues(func() (program []byte, err error) {
	dir, err := os.MkdirTemp("", "teller")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	source := filepath.Join(dir, "teller.go")
	if err := os.WriteFile(source, []byte(tellerSource), 0o644); err != nil {
		return nil, err
	}
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "teller"), source)
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GO111MODULE=off")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "teller"))
})

const tellerSource = `package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "teller:", err)
		os.Exit(9)
	}
}

func main() {
	switch os.Args[1] {
	case "read":
		data, err := os.ReadFile(os.Args[2])
		check(err)
		os.Stdout.Write(data)
	case "exit":
		n, _ := strconv.Atoi(os.Args[2])
		os.Exit(n)
	case "say":
		fmt.Println(strings.Join(os.Args[2:], " "), os.Getenv("LEVEL"))
	case "copy":
		_, err := io.Copy(os.Stdout, os.Stdin)
		check(err)
	case "write":
		check(os.WriteFile(os.Args[2], []byte("x"), 0o600))
	case "serve":
		l, err := net.Listen("tcp", ":80")
		check(err)
		fmt.Println("open")
		for {
			conn, err := l.Accept()
			check(err)
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}
}
`

const tellerWord = "the word that nobody else may read"

// tellers makes a project of the teller with one secret layer, and builds it.
func (k *keep) tellers(name, more string) string {
	k.t.Helper()
	content, err := teller()
	if err != nil {
		k.t.Fatal(err)
	}
	dir := filepath.Join(k.dir, name)
	k.must("new", dir)
	k.write(filepath.Join(dir, "root", "bin", "teller"), content, 0o755)
	k.write(filepath.Join(dir, "secrets", "words", "word"), []byte(tellerWord), 0o600)
	k.write(filepath.Join(dir, "enclave.yaml"), []byte("name: "+name+"\n"+
		"layers: [{name: words, kind: secret, target: /words}]\n"+more), 0o644)
	k.must("build", dir)
	return dir
}

const simulated = "SIMULATED: no memory protection. The operator of this machine can read everything the " +
	"program reads.\n"

// TestEnclaveRun runs an enclave in front: streams, exit codes, and what it has shown.
func TestEnclaveRun(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	dir := k.tellers("runs", "command: [/bin/teller]\nargs: true\nenv: [LEVEL=1]\nenv_names: [LEVEL]\n")
	for _, row := range []struct {
		flags, words []string
		want         outcome
	}{
		{nil, []string{"read", "/words/word"}, outcome{tellerWord, simulated, 0}},
		{nil, []string{"exit", "42"}, outcome{"", simulated, 42}},
		{nil, []string{"say", "a", "b"}, outcome{"a b 1\n", simulated, 0}},
		{[]string{"--env", "LEVEL=7"}, []string{"say", "c"}, outcome{"c 7\n", simulated, 0}},
		{[]string{"--fips"}, []string{"read", "/words/word"}, outcome{tellerWord, simulated, 0}},
		{nil, []string{"write", "/words/word"}, outcome{"", simulated +
			"teller: open /words/word: read-only file system\n", 9}},
		{nil, []string{"write", "/bin/new"}, outcome{"", simulated +
			"teller: open /bin/new: read-only file system\n", 9}},
	} {
		words := append(append([]string{"run"}, row.flags...), dir, "--")
		if r := k.surety(append(words, row.words...)...); r != row.want {
			t.Errorf("%v: %+v, want %+v", row.words, r, row.want)
		}
	}
	var said struct {
		Instance string
		Proof    struct {
			TEE, Guarantee, Measure, Name string
			SVN                           uint64
			Tokens                        map[string]string
			Released                      []struct{ Broker, Resource, Record string }
			Locked                        bool
		}
		Timings []struct{ Step string }
	}
	first, rest, _ := strings.Cut(k.must("run", "-o", "json", dir, "--", "read", "/words/word"), "\n")
	if err := json.Unmarshal([]byte(first), &said); err != nil || rest != tellerWord {
		t.Fatalf("%q, %q: %v", first, rest, err)
	}
	p := &said.Proof
	if p.TEE != "sim" || p.Guarantee != "simulated" || p.Name != "runs" || len(p.Released) != 1 ||
		p.Tokens["local"] == "" || !p.Locked || len(said.Timings) != 8 {
		t.Errorf("it has shown %s", first)
	}
	k.refused([]string{"does not leave the variable PATH"}, "run", "--env", "PATH=/x", dir, "--", "say")
	k.refused([]string{"shows nothing of the host"}, "run", "--volume", "/x=/tmp", dir, "--", "say")
	k.refused([]string{"no port can be published"}, "run", "-p", "127.0.0.1:0:80", dir, "--", "say")
	k.refused([]string{"there is no port"}, "run", "--attested-tls", "127.0.0.1:0=80", dir, "--", "say")
	k.refused([]string{"names no broker"}, "run", "--broker", "other=http://127.0.0.1:1", dir, "--", "say")
	k.refused([]string{"say which it is"}, "run", "--broker", "local=http://127.0.0.1:1", dir, "--", "say")
	k.refused([]string{"--tee"}, "run", "--tee", "sgx", dir, "--", "say")
	k.refused([]string{"snp"}, "run", "--tee", "snp", dir, "--", "say")
	k.refused([]string{"neither a project"}, "run", k.dir)
	fixed := k.tellers("fixed", "command: [/bin/teller, say, fixed]\n")
	k.refused([]string{"leaves no arguments"}, "run", fixed, "--", "more")
	k.noneLeft()
}

// noneLeft sees that nothing runs, nothing is listed and no memory is kept.
func (k *keep) noneLeft() {
	k.t.Helper()
	if out := k.must("list", "--all", "-o", "json"); strings.TrimSpace(out) != "[]" {
		k.t.Errorf("left: %s", out)
	}
	if left, _ := filepath.Glob(filepath.Join(k.root, "sandbox", "instances", "*")); len(left) > 0 {
		k.t.Errorf("left: %v", left)
	}
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		k.t.Fatal(err)
	}
	for _, name := range names {
		if line, err := os.ReadFile(name); err == nil && bytes.Contains(line, []byte(k.dir)) {
			k.t.Errorf("runs on: %q", line)
		}
	}
}

// TestEnclaveAtOnce runs many at once: they share the machine's broker, and one copy of the image.
func TestEnclaveAtOnce(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	dir := k.tellers("many", "command: [/bin/teller, read, /words/word]\n")
	const runs = 6
	var ended sync.WaitGroup
	for range runs {
		ended.Go(func() {
			if r := k.surety("run", dir); r.out != tellerWord || r.code != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
	ended.Wait()
	k.noneLeft()
}

// TestEnclaveLife starts an enclave, comes to it in each way, and ends it.
func TestEnclaveLife(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	dir := k.tellers("life", "command: [/bin/teller, serve]\nnetwork: stack\nentries: [/bin/teller]\n")
	r := k.surety("start", "--attested-tls", "127.0.0.1:0=80", dir)
	if r.out != "life\n" || r.code != 0 || !strings.HasPrefix(r.errors, simulated) {
		t.Fatalf("start: %+v", r)
	}
	address := regexp.MustCompile(`attested TLS at (\S+),`).FindStringSubmatch(r.errors)
	if address == nil {
		t.Fatalf("no address in %q", r.errors)
	}
	k.refused([]string{"enclave life is running"}, "start", dir)
	k.refused([]string{"an enclave life"}, "run", "--name", "life", dir)
	var list []struct{ Instance, Status, Guarantee, Measure string }
	if err := json.Unmarshal([]byte(k.must("list", "-o", "json")), &list); err != nil || len(list) != 1 ||
		list[0].Instance != "life" || list[0].Status != "running" || list[0].Guarantee != "simulated" {
		t.Fatalf("list: %+v, %v", list, err)
	}
	for _, word := range []string{"simulated", list[0].Measure, "/words", "secret sha384:"} {
		if out := k.must("status", "life"); !strings.Contains(out, word) {
			t.Errorf("status: no %q in %s", word, out)
		}
	}
	until(t, time.Minute, "its output is in the log", func() (bool, string) {
		out := k.must("logs", "life")
		return out == "open\n", out
	})
	if out := k.must("exec", "life", "--", "/bin/teller", "read", "/words/word"); out != tellerWord {
		t.Errorf("exec: %q", out)
	}
	k.refused([]string{"/bin/sh is not one of the programs"}, "exec", "life", "--", "/bin/sh")
	root := filepath.Join(k.root, "sandbox")
	around := exec.Command(binary(t), "sandbox", "exec", "--root", root, "life", "--", "/bin/sh")
	if out, err := around.CombinedOutput(); err == nil || !strings.Contains(string(out), "nobody may look inside") {
		t.Errorf("by the sandbox's own command: %s, %v", out, err)
	}
	shot := exec.Command(binary(t), "sandbox", "checkpoint", "--root", root, "life", filepath.Join(k.dir, "shot"))
	if out, err := shot.CombinedOutput(); err == nil {
		t.Errorf("a snapshot of an enclave: %s", out)
	}
	k.connects(address[1], list[0].Measure)
	k.must("stop", "life")
	k.refused([]string{"no enclave life"}, "status", "life")
	k.noneLeft()
}

// connects comes to an enclave by attested TLS.
func (k *keep) connects(address, measure string) {
	k.t.Helper()
	trust := []string{"--sim-root", filepath.Join(k.root, "simulated", "root.pem")}
	ctx, cancel := context.WithTimeout(context.Background(), enclaveLimit)
	defer cancel()
	pipe := k.command(ctx, append([]string{"connect", address, "--measure", measure}, trust...)...)
	pipe.Stdin = strings.NewReader("by the pipe")
	var notes bytes.Buffer
	pipe.Stderr = &notes
	if out, err := pipe.Output(); err != nil || string(out) != "by the pipe" ||
		!strings.Contains(notes.String(), "SIMULATED") {
		k.t.Errorf("connect: %q, %v, %s", out, err, &notes)
	}
	other := "sha384:" + strings.Repeat("ab", 48)
	k.refused([]string{"not connected", measure, other},
		append([]string{"connect", address, "--measure", other}, trust...)...)
	k.refused([]string{"--sim-root"}, "connect", address, "--measure", measure)
	policy := filepath.Join(k.dir, "hardware.json")
	k.write(policy, []byte(`{"name": "hardware", "machines": [{"tee": "snp", "platforms": ["AAAA"]}],
		"measures": ["`+measure+`"]}`), 0o644)
	k.refused([]string{"no root is trusted"}, "connect", address, "--policy", policy)
	k.refused([]string{"machine: saw sim, wants snp"},
		append([]string{"connect", address, "--policy", policy}, trust...)...)

	carry := k.command(ctx, append([]string{"connect", address, "--measure", measure, "--listen",
		"127.0.0.1:0"}, trust...)...)
	lines, err := carry.StderrPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := carry.Start(); err != nil {
		k.t.Fatal(err)
	}
	defer carry.Wait()
	defer carry.Process.Signal(os.Interrupt)
	buf := make([]byte, 4096)
	n, err := lines.Read(buf)
	local := regexp.MustCompile(`at (\S+) go to`).FindStringSubmatch(string(buf[:n]))
	if err != nil || local == nil {
		k.t.Fatalf("--listen: %q, %v", buf[:n], err)
	}
	for _, said := range []string{"one", strings.Repeat("two", 100_000)} {
		conn, err := net.Dial("tcp", local[1])
		if err != nil {
			k.t.Fatal(err)
		}
		go func() {
			io.WriteString(conn, said)
			conn.(*net.TCPConn).CloseWrite()
		}()
		if got, err := io.ReadAll(conn); err != nil || string(got) != said {
			k.t.Errorf("--listen: %d bytes, %v", len(got), err)
		}
		conn.Close()
	}
}

// TestEnclaveKilled kills the keeper: the program dies with it, and the name can be used again.
func TestEnclaveKilled(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	dir := k.tellers("killed", "command: [/bin/teller, serve]\nnetwork: stack\n")
	k.must("start", dir)
	var state struct{ Supervisor, Kernel int }
	content, err := os.ReadFile(filepath.Join(k.root, "sandbox", "instances", "killed", "state.json"))
	if err != nil || json.Unmarshal(content, &state) != nil || state.Supervisor == 0 {
		t.Fatalf("%s, %v", content, err)
	}
	if out, err := exec.Command("kill", "-9", fmt.Sprint(state.Supervisor)).CombinedOutput(); err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	until(t, time.Minute, "it is known to have ended", func() (bool, string) {
		out := k.must("list", "--all")
		return strings.Contains(out, "stopped"), out
	})
	k.must("start", dir)
	k.must("stop", "killed")
	k.noneLeft()
	// What is known of one that has ended makes room for the next of its name.
	fixed := k.tellers("again", "command: [/bin/teller, read, /words/word]\n")
	for range 2 {
		if out := k.must("run", "--name", "again", "--rm=false", fixed); out != tellerWord {
			t.Errorf("%q", out)
		}
	}
	if out := k.must("list", "--all"); strings.Count(out, "stopped") != 1 {
		t.Errorf("kept: %s", out)
	}
	k.must("stop", "again")
	k.noneLeft()
}

// TestEnclaveDebug has a debug build say so, and let its operator look inside.
func TestEnclaveDebug(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	dir := k.tellers("open", "command: [/bin/teller, serve]\nnetwork: stack\ndebug: true\n")
	if r := k.surety("start", dir); r.code != 0 || !strings.Contains(r.errors, "DEBUG: open is a debug build") {
		t.Fatalf("start: %+v", r)
	}
	if out := k.must("exec", "open", "--", "/bin/teller", "read", "/words/word"); out != tellerWord {
		t.Errorf("exec: %q", out)
	}
	if out := k.must("list"); !strings.Contains(out, "open") {
		t.Errorf("list: %s", out)
	}
	k.must("stop", "open")
	k.noneLeft()
}

// TestEnclaveStart times starts of a built enclave, from the command to its end.
func TestEnclaveStart(t *testing.T) {
	k := newKeep(t)
	dir := k.tellers("timed", "command: [/bin/teller, read, /words/word]\n")
	var took []time.Duration
	for range 9 {
		began := time.Now()
		if out := k.must("run", dir); out != tellerWord {
			t.Fatalf("%q", out)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("from the command to its end: median %s, fastest %s, slowest %s", took[4], took[0], took[8])
	if took[0] > 600*time.Millisecond {
		t.Errorf("the fastest of nine took %s, want less than 600 ms", took[0])
	}
}
