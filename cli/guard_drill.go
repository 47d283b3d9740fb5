package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/guard"
	"surety/guard/drill"
	"surety/ledger/replica"
)

func guardDrill(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "drill",
		Short: "Plant faults and show what the guard finds",
		Long: `Starts a ledger and a guard of its own in a temporary directory, sends clean traffic through them
and plants faults in it: so many of each class of loss, at random places with random amounts. Shows
for each class how many the ledger refused, how many the guard caught, how soon, what was moved on
before the stop was in force, and what was missed. An alarm that no fault explains is a false one.
It touches no running node. With -o json, one object; the exit status is 1 where a fault was missed
or an alarm was false.

With --clean, checks so many clean events instead, delivered up to a minute late, twice and out of
order: then every alarm is false.`,
		Example: `  surety guard drill
  surety guard drill --instances 100 --html drill.html
  surety guard drill --classes 1.1,3.2 --seed 42
  surety guard drill --clean 1000000`,
		Args: noArgs,
	}
	var config drill.Config
	var classes, page, keep string
	var clean int
	c.Flags().IntVar(&config.Instances, "instances", 10, "faults of each class, 1 to 10000")
	c.Flags().Uint64Var(&config.Seed, "seed", 1, "what is planted follows from it")
	c.Flags().StringVar(&classes, "classes", "", "classes to plant, with commas (default: all)")
	c.Flags().StringVar(&page, "html", "", "file to write the report to, as a page")
	c.Flags().StringVar(&keep, "in", "",
		"directory for the drill's ledger and guard, kept afterwards (default: a temporary one)")
	c.Flags().IntVar(&clean, "clean", 0, "check so many clean events instead")
	must(c.RegisterFlagCompletionFunc("classes", cobra.FixedCompletions(classNames(),
		cobra.ShellCompDirectiveNoFileComp)))
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		if clean > 0 {
			return runClean(ctx, env, drill.CleanConfig{Seed: config.Seed, Events: clean})
		}
		var err error
		if config.Classes, err = parseClasses(classes); err != nil {
			return err
		}
		report, err := runDrill(ctx, env, config, keep)
		if err != nil {
			return err
		}
		if page != "" {
			if err := writePage(page, report); err != nil {
				return err
			}
		}
		if err := env.show(report, report.WriteTable); err != nil {
			return err
		}
		if !report.Passed() {
			return errs.New(errs.Refused, "guard.drill: %d faults missed, %d false alarms",
				report.Missed, report.FalseAlarms)
		}
		return nil
	})
}

func classNames() (names []string) {
	for _, class := range drill.Classes() {
		names = append(names, class.String())
	}
	return names
}

func parseClasses(text string) (list []guard.Class, _ error) {
	if text == "" {
		return nil, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		class, known := guard.ParseClass(strings.TrimSpace(name))
		if !known {
			return nil, errs.New(errs.Invalid, "guard.drill: class %q is not one of %s", name,
				strings.Join(classNames(), ", "))
		}
		list = append(list, class)
	}
	return list, nil
}

// runDrill runs a drill over a ledger on disk.
func runDrill(ctx context.Context, env *Env, config drill.Config, keep string) (*drill.Report, error) {
	directory := keep
	if directory == "" {
		made, err := os.MkdirTemp("", "surety-drill-")
		if err != nil {
			return nil, errs.As(errs.Internal, err, "guard.drill")
		}
		defer os.RemoveAll(made)
		directory = made
	}
	ledger, err := replica.Open(ctx, replica.Config{Dir: filepath.Join(directory, "ledger")},
		replica.Deps{})
	if err != nil {
		return nil, errs.Wrap(err, "guard.drill")
	}
	config.Dir, config.Ledger = directory, ledger
	bar, done := env.newProgress(-1, "planting faults"), 0
	config.Progress = func(planted, _ int) {
		bar.add(int64(planted - done))
		done = planted
	}
	report, err := drill.Run(ctx, config)
	bar.finish()
	return report, errors.Join(err, ledger.Close())
}

// runClean checks clean traffic and shows how it went.
func runClean(ctx context.Context, env *Env, config drill.CleanConfig) error {
	report, err := drill.Clean(ctx, config)
	if err != nil {
		return err
	}
	if err := env.show(report, report.WriteTable); err != nil {
		return err
	}
	if report.FalseAlarms > 0 {
		return errs.New(errs.Refused, "guard.drill: %d false alarms in %d clean events",
			report.FalseAlarms, report.Events)
	}
	return nil
}

// writePage writes the report as a page of HTML.
func writePage(name string, report *drill.Report) error {
	file, err := os.Create(name)
	if err != nil {
		return errs.As(errs.Invalid, err, "guard.drill: --html")
	}
	err = errors.Join(report.WriteHTML(file), file.Close())
	return errs.As(errs.Internal, err, "guard.drill: --html %s", name)
}
