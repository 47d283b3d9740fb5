package enclave

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"surety/base/errs"
)

func someEvidence() *Evidence {
	return &Evidence{Format: EvidenceFormat, TEE: SNP, Report: []byte("report"), Support: []byte("support"),
		Signed: []byte("signed"), Purpose: ForRelease}
}

func someBinding() Binding {
	return Binding{Purpose: ForRelease, Nonce: bytes.Repeat([]byte{1}, 32), Key: []byte("key"),
		Measure: Digest{1}}
}

func TestEvidenceHasOneEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(rapid.Byte(), 0, 100)
		e := &Evidence{Format: EvidenceFormat,
			TEE:     rapid.SampledFrom([]TEE{Sim, SNP, TDX, TPM}).Draw(t, "tee"),
			Report:  rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "report"),
			Support: some.Draw(t, "support"), Signed: some.Draw(t, "signed"),
			Purpose: rapid.SampledFrom([]Purpose{ForRelease, ForChannel, ForAudit, ForReceipt}).Draw(t, "purpose")}
		data, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		read, err := DecodeEvidence(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := read.Encode()
		if err != nil || !bytes.Equal(data, again) {
			t.Fatalf("%x, and again %x %v", data, again, err)
		}
	})
}

// Evidence with every defect is refused for the first of them; each row mends one.
func TestEvidenceIsRefused(t *testing.T) {
	e := &Evidence{TEE: "sgx", Purpose: "play", Support: make([]byte, MaxSupport+1),
		Signed: make([]byte, maxSigned+1)}
	rows := []struct {
		says string
		kind errs.Kind
		mend func()
	}{
		{"format 0", errs.Invalid, func() { e.Format = EvidenceFormat }},
		{`machine "sgx"`, errs.Invalid, func() { e.TEE = TDX }},
		{`purpose "play"`, errs.Invalid, func() { e.Purpose = ForAudit }},
		{"no report", errs.Invalid, func() { e.Report = make([]byte, MaxReport+1) }},
		{"report has", errs.TooLarge, func() { e.Report = e.Report[1:] }},
		{"support has", errs.TooLarge, func() { e.Support = e.Support[1:] }},
		{"signed has", errs.TooLarge, func() { e.Signed = e.Signed[1:] }},
	}
	for _, r := range rows {
		if _, err := e.Encode(); !errs.Is(err, r.kind) || !strings.Contains(err.Error(), r.says) {
			t.Errorf("got %v, want %q", err, r.says)
		}
		r.mend()
	}
	data, err := e.Encode()
	if err != nil || len(data) > MaxEvidence {
		t.Errorf("the largest has %d bytes: %v", len(data), err)
	}
	if _, err := DecodeEvidence(data); err != nil {
		t.Error(err)
	}
	if _, err := DecodeEvidence(make([]byte, MaxEvidence+1)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("more than that: %v", err)
	}
}

// Another encoding of the same, with more, or cut short, is none.
func TestEncodingsThatAreRefused(t *testing.T) {
	good, err := someEvidence().Encode()
	if err != nil {
		t.Fatal(err)
	}
	null := bytes.Replace(good, []byte("gsupportGsupport"), []byte("gsupport\xf6"), 1)
	cases := map[string][]byte{
		"nothing":        nil,
		"cut short":      good[:len(good)-1],
		"more":           append(bytes.Clone(good), 0),
		"null":           null,
		"a long length":  bytes.Replace(good, []byte("Freport"), []byte("\x58\x06report"), 1),
		"another format": bytes.Replace(good, []byte("fformat\x01"), []byte("fformat\x02"), 1),
		"an unknown key": bytes.Replace(good, []byte("gpurpose"), []byte("gpurposf"), 1),
		"a list":         {0x80},
	}
	if bytes.Equal(null, good) {
		t.Fatalf("the encoding is another than this test thinks: %x", good)
	}
	for name, data := range cases {
		if _, err := DecodeEvidence(data); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeEvidence(f *testing.F) {
	good, err := someEvidence().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEvidence(data)
		if err != nil {
			return
		}
		if again, err := e.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x was taken and is %x: %v", data, again, err)
		}
	})
}

// Report data differs where any field does, and fields cannot be shifted into each other.
func TestReportDataBindsEveryField(t *testing.T) {
	seen := map[[64]byte]string{}
	add := func(name string, edit func(*Binding)) {
		t.Helper()
		b := someBinding()
		edit(&b)
		data, err := b.ReportData()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, found := seen[data]; found {
			t.Errorf("%s has the report data of %s", name, other)
		}
		seen[data] = name
	}
	add("the binding", func(*Binding) {})
	add("another purpose", func(b *Binding) { b.Purpose = ForChannel })
	add("a third purpose", func(b *Binding) { b.Purpose = ForReceipt })
	add("another nonce", func(b *Binding) { b.Nonce[0] = 9 })
	add("another key", func(b *Binding) { b.Key = []byte("kez") })
	add("another measurement", func(b *Binding) { b.Measure[47] = 1 })
	add("no measurement", func(b *Binding) { b.Measure = Digest{} })
	add("a byte moved to the key", func(b *Binding) {
		b.Nonce, b.Key = b.Nonce[:31], append([]byte{1}, b.Key...)
	})
	add("a byte moved to the nonce", func(b *Binding) { b.Nonce, b.Key = append(b.Nonce, 'k'), b.Key[1:] })
}

// The report data is fixed for good: evidence that was kept can be verified by a later version.
func TestReportDataIsFixed(t *testing.T) {
	data, err := someBinding().ReportData()
	if err != nil {
		t.Fatal(err)
	}
	// The first 48 bytes, as Python's hashlib has them.
	const want = "sha384:28cb9503f421f07ed6518656bed8c99cc1867df8363ad8cb" +
		"55565bdd8da7ac827af811fd9924c5e3a93b6a6584afcc94"
	if got := Digest(data[:48]).String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestBindingsThatAreRefused(t *testing.T) {
	b := Binding{Purpose: "play", Key: make([]byte, MaxBindingKey+1)}
	rows := []struct {
		says string
		kind errs.Kind
		mend func()
	}{
		{`purpose "play"`, errs.Invalid, func() { b.Purpose = ForAudit }},
		{"a nonce of 0 bytes", errs.Invalid, func() { b.Nonce = make([]byte, MaxNonce+1) }},
		{"a nonce of 65 bytes", errs.TooLarge, func() { b.Nonce = b.Nonce[1:] }},
		{"a key of 4097 bytes", errs.TooLarge, func() { b.Key = b.Key[1:] }},
		{"bound to no key", errs.Invalid, func() { b.Purpose, b.Key = ForRelease, nil }},
		{"and there is none", errs.Invalid, func() { b.Key = []byte{1} }},
	}
	for _, r := range rows {
		if _, err := b.ReportData(); !errs.Is(err, r.kind) || !strings.Contains(err.Error(), r.says) {
			t.Errorf("got %v, want %q", err, r.says)
		}
		r.mend()
	}
	if _, err := b.ReportData(); err != nil {
		t.Error(err)
	}
}
