package tpm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"surety/base/errs"
	"surety/enclave"
	"surety/sys/entropy"
)

func randomData() (data [64]byte) {
	entropy.System().Fill(data[:])
	return data
}

func TestQuote(t *testing.T) {
	d, authority := openEmulated(t)
	roots := []*x509.Certificate{authority}
	data := randomData()
	report, support, err := d.Report(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Verify(report, support, roots, data, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id, err := d.Identity()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := id.EKDigest()
	if err != nil || !bytes.Equal(c.Chip, digest[:]) {
		t.Errorf("machine %x, want %x %v", c.Chip, digest, err)
	}
	if c.TEE != enclave.TPM || c.ReportData != data || len(c.Platform) != 48 ||
		c.TCB.Status != enclave.TCBUnknown || c.RootName != "enroller" {
		t.Errorf("claims %+v", c)
	}
	bad := make([]byte, len(report))
	for bit := range len(report) * 8 {
		copy(bad, report)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := Verify(bad, support, roots, data, time.Now()); !errs.Is(err, errs.Forbidden) {
			t.Errorf("bit %d of %d bytes changed: %v", bit, len(report), err)
		}
	}
	for n := range len(report) {
		if _, err := Verify(report[:n], support, roots, data, time.Now()); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%d bytes of %d: %v", n, len(report), err)
		}
	}
	for i := range support {
		changed := bytes.Clone(support)
		changed[i] ^= 1
		if _, err := Verify(report, changed, roots, data, time.Now()); !errs.Is(err, errs.Forbidden) {
			t.Errorf("byte %d of the certificate changed: %v", i, err)
		}
	}
	if ready, detail := Detect(d.path); !ready {
		t.Errorf("not found: %s", detail)
	}
}

// What booted decides the launch measurement: a register that is extended changes it.
func TestRegistersAreThePlatform(t *testing.T) {
	d, authority := openEmulated(t)
	platform := func() []byte {
		t.Helper()
		data := randomData()
		report, support, err := d.Report(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Verify(report, support, []*x509.Certificate{authority}, data, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return c.Platform
	}
	before := platform()
	if !bytes.Equal(before, platform()) {
		t.Error("the launch measurement changes by itself")
	}
	extend(t, d, 9)
	after := platform()
	if bytes.Equal(before, after) {
		t.Error("another kernel has the same launch measurement")
	}
	extend(t, d, 16) // for debugging, and not selected
	if !bytes.Equal(after, platform()) {
		t.Error("register 16 counts, which anyone may reset")
	}
}

func extend(t *testing.T, d *Device, register uint32) {
	t.Helper()
	sum := sha256.Sum256([]byte("another"))
	_, err := tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(register),
		Auth: tpm2.PasswordAuth(nil)}, Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{
		{HashAlg: tpm2.TPMAlgSHA256, Digest: sum[:]}}}}.Execute(d.tpm)
	if err != nil {
		t.Fatal(err)
	}
}

