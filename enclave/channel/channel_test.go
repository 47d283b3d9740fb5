package channel_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/channel"
	"surety/sys/wallclock"
)

// bench is a simulated machine with an enclave that answers each line with the same line, and a client
// that accepts it.
type bench struct {
	t        *testing.T
	device   attest.Device
	verifier *attest.Verifier
	root     enclave.KeyID
	signed   []byte
	opened   enclave.Signed
	policy   enclave.Policy

	mu    sync.Mutex
	heard bytes.Buffer // what the program was sent
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t}
	options := attest.Options{SimDir: filepath.Join(t.TempDir(), "simulated"), Program: "channel_test.go"}
	var err error
	if b.device, err = attest.OpenDevice(t.Context(), enclave.Sim, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.device.Close() })
	root, err := attest.SimRoot(options)
	if err != nil {
		t.Fatal(err)
	}
	if b.verifier, err = attest.NewVerifier(attest.Roots{Sim: [][]byte{root}}); err != nil {
		t.Fatal(err)
	}
	m := &enclave.Manifest{Format: 1, Name: "scorer", Product: "credit", SVN: 3,
		Layers:  []enclave.Layer{{Name: "root", Kind: enclave.Public, Target: "/", Bytes: 4096}},
		Command: []string{"/bin/score"}, Cwd: "/", Network: "stack"}
	m.Layers[0].Digest[0], m.Layers[0].Verity[0] = 1, 1
	m.Layers[0].Salt = sha256.Sum256([]byte("root"))
	if b.signed, err = enclave.Sign(m, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))); err != nil {
		t.Fatal(err)
	}
	if b.opened, err = enclave.OpenSigned(b.signed); err != nil {
		t.Fatal(err)
	}
	// The root's id is what a first, refused look says it is.
	e, err := attest.Make(t.Context(), b.device, b.signed, enclave.Binding{Purpose: enclave.ForAudit,
		Nonce: make([]byte, 32), Measure: b.opened.Measure})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := b.verifier.Verify(e, enclave.Binding{Purpose: enclave.ForAudit, Nonce: make([]byte, 32),
		Measure: b.opened.Measure}, wallclock.System().Now())
	if err != nil {
		t.Fatal(err)
	}
	b.root = claims.Root
	b.policy = enclave.Policy{Name: "ours", TCB: enclave.TCBUnknown,
		Machines: []enclave.MachineRule{{TEE: enclave.Sim, Roots: []enclave.KeyID{b.root}}},
		Signers:  []enclave.SignerRule{{Signer: b.opened.Signer, Product: "credit", MinSVN: 3}}}
	return b
}

// Evidence makes the bench an Attester.
func (b *bench) Evidence(ctx context.Context, bind enclave.Binding) (*enclave.Evidence, error) {
	bind.Measure = b.opened.Measure
	return attest.Make(ctx, b.device, b.signed, bind)
}

