package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/policyfile"
	"surety/sandbox/trail"
)

// sandboxPolicyCommand is the group of the policies of sandboxes.
func sandboxPolicyCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "policy",
		Short: "Check, show, test and learn policies of sandboxes",
		Long: `A policy says what a program in a sandbox may do. It is a YAML file, which "surety sandbox run
--policy" takes; docs/reference/sandbox-policy.md describes it. "learn" writes the policy that a
recorded run needed, and "test" decides again on every act of a recorded run, which shows what a
changed policy would have refused.`,
		Example: `  surety sandbox policy check policy.yaml
  surety sandbox policy learn --trail first --name web > web.yaml
  surety sandbox policy test web.yaml --trail second`,
	}, policyCheck(env), policyShow(env), policyTest(env), policyLearn(env))
}

// readPolicy reads and compiles a policy file. Its errors name file, line and field.
func readPolicy(name string) (*sandbox.Compiled, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fileError(err, "policy")
	}
	if info.Size() > policyfile.MaxFile {
		return nil, errs.New(errs.TooLarge, "policy %s: %d bytes, limit %d", name, info.Size(),
			policyfile.MaxFile)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fileError(err, "policy")
	}
	_, compiled, err := policyfile.Compile(content)
	return compiled, errs.Wrap(err, "%s", name)
}

// policyView is a policy as check and show give it.
type policyView struct {
	Name    string         `json:"name"`
	Mode    string         `json:"mode"`
	Default string         `json:"default"`
	Audit   string         `json:"audit"`
	Digest  string         `json:"digest"`
	Rules   []string       `json:"rules"`
	Policy  sandbox.Policy `json:"policy"`
}

func viewPolicy(c *sandbox.Compiled) policyView {
	p := c.Policy()
	v := policyView{Name: p.Name, Mode: p.Mode, Default: p.Default, Audit: p.Audit,
		Digest: c.Digest().Text(), Rules: []string{}, Policy: p}
	for i := range c.Rules() {
		v.Rules = append(v.Rules, c.Rule(uint16(i)))
	}
	return v
}

func policyCheck(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a policy file",
		Long: `Reads the file as a sandbox would at its start. Whatever could not mean what it says is an error
with its line and field: an unknown key, a path that is not clean, a rule that another hides. With
-o json {name, mode, default, audit, digest, rules, policy}, as show gives it.`,
		Example: `  surety sandbox policy check policy.yaml`,
		Args:    exactArgs("the policy's file"),
	}
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		compiled, err := readPolicy(args[0])
		if err != nil {
			return err
		}
		view := viewPolicy(compiled)
		return env.show(view, func(w io.Writer) error {
			return writePairs(w, pair{"policy", orDash(view.Name)}, pair{"mode", view.Mode},
				pair{"default", view.Default}, pair{"audit", view.Audit},
				pair{"rules", len(view.Rules)}, pair{"digest", view.Digest})
		})
	})
}

func policyShow(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "show FILE",
		Short: "Show a policy's rules as they are decided by",
		Long: `Each rule with its number, as audit records have it, in its one form; and the digest that the first
audit record of a sandbox under this policy holds. With -o json {name, mode, default, audit, digest,
rules, policy}: policy is the canonical form, whose SHA-256 is the digest.`,
		Example: `  surety sandbox policy show policy.yaml`,
		Args:    exactArgs("the policy's file"),
	}
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		compiled, err := readPolicy(args[0])
		if err != nil {
			return err
		}
		view := viewPolicy(compiled)
		g := newGrid(right("rule"), left("field"), left("says"))
		for i, rule := range view.Rules {
			field, says, _ := strings.Cut(rule, ": ")
			g.row(i, field, says)
		}
		return env.show(view, func(w io.Writer) error {
			err := writePairs(w, pair{"policy", orDash(view.Name)}, pair{"mode", view.Mode},
				pair{"default", view.Default}, pair{"audit", view.Audit},
				pair{"digest", view.Digest})
			if err != nil || len(view.Rules) == 0 {
				return err
			}
			if _, err = fmt.Fprintln(w); err != nil {
				return err
			}
			return g.write(w)
		})
	})
}

