package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	evidencev1 "surety/api/evidence/v1"
	"surety/api/evidence/v1/evidencev1connect"
	"surety/base/errs"
	"surety/enclave"
	"surety/evidence"
	"surety/evidence/tlog"
)

// evidenceCommand is the group of the evidence log.
func evidenceCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "evidence",
		Short: "Export, verify and erase",
		Long: `Every step of every loan is a record in a log that only grows, under a Merkle tree and signed
checkpoints. These commands take proofs out of it, check them without it, and erase what is
personal.`,
		Example: `  surety evidence export 0196f0c2a5f07c0b9d6d1b8f2f0c9a11 --out loan.bundle
  surety evidence verify loan.bundle
  surety evidence check`,
	}, evidenceExport(env), evidenceVerify(env), evidenceCheckpoint(env), evidenceCheck(env),
		evidenceErase(env))
}

func (t *target) evidence() (evidencev1connect.EvidenceServiceClient, error) {
	client, base, err := t.http()
	if err != nil {
		return nil, err
	}
	return evidencev1connect.NewEvidenceServiceClient(client, base), nil
}

// traceCommand follows a loan through every part.
func traceCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "trace ID",
		Short: "Follow a loan or application through every part, step by step",
		Long: `Shows the application, the decision with its digests and reasons, the contract, the transfers and
the guard's checks, each with its place in the evidence log and whether its proof holds. Under a
decision that was scored in a sandbox stand its image, its policy, and the head of its audit trail
with the place at which the log holds it; of such a sandbox's name, all the heads are shown. With
-o json, one object {id, steps, tree_size, checkpoint}. For a proof to keep, see "surety evidence
export".`,
		Example: `  surety trace 0196f0c2a5f07c0b9d6d1b8f2f0c9a11`,
		Args:    exactArgs("ID"),
	}
	to := targetFlags(env, c.Flags())
	var payloads bool
	c.Flags().BoolVar(&payloads, "payloads", false, "show each step's record in full")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		evidence, err := to.evidence()
		if err != nil {
			return err
		}
		t, err := call(ctx, evidence.Trace, &evidencev1.TraceRequest{Id: args[0]}, "trace")
		if err != nil {
			return err
		}
		return env.show(answer{t}, func(w io.Writer) error { return writeTrace(w, t, payloads) })
	})
}

func writeTrace(w io.Writer, t *evidencev1.TraceResponse, payloads bool) error {
	columns := []column{right("leaf"), left("time"), left("part"), left("step"), left("proved"),
		left("what")}
	if payloads {
		columns = append(columns, left("record"))
	}
	g := newGrid(columns...)
	for _, s := range t.Steps {
		g.row(s.Index, s.At, s.Part, s.Kind, yesNo(s.Proved), s.Note, s.Payload)
		for _, line := range auditLines(s.Audit) {
			g.row("", "", "sandbox", "", "", line, "")
		}
		for _, line := range enclaveLines(s.Enclave) {
			g.row("", "", "enclave", "", "", line, "")
		}
	}
	if err := g.write(w); err != nil {
		return err
	}
	return writePairs(w, pair{"", ""}, pair{"log size", t.TreeSize})
}

// auditLines say under which sandbox a decision's scores were computed; none where that was in no
// sandbox.
func auditLines(a *evidencev1.AuditHead) []string {
	if a == nil {
		return nil
	}
	if a.Seq == 0 {
		return []string{"scored in " + a.Sandbox,
			fmt.Sprintf("audit record %d, not anchored yet", a.DecidedSeq)}
	}
	lines := []string{
		fmt.Sprintf("scored in %s (%s), image %s", a.Sandbox, a.Class, shortDigest(a.Image)),
		fmt.Sprintf("policy %s %s, mode %s: %d acts refused, %d would be", a.Policy,
			shortDigest(a.PolicyDigest), a.Mode, a.Refused, a.WouldRefuse),
	}
	if !a.Anchored {
		return append(lines, fmt.Sprintf("audit record %d, not anchored yet", a.DecidedSeq))
	}
	return append(lines, fmt.Sprintf("audit record %d; head of %d, %s, anchored at leaf %d",
		a.DecidedSeq, a.Seq, shortDigest(a.Head), a.Index))
}

