package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"surety/enclave/pack"
)

func enclaveNewCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "new DIR",
		Short: "Begin a project that an enclave is built of",
		Long: `Makes DIR with enclave.yaml, which says what the enclave is; root/, its files; secrets/, for files
that nobody else may read; and keys/, with a new signing key that is yours alone. Whoever has that
key can make newer versions of the product. keys/, secrets/ and build/ stand in .gitignore.

With -o json, one object {dir, name, product, signer}: signer is the file of the signing key.`,
		Example: `  surety enclave new credit
  surety enclave new credit --command "/bin/score --port 80"`,
		Args: exactArgs("DIR"),
	}
	var name, command string
	c.Flags().StringVar(&name, "name", "", "name of the enclave (default: the directory's)")
	c.Flags().StringVar(&command, "command", "", "what it runs, cut at spaces (default: the first program "+
		"that is added)")
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		p, err := pack.NewProject(pack.NewOrder{Dir: args[0], Name: name, Command: strings.Fields(command)})
		if err != nil {
			return err
		}
		view := struct {
			Dir     string `json:"dir"`
			Name    string `json:"name"`
			Product string `json:"product"`
			Signer  string `json:"signer"`
		}{p.Dir, p.Name, p.Product, p.SignerPath()}
		err = env.show(view, func(w io.Writer) error {
			return writePairs(w, pair{"project", view.Dir}, pair{"name", view.Name},
				pair{"signing key", view.Signer})
		})
		env.note("next: surety enclave add %s PROGRAM", p.Dir)
		return err
	})
}
