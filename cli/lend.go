package cli

import (
	"context"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	lendingv1 "surety/api/lending/v1"
	"surety/api/lending/v1/lendingv1connect"
	"surety/base/errs"
)

// lendCommand is the group of the lending service.
func lendCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "lend",
		Short: "Applications, decisions, loans and repayments",
		Long: `The lending service takes an application, decides it, writes the contract and moves the money,
and later takes repayments. These commands talk to a running node.`,
		Example: `  surety lend submit --form application.json
  surety lend loans --status active
  surety lend repay 0196f0c2a5f07c0b9d6d1b8f2f0c9a11 250.00 --reference BANK-1`,
	}, lendSubmit(env), lendApplications(env), lendApplication(env), lendLoans(env), lendLoan(env),
		lendRepay(env), lendPayoff(env), lendWriteOff(env), lendReplay(env), lendReview(env),
		lendProducts(env), lendTrain(env), lendEvaluate(env), lendScore(env), lendExplain(env))
}

// lendingOf returns a client of the lending service.
func (t *target) lending() (lendingv1connect.LendingServiceClient, error) {
	client, base, err := t.http()
	if err != nil {
		return nil, err
	}
	return lendingv1connect.NewLendingServiceClient(client, base), nil
}

func lendSubmit(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "submit",
		Short: "Send an application and show what was decided",
		Long: `The form is JSON with the fields name, id_number, phone, business_name, months_in_business,
monthly_turnover, employees, existing_debt, amount, term_months, purpose and consent; amounts are
strings of minor units. With --key the same application can be sent again without being taken
twice.`,
		Example: `  surety lend submit --form application.json --key order-77
  surety lend submit --form - < application.json`,
		Args: noArgs,
	}
	to := targetFlags(env, c.Flags())
	var file, key, product string
	c.Flags().StringVar(&file, "form", "", "file with the form as JSON; - for standard input")
	c.Flags().StringVar(&key, "key", "", "idempotency key, 1 to 64 characters (default: a new one)")
	c.Flags().StringVar(&product, "product", "", "product asked for (default: the node's)")
	must(c.MarkFlagRequired("form"))
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		form, err := readForm(env, file)
		if err != nil {
			return err
		}
		lending, err := to.lending()
		if err != nil {
			return err
		}
		response, err := call(ctx, lending.Submit, &lendingv1.SubmitRequest{
			IdempotencyKey: key, Product: product, Form: form}, "lend submit")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			if err := writeApplication(w, response.Application); err != nil ||
				response.Loan == nil {
				return err
			}
			return writeLoan(w, response.Loan)
		})
	})
}

// formMax bounds a form file in bytes.
const formMax = 64 << 10

func readForm(env *Env, file string) (*lendingv1.Form, error) {
	from := env.Stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, fileError(err, "form")
		}
		defer opened.Close()
		from = opened
	}
	data, err := io.ReadAll(io.LimitReader(from, formMax+1))
	if err != nil {
		return nil, fileError(err, "form")
	}
	if len(data) > formMax {
		return nil, errs.New(errs.TooLarge, "form: more than the limit of %d bytes", formMax)
	}
	form := &lendingv1.Form{}
	if err := protojson.Unmarshal(data, form); err != nil {
		return nil, errs.As(errs.Invalid, err, "form")
	}
	return form, nil
}

func lendApplications(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "applications",
		Short:   "List applications, newest first",
		Long:    `Shows what was asked and what was decided. With -o json, one object {applications, next}.`,
		Example: `  surety lend applications --outcome refer --limit 20`,
		Args:    noArgs,
	}
	to := targetFlags(env, c.Flags())
	request := &lendingv1.ListApplicationsRequest{}
	c.Flags().Int32Var(&request.Limit, "limit", 20, "how many, 1 to 200")
	c.Flags().StringVar(&request.Before, "before", "", "continue a list: what it gave as next")
	c.Flags().StringVar(&request.Outcome, "outcome", "", "approve, decline or refer (default: all)")
	must(c.RegisterFlagCompletionFunc("outcome", cobra.FixedCompletions(
		[]string{"approve", "decline", "refer"}, cobra.ShellCompDirectiveNoFileComp)))
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		lending, err := to.lending()
		if err != nil {
			return err
		}
		response, err := call(ctx, lending.ListApplications, request, "lend applications")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			g := newGrid(left("application"), left("received"), left("status"), right("requested"),
				left("currency"), right("points"), right("pd %"), left("loan"))
			for _, a := range response.Applications {
				d := a.Decision
				g.row(a.Id, a.ReceivedAt, a.Status, majorUnits(a.Requested, a.Currency), a.Currency,
					d.GetPoints(), percentOfMillion(d.GetPdPpm()), a.Loan)
			}
			return g.write(w)
		})
	})
}

