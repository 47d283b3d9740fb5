//go:build amd64

// Package inside_test has programs in real sandboxes use a sealed state.
package inside_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"surety/base/errs"
	"surety/enclave/client"
	"surety/enclave/state"
	"surety/sandbox/kernel"
	"surety/sandbox/runtime"
)

// The test binary is every process of a sandbox, as the shipped binary is, and the program inside.
func TestMain(m *testing.M) {
	switch {
	case kernel.Reexec(os.Args):
		kernel.Main(state.Guest{})
	case runtime.IsSupervisor(os.Args):
		os.Exit(runtime.SupervisorMain(os.Args))
	case filepath.Base(os.Args[0]) == "inside":
		os.Exit(inside(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// processes are those of this test's sandboxes.
func (f *fixture) processes() []int {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(f.t, err)
	var found []int
	for _, name := range names {
		line, err := os.ReadFile(name)
		var pid int
		if _, bad := fmt.Sscanf(name, "/proc/%d/", &pid); bad == nil && err == nil && pid != os.Getpid() &&
			bytes.Contains(line, []byte(filepath.Dir(f.image))) {
			found = append(found, pid)
		}
	}
	return found
}

func TestAcknowledgedSurvivesKillingEverything(t *testing.T) {
	f := newFixture(t)
	served := f.serve()
	read, write, err := os.Pipe()
	must(t, err)
	defer read.Close()
	s, err := f.create(write, "first")
	write.Close()
	if err != nil {
		t.Fatalf("%v; the state: %v", err, served.Refusal())
	}
	said := make([]byte, 300)
	n, err := read.Read(said)
	if string(said[:n]) != "synced\n" {
		t.Fatalf("%q, %v", said[:n], err)
	}
	pids := f.processes()
	for _, pid := range pids {
		confined(t, pid)
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if _, err := s.Wait(t.Context()); err != nil {
		t.Log(err)
	}
	must(t, served.Close(t.Context()))

	out := f.run("second")
	if !strings.HasPrefix(out, "a\nbig\nhard\n") || strings.Contains(out, "gone") ||
		strings.Contains(out, "temporary") {
		t.Errorf("the tree: %q", out)
	}
}

func TestEndOfProgramCommits(t *testing.T) {
	f := newFixture(t)
	f.run("leave")
	if v := openHere(t, f); v != 400000 {
		t.Errorf("left has %d bytes", v)
	}
}

// confined sees that the kernel inside has no rights, as in a sandbox without any files of the host.
func confined(t *testing.T, pid int) {
	t.Helper()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	must(t, err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	fact := func(field string) string {
		_, rest, _ := strings.Cut(string(status), "\n"+field+":")
		line, _, _ := strings.Cut(rest, "\n")
		return strings.Join(strings.Fields(line), " ")
	}
	program, _, _ := strings.Cut(string(name), "\x00")
	t.Logf("%s: user %s, capabilities %s, filter %s", program, fact("Uid"), fact("CapEff"), fact("Seccomp"))
	if program != "runsc-sandbox" {
		return
	}
	if os.Geteuid() != 0 {
		return // it is nobody but itself, in a namespace of its own
	}
	if !strings.HasPrefix(fact("Uid"), "65534 ") || fact("CapEff") != strings.Repeat("0", 16) {
		t.Errorf("the kernel inside is user %s with capabilities %s", fact("Uid"), fact("CapEff"))
	}
}

// openHere opens the state without a sandbox and returns the size of what leave left.
func openHere(t *testing.T, f *fixture) uint64 {
	t.Helper()
	v, err := state.Open(t.Context(), state.Config{Dir: f.dir, Anchor: f.anchor,
		Keys: []client.StateKey{{SVN: 1, Key: [32]byte{1, 2, 3}}}, Bytes: 200 << 20})
	must(t, err)
	defer v.Close(t.Context())
	a, err := v.Lookup(1, "left")
	must(t, err)
	return a.Size
}

func TestCalls(t *testing.T) {
	for _, overlay := range []string{"none", "memory", "disk"} {
		t.Run(overlay, func(t *testing.T) {
			f := newFixture(t)
			f.overlay = overlay
			f.run("calls")
		})
	}
}

// TestBesideAVolume has a directory of the host beside the state: what the host changes is seen at
// once, though the state is cached.
func TestBesideAVolume(t *testing.T) {
	f := newFixture(t)
	host := t.TempDir()
	must(t, os.Chmod(host, 0o755))
	must(t, os.WriteFile(filepath.Join(host, "word"), []byte("before"), 0o644))
	f.volumes = []runtime.Volume{{Source: host, Target: "/tmp"}}
	f.run("beside")
	if got, err := os.ReadFile(filepath.Join(host, "answer")); err != nil || string(got) != "before" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestLostLease has a program learn that nothing it writes counts any more.
func TestLostLease(t *testing.T) {
	f := newFixture(t)
	f.anchor.ends = 4
	f.run("lost")
	if last, _ := f.anchor.Last(); last != 4 {
		t.Errorf("anchored %d", last)
	}
}

// TestTwoStates has two states in one sandbox, each with a keeper of its own.
func TestTwoStates(t *testing.T) {
	f := newFixture(t)
	other := filepath.Join(filepath.Dir(f.dir), "other")
	second, err := state.Serve(state.ServeConfig{Config: state.Config{Dir: other, Anchor: &memory{},
		Keys: []client.StateKey{{SVN: 1, Key: [32]byte{9}}}, Bytes: 1 << 20}})
	must(t, err)
	f.sealed = []runtime.Sealed{{Sort: "state", Dir: second.Dir(), Target: "/tmp"}}
	f.run("two")
	must(t, second.Close(t.Context()))
}

func TestFull(t *testing.T) {
	f := newFixture(t)
	f.run("fill")
}

func TestSpeed(t *testing.T) {
	f := newFixture(t)
	t.Log(f.run("speed"))
	t.Log(f.run("reread"))
}

func TestOldCopyDoesNotStart(t *testing.T) {
	f := newFixture(t)
	f.run("leave")
	old := filepath.Join(filepath.Dir(f.dir), "old")
	must(t, os.CopyFS(old, os.DirFS(f.dir)))
	f.run("leave")
	must(t, os.RemoveAll(f.dir))
	must(t, os.Rename(old, f.dir))

	served := f.serve()
	defer served.Close(t.Context())
	if _, err := f.create(nil, "second"); err == nil {
		t.Fatal("a sandbox started on an old copy")
	} else {
		t.Log(err)
	}
	err := served.Refusal()
	if !errs.Is(err, errs.Refused) || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("%v", err)
	}
}