// enclaveLines say what the enclave that computed a decision's scores had shown, and to whom; none
// where it was none.
func enclaveLines(e *evidencev1.Enclave) []string {
	if e == nil {
		return nil
	}
	lines := []string{
		fmt.Sprintf("%s: %s SVN %d, %s, signer %s, started at leaf %d", guaranteeWords(e), e.Product,
			e.Svn, shortDigest(e.Measurement), shortDigest(e.Signer), e.StartedIndex),
	}
	if e.Appraisal != "" {
		lines = append(lines, fmt.Sprintf("appraised by %s: %s, token %s", e.Verifier, e.Status,
			e.Appraisal))
	}
	for _, r := range e.Released {
		at := "not in this log"
		if r.Logged {
			at = fmt.Sprintf("at leaf %d", r.Index)
		}
		lines = append(lines, fmt.Sprintf("released to it under policy %s: %s/%s, record %s %s", e.Policy,
			r.Broker, r.Resource, r.Record, at))
	}
	return lines
}

// guaranteeWords say what the word of an enclave rests on.
func guaranteeWords(e *evidencev1.Enclave) string {
	switch {
	case e.Tee == string(enclave.TPM):
		return "measured boot by a TPM (memory is not protected)"
	case e.Guarantee == string(enclave.Hardware):
		return "attested by " + e.Tee
	}
	return "SIMULATED enclave (self-reported measurement)"
}

// shortDigest returns enough of a digest to recognise it.
func shortDigest(text string) string {
	const shown = 16
	prefix, digest, found := strings.Cut(text, ":")
	if !found {
		prefix, digest = "", text
	} else {
		prefix += ":"
	}
	return prefix + digest[:min(shown, len(digest))]
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func evidenceExport(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "export ID...",
		Short: "Write a bundle that proves the steps of loans, offline",
		Long: `The bundle holds the records, their proofs and a signed checkpoint. "surety evidence verify" checks
it on any machine, with nothing but the log's public key.`,
		Example: `  surety evidence export 0196f0c2a5f07c0b9d6d1b8f2f0c9a11 --out loan.bundle`,
		Args:    someArgs("ID"),
	}
	to := targetFlags(env, c.Flags())
	var out string
	c.Flags().StringVar(&out, "out", "-", "file to write; - for standard output")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		evidence, err := to.evidence()
		if err != nil {
			return err
		}
		response, err := call(ctx, evidence.Export, &evidencev1.ExportRequest{Ids: args},
			"evidence export")
		if err != nil {
			return err
		}
		if out == "-" {
			_, err = env.Stdout.Write(response.Bundle)
			return wrote(err)
		}
		if err := os.WriteFile(out, response.Bundle, 0o600); err != nil {
			return fileError(err, "bundle")
		}
		env.note("%s: %d bytes; check it with: surety evidence verify %s", out,
			len(response.Bundle), out)
		return nil
	})
}

func evidenceVerify(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check a bundle, offline",
		Long: `Checks every record, payload, proof and signature of a bundle against the log's public key, and
nothing else. Without --key the key of --data-dir is taken: for a bundle from elsewhere, give the
key that you got by another way. Exit status 1 names the first fault. With -o json, one object
{origin, size, records, payloads, withheld, inner, earlier}.`,
		Example: `  surety evidence verify loan.bundle
  surety evidence verify loan.bundle --key "surety.local/log+4f2b1c9a+AZ..."`,
		Args: exactArgs("BUNDLE"),
	}
	var dataDir, key string
	dataDirFlag(env, c.Flags(), &dataDir)
	c.Flags().StringVar(&key, "key", "", "the log's public key (default: that of --data-dir)")
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		trusted, err := trustedKey(key, dataDir)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(args[0])
		if err != nil {
			return fileError(err, "bundle")
		}
		bundle, err := evidence.DecodeBundle(data)
		if err != nil {
			// A damaged bundle is a finding, like a forged one, and not a wrong use of the command.
			return errs.As(errs.Corrupt, err, "bundle %s", args[0])
		}
		report, err := evidence.Verify(bundle, trusted)
		if err != nil {
			return err
		}
		view := verifiedView{Origin: report.Checkpoint.Origin, Size: report.Checkpoint.Size,
			Records: len(report.Records), Payloads: report.Payloads, Withheld: report.Withheld,
			Inner: report.Inner, Earlier: report.Earlier}
		return env.show(view, view.write)
	})
}

