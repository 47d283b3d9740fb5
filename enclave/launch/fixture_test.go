package launch

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/layer"
	"surety/enclave/pack"
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

// inside is the enclave's program: one word of what to do, then its arguments.
func inside(words []string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 100
	}
	switch words[0] {
	case "read":
		for _, name := range words[1:] {
			content, err := os.ReadFile(name)
			if err != nil {
				return fail(err)
			}
			os.Stdout.Write(content)
		}
	case "copy":
		content, err := os.ReadFile(words[1])
		if err == nil {
			err = os.WriteFile(words[2], content, 0o600)
		}
		if err != nil {
			return fail(err)
		}
	case "env":
		fmt.Println(strings.Join(os.Environ(), " "))
	case "args":
		fmt.Println(strings.Join(words[1:], " "))
	case "serve":
		l, err := net.Listen("tcp", ":80")
		if err != nil {
			return fail(err)
		}
		fmt.Println("up")
		for {
			conn, err := l.Accept()
			if err != nil {
				return fail(err)
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}
	return 0
}

// secretWord is what the secret layer holds, and what is searched for outside.
const secretWord = "the model of nobody else"

// fixture is a machine with a simulated device, a local broker, and a project's files.
type fixture struct {
	t        *testing.T
	dir      string
	host     *runtime.Host
	device   attest.Device
	verifier *attest.Verifier
	signer   ed25519.PrivateKey
	key      layer.Key
	manifest enclave.Manifest
	held     *Local // nil until first asked for
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	if !runtime.Possible() {
		t.Skip("sandboxes need a static program: CGO_ENABLED=0, as the Makefile has it")
	}
	f := &fixture{t: t, dir: t.TempDir(), signer: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))}
	f.key[0], f.key[31] = 7, 9
	options := attest.Options{SimDir: filepath.Join(f.dir, "simulated")}
	var err error
	if f.device, err = attest.OpenDevice(t.Context(), enclave.Sim, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.device.Close() })
	root, err := attest.SimRoot(options)
	if err != nil {
		t.Fatal(err)
	}
	if f.verifier, err = attest.NewVerifier(attest.Roots{Sim: [][]byte{root}}); err != nil {
		t.Fatal(err)
	}
	if f.host, err = runtime.Open(runtime.Config{Root: filepath.Join(f.dir, "host")}); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	f.file("root/bin/inside", self)
	f.file("root/etc/word", []byte("public"))
	f.file("secret/word", []byte(secretWord))
	f.manifest = enclave.Manifest{Format: enclave.FormatNow, Name: "teller", Product: "tellers", SVN: 2,
		Command: []string{"/bin/inside", "read", "/secret/word"}, Cwd: "/", Network: enclave.NetworkNone,
		Brokers: []enclave.Broker{{Name: enclave.LocalBroker}}}
	return f
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fixture) file(name string, content []byte) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(f.path(name), content, 0o755); err != nil {
		f.t.Fatal(err)
	}
}

// build makes a bundle of the fixture's files and manifest.
func (f *fixture) build(name string) *pack.Bundle {
	f.t.Helper()
	b, err := pack.Build(f.t.Context(), f.path(name), f.manifest, []pack.Part{
		{Name: "root", Kind: enclave.Public, Target: "/", Dir: f.path("root")},
		{Name: "secret", Kind: enclave.Secret, Target: "/secret", Dir: f.path("secret"), Key: f.key,
			KeyRef: enclave.LocalBroker + "/tellers/layer/secret"},
	}, f.signer, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { b.Close() })
	return b
}

// keys has the owner's key for the secret layer.
func (f *fixture) keys(name string) (layer.Key, error) {
	if name == "secret" {
		return f.key, nil
	}
	return layer.Key{}, errs.New(errs.NotFound, "no key for %s", name)
}

// local is the machine's broker, held, with the bundle's secrets entrusted to it.
func (f *fixture) local(b *pack.Bundle) *Local {
	f.t.Helper()
	if f.held == nil {
		f.held = f.broker()
		if err := f.held.Hold(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() { f.held.LetGo() })
	}
	if err := f.held.Entrust(f.t.Context(), b, f.keys); err != nil {
		f.t.Fatal(err)
	}
	return f.held
}

func (f *fixture) broker() *Local {
	f.t.Helper()
	l, err := NewLocal(LocalConfig{Dir: f.path("broker"), Device: f.device, Verifier: f.verifier})
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

// order starts a bundle with the machine's broker.
func (f *fixture) order(b *pack.Bundle, l *Local) Order {
	return Order{Instance: "e-" + strings.ToLower(strings.ReplaceAll(f.t.Name(), "/", "-")), Bundle: b,
		Device: f.device, Brokers: map[string]BrokerAt{enclave.LocalBroker: l.At()},
		StateDir: f.path("states")}
}

func (f *fixture) deps() Deps { return Deps{Host: f.host} }

// opened opens, and closes when the test ends.
func (f *fixture) opened(o Order) *Opened {
	f.t.Helper()
	p, err := Open(f.t.Context(), f.deps(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			f.t.Error(err)
		}
	})
	return p
}

// run runs an opened enclave to its end.
func (f *fixture) run(p *Opened) (string, runtime.State) {
	f.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	defer read.Close()
	s, err := p.Create(f.t.Context(), runtime.Stdio{Stdout: write, Stderr: write})
	write.Close()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := s.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
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
