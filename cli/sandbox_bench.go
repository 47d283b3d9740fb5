package cli

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/bench"
)

func sandboxBench(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "sandbox",
		Short: "Start sandboxes, call their kernel and weigh them",
		Long: `Measures, in a temporary directory: the time to a program's first output from nothing, from a warm
pool and from a snapshot; what system calls cost, recorded and not; a server under core and full
audit; a run of many events while the reader of the audit is stopped again and again, all of which
must arrive; and the memory of idle sandboxes. runc and a stock runsc are measured in turns with it
where they are found. The load average is shown: the figures hold for that load.

Cases: ` + strings.Join(bench.SandboxCases(), ", ") + `.

With -o json one object: Rows of {Case, Of, Unit, Median, Min, Rounds}, Notes and LoadAverage.`,
		Example: `  surety bench sandbox
  surety bench sandbox --only cold,warm --rounds 51 --runsc /usr/local/bin/runsc`,
		Args: noArgs,
	}
	config := bench.SandboxConfig{Program: "/proc/self/exe"}
	c.Flags().IntVar(&config.Rounds, "rounds", 21, "starts of each sort")
	c.Flags().IntVar(&config.Events, "events", 10_000_000, "events of the run with a slow reader")
	c.Flags().StringVar(&config.Runc, "runc", "", "runc (default: from the path; - for none)")
	c.Flags().StringVar(&config.Runsc, "runsc", "", "stock runsc (default: from the path; - for none)")
	c.Flags().StringSliceVar(&config.Only, "only", nil, "only these cases (default: all)")
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) (err error) {
		config.Runc, config.Runsc = peerPath(config.Runc, "runc"), peerPath(config.Runsc, "runsc")
		dir, err := os.MkdirTemp("", "surety-bench-")
		if err != nil {
			return errs.As(errs.NoSpace, err, "bench sandbox")
		}
		config.Dir = dir
		defer os.RemoveAll(dir)
		report, err := bench.Sandbox(ctx, config)
		if err != nil {
			return err
		}
		return env.show(report, func(w io.Writer) error { return report.Write(w) })
	})
}

// peerPath is where another runtime stands; empty where there is none, or it is not wanted.
func peerPath(given, name string) string {
	switch given {
	case "-":
		return ""
	case "":
		found, _ := exec.LookPath(name)
		return found
	}
	return given
}
