package attest

import (
	"context"
	"os"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest/sev"
	"surety/enclave/attest/tpm"
)

// backend is one kind of device that a machine may have.
type backend struct {
	tee enclave.TEE
	// detect says whether it is there, and what is there or missing.
	detect func(Options) (ready bool, detail string)
	open   func(context.Context, Options) (Device, error)
}

// backends are in the order in which they are preferred: what protects memory first.
var backends = [...]backend{
	{enclave.SNP, detectSNP, openSNP},
	{enclave.TDX, detectTDX, openTDX},
	{enclave.TPM, detectTPM, openTPM},
	{enclave.Sim, detectSim, openSim},
}

// OpenDevice opens the machine's device of the kind; "" is the best that is there: snp, tdx, tpm,
// then sim. A TPM that was not enrolled is passed over unless it is named. Kind Unavailable with why
// not; Invalid where the kind is none.
func OpenDevice(ctx context.Context, tee enclave.TEE, o Options) (Device, error) {
	if tee != "" && !tee.Known() {
		return nil, errs.New(errs.Invalid, "attest.open: %.20q is none of snp, tdx, tpm, sim", string(tee))
	}
	o = o.withDefaults()
	missing := ""
	for _, b := range backends {
		if tee != "" && b.tee != tee {
			continue
		}
		ready, detail := b.detect(o)
		if ready || tee == enclave.TPM {
			return b.open(ctx, o) // a TPM that is named may yet have to be enrolled
		}
		missing += "; " + string(b.tee) + ": " + detail
	}
	return nil, errs.New(errs.Unavailable, "attest.open: no device%s", missing)
}

// Found is a line of what this machine has.
type Found struct {
	TEE    enclave.TEE `json:"tee"`
	Ready  bool        `json:"ready"`
	Detail string      `json:"detail"` // what is there, or what is missing
}

// Detect says what this machine has, in the order of OpenDevice.
func Detect(o Options) []Found {
	o = o.withDefaults()
	found := make([]Found, 0, len(backends))
	for _, b := range backends {
		ready, detail := b.detect(o)
		found = append(found, Found{b.tee, ready, detail})
	}
	return found
}

// tdxPath is the kernel's device of a guest of TDX. Reports are asked for by configfs: the device
// alone cannot make a quote of one.
const tdxPath = "/dev/tdx_guest"

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func detectSNP(Options) (bool, string) {
	switch {
	case !exists(sev.DevicePath):
		return false, "no " + sev.DevicePath
	case exists(tsmDir):
		return true, "AMD SEV-SNP by " + tsmDir
	}
	return true, "AMD SEV-SNP by " + sev.DevicePath
}

func openSNP(_ context.Context, o Options) (Device, error) {
	if exists(tsmDir) {
		return &tsmDevice{enclave.SNP, providerSNP, kernelFiles{}, o.Entropy}, nil
	}
	return sev.Open()
}

func detectTDX(Options) (bool, string) {
	switch {
	case !exists(tdxPath):
		return false, "no " + tdxPath
	case !exists(tsmDir):
		return false, "no " + tsmDir + ": kernel 6.7 or later, with configfs mounted"
	}
	return true, "Intel TDX by " + tsmDir
}

func openTDX(_ context.Context, o Options) (Device, error) {
	return &tsmDevice{enclave.TDX, providerTDX, kernelFiles{}, o.Entropy}, nil
}

func detectTPM(o Options) (bool, string) {
	ready, detail := tpm.Detect(o.TPM)
	if ready && o.TPMCertificate == "" {
		return false, detail + ", not enrolled: no verifier would take its quotes"
	}
	return ready, detail
}

func openTPM(_ context.Context, o Options) (Device, error) {
	var certificate []byte
	if o.TPMCertificate != "" {
		var err error
		if certificate, err = os.ReadFile(o.TPMCertificate); err != nil {
			return nil, errs.As(errs.Unavailable, err, "attest.open: certificate of the TPM's key")
		}
	}
	return tpm.Open(o.TPM, certificate)
}

func detectSim(o Options) (bool, string) {
	if o.SimDir == "" {
		return false, "simulation is not allowed here"
	}
	return true, "SIMULATED: keys in " + o.SimDir
}

func openSim(_ context.Context, o Options) (Device, error) {
	return sev.OpenSimulation(o.SimDir, o.Program, o.Clock, o.Entropy)
}

// SimRootFile is where SimDir has that certificate.
const SimRootFile = sev.RootFile

// SimRootID is the id of a simulation's root, as policies name it; kind Invalid where the certificate
// is none of a simulation.
func SimRootID(certificate []byte) (enclave.KeyID, error) {
	anchor, err := sev.Sim(certificate)
	if err != nil {
		return enclave.KeyID{}, err
	}
	return anchor.Root(), nil
}

// SimRoot returns the certificate, in PEM, that a verifier has to be given to take the evidence of
// the simulation in o.SimDir, which is made where there is none yet. It begins to mean something
// only where somebody puts it into Roots.Sim.
func SimRoot(o Options) ([]byte, error) {
	if o.SimDir == "" {
		return nil, errs.New(errs.Unavailable, "attest.sim: simulation is not allowed here")
	}
	o = o.withDefaults()
	return sev.SimulatedRoot(o.SimDir, o.Clock, o.Entropy)
}
