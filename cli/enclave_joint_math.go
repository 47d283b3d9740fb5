package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/shares"
	"surety/lending/joint"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// jointRunsDir is where a party counts what it has computed by shares, in its directory.
const jointRunsDir = "runs"

// mathFlags are what one party says of a computation by shares.
type mathFlags struct {
	table, id, out  string
	listen, connect string
	wait            time.Duration
	bench           bool
	figures         joint.SharesBench
}

func jointMath(env *Env) *cobra.Command {
	f := &mathFlags{}
	c := &cobra.Command{
		Use:   "math DIR CONTRACT",
		Short: "Fit and apply a contract's model without any enclave: by shares, trusting no machine",
		Long: `Both parties run this at the same time, one with --listen and the other with --connect, once
"match" has found the customers they share. They show each other the keys that signed the contract
and fit a logistic regression to both parties' columns without either seeing the other's: every
number in between is in two shares, each of which alone is noise. The contract names the model
"logistic" and no program.

What is revealed: to both, which of the shared customers have no outcome, and how many rows,
prepared columns and steps there are; and the outputs that the contract names, to whom it names. A
party that is told both its weights and the scores knows what the other's columns add to each score.
Both parties are taken to keep to the protocol. docs/reference/enclave-math.md has the rest.

The result is labelled "math": what it rests on is arithmetic, and no operator and no machine beside
the party's own. What this party is told is sealed into --out, with a receipt signed by its key:
open it with "open". Runs are counted in DIR/runs, against the contract's budget.

With -o json one object: guarantee, contract, party, rows, learnt, judged, columns, dropped,
clamped, weights, intercept, folded, metrics, traffic; with --bench guarantee, rows, judged,
columns, steps, coarse, took_nanos, bytes, transfers, auc_micro, plain_auc_micro, alone_auc_micro
and worst.`,
		Example: `  surety enclave joint math bank contract.cbor --table bank.csv --listen 127.0.0.1:9000
  surety enclave joint math shop contract.cbor --table shop.csv --connect 127.0.0.1:9000 --out told
  surety enclave joint math --bench`,
		Args: rangeArgs(0, "DIR", "CONTRACT"),
	}
	flags := c.Flags()
	flags.StringVar(&f.table, "table", "", "file with the party's customers: CSV with a header")
	flags.StringVar(&f.id, "id", "ID", "column by which customers were matched")
	flags.StringVar(&f.out, "out", "answer", "directory to write")
	flags.StringVar(&f.listen, "listen", "", "ADDRESS:PORT to wait for the other party at")
	flags.StringVar(&f.connect, "connect", "", "ADDRESS:PORT of the other party")
	flags.DurationVar(&f.wait, "wait", time.Minute, "how long to wait for the other party to come")
	flags.BoolVar(&f.bench, "bench", false, "measure both parties in this process, on drawn rows")
	flags.IntVar(&f.figures.Rows, "rows", 24_000, "of --bench: rows that are learnt from")
	flags.IntVar(&f.figures.Judged, "judged", 6_000, "of --bench: rows that are scored")
	flags.IntVar(&f.figures.Columns, "columns", 12, "of --bench: columns of each party")
	flags.Uint64Var(&f.figures.Seed, "seed", 1, "of --bench: of the rows")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		if f.bench {
			return f.measure(ctx, env)
		}
		if len(args) < 2 || f.table == "" || (f.listen == "") == (f.connect == "") {
			return usage(c, "DIR, CONTRACT, --table, and one of --listen and --connect, are needed")
		}
		return f.run(ctx, env, args[0], args[1])
	})
}

// measure runs both parties here.
func (f *mathFlags) measure(ctx context.Context, env *Env) error {
	r, err := f.figures.Run(ctx, wallclock.System())
	if err != nil {
		return err
	}
	seconds := float64(r.Took) / float64(clock.Second)
	return env.show(r, func(w io.Writer) error {
		return writePairs(w, pair{"guarantee", r.Guarantee},
			pair{"rows", fmt.Sprintf("%d learnt from, %d scored", r.Rows, r.Judged)},
			pair{"columns", fmt.Sprintf("%d of each party", r.Columns)},
			pair{"steps", fmt.Sprintf("%d coarse, %d over all rows", r.Coarse, r.Steps)},
			pair{"time", fmt.Sprintf("%.1f s, both parties in this process, over TLS", seconds)},
			pair{"traffic", fmt.Sprintf("%.0f MB, both ways", float64(r.Bytes)/1e6)},
			pair{"transfers", fmt.Sprintf("%.1f million by extension", float64(r.Transfers)/1e6)},
			pair{"AUC", fmt.Sprintf("%s by shares, %s in floats with all columns, %s alone", r.AUC, r.Plain,
				r.Alone)},
			pair{"worst score", fmt.Sprintf("%.5f from the fit in floats", r.Worst)})
	})
}

// run is one party's side: what it has, a session, shares, and what it is told.
func (f *mathFlags) run(ctx context.Context, env *Env, dir, contract string) error {
	p, s, err := jointRole(dir, contract)
	if err != nil {
		return err
	}
	data, err := jointData(p.dir, f.table, f.id, s, p.name)
	if err != nil {
		return err
	}
	if err := os.Mkdir(f.out, 0o700); err != nil {
		return fileError(err, "--out")
	}
	r, err := f.share(ctx, env, p, s, data)
	if err == nil {
		err = f.write(p, r)
	}
	if err != nil {
		_ = os.Remove(f.out) // where nothing was written into it
		return err
	}
	return env.show(r, func(w io.Writer) error { return writeShared(w, r) })
}

