package attest

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"testing"
	"time"

	sevdata "github.com/google/go-sev-guest/verify/testdata"
	tdxdata "github.com/google/go-tdx-guest/testing/testdata"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
)

// recordedEvidence is what real machines made, for report data of other programs.
type recordedEvidence struct {
	evidence *enclave.Evidence
	data     []byte
	platform []byte
	chip     []byte
	debug    bool
}

// recordedAt is an instant at which all certificates in it are in force.
var recordedAt = clock.Instant(time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC).UnixNano())

// milan is the report of a machine of Google's with its certificate in a table of one.
func milan() recordedEvidence {
	report := sevdata.AttestationBytes[:0x4A0]
	table := make([]byte, 48)
	copy(table, "\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd")
	binary.LittleEndian.PutUint32(table[16:], 48)
	binary.LittleEndian.PutUint32(table[20:], uint32(len(sevdata.VcekBytes)))
	return recordedEvidence{&enclave.Evidence{Format: 1, TEE: enclave.SNP, Purpose: enclave.ForRelease,
		Report: report, Support: append(table, sevdata.VcekBytes...)}, report[0x50:0x90],
		report[0x90:0xC0], report[0x1A0:0x1E0], true}
}

// sapphireRapids is the quote of a machine of Google's, without what its testers put behind it.
func sapphireRapids() recordedEvidence {
	quote := tdxdata.RawQuote[:636+binary.LittleEndian.Uint32(tdxdata.RawQuote[632:])]
	body := quote[48:632]
	platform := sha512.New384()
	platform.Write(body[136:184])
	platform.Write(body[328 : 328+3*48])
	return recordedEvidence{&enclave.Evidence{Format: 1, TEE: enclave.TDX, Purpose: enclave.ForRelease,
		Report: quote}, body[520:584], platform.Sum(nil), nil, false}
}

// Evidence of real machines goes from bytes to a token, and each rule of a policy is felt.
func TestRecordedEvidence(t *testing.T) {
	b := newBench(t)
	issuer, id := testIssuer()
	for name, r := range map[string]recordedEvidence{"SEV-SNP": milan(), "TDX": sapphireRapids()} {
		t.Run(name, func(t *testing.T) {
			encoded, err := r.evidence.Encode()
			if err != nil {
				t.Fatal(err)
			}
			e, err := enclave.DecodeEvidence(encoded)
			if err != nil {
				t.Fatal(err)
			}
			c, err := b.verifier.VerifyRaw(e, r.data, recordedAt)
			if err != nil {
				t.Fatal(err)
			}
			if c.TEE != e.TEE || !bytes.Equal(c.Platform, r.platform) || c.Debug() != r.debug ||
				r.chip != nil && !bytes.Equal(c.Chip, r.chip) {
				t.Errorf("claims %+v", c)
			}
			decideRecorded(t, b, c, r)
			token, err := issuer.Issue(c, "hardware", enclave.Decision{}, nil, recordedAt, clock.Minute)
			if err != nil {
				t.Fatal(err)
			}
			got, err := OpenToken(token, id, recordedAt)
			if err != nil || got.Simulated || got.Guarantee != enclave.Hardware || got.Status != StatusWarning {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
}

// decideRecorded begins with a policy that takes the machine, and spoils one rule a row.
func decideRecorded(t *testing.T, b *bench, c *enclave.Claims, r recordedEvidence) {
	t.Helper()
	rows := []struct {
		name string
		want enclave.Result
		edit func(*enclave.Policy)
	}{
		{"as it is", enclave.Released, func(*enclave.Policy) {}},
		{"only simulations", enclave.MachineRefused, func(p *enclave.Policy) {
			p.Machines[0].TEE, p.Machines[0].Roots = enclave.Sim, []enclave.KeyID{{1}}
		}},
		{"another root", enclave.RootRefused, func(p *enclave.Policy) {
			p.Machines[0].Roots = []enclave.KeyID{{1}}
		}},
		{"another machine", enclave.ChipRefused, func(p *enclave.Policy) {
			p.Machines[0].Chips = [][]byte{bytes.Repeat([]byte{1}, len(c.Chip))}
		}},
		{"another system", enclave.PlatformRefused, func(p *enclave.Policy) {
			p.Machines[0].Platforms = [][]byte{make([]byte, 48)}
		}},
		{"current firmware", enclave.TCBRefused, func(p *enclave.Policy) { p.TCB = 0 }},
	}
	if r.debug {
		rows = append(rows, rows[0])
		rows[len(rows)-1].name, rows[len(rows)-1].want = "no debugging", enclave.DebugRefused
		rows[len(rows)-1].edit = func(p *enclave.Policy) { p.Debug = false }
	}
	for _, row := range rows {
		p := enclave.Policy{Name: "hardware", Bare: true, Debug: true, TCB: enclave.TCBUnknown,
			Machines: []enclave.MachineRule{{TEE: c.TEE, Platforms: [][]byte{r.platform}}}}
		row.edit(&p)
		d := p.Decide(c, enclave.Facts{Now: recordedAt, VendorRoots: b.verifier.VendorRoots()})
		if d.Result != row.want {
			t.Errorf("%s: %s, want %s", row.name, d.Result, row.want)
		}
	}
}

// A machine's evidence is none of another kind's, nor of another challenge's.
func TestRecordedEvidenceIsRefused(t *testing.T) {
	b := newBench(t)
	for name, r := range map[string]recordedEvidence{"SEV-SNP": milan(), "TDX": sapphireRapids()} {
		for _, tee := range []enclave.TEE{enclave.Sim, enclave.SNP, enclave.TDX, enclave.TPM} {
			e := *r.evidence
			e.TEE = tee
			_, err := b.verifier.VerifyRaw(&e, r.data, recordedAt)
			if (err == nil) != (tee == r.evidence.TEE) || err != nil && !errs.Is(err, errs.Forbidden) {
				t.Errorf("%s called %s: %v", name, tee, err)
			}
		}
		if _, err := b.verifier.VerifyRaw(r.evidence, make([]byte, 64), recordedAt); !errs.
			Is(err, errs.Forbidden) {
			t.Errorf("%s for another challenge: %v", name, err)
		}
		bind := enclave.Binding{Purpose: enclave.ForRelease, Nonce: make([]byte, 16), Key: []byte{1}}
		if _, err := b.verifier.Verify(r.evidence, bind, recordedAt); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s by our own rule: %v", name, err)
		}
	}
}
