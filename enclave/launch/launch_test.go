package launch

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/sandbox/runtime"
	"surety/sandbox/trail"
)

func TestRun(t *testing.T) {
	f := newFixture(t)
	b := f.build("bundle")
	p := f.opened(f.order(b, f.local(b)))
	out, st := f.run(p)
	if out != secretWord || st.ExitCode != 0 {
		t.Fatalf("%q, exit %d (%s)", out, st.ExitCode, st.Reason)
	}
	proof := p.Proof()
	if proof.TEE != enclave.Sim || proof.Guarantee != enclave.Simulated || proof.Measure != b.Signed().Measure ||
		proof.Signer != b.Signed().Signer || len(proof.Released) != 1 || proof.Tokens["local"] == "" ||
		proof.Released[0].Resource != "tellers/layer/secret" || proof.Released[0].Record == "" {
		t.Errorf("proof %+v", proof)
	}
	if st.Spec.Labels[LabelMeasure] != proof.Measure.String() || st.Spec.Labels[LabelGuarantee] != "simulated" {
		t.Errorf("labels %v", st.Spec.Labels)
	}
	report, err := trail.Verify(st.Trail, trail.Check{})
	if err != nil || report.Birth == nil || len(report.Birth.Layers) != 1 ||
		report.Birth.Layers[0].Digest != b.Signed().Manifest.Layers[1].Root.String() {
		t.Errorf("birth %+v, %v", report.Birth, err)
	}
	for _, key := range p.keys {
		if key != (layer.Key{}) {
			t.Error("a key was kept")
		}
	}
	if at := f.found(secretWord); at != nil {
		t.Errorf("the secret is on the disk: %v", at)
	}
	t.Logf("timings %v", p.Timings())
}

