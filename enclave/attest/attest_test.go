package attest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// bench is a simulated machine, a verifier that takes it, and evidence of a small enclave.
type bench struct {
	options  Options
	root     []byte
	device   Device
	verifier *Verifier
	now      clock.Instant
	signed   []byte
	opened   enclave.Signed
	bind     enclave.Binding
	evidence *enclave.Evidence
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{options: Options{SimDir: filepath.Join(t.TempDir(), "simulated"),
		Program: "attest_test.go"}, now: wallclock.System().Now()}
	var err error
	if b.device, err = OpenDevice(t.Context(), enclave.Sim, b.options); err != nil {
		t.Fatal(err)
	}
	if b.root, err = SimRoot(b.options); err != nil {
		t.Fatal(err)
	}
	if b.verifier, err = NewVerifier(Roots{Sim: [][]byte{b.root}}); err != nil {
		t.Fatal(err)
	}
	b.signed, b.opened = manifest(t, 3)
	b.bind = enclave.Binding{Purpose: enclave.ForRelease, Nonce: bytes.Repeat([]byte{9}, 32),
		Key: []byte("a public key"), Measure: b.opened.Measure}
	if b.evidence, err = Make(t.Context(), b.device, b.signed, b.bind); err != nil {
		t.Fatal(err)
	}
	return b
}