// share meets the other party, counts the run, and computes.
func (f *mathFlags) share(ctx context.Context, env *Env, p *jointParty, s enclave.SignedContract,
	data *joint.Data) (*joint.Shared, error) {
	conn, err := f.meet(ctx, env)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // both have what they came for, or nothing
	session, err := joint.Secure(ctx, conn, s, p.sign)
	if err != nil {
		return nil, err
	}
	if err := countRun(p, s); err != nil {
		return nil, err
	}
	show := &mathProgress{env: env}
	defer show.finish()
	return joint.ByShares(ctx, session, s, data, shares.Options{Progress: show.update})
}

// countRun takes one from the contract's budget: the party's own, since no broker counts.
func countRun(p *jointParty, s enclave.SignedContract) error {
	dir := p.path(jointRunsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fileError(err, "directory")
	}
	return joint.Tally{FS: vfs.OS{}, Dir: dir}.Take(s, wallclock.System().Now())
}

// meet waits for the other party, or goes to it, again and again until it is there.
func (f *mathFlags) meet(ctx context.Context, env *Env) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	if f.connect != "" {
		return f.dial(ctx)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "listen at %s", f.listen)
	}
	defer func() { _ = l.Close() }() // one connection is enough
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	env.note("waiting for the other party at %s", l.Addr())
	conn, err := l.Accept()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return conn, errs.As(errs.Unavailable, err, "listen at %s: nobody came", f.listen)
}

func (f *mathFlags) dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	for {
		conn, err := dialer.DialContext(ctx, "tcp", f.connect)
		if err == nil {
			return conn, nil
		}
		timer := wallclock.System().NewTimer(clock.Duration(dialAgain))
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return nil, errs.As(errs.Unavailable, err, "the other party at %s", f.connect)
		}
	}
}

// write writes what this party was told, and the receipt, signed by the party.
func (f *mathFlags) write(p *jointParty, r *joint.Shared) error {
	for i := range r.Outputs {
		o := &r.Outputs[i]
		if err := writeNew(filepath.Join(f.out, jointOutputFile(o.To, o.What)), o.Content); err != nil {
			return err
		}
	}
	r.Receipt.At = wallclock.System().Now()
	file, err := enclave.SignReceipt(r.Receipt, p.sign, nil)
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(f.out, jointReceiptFile), file)
}

// partySigned sees that a receipt of shares is of a contract that is computed so, and is the word of
// one of its parties: no machine vouches for it.
func partySigned(s enclave.SignedContract, key ed25519.PublicKey) error {
	if !s.Contract.Program.IsZero() {
		return errs.New(errs.Refused, "the contract is computed by program %s, not by shares",
			s.Contract.Program)
	}
	for i := range s.Contract.Parties {
		if bytes.Equal(s.Contract.Parties[i].Key, key) {
			return nil
		}
	}
	return errs.New(errs.Refused, "the key that signed it is that of no party of %q", s.Contract.Name)
}

// writeShared shows a result to people.
func writeShared(w io.Writer, r *joint.Shared) error {
	pairs := []pair{{"guarantee", r.Guarantee}, {"contract", r.Contract},
		{"rows", fmt.Sprintf("%d shared, %d learnt from, %d scored", r.Rows, r.Learnt, r.Judged)},
		{"columns", fmt.Sprintf("%d of %s", len(r.Columns), r.Party)}}
	if len(r.Dropped) > 0 {
		pairs = append(pairs, pair{"dropped", strings.Join(r.Dropped, " ")})
	}
	if r.Metrics != nil {
		pairs = append(pairs, pair{"AUC", r.Metrics.AUC}, pair{"KS", r.Metrics.KS})
	}
	if r.Folded > 0 {
		pairs = append(pairs, pair{"beyond", fmt.Sprintf("%d scores beyond log-odds of %d", r.Folded,
			shares.SigmoidRange)})
	}
	for _, v := range r.Weights {
		pairs = append(pairs, pair{"weight " + v.Column, fmt.Sprintf("%+.4f", v.Value)})
	}
	pairs = append(pairs, pair{"traffic", fmt.Sprintf("%.0f MB sent, %.0f MB received",
		float64(r.Traffic.Sent)/1e6, float64(r.Traffic.Received)/1e6)})
	return writePairs(w, pairs...)
}

// mathProgress shows the stage that the protocol is in.
type mathProgress struct {
	env   *Env
	stage string
	done  int
	bar   *progress
}

func (m *mathProgress) update(p shares.Progress) {
	if p.Stage != m.stage || p.Done < m.done {
		m.finish()
		m.bar, m.stage, m.done = m.env.newProgress(int64(p.Total), p.Stage), p.Stage, 0
	}
	m.bar.add(int64(p.Done - m.done))
	m.done = p.Done
}

func (m *mathProgress) finish() {
	if m.bar != nil {
		m.bar.finish()
	}
}
