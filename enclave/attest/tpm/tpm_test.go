package tpm

import (
	"crypto/x509"
	"testing"
	"time"

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
	if c.TEE != enclave.TPM || c.ReportData != data || len(c.Platform) != 48 || len(c.Chip) != 32 {
		t.Errorf("claims %+v", c)
	}
	bad := make([]byte, len(report))
	for i := range len(report) * 8 {
		copy(bad, report)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := Verify(bad, support, roots, data, time.Now()); err == nil {
			t.Errorf("bit %d of %d bytes changed, and nobody saw", i, len(report))
		}
	}
}
