package enclave

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"surety/base/errs"
)

// testKey is a signing key that is the same in every run.
func testKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// sample is a manifest with every field set.
func sample() *Manifest {
	pinned := KeyIDOf(testKey("broker").Public().(ed25519.PublicKey))
	return &Manifest{
		Format: 1, Name: "credit", Product: "credit.scorer", SVN: 7, Debug: true,
		Layers: []Layer{
			{Name: "root", Kind: Public, Target: "/", Bytes: 8192, Digest: sha256.Sum256([]byte("image")),
				Verity: sha256.Sum256([]byte("tree")), Salt: LayerSalt("root")},
			{Name: "models", Kind: Secret, Target: "/models", Bytes: 4096, ID: [16]byte{1, 2, 3},
				Root: DigestOf([]byte("tags")), Key: "bank/credit/layer-key/models-1"},
		},
		Command: []string{"/bin/score", "--model", ""}, Entries: []string{"/bin/a", "/bin/b"},
		Env: []string{"PATH=/bin", "EMPTY="}, EnvNames: []string{"LANG", "TZ"}, Cwd: "/", UID: 1000, GID: 100,
		Args: true, Policy: []byte("policy: v1\nmode: enforce\n"), Network: NetworkStack,
		Shown: []Shown{{Target: "/host", ReadOnly: true}}, Overlay: true,
		Limits:   Limits{Memory: 1 << 30, CPU: 2000, Processes: 64},
		State:    []State{{Name: "books", Target: "/var/lib/books", Bytes: 1 << 20, Broker: "bank"}},
		Brokers:  []Broker{{Name: "bank", Key: pinned}, {Name: LocalBroker}},
		Contract: DigestOf([]byte("contract")),
	}
}

// TestEncodingIsFixed holds the encoding to bytes that were written down: a manifest that was
// measured by one version is measured the same by every later one.
func TestEncodingIsFixed(t *testing.T) {
	data, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(data); got != goldenManifest {
		t.Errorf("the encoding is\n%s\nwant\n%s", got, goldenManifest)
	}
	signed, err := Sign(sample(), testKey("signer"))
	if err != nil {
		t.Fatal(err)
	}
	head, tail := signed[:bytes.Index(signed, data)], signed[bytes.Index(signed, data)+len(data):]
	if got := hex.EncodeToString(head) + "..." + hex.EncodeToString(tail); got != goldenSigned {
		t.Errorf("around the manifest stands\n%s\nwant\n%s", got, goldenSigned)
	}
}

