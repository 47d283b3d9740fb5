package cli

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/pack"
	"surety/lending/score/merchant"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

func jointInit(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a party: its keys, and what others need to know of it",
		Long: `Makes DIR, of this user alone: a key that signs contracts, a key that answers are sealed
to, the store of a key broker in DIR/broker, and DIR/party.json, which the other party may have.
With -o json what party.json holds.`,
		Example: `  surety enclave joint init bank --name bank`,
		Args:    exactArgs("DIR"),
	}
	var name string
	c.Flags().StringVar(&name, "name", "", "of the party (default: the directory's)")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		dir := args[0]
		name = cmp.Or(name, filepath.Base(filepath.Clean(dir)))
		if !enclave.ValidName(name + "-broker") {
			return usage(c, "--name: %q is no name", name)
		}
		public, err := makeParty(ctx, dir, name)
		if err != nil {
			return err
		}
		return env.show(public, func(w io.Writer) error {
			return writePairs(w, pair{"party", name}, pair{"key", public.ID()}, pair{"broker", public.Broker},
				pair{"broker key", public.BrokerKey}, pair{"for others", filepath.Join(dir, jointPartyFile)})
		})
	})
}

func makeParty(ctx context.Context, dir, name string) (*enclave.Party, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		if os.IsExist(err) {
			return nil, errs.New(errs.Exists, "%s is there already", dir)
		}
		return nil, fileError(err, "directory")
	}
	fill := func(p []byte) error { entropy.System().Fill(p); return nil }
	sign, err := pack.NewKey(filepath.Join(dir, jointSignFile), fill)
	if err != nil {
		return nil, err
	}
	open, err := writeOpenKey(filepath.Join(dir, jointOpenFile))
	if err != nil {
		return nil, err
	}
	public := &enclave.Party{Name: name, Key: sign.Public().(ed25519.PublicKey),
		Seal: open.PublicKey().Bytes(), Broker: name + "-broker"}
	if public.BrokerKey, err = ensureBroker(ctx, filepath.Join(dir, jointBrokerDir)); err != nil {
		return nil, err
	}
	return public, writeJSON(filepath.Join(dir, jointPartyFile), public)
}

func jointSample(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "sample",
		Short: "Write a synthetic population with all columns, to split between parties",
		Long: `Writes micro-merchants that are generated from a seed, as comma-separated text with a
header: what "surety up" lends to. They are synthetic, and no figure about them says anything
about real ones.`,
		Example: `  surety enclave joint sample --rows 8000 > people.csv`,
		Args:    noArgs,
	}
	rows, seed := 8000, uint64(7)
	c.Flags().IntVar(&rows, "rows", rows, "merchants")
	c.Flags().Uint64Var(&seed, "seed", seed, "of the population")
	return verb(env, c, func(_ context.Context, env *Env, _ []string) error {
		return merchant.WriteCSV(env.Stdout, seed, 0, rows)
	})
}

// jointTerms is a contract before it has parties, a program and a date: what people write.
type jointTerms struct {
	Name      string             `json:"name"`
	Join      enclave.Join       `json:"join"`
	Target    enclave.Target     `json:"target"`
	Columns   []enclave.Column   `json:"columns"`
	Reasons   []enclave.Reason   `json:"reasons"`
	Operation enclave.Operation  `json:"operation"`
	Machines  []enclave.TEE      `json:"machines"`
	Outputs   []enclave.Output   `json:"outputs"`
	Rule      enclave.OutputRule `json:"rule"`
	Budget    enclave.Budget     `json:"budget"`
	Days      int64              `json:"days"` // that it is in force
}

func jointPropose(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "propose TERMS",
		Short: "Make a contract of terms and parties, for all to sign",
		Long: `TERMS is a JSON file: name, join, target, columns, reasons, operation, machines,
outputs, rule, budget, and days that it is in force. The parties are given by their party.json.
The program is this one: its digest, with everything else that decides how the enclave behaves,
is written into the contract, and whoever has the same version gets the same. With -o json the
contract.`,
		Example: `  surety enclave joint propose terms.json --party bank/party.json --party shop/party.json`,
		Args:    exactArgs("TERMS"),
	}
	var parties []string
	out := "contract.cbor"
	c.Flags().StringArrayVar(&parties, "party", nil, "party.json of a party (one for each)")
	c.Flags().StringVar(&out, "out", out, "file to write")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		contract, err := proposed(ctx, env, args[0], parties)
		if err != nil {
			return err
		}
		file, err := contract.Propose()
		if err == nil {
			err = writeNew(out, file)
		}
		if err != nil {
			return err
		}
		return showContract(env, contract, nil)
	})
}

