package cli

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	ledgerv1 "surety/api/ledger/v1"
	"surety/api/ledger/v1/ledgerv1connect"
	"surety/base/errs"
	"surety/base/money"
)

// ledgerCommand is the group of the ledger.
func ledgerCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "ledger",
		Short: "Accounts, transfers, history and freezes",
		Long: `The ledger holds accounts and moves amounts between them, exactly once. Accounts are given by id
(hex digits) or by name. Amounts are in minor units: 125 is 1.25 of a currency with two decimals.`,
		Example: `  surety ledger accounts
  surety ledger transfer --debit alice --credit bob --amount 125 --ledger 156 --code 1
  surety ledger balances`,
	}, ledgerAccounts(env), ledgerCreate(env), ledgerTransfer(env), ledgerLookup(env),
		ledgerHistory(env), ledgerBalances(env), ledgerFreeze(env), ledgerFreezes(env),
		ledgerRequestRelease(env), ledgerRelease(env), ledgerExport(env), ledgerImport(env),
		ledgerVerify(env), ledgerBench(env, "bench"))
}

func (t *target) ledger() (ledgerv1connect.LedgerServiceClient, error) {
	client, base, err := t.http()
	if err != nil {
		return nil, err
	}
	return ledgerv1connect.NewLedgerServiceClient(client, base), nil
}

func ledgerAccounts(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "accounts",
		Short:   "List accounts in the order of their creation",
		Long:    `Shows posted and pending totals. With -o json, one object {accounts, next}.`,
		Example: `  surety ledger accounts --limit 20`,
		Args:    noArgs,
	}
	to := targetFlags(env, c.Flags())
	request := &ledgerv1.ListAccountsRequest{}
	c.Flags().Int32Var(&request.Limit, "limit", 50, "how many, 1 to 1000")
	c.Flags().StringVar(&request.After, "after", "", "continue a list: what it gave as next")
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		ledger, err := to.ledger()
		if err != nil {
			return err
		}
		response, err := call(ctx, ledger.ListAccounts, request, "ledger accounts")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			return writeAccounts(w, response.Accounts)
		})
	})
}

func writeAccounts(w io.Writer, accounts []*ledgerv1.Account) error {
	g := newGrid(left("account"), left("name"), right("ledger"), right("code"),
		right("debits pending"), right("debits posted"), right("credits pending"),
		right("credits posted"), left("flags"))
	for _, a := range accounts {
		g.row(a.Id, a.Name, a.Ledger, a.Code, a.DebitsPending, a.DebitsPosted, a.CreditsPending,
			a.CreditsPosted, strings.Join(a.Flags, ","))
	}
	return g.write(w)
}

func ledgerCreate(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "create ID",
		Short: "Create an account",
		Long: `The id is 1 to 32 hex digits. Creating the same account again changes nothing and says "exists".
With -o json, one object {results}.`,
		Example: `  surety ledger create a1 --ledger 156 --code 300 --name alice --flag debits_must_not_exceed_credits`,
		Args:    exactArgs("ID"),
	}
	to := targetFlags(env, c.Flags())
	a := &ledgerv1.Account{}
	c.Flags().StringVar(&a.Name, "name", "", "name, unique in the ledger")
	c.Flags().Uint32Var(&a.Ledger, "ledger", 0,
		"ledger number, here the ISO 4217 number of the currency")
	c.Flags().Uint32Var(&a.Code, "code", 0, "class of account, 1 to 65535")
	c.Flags().StringSliceVar(&a.Flags, "flag", nil,
		"debits_must_not_exceed_credits, credits_must_not_exceed_debits or history; may be repeated")
	c.Flags().StringToStringVar(&a.Metadata, "metadata", nil, "key=value; may be repeated")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		ledger, err := to.ledger()
		if err != nil {
			return err
		}
		a.Id = args[0]
		response, err := call(ctx, ledger.CreateAccounts, &ledgerv1.CreateAccountsRequest{
			Accounts: []*ledgerv1.Account{a}}, "ledger create")
		if err != nil {
			return err
		}
		return showResults(env, answer{response}, response.Results)
	})
}

