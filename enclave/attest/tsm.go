package attest

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/sys/entropy"
)

// tsmDir is where the kernel (6.7 and later) lets a guest ask its processor for reports, the same way
// for each: Documentation/ABI/testing/configfs-tsm-report.
const tsmDir = "/sys/kernel/config/tsm/report"

// Names of those who answer there.
const (
	providerSNP = "sev_guest"
	providerTDX = "tdx_guest"
)

// tsmFiles is the file system that requests are made in: a directory for each, which has the kernel's
// files in it from the start.
type tsmFiles interface {
	Mkdir(name string) error
	Write(name string, data []byte) error
	Read(name string) ([]byte, error)
	Remove(name string) error
}

// tsmDevice asks by configfs. Each request has its own directory, so that several may be made at
// once.
type tsmDevice struct {
	tee      enclave.TEE
	provider string
	files    tsmFiles
	entropy  entropy.Source
}

func (d *tsmDevice) TEE() enclave.TEE { return d.tee }

func (d *tsmDevice) Describe() string {
	if d.tee == enclave.TDX {
		return "Intel TDX by " + tsmDir
	}
	return "AMD SEV-SNP by " + tsmDir
}

// Close lets go of nothing: a request's directory is gone when it was answered.
func (d *tsmDevice) Close() error { return nil }

// Report writes the report data and reads the answer. The generation says whether somebody else
// wrote meanwhile: then the answer is not ours.
func (d *tsmDevice) Report(ctx context.Context, data [64]byte) (report, support []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, errs.As(errs.Canceled, err, "attest.tsm")
	}
	var id [8]byte
	d.entropy.Fill(id[:])
	name := "surety-" + hex.EncodeToString(id[:])
	if err := d.files.Mkdir(name); err != nil {
		return nil, nil, errs.As(errs.Unavailable, err, "attest.tsm: %s", tsmDir)
	}
	defer func() { _ = d.files.Remove(name) }() // one left over is an empty directory
	read := func(file string) []byte {
		var content []byte
		if err == nil {
			content, err = d.files.Read(name + "/" + file)
		}
		return content
	}
	if found := strings.TrimSpace(string(read("provider"))); err == nil && found != d.provider {
		return nil, nil, errs.New(errs.Unavailable, "attest.tsm: %q answers, want %q", found, d.provider)
	}
	if d.tee == enclave.SNP && err == nil {
		err = d.files.Write(name+"/privlevel", []byte("0"))
	}
	before, bad := strconv.ParseUint(strings.TrimSpace(string(read("generation"))), 10, 64)
	if err == nil {
		err = d.files.Write(name+"/inblob", data[:])
	}
	report = bytes.Clone(read("outblob"))
	if d.tee == enclave.SNP {
		support = bytes.Clone(read("auxblob"))
	}
	after, worse := strconv.ParseUint(strings.TrimSpace(string(read("generation"))), 10, 64)
	switch {
	case err != nil:
		return nil, nil, errs.As(errs.Unavailable, err, "attest.tsm: %s", name)
	case bad != nil || worse != nil || after != before+1:
		return nil, nil, errs.New(errs.Unavailable, "attest.tsm: generation %d after %d: somebody else "+
			"wrote", after, before)
	case len(report) == 0:
		return nil, nil, errs.New(errs.Unavailable, "attest.tsm: an empty report")
	}
	return report, support, nil
}

// kernelFiles is configfs itself.
type kernelFiles struct{}

func (kernelFiles) path(name string) string { return filepath.Join(tsmDir, name) }

func (k kernelFiles) Mkdir(name string) error          { return os.Mkdir(k.path(name), 0o700) }
func (k kernelFiles) Read(name string) ([]byte, error) { return os.ReadFile(k.path(name)) }
func (k kernelFiles) Remove(name string) error         { return os.Remove(k.path(name)) }

func (k kernelFiles) Write(name string, data []byte) error {
	f, err := os.OpenFile(k.path(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data) // in one write, as the kernel wants a blob
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
