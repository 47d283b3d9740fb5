package broker_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/broker"
	"surety/enclave/client"
	"surety/evidence"
	"surety/sys/wallclock"
)

// machine is a simulated machine, and who trusts it.
type machine struct {
	device   attest.Device
	verifier *attest.Verifier
	root     enclave.KeyID
	platform []byte
}

// newMachine makes a simulation with keys of its own.
func newMachine(t testing.TB) *machine {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "simulated")
	m, err := openMachine(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.device.Close() })
	return m
}

func openMachine(dir string) (*machine, error) {
	m := &machine{}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m.device, err = attest.OpenDevice(context.Background(), enclave.Sim,
		attest.Options{SimDir: dir, Program: program})
	if err != nil {
		return nil, err
	}
	root, err := os.ReadFile(filepath.Join(dir, "root.pem"))
	if err != nil {
		return nil, err
	}
	if m.verifier, err = attest.NewVerifier(attest.Roots{Sim: [][]byte{root}}); err != nil {
		return nil, err
	}
	// What it shows of itself is what a verifier sees.
	b := enclave.Binding{Purpose: enclave.ForAudit, Nonce: make([]byte, 32)}
	e, err := attest.Make(context.Background(), m.device, nil, b)
	if err != nil {
		return nil, err
	}
	claims, err := m.verifier.Verify(e, b, wallclock.System().Now())
	if err != nil {
		return nil, err
	}
	m.root, m.platform = claims.Root, claims.Platform
	return m, nil
}

// build is a signed manifest on a machine: it makes evidence.
type build struct {
	machine *machine
	signed  []byte
	opened  enclave.Signed
}

var (
	signerKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	ownerKey  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))
	otherKey  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
)

func id(key ed25519.PrivateKey) enclave.KeyID {
	return enclave.KeyIDOf(key.Public().(ed25519.PublicKey))
}

