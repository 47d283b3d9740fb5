package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/node"
)

// configCommand is the group that reads configurations.
func configCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "config",
		Short: "Check and show settings",
		Long: `Everything has a default. A YAML file, then SURETY_ variables, then flags override it; the key
http.address in the file is SURETY_HTTP_ADDRESS in the environment and --set http.address=... on the
command line. A key that is not known is an error that names its line.`,
		Example: `  surety config show
  surety config check surety.yaml`,
	}, configCheck(env), configShow(env))
}

func configCheck(env *Env) *cobra.Command {
	return verb(env, &cobra.Command{
		Use:   "check FILE",
		Short: "Find every mistake in a configuration file",
		Long: `Reads the file as a node would, with no other source, and writes each mistake on a line with the
file's name, line and column. Exits with status 2 where there is one.`,
		Example: `  surety config check surety.yaml`,
		Args:    exactArgs("FILE"),
	}, checkConfig)
}

func checkConfig(_ context.Context, env *Env, args []string) error {
	data, err := readConfig(args[0])
	if err != nil {
		return err
	}
	_, err = node.Load(node.Inputs{FileName: args[0], File: data})
	if n := env.problems(err); n > 0 {
		return errs.New(errs.Invalid, "config check: %s has %s", args[0], count(n, "mistake"))
	}
	if err != nil {
		return err
	}
	answer := struct {
		File string `json:"file"`
		OK   bool   `json:"ok"`
	}{args[0], true}
	return env.show(answer, func(w io.Writer) error {
		_, err := io.WriteString(w, args[0]+": ok\n")
		return err
	})
}

func configShow(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Show every setting, its value and where that came from",
		Long: `Shows what a node started with the same flags and environment would use. Secrets are redacted.
With -o json it is a list of {path, value, source, where, about, kind, env}.`,
		Example: `  surety config show
  surety config show --config surety.yaml --set log.level=debug
  SURETY_LOG_LEVEL=debug surety config show -o json`,
		Args: noArgs,
	}
	from := configFlags(env, c.Flags(), shortcut{"data-dir", "data_dir"})
	return verb(env, c, func(_ context.Context, env *Env, _ []string) error {
		effective, err := from.load()
		if err != nil {
			return err
		}
		settings := effective.Settings()
		return env.show(settings, func(w io.Writer) error {
			g := newGrid(left("setting"), left("value"), left("from"), left("meaning"))
			for _, s := range settings {
				origin := string(s.Source)
				if s.Where != "" {
					origin += " " + s.Where
				}
				g.row(s.Path, s.Value, origin, s.About)
			}
			return g.write(w)
		})
	})
}
