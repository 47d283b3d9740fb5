package tdx

import (
	"crypto/x509"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/testing/testdata"

	"surety/enclave"
)

// recordedAt is an instant at which every certificate of the recorded quote is in force.
var recordedAt = time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC)

func root(t *testing.T) *x509.Certificate {
	t.Helper()
	r, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// quote is the recorded one without the line of text that the library's testers put behind it.
func quote() []byte {
	signed := int(binary.LittleEndian.Uint32(testdata.RawQuote[headerBytes+bodyBytes:]))
	return testdata.RawQuote[: headerBytes+bodyBytes+4+signed : headerBytes+bodyBytes+4+signed]
}

func TestRecordedQuote(t *testing.T) {
	c, err := Verify(quote(), root(t), nil, recordedAt)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
	if c.TEE != enclave.TDX || c.TCB.Status != enclave.TCBUnknown {
		t.Errorf("claims %+v", c)
	}
}

func TestEveryByteOfTheQuoteCounts(t *testing.T) {
	r := root(t)
	good := quote()
	bad := make([]byte, len(good))
	for i := range good {
		copy(bad, good)
		bad[i] ^= 1 << (i % 8)
		if _, err := Verify(bad, r, nil, recordedAt); err == nil {
			t.Errorf("byte %d of %d changed, and nobody saw", i, len(bad))
		}
	}
}
