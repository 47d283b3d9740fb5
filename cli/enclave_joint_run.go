package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/launch"
	"surety/enclave/pack"
	"surety/evidence"
	"surety/evidence/tlog"
	"surety/lending/joint"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// The files of an answer's directory.
const jointReceiptFile = "receipt"

func jointOutputFile(to, what string) string { return to + "-" + what + ".sealed" }

// jointRunFlags are the flags of run.
type jointRunFlags struct {
	brokers  []string
	tee, out string
	log      string
	fips     bool
}

func jointRun(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "run CONTRACT BUNDLE",
		Short: "Run a contract's enclave once, and keep its answer and receipt",
		Long: `Shows evidence to every party's broker, with the keys they release opens the columns in
memory, and lets the program compute. What comes out is a directory: a sealed file for each thing
that a party is told, which only that party can open, and the receipt, signed by a key that the
run's evidence is bound to. Where anything fails nothing is written, and the brokers have counted
the run. Whoever runs it needs no key. With --evidence the receipt is recorded in an evidence log
that no node has open. With -o json {answer, run, guarantee, tee, rows, model, measure, receipt,
outputs: [{to, what, rows}]}.`,
		Example: `  surety enclave joint run contract.cbor joint.bundle --broker bank-broker=http://127.0.0.1:9001 \
    --broker shop-broker=http://127.0.0.1:9002 --out answer`,
		Args: exactArgs("CONTRACT", "BUNDLE"),
	}
	f := jointRunFlags{out: "answer"}
	flags := c.Flags()
	flags.StringArrayVar(&f.brokers, "broker", nil, "NAME=URL of a party's broker (one for each)")
	flags.StringVar(&f.tee, "tee", "", "snp, tdx, tpm or sim (default: the best that this machine has)")
	flags.StringVar(&f.out, "out", f.out, "directory to write, which must not be there")
	flags.StringVar(&f.log, "evidence", "", "directory of an evidence log to record the receipt in")
	flags.BoolVar(&f.fips, "fips", false, "keys are sealed by DHKEM(P-384) instead of ML-KEM-768 "+
		"with X25519")
	return withEnclaves(env, c, f.run)
}

func (f *jointRunFlags) run(h *enclaved) error {
	s, _, err := readContract(h.args[0])
	if err != nil {
		return err
	}
	if exists(f.out) {
		return errs.New(errs.Exists, "%s is there already", f.out)
	}
	o := &opening{h: h}
	answer, proof, receipt, err := f.answer(o, s)
	if err = errors.Join(err, o.close()); err != nil {
		return err
	}
	// Nothing was written so far: an answer is whole, with its receipt, or is not there.
	if err := writeAnswer(f.out, answer, receipt.file); err != nil {
		return err
	}
	if f.log != "" {
		if err := recordReceipt(h, f.log, &receipt); err != nil {
			return err
		}
	}
	return showAnswer(h.env, f.out, answer, &proof, &receipt)
}

func jointRoot(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "root",
		Short: "Write the root certificate of this machine's simulation",
		Long: `The certificate, as PEM, that simulated evidence of this machine ends in, made where
there is none. Parties who want to try things out name it where they admit an enclave. It proves
nothing about the machine: whoever runs it has the key.`,
		Example: `  surety enclave joint root > root.pem`,
		Args:    noArgs,
	}
	return withEnclaves(env, c, func(h *enclaved) error {
		root, err := attest.SimRoot(h.options())
		if err != nil {
			return err
		}
		h.env.note("SIMULATED: this root vouches for no machine.")
		_, err = h.env.Stdout.Write(root)
		return err
	})
}

// jointReceipt is a receipt and its file.
type jointReceipt struct {
	enclave.Receipt
	id   ident.ID
	file []byte
}

// answer launches the enclave, reads what it says, and signs the receipt.
func (f *jointRunFlags) answer(o *opening, s enclave.SignedContract) (*joint.Answer, launch.Proof,
	jointReceipt, error) {
	var proof launch.Proof
	var receipt jointReceipt
	if err := f.open(o, s); err != nil {
		return nil, proof, receipt, err
	}
	said, err := speak(o)
	if err != nil {
		return nil, proof, receipt, err
	}
	answer, err := joint.ReadAnswer(said, s)
	if err != nil {
		return nil, proof, receipt, err
	}
	proof = o.opened.Proof()
	receipt, err = f.receipt(o, s, answer, proof)
	return answer, proof, receipt, err
}