// TestMeasureIsOfTheEncoding signs, opens and compares everything.
func TestMeasureIsOfTheEncoding(t *testing.T) {
	key := testKey("signer")
	signed, err := Sign(sample(), key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSigned(signed)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := sample().Encode()
	if !bytes.Equal(s.Bytes, data) || s.Measure != DigestOf(data) || !reflect.DeepEqual(s.Manifest, sample()) {
		t.Errorf("opened %+v", s)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if s.Signer != KeyID(sha256.Sum256(der)) || !s.Key.Equal(key.Public()) {
		t.Errorf("the signer is %s, want %x", s.Signer, sha256.Sum256(der))
	}
	if again, _ := Sign(sample(), key); !bytes.Equal(again, signed) {
		t.Error("signed twice, the bytes differ")
	}
}

// TestEveryFlippedBitIsRefused flips each bit of a signed manifest.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	signed, err := Sign(sample(), testKey("signer"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range signed {
		for bit := range 8 {
			signed[i] ^= 1 << bit
			if _, err := OpenSigned(signed); !errs.Is(err, errs.Corrupt) {
				t.Errorf("byte %d, bit %d: %v", i, bit, err)
			}
			signed[i] ^= 1 << bit
		}
	}
	for n := range signed {
		if _, err := OpenSigned(signed[:n]); !errs.Is(err, errs.Corrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := OpenSigned(append(slices.Clone(signed), 0)); !errs.Is(err, errs.Corrupt) {
		t.Errorf("a byte appended: %v", err)
	}
	if _, err := OpenSigned(signed); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// TestEveryFlippedBitIsMeasured flips each bit of a bare manifest: it is refused, or it is another
// manifest, of another measurement, that differs in a field that Diff names.
func TestEveryFlippedBitIsMeasured(t *testing.T) {
	data, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	others := 0
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if m, err := DecodeManifest(data); err == nil {
				others++
				if len(Diff(sample(), m)) == 0 {
					t.Errorf("byte %d, bit %d: nothing differs", i, bit)
				}
			} else if !errs.Is(err, errs.Corrupt) {
				t.Errorf("byte %d, bit %d: %v", i, bit, err)
			}
			data[i] ^= 1 << bit
		}
	}
	if others == 0 {
		t.Error("no flip gave another manifest: the test looks at nothing")
	}
}

// TestSignatureIsOfAManifest wraps other things in the envelope.
func TestSignatureIsOfAManifest(t *testing.T) {
	key := testKey("signer")
	payload, _ := sample().Encode()
	seal := func(h protected, payload []byte, sign func(message []byte) []byte) []byte {
		header, err := encode(h)
		if err != nil {
			t.Fatal(err)
		}
		message, err := signedBytes(header, payload)
		if err != nil {
			t.Fatal(err)
		}
		body, err := encode(sign1{Protected: header, Payload: payload, Signature: sign(message)})
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{tagSign1}, body...)
	}
	own := func(message []byte) []byte { return ed25519.Sign(key, message) }
	good := protected{algEdDSA, contentType, key.Public().(ed25519.PublicKey)}
	if _, err := OpenSigned(seal(good, payload, own)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		signed []byte
		text   string
	}{
		{"nothing", nil, "no COSE_Sign1"},
		{"too long", make([]byte, maxSigned+1), "the limit is"},
		{"another algorithm", seal(protected{-7, contentType, good.Key}, payload, own), "algorithm -7"},
		{"other content", seal(protected{algEdDSA, "text/plain", good.Key}, payload, own), "text/plain"},
		{"a short key", seal(protected{algEdDSA, contentType, good.Key[:31]}, payload, own), "31 bytes"},
		{"another's key", seal(protected{algEdDSA, contentType, testKey("other").Public().(ed25519.PublicKey)},
			payload, own), "not one by key"},
		{"of the payload alone", seal(good, payload, func([]byte) []byte { return ed25519.Sign(key, payload) }),
			"not one by key"},
		{"no signature", seal(good, payload, func([]byte) []byte { return nil }), "not one by key"},
		{"no manifest", seal(good, []byte{0xa0}, own), "deterministic"},
		{"a manifest that Check refuses", seal(good, unchecked(t, func(m *Manifest) { m.Command = nil }), own),
			"command: it is missing"},
	} {
		_, err := OpenSigned(row.signed)
		if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v, want corrupt with %q", row.name, err, row.text)
		}
	}
	for _, short := range []ed25519.PrivateKey{nil, key[:32]} {
		if _, err := Sign(sample(), short); !errs.Is(err, errs.Invalid) {
			t.Errorf("signed with %d bytes of key: %v", len(short), err)
		}
	}
}

