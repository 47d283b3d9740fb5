//go:build amd64

// Package inside_test has programs in real sandboxes use a sealed state.
package inside_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
	"surety/enclave/state"
	"surety/sandbox/image/erofs"
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

// programs are what the tests run in a sandbox.
var programs = map[string]func(args []string) error{
	"first": first, "second": second, "fill": fill, "speed": speed, "leave": leave,
	"calls": calls, "beside": beside, "two": two, "reread": reread, "lost": lost,
}

func inside(words []string) int {
	if err := programs[words[0]](words[1:]); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// first makes a tree, syncs it and stays.
func first([]string) error {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	steps := []func() error{
		func() error { return os.MkdirAll("/state/a/b", 0o750) },
		func() error { return synced("/state/a/draft", []byte("renamed")) },
		func() error { return os.Rename("/state/a/draft", "/state/a/b/final") },
		func() error { return os.Symlink("b/final", "/state/a/link") },
		func() error { return os.Link("/state/a/b/final", "/state/hard") },
		func() error { return synced("/state/big", big) },
		func() error { return synced("/state/gone", []byte("x")) },
		func() error { return os.Remove("/state/gone") },
		func() error { return mapped("/state/big", big) },
		unlinked,
		func() error { return syncDir("/state") },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	fmt.Println("synced")
	if err := os.WriteFile("/state/unsynced", []byte("perhaps"), 0o600); err != nil {
		return err
	}
	for {
		_ = syscall.Pause()
	}
}

func synced(name string, content []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// mapped compares a file with what a mapping of it shows, and writes through one.
func mapped(name string, want []byte) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := syscall.Mmap(int(f.Fd()), 0, len(want), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	if !bytes.Equal(m, want) {
		return errors.New("the mapping differs")
	}
	copy(m[100000:], "through the mapping")
	if err := syscall.Munmap(m); err != nil {
		return err
	}
	return f.Sync()
}

// unlinked uses a file that has no name any more.
func unlinked() error {
	f, err := os.Create("/state/temporary")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove("/state/temporary"); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte("still here"), 40000); err != nil {
		return err
	}
	got := make([]byte, 10)
	if _, err := f.ReadAt(got, 40000); err != nil || string(got) != "still here" {
		return fmt.Errorf("an unlinked file: %q, %v", got, err)
	}
	return nil
}

// second looks for what first left, and prints the tree.
func second([]string) error {
	for name, want := range map[string]string{"/state/a/b/final": "renamed", "/state/a/link": "renamed",
		"/state/hard": "renamed"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			return fmt.Errorf("%s: %q, %v", name, got, err)
		}
	}
	big, err := os.ReadFile("/state/big")
	if err != nil || len(big) != 1<<20 || string(big[100000:100019]) != "through the mapping" {
		return fmt.Errorf("big: %d bytes, %v", len(big), err)
	}
	hard, err := os.Stat("/state/hard")
	if err != nil || hard.Sys().(*syscall.Stat_t).Nlink != 2 {
		return fmt.Errorf("links: %+v, %v", hard, err)
	}
	dir, err := os.Stat("/state/a/b")
	if err != nil || dir.Mode() != os.ModeDir|0o750 {
		return fmt.Errorf("mode: %v, %v", dir.Mode(), err)
	}
	entries, err := os.ReadDir("/state")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Println(e.Name())
	}
	return nil
}

// fill writes until the volume is full.
func fill([]string) error {
	f, err := os.Create("/state/full")
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for {
		if _, err = f.Write(block); err != nil {
			break
		}
		if err = f.Sync(); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("full: %w", err)
	}
	return errors.Join(f.Close(), os.Remove("/state/full"), synced("/state/after", block))
}

// leave writes, syncs nothing and ends.
func leave([]string) error {
	return os.WriteFile("/state/left", bytes.Repeat([]byte("left"), 100000), 0o600)
}