// open opens the device and the bundle, sees that it is the contract's, and obtains the keys.
func (f *jointRunFlags) open(o *opening, s enclave.SignedContract) (err error) {
	h := o.h
	brokers, err := parseBrokers(f.brokers)
	if err != nil {
		return usage(h.Command, "--broker: %v", err)
	}
	for _, p := range s.Contract.Parties {
		if brokers[p.Broker].URL == "" {
			return usage(h.Command, "--broker %s=URL is missing: the broker of %s", p.Broker, p.Name)
		}
	}
	if o.device, err = attest.OpenDevice(h.Context(), enclave.TEE(f.tee), h.options()); err != nil {
		return err
	}
	h.env.note("%s", launch.Notice(o.device.TEE()))
	if !slices.Contains(s.Contract.Machines, o.device.TEE()) {
		return errs.New(errs.Refused, "this machine is of kind %s, and the contract takes %v", o.device.TEE(),
			s.Contract.Machines)
	}
	if o.bundle, err = pack.Open(h.args[1]); err != nil {
		return err
	}
	signed := o.bundle.Signed()
	if err := s.Binds(signed.Manifest); err != nil {
		return err
	}
	order := launch.Order{Instance: "joint-" + h.env.newID().String()[:12], Bundle: o.bundle,
		Device: o.device, Brokers: brokers, Trace: h.env.newID(), FIPS: f.fips, Shown: map[string]string{},
		StateDir: filepath.Join(h.root, "states")}
	o.opened, err = launch.Open(h.Context(), launch.Deps{Host: h.host, Log: h.log()}, order)
	return err
}

// speak runs the program to its end and returns what it wrote.
func speak(o *opening) ([]byte, error) {
	h := o.h
	out := &bounded{limit: joint.MaxAnswerBytes}
	own := *h.env
	own.Stdout = out
	streams := newStreams(&own, false)
	io := streams.stdio()
	io.HandedOver = streams.handedOver
	st, err := o.opened.Run(h.Context(), io, patience)
	streams.handedOver()
	streams.finish()
	if err != nil {
		return nil, err
	}
	if found, missing := h.host.Find(o.opened.Spec.ID); missing == nil {
		if err := found.Remove(context.WithoutCancel(h.Context()), false); err != nil {
			h.env.note("surety: %v", err)
		}
	}
	if st.ExitCode != 0 {
		return nil, errs.New(errs.Refused, "the program ended with %d %s and told nobody anything",
			st.ExitCode, st.Reason)
	}
	return out.held.Bytes(), nil
}

// bounded keeps what is written to it, up to a limit.
type bounded struct {
	held  bytes.Buffer
	limit int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.held.Len()+len(p) > b.limit {
		return 0, errs.New(errs.TooLarge, "an answer of more than %d bytes", b.limit)
	}
	return b.held.Write(p)
}

// receipt makes the run's key, has the machine vouch for it, and signs.
func (f *jointRunFlags) receipt(o *opening, s enclave.SignedContract, answer *joint.Answer,
	proof launch.Proof) (jointReceipt, error) {
	r := jointReceipt{id: o.h.env.newID()}
	now := wallclock.System().Now()
	r.Receipt = enclave.Receipt{Format: enclave.FormatNow, Run: r.id.String(), At: now,
		Program: s.Contract.Program, Measure: proof.Measure, Signer: proof.Signer, Product: proof.Product,
		SVN: proof.SVN, TEE: proof.TEE, Guarantee: proof.Guarantee}
	if err := answer.Account(&r.Receipt); err != nil {
		return r, err
	}
	manifest := o.bundle.Signed().Manifest
	for i := range r.Inputs {
		in := &r.Inputs[i]
		party := s.Contract.Party(in.Party)
		if party == nil {
			return r, errs.New(errs.Refused, "the answer speaks of %.80q, who is no party", in.Party)
		}
		for _, l := range manifest.Layers {
			if l.Target == enclave.DataTarget+in.Party {
				in.Root = l.Root
			}
		}
		token, err := attest.OpenToken(proof.Tokens[party.Broker], party.BrokerKey, now)
		if err != nil {
			return r, errs.Wrap(err, "the appraisal by the broker of %s", in.Party)
		}
		in.Token = token.ID
		for _, released := range proof.Released {
			if released.Broker == party.Broker {
				in.Record = released.Record
			}
		}
	}
	if err := s.Fits(&r.Receipt); err != nil {
		return r, err
	}
	return r, r.sign(o)
}

