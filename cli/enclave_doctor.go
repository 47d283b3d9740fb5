package cli

import (
	"context"
	"encoding/pem"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/sys/probe"
)

func enclaveDoctorCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look at what this machine has for enclaves, and what is missing",
		Long: `Looks at the devices that evidence can come from, at what a kernel behind an enclave needs, and at
what could write secrets to a disk, and says of each whether it is ok or at what cost it is missing.
The device that "run" and "attest" use unless told otherwise is the first that is ok, in this order:
AMD SEV-SNP, Intel TDX, TPM, simulation.

It shows the fingerprint and the file of the simulation's root on this machine, for policies and for
"verify --sim-root". Nothing is changed. With -o json it is a list of {name, state, seen, cost}.`,
		Example: `  surety enclave doctor
  surety enclave doctor --tpm /run/swtpm/socket -o json`,
		Args: noArgs,
	}
	var d enclaveDevice
	d.describe(env, c.Flags())
	_ = c.Flags().MarkHidden("tee") // all are shown
	return verb(env, c, func(_ context.Context, env *Env, _ []string) error {
		findings := enclaveDevices(attest.Detect(d.options(env)))
		root, err := simulationFinding(simulationDir(d.root))
		if err != nil {
			return err
		}
		findings = append(findings, root, probe.Tsm(), probe.Swap(), probe.SealedMemory(),
			probe.Systrap(), probe.ControlGroups())
		return showFindings(env, findings)
	})
}

// enclaveDevices says of each device what it costs that it is not there. None is missing: there is
// always the simulation.
func enclaveDevices(found []attest.Found) []probe.Finding {
	names := map[enclave.TEE][2]string{
		enclave.SNP: {"AMD SEV-SNP", "memory is not protected from the machine's operator by AMD"},
		enclave.TDX: {"Intel TDX", "memory is not protected from the machine's operator by Intel"},
		enclave.TPM: {"TPM", "nobody but this program says what booted"},
		enclave.Sim: {"simulation", "no evidence at all"},
	}
	var findings []probe.Finding
	for _, f := range found {
		finding := probe.Finding{Name: names[f.TEE][0], State: probe.OK, Seen: f.Detail}
		if !f.Ready {
			finding.State, finding.Cost = probe.Warn, names[f.TEE][1]
		} else if f.TEE == enclave.Sim {
			finding.State = probe.Warn
			finding.Cost = "the operator of this machine can read everything the program reads"
		}
		findings = append(findings, finding)
	}
	return findings
}

// simulationFinding shows the root that a verifier would have to be given.
func simulationFinding(dir string) (probe.Finding, error) {
	finding := probe.Finding{Name: "simulation's root", State: probe.OK,
		Seen: "none yet: made in " + dir + " at the first use"}
	path := filepath.Join(dir, attest.SimRootFile)
	content, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return finding, nil
	}
	if err != nil {
		return finding, fileError(err, "simulation's root")
	}
	if block, _ := pem.Decode(content); block == nil {
		return finding, errs.New(errs.Corrupt, "%s is not PEM", path)
	}
	id, err := attest.SimRootID(content)
	finding.Seen = "SIMULATED " + id.String() + " in " + path
	return finding, err
}