func lendApplication(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "application ID",
		Short:   "Show one application, its decision and the reasons",
		Long:    `The form is shown until the applicant's data are erased. With -o json, the application.`,
		Example: `  surety lend application 0196f0c2a5f07c0b9d6d1b8f2f0c9a11`,
		Args:    exactArgs("ID"),
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		lending, err := to.lending()
		if err != nil {
			return err
		}
		a, err := call(ctx, lending.GetApplication, &lendingv1.GetApplicationRequest{Id: args[0]},
			"lend application")
		if err != nil {
			return err
		}
		return env.show(answer{a}, func(w io.Writer) error { return writeApplication(w, a) })
	})
}

func writeApplication(w io.Writer, a *lendingv1.Application) error {
	pairs := []pair{
		{"application", a.Id}, {"status", a.Status}, {"origin", a.Origin}, {"received",
			a.ReceivedAt},
		{"requested", majorUnits(a.Requested, a.Currency) + " " + a.Currency},
		{"term", strconv.Itoa(int(a.TermMonths)) + " months"},
	}
	if a.CancelledReason != "" {
		pairs = append(pairs, pair{"cancelled", a.CancelledReason})
	}
	if a.Erased {
		pairs = append(pairs, pair{"form", "erased"})
	}
	if d := a.Decision; d != nil {
		pairs = append(pairs,
			pair{"decision", d.Outcome},
			pair{"points", d.Points},
			pair{"probability of default", percentOfMillion(d.PdPpm) + " %"},
			pair{"limit", majorUnits(d.Limit, a.Currency)},
			pair{"offered", majorUnits(d.Offered, a.Currency)},
			pair{"decided in", strconv.FormatInt(d.Micros, 10) + " us"},
			pair{"inputs digest", d.InputsDigest},
			pair{"model digest", d.ModelDigest},
		)
		for _, r := range d.Reasons {
			pairs = append(pairs, pair{"reason " + r.Code, r.Sentence})
		}
	}
	if a.Loan != "" {
		pairs = append(pairs, pair{"loan", a.Loan})
	}
	return writePairs(w, pairs...)
}

func lendLoans(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "loans",
		Short:   "List loans, newest first",
		Long:    `Shows what is owed and how late it is. With -o json, one object {loans, next}.`,
		Example: `  surety lend loans --status active`,
		Args:    noArgs,
	}
	to := targetFlags(env, c.Flags())
	request := &lendingv1.ListLoansRequest{}
	c.Flags().Int32Var(&request.Limit, "limit", 20, "how many, 1 to 200")
	c.Flags().StringVar(&request.Before, "before", "", "continue a list: what it gave as next")
	c.Flags().StringVar(&request.Status, "status", "",
		"approved, active, closed, written_off or cancelled (default: all)")
	must(c.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(
		[]string{"approved", "active", "closed", "written_off", "cancelled"},
		cobra.ShellCompDirectiveNoFileComp)))
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		lending, err := to.lending()
		if err != nil {
			return err
		}
		response, err := call(ctx, lending.ListLoans, request, "lend loans")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			g := newGrid(left("loan"), left("status"), left("bucket"), right("principal"),
				right("outstanding"), right("repaid"), left("currency"), left("next due"))
			for _, l := range response.Loans {
				g.row(l.Id, l.Status, l.Bucket, majorUnits(l.Contract.GetPrincipal(), l.Currency),
					majorUnits(l.PrincipalOutstanding, l.Currency), majorUnits(l.Repaid,
						l.Currency),
					l.Currency, l.NextDue)
			}
			return g.write(w)
		})
	})
}

func lendLoan(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "loan ID",
		Short:   "Show one loan with its contract, schedule and events",
		Long:    `For the proof of every step, see "surety trace". With -o json, the loan.`,
		Example: `  surety lend loan 0196f0c2a5f07c0b9d6d1b8f2f0c9a11`,
		Args:    exactArgs("ID"),
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		lending, err := to.lending()
		if err != nil {
			return err
		}
		l, err := call(ctx, lending.GetLoan, &lendingv1.GetLoanRequest{Id: args[0]}, "lend loan")
		if err != nil {
			return err
		}
		return env.show(answer{l}, func(w io.Writer) error { return writeLoan(w, l) })
	})
}

