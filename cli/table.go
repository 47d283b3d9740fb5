package cli

import "github.com/spf13/cobra"

// table lists the groups of commands in the order help shows them. A new group is a file with one
// function, and a line here.
func table(env *Env) []*cobra.Command {
	return []*cobra.Command{
		upCommand(env),
		traceCommand(env),
		ledgerCommand(env),
		lendCommand(env),
		guardCommand(env),
		evidenceCommand(env),
		sandboxCommand(env),
		enclaveCommand(env),
		benchCommand(env),
		accessCommand(env),
		configCommand(env),
		doctorCommand(env),
		completionCommand(env),
		versionCommand(env),
	}
}
