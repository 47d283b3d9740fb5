package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/node"
	"surety/sandbox/vm"
	"surety/sys/presence"
	"surety/sys/probe"
	"surety/sys/wallclock"
)

func doctorCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look at this machine before it is trusted with money",
		Long: `Looks at the data directory, the disk's sync time, the clock, the addresses, memory and limits, and
at what sandboxes need, and says of each whether it is ok, works at a cost (warn), or is missing.
Exits with status 1 where something is missing. It writes one small file into the data directory's
disk and removes it; for virtual machines it lets a guest of a few instructions prove that the
hardware runs one, for at most two seconds.

With --all it also shows each device that evidence of enclaves can come from. With -o json it is a
list of {name, state, seen, cost}.`,
		Example: `  surety doctor
  surety doctor --data-dir /var/lib/surety
  surety doctor --all -o json`,
		Args: noArgs,
	}
	from := configFlags(env, c.Flags(), shortcut{"data-dir", "data_dir"})
	all := c.Flags().Bool("all", false, "also show each device that evidence can come from")
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		effective, err := from.load()
		if err != nil {
			return err
		}
		findings := examine(ctx, effective)
		if *all {
			findings = append(findings, enclaveDevices(attest.Detect(attest.Options{
				SimDir: simulationDir(filepath.Join(effective.DataDir, "enclave"))}))...)
		}
		return showFindings(env, findings)
	})
}

// examine runs the probes of what this release needs. That of virtual machines waits for a guest,
// and runs beside the others.
func examine(ctx context.Context, config *node.Effective) []probe.Finding {
	machines := make(chan probe.Finding, 1)
	go func() { machines <- machineFinding(vm.Probe(ctx, "")) }()
	clock := wallclock.System()
	record, err := presence.Find(config.DataDir)
	running := err == nil
	findings := []probe.Finding{
		nodeFinding(config.DataDir, record, running),
		probe.Space(config.DataDir),
		probe.Sync(clock, config.DataDir),
		probe.Direct(config.DataDir),
		probe.Clock(clock),
		probe.Port("http", config.HTTP.Address, running),
	}
	if config.Ledger.Address != "" {
		findings = append(findings, probe.Port("ledger", config.Ledger.Address, running))
	}
	return append(findings, probe.OpenFiles(), probe.Memory(), probe.Kernel(), probe.Systrap(),
		probe.ControlGroups(), probe.UserNamespaces(), probe.Rootless(), probe.Tun(), enclaveFinding(),
		<-machines)
}

// machineFinding says what the machine can do for sandboxes of class vm.
func machineFinding(r vm.Report) probe.Finding {
	finding := probe.Finding{Name: "sandboxes of class vm", State: probe.Warn}
	const none = "no sandboxes of class vm; those of class sentry run"
	switch {
	case r.QEMU == "":
		finding.Seen, finding.Cost = "no QEMU", none+"; "+vm.Install+" brings it"
	case r.Missing != "":
		finding.Seen = "QEMU " + r.Version + ", no guest kernel"
		finding.Cost = none + "; \"tools/need vm\" brings one"
	case !r.KVM:
		finding.Seen = "QEMU " + r.Version + ", guest kernel " + r.Kernel.Release + ", no KVM: " +
			r.KVMWhy
		finding.Cost = "sandboxes of class vm only by software emulation, slow, where it is asked for"
	default:
		finding.State = probe.OK
		finding.Seen = "QEMU " + r.Version + ", guest kernel " + r.Kernel.Release +
			", KVM runs 64-bit guests"
	}
	return finding
}

// nodeFinding says whether a node runs in the directory; either is ok.
func nodeFinding(dataDir string, record presence.Record, running bool) probe.Finding {
	finding := probe.Finding{Name: "node", State: probe.OK, Seen: "none runs in " + dataDir}
	if running {
		finding.Seen = fmt.Sprintf("process %d serves %s since %s", record.PID,
			record.Addresses["http"], instant(record.Started))
	}
	return finding
}

// enclaveFinding says what evidence of enclaves rests on here.
func enclaveFinding() probe.Finding {
	finding := probe.Finding{Name: "enclaves", State: probe.Warn,
		Seen: "no AMD SEV-SNP, no Intel TDX, no enrolled TPM: evidence is SIMULATED",
		Cost: "whoever runs this machine can read what enclaves read; see \"surety enclave doctor\""}
	for _, f := range attest.Detect(attest.Options{}) {
		if f.Ready {
			finding.State, finding.Seen, finding.Cost = probe.OK, f.Detail, ""
			if f.TEE == enclave.TPM {
				finding.State, finding.Cost = probe.Warn, "what booted is measured; memory is not protected "+
					"from the machine's operator"
			}
			break
		}
	}
	return finding
}

// showFindings writes the findings, and returns an error where something is missing.
func showFindings(env *Env, findings []probe.Finding) error {
	lacking := 0
	for _, f := range findings {
		if f.State == probe.Missing {
			lacking++
		}
	}
	err := env.show(findings, func(w io.Writer) error {
		g := newGrid(left("state"), left("what"), left("seen"), left("cost"))
		for _, f := range findings {
			g.row(f.State, f.Name, f.Seen, f.Cost)
		}
		return g.write(w)
	})
	if err == nil && lacking > 0 {
		return errs.New(errs.Refused, "doctor: %s missing", count(lacking, "thing"))
	}
	return err
}