func writeLoan(w io.Writer, l *lendingv1.Loan) error {
	in := func(minor string) string { return majorUnits(minor, l.Currency) }
	pairs := []pair{
		{"loan", l.Id}, {"application", l.Application}, {"status", l.Status}, {"bucket", l.Bucket},
		{"currency", l.Currency}, {"outstanding", in(l.PrincipalOutstanding)},
		{"interest due", in(l.InterestDue)}, {"penalty due", in(l.PenaltyDue)},
		{"repaid", in(l.Repaid)}, {"next due", l.NextDue}, {"disbursed", l.DisbursedOn},
	}
	k := l.Contract
	if k == nil {
		return writePairs(w, pairs...)
	}
	pairs = append(pairs,
		pair{"principal", in(k.Principal)}, pair{"fee", in(k.Fee)},
		pair{"annual rate", k.AnnualRatePercent + " %"}, pair{"APR", k.AprPercent + " %"},
		pair{"total cost", in(k.TotalCost)}, pair{"contract digest", k.Digest})
	if err := writePairs(w, pairs...); err != nil {
		return err
	}
	g := newGrid(right("no"), left("due"), right("payment"), right("interest"), right("principal"),
		right("balance"), left("status"))
	for _, i := range k.Schedule {
		g.row(i.Number, i.Due, in(i.Payment), in(i.Interest), in(i.Principal), in(i.Balance),
			i.Status)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	if err := g.write(w); err != nil {
		return err
	}
	return writeEvents(w, l)
}

func writeEvents(w io.Writer, l *lendingv1.Loan) error {
	g := newGrid(right("seq"), left("date"), left("event"), left("amounts"), left("id"))
	for _, e := range l.Events {
		var amounts []string
		for _, name := range sortedKeys(e.Amounts) {
			amounts = append(amounts, name+" "+majorUnits(e.Amounts[name], l.Currency))
		}
		g.row(e.Seq, e.Date, e.Kind, strings.Join(amounts, ", "), e.Id)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return g.write(w)
}

func lendRepay(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "repay LOAN AMOUNT",
		Short: "Take a repayment of a loan",
		Long: `AMOUNT is in major units of the loan's currency, such as 250.00. The reference names the payment
in its channel: sent again with the same amount it moves nothing and gives the same answer.`,
		Example: `  surety lend repay 0196f0c2a5f07c0b9d6d1b8f2f0c9a11 250.00 --reference BANK-1`,
		Args:    exactArgs("LOAN", "AMOUNT"),
	}
	to := targetFlags(env, c.Flags())
	var reference string
	c.Flags().StringVar(&reference, "reference", "",
		"the channel's name for the payment, 1 to 64 characters")
	must(c.MarkFlagRequired("reference"))
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		lending, err := to.lending()
		if err != nil {
			return err
		}
		loan, err := call(ctx, lending.GetLoan, &lendingv1.GetLoanRequest{Id: args[0]},
			"lend repay")
		if err != nil {
			return err
		}
		amount, err := minorUnits(args[1], loan.Currency)
		if err != nil {
			return err
		}
		response, err := call(ctx, lending.Repay, &lendingv1.RepayRequest{
			Loan: args[0], Amount: amount, Reference: reference}, "lend repay")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			in := func(minor string) string { return majorUnits(minor, loan.Currency) }
			if response.RepeatedReference {
				env.note("reference %s was taken before: nothing has moved", reference)
			}
			return writePairs(w, pair{"penalty", in(response.Penalty)},
				pair{"interest", in(response.Interest)}, pair{"principal", in(response.Principal)},
				pair{"overpaid", in(response.Overpaid)},
				pair{"outstanding", in(response.Loan.GetPrincipalOutstanding())},
				pair{"status", response.Loan.GetStatus()})
		})
	})
}

func lendPayoff(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "payoff LOAN",
		Short:   "Quote what closes a loan today",
		Long:    `The quote holds for the business date it names. With -o json, the quote in minor units.`,
		Example: `  surety lend payoff 0196f0c2a5f07c0b9d6d1b8f2f0c9a11`,
		Args:    exactArgs("LOAN"),
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		lending, err := to.lending()
		if err != nil {
			return err
		}
		loan, err := call(ctx, lending.GetLoan, &lendingv1.GetLoanRequest{Id: args[0]},
			"lend payoff")
		if err != nil {
			return err
		}
		q, err := call(ctx, lending.Payoff, &lendingv1.PayoffRequest{Loan: args[0]}, "lend payoff")
		if err != nil {
			return err
		}
		return env.show(answer{q}, func(w io.Writer) error {
			in := func(minor string) string { return majorUnits(minor, loan.Currency) }
			return writePairs(w, pair{"date", q.Date}, pair{"amount",
				in(q.Amount) + " " + loan.Currency},
				pair{"principal", in(q.Principal)}, pair{"interest", in(q.Interest)},
				pair{"penalty", in(q.Penalty)})
		})
	})
}

