package tpm

import (
	"bytes"
	"crypto/x509"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"surety/base/errs"
	"surety/sys/entropy"
)

// A challenge is for the one TPM that has both keys, and an answer for the one challenge.
func TestEnrolmentIsForOneTPM(t *testing.T) {
	one := openDevice(t, startEmulator(t, t.TempDir()))
	two := openDevice(t, startEmulator(t, t.TempDir()))
	first, err := one.Identity()
	if err != nil {
		t.Fatal(err)
	}
	second, err := two.Identity()
	if err != nil {
		t.Fatal(err)
	}
	challenge, secret, err := first.Challenge(entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Answer(challenge); !errs.Is(err, errs.Forbidden) {
		t.Errorf("another TPM answers: %v", err)
	}
	// The endorsement key of one with the attestation key of the other: each has half of it.
	mixed := Identity{Endorsement: first.Endorsement, Attestation: second.Attestation}
	half, _, err := mixed.Challenge(entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*Device{"the one": one, "the other": two} {
		if _, err := d.Answer(half); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s answers for a key that it has not: %v", name, err)
		}
	}
	authority, key := newAuthority(t)
	e := Enroller{Certificate: authority, Key: key, Entropy: entropy.System()}
	for name, answer := range map[string][]byte{"none": nil, "a wrong one": make([]byte, secretBytes)} {
		if _, err := e.Certify(first, secret, answer, time.Now()); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := e.Certify(first, nil, nil, time.Now()); !errs.Is(err, errs.Forbidden) {
		t.Errorf("without a challenge: %v", err)
	}
}

// A key that would sign anything is no attestation key: it could sign a made-up quote.
func TestUnrestrictedKeyIsRefused(t *testing.T) {
	d := openDevice(t, startEmulator(t, t.TempDir()))
	id, err := d.Identity()
	if err != nil {
		t.Fatal(err)
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](id.Attestation)
	if err != nil {
		t.Fatal(err)
	}
	public.ObjectAttributes.Restricted = false
	for name, attestation := range map[string][]byte{"unrestricted": tpm2.Marshal(*public),
		"the endorsement key": id.Endorsement} {
		_, _, err := Identity{Endorsement: id.Endorsement, Attestation: attestation}.Challenge(entropy.System())
		if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), "restricted signing key") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := (Identity{Endorsement: id.Attestation, Attestation: id.Attestation}).Challenge(
		entropy.System()); !errs.Is(err, errs.Invalid) {
		t.Errorf("a signing key as endorsement key: %v", err)
	}
}

// The maker's certificate has to be there, of this key, and end in a root that was named.
func TestMakersCertificate(t *testing.T) {
	d := openDevice(t, startEmulator(t, t.TempDir()))
	id, err := d.Identity()
	if err != nil {
		t.Fatal(err)
	}
	maker, key := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(maker)
	if err := id.Trust(pool, nil, time.Now()); !errs.Is(err, errs.Forbidden) {
		t.Errorf("no certificate: %v", err)
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](id.Endorsement)
	if err != nil {
		t.Fatal(err)
	}
	endorsement, err := tpm2.Pub(*public)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: maker.SerialNumber, NotBefore: maker.NotBefore,
		NotAfter: maker.NotAfter}
	for _, c := range []struct {
		name string
		key  any
		pool *x509.CertPool
		says string
	}{
		{"this key's", endorsement, pool, ""},
		{"another key's", key.Public(), pool, "for another key"},
		{"of an unknown maker", endorsement, x509.NewCertPool(), "unknown authority"},
	} {
		if id.Certificate, err = x509.CreateCertificate(reader{entropy.System()}, template, maker, c.key,
			key); err != nil {
			t.Fatal(err)
		}
		err := id.Trust(c.pool, nil, time.Now())
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// An authority is made once, and is the same the next time.
func TestEnrollersAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	first, err := OpenEnroller(dir, time.Now(), entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenEnroller(dir, time.Now(), entropy.System())
	if err != nil || !bytes.Equal(first.Certificate.Raw, second.Certificate.Raw) {
		t.Errorf("another authority: %v", err)
	}
	d := openDevice(t, startEmulator(t, t.TempDir()))
	d.certificate = enrol(t, d, second)
	data := randomData()
	report, support, err := d.Report(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(report, support, []*x509.Certificate{first.Certificate}, data, time.Now()); err != nil {
		t.Error(err)
	}
}
