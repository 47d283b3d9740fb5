package sev

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/google/go-sev-guest/verify/trust"

	"surety/base/errs"
	"surety/enclave"
)

// recordedAt is an instant at which the certificates of the recorded report are in force: a Milan
// machine of Google's made it in 2022, and its VCEK ends in September 2029.
var recordedAt = time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC)

// recorded is the report that a real machine made, and the table that its certificate came in.
func recorded() (report, support []byte) {
	return bytes.Clone(testdata.AttestationBytes[:ReportBytes]),
		formatTable(named{abi.VcekGUID, testdata.VcekBytes})
}

func vendor(t testing.TB) []Anchor {
	t.Helper()
	anchors, err := Vendor()
	if err != nil {
		t.Fatal(err)
	}
	return anchors
}

func TestRecordedReport(t *testing.T) {
	report, support := recorded()
	c, err := Verify(report, support, vendor(t), nil, recordedAt)
	if err != nil {
		t.Fatal(err)
	}
	if c.TEE != enclave.SNP || c.RootName != "ARK-Milan" || c.TCB.Status != enclave.TCBUnknown {
		t.Errorf("claims %+v", c)
	}
	if !c.PlatformDebug {
		t.Error("that machine's policy lets its host debug it, and nobody saw")
	}
	if !bytes.Equal(c.Platform, report[0x90:0xC0]) || !bytes.Equal(c.Chip, report[0x1A0:0x1E0]) ||
		!bytes.Equal(c.ReportData[:], report[0x50:0x90]) {
		t.Error("the claims are not what stands in the report")
	}
}

// Every bit that is signed, and every bit of the signature, is what is refused where it changes.
func TestEveryBitOfTheReportCounts(t *testing.T) {
	report, support := recorded()
	anchors := milan(vendor(t))
	bad := make([]byte, len(report))
	for bit := range len(report) * 8 {
		copy(bad, report)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := Verify(bad, support, anchors, nil, recordedAt); !errs.Is(err, errs.Forbidden) {
			t.Errorf("bit %d of byte %#x changed: %v", bit%8, bit/8, err)
		}
	}
}

// milan keeps the test of each bit to the anchors that could take it.
func milan(anchors []Anchor) []Anchor {
	var kept []Anchor
	for _, a := range anchors {
		if a.line == "Milan" {
			kept = append(kept, a)
		}
	}
	return kept
}

// Every byte of the certificate counts too; those of the table that no certificate stands in change
// what is found in it.
func TestEveryByteOfTheCertificateCounts(t *testing.T) {
	report, support := recorded()
	anchors := milan(vendor(t))
	bad := make([]byte, len(support))
	for i := 2 * entryBytes; i < len(support); i++ {
		copy(bad, support)
		bad[i] ^= 1 << (i % 8)
		if _, err := Verify(report, bad, anchors, nil, recordedAt); !errs.Is(err, errs.Forbidden) {
			t.Errorf("byte %d of %d changed: %v", i, len(support), err)
		}
	}
}

func TestReportsThatAreRefused(t *testing.T) {
	report, support := recorded()
	edit := func(at int, value byte) []byte {
		changed := bytes.Clone(report)
		changed[at] = value
		return changed
	}
	ask := block(t, trust.AskArkMilanVcekBytes)
	cases := []struct {
		name            string
		report, support []byte
		at              time.Time
		says            string
	}{
		{"no report", nil, support, recordedAt, "a report of 0 bytes"},
		{"cut short", report[:ReportBytes-1], support, recordedAt, "a report of 1183 bytes"},
		{"too long", append(bytes.Clone(report), 0), support, recordedAt, "a report of 1185 bytes"},
		{"asked for by the host", edit(0x30, 1), support, recordedAt, "privilege level 1"},
		{"may be moved", edit(0x0A, report[0x0A]|4), support, recordedAt, "migration agent"},
		{"no table", report, nil, recordedAt, "certificate of the VCEK"},
		{"half an entry", report, make([]byte, 23), recordedAt, "23 bytes end within entry 0"},
		{"an empty table", report, formatTable(), recordedAt, "certificate of the VCEK"},
		{"another's certificate", report, formatTable(named{abi.VcekGUID, ask}), recordedAt,
			"VCEK certificate"},
		{"a cloud's certificate alone", report, formatTable(named{abi.VlekGUID, testdata.VcekBytes}),
			recordedAt, "certificate of the VCEK"},
		{"another firmware", edit(0x180, report[0x180]+1), support, recordedAt, "is for firmware"},
		{"another chip", edit(0x1A0, report[0x1A0]^1), support, recordedAt, "is for chip"},
		{"before its time", report, support, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), "not yet valid"},
		{"expired", report, support, time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC), "expired"},
		{"signed by nobody", edit(0x48, 7<<2), support, recordedAt, "signed by key kind None"},
		{"another signature", edit(0x34, 2), support, recordedAt, "unknown signature algorithm"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Verify(c.report, c.support, vendor(t), nil, c.at)
			if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// block returns the first certificate of a bundle.
func block(t *testing.T, bundle []byte) []byte {
	t.Helper()
	b, _ := pem.Decode(bundle)
	if b == nil {
		t.Fatal("no certificate")
	}
	return b.Bytes
}

// A certificate may come from the collateral, by the URL at which AMD has it.
func TestCertificateFromCollateral(t *testing.T) {
	report, _ := recorded()
	url := "https://kdsintf.amd.com/vcek/v1/Milan/" + hex.EncodeToString(report[0x1A0:0x1E0]) +
		"?blSPL=2&teeSPL=0&snpSPL=5&ucodeSPL=68"
	collateral := map[string][]byte{url: testdata.VcekBytes}
	if _, err := Verify(report, nil, vendor(t), collateral, recordedAt); err != nil {
		t.Error(err)
	}
}

// Only the anchor says what a machine is: a vendor's root is none of a simulation's.
func TestAnchorsAreNotTaken(t *testing.T) {
	for name, certificate := range map[string][]byte{
		"AMD's root":     lastOf(t, trust.AskArkMilanVcekBytes),
		"a bundle":       trust.AskArkMilanVcekBytes,
		"nothing":        nil,
		"a chip's":       testdata.VcekBytes,
		"no certificate": []byte("root"),
	} {
		if _, err := Sim(certificate); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s as the root of a simulation: %v", name, err)
		}
	}
}

