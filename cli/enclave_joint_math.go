package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
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

// mathFlags are what one party says of a computation by shares.
type mathFlags struct {
	contract, party, key, data, id string
	listen, connect, scores        string
	wait                           time.Duration
	bench                          bool
	figures                        joint.SharesBench
}

func enclaveJointMathCommand(env *Env) *cobra.Command {
	f := &mathFlags{}
	c := &cobra.Command{
		Use:   "math",
		Short: "Fit and apply a contract's model without any enclave: by shares, trusting no machine",
		Long: `Both parties run this at the same time, one with --listen and the other with --connect. They show
each other the keys that signed the contract, find the customers they share, and fit a logistic
regression to both parties' columns without either seeing the other's: every number in between is in
two shares, each of which alone is noise. The contract names the model "logistic" and no program.

What is revealed: to both, which customers they share, which of those have no outcome, how many rows
and prepared columns there are, and the contract; and the outputs that the contract names, to whom
it names. A party that is told both its weights and the scores knows what the other's columns
add to each score. Both parties are taken to keep to the protocol.

The result is labelled "math": what it rests on is arithmetic, and no operator or machine beside the
party's own.

With -o json one object: guarantee, contract, party, rows, learnt, judged, columns, dropped, clamped,
weights, intercept, folded, metrics, traffic; with --bench guarantee, rows, judged, columns, steps,
coarse, took_nanos, bytes, transfers, and auc_micro beside plain_auc_micro and alone_auc_micro.`,
		Example: `  surety enclave joint math --contract joint.contract --key bank.pem --data bank.csv --id ID \
      --listen :7443 --scores scores.csv
  surety enclave joint math --contract joint.contract --key shop.pem --data shop.csv --id ID \
      --connect bank.example:7443
  surety enclave joint math --bench`,
		Args: noArgs,
	}
	flags := c.Flags()
	flags.StringVar(&f.contract, "contract", "", "file of the contract, signed by both parties")
	flags.StringVar(&f.key, "key", "", "this party's signing key: Ed25519 in PKCS #8, as PEM")
	flags.StringVar(&f.data, "data", "", "this party's rows: delimited text with a header")
	flags.StringVar(&f.id, "id", "id", "column of --data that names the customer")
	flags.StringVar(&f.listen, "listen", "", "address at which the other party connects")
	flags.StringVar(&f.connect, "connect", "", "address at which the other party listens")
	flags.StringVar(&f.scores, "scores", "", "file for the scores, at the party that is told them")
	flags.DurationVar(&f.wait, "wait", time.Minute, "how long to wait for the other party to come")
	flags.BoolVar(&f.bench, "bench", false, "measure both parties in this process, on drawn rows")
	flags.IntVar(&f.figures.Rows, "rows", 24_000, "of --bench: rows that are learnt from")
	flags.IntVar(&f.figures.Judged, "judged", 6_000, "of --bench: rows that are scored")
	flags.IntVar(&f.figures.Columns, "columns", 12, "of --bench: columns of each party")
	flags.Uint64Var(&f.figures.Seed, "seed", 1, "of --bench: of the rows")
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		if f.bench {
			return f.measure(ctx, env)
		}
		if f.contract == "" || f.key == "" || f.data == "" {
			return usage(c, "--contract, --key and --data are needed")
		}
		if (f.listen == "") == (f.connect == "") {
			return usage(c, "one of --listen and --connect is needed")
		}
		return f.run(ctx, env)
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

// run is one party's side: session, matching, shares.
func (f *mathFlags) run(ctx context.Context, env *Env) error {
	s, key, err := f.read()
	if err != nil {
		return err
	}
	table, err := f.table(s)
	if err != nil {
		return err
	}
	conn, err := f.meet(ctx, env)
	if err != nil {
		return err
	}
	defer conn.Close()
	session, err := joint.Secure(ctx, conn, s, key)
	if err != nil {
		return err
	}
	defer session.Close()
	matches, err := joint.Match(ctx, session, s, f.party, table.IDs)
	if err != nil {
		return err
	}
	env.note("%d of %d customers are shared", len(matches.Rows), len(table.IDs))
	data, err := joint.Prepare(s, f.party, table, matches)
	if err != nil {
		return err
	}
	show := &mathProgress{env: env}
	r, err := joint.ByShares(ctx, session, s, data, shares.Options{Progress: show.update})
	show.finish()
	if err != nil {
		return err
	}
	if err := f.write(r, table, matches); err != nil {
		return err
	}
	return env.show(r, func(w io.Writer) error { return writeShared(w, r) })
}

// read opens the contract, and the key, which must be that of one of its parties.
func (f *mathFlags) read() (s enclave.SignedContract, key ed25519.PrivateKey, err error) {
	file, err := vfs.ReadWhole(vfs.OS{}, f.contract, enclave.MaxSignedContract)
	if err != nil {
		return s, nil, fileError(err, "--contract")
	}
	if s, err = enclave.OpenContract(file, wallclock.System().Now()); err != nil {
		return s, nil, err
	}
	if err := (vfs.OS{}).RequirePrivate(f.key); err != nil {
		return s, nil, errs.Wrap(err, "--key")
	}
	const most = 4 << 10 // a key takes some hundred bytes
	text, err := vfs.ReadWhole(vfs.OS{}, f.key, most)
	if err != nil {
		return s, nil, fileError(err, "--key")
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return s, nil, errs.New(errs.Invalid, "--key %s: no PEM", f.key)
	}
	// The parser's own text could show parts of the key.
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, found := parsed.(ed25519.PrivateKey)
	if err != nil || !found {
		return s, nil, errs.New(errs.Invalid, "--key %s: no Ed25519 key in PKCS #8", f.key)
	}
	for _, p := range s.Contract.Parties {
		if bytes.Equal(p.Key, key.Public().(ed25519.PublicKey)) {
			f.party = p.Name
			return s, key, nil
		}
	}
	return s, nil, errs.New(errs.Forbidden, "--key %s: it is the key of no party of %q", f.key,
		s.Contract.Name)
}

// table reads this party's rows.
func (f *mathFlags) table(s enclave.SignedContract) (*joint.Table, error) {
	content, err := vfs.ReadWhole(vfs.OS{}, f.data, joint.MaxDataBytes)
	if err != nil {
		return nil, fileError(err, "--data")
	}
	return joint.ReadTable(bytes.NewReader(content), f.id, s.Contract, f.party)
}

// meet waits for the other party, or goes to it, again and again until it is there.
func (f *mathFlags) meet(ctx context.Context, env *Env) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	if f.connect != "" {
		return f.dial(ctx)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "--listen %s", f.listen)
	}
	defer listener.Close()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	env.note("waiting for the other party at %s", listener.Addr())
	conn, err := listener.Accept()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return conn, errs.As(errs.Unavailable, err, "--listen %s: nobody came", f.listen)
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
			return nil, errs.As(errs.Unavailable, err, "--connect %s", f.connect)
		}
	}
}

// write writes the scores, where this party is told them.
func (f *mathFlags) write(r *joint.Shared, table *joint.Table, matches *joint.Matches) error {
	if f.scores == "" || r.Scores == nil {
		return nil
	}
	ids := make([]string, len(matches.Rows))
	for i, m := range matches.Rows {
		ids[i] = table.IDs[m.Row]
	}
	var b bytes.Buffer
	if err := r.WriteScores(&b, f.id, ids); err != nil {
		return err
	}
	if err := os.WriteFile(f.scores, b.Bytes(), 0o600); err != nil {
		return fileError(err, "--scores")
	}
	return nil
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
