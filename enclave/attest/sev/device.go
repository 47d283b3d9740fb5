package sev

import (
	"context"
	"sync"

	"github.com/google/go-sev-guest/client"

	"surety/base/errs"
	"surety/enclave"
)

// DevicePath is the kernel's device of a guest of SEV-SNP.
const DevicePath = "/dev/sev-guest"

// Device is the processor's security module, by the older of the kernel's two ways: requests to
// /dev/sev-guest. The newer one, configfs, is the same for all processors and stands in attest.
type Device struct {
	mu       sync.Mutex // a guest has one sequence of messages
	provider client.LinuxIoctlQuoteProvider
}

// Open looks for the device; kind Unavailable where there is none that this user may use.
func Open() (*Device, error) {
	d := &Device{}
	if !d.provider.IsSupported() {
		return nil, errs.New(errs.Unavailable, "sev.open: no %s that this user may use", DevicePath)
	}
	return d, nil
}

// TEE is enclave.SNP.
func (d *Device) TEE() enclave.TEE { return enclave.SNP }

// Describe says what it is.
func (d *Device) Describe() string { return "AMD SEV-SNP by " + DevicePath }

// Close lets go of nothing: the device is opened for each request.
func (d *Device) Close() error { return nil }

// Report asks the security module for a report of the most privileged level, and the host for the
// certificates that it keeps. Some hosts keep none: then a verifier needs the chip's certificate as
// collateral.
func (d *Device) Report(ctx context.Context, data [64]byte) (report, support []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, errs.As(errs.Canceled, err, "sev.report")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	raw, err := d.provider.GetRawQuoteAtLevel(data, 0)
	if err != nil {
		return nil, nil, errs.As(errs.Unavailable, err, "sev.report")
	}
	if len(raw) < ReportBytes {
		return nil, nil, errs.New(errs.Unavailable, "sev.report: %d bytes, want %d", len(raw), ReportBytes)
	}
	return raw[:ReportBytes], raw[ReportBytes:], nil
}