func (r *jointReceipt) sign(o *opening) error {
	var seed [ed25519.SeedSize]byte
	entropy.System().Fill(seed[:])
	key := ed25519.NewKeyFromSeed(seed[:])
	clear(seed[:])
	bound := enclave.ReceiptBinding(r.Contract, r.Measure, key.Public().(ed25519.PublicKey))
	vouched, err := o.opened.Attester().Evidence(o.h.Context(), bound)
	if err != nil {
		return err
	}
	encoded, err := vouched.Encode()
	if err == nil {
		r.file, err = enclave.SignReceipt(&r.Receipt, key, encoded)
	}
	clear(key)
	return err
}

// writeAnswer writes the directory, whole or not at all.
func writeAnswer(out string, a *joint.Answer, receipt []byte) error {
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), ".answer-")
	if err != nil {
		return fileError(err, "answer")
	}
	defer func() { _ = os.RemoveAll(tmp) }() // nothing, once it was renamed
	for i := range a.Outputs {
		o := &a.Outputs[i]
		if err := writeNew(filepath.Join(tmp, jointOutputFile(o.To, o.What)), o.Content); err != nil {
			return err
		}
	}
	if err := writeNew(filepath.Join(tmp, jointReceiptFile), receipt); err != nil {
		return err
	}
	return fileErrorOrNil(os.Rename(tmp, out), "answer")
}

// recordReceipt appends to an evidence log what the receipt says, and the digest of its file.
func recordReceipt(h *enclaved, dir string, r *jointReceipt) (err error) {
	const source = "enclave.joint"
	sum := sha256.Sum256(r.file)
	payload, err := json.Marshal(struct {
		SHA256  string           `json:"sha256"`
		Receipt *enclave.Receipt `json:"receipt"`
	}{hexDigits(sum[:]), &r.Receipt})
	if err != nil {
		return errs.As(errs.Internal, err, "receipt")
	}
	tlog.RouteLibraryLog(h.log())
	log, err := tlog.Open(h.Context(), tlog.Options{Directory: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	last, err := log.LastSeq(source)
	if err != nil {
		return err
	}
	return log.Append(h.Context(), evidence.Entry{Source: source, SourceSeq: last + 1, Part: "enclave",
		Kind: "joint.receipt", Subjects: []ident.ID{r.id}, At: r.At, Payload: payload})
}

// showAnswer says what came of a run.
func showAnswer(env *Env, out string, a *joint.Answer, proof *launch.Proof, r *jointReceipt) error {
	type told struct {
		To   string `json:"to"`
		What string `json:"what"`
		Rows uint64 `json:"rows"`
	}
	said := struct {
		Answer    string            `json:"answer"`
		Run       string            `json:"run"`
		Guarantee enclave.Guarantee `json:"guarantee"`
		TEE       enclave.TEE       `json:"tee"`
		Rows      uint64            `json:"rows"`
		Model     string            `json:"model"`
		Measure   enclave.Digest    `json:"measure"`
		Receipt   string            `json:"receipt"`
		Outputs   []told            `json:"outputs"`
	}{Answer: out, Run: r.Run, Guarantee: r.Guarantee, TEE: proof.TEE, Rows: a.Rows, Model: a.Model,
		Measure: r.Measure, Receipt: filepath.Join(out, jointReceiptFile)}
	for i := range a.Outputs {
		said.Outputs = append(said.Outputs, told{a.Outputs[i].To, a.Outputs[i].What, a.Outputs[i].Rows})
	}
	return env.show(said, func(w io.Writer) error {
		pairs := []pair{{"guarantee", said.Guarantee}, {"rows in both", said.Rows}, {"model", said.Model},
			{"measure", said.Measure}, {"receipt", said.Receipt}}
		for _, o := range said.Outputs {
			pairs = append(pairs, pair{"sealed to " + o.To, fmt.Sprintf("%s, of %d rows", o.What, o.Rows)})
		}
		return writePairs(w, pairs...)
	})
}
