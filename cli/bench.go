package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"surety/base/clock"
	"surety/base/errs"
	"surety/bench"
	"surety/evidence/tlog"
	"surety/lending/score"
	"surety/lending/score/merchant"
	"surety/node"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// benchCommand is the group of benchmarks.
func benchCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "bench",
		Short: "Measure this machine: applications, transfers, sandboxes, enclaves",
		Long: `A figure holds for the machine it was taken on, at its load. docs/PERFORMANCE.md says how the
published ones were taken.`,
		Example: `  surety bench lending --rate 200 --duration 60s
  surety bench ledger --batch 8190 --callers 3`,
	}, benchLending(env), ledgerBench(env, "ledger"), sandboxBench(env), enclaveBench(env))
}

func benchLending(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "lending",
		Short: "Send loan applications at an even rate and measure the answers",
		Long: `Starts a node of its own in a temporary directory, unless --address names one, and sends it
synthetic applications over HTTP at an even rate, whether it keeps up or not. One goes ahead and is
not counted: it waits for what a node does after it is ready, such as starting the scorer's sandbox.
Shows how long decisions took by the node's own clock, and how long it took from the instant an
application was due to its answer, which for an approval is money in the account. With -o json, one
object with durations in nanoseconds.`,
		Example: `  surety bench lending --rate 200 --duration 60s
  surety bench lending --rate 50 --address 127.0.0.1:7310`,
		Args: noArgs,
	}
	to := targetFlags(env, c.Flags())
	var config bench.LendingConfig
	var duration time.Duration
	var keep string
	c.Flags().IntVar(&config.Rate, "rate", 200, "applications a second")
	c.Flags().DurationVar(&duration, "duration", 30*time.Second, "how long to send them")
	c.Flags().IntVar(&config.Workers, "workers", 64, "connections")
	c.Flags().Uint64Var(&config.Seed, "seed", 0, "of the applicants (0: new ones each time)")
	c.Flags().StringVar(&keep, "in", "",
		"directory for the node's data, kept afterwards (default: a temporary one)")
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		config.Duration = clock.Duration(duration)
		if config.Seed == 0 {
			config.Seed = uint64(wallclock.System().Now())
		}
		model, err := merchant.Shipped(score.KindCard)
		if err != nil {
			return err
		}
		for _, feature := range model.Features() {
			config.Features = append(config.Features, feature.Name)
		}
		if to.address != "" {
			client, base, err := to.http()
			if err != nil {
				return err
			}
			return showLending(ctx, env, client, base, config)
		}
		return benchOwnNode(ctx, env, keep, config)
	})
}

// benchOwnNode runs the load against a node of its own, which is stopped and removed afterwards.
func benchOwnNode(ctx context.Context, env *Env, dir string, config bench.LendingConfig) error {
	if dir == "" {
		temporary, err := os.MkdirTemp("", "surety-bench-")
		if err != nil {
			return errs.As(errs.NoSpace, err, "bench lending")
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	}
	silent := slog.New(slog.DiscardHandler)
	tlog.RouteLibraryLog(silent)
	settings := node.Default()
	settings.DataDir, settings.HTTP.Address, settings.Ledger.Address = dir, "127.0.0.1:0", ""
	settings.Lending.RatePerSecond, settings.Lending.DaysPerMinute = 0, 0
	n, err := node.Open(ctx, settings, node.Deps{Log: silent,
		Version: Version,
		Clock:   wallclock.System(), Entropy: entropy.System(), Program: env.Program})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	transport := &http.Transport{MaxIdleConnsPerHost: config.Workers}
	err = showLending(ctx, env, &http.Client{Transport: transport}, "http://"+n.Address(), config)
	cancel()
	return errors.Join(err, <-ended, n.Close())
}

func showLending(ctx context.Context, env *Env, client *http.Client, base string,
	config bench.LendingConfig) error {
	report, err := bench.Lending(ctx, client, base, config)
	if err != nil {
		return err
	}
	return env.show(report, func(w io.Writer) error { return report.Write(w) })
}

// ledgerBench is one command that stands in two places: with the ledger, and with the measurements.
func ledgerBench(env *Env, use string) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: "Send transfers to a ledger and measure the durable answers",
		Long: `Opens a ledger of its own, in this process or behind a socket, and sends it transfers among
accounts drawn evenly, each caller waiting for its answer. In between it measures what the disk does
with the same small writes. With -o json, one object with durations in nanoseconds.`,
		Example: `  surety ledger bench
  surety bench ledger --batch 8190 --callers 3
  surety bench ledger --batch 1 --callers 1 --transfers 20000
  surety bench ledger --reach tcp --batch 1 --callers 64 --transfers 500000`,
		Args: noArgs,
	}
	var config bench.LedgerConfig
	var reach, dir string
	c.Flags().IntVar(&config.Accounts, "accounts", 10_000, "accounts, 2 or more")
	c.Flags().IntVar(&config.Batch, "batch", 8_190, "transfers in a call, 1 to 8190")
	c.Flags().IntVar(&config.Callers, "callers", 3, "callers at the same time")
	c.Flags().IntVar(&config.Transfers, "transfers", 3_000_000, "transfers in all")
	c.Flags().IntVar(&config.PendingPercent, "pending", 0, "percent that are two-phase")
	c.Flags().IntVar(&config.LinkedPercent, "linked", 0,
		"percent of the rest that are in chains of two")
	c.Flags().Uint64Var(&config.Seed, "seed", 1, "of the draw")
	c.Flags().StringVar(&reach, "reach", string(bench.Embedded), "embedded, socket or tcp")
	c.Flags().StringVar(&dir, "in", "",
		"directory for the ledger, kept afterwards (default: a temporary one)")
	must(c.RegisterFlagCompletionFunc("reach", cobra.FixedCompletions(
		[]string{"embedded", "socket", "tcp"}, cobra.ShellCompDirectiveNoFileComp)))
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		if dir == "" {
			temporary, err := os.MkdirTemp("", "surety-bench-")
			if err != nil {
				return errs.As(errs.NoSpace, err, "bench ledger")
			}
			defer os.RemoveAll(temporary)
			dir = temporary
		}
		config.DiskDir = dir
		place, err := bench.OpenPlace(ctx, dir, bench.Reach(reach))
		if err != nil {
			return err
		}
		report, err := bench.Ledger(ctx, place.Ledger, config)
		if err = errors.Join(err, place.Close()); err != nil {
			return err
		}
		return env.show(report, func(w io.Writer) error { return report.Write(w) })
	})
}
