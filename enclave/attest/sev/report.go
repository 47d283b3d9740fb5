package sev

import (
	"bytes"
	"crypto/x509"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	spb "github.com/google/go-sev-guest/proto/sevsnp"

	"surety/base/errs"
)

// parse reads a report, and refuses one that is not all that it seems: the library looks at fields,
// so a report of whose bytes some are in no field has to be refused here.
func parse(report []byte) (*spb.Report, error) {
	if len(report) != ReportBytes {
		return nil, errs.New(errs.Forbidden, "sev.verify: a report of %d bytes, want %d", len(report),
			ReportBytes)
	}
	parsed, err := abi.ReportToProto(report)
	if err != nil {
		return nil, refuse(err, "the report's form")
	}
	again, err := abi.ReportToAbiBytes(parsed)
	if err != nil || !bytes.Equal(again, report) {
		return nil, errs.New(errs.Forbidden, "sev.verify: the report has bytes that belong to no field")
	}
	// The host may ask for a report in the guest's name, at level 0xffffffff; and software of the
	// guest that is not its most privileged may not speak for all of it (AMD 56860 section 7.3).
	if parsed.Vmpl != 0 {
		return nil, errs.New(errs.Forbidden, "sev.verify: asked for at privilege level %d, want 0",
			parsed.Vmpl)
	}
	policy, err := abi.ParseSnpPolicy(parsed.Policy)
	if err != nil {
		return nil, refuse(err, "the guest's policy")
	}
	if policy.MigrateMA {
		return nil, errs.New(errs.Forbidden, "sev.verify: the guest's policy lets a migration agent move "+
			"it elsewhere")
	}
	return parsed, nil
}

// endorsement returns the certificate of the key that signed the report, once it is seen to be made
// for this chip at this firmware version.
func endorsement(r *spb.Report, t table, info abi.SignerInfo) (*x509.Certificate, error) {
	guid := abi.VcekGUID
	switch info.SigningKey {
	case abi.VcekReportSigner:
	case abi.VlekReportSigner:
		guid = abi.VlekGUID
	default:
		return nil, errs.New(errs.Forbidden, "sev.verify: the report is signed by key kind %s, want VCEK "+
			"or VLEK", info.SigningKey)
	}
	der, found := t[guid]
	if !found {
		return nil, errs.New(errs.Forbidden, "sev.verify: the certificate of the %s that signed is not "+
			"with the report", info.SigningKey)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, refuse(err, "the %s certificate", info.SigningKey)
	}
	extensions, err := kds.CertificateExtensions(leaf, info.SigningKey)
	if err != nil {
		return nil, refuse(err, "the %s certificate", info.SigningKey)
	}
	if uint64(extensions.TCBVersion) != r.ReportedTcb {
		return nil, errs.New(errs.Forbidden, "sev.verify: the %s certificate is for firmware %#x, the "+
			"report of %#x", info.SigningKey, uint64(extensions.TCBVersion), r.ReportedTcb)
	}
	masked := info.MaskChipKey || info.SigningKey == abi.VlekReportSigner
	if !masked && !bytes.Equal(extensions.HWID, r.ChipId) {
		return nil, errs.New(errs.Forbidden, "sev.verify: the VCEK certificate is for chip %.16x, the "+
			"report of %.16x", extensions.HWID, r.ChipId)
	}
	return leaf, nil
}
