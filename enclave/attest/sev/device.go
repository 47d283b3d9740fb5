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
	mu     sync.Mutex // guards device: a guest has one sequence of messages
	device *client.LinuxDevice
}

// Open opens the device at the path; kind Unavailable where there is none.
func Open(path string) (*Device, error) {
	d := &Device{device: &client.LinuxDevice{}}
	if err := d.device.Open(path); err != nil {
		return nil, errs.As(errs.Unavailable, err, "sev.open")
	}
	return d, nil
}

// TEE is enclave.SNP.
func (d *Device) TEE() enclave.TEE { return enclave.SNP }

// Describe says what it is.
func (d *Device) Describe() string { return "AMD SEV-SNP by " + DevicePath }

// Close lets go of the device.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errs.As(errs.Internal, d.device.Close(), "sev.close")
}

// Report asks the security module for a report of the most privileged level, and the host for the
// certificates that it keeps. Some hosts keep none: then a verifier needs the chip's certificate as
// collateral.
func (d *Device) Report(ctx context.Context, data [64]byte) (report, support []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, errs.As(errs.Canceled, err, "sev.report")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	report, support, err = client.GetRawExtendedReportAtVmpl(d.device, data, 0)
	if err != nil {
		return nil, nil, errs.As(errs.Unavailable, err, "sev.report")
	}
	if len(report) > ReportBytes {
		report = report[:ReportBytes]
	}
	return report, support, nil
}
