package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"path/filepath"
	"testing"

	"surety/base/clock"
	"surety/enclave"
	"surety/sys/wallclock"
)

// bench is a simulated machine and a verifier that takes it.
type bench struct {
	options  Options
	device   Device
	verifier *Verifier
	now      clock.Instant
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{options: Options{SimDir: filepath.Join(t.TempDir(), "simulated"),
		Program: "attest_test.go"}}
	b.now = wallclock.System().Now()
	var err error
	if b.device, err = OpenDevice(t.Context(), enclave.Sim, b.options); err != nil {
		t.Fatal(err)
	}
	root, err := SimRoot(b.options)
	if err != nil {
		t.Fatal(err)
	}
	if b.verifier, err = NewVerifier(Roots{Sim: [][]byte{root}}); err != nil {
		t.Fatal(err)
	}
	return b
}

// manifest returns a signed manifest that says little.
func manifest(t *testing.T) ([]byte, enclave.Signed) {
	t.Helper()
	m := &enclave.Manifest{Format: 1, Name: "scorer", Product: "credit", SVN: 3,
		Layers:  []enclave.Layer{{Name: "root", Kind: enclave.Public, Target: "/", Bytes: 4096}},
		Command: []string{"/bin/score"}, Cwd: "/", Network: "none"}
	m.Layers[0].Digest[0], m.Layers[0].Verity[0] = 1, 1
	m.Layers[0].Salt = sha256.Sum256([]byte("root"))
	signed, err := enclave.Sign(m, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := enclave.OpenSigned(signed)
	if err != nil {
		t.Fatal(err)
	}
	return signed, opened
}

func binding(s enclave.Signed) enclave.Binding {
	return enclave.Binding{Purpose: enclave.ForRelease, Nonce: bytes.Repeat([]byte{9}, 32),
		Key: []byte("a public key"), Measure: s.Measure}
}

func TestMakeAndVerify(t *testing.T) {
	b := newBench(t)
	signed, opened := manifest(t)
	bind := binding(opened)
	e, err := Make(t.Context(), b.device, signed, bind)
	if err != nil {
		t.Fatal(err)
	}
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of evidence", len(data))
	if e, err = enclave.DecodeEvidence(data); err != nil {
		t.Fatal(err)
	}
	c, err := b.verifier.Verify(e, bind, b.now)
	if err != nil {
		t.Fatal(err)
	}
	if c.TEE != enclave.Sim || c.Measure != opened.Measure || c.Manifest.SVN != 3 {
		t.Errorf("claims %+v", c)
	}
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{6}, 32))
	issuer := Issuer{"verifier", key}
	token, err := issuer.Issue(c, "policy", enclave.Decision{}, bind.Key, b.now, clock.Minute)
	if err != nil {
		t.Fatal(err)
	}
	id := enclave.KeyIDOf(key.Public().(ed25519.PublicKey))
	got, err := OpenToken(token, id, b.now)
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != StatusContraindicated || !got.Simulated || got.SVN != 3 ||
		!bytes.Equal(got.Key, bind.Key) || got.Measure != c.Measure {
		t.Errorf("token %+v", got)
	}
}