// unchecked encodes a manifest that Check would refuse.
func unchecked(t *testing.T, change func(*Manifest)) []byte {
	t.Helper()
	m := sample()
	change(m)
	data, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestDecodeTakesOneForm gives the same manifest in every other form of CBOR.
func TestDecodeTakesOneForm(t *testing.T) {
	data, _ := sample().Encode()
	replace := func(old, now string) []byte {
		oldBytes, _ := hex.DecodeString(old)
		newBytes, _ := hex.DecodeString(now)
		if !bytes.Contains(data, oldBytes) {
			t.Fatalf("the encoding has no %s", old)
		}
		return bytes.Replace(data, oldBytes, newBytes, 1)
	}
	text := func(s string) string { return fmt.Sprintf("%02x%x", 0x60+len(s), s) }
	for name, other := range map[string][]byte{
		"nothing":               {},
		"null":                  {0xf6},
		"a byte more":           append(slices.Clone(data), 0),
		"a longer integer":      replace(text("svn")+"07", text("svn")+"1807"),
		"a float":               replace(text("svn")+"07", text("svn")+"f94700"),
		"a tag":                 replace(text("svn")+"07", text("svn")+"c107"),
		"a key twice":           replace(text("svn")+"07", text("svn")+"07"+text("svn")+"07"),
		"a key missing":         replace(text("svn")+"07", ""),
		"an unknown key":        replace(text("svn")+"07", text("swn")+"07"),
		"another case":          replace(text("svn")+"07", text("SVN")+"07"),
		"an indefinite list":    replace(text("entries")+"82", text("entries")+"9f"),
		"a list that is null":   replace(text("shown")+"81", text("shown")+"f6"),
		"text that is bytes":    replace(text("network")+"65", text("network")+"45"),
		"text that is no UTF-8": replace(text("name")+"66", text("name")+"66ff"),
		"bytes that are a list": replace("6269645001", "6269649001"),
		"an id of 15 bytes":     replace("6269645001", "6269644f"),
	} {
		if m, err := DecodeManifest(other); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v, %+v", name, err, m)
		}
	}
	if _, err := DecodeManifest(make([]byte, MaxManifest+1)); !errs.Is(err, errs.Corrupt) {
		t.Errorf("too long: %v", err)
	}
	empty := sample()
	empty.Policy, empty.Entries, empty.Shown = nil, nil, nil
	with := sample()
	with.Policy, with.Entries, with.Shown = []byte{}, []string{}, []Shown{}
	a, err1 := empty.Encode()
	b, err2 := with.Encode()
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("none and an empty list are not the same: %v, %v", err1, err2)
	}
}

// TestDiff names what differs, and nothing else.
func TestDiff(t *testing.T) {
	if d := Diff(sample(), sample()); len(d) != 0 {
		t.Errorf("equal ones differ: %v", d)
	}
	for _, row := range []struct {
		change func(*Manifest)
		want   []Difference
	}{
		{func(m *Manifest) { m.SVN = 8 }, []Difference{{"svn", "7", "8"}}},
		{func(m *Manifest) { m.Debug = false }, []Difference{{"debug", "true", "false"}}},
		{func(m *Manifest) { m.Command[2] = "x" }, []Difference{{"command[2]", `""`, `"x"`}}},
		{func(m *Manifest) { m.Command = m.Command[:2] }, []Difference{{"command[2]", `""`, ""}}},
		{func(m *Manifest) { m.Entries = append([]string{"/a"}, m.Entries...) },
			[]Difference{{"entries./a", "", "/a"}}},
		{func(m *Manifest) { m.Env[1] = "EMPTY=no" }, []Difference{{"env.EMPTY", "EMPTY=", "EMPTY=no"}}},
		{func(m *Manifest) { slices.Reverse(m.Env) },
			[]Difference{{"env (order)", "PATH EMPTY", "EMPTY PATH"}}},
		{func(m *Manifest) { m.Policy = []byte("policy: v1\nmode: observe\n") },
			[]Difference{{"policy line 2", `"mode: enforce"`, `"mode: observe"`}}},
		{func(m *Manifest) { m.Layers[1].Key = "bank/credit/layer-key/models-2" },
			[]Difference{{"layers.models.key", "bank/credit/layer-key/models-1", "bank/credit/layer-key/models-2"}}},
		{func(m *Manifest) { m.Shown = nil }, []Difference{{"shown./host", "true", ""}}},
		{func(m *Manifest) { m.Brokers = m.Brokers[:1] }, []Difference{{"brokers.local.key", "any", ""}}},
	} {
		m := sample()
		row.change(m)
		got := Diff(sample(), m)
		if len(got) > 0 && strings.HasPrefix(row.want[0].Field, "shown") {
			got[0].Field = strings.TrimSuffix(got[0].Field, ".read_only")
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("got %+v\nwant %+v", got, row.want)
		}
	}
}

