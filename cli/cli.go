// Package cli is the table of commands: `surety <part> <verb> [flags] [args]`.
//
// A command is a function of (context, Env, args). It reads nothing but its Env: the streams and
// the environment stand there, so that a test runs any command in process and reads what a person
// would have read. Each group of commands is one file with one function that returns it, and
// table.go lists the groups from top to bottom.
//
// Data goes to Env.Stdout and everything else (progress, notes, errors) to Env.Stderr. With
// `-o json` a command writes one JSON value, or one value a line where it streams.
//
// # Invariants
//
// Exit status is 0 for done, 1 for an operating error, and 2 for what can never succeed as it was
// typed: an unknown flag, a bad value, a file with mistakes in it. A command that runs a program of
// the caller's (sandbox run, exec, wait) exits with the program's own status. An error is one line on
// Stderr that begins with "surety: ", followed by at most one line that begins with "hint: ".
//
// Every command has a short and a long description, an example, and a check of its arguments;
// a test walks the tree and fails the command that lacks one.
//
// # Boundaries
//
// Rules of business do not stand here: a command turns flags into one call of a client or of node,
// and its answer into text.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/sys/edge"
)

// Env is all that a command knows of the process it runs in.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	// LookupEnv returns an environment variable and whether it is set.
	LookupEnv func(name string) (value string, set bool)

	// Program is the path of this program, which it starts again to keep a part apart from the
	// others; empty where it is another one, as in a test.
	Program string

	// format is what -o asks for; set before a command runs.
	format format

	// began tells that a command's action was reached: an error before that is wrong usage.
	began bool
}

// Getenv returns an environment variable, empty where it is not set.
func (e *Env) Getenv(name string) string {
	value, _ := e.LookupEnv(name)
	return value
}

// Main runs the command that args name (without the program's name) and returns its exit status.
// It writes the error, if there is one, to env.Stderr. It does not exit the process.
func Main(ctx context.Context, env Env, args []string) int {
	root := newRoot(&env)
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var exited *exitError
	if errors.As(err, &exited) {
		return exited.code
	}
	var misused *usageError
	if !env.began && !errors.As(err, &misused) {
		err = usage(command, "%s", err.Error()) // a required flag that is not set, and the like
	}
	report(env.Stderr, err, hintsOf(command))
	return edge.ExitStatus(errs.KindOf(err))
}

// newRoot returns the tree of commands, bound to env.
func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "surety",
		Short: "Exact money, checked as it moves",
		Long: `Surety runs a ledger, a lending service, a guard that checks every cent against the business
events that moved it, an evidence log and a console, in one program.

Start everything on this machine with "surety up". The other commands talk to what it started.`,
		Example: `  surety up
  surety ledger accounts
  surety doctor`,
		Args:          noArgs,
		RunE:          showHelp,
		SilenceUsage:  true,
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().VarP(&env.format, "output", "o", "output: table or json")
	must(root.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	root.CompletionOptions.DisableDefaultCmd = true
	help := helpCommand(root)
	root.SetHelpCommand(help)
	root.AddCommand(help)
	root.AddCommand(table(env)...)
	shelve(root)
	return root
}

// part returns a command that only holds verbs: alone it shows its help, and with an unknown verb
// it is wrong usage that names the nearest ones.
func part(c *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	c.Args = unknownVerb
	c.RunE = showHelp
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(verbs...)
	return c
}

// action is what a command does: a function of context, Env and arguments.
type action func(ctx context.Context, env *Env, args []string) error

// verb binds an action to its command. c.Args must be set.
func verb(env *Env, c *cobra.Command, do action) *cobra.Command {
	c.RunE = func(cmd *cobra.Command, args []string) error {
		env.began = true
		return do(cmd.Context(), env, args)
	}
	return c
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// report writes err as one line, and a hint where its kind has one.
func report(w io.Writer, err error, hintFor func(errs.Kind) string) {
	fmt.Fprintf(w, "surety: %s\n", oneLine(err.Error()))
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(w, "hint: see %q\n", usage.command+" --help")
		return
	}
	if hint := hintFor(errs.KindOf(err)); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

// hintsOf returns the hints for errors of a command: those of a node, or of sandboxes.
func hintsOf(command *cobra.Command) func(errs.Kind) string {
	for c := command; c.HasParent(); c = c.Parent() {
		if c.Name() == "sandbox" && !c.Parent().HasParent() {
			return sandboxHintFor
		}
		if c.Name() == "enclave" && !c.Parent().HasParent() {
			return enclaveHintFor
		}
	}
	return hintFor
}

// hintFor returns what a person can do next about an error of the kind, empty where the error's
// own text has to be enough.
func hintFor(kind errs.Kind) string {
	switch kind {
	case errs.Unauthorized:
		return "give a token with --token or SURETY_TOKEN; an admin makes one with " +
			"\"surety access token create\""
	case errs.Forbidden:
		return "it takes a token of another role (\"surety access token list\" shows them), or, for a " +
			"file, the user who owns it"
	case errs.Unavailable:
		return "is it running? start it with \"surety up\", or name it with --address"
	case errs.Locked:
		return "another surety uses this data directory: stop it, or give another --data-dir"
	case errs.NoSpace:
		return "free some space, then start again: nothing that was acknowledged is lost"
	case errs.Corrupt:
		return "stop here and keep a copy of the data directory; see docs/operations/recovery.md"
	case errs.Busy:
		return "try again in a moment"
	case errs.Internal:
		return "this is a defect: please report it with the line above"
	}
	return ""
}

// oneLine joins the lines of an error into one.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }), "; ")
}

// must panics on an error that only a mistake in the table of commands can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
