package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/enclave"
	"surety/lending/joint"
	"surety/lending/score/evaluate"
	"surety/sys/wallclock"
)

func jointVerify(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "verify CONTRACT ANSWER",
		Short: "Check a run's receipt offline: contract, machine, measurement, inputs and outputs",
		Long: `ANSWER is the directory that "run" wrote, or a receipt alone. The contract must be
signed by all; the receipt must be one that it allows, signed by a key that the evidence in it is
bound to; the evidence must end in a root that is trusted: those of AMD and Intel are built in, a
simulation's is named by --sim-root. Sealed files beside the receipt are compared with it. The
network is not asked. Status 1 where it is refused. With -o json {accepted, guarantee, simulated,
reason, receipt, checks: [{name, passed, saw, wants, result}]}.`,
		Example: `  surety enclave joint verify contract.cbor answer --sim-root root.pem`,
		Args:    exactArgs("CONTRACT", "ANSWER"),
	}
	var v verification
	c.Flags().StringArrayVar(&v.simRoots, "sim-root", nil, "root of a simulation to take; may be repeated")
	c.Flags().StringArrayVar(&v.tpmRoots, "tpm-root", nil, "certificate of who enrolled TPMs; may be "+
		"repeated")
	c.Flags().StringVar(&v.collateral, "collateral", "", "directory with what vendors say about firmware")
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		r, err := verifyJoint(&v, args[0], args[1])
		if err != nil {
			return err
		}
		if err := env.show(r, r.write); err != nil {
			return err
		}
		if !r.Accepted {
			return errs.New(errs.Forbidden, "refused: %s", r.Reason)
		}
		return nil
	})
}

// verifiedReceipt is what verify says.
type verifiedReceipt struct {
	Accepted  bool              `json:"accepted"`
	Guarantee enclave.Guarantee `json:"guarantee"`
	Simulated bool              `json:"simulated"`
	Reason    string            `json:"reason"`
	Receipt   *enclave.Receipt  `json:"receipt"` // null where it is none
	Checks    []enclave.Check   `json:"checks"`
}

// step records a check and reports whether it passed.
func (r *verifiedReceipt) step(name, saw, wants string, err error) bool {
	check := enclave.Check{Name: name, Passed: err == nil, Saw: saw, Wants: wants}
	if err != nil {
		check.Saw, r.Reason = err.Error(), err.Error()
	}
	r.Checks = append(r.Checks, check)
	return err == nil
}

// verifyJoint does every check that can be done: each needs those before it.
func verifyJoint(v *verification, contract, answer string) (*verifiedReceipt, error) {
	file, err := os.ReadFile(contract)
	if err != nil {
		return nil, fileError(err, "contract")
	}
	path := answer
	if info, err := os.Stat(answer); err == nil && info.IsDir() {
		path = filepath.Join(answer, jointReceiptFile)
	}
	signed, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError(err, "receipt")
	}
	verifier, err := v.verifier()
	if err != nil {
		return nil, err
	}
	r := &verifiedReceipt{}
	s, err := enclave.OpenContract(file, 0) // whether it was in force then, the receipt says
	if !r.step("contract", s.Digest.Short(), "signed by every party", err) {
		return r, nil
	}
	receipt, key, encoded, err := enclave.OpenReceipt(signed)
	if !r.step("receipt", fmt.Sprintf("%d bytes", len(signed)), "signed, in its one form", err) {
		return r, nil
	}
	r.Receipt, r.Guarantee, r.Simulated = receipt, receipt.Guarantee, receipt.Guarantee == enclave.Simulated
	if !r.step("terms", receipt.Run, "a run that the contract allows", s.Fits(receipt)) ||
		!r.step("outputs", path, "the sealed files that the receipt names", sameOutputs(path, receipt)) {
		return r, nil
	}
	if receipt.Guarantee == enclave.Math {
		r.Accepted = r.step("signer", enclave.KeyIDOf(key).String()[:12], "a party of a contract by shares",
			partySigned(s, key))
		return r, nil
	}
	evidence, err := enclave.DecodeEvidence(encoded)
	if !r.step("encoding", fmt.Sprintf("%d bytes", len(encoded)), "evidence in its one form", err) {
		return r, nil
	}
	bound := enclave.ReceiptBinding(receipt.Contract, receipt.Measure, key)
	claims, err := verifier.Verify(evidence, bound, wallclock.System().Now())
	if !r.step("evidence", string(evidence.TEE), "signatures up to a root, for the receipt's key", err) {
		return r, nil
	}
	r.Accepted = r.step("enclave", claims.Measure.Short(), "the receipt's, bound to the contract",
		sameEnclave(s, claims, receipt))
	return r, nil
}

