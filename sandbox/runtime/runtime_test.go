package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/kernel"
	"surety/sandbox/runtime"
	"surety/sandbox/trail"
)

// The test binary is every process of a sandbox, as the shipped binary is, and the program inside.
func TestMain(m *testing.M) {
	switch {
	case kernel.Reexec(os.Args):
		kernel.Main()
	case runtime.IsSupervisor(os.Args):
		os.Exit(runtime.SupervisorMain(os.Args))
	case filepath.Base(os.Args[0]) == "inside":
		os.Exit(inside(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// inside is what the tests run in a sandbox: one word of what to do, then its arguments.
func inside(words []string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		var errno syscall.Errno
		if errors.As(err, &errno) {
			return int(errno)
		}
		return 100
	}
	switch words[0] {
	case "say":
		fmt.Println(strings.Join(words[1:], " "))
	case "exit":
		code, _ := strconv.Atoi(words[1])
		return code
	case "copy":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			return fail(err)
		}
	case "write":
		if err := os.WriteFile(words[1], []byte(words[2]), 0o600); err != nil {
			return fail(err)
		}
	case "read":
		content, err := os.ReadFile(words[1])
		if err != nil {
			return fail(err)
		}
		os.Stdout.Write(content)
	case "whoami":
		cwd, _ := os.Getwd()
		name, _ := os.Hostname()
		fmt.Println(os.Getuid(), os.Getgid(), cwd, name, os.Getenv("GREETING"))
	case "stay":
		fmt.Println("up")
		for {
			_ = syscall.Pause()
		}
	case "serve":
		l, err := net.Listen("tcp", ":80")
		if err != nil {
			return fail(err)
		}
		fmt.Println("up")
		err = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "from inside")
		}))
		return fail(err)
	case "dial":
		conn, err := net.Dial("tcp", words[1])
		if err != nil {
			return fail(err)
		}
		conn.Close()
	case "count":
		ticks := time.NewTicker(10 * time.Millisecond)
		for i := 0; ; i++ {
			fmt.Println(i)
			<-ticks.C
		}
	}
	return 0
}

// fixture is a host in a directory of the test's, and a root holding the test binary as /inside.
type fixture struct {
	t    *testing.T
	host *runtime.Host
	root string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	if !runtime.Possible() {
		t.Skip("sandboxes need a static program: CGO_ENABLED=0, as the Makefile has it")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "inside"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	host, err := runtime.Open(runtime.Config{Root: filepath.Join(dir, "host")})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, host: host, root: root}
	t.Cleanup(func() {
		if left := leavings(t, dir); left != "" {
			t.Errorf("left on the host: %s", left)
		}
	})
	return f
}

// leavings names what sandboxes whose state is below dir left on the host. Other tests have their
// own running.
func leavings(t *testing.T, dir string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			left = append(left, "mount "+line)
		}
	}
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		line, err := os.ReadFile(name)
		if err == nil && bytes.Contains(line, []byte(dir)) {
			left = append(left, "process "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	cgroups, _ := filepath.Glob("/sys/fs/cgroup/*/" + idOf(t))
	return strings.Join(append(left, cgroups...), "; ")
}

// idOf is the name of a test's sandbox.
func idOf(t *testing.T) string {
	return "t-" + strings.ToLower(strings.NewReplacer("/", "-", "#", "-").Replace(t.Name()))
}

func (f *fixture) spec(args ...string) runtime.Spec {
	return runtime.Spec{
		ID:    "t-" + strings.ToLower(strings.NewReplacer("/", "-", "#", "-").Replace(f.t.Name())),
		Class: runtime.Sentry, Root: runtime.Root{Dir: f.root},
		Args: append([]string{"/inside"}, args...), Cwd: "/", Overlay: "memory",
		Network: runtime.Network{Mode: "none"},
	}
}

// run runs to the end and returns what was written and how it ended.
func (f *fixture) run(spec runtime.Spec, input string) (string, runtime.State) {
	f.t.Helper()
	s, read := f.start(spec, input)
	out, err := io.ReadAll(read)
	if err != nil {
		f.t.Fatal(err)
	}
	st, err := s.Wait(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if err := s.Remove(f.t.Context(), false); err != nil {
		f.t.Fatal(err)
	}
	return string(out), st
}

// start creates and starts; the file gives what the program writes.
func (f *fixture) start(spec runtime.Spec, input string) (*runtime.Sandbox, *os.File) {
	f.t.Helper()
	in, write, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	read, out, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { read.Close() })
	s, err := f.host.Create(f.t.Context(), spec, runtime.Stdio{Stdin: in, Stdout: out, Stderr: out})
	in.Close()
	out.Close()
	if err != nil {
		write.Close()
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Remove(ctx, true); err != nil && !errs.Is(err, errs.NotFound) {
			f.t.Error(err)
		}
	})
	go func() {
		io.WriteString(write, input)
		write.Close()
	}()
	if err := s.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return s, read
}

