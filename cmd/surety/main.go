// Command surety is the whole platform in one program: see `surety help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"surety/cli"
	"surety/enclave/state"
	"surety/lending/joint"
	"surety/lending/scorer"
	"surety/sandbox/escape"
	"surety/sandbox/kernel"
	"surety/sandbox/oci"
	"surety/sandbox/runtime"
	"surety/sandbox/vm"
)

// persona is another program that this binary is when it is executed under another name: the
// processes of a sandbox are this binary again.
type persona struct {
	is   func(argv []string) bool
	main func(argv []string) int
}

// personas are tried in order, before flags, logs and goroutines.
var personas = [...]persona{
	{kernel.Reexec, func([]string) int { kernel.Main(state.Guest{}); return 1 }},
	{runtime.IsSupervisor, runtime.SupervisorMain},
	{scorer.IsScorer, scorer.Main},
	{joint.IsProgram, joint.Main},
	{oci.IsRuntime, func(argv []string) int { return oci.Main(argv, os.LookupEnv) }},
	{oci.IsShim, func(argv []string) int { return oci.ShimMain(argv, os.LookupEnv) }},
	{vm.IsGuest, func(argv []string) int { return vm.GuestMain(argv, runtime.Guest{}) }},
	{escape.IsAttempt, func(argv []string) int { return escape.Main(argv, os.LookupEnv) }},
}

func main() {
	for _, p := range personas {
		if p.is(os.Args) {
			os.Exit(p.main(os.Args))
		}
	}
	os.Exit(run())
}

// run returns the exit status. The first signal asks the command to stop; because the handler is
// then removed, a second one ends the process at once.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	env := cli.Env{
		Stdin:     os.Stdin,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
		LookupEnv: os.LookupEnv,
		Program:   "/proc/self/exe",
	}
	return cli.Main(ctx, env, os.Args[1:])
}