func lendWriteOff(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "write-off LOAN",
		Short:   "Write a loan off as lost",
		Long:    `Needs the role risk. What is recovered later is income of its own.`,
		Example: `  surety lend write-off 0196f0c2a5f07c0b9d6d1b8f2f0c9a11 --reason "bankrupt"`,
		Args:    exactArgs("LOAN"),
	}
	to := targetFlags(env, c.Flags())
	var reason string
	c.Flags().StringVar(&reason, "reason", "", "why, 1 to 256 characters")
	must(c.MarkFlagRequired("reason"))
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		lending, err := to.lending()
		if err != nil {
			return err
		}
		loan, err := call(ctx, lending.WriteOff, &lendingv1.WriteOffRequest{
			Loan: args[0], Reason: reason}, "lend write-off")
		if err != nil {
			return err
		}
		return env.show(answer{loan}, func(w io.Writer) error { return writeLoan(w, loan) })
	})
}

func lendReplay(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "replay APPLICATION",
		Short: "Compute a decision again from what was stored, and compare",
		Long: `The stored inputs, models and policy of the decision are taken by their digests, the decision is
computed again, and the two are compared bit for bit. Exit status 1 where they differ.`,
		Example: `  surety lend replay 0196f0c2a5f07c0b9d6d1b8f2f0c9a11`,
		Args:    exactArgs("APPLICATION"),
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		lending, err := to.lending()
		if err != nil {
			return err
		}
		r, err := call(ctx, lending.Replay, &lendingv1.ReplayRequest{Application: args[0]},
			"lend replay")
		if err != nil {
			return err
		}
		err = env.show(answer{r}, func(w io.Writer) error {
			return writePairs(w, pair{"stored", decisionLine(r.Stored)},
				pair{"computed", decisionLine(r.Computed)}, pair{"equal", r.Equal})
		})
		if err == nil && !r.Equal {
			return errs.New(errs.Corrupt, "lend replay: the decision differs: %s", r.Difference)
		}
		return err
	})
}

func decisionLine(d *lendingv1.Decision) string {
	return d.GetOutcome() + ", " + strconv.Itoa(int(d.GetPoints())) + " points, probability of default " +
		percentOfMillion(d.GetPdPpm()) + " %, inputs " + d.GetInputsDigest()
}

func lendReview(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "review APPLICATION",
		Short:   "Ask for a person to look at a decision",
		Long:    `An applicant may contest an automated decision. The application is marked for review.`,
		Example: `  surety lend review 0196f0c2a5f07c0b9d6d1b8f2f0c9a11`,
		Args:    exactArgs("APPLICATION"),
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		lending, err := to.lending()
		if err != nil {
			return err
		}
		a, err := call(ctx, lending.RequestReview,
			&lendingv1.RequestReviewRequest{Application: args[0]}, "lend review")
		if err != nil {
			return err
		}
		return env.show(answer{a}, func(w io.Writer) error { return writeApplication(w, a) })
	})
}

func lendProducts(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "products",
		Short:   "List the products a node lends",
		Long:    `The first is the default. With -o json, one object {products, business_date, synthetic}.`,
		Example: `  surety lend products`,
		Args:    noArgs,
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		lending, err := to.lending()
		if err != nil {
			return err
		}
		response, err := call(ctx, lending.Products, &lendingv1.ProductsRequest{}, "lend products")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			g := newGrid(left("product"), left("currency"), right("least"), right("most"),
				right("rate %"), right("fee permille"))
			for _, p := range response.Products {
				g.row(p.Name, p.Currency, majorUnits(p.AmountMin, p.Currency),
					majorUnits(p.AmountMax, p.Currency), p.AnnualRatePercent, p.FeePermille)
			}
			return g.write(w)
		})
	})
}

// percentOfMillion shows parts per million as percent with two decimals.
func percentOfMillion(ppm int64) string {
	hundredths := (ppm + 50) / 100
	return strconv.FormatInt(hundredths/100, 10) + "." + twoDigits(hundredths%100)
}

func twoDigits(n int64) string {
	if n < 10 {
		return "0" + strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10)
}