// showResults shows what became of records; a refusal is an error, "exists" is not.
func showResults(env *Env, value any, results []string) error {
	err := env.show(value, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(results, "\n")+"\n")
		return err
	})
	for _, result := range results {
		if err == nil && result != "ok" && result != "exists" {
			return errs.New(errs.Refused, "the ledger refused it: %s", result)
		}
	}
	return err
}

func ledgerTransfer(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "transfer",
		Short: "Move an amount from one account to another",
		Long: `Without --id a new one is made and shown. Sending the same transfer again with its id moves
nothing and says "exists". docs/reference/results.md lists what else can be said.`,
		Example: `  surety ledger transfer --debit alice --credit bob --amount 125 --ledger 156 --code 1
  surety ledger transfer --id 7f --debit a1 --credit a2 --amount 125 --ledger 156 --code 1 --flag pending`,
		Args: noArgs,
	}
	to := targetFlags(env, c.Flags())
	t := &ledgerv1.Transfer{}
	c.Flags().StringVar(&t.Id, "id", "", "id of the transfer, hex digits (default: a new one)")
	c.Flags().StringVar(&t.DebitAccount, "debit", "", "account to debit, id or name")
	c.Flags().StringVar(&t.CreditAccount, "credit", "", "account to credit, id or name")
	c.Flags().StringVar(&t.Amount, "amount", "", "amount in minor units")
	c.Flags().Uint32Var(&t.Ledger, "ledger", 0, "ledger number of both accounts")
	c.Flags().Uint32Var(&t.Code, "code", 0, "kind of transfer, 1 to 65535")
	c.Flags().StringVar(&t.PendingId, "pending-id", "",
		"the pending transfer that this posts or voids")
	c.Flags().Uint32Var(&t.TimeoutSeconds, "timeout", 0,
		"seconds until a pending transfer expires (0: never)")
	c.Flags().StringSliceVar(&t.Flags, "flag", nil,
		"pending, post_pending_transfer, void_pending_transfer, balancing_debit, ...; may be repeated")
	must(c.MarkFlagRequired("amount"))
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		ledger, err := to.ledger()
		if err != nil {
			return err
		}
		if t.Id == "" {
			t.Id = env.newID().String()
			env.note("transfer %s", t.Id)
		}
		response, err := call(ctx, ledger.CreateTransfers, &ledgerv1.CreateTransfersRequest{
			Transfers: []*ledgerv1.Transfer{t}}, "ledger transfer")
		if err != nil {
			return err
		}
		return showResults(env, answer{response}, response.Results)
	})
}

func ledgerLookup(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "lookup ID|NAME...",
		Short: "Show accounts, or transfers with --transfer",
		Long: `Those that do not exist are left out. With --event, the transfers of a business event are shown.
With -o json, one object {accounts} or {transfers}.`,
		Example: `  surety ledger lookup alice
  surety ledger lookup --transfer 7f
  surety ledger lookup --event 0196f0c2a5f07c0b9d6d1b8f2f0c9a11`,
		Args: anyArgs,
	}
	to := targetFlags(env, c.Flags())
	var transfers bool
	var event string
	c.Flags().BoolVar(&transfers, "transfer", false, "the ids are transfers'")
	c.Flags().StringVar(&event, "event", "", "business event whose transfers are wanted")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		if len(args) == 0 && event == "" {
			return usage(c, "%s: give an id, a name or --event", c.CommandPath())
		}
		ledger, err := to.ledger()
		if err != nil {
			return err
		}
		if transfers || event != "" {
			response, err := call(ctx, ledger.LookupTransfers, &ledgerv1.LookupTransfersRequest{
				Ids: args, UserData_128: event}, "ledger lookup")
			if err != nil {
				return err
			}
			return env.show(answer{response}, func(w io.Writer) error {
				return writeTransfers(w, response.Transfers)
			})
		}
		response, err := call(ctx, ledger.LookupAccounts,
			&ledgerv1.LookupAccountsRequest{Accounts: args}, "ledger lookup")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			return writeAccounts(w, response.Accounts)
		})
	})
}