// verifiedView is what a verified bundle has shown.
type verifiedView struct {
	Origin   string `json:"origin"`
	Size     uint64 `json:"size"`
	Records  int    `json:"records"`
	Payloads int    `json:"payloads"`
	Withheld int    `json:"withheld"`
	Inner    int    `json:"inner"`
	Earlier  uint64 `json:"earlier,omitempty"`
}

func (v verifiedView) write(w io.Writer) error {
	return writePairs(w, pair{"verified", "yes"}, pair{"log", v.Origin},
		pair{"tree", strconv.FormatUint(v.Size, 10) + " records"},
		pair{"records", strconv.Itoa(v.Records) + " included in the signed tree, none left out"},
		pair{"payloads", strconv.Itoa(v.Payloads) + " match their records, " +
			strconv.Itoa(v.Withheld) + " withheld"},
		pair{"transfers", strconv.Itoa(v.Inner) + " shown to be in their ledger batch"})
}

// trustedKey reads the key to check against.
func trustedKey(text, dataDir string) (evidence.Key, error) {
	if text != "" {
		return evidence.ParseKey(text)
	}
	return tlog.ReadKey(filepath.Join(dataDir, "evidence"))
}

func evidenceCheck(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Read the whole log on disk again and compare it with its checkpoint",
		Long: `Computes the tree from every record and payload on disk. A damaged file or record is named. It
takes about a minute for a million records and may run beside the node. With -o json, one object.`,
		Example: `  surety evidence check --data-dir /var/lib/surety`,
		Args:    noArgs,
	}
	var dataDir, key string
	dataDirFlag(env, c.Flags(), &dataDir)
	c.Flags().StringVar(&key, "key", "", "the log's public key (default: that of --data-dir)")
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		trusted, err := trustedKey(key, dataDir)
		if err != nil {
			return err
		}
		bar := env.newProgress(-1, "records")
		defer bar.finish()
		last := uint64(0)
		audit, err := tlog.Verify(ctx, filepath.Join(dataDir, "evidence"), trusted,
			func(done, _ uint64) {
				bar.add(int64(done - last))
				last = done
			})
		if err != nil {
			return err
		}
		return env.show(audit, func(w io.Writer) error {
			return writePairs(w, pair{"verified", "yes"}, pair{"log", trusted.Origin()},
				pair{"records", audit.Checkpoint.Size}, pair{"payloads", audit.Payloads},
				pair{"sealed", audit.Sealed}, pair{"sources", audit.Sources})
		})
	})
}

func evidenceCheckpoint(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "checkpoint",
		Short: "Show the log's signed checkpoint and its public key",
		Long: `Keep the public key, and checkpoints, somewhere this node cannot write: they are what a later
history is held against. With -o json, one object {checkpoint, size, key}.`,
		Example: `  surety evidence checkpoint`,
		Args:    noArgs,
	}
	to := targetFlags(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		evidence, err := to.evidence()
		if err != nil {
			return err
		}
		r, err := call(ctx, evidence.Checkpoint, &evidencev1.CheckpointRequest{},
			"evidence checkpoint")
		if err != nil {
			return err
		}
		return env.show(answer{r}, func(w io.Writer) error {
			if err := writePairs(w, pair{"key", r.Key}, pair{"size", r.Size}); err != nil {
				return err
			}
			_, err := io.WriteString(w, "\n"+r.Checkpoint)
			return err
		})
	})
}

func evidenceErase(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "erase CUSTOMER",
		Short: "Destroy the key that seals a customer's personal data",
		Long: `The data can never be read again, here or from a backup made after this; the log stays whole,
because it commits to what was sealed. Needs the role risk. It cannot be undone.`,
		Example: `  surety evidence erase 0196f0c2a5f07c0b9d6d1b8f2f0c9a11 --reason "request of the customer"`,
		Args:    exactArgs("CUSTOMER"),
	}
	to := targetFlags(env, c.Flags())
	var reason string
	c.Flags().StringVar(&reason, "reason", "", "why, 1 to 256 characters")
	must(c.MarkFlagRequired("reason"))
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		evidence, err := to.evidence()
		if err != nil {
			return err
		}
		r, err := call(ctx, evidence.Erase, &evidencev1.EraseRequest{Subject: args[0],
			Reason: reason},
			"evidence erase")
		if err != nil {
			return err
		}
		return env.show(answer{r}, func(w io.Writer) error {
			return writePairs(w, pair{"erased", args[0]}, pair{"at", r.ErasedAt})
		})
	})
}