// verified is the verdict on a trail.
func verified(t *testing.T, dir string) trail.Report {
	t.Helper()
	report, err := trail.Verify(dir, trail.Check{})
	if err != nil {
		t.Fatalf("trail %s: %v", dir, err)
	}
	return report
}

func TestRun(t *testing.T) {
	f := newFixture(t)
	out, st := f.run(f.spec("say", "hello", "inside"), "")
	if out != "hello inside\n" || st.ExitCode != 0 || st.Status != runtime.Stopped {
		t.Fatalf("wrote %q, ended %+v", out, st)
	}
	report := verified(t, st.Trail)
	if !report.Ended || report.Birth == nil || report.Birth.Sandbox != f.spec().ID {
		t.Fatalf("report %+v", report)
	}
}

// TestRootless runs the tests that need no root again as nobody.
func TestRootless(t *testing.T) {
	if os.Geteuid() != 0 || !runtime.Possible() {
		t.Skip("this is that run, or a program that is not static")
	}
	dir, err := os.MkdirTemp("", "rootless")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const nobody = 65534
	self := filepath.Join(dir, "runtime.test")
	content, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(dir+"/tmp", 0o700),
		os.Chown(dir+"/tmp", nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.v", "-test.run",
		"^(TestRun|TestExitCodesAndInput|TestWritesStayInside|TestPolicyRefuses|TestRootNeeded)$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir+"/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Count(out, []byte("--- PASS")) != 5 {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestRootNeeded has what only root can give refused by its name.
func TestRootNeeded(t *testing.T) {
	f := newFixture(t)
	if os.Geteuid() == 0 {
		return // root may; the run of TestRootless comes here as nobody
	}
	spec := f.spec("say")
	spec.Limits.MemoryBytes = 256 << 20
	_, err := f.host.Create(t.Context(), spec, runtime.Stdio{})
	if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), "limits.memory_bytes") {
		t.Errorf("a memory limit without root: %v", err)
	}
}

// TestRunHere has this process be the supervisor.
func TestRunHere(t *testing.T) {
	f := newFixture(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	io := runtime.Stdio{Stdout: write, Stderr: write, HandedOver: func() { write.Close() }}
	st, err := f.host.Run(t.Context(), f.spec("exit", "6"), io, time.Second)
	if err != nil || st.ExitCode != 6 || st.Status != runtime.Stopped {
		t.Fatalf("%+v, %v", st, err)
	}
	verified(t, st.Trail)
	again := f.spec("stay")
	again.ID += "2"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read2, write2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read2.Close()
	go func() { // its first word ends it
		buf := make([]byte, 8)
		_, _ = read2.Read(buf)
		cancel()
	}()
	st, err = f.host.Run(ctx, again, runtime.Stdio{Stdout: write2,
		HandedOver: func() { write2.Close() }}, time.Second)
	if err != nil || st.Status != runtime.Stopped || st.ExitCode == 0 {
		t.Errorf("a run told to end: %+v, %v", st, err)
	}
	verified(t, st.Trail)
}

func TestExitCodesAndInput(t *testing.T) {
	f := newFixture(t)
	if _, st := f.run(f.spec("exit", "7"), ""); st.ExitCode != 7 {
		t.Errorf("exit 7 became %d (%s)", st.ExitCode, st.Reason)
	}
	if out, _ := f.run(f.spec("copy"), "carried over"); out != "carried over" {
		t.Errorf("copied %q", out)
	}
}

func TestIdentityInside(t *testing.T) {
	f := newFixture(t)
	spec := f.spec("whoami")
	spec.User = runtime.User{UID: 1000, GID: 1001}
	spec.Cwd, spec.Hostname, spec.Env = "/tmp", "vault", []string{"GREETING=hi"}
	if err := os.Mkdir(filepath.Join(f.root, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if out, _ := f.run(spec, ""); out != "1000 1001 /tmp vault hi\n" {
		t.Errorf("inside: %q", out)
	}
}

func TestWritesStayInside(t *testing.T) {
	f := newFixture(t)
	if out, st := f.run(f.spec("write", "/made", "x"), ""); st.ExitCode != 0 {
		t.Fatalf("write: %s", out)
	}
	if _, err := os.Stat(filepath.Join(f.root, "made")); !os.IsNotExist(err) {
		t.Errorf("a write reached the host's directory: %v", err)
	}
	spec := f.spec("write", "/made", "x")
	spec.Overlay = "none"
	if _, st := f.run(spec, ""); st.ExitCode != int(syscall.EROFS) {
		t.Errorf("read-only root: exit %d", st.ExitCode)
	}
	shared := t.TempDir()
	spec = f.spec("write", "/data/made", "kept")
	spec.Volumes = []runtime.Volume{{Source: shared, Target: "/data"}}
	_, err := f.host.Create(t.Context(), spec, runtime.Stdio{})
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "volumes[0].target") {
		t.Errorf("a volume without a place in a directory: %v", err)
	}
	if _, err := os.Stat(filepath.Join(f.root, "data")); !os.IsNotExist(err) {
		t.Errorf("a place was made in the host's directory: %v", err)
	}
	if err := os.Mkdir(filepath.Join(f.root, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, st := f.run(spec, ""); st.ExitCode != 0 {
		t.Fatalf("volume: %s", out)
	}
	if content, err := os.ReadFile(filepath.Join(shared, "made")); string(content) != "kept" {
		t.Errorf("volume holds %q, %v", content, err)
	}
}

func TestPolicyRefuses(t *testing.T) {
	f := newFixture(t)
	secret := filepath.Join(f.root, "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := f.spec("read", "/secret")
	spec.Policy = &sandbox.Policy{Version: "v1", Mode: "enforce", Default: "allow",
		Files: []sandbox.FileRule{{Deny: "/secret"}}}
	out, st := f.run(spec, "")
	if st.ExitCode != int(syscall.EACCES) || out == "s" {
		t.Fatalf("read a denied file: exit %d, %q", st.ExitCode, out)
	}
	r, err := trail.Open(st.Trail)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, err := r.Next()
		if err != nil {
			t.Fatalf("no record of the refusal: %v", err)
		}
		if rec.Kind == sandbox.KindOpen && rec.Path == "/secret" {
			if rec.Verdict != sandbox.Refused || rec.Errno != uint16(syscall.EACCES) {
				t.Errorf("recorded as %+v", rec)
			}
			return
		}
	}
}

func TestLife(t *testing.T) {
	f := newFixture(t)
	s, out := f.start(f.spec("stay"), "")
	buf := make([]byte, 16)
	if n, err := out.Read(buf); string(buf[:n]) != "up\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	ctx := t.Context()
	code, err := s.Exec(ctx, runtime.Process{Args: []string{"/inside", "exit", "9"}}, runtime.Stdio{})
	if err != nil || code != 9 {
		t.Errorf("exec: %d, %v", code, err)
	}
	list, err := s.Processes(ctx)
	if err != nil || len(list) != 1 || list[0].Command != "inside" {
		t.Errorf("processes: %+v, %v", list, err)
	}
	stats, err := s.Stats(ctx)
	if err != nil || stats.Records == 0 || stats.Memory == 0 {
		t.Errorf("stats: %+v, %v", stats, err)
	}
	if err := s.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Exec(ctx, runtime.Process{Args: []string{"/inside"}}, runtime.Stdio{}); !errs.Is(err, errs.Refused) {
		t.Errorf("exec while paused: %v", err)
	}
	if err := s.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, false); !errs.Is(err, errs.Refused) {
		t.Errorf("removed while running: %v", err)
	}
	if err := s.Kill(ctx, int(syscall.SIGKILL), false); err != nil {
		t.Fatal(err)
	}
	st, err := s.Wait(ctx)
	if err != nil || st.ExitCode != 137 {
		t.Errorf("after SIGKILL: %+v, %v", st, err)
	}
	if report := verified(t, st.Trail); !report.Ended {
		t.Errorf("report %+v", report)
	}
}

func TestSupervisorKilled(t *testing.T) {
	f := newFixture(t)
	spec := f.spec("count")
	spec.Limits.MemoryBytes = 256 << 20 // makes a cgroup, which has to go
	s, out := f.start(spec, "")
	buf := make([]byte, 16)
	if _, err := out.Read(buf); err != nil {
		t.Fatal(err)
	}
	st, err := s.State()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(st.Supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if st, err = s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st.Status != runtime.Stopped || st.Reason == "" {
		t.Errorf("state %+v", st)
	}
	if report := verified(t, st.Trail); !report.Ended {
		t.Errorf("report %+v", report)
	}
}

// TestStartGivenUp cancels starts at every moment: nothing is left, and what trails there are have an
// end.
func TestStartGivenUp(t *testing.T) {
	f := newFixture(t)
	for patience := 5 * time.Millisecond; ; patience *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		s, err := f.host.Create(ctx, f.spec("say"), runtime.Stdio{})
		cancel()
		if err == nil {
			if err := s.Remove(t.Context(), true); err != nil {
				t.Error(err)
			}
			break
		}
		if !errs.Is(err, errs.Canceled) {
			t.Fatal(err)
		}
	}
	trails, err := filepath.Glob(filepath.Join(f.host.Root(), "trails", "*"))
	if err != nil || len(trails) == 0 {
		t.Fatalf("%v, %v", trails, err)
	}
	for _, dir := range trails {
		if report := verified(t, dir); !report.Ended {
			t.Errorf("%s: %+v", dir, report)
		}
		if spare, _ := filepath.Glob(dir + "/reserve*"); len(spare) > 0 {
			t.Errorf("left %v", spare)
		}
	}
}

func TestRefusedSpecsLeaveNothing(t *testing.T) {
	f := newFixture(t)
	for field, change := range map[string]func(*runtime.Spec){
		"id":           func(s *runtime.Spec) { s.ID = "../x" },
		"class":        func(s *runtime.Spec) { s.Class = "jail" },
		"root":         func(s *runtime.Spec) { s.Root.Image = "/x" },
		"overlay":      func(s *runtime.Spec) { s.Overlay = "cloud" },
		"args":         func(s *runtime.Spec) { s.Args = nil },
		"cwd":          func(s *runtime.Spec) { s.Cwd = "here" },
		"env[0]":       func(s *runtime.Spec) { s.Env = []string{"=x"} },
		"capabilities": func(s *runtime.Spec) { s.Caps = []string{"CAP_FLY"} },
		"volumes[0].target": func(s *runtime.Spec) {
			s.Volumes = []runtime.Volume{{Source: "/tmp", Target: "/a/../b"}}
		},
		"network.mode":  func(s *runtime.Spec) { s.Network.Mode = "wifi" },
		"network.ports": func(s *runtime.Spec) { s.Network.Ports = make([]runtime.Port, 1) },
		"limits.memory": func(s *runtime.Spec) { s.Limits.MemoryBytes = 1 },
		"policy": func(s *runtime.Spec) {
			s.Policy = &sandbox.Policy{Version: "v1", Mode: "sometimes"}
		},
	} {
		spec := f.spec("say")
		change(&spec)
		_, err := f.host.Create(t.Context(), spec, runtime.Stdio{})
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	missing := f.spec("say")
	missing.Root.Dir = filepath.Join(f.root, "absent")
	if _, err := f.host.Create(t.Context(), missing, runtime.Stdio{}); err == nil {
		t.Error("a root that is absent was accepted")
	}
	if list, err := f.host.List(); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}