func writeTransfers(w io.Writer, transfers []*ledgerv1.Transfer) error {
	g := newGrid(left("transfer"), left("time"), left("debit"), left("credit"), right("amount"),
		right("code"), left("flags"))
	for _, t := range transfers {
		g.row(t.Id, t.Timestamp, t.DebitAccount, t.CreditAccount, t.Amount, t.Code,
			strings.Join(t.Flags, ","))
	}
	return g.write(w)
}

func ledgerHistory(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "history ACCOUNT",
		Short: "Show the transfers of an account, newest first",
		Long: `With --balances, what the account held after each of them; only accounts created with the flag
history keep that. With -o json, one object {transfers} or {balances}.`,
		Example: `  surety ledger history alice --limit 10
  surety ledger history alice --balances`,
		Args: exactArgs("ACCOUNT"),
	}
	to := targetFlags(env, c.Flags())
	request := &ledgerv1.AccountTransfersRequest{}
	var balances bool
	c.Flags().Int32Var(&request.Limit, "limit", 50, "how many, 1 to 1000")
	c.Flags().BoolVar(&request.OldestFirst, "oldest-first", false, "begin with the first transfer")
	c.Flags().BoolVar(&balances, "balances", false, "balances instead of transfers")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		ledger, err := to.ledger()
		if err != nil {
			return err
		}
		request.Account = args[0]
		if balances {
			response, err := call(ctx, ledger.AccountBalances, request, "ledger history")
			if err != nil {
				return err
			}
			return env.show(answer{response}, func(w io.Writer) error {
				g := newGrid(left("time"), right("debits pending"), right("debits posted"),
					right("credits pending"), right("credits posted"))
				for _, b := range response.Balances {
					g.row(b.Timestamp, b.DebitsPending, b.DebitsPosted, b.CreditsPending,
						b.CreditsPosted)
				}
				return g.write(w)
			})
		}
		response, err := call(ctx, ledger.AccountTransfers, request, "ledger history")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			return writeTransfers(w, response.Transfers)
		})
	})
}

func ledgerBalances(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "balances",
		Short: "Show the trial balance: totals by ledger and class of account",
		Long: `In each ledger the debits of all classes add up to the credits. With -o json, one object
{totals}.`,
		Example: `  surety ledger balances`,
		Args:    noArgs,
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		ledger, err := to.ledger()
		if err != nil {
			return err
		}
		response, err := call(ctx, ledger.ClassTotals, &ledgerv1.ClassTotalsRequest{},
			"ledger balances")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			g := newGrid(left("ledger"), right("class"), right("accounts"), right("debits pending"),
				right("debits posted"), right("credits pending"), right("credits posted"))
			for _, t := range response.Totals {
				in := func(minor string) string { return minor }
				name := strconv.Itoa(int(t.Ledger))
				if currency, err := money.CurrencyByNumber(t.Ledger); err == nil {
					name = currency.Code
					in = func(minor string) string { return majorUnits(minor, currency.Code) }
				}
				g.row(name, t.Code, t.Accounts, in(t.DebitsPending), in(t.DebitsPosted),
					in(t.CreditsPending), in(t.CreditsPosted))
			}
			return g.write(w)
		})
	})
}

