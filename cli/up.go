package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"surety/evidence/tlog"
	"surety/node"
	"surety/sys/entropy"
	"surety/sys/telemetry"
	"surety/sys/wallclock"
)

// upCommand starts everything.
func upCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "up",
		Short: "Start everything on this machine",
		Long: `Starts the ledger, the lending service, the guard, the evidence log and the console, in one process
with its data in one directory. It goes on where it was when it last ran, and stops cleanly on
ctrl-C. Without --applications it makes applications up; they are labelled synthetic wherever they
show. docs/reference/configuration.md lists every setting.`,
		Example: `  surety up
  surety up --applications taiwan_default.csv --mapping taiwan --rate 50
  surety up --rate 0
  surety up --data-dir /var/lib/surety --http 127.0.0.1:8080`,
		Args: noArgs,
	}
	from := configFlags(env, c.Flags(),
		shortcut{"data-dir", "data_dir"},
		shortcut{"http", "http.address"},
		shortcut{"applications", "lending.applications"},
		shortcut{"mapping", "lending.mapping"},
		shortcut{"rate", "lending.rate_per_second"},
		shortcut{"days-per-minute", "lending.days_per_minute"},
		shortcut{"log-level", "log.level"},
	)
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		config, err := from.load()
		if err != nil {
			if n := env.problems(err); n > 0 {
				return usage(c, "the configuration has %s", count(n, "mistake"))
			}
			return err
		}
		return up(ctx, env, config.Config)
	})
}

func up(ctx context.Context, env *Env, config node.Config) error {
	log, err := telemetry.NewLogger(env.Stderr, config.Log.Level, config.Log.Format)
	if err != nil {
		return err
	}
	tlog.RouteLibraryLog(log)
	clock := wallclock.System()
	began := clock.Now()
	n, err := node.Open(ctx, config, node.Deps{Log: log, Version: Version, Clock: clock,
		Entropy: entropy.System(), Program: env.Program})
	if err != nil {
		return err
	}
	if secret, made := n.Bootstrap(); made {
		fmt.Fprintf(env.Stdout, "admin token, shown this once: %s\n", secret.Reveal())
	}
	if resumed := n.Resumed(); resumed > 0 {
		fmt.Fprintf(env.Stdout, "recovered: %s finished that a stop had cut short\n", count(resumed,
			"act"))
	}
	for _, line := range n.Lines() {
		fmt.Fprintln(env.Stdout, line)
	}
	fmt.Fprintf(env.Stdout, "ready in %d ms\n", int64(clock.Now().Sub(began))/1_000_000)
	return errors.Join(n.Run(ctx), n.Close())
}