// newBuild signs a manifest, changed by change.
func newBuild(t testing.TB, m *machine, key ed25519.PrivateKey, change func(*enclave.Manifest)) *build {
	t.Helper()
	b, err := makeBuild(m, key, change)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func makeBuild(m *machine, key ed25519.PrivateKey, change func(*enclave.Manifest)) (*build, error) {
	manifest := enclave.Manifest{Format: 1, Name: "credit", Product: "credit", SVN: 4,
		Command: []string{"/score"}, Cwd: "/", Network: "none",
		Layers: []enclave.Layer{{Name: "root", Kind: enclave.Public, Target: "/", Bytes: 4096,
			Digest: [32]byte{1}, Verity: [32]byte{2}, Salt: sha256.Sum256([]byte("root"))}},
		State:   []enclave.State{{Name: "books", Target: "/state", Bytes: 1 << 20, Broker: "bank"}},
		Brokers: []enclave.Broker{{Name: "bank", Key: enclave.KeyID{1}}}}
	if change != nil {
		change(&manifest)
	}
	signed, err := enclave.Sign(&manifest, key)
	if err != nil {
		return nil, err
	}
	opened, err := enclave.OpenSigned(signed)
	return &build{m, signed, opened}, err
}

func (b *build) TEE() enclave.TEE        { return b.machine.device.TEE() }
func (b *build) Measure() enclave.Digest { return b.opened.Measure }

func (b *build) Evidence(ctx context.Context, binding enclave.Binding) (*enclave.Evidence, error) {
	return attest.Make(ctx, b.machine.device, b.signed, binding)
}

// policy admits the builds of signerKey on the machine.
func (m *machine) policy() enclave.Policy {
	return enclave.Policy{TCB: enclave.TCBUnknown,
		Machines: []enclave.MachineRule{{TEE: enclave.Sim, Roots: []enclave.KeyID{m.root}}},
		Signers:  []enclave.SignerRule{{Signer: id(signerKey), Product: "credit", MinSVN: 4}}}
}

// world is a broker with its clock, its log and a server.
type world struct {
	t       testing.TB
	machine *machine
	dir     string
	direct  bool
	clock   *wallclock.Manual
	log     *memoryLog
	logged  map[enclave.Digest]bool
	broker  *broker.Broker
	server  *httptest.Server
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, machine: newMachine(t), dir: t.TempDir(), log: &memoryLog{},
		clock: wallclock.NewManual(wallclock.System().Now()), logged: map[enclave.Digest]bool{}}
	w.open()
	w.server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		w.broker.Handler().ServeHTTP(out, in)
	}))
	t.Cleanup(func() {
		w.server.Close()
		if err := w.broker.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) open() {
	w.t.Helper()
	b, err := broker.Open(context.Background(), broker.Config{Dir: w.dir, Name: "bank",
		Direct: w.direct}, broker.Deps{
		Verifier: w.machine.verifier, Clock: w.clock, Evidence: w.log,
		Log:    slog.New(slog.NewTextHandler(io.Discard, nil)),
		Logged: func(_ context.Context, m enclave.Digest) (bool, error) { return w.logged[m], nil }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.broker = b
}

// restart closes the broker and opens it again on the same directory.
func (w *world) restart() {
	w.t.Helper()
	if err := w.broker.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

// put stores a secret under a policy.
func (w *world) put(tenant, kind, tag, secret string, p enclave.Policy) {
	w.t.Helper()
	ctx := context.Background()
	err := errors.Join(w.broker.PutSecret(ctx, tenant, kind, tag, []byte(secret), false),
		w.broker.SetPolicy(ctx, tenant, kind+"/"+tag, p))
	if err != nil {
		w.t.Fatal(err)
	}
}

// client returns a client of the broker's for a build.
func (w *world) client(b *build) *client.Client {
	w.t.Helper()
	c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Attester: b,
		Clock: w.clock})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// attest returns a session of a build.
func (w *world) attest(b *build) *client.Session {
	w.t.Helper()
	s, err := w.client(b).Attest(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// newest returns the newest record.
func (w *world) newest() broker.Outcome {
	w.t.Helper()
	list, err := w.broker.Outcomes(context.Background(), "", 1)
	if err != nil || len(list) == 0 {
		w.t.Fatalf("no record, %v", err)
	}
	return list[0]
}

// refused sees that err is of the kind and says text.
func refused(t testing.TB, err error, kind errs.Kind, text string) {
	t.Helper()
	if !errs.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("want kind %s with %q, got %v (%s)", kind, text, err, errs.KindOf(err))
	}
}

// memoryLog is an evidence log in memory that holds to the contract of its interface.
type memoryLog struct {
	mu      sync.Mutex
	entries []evidence.Entry
	fail    error
	changed chan struct{} // closed at the next append
}

func (l *memoryLog) Append(_ context.Context, entries ...evidence.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	for i := range entries {
		r := entries[i].Record()
		if err := r.Check(); err != nil {
			return err
		}
		last := uint64(len(l.entries))
		if entries[i].SourceSeq > last+1 {
			return errs.New(errs.Invalid, "gap")
		}
		if entries[i].SourceSeq == last+1 {
			l.entries = append(l.entries, entries[i])
		}
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return nil
}

func (l *memoryLog) LastSeq(string) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.entries)), nil
}

// await returns the entries once there are n.
func (l *memoryLog) await(n int) []evidence.Entry {
	for {
		l.mu.Lock()
		if len(l.entries) >= n {
			defer l.mu.Unlock()
			return append([]evidence.Entry(nil), l.entries...)
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		<-changed
	}
}

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

const second = clock.Second

// report gives a benchmark's median and 99th percentile.
func report(b *testing.B, millis []float64) {
	slices.Sort(millis)
	b.ReportMetric(millis[len(millis)/2], "p50-ms")
	b.ReportMetric(millis[len(millis)*99/100], "p99-ms")
}
