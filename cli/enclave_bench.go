package cli

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/bench"
)

func enclaveBench(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "enclave",
		Short: "Build, read, release and start enclaves",
		Long: `Measures, in a temporary directory and with simulated evidence: how fast files become a measured
image, public and secret; how fast a secret one is read, every block checked; how long a broker on
loopback takes to release a key, from the challenge on; how long "surety enclave run" takes to the
program's first output; and, where examples/tflite/run has left its directory, an inference inside
beside the same outside, in turns. The load average is shown: the figures hold for that load.

Cases: ` + strings.Join(bench.EnclaveCases(), ", ") + `.

With -o json one object: Rows of {Case, Of, Unit, Median, Least, Most, Tail, Rounds}, Notes and
LoadAverage.`,
		Example: `  surety bench enclave
  surety bench enclave --only inference --inference examples/tflite/build`,
		Args: noArgs,
	}
	config := bench.EnclaveConfig{Program: "/proc/self/exe"}
	c.Flags().IntVar(&config.Rounds, "rounds", 11, "of builds, reads, starts, and turns of inferences")
	c.Flags().IntVar(&config.Megabytes, "size", 256, "of the files of an image, in MiB")
	c.Flags().IntVar(&config.Releases, "releases", 300, "releases of a key")
	c.Flags().StringVar(&config.Inference, "inference", "", "directory of examples/tflite/run")
	c.Flags().StringSliceVar(&config.Only, "only", nil, "only these cases (default: all)")
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) (err error) {
		dir, err := os.MkdirTemp("", "surety-bench-")
		if err != nil {
			return errs.As(errs.NoSpace, err, "bench enclave")
		}
		config.Dir = dir
		defer os.RemoveAll(dir)
		report, err := bench.Enclave(ctx, config)
		if err != nil {
			return err
		}
		return env.show(report, func(w io.Writer) error { return report.Write(w) })
	})
}
