package runtime_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/image"
	"surety/sandbox/runtime"
)

// imageOf makes an image that holds the test binary as /inside.
func (f *fixture) imageOf() runtime.Root {
	f.t.Helper()
	store, err := image.Open(f.host.Root())
	if err != nil {
		f.t.Fatal(err)
	}
	made, err := store.Add(f.t.Context(), image.Source{Kind: image.Program,
		Where: filepath.Join(f.root, "inside")}, "inside")
	if err != nil {
		f.t.Fatal(err)
	}
	return runtime.Root{Image: made.Path, Digest: made.Digest}
}

// take takes one of a pool and returns what its program wrote.
func (f *fixture) take(p *runtime.Pool, input string) string {
	f.t.Helper()
	in, write, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	read, out, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	defer read.Close()
	s, err := p.Take(f.t.Context(), runtime.Stdio{Stdin: in, Stdout: out})
	in.Close()
	out.Close()
	if err != nil {
		write.Close()
		f.t.Fatal(err)
	}
	if _, err := io.WriteString(write, input); err != nil {
		f.t.Fatal(err)
	}
	write.Close()
	text, err := io.ReadAll(read)
	if err != nil {
		f.t.Fatal(err)
	}
	if st, err := s.Wait(f.t.Context()); err != nil || st.ExitCode != 0 {
		f.t.Errorf("%+v, %v", st, err)
	}
	return string(text)
}

func TestPool(t *testing.T) {
	f := newFixture(t)
	spec := f.spec("copy")
	spec.Root = f.imageOf()
	p, err := f.host.MakePool(t.Context(), "jobs", 2, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if _, err := f.host.MakePool(t.Context(), "jobs", 2, spec); !errs.Is(err, errs.Exists) {
		t.Errorf("a second pool of the name: %v", err)
	}
	for _, text := range []string{"first", "second"} {
		if got := f.take(p, text); got != text {
			t.Errorf("wrote %q, read %q", text, got)
		}
	}
	if n := p.Ready(); n != 0 {
		t.Errorf("%d ready of none", n)
	}
	if _, err := p.Take(t.Context(), runtime.Stdio{}); !errs.Is(err, errs.Busy) {
		t.Errorf("an empty pool: %v", err)
	}
	if err := p.Fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := f.host.FindPool("jobs")
	if err != nil || again.Ready() != 2 {
		t.Fatalf("filled: %v", err)
	}
	if got := f.take(again, "third"); got != "third" {
		t.Errorf("read %q", got)
	}
}

func TestSnapshot(t *testing.T) {
	f := newFixture(t)
	spec := f.spec("count")
	spec.Root = f.imageOf()
	s, out := f.start(spec, "")
	buf := make([]byte, 16)
	if _, err := out.Read(buf); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "snapshot")
	if err := s.Checkpoint(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	st, err := s.Wait(t.Context())
	if err != nil || st.Reason != "checkpointed" {
		t.Fatalf("%+v, %v", st, err)
	}
	counted := lastNumber(t, out)
	restored, err := runtime.ReadSnapshot(dir)
	if err != nil {
		t.Fatal(err)
	}
	restored.ID, restored.Snapshot = spec.ID+"-again", dir
	_, out = f.start(restored, "")
	if n, err := out.Read(buf); err != nil || first(string(buf[:n])) <= counted {
		t.Errorf("went on with %q after %d, %v", buf[:n], counted, err)
	}
	pages := filepath.Join(dir, "pages.img")
	content, err := os.ReadFile(pages)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(pages, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.ReadSnapshot(dir); !errs.Is(err, errs.Corrupt) ||
		!strings.Contains(err.Error(), "pages.img") {
		t.Errorf("a changed snapshot: %v", err)
	}
}

// lastNumber is the last whole number of what is left in a stream.
func lastNumber(t *testing.T, from io.Reader) int {
	t.Helper()
	content, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(content))
	if len(lines) == 0 {
		return 0
	}
	return first(lines[len(lines)-1])
}

// first is the number at the front of a text.
func first(text string) int {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}

func TestPublishedPort(t *testing.T) {
	f := newFixture(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	spec := f.spec("serve")
	spec.Root = f.imageOf()
	spec.Network = runtime.Network{Mode: "stack",
		Ports: []runtime.Port{{Host: address, Inside: 80, Protocol: "tcp"}}}
	_, out := f.start(spec, "")
	buf := make([]byte, 16)
	if n, err := out.Read(buf); string(buf[:n]) != "up\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	client := http.Client{Timeout: 20 * time.Second}
	answer, err := client.Get("http://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); string(text) != "from inside" {
		t.Errorf("%q, %v", text, err)
	}
	taken := f.spec("serve")
	taken.ID += "2"
	taken.Network = spec.Network
	if _, err := f.host.Create(t.Context(), taken, runtime.Stdio{}); err == nil ||
		!strings.Contains(err.Error(), "network.ports[0]") {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestConnectRefused(t *testing.T) {
	f := newFixture(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for mode, want := range map[string]string{"host": "permission denied", "stack": "permission denied",
		"none": "permission denied"} {
		spec := f.spec("dial", listener.Addr().String())
		spec.ID += mode
		spec.Root = f.imageOf()
		spec.Network.Mode = mode
		spec.Policy = &sandbox.Policy{Version: "v1", Mode: "enforce", Default: "allow",
			Network: []sandbox.NetRule{{Deny: "127.0.0.0/8", Act: []string{"connect"}}}}
		out, st := f.run(spec, "")
		if st.ExitCode == 0 || !strings.Contains(out, want) {
			t.Errorf("network %s: %q, exit %d", mode, out, st.ExitCode)
		}
	}
}