func TestQuotesThatAreRefused(t *testing.T) {
	d, authority := openEmulated(t)
	other, otherKey := newAuthority(t)
	data := randomData()
	report, support, err := d.Report(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	roots := []*x509.Certificate{authority}
	foreign := otherTPM(t, Enroller{Certificate: other, Key: otherKey, Entropy: entropy.System()})
	now := time.Now()
	cases := []struct {
		name    string
		support []byte
		roots   []*x509.Certificate
		data    [64]byte
		at      time.Time
		says    string
	}{
		{"no root", support, nil, data, now, "no root is trusted for TPMs"},
		{"not enrolled", nil, roots, data, now, "this TPM was not enrolled"},
		{"no certificate", []byte("certificate"), roots, data, now, "not in the form of PEM"},
		{"enrolled by another", support, []*x509.Certificate{other}, data, now, "unknown authority"},
		{"the authority's own", pemOf(authority), roots, data, now, "not one for an attestation key"},
		{"too many", bytes.Repeat(support, 5), roots, data, now, "more than 4"},
		{"another TPM's certificate", foreign, []*x509.Certificate{other}, data, now,
			"not one by the attestation key"},
		{"another challenge", support, roots, randomData(), now, "another challenge"},
		{"before its time", support, roots, data, now.Add(-2 * time.Hour), "not yet valid"},
		{"expired", support, roots, data, now.AddDate(6, 0, 0), "expired"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Verify(report, c.support, c.roots, c.data, c.at)
			if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// otherTPM is a certificate that another TPM was given.
func otherTPM(t *testing.T, e Enroller) []byte {
	t.Helper()
	return enrol(t, openDevice(t, startEmulator(t, t.TempDir())), e)
}

// forger has a key with a certificate, and signs what no TPM made.
type forger struct {
	key     *ecdsa.PrivateKey
	roots   []*x509.Certificate
	support []byte
}

func newForger(t *testing.T) *forger {
	t.Helper()
	authority, signer := newAuthority(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "forged"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{usageAK()}}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &forger{key, []*x509.Certificate{authority}, pemOf(made)}
}

// sign returns a report over what the editor makes of a good statement.
func (f *forger) sign(t *testing.T, data [64]byte, edit func(*tpm2.TPMSAttest, *tpm2.TPMSQuoteInfo)) []byte {
	t.Helper()
	r := &report{values: make([][sha256.Size]byte, len(registers()))}
	sum := sha256.Sum256(make([]byte, len(r.values)*sha256.Size))
	info := tpm2.TPMSQuoteInfo{PCRSelect: selection(), PCRDigest: tpm2.TPM2BDigest{Buffer: sum[:]}}
	attest := tpm2.TPMSAttest{Magic: tpm2.TPMGeneratedValue, Type: tpm2.TPMSTAttestQuote,
		ExtraData: tpm2.TPM2BData{Buffer: qualifying(data)}}
	edit(&attest, &info)
	if attest.Type == tpm2.TPMSTAttestQuote {
		attest.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &info)
	} else {
		attest.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestTime, &tpm2.TPMSTimeAttestInfo{})
	}
	r.quoted = tpm2.Marshal(attest)
	digest := sha256.Sum256(r.quoted)
	x, y, err := ecdsa.Sign(rand.Reader, f.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	r.signature = &tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA,
		Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{Hash: tpm2.TPMAlgSHA256,
			SignatureR: tpm2.TPM2BECCParameter{Buffer: x.Bytes()},
			SignatureS: tpm2.TPM2BECCParameter{Buffer: y.Bytes()}})}
	return r.encode()
}

// A certified key alone is not enough: what it signed has to be a quote over our registers.
func TestForgedStatements(t *testing.T) {
	f, data := newForger(t), randomData()
	cases := []struct {
		name string
		edit func(*tpm2.TPMSAttest, *tpm2.TPMSQuoteInfo)
		says string
	}{
		{"as a TPM does it", func(*tpm2.TPMSAttest, *tpm2.TPMSQuoteInfo) {}, ""},
		{"without the magic", func(a *tpm2.TPMSAttest, _ *tpm2.TPMSQuoteInfo) { a.Magic = 1 },
			"not made by a TPM"},
		{"of another type", func(a *tpm2.TPMSAttest, _ *tpm2.TPMSQuoteInfo) {
			a.Type = tpm2.TPMSTAttestTime
		}, "want a quote"},
		{"of fewer registers", func(_ *tpm2.TPMSAttest, i *tpm2.TPMSQuoteInfo) {
			i.PCRSelect.PCRSelections[0].PCRSelect = tpm2.PCClientCompatible.PCRs(16)
		}, "are quoted, want"},
		{"of the weaker bank", func(_ *tpm2.TPMSAttest, i *tpm2.TPMSQuoteInfo) {
			i.PCRSelect.PCRSelections[0].Hash = tpm2.TPMAlgSHA1
		}, "are quoted, want"},
		{"of other values", func(_ *tpm2.TPMSAttest, i *tpm2.TPMSQuoteInfo) {
			i.PCRDigest.Buffer = make([]byte, 32)
		}, "not those quoted"},
		{"for the report data itself", func(a *tpm2.TPMSAttest, _ *tpm2.TPMSQuoteInfo) {
			a.ExtraData.Buffer = data[:]
		}, "another challenge"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Verify(f.sign(t, data, c.edit), f.support, f.roots, data, time.Now())
			if c.says == "" && err != nil || c.says != "" &&
				(!errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	roots := []*x509.Certificate{{}}
	f.Add([]byte{0, 4, 1, 2, 3, 4, 0, 0}, []byte("-----BEGIN CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, report, support []byte) {
		if _, err := Verify(report, support, roots, [64]byte{}, time.Now()); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%v", err)
		}
	})
}

func TestNoTPM(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "none"), file} {
		if ready, _ := Detect(path); ready {
			t.Errorf("%s is a TPM", path)
		}
		if _, err := Open(path, nil); !errs.Is(err, errs.Unavailable) {
			t.Errorf("%s: %v", path, err)
		}
	}
	// A socket that nobody answers at: a TPM that is gone is no report, and no panic.
	short, err := os.MkdirTemp("", "tpm-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	l, err := net.Listen("unix", filepath.Join(short, "s"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(filepath.Join(short, "s"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Report(t.Context(), [64]byte{}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a TPM that is gone: %v", err)
	}
}
