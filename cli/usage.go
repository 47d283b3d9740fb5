package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
)

// usageError is wrong usage of a command: it exits with status 2 and points at the command's help.
type usageError struct {
	command string // the command's full path, as typed
	cause   error
}

func (u *usageError) Error() string { return u.cause.Error() }
func (u *usageError) Unwrap() error { return u.cause }

// usage returns wrong usage of cmd; the text begins with the command as it is typed after
// "surety".
func usage(cmd *cobra.Command, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if verb, found := strings.CutPrefix(cmd.CommandPath(), cmd.Root().Name()+" "); found {
		text = verb + ": " + text
	}
	return &usageError{command: cmd.CommandPath(), cause: errs.New(errs.Invalid, "%s", text)}
}

func flagError(cmd *cobra.Command, err error) error {
	return usage(cmd, "%s", strings.TrimSpace(err.Error()))
}

// noArgs accepts flags alone.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return unknownVerb(cmd, args)
	}
	return usage(cmd, "takes no arguments, got %q", args[0])
}

// exactArgs accepts one argument for each name; the names are what the message asks for.
func exactArgs(names ...string) cobra.PositionalArgs { return rangeArgs(len(names), names...) }

// rangeArgs accepts at least least arguments and at most one for each name.
func rangeArgs(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least {
			return usage(cmd, "%s is missing", names[len(args)])
		}
		if len(args) > len(names) {
			return usage(cmd, "takes %s, got %q besides",
				count(len(names), "argument"), args[len(names)])
		}
		return nil
	}
}

// someArgs accepts one or more arguments of the name.
func someArgs(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage(cmd, "%s is missing", name)
		}
		return nil
	}
}

// unknownVerb accepts nothing: what stands after a part is a verb, and a known one would have been
// found before.
func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	near := cmd.SuggestionsFor(args[0])
	if len(near) == 0 {
		return usage(cmd, "no command %q", args[0])
	}
	return usage(cmd, "no command %q, did you mean %s", args[0],
		strings.Join(near, " or "))
}

// count says "1 argument" and "2 arguments".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// anyArgs accepts any arguments; the command itself says which it needs.
func anyArgs(*cobra.Command, []string) error { return nil }