func proposed(ctx context.Context, env *Env, path string, parties []string) (*enclave.Contract, error) {
	var t jointTerms
	if err := readJSON(path, &t); err != nil {
		return nil, err
	}
	now := wallclock.System().Now()
	if t.Days < 1 || t.Days > 3650 {
		return nil, errs.New(errs.Invalid, "terms %s: days: %d, want 1 to 3650", path, t.Days)
	}
	c := &enclave.Contract{Format: enclave.FormatNow, Name: t.Name, Join: t.Join, Target: t.Target,
		Columns: t.Columns, Reasons: t.Reasons, Operation: t.Operation, Machines: t.Machines,
		Outputs: t.Outputs, Rule: t.Rule, Budget: t.Budget,
		Expires: now.Add(clock.Duration(t.Days) * clock.Day)}
	for _, file := range parties {
		var p enclave.Party
		if err := readJSON(file, &p); err != nil {
			return nil, err
		}
		c.Parties = append(c.Parties, p)
	}
	slices.SortFunc(c.Parties, func(a, b enclave.Party) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Outputs, func(a, b enclave.Output) int {
		return cmp.Or(strings.Compare(a.To, b.To), strings.Compare(a.What, b.What))
	})
	if c.Operation.Model == enclave.ModelLogistic {
		return c, c.Check()
	}
	var err error
	c.Program = enclave.Digest{1} // as long as it is not known
	if err = c.Check(); err == nil {
		c.Program, err = jointProgram(ctx, env, c)
	}
	return c, err
}

func jointSign(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "sign DIR CONTRACT",
		Short: "Sign a contract as a party, once its program was checked",
		Long: `Builds the contract's program anew from this very program, and signs only where it is
the one that the contract names. The signature is written into the file. With -o json the
contract.`,
		Example: `  surety enclave joint sign bank contract.cbor`,
		Args:    exactArgs("DIR", "CONTRACT"),
	}
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		p, err := openParty(args[0])
		if err != nil {
			return err
		}
		content, err := os.ReadFile(args[1])
		if err != nil {
			return fileError(err, "contract")
		}
		s, _, err := enclave.ReadContract(content)
		if err != nil {
			return err
		}
		if !s.Contract.Program.IsZero() {
			program, err := jointProgram(ctx, env, s.Contract)
			if err != nil {
				return err
			}
			if program != s.Contract.Program {
				return errs.New(errs.Refused, "the contract names program %s, and this one is %s: another version",
					s.Contract.Program, program)
			}
		}
		if content, err = enclave.SignContract(content, p.sign); err != nil {
			return err
		}
		if err := replaceFile(args[1], content); err != nil {
			return err
		}
		_, missing, err := enclave.ReadContract(content)
		return errors.Join(err, showContract(env, s.Contract, missing))
	})
}

// replaceFile writes a file anew, whole or not at all.
func replaceFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return fileError(err, "file")
	}
	return fileErrorOrNil(os.Rename(path+".new", path), "file")
}

func jointShow(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "show CONTRACT",
		Short:   "Show a contract, and who has not signed it",
		Long:    `Checks the signatures that are there. With -o json the contract.`,
		Example: `  surety enclave joint show contract.cbor`,
		Args:    exactArgs("CONTRACT"),
	}
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		content, err := os.ReadFile(args[0])
		if err != nil {
			return fileError(err, "contract")
		}
		s, missing, err := enclave.ReadContract(content)
		if err != nil {
			return err
		}
		return showContract(env, s.Contract, missing)
	})
}

func showContract(env *Env, c *enclave.Contract, missing []string) error {
	digest, err := c.Digest()
	if err != nil {
		return err
	}
	return env.show(c, func(w io.Writer) error {
		pairs := []pair{{"contract", c.Name}, {"digest", digest}, {"program", orDash(c.Program.String())},
			{"ends at", fmt.Sprintf("%d s since 1970", int64(c.Expires)/int64(clock.Second))},
			{"operation", c.Operation.Kind + " " + c.Operation.Model},
			{"budget", fmt.Sprintf("%d runs, %d scores each", c.Budget.Runs, c.Budget.Scores)}}
		for i := range c.Parties {
			p := &c.Parties[i]
			var names []string
			for _, column := range c.ColumnsOf(p.Name) {
				names = append(names, column.Name)
			}
			pairs = append(pairs, pair{p.Name + " brings", strings.Join(names, ", ")})
		}
		for _, o := range c.Outputs {
			pairs = append(pairs, pair{o.To + " is told", o.What})
		}
		for _, name := range missing {
			pairs = append(pairs, pair{"not signed by", name})
		}
		return writePairs(w, pairs...)
	})
}

func hexDigits(b []byte) string { return hex.EncodeToString(b) }
