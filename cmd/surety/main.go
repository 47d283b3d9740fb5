// Command surety is the whole platform in one program: see `surety help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"surety/cli"
)

func main() { os.Exit(run()) }

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
	}
	return cli.Main(ctx, env, os.Args[1:])
}
