package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/sandbox/trail"
)

func auditVerify(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "verify NAME|PATH",
		Short: "Prove that a trail is whole and as it was written",
		Long: `Reads all of a trail, offline: every record's bytes and place in the chain, every seal's signature,
the joints between files, the end, and the anchors. It says what has been proven and what has not.
Exit status 1 where anything is wrong; each fault is named with its place.

Without --key the trail is held against the key that its own first record names, which proves that
one key signed all of it, and not whose it is. A trail without an end is a fault unless its sandbox
runs on this host, or --running is given. --anchors is a file of heads that were noted elsewhere, as
"surety sandbox audit head" gives them. With -o json, one object {verified, path, report}; the
report's fields are in docs/reference/sandbox-audit.md.`,
		Example: `  surety sandbox audit verify web
  surety sandbox audit verify ./web.trail.tar --key ed25519:5b1c... --anchors heads.json`,
		Args: exactArgs("NAME or PATH"),
	}
	find := trailFlag(env, c.Flags())
	var key, anchors string
	var check trail.Check
	c.Flags().StringVar(&key, "key", "", "the host's public key (default: the one the trail names)")
	c.Flags().StringVar(&anchors, "anchors", "", "file of heads noted elsewhere, JSON")
	c.Flags().BoolVar(&check.Running, "running", false, "a trail without an end is no fault")
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		if err := readCheck(c, &check, key, anchors); err != nil {
			return err
		}
		path, err := find(args[0])
		if err != nil {
			return err
		}
		report, err := trail.Verify(path, check)
		if err != nil && !errs.Is(err, errs.Corrupt) || report.Bytes == 0 && len(report.Faults) == 0 {
			return err
		}
		view := auditVerdict{Verified: err == nil, Path: path, Report: report}
		if shown := env.show(view, func(w io.Writer) error {
			return view.write(w, len(check.Anchors))
		}); shown != nil {
			return shown
		}
		return err
	})
}

func readCheck(c *cobra.Command, check *trail.Check, key, anchors string) error {
	if key != "" {
		parsed, err := trail.ParseKey(key)
		if err != nil {
			return usage(c, "--key: %v", err)
		}
		check.Key = parsed
	}
	if anchors == "" {
		return nil
	}
	data, err := os.ReadFile(anchors)
	if err != nil {
		return fileError(err, "anchors")
	}
	check.Anchors, err = trail.DecodeAnchors(data)
	return errs.Wrap(err, "anchors %s", anchors)
}

// auditVerdict is what verify gives.
type auditVerdict struct {
	Verified bool         `json:"verified"`
	Path     string       `json:"path"`
	Report   trail.Report `json:"report"`
}

// write says what was proven, what was not, and what is wrong.
func (v *auditVerdict) write(w io.Writer, anchors int) error {
	r := &v.Report
	pairs := []pair{{"verified", yesNo(v.Verified)}, {"sandbox", r.Sandbox},
		{"records", fmt.Sprintf("%d of the kernel inside, chained; %d of the host", r.Records, r.Outside)},
		{"refused", fmt.Sprintf("%d; %d more would have been", r.Refused, r.WouldRefuse)}}
	if r.From != 0 {
		pairs = append(pairs, pair{"time", instantTime(r.From).Format(time.RFC3339) + " to " +
			instantTime(r.To).Format(time.RFC3339)})
	}
	pairs = append(pairs,
		pair{"seals", fmt.Sprintf("%d good, the last at record %d", r.Seals, r.Head.Seq)},
		pair{"head", orDash(r.Head.Head)}, pair{"files", fmt.Sprintf("%d, %d bytes", r.Segments, r.Bytes)})
	if b := r.Birth; b != nil {
		pairs = append(pairs, pair{"image", orDash(b.Image)}, pair{"policy", orDash(b.Policy) + ", " +
			orDash(b.Mode)}, pair{"binary", orDash(b.Binary)}, pair{"config", orDash(b.Config)},
			pair{"ran on", orDash(b.Host)})
		if b.Earlier != "" {
			pairs = append(pairs, pair{"goes on from", b.Earlier})
		}
	}
	pairs = append(pairs, pair{"key", v.keyText()}, pair{"end", v.endText()},
		pair{"anchors", v.anchorText(anchors)})
	if r.Torn > 0 {
		pairs = append(pairs, pair{"torn", fmt.Sprintf("%d bytes of unfinished entries, after a crash",
			r.Torn)})
	}
	if err := writePairs(w, pairs...); err != nil || len(r.Faults) == 0 {
		return err
	}
	return v.writeFaults(w)
}

func (v *auditVerdict) writeFaults(w io.Writer) error {
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	g := newGrid(right("file"), right("byte"), right("after record"), left("what is wrong"))
	for _, f := range v.Report.Faults {
		g.row(f.Segment, f.Offset, f.Seq, f.Text)
	}
	return g.write(w)
}

func (v *auditVerdict) keyText() string {
	switch v.Report.KeyFrom {
	case trail.KeyGiven:
		return v.Report.Key + ", as given"
	case trail.KeyBirth:
		return v.Report.Key + ", as the trail itself says: NOT PROVEN whose it is (--key)"
	}
	return v.Report.Key + ", as the file says, without a birth record: NOT PROVEN whose it is (--key)"
}

func (v *auditVerdict) endText() string {
	r := &v.Report
	switch {
	case r.Ended:
		return "complete: " + finalWords(r.Reason, r.Status)
	case r.Running:
		return fmt.Sprintf("still being written; NOT PROVEN: what came after the last seal, %s",
			count(int(r.Unsealed), "record"))
	}
	return "NOT PROVEN: no final record; what came after the last seal may be missing"
}

func (v *auditVerdict) anchorText(given int) string {
	r := &v.Report
	switch {
	case r.Anchor != nil:
		return fmt.Sprintf("%d hold, the last at record %d: up to there nobody wrote it anew",
			r.Anchored, r.Anchor.Seq)
	case given > 0:
		return "none is of this trail: NOT PROVEN that who holds the key did not write it anew"
	}
	return "none given: NOT PROVEN that who holds the key did not write it anew (--anchors)"
}
