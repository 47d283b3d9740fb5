package tdx

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/abi"
	"github.com/google/go-tdx-guest/pcs"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	library "github.com/google/go-tdx-guest/testing"
	"github.com/google/go-tdx-guest/testing/testdata"

	"surety/base/errs"
	"surety/enclave"
)

// recordedAt is an instant at which every certificate of the recorded quote is in force, and the
// recorded collateral.
var recordedAt = time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC)

func intel(t testing.TB) *x509.Certificate {
	t.Helper()
	r, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// recordedQuote is what a Sapphire Rapids machine of Google's made, without the line of text that the
// library's testers put behind it.
func recordedQuote() []byte {
	end := headerBytes + bodyBytes + 4
	end += int(binary.LittleEndian.Uint32(testdata.RawQuote[end-4:]))
	return bytes.Clone(testdata.RawQuote[:end])
}

// The root that is compiled in is the one whose hash Intel publishes.
func TestRootIsIntels(t *testing.T) {
	const published = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
	if sum := sha256.Sum256(intel(t).Raw); hex.EncodeToString(sum[:]) != published {
		t.Errorf("root %x, want %s", sum, published)
	}
}

func TestRecordedQuote(t *testing.T) {
	quote := recordedQuote()
	c, err := Verify(quote, intel(t), nil, recordedAt)
	if err != nil {
		t.Fatal(err)
	}
	data := quote[headerBytes+bodyBytes-64 : headerBytes+bodyBytes]
	if c.TEE != enclave.TDX || c.TCB.Status != enclave.TCBUnknown || c.PlatformDebug ||
		!bytes.Equal(c.ReportData[:], data) || len(c.Platform) != 48 || len(c.Chip) != 16 ||
		len(c.HostData) != 48 || c.RootName != "Intel SGX Root CA" {
		t.Errorf("claims %+v", c)
	}
	padded := append(quote, make([]byte, 100)...)
	if _, err := Verify(padded, intel(t), nil, recordedAt); err != nil {
		t.Errorf("with the rest of the machine's buffer: %v", err)
	}
}

func TestEveryByteOfTheQuoteCounts(t *testing.T) {
	r, good := intel(t), recordedQuote()
	bad := make([]byte, len(good))
	for i := range good {
		copy(bad, good)
		bad[i] ^= 1 << (i % 8)
		if _, err := Verify(bad, r, nil, recordedAt); !errs.Is(err, errs.Forbidden) {
			t.Errorf("byte %d of %d changed: %v", i, len(bad), err)
		}
	}
}

// A quote that ends anywhere is refused, and nothing panics.
func TestEveryLengthIsRefused(t *testing.T) {
	r, good := intel(t), recordedQuote()
	for n := range len(good) {
		if _, err := Verify(good[:n], r, nil, recordedAt); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%d bytes of %d: %v", n, len(good), err)
		}
	}
}

