package runtime_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/sandbox/image"
	"surety/sandbox/image/erofs"
	"surety/sandbox/runtime"
)

// bytesOf is a file's content.
type bytesOf []byte

func (b bytesOf) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// imageOf is an EROFS image of directories, and of files with their contents.
func imageOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	root := &erofs.Node{Mode: erofs.Directory | 0o755}
	for name, content := range files {
		node := &erofs.Node{Mode: erofs.Directory | 0o755}
		if content != nil {
			node = &erofs.Node{Mode: erofs.Regular | 0o755, Size: uint64(len(content)),
				Content: bytesOf(content)}
		}
		if err := root.Put(name, node); err != nil {
			t.Fatal(err)
		}
	}
	plan, err := erofs.NewPlan(root)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := plan.Write(context.Background(), &out, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// layered is a spec whose root is a read-only image, with a public layer of a file at /public and a
// secret one at /secret.
func (f *fixture) layered(args ...string) runtime.Spec {
	f.t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		f.t.Fatal(err)
	}
	write := func(name string, content []byte) (string, string) {
		path := filepath.Join(filepath.Dir(f.root), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			f.t.Fatal(err)
		}
		return path, fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	}
	spec := f.spec(args...)
	spec.Overlay, spec.Root = "none", runtime.Root{}
	spec.Root.Image, spec.Root.Digest = write("root.erofs", imageOf(f.t, map[string][]byte{
		"inside": self, "dev": nil, "proc": nil, "sys": nil, "tmp": nil, "public": nil, "secret": nil}))
	public, digest := write("public.erofs", imageOf(f.t, map[string][]byte{"word": []byte("shown")}))
	memory := f.secret(imageOf(f.t, map[string][]byte{"word": []byte("kept")}))
	spec.Layers = []runtime.Layer{{Path: public, Digest: digest, Target: "/public"},
		{Memory: memory, Digest: "sha384:" + strings.Repeat("ab", 48), Target: "/secret"}}
	return spec
}

// secret is an image in sealed memory.
func (f *fixture) secret(content []byte) *image.Memory {
	f.t.Helper()
	m, err := image.NewMemory(int64(len(content)))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { m.Close() })
	if _, err := m.WriteAt(content, 0); err != nil {
		f.t.Fatal(err)
	}
	if err := m.Seal(); err != nil {
		f.t.Fatal(err)
	}
	return m
}

func TestLayers(t *testing.T) {
	f := newFixture(t)
	for _, overlay := range []string{"none", "memory"} {
		for word, want := range map[string]string{"/public/word": "shown", "/secret/word": "kept"} {
			spec := f.layered("read", word)
			spec.Overlay = overlay
			if out, st := f.run(spec, ""); out != want || st.ExitCode != 0 {
				t.Errorf("overlay %s: %s holds %q, exit %d (%s)", overlay, word, out, st.ExitCode, st.Reason)
			}
		}
		beside := f.layered("read", "/secret/word")
		beside.Overlay = overlay
		beside.Volumes = []runtime.Volume{{Source: t.TempDir(), Target: "/tmp"}}
		if out, st := f.run(beside, ""); out != "kept" {
			t.Errorf("overlay %s, beside a volume: %q (%s)", overlay, out, st.Reason)
		}
		spec := f.layered("write", "/secret/word", "other")
		spec.Overlay = overlay
		if _, st := f.run(spec, ""); st.ExitCode == 0 {
			t.Errorf("overlay %s: a layer was written to", overlay)
		}
	}
}

