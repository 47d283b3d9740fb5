package cli

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/ledger/client"
	"surety/ledger/replica"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// batch returns a connection to the node's batch protocol, to be closed.
func (t *target) batch(ctx context.Context) (*client.Client, error) {
	address, err := t.listener("ledger")
	if err != nil {
		return nil, err
	}
	return client.Dial(ctx, client.Config{Address: address, Token: t.secret()})
}

func ledgerExport(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the whole ledger as JSON lines",
		Long: `Every account, transfer, freeze and expiry in the order in which they happened, then the names.
docs/reference/ledger-export.md has the form. What is added meanwhile is left out.`,
		Example: `  surety ledger export --out ledger.jsonl`,
		Args:    noArgs,
	}
	to := targetFlags(env, c.Flags())
	var out string
	c.Flags().StringVar(&out, "out", "-", "file to write; - for standard output")
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		ledger, err := to.batch(ctx)
		if err != nil {
			return err
		}
		defer ledger.Close()
		if out == "-" {
			_, err := client.Export(ctx, ledger, env.Stdout, nil)
			return err
		}
		file, err := os.OpenFile(out, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fileError(err, "export")
		}
		lines, err := exportTo(ctx, env, ledger, file)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
		env.note("%s: %d lines", out, lines)
		return nil
	})
}

func exportTo(ctx context.Context, env *Env, from client.Ledger, file io.Writer) (uint64, error) {
	bar := env.newProgress(-1, "records")
	defer bar.finish()
	buffered := bufio.NewWriterSize(file, 1<<20)
	last := uint64(0)
	lines, err := client.Export(ctx, from, buffered, func(done, _ uint64) {
		bar.add(int64(done - last))
		last = done
	})
	return lines, errors.Join(err, errs.As(errs.NoSpace, buffered.Flush(), "export"))
}

func ledgerImport(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Create what an export says, with the times it says",
		Long: `Reads JSON lines as "surety ledger export" writes them; - is standard input. It may be run again
and goes on where it stopped. A line that is malformed or refused ends it and is named. Records
with times of their own can be imported only where nothing newer is in the ledger. With -o json,
one object of counts.`,
		Example: `  surety ledger import ledger.jsonl`,
		Args:    exactArgs("FILE"),
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		from := env.Stdin
		if args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return fileError(err, "import")
			}
			defer file.Close()
			from = file
		}
		ledger, err := to.batch(ctx)
		if err != nil {
			return err
		}
		defer ledger.Close()
		imported, err := client.Import(ctx, ledger, from, nil)
		if err != nil {
			return err
		}
		return env.show(imported, func(w io.Writer) error {
			return writePairs(w, pair{"lines", imported.Lines}, pair{"accounts", imported.Accounts},
				pair{"transfers", imported.Transfers}, pair{"freezes", imported.Freezes},
				pair{"names", imported.Names}, pair{"existing", imported.Existing},
				pair{"pending without a time", imported.Open})
		})
	})
}

func ledgerVerify(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check a stopped ledger's directory from end to end",
		Long: `Reads the whole journal, computes every checksum and hash again, applies every batch again from the
beginning, compares the results, balances the books, and compares each snapshot. It changes
nothing; the node must not be running. With -o json, one object.`,
		Example: `  surety ledger verify --data-dir /var/lib/surety`,
		Args:    noArgs,
	}
	var dataDir string
	dataDirFlag(env, c.Flags(), &dataDir)
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		bar := env.newProgress(-1, "batches")
		defer bar.finish()
		last := uint64(0)
		report, err := replica.Verify(ctx, replica.Config{Dir: filepath.Join(dataDir, "ledger")},
			replica.Deps{FS: vfs.OS{}, Clock: wallclock.System(), Entropy: entropy.System(),
				Log: slog.New(slog.DiscardHandler)}, func(done, _ uint64) {
				bar.add(int64(done - last))
				last = done
			})
		if err != nil {
			return err
		}
		return env.show(viewOfReport(&report), func(w io.Writer) error {
			return writePairs(w, pair{"verified", "yes"}, pair{"ledger", report.LedgerID},
				pair{"batches", report.LastSeq}, pair{"accounts", report.Accounts},
				pair{"transfers", report.Transfers}, pair{"journal bytes", report.Bytes},
				pair{"snapshots", len(report.Snapshots)},
				pair{"chain", hex.EncodeToString(report.Chain[:])},
				pair{"state digest", hex.EncodeToString(report.Digest[:])})
		})
	})
}

// reportView is a verified ledger as -o json shows it.
type reportView struct {
	Ledger    string `json:"ledger"`
	FirstSeq  uint64 `json:"first_batch"`
	LastSeq   uint64 `json:"last_batch"`
	Accounts  uint64 `json:"accounts"`
	Transfers uint64 `json:"transfers"`
	Events    uint64 `json:"events"`
	Names     uint64 `json:"names"`
	Bytes     int64  `json:"journal_bytes"`
	Snapshots int    `json:"snapshots"`
	Chain     string `json:"chain"`
	Digest    string `json:"state_digest"`
}

func viewOfReport(r *replica.Report) reportView {
	return reportView{Ledger: r.LedgerID.String(), FirstSeq: r.FirstSeq, LastSeq: r.LastSeq,
		Accounts: r.Accounts, Transfers: r.Transfers, Events: r.Events, Names: r.Names, Bytes: r.Bytes,
		Snapshots: len(r.Snapshots), Chain: hex.EncodeToString(r.Chain[:]),
		Digest: hex.EncodeToString(r.Digest[:])}
}