func TestQuotesThatAreRefused(t *testing.T) {
	edit := func(at int, value byte) []byte {
		quote := recordedQuote()
		quote[at] = value
		return quote
	}
	signed := headerBytes + bodyBytes + 4
	cases := []struct {
		name  string
		quote []byte
		at    time.Time
		says  string
	}{
		{"version 5", edit(0, 5), recordedAt, "a quote of version 5; only version 4"},
		{"bytes behind it", append(recordedQuote(), 1), recordedAt, "is not zero"},
		{"another report", edit(headerBytes+520, 1), recordedAt, "the quote's signatures"},
		{"another attestation key", edit(signed+64, 1), recordedAt, "the quote's signatures"},
		{"before its time", recordedQuote(), time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC), "not yet valid"},
		{"expired", recordedQuote(), time.Date(2050, 1, 2, 0, 0, 0, 0, time.UTC), "expired"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Verify(c.quote, intel(t), nil, c.at)
			if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// What is signed and not Intel's is refused: no machine would give such a quote, so it is made of the
// parsed one.
func TestGenuine(t *testing.T) {
	cases := []struct {
		name string
		edit func(qe *pb.EnclaveReport, body *pb.TDQuoteBody)
		says string
	}{
		{"as recorded", func(*pb.EnclaveReport, *pb.TDQuoteBody) {}, ""},
		{"another signer", func(qe *pb.EnclaveReport, _ *pb.TDQuoteBody) { qe.MrSigner[0] ^= 1 },
			"the quoting enclave is product 2 of"},
		{"another product", func(qe *pb.EnclaveReport, _ *pb.TDQuoteBody) { qe.IsvProdId = 1 },
			"the quoting enclave is product 1 of"},
		{"a debugged enclave", func(qe *pb.EnclaveReport, _ *pb.TDQuoteBody) { qe.Attributes[0] |= 2 },
			"may be debugged"},
		{"another module", func(_ *pb.EnclaveReport, b *pb.TDQuoteBody) { b.MrSignerSeam[3] = 1 },
			"the TDX module is signed by"},
		{"a module's attributes", func(_ *pb.EnclaveReport, b *pb.TDQuoteBody) { b.SeamAttributes[0] = 1 },
			"has attributes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			q := parse(t)
			c.edit(q.GetSignedData().GetCertificationData().GetQeReportCertificationData().GetQeReport(),
				q.GetTdQuoteBody())
			err := genuine(q)
			if c.says == "" && err != nil || c.says != "" && (err == nil ||
				!strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func parse(t *testing.T) *pb.QuoteV4 {
	t.Helper()
	parsed, err := abi.QuoteToProto(recordedQuote())
	if err != nil {
		t.Fatal(err)
	}
	return parsed.(*pb.QuoteV4)
}

// A debugged TD is seen.
func TestDebuggedTD(t *testing.T) {
	q := parse(t)
	q.TdQuoteBody.TdAttributes[0] = 1
	c, err := claims(q, intel(t), &pcs.PckExtensions{PPID: "00"}, enclave.TCB{})
	if err != nil || !c.PlatformDebug {
		t.Errorf("%+v %v", c, err)
	}
}

// The recorded collateral is Intel's, of another machine: its signatures hold, and its levels do not
// fit, which is refused. What it is not in force for is unknown.
func TestRecordedCollateral(t *testing.T) {
	collateral := recordedCollateral(t)
	_, err := Verify(recordedQuote(), intel(t), collateral, recordedAt)
	if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), "no matching TCB level") {
		t.Errorf("levels of another machine: %v", err)
	}
	for _, at := range []time.Time{recordedAt.AddDate(2, 0, 0), recordedAt.AddDate(0, -8, 0)} {
		c, err := Verify(recordedQuote(), intel(t), collateral, at)
		if err != nil || c.TCB.Status != enclave.TCBUnknown || c.TCB.CollateralEnds == 0 {
			t.Errorf("at %s: %+v %v", at, c, err)
		}
	}
	for address := range collateral {
		if strings.Contains(address, "/tcb?") && !strings.Contains(address, "#") {
			continue // without it there is no collateral for this machine at all
		}
		less := map[string][]byte{}
		for other, content := range collateral {
			if other != address {
				less[other] = content
			}
		}
		if _, err := Verify(recordedQuote(), intel(t), less, recordedAt); !errs.Is(err, errs.Forbidden) {
			t.Errorf("without %s: %v", address, err)
		}
	}
}

// A changed statement is refused by its signature.
func TestCollateralIsSigned(t *testing.T) {
	for _, part := range []string{"/tcb?", "/qe/identity"} {
		collateral := recordedCollateral(t)
		for address, content := range collateral {
			if strings.Contains(address, part) && !strings.Contains(address, "#") {
				collateral[address] = bytes.Replace(content, []byte(`"tcbEvaluationDataNumber":`),
					[]byte(`"tcbEvaluationDataNumber":1`), 1)
			}
		}
		_, err := Verify(recordedQuote(), intel(t), collateral, recordedAt)
		if err == nil || !strings.Contains(err.Error(), "could not verify response body") {
			t.Errorf("%s changed: %v", part, err)
		}
	}
}

func recordedCollateral(t *testing.T) map[string][]byte {
	t.Helper()
	collateral := map[string][]byte{}
	for address, answer := range library.TestGetter.Responses {
		collateral[address] = answer.Body
		for header, values := range answer.Header {
			collateral[Statement(address, header)] = []byte(values[0])
		}
	}
	return collateral
}

// The library says a level in words; what is not known word for word is no level.
func TestLevels(t *testing.T) {
	for text, want := range map[string]enclave.TCBStatus{
		`x: TCB Status is not "UpToDate", found "OutOfDate"`:                    enclave.TCBOutOfDate,
		`x: TDX Module TCB Status is not "UpToDate", found "SWHardeningNeeded"`: enclave.TCBOutOfDate,
		`a TCB Status is not "UpToDate", found "Revoked"`:                       enclave.TCBRevoked,
		`a TCB Status is not "UpToDate", found "UpToDate"`:                      0,
		`a TCB Status is not "UpToDate", found "Better"`:                        0,
		`a TCB Status is not "UpToDate", found "Revoked" and more`:              0,
		`no matching TCB level found`:                                           0,
	} {
		if got := levelOf(text); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	good := recordedQuote()
	f.Add(good)
	f.Add(good[:700])
	r := intel(f)
	f.Fuzz(func(t *testing.T, quote []byte) {
		_, err := Verify(quote, r, nil, recordedAt)
		if err == nil && !bytes.Equal(bytes.TrimRight(quote, "\x00"), bytes.TrimRight(good, "\x00")) {
			t.Error("another quote was taken")
		}
		if err != nil && !errs.Is(err, errs.Forbidden) {
			t.Errorf("kind %s: %v", errs.KindOf(err), err)
		}
	})
}

func BenchmarkVerifyRecorded(b *testing.B) {
	quote, root := recordedQuote(), intel(b)
	for b.Loop() {
		if _, err := Verify(quote, root, nil, recordedAt); err != nil {
			b.Fatal(err)
		}
	}
}
