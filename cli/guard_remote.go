package cli

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	guardv1 "surety/api/guard/v1"
	"surety/api/guard/v1/guardv1connect"
)

// guardCommand is the group of the guard.
func guardCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "guard",
		Short: "Invariants, breaches and drills",
		Long: `The guard holds what the services said they would do against what the ledger did, in real time,
and stops a loss as it begins.`,
		Example: `  surety guard status
  surety guard breaches --state open
  surety guard drill`,
	}, guardStatus(env), guardBreaches(env), guardBreach(env), guardDrill(env))
}

func (t *target) guard() (guardv1connect.GuardServiceClient, error) {
	client, base, err := t.http()
	if err != nil {
		return nil, err
	}
	return guardv1connect.NewGuardServiceClient(client, base), nil
}

func guardStatus(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show every invariant and the age of its last check",
		Long: `An invariant that has not been checked for too long is stale, and the whole is grey: silence is
never green. With -o json, the status.`,
		Example: `  surety guard status`,
		Args:    noArgs,
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		guard, err := to.guard()
		if err != nil {
			return err
		}
		s, err := call(ctx, guard.Status, &guardv1.StatusRequest{}, "guard status")
		if err != nil {
			return err
		}
		return env.show(answer{s}, func(w io.Writer) error { return writeGuardStatus(w, s) })
	})
}

func writeGuardStatus(w io.Writer, s *guardv1.StatusResponse) error {
	money := "allowed"
	if !s.MoneyOutAllowed {
		money = "stopped: " + s.MoneyOutReason
	}
	err := writePairs(w, pair{"state", s.State}, pair{"mode", s.Mode}, pair{"money out", money},
		pair{"events checked", s.EventsChecked}, pair{"postings checked", s.PostingsChecked},
		pair{"open expectations", s.OpenExpectations}, pair{"breaches open", s.BreachesOpen},
		pair{"lag", strconv.FormatInt(s.LagMillis, 10) + " ms"},
		pair{"canary", strconv.FormatInt(s.CanaryAgeMillis, 10) + " ms ago"})
	if err != nil {
		return err
	}
	g := newGrid(left("invariant"), left("state"), right("age ms"), right("checked"),
		left("detail"))
	for _, i := range s.Invariants {
		g.row(i.Title, i.State, i.AgeMillis, i.Checked, i.Detail)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return g.write(w)
}

func guardBreaches(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "breaches",
		Short:   "List breaches, newest first",
		Long:    `A breach is an event and postings that disagree. With -o json, one object {breaches}.`,
		Example: `  surety guard breaches --state open`,
		Args:    noArgs,
	}
	to := targetFlags(env, c.Flags())
	request := &guardv1.ListBreachesRequest{}
	c.Flags().Int32Var(&request.Limit, "limit", 20, "how many, 1 to 200")
	c.Flags().StringVar(&request.State, "state", "",
		"open, confirmed, false or drilled (default: all)")
	must(c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(
		[]string{"open", "confirmed", "false", "drilled"}, cobra.ShellCompDirectiveNoFileComp)))
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		guard, err := to.guard()
		if err != nil {
			return err
		}
		response, err := call(ctx, guard.ListBreaches, request, "guard breaches")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			g := newGrid(left("breach"), left("class"), left("severity"), left("state"),
				left("detected"), right("at risk"), left("stop"), left("title"))
			for _, b := range response.Breaches {
				g.row(b.Id, b.Class, b.Severity, b.State, b.DetectedAt,
					majorUnits(b.MoneyAtRisk, b.Currency), b.Stop, b.Title)
			}
			return g.write(w)
		})
	})
}

func guardBreach(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "breach ID",
		Short: "Show a breach with the two records that disagree",
		Long: `With --resolve the breach is marked confirmed or false; a note says why. With -o json, the
breach.`,
		Example: `  surety guard breach 0196f0c2a5f07c0b9d6d1b8f2f0c9a11
  surety guard breach 0196f0c2a5f07c0b9d6d1b8f2f0c9a11 --resolve confirmed --note "rate table was wrong"`,
		Args: exactArgs("ID"),
	}
	to := targetFlags(env, c.Flags())
	var state, note string
	c.Flags().StringVar(&state, "resolve", "", "confirmed or false")
	c.Flags().StringVar(&note, "note", "", "why, with --resolve")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		guard, err := to.guard()
		if err != nil {
			return err
		}
		var b *guardv1.Breach
		if state != "" {
			b, err = call(ctx, guard.Resolve, &guardv1.ResolveRequest{Id: args[0], State: state,
				Note: note}, "guard breach")
		} else {
			b, err = call(ctx, guard.GetBreach, &guardv1.GetBreachRequest{Id: args[0]},
				"guard breach")
		}
		if err != nil {
			return err
		}
		return env.show(answer{b}, func(w io.Writer) error {
			return writePairs(w, pair{"breach", b.Id}, pair{"class", b.Class + " " + b.Title},
				pair{"rule", b.Rule}, pair{"severity", b.Severity}, pair{"state", b.State},
				pair{"at risk", majorUnits(b.MoneyAtRisk, b.Currency) + " " + b.Currency},
				pair{"event", b.Event}, pair{"loan", b.Loan}, pair{"expected", b.Expected},
				pair{"found", b.Found}, pair{"differing", strings.Join(b.Differing, ", ")},
				pair{"first seen", b.FirstSeen}, pair{"decidable", b.DecidableAt},
				pair{"detected", b.DetectedAt}, pair{"stop", b.Stop}, pair{"freeze", b.Freeze},
				pair{"note", b.Note})
		})
	})
}
