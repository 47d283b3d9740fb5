package tpm

import (
	"context"
	"crypto/sha256"
	"os"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"

	"surety/base/errs"
	"surety/enclave"
)

// DefaultPath is the kernel's device with a resource manager behind it.
const DefaultPath = "/dev/tpmrm0"

// Device is a TPM that is open.
type Device struct {
	path        string
	certificate []byte // of the attestation key, in PEM; empty: not enrolled

	mu  sync.Mutex // guards what follows, and the TPM
	tpm transport.TPMCloser
	key *tpm2.CreatePrimaryResponse // the attestation key; nil: not loaded yet
}

// Detect says whether there is a TPM at the path, or what is missing.
func Detect(path string) (ready bool, detail string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return false, "no " + path
	case info.Mode()&(os.ModeDevice|os.ModeSocket) == 0:
		return false, path + " is neither a device nor a socket"
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil && info.Mode()&os.ModeDevice != 0 {
		return false, path + " may not be opened: " + err.Error()
	}
	if err == nil {
		_ = f.Close() // nothing was written
	}
	return true, "TPM at " + path
}

// Open opens the TPM at a path: a device, or the unix socket of swtpm. certificate is that of its
// attestation key, in PEM, with those of authorities between it and a root after it; empty: it was
// not enrolled, and verifiers refuse its quotes. Kind Unavailable where there is no TPM.
func Open(path string, certificate []byte) (*Device, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "tpm.open")
	}
	open := linuxtpm.Open
	if info.Mode()&os.ModeSocket != 0 {
		open = linuxudstpm.Open
	}
	t, err := open(path)
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "tpm.open: %s", path)
	}
	return &Device{path: path, certificate: certificate, tpm: t}, nil
}

// TEE is enclave.TPM.
func (d *Device) TEE() enclave.TEE { return enclave.TPM }

// Describe says what it is.
func (d *Device) Describe() string {
	if len(d.certificate) == 0 {
		return "TPM at " + d.path + ", not enrolled: what booted is measured, memory is not protected"
	}
	return "TPM at " + d.path + ": what booted is measured, memory is not protected"
}

// Close unloads the attestation key and lets go of the TPM.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flush()
	return errs.As(errs.Internal, d.tpm.Close(), "tpm.close: %s", d.path)
}

// flush unloads the attestation key, without which a TPM that has no manager has a slot less.
func (d *Device) flush() {
	if d.key != nil {
		_, _ = tpm2.FlushContext{FlushHandle: d.key.ObjectHandle}.Execute(d.tpm) // the TPM may be gone
		d.key = nil
	}
}

// Report returns a quote for the report data, and the attestation key's certificate.
func (d *Device) Report(ctx context.Context, data [64]byte) (report, support []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, errs.As(errs.Canceled, err, "tpm.report")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.quote(qualifying(data))
	if err != nil {
		return nil, nil, err
	}
	return r.encode(), d.certificate, nil
}

// quote reads the registers and quotes them. Should one be extended between, the values are not those
// quoted: then both are done again, once.
func (d *Device) quote(qualifying []byte) (*report, error) {
	key, err := d.attestationKey()
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		r, err := d.quoteOnce(key, qualifying)
		if err != nil {
			return nil, err
		}
		if info, bad := r.attest.Attested.Quote(); bad == nil && r.matches(info.PCRDigest.Buffer) {
			return r, nil
		}
		if attempt == 1 {
			return nil, errs.New(errs.Unavailable, "tpm.report: the registers change while they are quoted")
		}
	}
}

func (r *report) matches(digest []byte) bool {
	sum := sha256.New()
	for _, value := range r.values {
		sum.Write(value[:])
	}
	return string(sum.Sum(nil)) == string(digest)
}

func (d *Device) quoteOnce(key *tpm2.CreatePrimaryResponse, qualifying []byte) (*report, error) {
	values, err := d.readRegisters()
	if err != nil {
		return nil, err
	}
	quoted, err := tpm2.Quote{
		SignHandle: tpm2.AuthHandle{Handle: key.ObjectHandle, Name: key.Name,
			Auth: tpm2.PasswordAuth(nil)},
		QualifyingData: tpm2.TPM2BData{Buffer: qualifying},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      selection(),
	}.Execute(d.tpm)
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "tpm.report: quote")
	}
	r := &report{quoted: quoted.Quoted.Bytes(), signature: &quoted.Signature, values: values}
	r.attest, err = quoted.Quoted.Contents()
	return r, errs.As(errs.Internal, err, "tpm.report: quote")
}

// readRegisters reads the selected registers, of which a TPM gives eight at a time.
func (d *Device) readRegisters() ([][sha256.Size]byte, error) {
	var values [][sha256.Size]byte
	for _, index := range registers() {
		read, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{
			PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256,
				PCRSelect: tpm2.PCClientCompatible.PCRs(index)}}}}.Execute(d.tpm)
		if err != nil {
			return nil, errs.As(errs.Unavailable, err, "tpm.report: read register %d", index)
		}
		if len(read.PCRValues.Digests) != 1 || len(read.PCRValues.Digests[0].Buffer) != sha256.Size {
			return nil, errs.New(errs.Unavailable, "tpm.report: register %d has no bank of SHA-256", index)
		}
		values = append(values, [sha256.Size]byte(read.PCRValues.Digests[0].Buffer))
	}
	return values, nil
}

// attestationKey loads the key that quotes: restricted, so that it signs only what the TPM made, and
// derived from the endorsement seed, so that it is the same one each time.
func (d *Device) attestationKey() (*tpm2.CreatePrimaryResponse, error) {
	if d.key != nil {
		return d.key, nil
	}
	key, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement,
		InPublic: tpm2.New2B(attestationTemplate())}.Execute(d.tpm)
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "tpm: attestation key")
	}
	d.key = key
	return key, nil
}

func attestationTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
			UserWithAuth: true, Restricted: true, SignEncrypt: true},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			CurveID: tpm2.TPMECCNistP256,
			Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA,
					&tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})}}),
	}
}
