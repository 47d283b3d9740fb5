package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
)

func completionCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Write a script that completes commands in a shell",
		Long: `Writes the script to standard output. Bash reads it with
"source <(surety completion bash)"; zsh and fish keep it in a file of their completion directory.`,
		Example: `  source <(surety completion bash)
  surety completion zsh > "${fpath[1]}/_surety"
  surety completion fish > ~/.config/fish/completions/surety.fish`,
		Args:      exactArgs("bash|zsh|fish"),
		ValidArgs: []string{"bash", "zsh", "fish"},
	}
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		switch args[0] {
		case "bash":
			return errs.Wrap(c.Root().GenBashCompletionV2(env.Stdout, true), "completion")
		case "zsh":
			return errs.Wrap(c.Root().GenZshCompletion(env.Stdout), "completion")
		case "fish":
			return errs.Wrap(c.Root().GenFishCompletion(env.Stdout, true), "completion")
		}
		return usage(c, "%q is not bash, zsh or fish", args[0])
	})
}

// helpCommand is `surety help [command]`, which cobra would add without an example.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Show help about a command",
		Long:  `Shows what "surety COMMAND --help" shows.`,
		Example: `  surety help
  surety help access token create`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			found, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usage(root, "help: no command %q", strings.Join(args, " "))
			}
			return found.Help()
		},
	}
}