// eachRecord calls do for the records of the trails, one trail after the other. A trail that a
// sandbox still writes is read as far as it goes.
func eachRecord(ctx context.Context, paths []string, do func(*sandbox.Record)) error {
	for _, path := range paths {
		if err := eachRecordOf(ctx, path, do); err != nil {
			return errs.Wrap(err, "%s", path)
		}
	}
	return nil
}

func eachRecordOf(ctx context.Context, path string, do func(*sandbox.Record)) (err error) {
	reader, err := trail.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	for {
		if err := ctx.Err(); err != nil {
			return errs.As(errs.Canceled, err, "read the trail")
		}
		record, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		do(record)
	}
}

// policyRefusal is acts of a run that a policy refuses, of one kind on one target by one rule.
type policyRefusal struct {
	Kind     string `json:"kind"`
	Target   string `json:"target"`
	Rule     string `json:"rule"`
	Count    int    `json:"count"`
	First    uint64 `json:"first"` // number of the first record
	Recorded string `json:"recorded"`
}

// policyReport is what a test found.
type policyReport struct {
	Records  int              `json:"records"`
	Judged   int              `json:"judged"`
	Allowed  int              `json:"allowed"`
	Refused  int              `json:"refused"`
	Changed  int              `json:"changed"` // decided otherwise than recorded
	Refusals []*policyRefusal `json:"refusals"`
	Unlisted int              `json:"unlisted"` // refusals of kinds, targets and rules beyond --limit

	limit int
	known map[policyRefusal]*policyRefusal
}

// add decides again on a record.
func (p *policyReport) add(c *sandbox.Compiled, r *sandbox.Record) {
	p.Records++
	decision := c.Retry(r)
	if decision.Verdict == sandbox.Unjudged {
		return
	}
	p.Judged++
	refused := decision.Verdict != sandbox.Allowed
	before := r.Verdict == sandbox.Refused || r.Verdict == sandbox.WouldRefuse
	if refused != before {
		p.Changed++
	}
	if !refused {
		p.Allowed++
		return
	}
	p.Refused++
	key := policyRefusal{Kind: r.Kind.String(), Target: targetOf(r), Rule: c.Rule(decision.Rule)}
	found := p.known[key]
	if found == nil && len(p.Refusals) >= p.limit {
		p.Unlisted++
		return
	}
	if found == nil {
		found = &policyRefusal{Kind: key.Kind, Target: key.Target, Rule: key.Rule, First: r.Seq,
			Recorded: r.Verdict.String()}
		p.known[key] = found
		p.Refusals = append(p.Refusals, found)
	}
	found.Count++
}

// targetOf says for people what an act was about.
func targetOf(r *sandbox.Record) string {
	access := ""
	if r.Access != 0 {
		access = " (" + r.Access.String() + ")"
	}
	switch {
	case r.Kind == sandbox.KindCapability:
		return sandbox.CapabilityName(int(r.Flags))
	case r.Addr.IsValid() && r.Kind != sandbox.KindName:
		text := strings.TrimSpace(r.Proto.String() + " " + r.Addr.String())
		if r.Text != "" && !r.Outside {
			text += " (" + r.Text + ")"
		}
		return text
	case r.Path2 != "":
		return r.Path + " -> " + r.Path2 + access
	case r.Kind == sandbox.KindExec && !r.Digest.IsZero():
		return r.Path + " (" + r.Digest.Text() + ")"
	}
	return r.Path + access
}

func (p *policyReport) write(w io.Writer) error {
	err := writePairs(w, pair{"records", p.Records}, pair{"judged", p.Judged},
		pair{"allowed", p.Allowed}, pair{"refused", p.Refused},
		pair{"decided otherwise than recorded", p.Changed})
	if err != nil || p.Refused == 0 {
		return err
	}
	g := newGrid(right("count"), right("first"), left("recorded"), left("kind"), left("target"),
		left("rule"))
	for _, r := range p.Refusals {
		g.row(r.Count, r.First, r.Recorded, r.Kind, r.Target, r.Rule)
	}
	if _, err = fmt.Fprintln(w); err != nil {
		return err
	}
	if err = g.write(w); err != nil || p.Unlisted == 0 {
		return err
	}
	_, err = fmt.Fprintf(w, "and %d more refusals: see --limit\n", p.Unlisted)
	return err
}

