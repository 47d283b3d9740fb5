package cli

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"surety/enclave/pack"
)

func enclavePackageCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "package ENCLAVE FILE",
		Short: "Write a built enclave as one file, for others to run",
		Long: `Every layer is compared with the manifest on the way. The same bundle gives the same file. Keys are
not in it: they are with the brokers that the manifest pins.

Refused are builds for trying out: debug builds, and those that have their secrets or state from
the broker "local", which is that of whatever machine runs them and takes simulated evidence there.

With -o json, one object {file, bytes, measure, signer, product, svn}.`,
		Example: `  surety enclave package credit credit-1.enclave`,
		Args:    exactArgs("ENCLAVE", "FILE"),
	}
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		at, err := locateEnclave(args[0])
		if err != nil {
			return err
		}
		b, err := pack.Open(at.bundle)
		if err != nil {
			return err
		}
		defer b.Close() // nothing was written
		bar := &packBar{env: env}
		err = pack.Package(ctx, b, args[1], bar.advance)
		bar.finish()
		if err != nil {
			return err
		}
		info, err := os.Stat(args[1])
		if err != nil {
			return fileError(err, "package")
		}
		s := b.Signed()
		view := struct {
			File    string `json:"file"`
			Bytes   int64  `json:"bytes"`
			Measure string `json:"measure"`
			Signer  string `json:"signer"`
			Product string `json:"product"`
			SVN     uint64 `json:"svn"`
		}{args[1], info.Size(), s.Measure.String(), s.Signer.String(), s.Manifest.Product, s.Manifest.SVN}
		return env.show(view, func(w io.Writer) error {
			return writePairs(w, pair{"file", view.File}, pair{"bytes", view.Bytes},
				pair{"measurement", view.Measure}, pair{"signer", view.Signer},
				pair{"product", view.Product}, pair{"svn", view.SVN})
		})
	})
}