// sameEnclave holds what the evidence shows against the receipt and the contract.
func sameEnclave(s enclave.SignedContract, c *enclave.Claims, r *enclave.Receipt) error {
	if c.Manifest == nil || c.TEE != r.TEE || c.Measure != r.Measure || c.Signer != r.Signer ||
		c.Manifest.Product != r.Product || c.Manifest.SVN != r.SVN {
		return errs.New(errs.Refused, "the evidence is of %s on %s, the receipt of %s on %s", c.Measure, c.TEE,
			r.Measure, r.TEE)
	}
	if err := s.Binds(c.Manifest); err != nil {
		return err
	}
	for _, in := range r.Inputs {
		for _, l := range c.Manifest.Layers {
			if l.Target == enclave.DataTarget+in.Party && l.Root != in.Root {
				return errs.New(errs.Refused, "the columns of %q are %s, the receipt says %s", in.Party, l.Root,
					in.Root)
			}
		}
	}
	return nil
}

// sameOutputs compares the sealed files that are beside a receipt.
func sameOutputs(receipt string, r *enclave.Receipt) error {
	for _, o := range r.Outputs {
		sealed, err := os.ReadFile(filepath.Join(filepath.Dir(receipt), jointOutputFile(o.To, o.What)))
		if os.IsNotExist(err) {
			continue // its receiver has it
		}
		if err != nil {
			return fileError(err, "answer")
		}
		if (&joint.Sealed{Content: sealed}).Digest() != o.SHA256 {
			return errs.New(errs.Corrupt, "the %s for %s are not those of the receipt", o.What, o.To)
		}
	}
	return nil
}

func (r *verifiedReceipt) write(w io.Writer) error {
	if r.Simulated {
		if _, err := fmt.Fprintln(w, "SIMULATED: self-reported measurement. The operator of that machine "+
			"could read everything, and could sign whatever this says."); err != nil {
			return err
		}
	}
	g := newGrid(left("check"), left("passed"), left("saw"), left("wants"))
	for _, c := range r.Checks {
		passed := "yes"
		if !c.Passed {
			passed = "NO"
		}
		g.row(c.Name, passed, c.Saw, c.Wants)
	}
	if err := g.write(w); err != nil || r.Receipt == nil {
		return err
	}
	pairs := []pair{{"guarantee", r.Guarantee}, {"run", r.Receipt.Run}, {"rows", r.Receipt.Rows},
		{"measure", orDash(r.Receipt.Measure.String())}, {"model", hexDigits(r.Receipt.Model[:])}}
	for _, in := range r.Receipt.Inputs {
		pairs = append(pairs, pair{"columns of " + in.Party, orDash(in.Root.String())})
	}
	return writePairs(w, pairs...)
}

