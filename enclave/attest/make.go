package attest

import (
	"context"
	"crypto/sha256"

	"surety/base/errs"
	"surety/enclave"
)

// launcher is a device that can be told what it was launched for. Only a simulation can: of a real
// machine, its host sets the host data once, at its start.
type launcher interface {
	ReportFor(ctx context.Context, data [64]byte, hostData [32]byte) (report, support []byte, err error)
}

// Make returns evidence for a binding. signed is the signed manifest, whose measurement must be the
// binding's; nil where the binding has none. Kind Invalid where it is another's.
func Make(ctx context.Context, d Device, signed []byte, b enclave.Binding) (*enclave.Evidence, error) {
	var manifest []byte
	if len(signed) > 0 {
		opened, err := enclave.OpenSigned(signed)
		if err != nil {
			return nil, errs.Wrap(err, "attest.make")
		}
		if opened.Measure != b.Measure {
			return nil, errs.New(errs.Invalid, "attest.make: bound to %s, and the manifest measures %s",
				b.Measure, opened.Measure)
		}
		manifest = opened.Bytes
	} else if !b.Measure.IsZero() {
		return nil, errs.New(errs.Invalid, "attest.make: bound to %s without a manifest", b.Measure)
	}
	data, err := b.ReportData()
	if err != nil {
		return nil, err
	}
	e := &enclave.Evidence{Format: enclave.EvidenceFormat, TEE: d.TEE(), Signed: signed,
		Purpose: b.Purpose}
	if l, able := d.(launcher); able && manifest != nil {
		e.Report, e.Support, err = l.ReportFor(ctx, data, sha256.Sum256(manifest))
	} else {
		e.Report, e.Support, err = d.Report(ctx, data)
	}
	if err != nil {
		return nil, errs.Wrap(err, "attest.make: %s", d.Describe())
	}
	return e, nil
}