// manifest returns a signed manifest that says little.
func manifest(t testing.TB, svn uint64) ([]byte, enclave.Signed) {
	t.Helper()
	m := &enclave.Manifest{Format: 1, Name: "scorer", Product: "credit", SVN: svn,
		Layers: []enclave.Layer{{Name: "root", Kind: enclave.Public, Target: "/", Bytes: 4096,
			Digest: [32]byte{1}, Verity: [32]byte{1}, Salt: sha256.Sum256([]byte("root"))}},
		Command: []string{"/bin/score"}, Cwd: "/", Network: "none"}
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

func TestMakeAndVerify(t *testing.T) {
	b := newBench(t)
	data, err := b.evidence.Encode()
	if err != nil {
		t.Fatal(err)
	}
	e, err := enclave.DecodeEvidence(data)
	if err != nil {
		t.Fatal(err)
	}
	for name, measure := range map[string]enclave.Digest{"named": b.opened.Measure, "left open": {}} {
		bind := b.bind
		bind.Measure = measure
		c, err := b.verifier.Verify(e, bind, b.now)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		host := sha256.Sum256(b.opened.Bytes)
		if c.TEE != enclave.Sim || c.Measure != b.opened.Measure || c.Manifest.SVN != 3 ||
			c.Signer != b.opened.Signer || !bytes.Equal(c.HostData, host[:]) {
			t.Errorf("%s: claims %+v", name, c)
		}
	}
}

func TestMakeRefuses(t *testing.T) {
	b := newBench(t)
	_, other := manifest(t, 4)
	for name, c := range map[string]struct {
		signed  []byte
		measure enclave.Digest
	}{
		"another's manifest":  {b.signed, other.Measure},
		"no manifest":         {nil, other.Measure},
		"a manifest for none": {b.signed, enclave.Digest{}},
	} {
		bind := b.bind
		bind.Measure = c.measure
		if _, err := Make(t.Context(), b.device, c.signed, bind); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Make(ended, b.device, b.signed, b.bind); !errs.Is(err, errs.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
}

// Evidence with everything in order but one thing is refused for that thing.
func TestEvidenceIsRefused(t *testing.T) {
	b, other := newBench(t), newBench(t)
	production, err := NewVerifier(Roots{})
	if err != nil {
		t.Fatal(err)
	}
	older, olderOpened := manifest(t, 2)
	cases := []struct {
		name     string
		says     string
		verifier *Verifier
		edit     func(e *enclave.Evidence, bind *enclave.Binding)
	}{
		{"as it was made", "", b.verifier, func(*enclave.Evidence, *enclave.Binding) {}},
		{"simulated, in production", "no root is trusted", production,
			func(*enclave.Evidence, *enclave.Binding) {}},
		{"of another simulation", "unknown authority", other.verifier,
			func(*enclave.Evidence, *enclave.Binding) {}},
		{"called a Milan", "issuer common name SEV-SIMULATED", b.verifier,
			func(e *enclave.Evidence, _ *enclave.Binding) { e.TEE = enclave.SNP }},
		{"called a TD", "a quote of version 3", b.verifier,
			func(e *enclave.Evidence, _ *enclave.Binding) { e.TEE, e.Support = enclave.TDX, nil }},
		{"a TD with certificates beside it", "bytes beside it", b.verifier,
			func(e *enclave.Evidence, _ *enclave.Binding) { e.TEE = enclave.TDX }},
		{"called a TPM's", "tpm.verify", b.verifier,
			func(e *enclave.Evidence, _ *enclave.Binding) { e.TEE = enclave.TPM }},
		{"called an SGX enclave", "nobody verifies", b.verifier,
			func(e *enclave.Evidence, _ *enclave.Binding) { e.TEE = "sgx" }},
		{"for another purpose", "made for \"release\", not for channel", b.verifier,
			func(_ *enclave.Evidence, bind *enclave.Binding) { bind.Purpose = enclave.ForChannel }},
		{"called another purpose", "another challenge, key, purpose or manifest", b.verifier,
			func(e *enclave.Evidence, bind *enclave.Binding) {
				e.Purpose, bind.Purpose = enclave.ForChannel, enclave.ForChannel
			}},
		{"replayed for another nonce", "another challenge", b.verifier,
			func(_ *enclave.Evidence, bind *enclave.Binding) { bind.Nonce = bytes.Repeat([]byte{8}, 32) }},
		{"with another key", "another challenge", b.verifier,
			func(_ *enclave.Evidence, bind *enclave.Binding) { bind.Key = []byte("a public kez") }},
		{"of another manifest", "measurement sha384:", b.verifier,
			func(_ *enclave.Evidence, bind *enclave.Binding) { bind.Measure = olderOpened.Measure }},
		{"with another manifest", "measurement sha384:", b.verifier,
			func(e *enclave.Evidence, _ *enclave.Binding) { e.Signed = older }},
		{"with another manifest, none asked for", "another challenge", b.verifier,
			func(e *enclave.Evidence, bind *enclave.Binding) {
				e.Signed, bind.Measure = older, enclave.Digest{}
			}},
		{"without its manifest", "measurement of no manifest", b.verifier,
			func(e *enclave.Evidence, _ *enclave.Binding) { e.Signed = nil }},
		{"with a manifest that nobody signed", "the manifest", b.verifier,
			func(e *enclave.Evidence, _ *enclave.Binding) {
				e.Signed = bytes.Clone(e.Signed)
				e.Signed[len(e.Signed)-1] ^= 1
			}},
		{"without a report", "a report of 0 bytes", b.verifier,
			func(e *enclave.Evidence, _ *enclave.Binding) { e.Report = nil }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e, bind := *b.evidence, b.bind
			c.edit(&e, &bind)
			_, err := c.verifier.Verify(&e, bind, b.now)
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// No time in the evidence moves the verifier's.
func TestTheClockIsTheVerifiers(t *testing.T) {
	b := newBench(t)
	for name, at := range map[string]clock.Instant{
		"ten years on": b.now.Add(3660 * clock.Day), "a day before": b.now.Add(-clock.Day), "no time": 0,
	} {
		if _, err := b.verifier.Verify(b.evidence, b.bind, at); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryByteOfEvidenceCounts(t *testing.T) {
	b := newBench(t)
	good, err := b.evidence.Encode()
	if err != nil {
		t.Fatal(err)
	}
	bad := make([]byte, len(good))
	unseen := 0
	for i := range good {
		copy(bad, good)
		bad[i] ^= 1 << (i % 8)
		e, err := enclave.DecodeEvidence(bad)
		if err != nil {
			continue
		}
		c, err := b.verifier.Verify(e, b.bind, b.now)
		if err != nil {
			continue
		}
		// Of what came with the report, some is not looked at: the root, which the verifier has.
		unseen++
		if c.TEE != enclave.Sim || c.Measure != b.opened.Measure {
			t.Errorf("byte %d changed what was shown: %+v", i, c)
		}
		if !bytes.Equal(e.Report, b.evidence.Report) || !bytes.Equal(e.Signed, b.evidence.Signed) {
			t.Errorf("byte %d of the report or the manifest changed, and nobody saw", i)
		}
	}
	if unseen > len(b.evidence.Support)/2 {
		t.Errorf("%d bytes of %d are not looked at", unseen, len(good))
	}
}

func TestRawEvidence(t *testing.T) {
	b := newBench(t)
	data := sha256.Sum256([]byte("as a guest of another system hashes"))
	var padded [64]byte
	copy(padded[:], data[:])
	report, support, err := b.device.Report(t.Context(), padded)
	if err != nil {
		t.Fatal(err)
	}
	e := &enclave.Evidence{Format: 1, TEE: enclave.Sim, Report: report, Support: support,
		Purpose: enclave.ForRelease}
	c, err := b.verifier.VerifyRaw(e, data[:], b.now)
	if err != nil || c.Manifest != nil || !c.Measure.IsZero() {
		t.Fatalf("%+v %v", c, err)
	}
	if _, err := b.verifier.VerifyRaw(e, data[:31], b.now); !errs.Is(err, errs.Invalid) {
		t.Errorf("31 bytes: %v", err)
	}
	if _, err := b.verifier.VerifyRaw(e, make([]byte, 65), b.now); !errs.Is(err, errs.Invalid) {
		t.Errorf("65 bytes: %v", err)
	}
	if _, err := b.verifier.VerifyRaw(e, make([]byte, 32), b.now); !errs.Is(err, errs.Forbidden) {
		t.Errorf("other data: %v", err)
	}
	e.Signed = b.signed
	if _, err := b.verifier.VerifyRaw(e, data[:], b.now); !errs.Is(err, errs.Forbidden) {
		t.Errorf("with a manifest that nothing binds: %v", err)
	}
}

func TestRootsThatAreRefused(t *testing.T) {
	b := newBench(t)
	for name, r := range map[string]Roots{
		"no certificate as a simulation's": {Sim: [][]byte{[]byte("root")}},
		"no certificate as a TPM's":        {TPM: [][]byte{[]byte("root")}},
		"a simulation's as a TPM's":        {TPM: [][]byte{b.root}},
	} {
		if _, err := NewVerifier(r); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	roots := b.verifier.VendorRoots()
	if len(roots[enclave.SNP]) != 3 || len(roots[enclave.TDX]) != 1 || len(roots[enclave.Sim]) != 0 ||
		len(roots[enclave.TPM]) != 0 {
		t.Errorf("vendors' roots %v", roots)
	}
}

func TestDevices(t *testing.T) {
	b := newBench(t)
	found := Detect(b.options)
	for i, tee := range []enclave.TEE{enclave.SNP, enclave.TDX, enclave.TPM, enclave.Sim} {
		if found[i].TEE != tee || found[i].Detail == "" {
			t.Errorf("place %d is %+v, want %s", i, found[i], tee)
		}
	}
	if !found[3].Ready || !strings.HasPrefix(found[3].Detail, "SIMULATED") {
		t.Errorf("%+v", found[3])
	}
	if _, err := OpenDevice(t.Context(), "sgx", b.options); !errs.Is(err, errs.Invalid) {
		t.Errorf("SGX: %v", err)
	}
	if _, err := OpenDevice(t.Context(), enclave.Sim, Options{}); !errs.Is(err, errs.Unavailable) ||
		!strings.Contains(err.Error(), "simulation is not allowed here") {
		t.Errorf("no simulation: %v", err)
	}
	if _, err := SimRoot(Options{}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("no simulation: %v", err)
	}
	if _, err := OpenDevice(t.Context(), enclave.TPM, Options{TPM: filepath.Join(t.TempDir(), "none")}); !errs.
		Is(err, errs.Unavailable) {
		t.Errorf("no TPM: %v", err)
	}
	if id, err := SimRootID(b.root); err != nil || id.IsZero() {
		t.Errorf("root %s %v", id, err)
	}
}

// fakeConfigfs behaves as the kernel's does: files are there with the directory, writing the blob
// counts the generation up, and reading answers for the last one.
type fakeConfigfs struct {
	provider string
	support  []byte
	open     map[string]int // generation, by directory
	blobs    map[string][]byte
	intrude  bool // somebody else writes between
	fail     string
}

func (f *fakeConfigfs) Mkdir(name string) error {
	if f.fail == "mkdir" {
		return errs.New(errs.Internal, "no room")
	}
	f.open[name] = 0
	return nil
}

func (f *fakeConfigfs) Remove(name string) error {
	delete(f.open, name)
	return nil
}

func (f *fakeConfigfs) Write(name string, data []byte) error {
	dir, file := filepath.Split(name)
	if f.fail == file {
		return errs.New(errs.Internal, "busy")
	}
	dir = filepath.Clean(dir)
	f.open[dir]++
	f.blobs[dir] = bytes.Clone(data)
	if file == "inblob" && f.intrude {
		f.open[dir]++
	}
	return nil
}

func (f *fakeConfigfs) Read(name string) ([]byte, error) {
	dir, file := filepath.Split(name)
	dir = filepath.Clean(dir)
	if f.fail == file {
		return nil, errs.New(errs.Internal, "busy")
	}
	switch file {
	case "provider":
		return []byte(f.provider + "\n"), nil
	case "generation":
		return fmt.Appendf(nil, "%d\n", f.open[dir]), nil
	case "outblob":
		return append([]byte("report of "), f.blobs[dir]...), nil
	}
	return f.support, nil
}

func TestConfigfs(t *testing.T) {
	cases := []struct {
		name string
		tee  enclave.TEE
		fs   fakeConfigfs
		says string
	}{
		{"SNP", enclave.SNP, fakeConfigfs{provider: providerSNP, support: []byte("table")}, ""},
		{"TDX", enclave.TDX, fakeConfigfs{provider: providerTDX}, ""},
		{"another's", enclave.TDX, fakeConfigfs{provider: providerSNP}, `"sev_guest" answers`},
		{"somebody else wrote", enclave.TDX, fakeConfigfs{provider: providerTDX, intrude: true},
			"somebody else"},
		{"no room", enclave.TDX, fakeConfigfs{provider: providerTDX, fail: "mkdir"}, "no room"},
		{"no level", enclave.SNP, fakeConfigfs{provider: providerSNP, fail: "privlevel"}, "busy"},
		{"no request", enclave.TDX, fakeConfigfs{provider: providerTDX, fail: "inblob"}, "busy"},
		{"no answer", enclave.TDX, fakeConfigfs{provider: providerTDX, fail: "outblob"}, "busy"},
		{"no certificates", enclave.SNP, fakeConfigfs{provider: providerSNP, fail: "auxblob"}, "busy"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.fs.open, c.fs.blobs = map[string]int{}, map[string][]byte{}
			d := &tsmDevice{c.tee, c.fs.provider, &c.fs, entropy.Seeded(1)}
			if c.name == "another's" {
				d.provider = providerTDX
			}
			report, support, err := d.Report(t.Context(), [64]byte{1, 2, 3})
			if c.says != "" {
				if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want %q", err, c.says)
				}
			} else if err != nil || !bytes.HasPrefix(report, []byte("report of \x01\x02\x03")) ||
				!bytes.Equal(support, c.fs.support) {
				t.Errorf("%q %q %v", report, support, err)
			}
			if len(c.fs.open) != 0 {
				t.Errorf("left open: %v", c.fs.open)
			}
		})
	}
}

func BenchmarkMakeAndVerify(b *testing.B) {
	machine := newBench(b)
	for b.Loop() {
		e, err := Make(b.Context(), machine.device, machine.signed, machine.bind)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := machine.verifier.Verify(e, machine.bind, machine.now); err != nil {
			b.Fatal(err)
		}
	}
}