// found lists the files below the fixture that hold a word, but for the owner's own.
func (f *fixture) found(word string) (at []string) {
	err := filepath.WalkDir(f.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || path == f.path("secret/word") ||
			filepath.Base(path) == "inside" || filepath.Base(path) == "root.erofs" {
			return err // the program has the word in its text
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(word)) {
			at = append(at, path)
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return at
}

// remains names what a start that failed left behind.
func (f *fixture) remains() (left []string) {
	if list, err := f.host.List(); err != nil || len(list) > 0 {
		left = append(left, "sandboxes")
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, fd := range fds {
		if link, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.Contains(link, "surety-secret") ||
			strings.Contains(link, "surety-image") {
			left = append(left, link)
		}
	}
	if notices, _ := filepath.Glob(filepath.Join(f.host.Root(), "seals", "*.*")); len(notices) > 0 {
		left = append(left, notices...)
	}
	return left
}

// TestFaults fails behind each step: nothing is left, and the next start goes well.
func TestFaults(t *testing.T) {
	f := newFixture(t)
	f.manifest.State = []enclave.State{{Name: "book", Target: "/book", Bytes: 1 << 20,
		Broker: enclave.LocalBroker}}
	b := f.build("bundle")
	l := f.local(b)
	fault := errors.New("planted")
	for _, step := range (&Opened{}).steps() {
		p, err := open(t.Context(), f.deps(), f.order(b, l), func(name string) error {
			if name == step.name {
				return fault
			}
			return nil
		})
		if p != nil || !errors.Is(err, fault) || !strings.Contains(err.Error(), "launch."+step.name) {
			t.Fatalf("%s: %v", step.name, err)
		}
		if left := f.remains(); left != nil {
			t.Errorf("%s: left %v", step.name, left)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err = open(ctx, f.deps(), f.order(b, l), func(name string) error {
			if name == step.name {
				cancel()
				return ctx.Err()
			}
			return nil
		})
		if err == nil {
			t.Fatalf("%s: a start that was given up went on", step.name)
		}
		if left := f.remains(); left != nil {
			t.Errorf("%s, given up: left %v", step.name, left)
		}
	}
	f.opened(f.order(b, l)) // the lease of the state was given back each time
}

// TestOrderRefused asks for what the manifest does not leave open.
func TestOrderRefused(t *testing.T) {
	f := newFixture(t)
	f.manifest.EnvNames = []string{"LEVEL"}
	b := f.build("bundle")
	l := f.local(b)
	for _, row := range [...]struct {
		says   string
		kind   errs.Kind
		change func(*Order)
	}{
		{"no bundle", errs.Invalid, func(o *Order) { o.Bundle = nil }},
		{"no device", errs.Invalid, func(o *Order) { o.Device = nil }},
		{"leaves no arguments", errs.Refused, func(o *Order) { o.Args = []string{"x"} }},
		{"does not leave the variable LD_PRELOAD", errs.Refused, func(o *Order) { o.Env = []string{"LD_PRELOAD=/x"} }},
		{"not of the form", errs.Invalid, func(o *Order) { o.Env = []string{"LEVEL"} }},
		{"set twice", errs.Invalid, func(o *Order) { o.Env = []string{"LEVEL=1", "LEVEL=2"} }},
		{"shows nothing of the host at /x", errs.Refused, func(o *Order) { o.Shown = map[string]string{"/x": "/tmp"} }},
		{"no port can be published", errs.Refused, func(o *Order) {
			o.Ports = []runtime.Port{{Host: "127.0.0.1:0", Inside: 80, Protocol: "tcp"}}
		}},
		{"say where it is", errs.Invalid, func(o *Order) { o.Brokers = nil }},
		{"say which it is", errs.Invalid, func(o *Order) {
			o.Brokers = map[string]BrokerAt{enclave.LocalBroker: {URL: "http://127.0.0.1"}}
		}},
		{"names no broker", errs.Refused, func(o *Order) {
			o.Brokers = map[string]BrokerAt{enclave.LocalBroker: l.At(), "other": l.At()}
		}},
		{"not the caller's", errs.Invalid, func(o *Order) { o.Labels = map[string]string{LabelDebug: "false"} }},
		{"id:", errs.Invalid, func(o *Order) { o.Instance = "../x" }},
	} {
		o := f.order(b, l)
		row.change(&o)
		if _, err := Open(t.Context(), f.deps(), o); !errs.Is(err, row.kind) ||
			!strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.says, err)
		}
	}
	if left := f.remains(); left != nil {
		t.Errorf("left %v", left)
	}
}

// TestOpenEnds has the manifest leave things open.
func TestOpenEnds(t *testing.T) {
	f := newFixture(t)
	f.manifest.Command = []string{"/bin/inside"}
	f.manifest.Args, f.manifest.Debug = true, true
	f.manifest.Env, f.manifest.EnvNames = []string{"LEVEL=1", "FIXED=yes"}, []string{"LEVEL"}
	b := f.build("bundle")
	l := f.local(b)
	for _, row := range [...]struct {
		args, env []string
		wants     []string
	}{
		{[]string{"env"}, nil, []string{"LEVEL=1", "FIXED=yes"}},
		{[]string{"env"}, []string{"LEVEL=7"}, []string{"LEVEL=7", "FIXED=yes"}},
		{[]string{"args", "a", "b"}, nil, []string{"a b\n"}},
	} {
		o := f.order(b, l)
		o.Args, o.Env = row.args, row.env
		p := f.opened(o)
		if p.Spec.Closed != nil {
			t.Error("a debug build is closed")
		}
		out, _ := f.run(p)
		for _, want := range row.wants {
			if !strings.Contains(out, want) {
				t.Errorf("%v: %q", row, out)
			}
		}
	}
}

// TestPolicy has the manifest's own sandbox policy refuse the program a file.
func TestPolicy(t *testing.T) {
	f := newFixture(t)
	f.manifest.Command = []string{"/bin/inside", "read", "/etc/word"}
	f.manifest.Policy = []byte("policy: v1\nmode: enforce\ndefault: allow\nfiles:\n  - deny: /etc/word\n")
	b := f.build("bundle")
	p := f.opened(f.order(b, f.local(b)))
	if out, st := f.run(p); st.ExitCode == 0 || strings.Contains(out, "public") {
		t.Errorf("a file that the policy denies: %q, exit %d", out, st.ExitCode)
	}
	f.manifest.Policy = []byte("policy: v1\nmode: sometimes\n")
	bad := f.build("bad")
	if _, err := Open(t.Context(), f.deps(), f.order(bad, f.local(bad))); !errs.Is(err, errs.Invalid) ||
		!strings.Contains(err.Error(), "policy of teller") {
		t.Errorf("a policy that is none: %v", err)
	}
}

// TestLocalTurns has two holders of one store: the second waits for the first, and what is asked
// between finds it open.
func TestLocalTurns(t *testing.T) {
	f := newFixture(t)
	first, second := f.broker(), f.broker()
	if err := first.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- second.Hold(t.Context()) }()
	gaveUp, cancel := context.WithCancel(t.Context())
	third := make(chan error, 1)
	go func() { third <- f.broker().Hold(gaveUp) }()
	cancel()
	if err := <-third; !errs.Is(err, errs.Locked) && !errs.Is(err, errs.Canceled) {
		t.Errorf("one who gave up: %v", err)
	}
	if err := first.LetGo(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	key := second.At().Key
	if err := errors.Join(second.LetGo(), first.Hold(t.Context())); err != nil {
		t.Fatal(err)
	}
	if first.At().Key != key || key.IsZero() {
		t.Error("the store has another key for another holder")
	}
	if err := first.LetGo(); err != nil {
		t.Fatal(err)
	}
}

// flip changes one bit of a file.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	one := make([]byte, 1)
	if _, err := file.ReadAt(one, at); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 0x10
	if _, err := file.WriteAt(one, at); err != nil {
		t.Fatal(err)
	}
}

// TestFilesRefused changes one bit of each file of a bundle, at its beginning, middle and end.
func TestFilesRefused(t *testing.T) {
	f := newFixture(t)
	b := f.build("bundle")
	l := f.local(b)
	for i, name := range []string{"layers/root.erofs", "layers/secret.sealed"} {
		path := filepath.Join(b.Path(), name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int64{0, 100, info.Size() / 2, info.Size() - 1} {
			flip(t, path, at)
			p, err := Open(t.Context(), f.deps(), f.order(b, l))
			if !errs.Is(err, errs.Corrupt) {
				t.Errorf("%s at %d: %v", name, at, err)
				if p != nil {
					p.Close(t.Context())
				}
			}
			flip(t, path, at)
		}
		if err := os.Truncate(path, info.Size()-4096); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), f.deps(), f.order(b, l)); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s, cut: %v", name, err)
		}
		if left := f.remains(); left != nil {
			t.Fatalf("left %v", left)
		}
		if i == 0 {
			b = f.build("again")
		}
	}
}