func policyTest(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "test FILE --trail TRAIL",
		Short: "Decide again on the acts of a recorded run",
		Long: `Reads audit trails and asks the policy about every act in them, whatever its mode. Shows what it
refuses, by kind, target and rule; the exit status is 1 where there is any. Trails that a policy of
mode observe or none left show the most, as a refused program does not go on. A trail is named by
its sandbox, its directory or a bundle. With -o json {records, judged, allowed, refused, changed,
refusals: [{kind, target, rule, count, first, recorded}], unlisted}.`,
		Example: `  surety sandbox policy test policy.yaml --trail web
  surety sandbox policy test policy.yaml --trail ./web-trail.tar -o json`,
		Args: exactArgs("the policy's file"),
	}
	var trails []string
	report := &policyReport{Refusals: []*policyRefusal{},
		known: make(map[policyRefusal]*policyRefusal)}
	c.Flags().StringSliceVar(&trails, "trail", nil, "audit trail of the run; may be given again")
	c.Flags().IntVar(&report.limit, "limit", 100, "refusals listed, at most")
	must(c.MarkFlagRequired("trail"))
	find := trailFlag(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		compiled, err := readPolicy(args[0])
		if err != nil {
			return err
		}
		paths, err := findAll(find, trails)
		if err != nil {
			return err
		}
		err = eachRecord(ctx, paths, func(r *sandbox.Record) {
			report.add(compiled, r)
		})
		if err != nil {
			return err
		}
		if err := env.show(report, report.write); err != nil {
			return err
		}
		if report.Refused > 0 {
			return errs.New(errs.Refused, "sandbox.policy: %s refused of %d judged",
				count(report.Refused, "act"), report.Judged)
		}
		return nil
	})
}

func findAll(find func(string) (string, error), names []string) ([]string, error) {
	paths := make([]string, len(names))
	for i, name := range names {
		path, err := find(name)
		if err != nil {
			return nil, err
		}
		paths[i] = path
	}
	return paths, nil
}

func policyLearn(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "learn --trail TRAIL",
		Short: "Write the policy that a recorded run needed",
		Long: `Reads audit trails and writes a policy of mode enforce and default deny under which the same runs
meet no refusal: programs by digest, files by path (a folder of more than 16 names as one pattern),
names and addresses with ports, capabilities, and the most processes at once. It allows all that the
runs tried, what was refused too: read it before you trust it. Give trails of runs that did all the
program should do. A trail is named by its sandbox, its directory or a bundle. The file goes to
standard output; with -o json the policy as one object.`,
		Example: `  surety sandbox policy learn --trail first > policy.yaml
  surety sandbox policy learn --trail first --trail second --name web > web.yaml`,
		Args: noArgs,
	}
	var trails []string
	var name string
	var program bool
	c.Flags().StringSliceVar(&trails, "trail", nil, "audit trail of a run; may be given again")
	c.Flags().StringVar(&name, "name", "learnt", "name of the policy")
	c.Flags().BoolVar(&program, "program-only", false,
		"leave out what operators started inside, with exec")
	must(c.MarkFlagRequired("trail"))
	find := trailFlag(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		paths, err := findAll(find, trails)
		if err != nil {
			return err
		}
		learner, records, refused := sandbox.NewLearner(), 0, 0
		err = eachRecord(ctx, paths, func(r *sandbox.Record) {
			if r.Session && program {
				return
			}
			records++
			if r.Verdict == sandbox.Refused || r.Verdict == sandbox.WouldRefuse {
				refused++
			}
			learner.Add(r)
		})
		if err != nil {
			return err
		}
		p := learner.Policy(name)
		compiled, err := sandbox.Compile(p)
		if err != nil {
			return errs.Wrap(err, "the policy of %s", count(records, "record"))
		}
		env.note("%s of %s", count(compiled.Rules(), "rule"), count(records, "record"))
		if refused > 0 {
			env.note("%s that the policy of the run refused, or would have, and this one allows",
				count(refused, "act"))
		}
		return env.show(p, func(w io.Writer) error {
			_, err := w.Write(policyfile.Format(p))
			return err
		})
	})
}