func ledgerFreeze(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "freeze account|code|ledger",
		Short: "Stop money in a scope, at once",
		Long: `No later transfer in the scope succeeds until the freeze expires or two people release it. With
-o json, the freeze.`,
		Example: `  surety ledger freeze account --account alice --sides debits --reason "card stolen" --expires-in 24h
  surety ledger freeze code --ledger 156 --code 20 --reason "wrong rate released"`,
		Args: exactArgs("account|code|ledger"),
	}
	to := targetFlags(env, c.Flags())
	request := &ledgerv1.FreezeRequest{}
	c.Flags().StringVar(&request.Account, "account", "", "account to stop, id or name")
	c.Flags().Uint32Var(&request.Ledger, "ledger", 0, "ledger number")
	c.Flags().Uint32Var(&request.Code, "code", 0, "transfer code to stop")
	c.Flags().StringVar(&request.Sides, "sides", "both", "of an account: debits, credits or both")
	c.Flags().StringVar(&request.Reason, "reason", "", "why, 1 to 400 characters")
	c.Flags().StringVar(&request.ExpiresIn, "expires-in", "",
		"such as 24h (default: until released)")
	must(c.MarkFlagRequired("reason"))
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		ledger, err := to.ledger()
		if err != nil {
			return err
		}
		request.Scope = args[0]
		freeze, err := call(ctx, ledger.Freeze, request, "ledger freeze")
		if err != nil {
			return err
		}
		return env.show(answer{freeze}, func(w io.Writer) error {
			return writeFreezes(w, []*ledgerv1.FreezeState{freeze})
		})
	})
}

func writeFreezes(w io.Writer, freezes []*ledgerv1.FreezeState) error {
	g := newGrid(left("freeze"), left("state"), left("scope"), left("what"), left("sides"),
		left("by"),
		left("expires"), left("reason"))
	for _, z := range freezes {
		what := z.Account
		switch z.Scope {
		case "code":
			what = strconv.Itoa(int(z.Ledger)) + "/" + strconv.Itoa(int(z.Code))
		case "ledger":
			what = strconv.Itoa(int(z.Ledger))
		}
		g.row(z.Id, z.State, z.Scope, what, z.Sides, z.By, z.ExpiresAt, z.Reason)
	}
	return g.write(w)
}

func ledgerFreezes(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "freezes",
		Short:   "List the freezes in force",
		Long:    `Shows what is stopped, by whom and why. With -o json, one object {freezes}.`,
		Example: `  surety ledger freezes`,
		Args:    noArgs,
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		ledger, err := to.ledger()
		if err != nil {
			return err
		}
		response, err := call(ctx, ledger.ListFreezes, &ledgerv1.ListFreezesRequest{},
			"ledger freezes")
		if err != nil {
			return err
		}
		return env.show(answer{response}, func(w io.Writer) error {
			return writeFreezes(w, response.Freezes)
		})
	})
}

func ledgerRequestRelease(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "request-release FREEZE",
		Short:   "Propose to end a freeze",
		Long:    `Money moves again only after a second person confirms with "surety ledger release".`,
		Example: `  surety ledger request-release 0196f0c2a5f07c0b9d6d1b8f2f0c9a11 --reason "rate mended"`,
		Args:    exactArgs("FREEZE"),
	}
	to := targetFlags(env, c.Flags())
	var reason string
	c.Flags().StringVar(&reason, "reason", "", "why, 1 to 400 characters")
	must(c.MarkFlagRequired("reason"))
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		ledger, err := to.ledger()
		if err != nil {
			return err
		}
		z, err := call(ctx, ledger.RequestRelease, &ledgerv1.RequestReleaseRequest{
			Id: args[0], Reason: reason}, "ledger request-release")
		if err != nil {
			return err
		}
		return env.show(answer{z}, func(w io.Writer) error {
			return writeFreezes(w, []*ledgerv1.FreezeState{z})
		})
	})
}

func ledgerRelease(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "release FREEZE",
		Short: "End a freeze whose release another person proposed",
		Long: `Needs the role risk, and a token of another name than the one that proposed it. With -o json,
the freeze.`,
		Example: `  surety ledger release 0196f0c2a5f07c0b9d6d1b8f2f0c9a11 --token "$SECOND_PERSON"`,
		Args:    exactArgs("FREEZE"),
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		ledger, err := to.ledger()
		if err != nil {
			return err
		}
		z, err := call(ctx, ledger.Release, &ledgerv1.ReleaseRequest{Id: args[0]}, "ledger release")
		if err != nil {
			return err
		}
		return env.show(answer{z}, func(w io.Writer) error {
			return writeFreezes(w, []*ledgerv1.FreezeState{z})
		})
	})
}