// program is what stands behind the server: an echo that remembers what it heard.
func (b *bench) program(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		buf := make([]byte, 1024)
		for {
			n, err := far.Read(buf)
			b.mu.Lock()
			b.heard.Write(buf[:n])
			b.mu.Unlock()
			if err != nil {
				return
			}
			if _, err := far.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	return near, nil
}

// listen is a loopback listener.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serve runs a server until the test ends and returns its address.
func (b *bench) serve(attester channel.Attester) string {
	b.t.Helper()
	s, err := channel.NewServer(channel.Config{Attester: attester, Dial: b.program})
	if err != nil {
		b.t.Fatal(err)
	}
	l := listen(b.t)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			b.t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestAttestedSession(t *testing.T) {
	b := newBench(t)
	addr := b.serve(b)
	for range 2 { // each session has evidence of its own
		conn, claims, err := channel.Dial(t.Context(), addr, b.verifier, b.policy)
		if err != nil {
			t.Fatal(err)
		}
		if claims.Measure != b.opened.Measure || claims.TEE != enclave.Sim {
			t.Errorf("claims %+v", claims)
		}
		said := strings.Repeat("what is the score of 7?", 100)
		go io.WriteString(conn, said)
		got := make([]byte, len(said))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != said {
			t.Errorf("%q, %v", got, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPolicyRefused has everything in order but what the client accepts.
func TestPolicyRefused(t *testing.T) {
	b := newBench(t)
	addr := b.serve(b)
	for _, row := range [...]struct {
		says   string
		change func(*enclave.Policy)
	}{
		{"machine", func(p *enclave.Policy) {
			p.Machines = []enclave.MachineRule{{TEE: enclave.SNP, Platforms: [][]byte{{1}}}}
		}},
		{"root", func(p *enclave.Policy) { p.Machines[0].Roots = []enclave.KeyID{{1}} }},
		{"measure", func(p *enclave.Policy) { p.Signers[0].Product = "other" }},
		{"measure", func(p *enclave.Policy) { p.Signers, p.Measures = nil, []enclave.Digest{{1}} }},
		{"svn", func(p *enclave.Policy) { p.Signers[0].MinSVN = 4 }},
		{"log", func(p *enclave.Policy) { p.Logged = true }},
	} {
		policy := b.policy
		policy.Machines = append([]enclave.MachineRule{}, policy.Machines...)
		policy.Signers = append([]enclave.SignerRule{}, policy.Signers...)
		row.change(&policy)
		conn, _, err := channel.Dial(t.Context(), addr, b.verifier, policy)
		if conn != nil || !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), row.says+": saw") {
			t.Errorf("%s: %v, %v", row.says, conn, err)
		}
	}
	hardware, err := attest.NewVerifier(attest.Roots{})
	if err != nil {
		t.Fatal(err)
	}
	conn, _, err := channel.Dial(t.Context(), addr, hardware, b.policy)
	if conn != nil || !errs.Is(err, errs.Forbidden) {
		t.Errorf("simulated evidence, verified without a simulation's root: %v", err)
	}
	if _, _, err := channel.Dial(t.Context(), addr, b.verifier, enclave.Policy{}); err == nil {
		t.Error("the empty policy accepts")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heard.Len() > 0 {
		t.Errorf("the program was sent %q by those who refused it", b.heard.String())
	}
}

// middle is a man in the middle: he ends the client's TLS himself, and does with the challenge what
// answer does. What the client sends after that is returned.
func middle(t *testing.T, config *tls.Config, answer func(challenge []byte) []byte) (string, chan []byte) {
	t.Helper()
	l := listen(t)
	got := make(chan []byte, 1)
	go func() {
		var after []byte
		defer func() { got <- after }()
		raw, err := l.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		session := tls.Server(raw, config)
		challenge := make([]byte, 32)
		if _, err := io.ReadFull(session, challenge); err != nil {
			return
		}
		if _, err := session.Write(answer(challenge)); err != nil {
			return
		}
		after, _ = io.ReadAll(session)
	}()
	return l.Addr().String(), got
}

// borrowed is the certificate of a server, with a key that the man in the middle has: any will do,
// since clients do not look at it.
func borrowed(t *testing.T, protocol string) *tls.Config {
	t.Helper()
	return &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{protocol}}
}

// asked gets evidence of the real server for a challenge, in a session of the asker's own.
func asked(t *testing.T, addr string, challenge []byte) []byte {
	t.Helper()
	session, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true,
		NextProtos: []string{channel.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.Write(challenge); err != nil {
		t.Fatal(err)
	}
	var head [4]byte
	if _, err := io.ReadFull(session, head[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(session, body); err != nil {
		t.Fatal(err)
	}
	return append(head[:], body...)
}

func TestManInTheMiddle(t *testing.T) {
	b := newBench(t)
	real := b.serve(b)
	earlier := asked(t, real, make([]byte, 32))
	flip := func(data []byte, at int) []byte {
		data[at] ^= 1
		return data
	}
	framed := func(size uint32, data []byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, size), data...)
	}
	for _, row := range [...]struct {
		name   string
		kind   errs.Kind
		answer func(challenge []byte) []byte
	}{
		{"relays the challenge", errs.Forbidden, func(c []byte) []byte { return asked(t, real, c) }},
		{"replays evidence", errs.Forbidden, func([]byte) []byte { return bytes.Clone(earlier) }},
		{"flips a bit", errs.Forbidden, func(c []byte) []byte { return flip(asked(t, real, c), 600) }},
		{"says nothing", errs.Forbidden, func([]byte) []byte { return framed(0, nil) }},
		{"says too much", errs.Forbidden, func([]byte) []byte { return framed(1<<31, nil) }},
		{"says no evidence", errs.Forbidden, func([]byte) []byte { return framed(3, []byte("yes")) }},
	} {
		addr, got := middle(t, borrowed(t, channel.Protocol), row.answer)
		conn, _, err := channel.Dial(t.Context(), addr, b.verifier, b.policy)
		if conn != nil || !errs.Is(err, row.kind) {
			t.Errorf("%s: %v, %v", row.name, conn, err)
		}
		if after := <-got; len(after) > 0 {
			t.Errorf("%s: and the client then sent %q", row.name, after)
		}
	}
}

// TestSessionsRefused has the session itself be none of ours.
func TestSessionsRefused(t *testing.T) {
	b := newBench(t)
	addr := b.serve(b)
	for name, config := range map[string]*tls.Config{
		"TLS 1.2":          {MaxVersion: tls.VersionTLS12, NextProtos: []string{channel.Protocol}},
		"another protocol": {NextProtos: []string{"h2"}},
	} {
		config.InsecureSkipVerify = true
		session, err := tls.Dial("tcp", addr, config)
		if err == nil {
			_, err = session.Write(make([]byte, 32))
			if err == nil {
				_, err = session.Read(make([]byte, 1))
			}
			session.Close()
		}
		if err == nil {
			t.Errorf("the server takes %s", name)
		}
	}
	// A session without our protocol is made, where a client offers none, and goes no further.
	session, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		_, _ = session.Write(make([]byte, 32))
		if n, err := session.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Error("the server proves itself to a session for no protocol")
		}
		session.Close()
	}
	old := borrowed(t, channel.Protocol)
	old.MaxVersion = tls.VersionTLS12
	for name, config := range map[string]*tls.Config{"TLS 1.2": old, "another protocol": borrowed(t, "h2"),
		"no protocol": {Certificates: old.Certificates}} {
		addr, got := middle(t, config, func([]byte) []byte { return nil })
		conn, _, err := channel.Dial(t.Context(), addr, b.verifier, b.policy)
		if conn != nil || err == nil {
			t.Errorf("the client takes %s", name)
		}
		if after := <-got; len(after) > 0 {
			t.Errorf("%s: the client sent %q", name, after)
		}
	}
}

// elsewhere is an attester whose evidence is for something else.
type elsewhere struct {
	*bench
	change func(*enclave.Binding)
}

func (e elsewhere) Evidence(ctx context.Context, b enclave.Binding) (*enclave.Evidence, error) {
	e.change(&b)
	return e.bench.Evidence(ctx, b)
}

// TestEvidenceForElse has the very machine and program make evidence that is not for this session.
func TestEvidenceForElse(t *testing.T) {
	b := newBench(t)
	for name, change := range map[string]func(*enclave.Binding){
		"a key broker":      func(b *enclave.Binding) { b.Purpose = enclave.ForRelease },
		"an audit":          func(b *enclave.Binding) { b.Purpose, b.Key = enclave.ForAudit, nil },
		"another challenge": func(b *enclave.Binding) { b.Nonce = make([]byte, 32) },
		"another session":   func(b *enclave.Binding) { b.Key = make([]byte, 32) },
	} {
		addr := b.serve(elsewhere{b, change})
		if conn, _, err := channel.Dial(t.Context(), addr, b.verifier, b.policy); conn != nil ||
			!errs.Is(err, errs.Forbidden) {
			t.Errorf("evidence for %s: %v, %v", name, conn, err)
		}
	}
}

// silent is an attester that cannot.
type silent struct{}

func (silent) Evidence(context.Context, enclave.Binding) (*enclave.Evidence, error) {
	return nil, errors.New("no device")
}

func TestNoEvidence(t *testing.T) {
	b := newBench(t)
	if _, _, err := channel.Dial(t.Context(), b.serve(silent{}), b.verifier, b.policy); !errs.Is(err,
		errs.Unavailable) {
		t.Errorf("a server without a device: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := listen(t)
	go func() { // takes the connection, says nothing, and the caller goes away
		conn, err := l.Accept()
		if err == nil {
			_, _ = io.ReadFull(conn, make([]byte, 64))
			cancel()
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	if _, _, err := channel.Dial(ctx, l.Addr().String(), b.verifier, b.policy); err == nil {
		t.Error("a session with nobody")
	}
	for _, bad := range []channel.Config{{}, {Attester: silent{}}, {Dial: b.program}} {
		if _, err := channel.NewServer(bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