func jointCompare(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "compare CONTRACT",
		Short: "Fit the same model to both parties' plaintext, to see what a joint run is worth",
		Long: `Needs both parties' directories and tables in one place, which in earnest nobody has: it
is for trying things out on public or synthetic data. Prints how well the model does, by the area
under the curve (AUC) on the rows held out, with either party's columns alone and with both; and,
with --answer, what the enclave said, opened by the first party that it told. With -o json {rows,
auc_micro, alone_auc_micro: {PARTY: n}, inside_auc_micro, difference_micro, guarantee}.`,
		Example: `  surety enclave joint compare contract.cbor --dir bank=bank --dir shop=shop \
    --table bank=bank.csv --table shop=shop.csv --id ID --answer answer`,
		Args: exactArgs("CONTRACT"),
	}
	var dirs, tables []string
	var id, answer string
	c.Flags().StringArrayVar(&dirs, "dir", nil, "NAME=DIRECTORY of a party (one for each)")
	c.Flags().StringArrayVar(&tables, "table", nil, "NAME=FILE of a party (one for each)")
	c.Flags().StringVar(&id, "id", "ID", "column by which customers were matched")
	c.Flags().StringVar(&answer, "answer", "", "directory that \"run\" wrote")
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		dirOf, err := namedPaths(c, "dir", dirs)
		if err != nil {
			return err
		}
		tableOf, err := namedPaths(c, "table", tables)
		if err != nil {
			return err
		}
		s, _, err := readContract(args[0])
		if err != nil {
			return err
		}
		said, err := compareJoint(s, dirOf, tableOf, id)
		if err == nil && answer != "" {
			err = said.inside(s, dirOf, answer)
		}
		if err != nil {
			return err
		}
		return env.show(said, said.write)
	})
}

// comparison is what compare says.
type comparison struct {
	Rows       int                       `json:"rows"`
	Joint      evaluate.Micro            `json:"auc_micro"`
	Alone      map[string]evaluate.Micro `json:"alone_auc_micro"`
	Inside     evaluate.Micro            `json:"inside_auc_micro"` // zero without --answer
	Difference evaluate.Micro            `json:"difference_micro"`
	Guarantee  enclave.Guarantee         `json:"guarantee"` // of what was inside
	parties    []string
}

func compareJoint(s enclave.SignedContract, dirs, tables map[string]string, id string) (*comparison,
	error) {
	said := &comparison{Alone: map[string]evaluate.Micro{}}
	var data []*joint.Data
	for _, p := range s.Contract.Parties {
		if dirs[p.Name] == "" || tables[p.Name] == "" {
			return nil, errs.New(errs.Invalid, "compare: --dir and --table of %q are missing", p.Name)
		}
		d, err := jointData(dirs[p.Name], tables[p.Name], id, s, p.Name)
		if err != nil {
			return nil, err
		}
		data = append(data, d)
		said.parties = append(said.parties, p.Name)
	}
	joined, err := joint.Join(s.Contract, data)
	if err != nil {
		return nil, err
	}
	said.Rows = len(joined.Tokens)
	auc := func(parties ...string) (evaluate.Micro, error) {
		m, err := joined.Fit(parties...)
		if err != nil {
			return 0, err
		}
		metrics, err := joined.Measure(m)
		return metrics.AUC, err
	}
	for _, name := range said.parties {
		if said.Alone[name], err = auc(name); err != nil {
			return nil, err
		}
	}
	said.Joint, err = auc()
	return said, err
}

// inside opens what a run told a party of its figures.
func (c *comparison) inside(s enclave.SignedContract, dirs map[string]string, answer string) error {
	for _, name := range c.parties {
		if !s.Contract.Tells(name, enclave.OutMetrics) {
			continue
		}
		p, err := openParty(dirs[name])
		if err != nil {
			return err
		}
		content, r, err := openAnswer(p, s, answer, enclave.OutMetrics)
		if err != nil {
			return err
		}
		var figures joint.Figures
		if err := json.Unmarshal(content, &figures); err != nil {
			return errs.As(errs.Corrupt, err, "compare: metrics")
		}
		c.Inside, c.Difference = figures.Measured.AUC, figures.Measured.AUC-c.Joint
		c.Guarantee = r.Guarantee
		return nil
	}
	return errs.New(errs.NotFound, "compare: the contract tells nobody the metrics")
}

func (c *comparison) write(w io.Writer) error {
	pairs := []pair{{"rows in both", c.Rows}}
	for _, name := range c.parties {
		pairs = append(pairs, pair{"AUC, " + name + " alone", c.Alone[name]})
	}
	pairs = append(pairs, pair{"AUC, both in plaintext", c.Joint})
	if c.Guarantee != "" {
		pairs = append(pairs, pair{"AUC, both in the enclave (" + string(c.Guarantee) + ")", c.Inside},
			pair{"difference", c.Difference})
	}
	return writePairs(w, pairs...)
}