// TestKeysRefused has the broker keep something else than the layer's key, or refuse it.
func TestKeysRefused(t *testing.T) {
	f := newFixture(t)
	b := f.build("bundle")
	l := f.local(b)
	put := func(secret []byte) {
		t.Helper()
		if err := l.broker.PutSecret(t.Context(), "tellers", "layer", "secret", secret, true); err != nil {
			t.Fatal(err)
		}
	}
	wrong := f.key
	wrong[5] ^= 1
	put(wrong[:])
	if _, err := Open(t.Context(), f.deps(), f.order(b, l)); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("another key: %v", err)
	}
	put(f.key[:16])
	if _, err := Open(t.Context(), f.deps(), f.order(b, l)); !errs.Is(err, errs.Unauthorized) ||
		!strings.Contains(err.Error(), "16 bytes") {
		t.Errorf("half a key: %v", err)
	}
	put(f.key[:])
	signed := b.Signed()
	other := enclave.Policy{Name: "others", TCB: enclave.TCBUnknown,
		Machines: []enclave.MachineRule{{TEE: enclave.Sim, Roots: []enclave.KeyID{{1}}}},
		Signers:  []enclave.SignerRule{{Signer: signed.Signer, Product: "tellers", MinSVN: 3}}}
	if err := l.broker.SetPolicy(t.Context(), "tellers", "layer/secret", other); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), f.deps(), f.order(b, l)); !errs.Is(err, errs.Forbidden) {
		t.Errorf("a policy for others: %v", err)
	}
	if left := f.remains(); left != nil {
		t.Errorf("left %v", left)
	}
}

