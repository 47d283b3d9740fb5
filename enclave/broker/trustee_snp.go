package broker

import (
	"bytes"
	"encoding/binary"
	"encoding/json"

	"surety/base/errs"
)

// snpBytes is a report of AMD SEV-SNP that Trustee's guests send field by field, put together again;
// or its bytes as they are. What is put together wrongly does not verify: the signature is over it.
type snpBytes []byte

// UnmarshalJSON takes both forms.
func (s *snpBytes) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '{' {
		var raw rawBytes
		err := raw.UnmarshalJSON(data)
		*s = snpBytes(raw)
		return err
	}
	var fields snpFields
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields() // a field that is not known is one that would be missing
	if err := decoder.Decode(&fields); err != nil {
		return errs.As(errs.Invalid, err, "attestation_report")
	}
	var err error
	*s, err = fields.report()
	return err
}

// snpTCB is a TCB version; fmc is that of Turin and later, whose bytes stand in another order.
type snpTCB struct {
	FMC        *uint8 `json:"fmc"`
	Bootloader uint8  `json:"bootloader"`
	TEE        uint8  `json:"tee"`
	SNP        uint8  `json:"snp"`
	Microcode  uint8  `json:"microcode"`
}

func (t *snpTCB) bytes() []byte {
	if t.FMC != nil {
		return []byte{*t.FMC, t.Bootloader, t.TEE, t.SNP, 0, 0, 0, t.Microcode}
	}
	return []byte{t.Bootloader, t.TEE, 0, 0, 0, 0, t.SNP, t.Microcode}
}

// snpVersion is a version of firmware.
type snpVersion struct {
	Major uint8 `json:"major"`
	Minor uint8 `json:"minor"`
	Build uint8 `json:"build"`
}

func (v *snpVersion) bytes() []byte { return []byte{v.Build, v.Minor, v.Major} }

// snpFields are the fields of a report by the names of the Rust crate "sev".
type snpFields struct {
	Version         uint32     `json:"version"`
	GuestSVN        uint32     `json:"guest_svn"`
	Policy          *uint64    `json:"policy"`
	FamilyID        rawBytes   `json:"family_id"`
	ImageID         rawBytes   `json:"image_id"`
	VMPL            uint32     `json:"vmpl"`
	SigAlgo         uint32     `json:"sig_algo"`
	CurrentTCB      snpTCB     `json:"current_tcb"`
	PlatInfo        uint64     `json:"plat_info"`
	KeyInfo         uint32     `json:"key_info"`
	ReportData      rawBytes   `json:"report_data"`
	Measurement     rawBytes   `json:"measurement"`
	HostData        rawBytes   `json:"host_data"`
	IDKeyDigest     rawBytes   `json:"id_key_digest"`
	AuthorKeyDigest rawBytes   `json:"author_key_digest"`
	ReportID        rawBytes   `json:"report_id"`
	ReportIDMA      rawBytes   `json:"report_id_ma"`
	ReportedTCB     snpTCB     `json:"reported_tcb"`
	Family          *uint8     `json:"cpuid_fam_id"`
	Model           *uint8     `json:"cpuid_mod_id"`
	Stepping        *uint8     `json:"cpuid_step"`
	ChipID          rawBytes   `json:"chip_id"`
	CommittedTCB    snpTCB     `json:"committed_tcb"`
	Current         snpVersion `json:"current"`
	Committed       snpVersion `json:"committed"`
	LaunchTCB       snpTCB     `json:"launch_tcb"`
	LaunchMit       *uint64    `json:"launch_mit_vector"`
	CurrentMit      *uint64    `json:"current_mit_vector"`
	Signature       snpECDSA   `json:"signature"`
}

// snpECDSA is a signature's two numbers, each in 72 bytes, the least significant first.
type snpECDSA struct {
	R rawBytes `json:"r"`
	S rawBytes `json:"s"`
}

// snpReportBytes is the size of a report.
const snpReportBytes = 1184

// report lays the fields out as the processor did (AMD 56860, ATTESTATION_REPORT).
func (f *snpFields) report() ([]byte, error) {
	if f.Policy == nil {
		return nil, errs.New(errs.Invalid, "attestation_report: policy is not there")
	}
	out := make([]byte, snpReportBytes)
	for _, field := range [...]struct {
		name     string
		at, size int
		value    []byte
	}{
		{"family_id", 0x10, 16, f.FamilyID}, {"image_id", 0x20, 16, f.ImageID},
		{"current_tcb", 0x38, 8, f.CurrentTCB.bytes()}, {"report_data", 0x50, 64, f.ReportData},
		{"measurement", 0x90, 48, f.Measurement}, {"host_data", 0xc0, 32, f.HostData},
		{"id_key_digest", 0xe0, 48, f.IDKeyDigest}, {"author_key_digest", 0x110, 48, f.AuthorKeyDigest},
		{"report_id", 0x140, 32, f.ReportID}, {"report_id_ma", 0x160, 32, f.ReportIDMA},
		{"reported_tcb", 0x180, 8, f.ReportedTCB.bytes()}, {"chip_id", 0x1a0, 64, f.ChipID},
		{"committed_tcb", 0x1e0, 8, f.CommittedTCB.bytes()}, {"current", 0x1e8, 3, f.Current.bytes()},
		{"committed", 0x1ec, 3, f.Committed.bytes()}, {"launch_tcb", 0x1f0, 8, f.LaunchTCB.bytes()},
		{"signature.r", 0x2a0, 72, f.Signature.R}, {"signature.s", 0x2e8, 72, f.Signature.S},
	} {
		if len(field.value) != field.size {
			return nil, errs.New(errs.Invalid, "attestation_report: %s has %d bytes, want %d", field.name,
				len(field.value), field.size)
		}
		copy(out[field.at:], field.value)
	}
	binary.LittleEndian.PutUint32(out, f.Version)
	binary.LittleEndian.PutUint32(out[0x4:], f.GuestSVN)
	binary.LittleEndian.PutUint64(out[0x8:], *f.Policy)
	binary.LittleEndian.PutUint32(out[0x30:], f.VMPL)
	binary.LittleEndian.PutUint32(out[0x34:], f.SigAlgo)
	binary.LittleEndian.PutUint64(out[0x40:], f.PlatInfo)
	binary.LittleEndian.PutUint32(out[0x48:], f.KeyInfo)
	for i, part := range [...]*uint8{f.Family, f.Model, f.Stepping} {
		if part != nil {
			out[0x188+i] = *part
		}
	}
	for i, vector := range [...]*uint64{f.LaunchMit, f.CurrentMit} {
		if vector != nil {
			binary.LittleEndian.PutUint64(out[0x1f8+8*i:], *vector)
		}
	}
	return out, nil
}