func lastOf(t *testing.T, bundle []byte) []byte {
	t.Helper()
	_, rest := pem.Decode(bundle)
	return block(t, rest)
}

// The roots are those of three product lines, twice each, with one key for both.
func TestVendorRoots(t *testing.T) {
	roots := map[enclave.KeyID]string{}
	for _, a := range vendor(t) {
		roots[a.Root()] = a.Name()
		if a.TEE() != enclave.SNP || Simulated(a.root) {
			t.Errorf("%s is %s", a.Name(), a.TEE())
		}
	}
	if len(roots) != 3 {
		t.Errorf("roots %v, want three", roots)
	}
	if err := (&x509.Certificate{}).CheckSignatureFrom(vendor(t)[0].root); err == nil {
		t.Error("a root vouches for nothing")
	}
}

func TestNoDevice(t *testing.T) {
	if _, err := os.Stat(DevicePath); err == nil {
		t.Log("this machine has one")
		return
	}
	if _, err := Open(); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), DevicePath) {
		t.Errorf("%v", err)
	}
}

func TestTables(t *testing.T) {
	entry := func(guid string, offset, length uint32) []byte {
		e := append([]byte{}, guidBytes(guid)...)
		for _, v := range []uint32{offset, length} {
			e = append(e, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
		}
		return e
	}
	end := make([]byte, entryBytes)
	cases := []struct {
		name string
		data []byte
		says string
	}{
		{"no end", entry(abi.VcekGUID, 0, 4), "end within entry 1"},
		{"an offset outside", append(entry(abi.VcekGUID, 48, 1), end...), "is 1 bytes at 48 of 48"},
		{"a sum that overflows", append(entry(abi.VcekGUID, 0xffffffff, 2), end...), "4294967295 of 48"},
		{"nothing", append(entry(abi.VcekGUID, 4, 0), end...), "is 0 bytes"},
		{"twice", append(append(entry(abi.VcekGUID, 0, 4), entry(abi.VcekGUID, 0, 4)...), end...), "twice"},
	}
	for _, c := range cases {
		if _, err := parseTable(c.data); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
	many := []byte{}
	for i := range maxCertificates + 1 {
		guid := entry(abi.VcekGUID, 0, 4)
		guid[0] = byte(i)
		many = append(many, guid...)
	}
	if _, err := parseTable(append(many, end...)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("many: %v", err)
	}
	read, err := parseTable(formatTable(named{abi.VcekGUID, []byte("a")}, named{crlGUID, []byte("bc")}))
	if err != nil || string(read[abi.VcekGUID]) != "a" || string(read[crlGUID]) != "bc" {
		t.Errorf("written and read: %v %v", read, err)
	}
}

func FuzzVerify(f *testing.F) {
	report, support := recorded()
	f.Add(report, support)
	f.Add(report[:100], formatTable())
	anchors := vendor(f)
	f.Fuzz(func(t *testing.T, r, s []byte) {
		c, err := Verify(r, s, anchors, nil, recordedAt)
		if err == nil && !bytes.Equal(r, report) {
			t.Errorf("another report was taken: %+v", c)
		}
		if err != nil && !errs.Is(err, errs.Forbidden) {
			t.Errorf("kind %s: %v", errs.KindOf(err), err)
		}
	})
}

func BenchmarkVerifyRecorded(b *testing.B) {
	report, support := recorded()
	anchors := vendor(b)
	for b.Loop() {
		if _, err := Verify(report, support, anchors, nil, recordedAt); err != nil {
			b.Fatal(err)
		}
	}
}