// speed prints what writing, syncing and reading cost.
func speed([]string) error {
	const size = 64 << 20
	block := make([]byte, 1<<20)
	f, err := os.Create("/state/speed")
	if err != nil {
		return err
	}
	start := time.Now()
	for range size / len(block) {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	wrote := time.Since(start)
	var waits []time.Duration
	for i := range 100 {
		start := time.Now()
		if _, err := f.WriteAt(block[:4096], int64(i)*40960); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		waits = append(waits, time.Since(start))
	}
	slices.Sort(waits)
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Printf("write and sync 64 MiB: %.0f MB/s; 4 KiB write and fsync: p50 %s, p99 %s\n",
		size/1e6/wrote.Seconds(), waits[50], waits[98])
	return nil
}

// reread prints what reading costs in a sandbox that has not read it before, and what fsyncs at once
// cost.
func reread([]string) error {
	f, err := os.Open("/state/speed")
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	start, total := time.Now(), 0
	for {
		n, err := f.Read(block)
		total += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	read := time.Since(start)
	const writers, each = 8, 50
	var group sync.WaitGroup
	failed := make(chan error, writers)
	start = time.Now()
	for w := range writers {
		group.Go(func() {
			for range each {
				if err := synced(fmt.Sprintf("/state/writer-%d", w), block[:4096]); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failed)
	fmt.Printf("read %d MiB cold: %.0f MB/s; fsyncs of %d at once: %.0f a second\n", total>>20,
		float64(total)/1e6/read.Seconds(), writers, writers*each/time.Since(start).Seconds())
	return <-failed
}

// memory is an anchor in memory: the broker's part.
type memory struct {
	mu    sync.Mutex
	epoch uint64
	root  enclave.Digest
	ends  uint64 // the last epoch that is taken; zero: none is the last
}

func (m *memory) Last() (uint64, enclave.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.epoch, m.root
}

func (m *memory) Commit(_ context.Context, epoch uint64, root enclave.Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ends > 0 && epoch > m.ends {
		return errs.New(errs.Locked, "another has the lease")
	}
	if epoch != m.epoch+1 && (epoch != m.epoch || root != m.root) {
		return errs.New(errs.Refused, "epoch %d after %d", epoch, m.epoch)
	}
	m.epoch, m.root = epoch, root
	return nil
}

// fixture is a host, an image of the test binary, and a state.
type fixture struct {
	t      *testing.T
	host   *runtime.Host
	image  string
	digest string
	dir    string // the state's
	anchor *memory
	runs   int

	overlay string
	volumes []runtime.Volume
	sealed  []runtime.Sealed // beside the state
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
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	content := imageOf(t, map[string][]byte{"inside": self, "dev": nil, "proc": nil, "sys": nil,
		"tmp": nil, "state": nil})
	f := &fixture{t: t, image: filepath.Join(dir, "root.erofs"), dir: filepath.Join(dir, "kept"),
		digest: fmt.Sprintf("sha256:%x", sha256.Sum256(content)), anchor: &memory{}, overlay: "none"}
	must(t, os.WriteFile(f.image, content, 0o600))
	f.host, err = runtime.Open(runtime.Config{Root: filepath.Join(dir, "host")})
	must(t, err)
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type bytesOf []byte

func (b bytesOf) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// imageOf is an EROFS image of directories, and of files with their contents.
func imageOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	root := &erofs.Node{Mode: erofs.Directory | 0o755}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		node := &erofs.Node{Mode: erofs.Directory | 0o755}
		if content := files[name]; content != nil {
			node = &erofs.Node{Mode: erofs.Regular | 0o755, Size: uint64(len(content)),
				Content: bytesOf(content)}
		}
		must(t, root.Put(name, node))
	}
	plan, err := erofs.NewPlan(root)
	must(t, err)
	var out bytes.Buffer
	must(t, plan.Write(t.Context(), &out, func(int64) {}))
	return out.Bytes()
}

// serve keeps the state for the next sandbox.
func (f *fixture) serve() *state.Served {
	f.t.Helper()
	s, err := state.Serve(state.ServeConfig{Config: state.Config{Dir: f.dir, Anchor: f.anchor,
		Keys: []client.StateKey{{SVN: 1, Key: [32]byte{1, 2, 3}}}, Bytes: 200 << 20},
		Log: func(text string) { f.t.Log("state: " + text) }})
	must(f.t, err)
	return s
}

// create makes a sandbox that has the state at /state.
func (f *fixture) create(out *os.File, args ...string) (*runtime.Sandbox, error) {
	f.t.Helper()
	f.runs++
	spec := runtime.Spec{
		ID:    fmt.Sprintf("state-%s-%d", strings.ToLower(strings.ReplaceAll(f.t.Name(), "/", "-")), f.runs),
		Class: runtime.Sentry, Root: runtime.Root{Image: f.image, Digest: f.digest},
		Args: append([]string{"/inside"}, args...), Cwd: "/", Overlay: f.overlay,
		Network: runtime.Network{Mode: "none"}, Volumes: f.volumes,
		Sealed: append(f.sealed, runtime.Sealed{Sort: "state", Dir: f.dir, Target: "/state"}),
	}
	s, err := f.host.Create(f.t.Context(), spec, runtime.Stdio{Stdout: out, Stderr: out})
	if err != nil {
		return nil, err
	}
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Remove(ctx, true); err != nil && !errs.Is(err, errs.NotFound) {
			f.t.Error(err)
		}
	})
	return s, s.Start(f.t.Context())
}

// run runs a program to its end and returns what it printed.
func (f *fixture) run(args ...string) string {
	f.t.Helper()
	served := f.serve()
	read, write, err := os.Pipe()
	must(f.t, err)
	defer read.Close()
	s, err := f.create(write, args...)
	write.Close()
	if err != nil {
		f.t.Fatalf("%v; the state: %v", err, served.Refusal())
	}
	out, err := io.ReadAll(read)
	must(f.t, err)
	st, err := s.Wait(f.t.Context())
	must(f.t, err)
	must(f.t, served.Close(f.t.Context()))
	if st.ExitCode != 0 {
		f.t.Fatalf("%v: exit %d, %s: %s", args, st.ExitCode, st.Reason, out)
	}
	return string(out)
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