// TestSecretLayer lets go of the memory once the sandbox is there: the supervisor has it, locked, and
// nobody was told where.
func TestSecretLayer(t *testing.T) {
	f := newFixture(t)
	spec := f.layered("stay")
	s, out := f.start(spec, "")
	if err := spec.Layers[1].Memory.Close(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, err := out.Read(buf); string(buf[:n]) != "up\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	code, err := s.Exec(t.Context(), runtime.Process{Args: []string{"/inside", "read", "/secret/word"}},
		runtime.Stdio{Stdout: write, Stderr: write})
	write.Close()
	said, _ := io.ReadAll(read)
	read.Close()
	if err != nil || code != 0 || string(said) != "kept" {
		t.Errorf("exec: %q, exit %d, %v", said, code, err)
	}
	if err := s.Checkpoint(t.Context(), filepath.Join(t.TempDir(), "snap"), true); !errs.Is(err, errs.Refused) {
		t.Errorf("a snapshot of secrets: %v", err)
	}
	st, err := s.State()
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", st.Supervisor))
	if err != nil || os.Geteuid() == 0 && bytes.Contains(status, []byte("VmLck:\t       0 kB")) {
		t.Errorf("the supervisor has nothing locked: %v", err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", st.Kernel))
	if err != nil || !strings.Contains(string(limits), "Max core file size        1  ") &&
		!strings.Contains(string(limits), "Max core file size        0  ") {
		t.Errorf("the kernel may dump core: %v\n%s", err, limits)
	}
	if notices, _ := filepath.Glob(filepath.Join(f.host.Root(), "seals", "*.*")); len(notices) != 2 {
		t.Errorf("notices of %d images, want those of root and public layer: %v", len(notices), notices)
	}
	content, err := os.ReadFile(filepath.Join(f.host.Root(), "instances", s.ID(), "spec.json"))
	if err != nil || !bytes.Contains(content, []byte(spec.Layers[1].Digest)) {
		t.Errorf("the spec on disk does not name the layer: %v", err)
	}
	b := verified(t, st.Trail).Birth
	if b == nil || len(b.Layers) != 2 || b.Layers[0].Digest != spec.Layers[0].Digest ||
		b.Layers[1].Digest != spec.Layers[1].Digest || b.Layers[1].Target != "/secret" {
		t.Errorf("birth %+v", b)
	}
}

func TestLayersRefused(t *testing.T) {
	f := newFixture(t)
	unsealed, err := image.NewMemory(4096)
	if err != nil {
		t.Fatal(err)
	}
	defer unsealed.Close()
	for _, row := range [...]struct {
		field  string
		kind   errs.Kind
		change func(*runtime.Spec)
	}{
		{"layers[1]: exactly one", errs.Invalid, func(s *runtime.Spec) { s.Layers[1].Memory = nil }},
		{"layers[0]: exactly one", errs.Invalid, func(s *runtime.Spec) { s.Layers[0].Memory = s.Layers[1].Memory }},
		{"layers[0].path", errs.Invalid, func(s *runtime.Spec) { s.Layers[0].Path = "x/../y" }},
		{"layers[1].memory", errs.Invalid, func(s *runtime.Spec) { s.Layers[1].Memory = unsealed }},
		{"layers[1].digest", errs.Invalid, func(s *runtime.Spec) { s.Layers[1].Digest = "kept" }},
		{"layers[1].target", errs.Invalid, func(s *runtime.Spec) { s.Layers[1].Target = "/" }},
		{"is there twice", errs.Invalid, func(s *runtime.Spec) { s.Layers[1].Target = "/public" }},
		{"class vm", errs.Invalid, func(s *runtime.Spec) { s.Class = runtime.VM }},
		{"snapshot", errs.Invalid, func(s *runtime.Spec) { s.Snapshot = "/snap" }},
		{"no /elsewhere to mount on", errs.Invalid, func(s *runtime.Spec) { s.Layers[1].Target = "/elsewhere" }},
		{"no /tmp", errs.Invalid, func(s *runtime.Spec) {
			bare := filepath.Join(filepath.Dir(f.root), "bare.erofs")
			content := imageOf(f.t, map[string][]byte{"dev": nil, "proc": nil, "sys": nil, "public": nil,
				"secret": nil})
			if err := os.WriteFile(bare, content, 0o600); err != nil {
				t.Fatal(err)
			}
			s.Root.Image, s.Root.Digest = bare, fmt.Sprintf("sha256:%x", sha256.Sum256(content))
		}},
		{"has digest", errs.Corrupt, func(s *runtime.Spec) {
			s.Layers[0].Digest = "sha256:" + strings.Repeat("0", 64)
		}},
	} {
		spec := f.layered("say")
		row.change(&spec)
		_, err := f.host.Create(t.Context(), spec, runtime.Stdio{})
		if !errs.Is(err, row.kind) || !strings.Contains(err.Error(), row.field) {
			t.Errorf("%s: %v", row.field, err)
		}
	}
	if list, err := f.host.List(); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// TestClosed asks a supervisor whose sandbox nobody may look into.
func TestClosed(t *testing.T) {
	f := newFixture(t)
	spec := f.spec("stay")
	spec.Closed = &runtime.Closed{Entries: []string{"/inside"}}
	s, out := f.start(spec, "")
	if n, err := out.Read(make([]byte, 16)); n == 0 {
		t.Fatal(err)
	}
	for _, row := range [...]struct {
		p    runtime.Process
		says string
	}{
		{runtime.Process{Args: []string{"/bin/sh"}}, "/bin/sh is not one of the programs"},
		{runtime.Process{Args: []string{"/inside", "exit", "0"}, Env: []string{"LD_PRELOAD=x"}}, "environment"},
		{runtime.Process{Args: []string{"/inside", "exit", "0"}, User: &runtime.User{}}, "own user"},
	} {
		if _, err := s.Exec(t.Context(), row.p, runtime.Stdio{}); !errs.Is(err, errs.Refused) ||
			!strings.Contains(err.Error(), row.says) {
			t.Errorf("%v: %v", row.p, err)
		}
	}
	code, err := s.Exec(t.Context(), runtime.Process{Args: []string{"/inside", "exit", "3"}}, runtime.Stdio{})
	if err != nil || code != 3 {
		t.Errorf("an entry: %d, %v", code, err)
	}
	if err := s.Checkpoint(t.Context(), filepath.Join(t.TempDir(), "snap"), true); !errs.Is(err, errs.Refused) {
		t.Errorf("a snapshot: %v", err)
	}
}

// TestDial comes to a port inside without one of the host.
func TestDial(t *testing.T) {
	f := newFixture(t)
	if os.Geteuid() != 0 {
		return // a network of its own is root's here
	}
	spec := f.spec("serve")
	spec.Network.Mode = "stack"
	s, out := f.start(spec, "")
	if n, err := out.Read(make([]byte, 16)); n == 0 {
		t.Fatal(err)
	}
	conn, err := s.Dial(t.Context(), 80)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(said), "from inside") {
		t.Errorf("%q, %v", said, err)
	}
	silent, err := s.Dial(t.Context(), 81)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("something listens at port 81")
	}
	if _, err := s.Dial(t.Context(), 0); !errs.Is(err, errs.Invalid) {
		t.Errorf("port 0: %v", err)
	}
	apart := f.spec("stay")
	apart.ID += "2"
	other, up := f.start(apart, "")
	if n, err := up.Read(make([]byte, 16)); n == 0 {
		t.Fatal(err)
	}
	if _, err := other.Dial(t.Context(), 80); !errs.Is(err, errs.Refused) {
		t.Errorf("without a network: %v", err)
	}
}
