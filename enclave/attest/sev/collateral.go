package sev

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"time"

	"github.com/google/go-sev-guest/kds"
	spb "github.com/google/go-sev-guest/proto/sevsnp"

	"surety/base/errs"
	"surety/enclave"
)

// Minimum is a statement of the oldest firmware that is current, by product line, as collateral at
// MinimumURL. AMD names it in bulletins for people and has no form of it for machines: whoever runs
// the verifier writes it down, with the dates between which it may be relied on.
type Minimum struct {
	Bootloader uint8 `json:"bootloader"`
	TEE        uint8 `json:"tee"`
	SNP        uint8 `json:"snp"`
	Microcode  uint8 `json:"microcode"`
	At         int64 `json:"at"`   // seconds since 1970: when it was written down
	Ends       int64 `json:"ends"` // and until when it counts
}

// MinimumURL is where the collateral has the Minimum of a product line: Milan or Genoa.
func MinimumURL(line string) string { return "surety:snp/minimum/" + line }

// recordedVCEK is the chip's certificate from the collateral, by the URL at which AMD has it, for
// machines whose host hands none over; nil where it is not there. It has to hold like any other.
func recordedVCEK(r *spb.Report, collateral map[string][]byte) []byte {
	for _, line := range [...]string{"Milan", "Genoa", "Turin"} {
		url := kds.VCEKCertURL(line, r.ChipId, kds.TCBVersion(r.ReportedTcb))
		if der, found := collateral[url]; found {
			return der
		}
	}
	return nil
}

// tcb says how current the firmware is. Without a list of revoked certificates that is in force, or
// without a Minimum, the status is unknown; a chain with a revoked certificate is refused.
//
// A simulation is its own vendor: its list of revoked certificates is all that it states.
func (a Anchor) tcb(r *spb.Report, leaf *x509.Certificate, t table, collateral map[string][]byte,
	now time.Time) (enclave.TCB, error) {
	tcb := enclave.TCB{Version: r.ReportedTcb, Status: enclave.TCBUnknown}
	list, err := a.revoked(t, collateral)
	if list == nil || err != nil {
		return tcb, err
	}
	below, err := a.intermediate(t)
	if err != nil {
		return tcb, refuse(err, "the intermediate certificate")
	}
	for _, entry := range list.RevokedCertificateEntries {
		if same(entry.SerialNumber, below.SerialNumber) || same(entry.SerialNumber, leaf.SerialNumber) {
			return tcb, errs.New(errs.Forbidden, "sev.verify: certificate %x was revoked at %s",
				entry.SerialNumber, entry.RevocationTime.UTC().Format(time.RFC3339))
		}
	}
	tcb.CollateralAt, tcb.CollateralEnds = list.ThisUpdate.Unix(), list.NextUpdate.Unix()
	if a.sim {
		if inForce(tcb, now) {
			tcb.Status = enclave.TCBUpToDate
		}
		return tcb, nil
	}
	return a.compare(tcb, collateral, now)
}

func same(a, b *big.Int) bool { return a != nil && b != nil && a.Cmp(b) == 0 }

func inForce(tcb enclave.TCB, now time.Time) bool {
	return tcb.CollateralAt <= now.Unix() && now.Unix() < tcb.CollateralEnds
}

// revoked returns the root's list of revoked certificates: from the collateral, or as it came with
// the report; nil where there is none. One that the root did not sign is refused.
func (a Anchor) revoked(t table, collateral map[string][]byte) (*x509.RevocationList, error) {
	der, found := collateral[a.crl]
	if a.sim || !found {
		der, found = t[crlGUID]
	}
	if !found {
		return nil, nil
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, refuse(err, "the list of revoked certificates")
	}
	if err := list.CheckSignatureFrom(a.root); err != nil {
		return nil, refuse(err, "the list of revoked certificates is not %s's", a.Name())
	}
	return list, nil
}

// compare sets the status by the Minimum of the product line, where there is one in force.
func (a Anchor) compare(tcb enclave.TCB, collateral map[string][]byte, now time.Time,
) (enclave.TCB, error) {
	data, found := collateral[MinimumURL(a.line)]
	if !found || a.line == "Turin" {
		return tcb, nil // Turin's versions have parts in another order, which the library does not know
	}
	minimum, err := ParseMinimum(data)
	if err != nil {
		return tcb, refuse(err, "collateral %s", MinimumURL(a.line))
	}
	tcb.CollateralAt = min(tcb.CollateralAt, minimum.At)
	tcb.CollateralEnds = min(tcb.CollateralEnds, minimum.Ends)
	if !inForce(tcb, now) || minimum.At > now.Unix() {
		return tcb, nil
	}
	want := kds.TCBParts{BlSpl: minimum.Bootloader, TeeSpl: minimum.TEE, SnpSpl: minimum.SNP,
		UcodeSpl: minimum.Microcode}
	tcb.Status = enclave.TCBOutOfDate
	if kds.TCBPartsLE(want, kds.DecomposeTCBVersion(kds.TCBVersion(tcb.Version))) {
		tcb.Status = enclave.TCBUpToDate
	}
	return tcb, nil
}

// ParseMinimum reads a Minimum from JSON; kind Invalid where a field is unknown or the dates are
// the wrong way round.
func ParseMinimum(data []byte) (m Minimum, err error) {
	if len(data) > maxMinimum {
		return m, errs.New(errs.Invalid, "sev.minimum: %d bytes, the limit is %d", len(data), maxMinimum)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return m, errs.As(errs.Invalid, err, "sev.minimum")
	}
	if m.At <= 0 || m.Ends <= m.At {
		return m, errs.New(errs.Invalid, "sev.minimum: in force from %d to %d", m.At, m.Ends)
	}
	return m, nil
}