// gone is a broker that answers so many requests and is then away.
type gone struct {
	to   http.RoundTripper
	left int
}

func (g *gone) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.left--; g.left < 0 {
		return nil, errors.New("connection refused")
	}
	return g.to.RoundTrip(r)
}

// TestBrokerGone has the broker go away behind each of its answers.
func TestBrokerGone(t *testing.T) {
	f := newFixture(t)
	b := f.build("bundle")
	l := f.local(b)
	for answers := 0; ; answers++ {
		o := f.order(b, l)
		at := o.Brokers[enclave.LocalBroker]
		at.Transport = &gone{to: at.Transport, left: answers}
		o.Brokers = map[string]BrokerAt{enclave.LocalBroker: at}
		p, err := Open(t.Context(), f.deps(), o)
		if err == nil {
			if answers < 3 {
				t.Errorf("opened with %d answers of challenge, evidence and key", answers)
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			break
		}
		if !errs.Is(err, errs.Unavailable) {
			t.Errorf("after %d answers: %v", answers, err)
		}
		if left := f.remains(); left != nil {
			t.Errorf("after %d answers: left %v", answers, left)
		}
	}
}

// TestState writes to a sealed state in one run and reads it in the next, by a newer build too.
func TestState(t *testing.T) {
	f := newFixture(t)
	f.manifest.State = []enclave.State{{Name: "book", Target: "/book", Bytes: 1 << 20,
		Broker: enclave.LocalBroker}}
	f.manifest.Command = []string{"/bin/inside", "copy", "/secret/word", "/book/page"}
	writer := f.build("writer")
	f.manifest.Command = []string{"/bin/inside", "read", "/book/page"}
	f.manifest.SVN = 3
	reader := f.build("reader")
	first := f.opened(f.order(writer, f.local(writer)))
	second := f.order(writer, f.local(writer))
	if _, err := Open(t.Context(), f.deps(), second); !errs.Is(err, errs.Locked) {
		t.Errorf("two at once: %v", err)
	}
	if out, st := f.run(first); st.ExitCode != 0 {
		t.Fatalf("write: %q, exit %d (%s)", out, st.ExitCode, st.Reason)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := f.found(secretWord); at != nil {
		t.Errorf("the state is readable: %v", at)
	}
	newer := f.opened(f.order(reader, f.local(reader)))
	if out, st := f.run(newer); out != secretWord {
		t.Errorf("read: %q, exit %d (%s)", out, st.ExitCode, st.Reason)
	}
}

// TestExecClosed asks the supervisor for what the manifest does not list.
func TestExecClosed(t *testing.T) {
	f := newFixture(t)
	f.manifest.Command = []string{"/bin/inside", "serve"}
	f.manifest.Network = enclave.NetworkStack
	f.manifest.Entries = []string{"/bin/inside"}
	b := f.build("bundle")
	p := f.opened(f.order(b, f.local(b)))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	s, err := p.Create(t.Context(), runtime.Stdio{Stdout: write, Stderr: write})
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove(context.Background(), true)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := read.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Exec(t.Context(), runtime.Process{Args: []string{"/bin/sh"}}, runtime.Stdio{}); !errs.Is(err,
		errs.Refused) {
		t.Errorf("exec of /bin/sh: %v", err)
	}
	code, err := s.Exec(t.Context(), runtime.Process{Args: []string{"/bin/inside", "read", "/etc/word"}},
		runtime.Stdio{})
	if err != nil || code != 0 {
		t.Errorf("exec of an entry: %d, %v", code, err)
	}
}
