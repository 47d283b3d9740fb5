//go:build amd64

package inside_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
	"surety/enclave/state"
	"surety/sandbox/image/erofs"
	"surety/sandbox/runtime"
)

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