// TestDiffSeesWhatTheMeasureSees changes manifests at random: a difference is named exactly where
// the encodings differ.
func TestDiffSeesWhatTheMeasureSees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawManifest(t, "a"), drawManifest(t, "b")
		one, err1 := encode(a)
		two, err2 := encode(b)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		found := Diff(a, b)
		if bytes.Equal(one, two) != (len(found) == 0) {
			t.Fatalf("encodings equal: %v, differences: %+v", bytes.Equal(one, two), found)
		}
		for _, d := range found {
			if d.Before == d.After {
				t.Fatalf("%+v is no difference", d)
			}
		}
	})
}

// drawManifest leaves out parts of the sample, and turns others round.
func drawManifest(t *rapid.T, label string) *Manifest {
	m := sample()
	for i, change := range []func(){
		func() { m.Name = "other" }, func() { m.SVN++ }, func() { m.Args = false }, func() { m.Cwd = "/tmp" },
		func() { m.Layers = m.Layers[:1] }, func() { m.Layers[0].Verity[3]++ }, func() { m.Command[2] = "x" },
		func() { m.Command = m.Command[:2] }, func() { m.Entries = m.Entries[1:] },
		func() { slices.Reverse(m.Env) }, func() { m.Env = m.Env[1:] }, func() { m.EnvNames = nil },
		func() { m.UID = 0 }, func() { m.Policy = nil }, func() { m.Policy = append(m.Policy, '\n') },
		func() { m.Shown = nil }, func() { m.State = nil }, func() { slices.Reverse(m.Brokers) },
		func() { m.Brokers = m.Brokers[1:] }, func() { m.Contract = Digest{} }, func() { m.Limits.CPU = 0 },
	} {
		if rapid.Uint8Range(0, 7).Draw(t, fmt.Sprintf("%s%d", label, i)) == 0 {
			change()
		}
	}
	return m
}

// TestCloneSharesNothing changes everything that a copy could share.
func TestCloneSharesNothing(t *testing.T) {
	m := sample()
	c := m.Clone()
	c.Layers[0].Name, c.Command[0], c.Entries[0], c.Env[0], c.EnvNames[0] = "x", "x", "x", "x", "x"
	c.Policy[0], c.Shown[0].Target, c.State[0].Name, c.Brokers[0].Name = 'x', "x", "x", "x"
	if !reflect.DeepEqual(m, sample()) {
		t.Errorf("the original became %+v", m)
	}
}

func FuzzDecodeManifest(f *testing.F) {
	data, _ := sample().Encode()
	f.Add(data)
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeManifest(data)
		if err != nil {
			if !errs.Is(err, errs.Corrupt) {
				t.Fatalf("kind %v: %v", errs.KindOf(err), err)
			}
			return
		}
		again, err := m.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%v: %x became %x", err, data, again)
		}
	})
}

func FuzzOpenSigned(f *testing.F) {
	signed, _ := Sign(sample(), testKey("signer"))
	f.Add(signed)
	f.Add([]byte{tagSign1, 0x84, 0x40, 0xa0, 0x40, 0x40})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := OpenSigned(data)
		if err != nil {
			if !errs.Is(err, errs.Corrupt) {
				t.Fatalf("kind %v: %v", errs.KindOf(err), err)
			}
			return
		}
		if !bytes.Equal(data, signed) && s.Signer == KeyIDOf(testKey("signer").Public().(ed25519.PublicKey)) {
			t.Fatalf("a forgery: %x", data)
		}
	})
}
