package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/broker"
	"surety/enclave/pack"
)

// releasePolicy is the group of policies.
func releasePolicy(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "policy",
		Short: "Say to whom a tenant's secrets are released",
		Long: `A policy is a JSON object; "surety enclave release policy from" writes one for a build,
to be read and changed before it is set. Its fields stand in docs/reference/enclave-broker.md.`,
		Example: `  surety enclave release policy from credit > policy.json
  surety enclave release policy set lending/key/model policy.json --dir bank
  surety enclave release policy show lending/key/model --dir bank`,
	}, releaseFrom(env), releaseSet(env), releaseShow(env), releaseUnset(env))
}

// policyDraft says what a policy of a build is to be like.
type policyDraft struct {
	root     string // --root
	tee      string
	simRoot  string
	platform []string
	exact    bool
	logged   bool
	tcb      string
}

func releaseFrom(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "from ENCLAVE",
		Short: "Write a policy that releases to a build and to the newer ones of its signer",
		Long: `Reads a project, a bundle or a bundle in one file and writes a policy that takes its
signer's product from its security version on, under its contract, if it has one, on machines of
one kind. With --exact it takes this measurement alone.

Machines of the kinds snp and tdx have to boot a --platform that is known, and their word has to
end in the vendor's root; their firmware has to be up to date by the vendor's word, unless --tcb
says less. A simulation is admitted only with --tee sim, by its root: such a policy protects
nothing from whoever runs the machine.`,
		Example: `  surety enclave release policy from credit --tee snp --platform 5f0c...91 > policy.json
  surety enclave release policy from credit --tee sim > test.json`,
		Args: exactArgs("ENCLAVE"),
	}
	var d policyDraft
	f := c.Flags()
	enclaveRootFlag(env, f, &d.root)
	f.StringVar(&d.tee, "tee", "", "kind of machine: snp, tdx or sim")
	f.StringVar(&d.simRoot, "sim-root", "", "certificate of the simulation (default: that of --root)")
	f.StringArrayVar(&d.platform, "platform", nil, "launch measurement, hexadecimal (may be repeated)")
	f.BoolVar(&d.exact, "exact", false, "this measurement alone")
	f.BoolVar(&d.logged, "logged", false, "the measurement must be in the evidence log")
	f.StringVar(&d.tcb, "tcb", "up-to-date", "worst status of firmware: up-to-date, out-of-date or unknown")
	must(c.MarkFlagRequired("tee"))
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		signed, err := signedOf(args[0])
		if err != nil {
			return err
		}
		p, err := d.policy(signed)
		if err != nil {
			return err
		}
		if p.Machines[0].TEE == enclave.Sim {
			env.note("SIMULATED: this policy admits machines that vouch for themselves.")
		}
		if p.Debug {
			env.note("The build is one for debugging: whoever runs it may look inside.")
		}
		return printPolicy(env.Stdout, p)
	})
}

// signedOf reads the manifest of a project, a bundle or a bundle in one file.
func signedOf(path string) (enclave.Signed, error) {
	files, err := locateEnclave(path)
	if err != nil {
		return enclave.Signed{}, err
	}
	bundle, err := pack.Open(files.bundle)
	if err != nil {
		return enclave.Signed{}, err
	}
	return bundle.Signed(), bundle.Close()
}

func (d *policyDraft) policy(signed enclave.Signed) (p enclave.Policy, err error) {
	m := signed.Manifest
	p = enclave.Policy{Debug: m.Debug, Contract: m.Contract, Logged: d.logged,
		Signers: []enclave.SignerRule{{Signer: signed.Signer, Product: m.Product, MinSVN: m.SVN}}}
	if d.exact {
		p.Signers, p.Measures = nil, []enclave.Digest{signed.Measure}
	}
	statuses := map[string]enclave.TCBStatus{"up-to-date": enclave.TCBUpToDate,
		"out-of-date": enclave.TCBOutOfDate, "unknown": enclave.TCBUnknown}
	status, known := statuses[d.tcb]
	if !known {
		return p, errs.New(errs.Invalid, "enclave release: --tcb %.40q is none of up-to-date, "+
			"out-of-date and unknown", d.tcb)
	}
	if status != enclave.TCBUpToDate {
		p.TCB = status
	}
	rule := enclave.MachineRule{TEE: enclave.TEE(d.tee)}
	for _, text := range d.platform {
		value, err := hex.DecodeString(text)
		if err != nil {
			return p, errs.New(errs.Invalid, "enclave release: --platform %.140q is not hexadecimal", text)
		}
		rule.Platforms = append(rule.Platforms, value)
	}
	if rule.TEE == enclave.Sim {
		if rule.Roots, err = d.simulation(); err != nil {
			return p, err
		}
	}
	p.Machines = []enclave.MachineRule{rule}
	return p, p.Check()
}

// simulation is the root of the simulation that is to be admitted.
func (d *policyDraft) simulation() ([]enclave.KeyID, error) {
	path := d.simRoot
	if path == "" {
		path = filepath.Join(simulationDir(d.root), attest.SimRootFile)
	}
	certificate, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError(err, "root of the simulation")
	}
	root, err := attest.SimRootID(certificate)
	return []enclave.KeyID{root}, err
}

// printPolicy writes a policy as a file has it.
func printPolicy(w io.Writer, p enclave.Policy) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return errs.As(errs.Internal, err, "enclave release: policy")
	}
	_, err = w.Write(append(text, '\n'))
	return wrote(err)
}

// readReleasePolicy reads what printPolicy writes, and nothing that is not understood.
func readReleasePolicy(path string) (p enclave.Policy, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return p, fileError(err, "policy")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return p, errs.As(errs.Invalid, err, "enclave release: policy %s", path)
	}
	return p, errs.Wrap(p.Check(), "enclave release: policy %s", path)
}

// splitPattern takes TENANT/PATTERN apart.
func splitPattern(text string) (tenant, pattern string, err error) {
	tenant, kind, tag, err := splitResource(text)
	return tenant, kind + "/" + tag, err
}

func releaseSet(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "set TENANT/TYPE/TAG FILE",
		Short: "Set the policy of a tenant's secrets",
		Long: `TYPE and TAG may each be "*". Sealed states have the type "state", and their name as
tag. What owners approved ends where the policy changes.`,
		Example: `  surety enclave release policy set 'lending/key/*' policy.json --dir bank`,
		Args:    exactArgs("TENANT/TYPE/TAG", "FILE"),
	}
	var at brokerAt
	at.describe(env, c.Flags())
	return verb(env, c, func(ctx context.Context, _ *Env, args []string) error {
		tenant, pattern, err := splitPattern(args[0])
		if err != nil {
			return err
		}
		p, err := readReleasePolicy(args[1])
		if err != nil {
			return err
		}
		return at.with(ctx, func(a broker.Admin) error { return a.SetPolicy(ctx, tenant, pattern, p) })
	})
}

func releaseShow(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "show TENANT/TYPE/TAG",
		Short:   "Show the policy of exactly this pattern",
		Long:    `Writes it as "set" takes it: a JSON object, whatever -o says.`,
		Example: `  surety enclave release policy show lending/key/model --dir bank`,
		Args:    exactArgs("TENANT/TYPE/TAG"),
	}
	var at brokerAt
	at.describe(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		return at.with(ctx, func(a broker.Admin) error {
			p, err := onePolicy(ctx, a, args[0])
			if err != nil {
				return err
			}
			return printPolicy(env.Stdout, p)
		})
	})
}

// onePolicy asks for the policy of exactly one pattern.
func onePolicy(ctx context.Context, a broker.Admin, place string) (enclave.Policy, error) {
	tenant, pattern, err := splitPattern(place)
	if err != nil {
		return enclave.Policy{}, err
	}
	all, err := a.Policies(ctx, tenant)
	if err != nil {
		return enclave.Policy{}, err
	}
	p, found := all[pattern]
	if !found {
		return p, errs.New(errs.NotFound, "enclave release: %s has no policy of its own", place)
	}
	return p, nil
}

func releaseUnset(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "remove TENANT/TYPE/TAG",
		Short:   "Take a policy away",
		Long:    `What no other policy admits is released to nobody from then on.`,
		Example: `  surety enclave release policy remove lending/key/model --dir bank`,
		Args:    exactArgs("TENANT/TYPE/TAG"),
	}
	var at brokerAt
	at.describe(env, c.Flags())
	return verb(env, c, func(ctx context.Context, _ *Env, args []string) error {
		tenant, pattern, err := splitPattern(args[0])
		if err != nil {
			return err
		}
		return at.with(ctx, func(a broker.Admin) error { return a.RemovePolicy(ctx, tenant, pattern) })
	})
}

// approval is an owner's word, on its way to a broker.
type approval struct {
	Measure   enclave.Digest `json:"measure"`
	Owner     []byte         `json:"owner"` // Ed25519 public key
	Signature []byte         `json:"signature"`
}

func releaseApprove(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "approve TENANT/TYPE/TAG ENCLAVE",
		Short: "Approve, as an owner, that a build gets what a policy covers",
		Long: `Signs the policy and the build's measurement with the owner's key and gives the
signature to the broker. ENCLAVE is a project, a bundle, a bundle in one file, or a measurement.

An owner who cannot reach the broker signs the policy in a file (--policy), having read it, and
writes the approval to standard output; whoever can hands it in with --approval. With -o json
{measure, owner, signature}, bytes in base64.`,
		Example: `  surety enclave release approve lending/key/model credit --key owner.pem --dir bank
  surety enclave release approve lending/key/model credit --key me.pem --policy policy.json > ok.json
  surety enclave release approve lending/key/model credit --approval ok.json --dir bank`,
		Args: exactArgs("TENANT/TYPE/TAG", "ENCLAVE"),
	}
	var at brokerAt
	at.describe(env, c.Flags())
	key := c.Flags().String("key", "", "the owner's Ed25519 key, PKCS #8 PEM")
	policy := c.Flags().String("policy", "", "policy to sign, instead of the one that the broker has")
	given := c.Flags().String("approval", "", "approval that an owner made with --policy")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		if (*key == "") == (*given == "") || *given != "" && *policy != "" {
			return usage(c, "give --key, with or without --policy, or --approval")
		}
		measure, err := measureOf(args[1])
		if err != nil {
			return err
		}
		if *policy != "" {
			return approveOffline(env, args[0], measure, *key, *policy)
		}
		return at.with(ctx, func(a broker.Admin) error {
			return approveAt(ctx, a, args[0], measure, *key, *given)
		})
	})
}

// measureOf takes a measurement, or what has one.
func measureOf(text string) (enclave.Digest, error) {
	if strings.HasPrefix(text, "sha384:") {
		return enclave.ParseDigest(text)
	}
	signed, err := signedOf(text)
	return signed.Measure, err
}

// approveOffline signs a policy as it will be called where it is set.
func approveOffline(env *Env, place string, measure enclave.Digest, key, policy string) error {
	if _, _, err := splitPattern(place); err != nil {
		return err
	}
	p, err := readReleasePolicy(policy)
	if err != nil {
		return err
	}
	if p.Name == "" {
		p.Name = place
	}
	made, err := approve(&p, measure, key)
	if err != nil {
		return err
	}
	text, err := json.Marshal(made)
	if err != nil {
		return errs.As(errs.Internal, err, "enclave release")
	}
	_, err = env.Stdout.Write(append(text, '\n'))
	return wrote(err)
}

func approveAt(ctx context.Context, a broker.Admin, place string, measure enclave.Digest, key,
	given string) error {
	tenant, pattern, err := splitPattern(place)
	if err != nil {
		return err
	}
	var made approval
	if given != "" {
		text, err := os.ReadFile(given)
		if err != nil {
			return fileError(err, "approval")
		}
		if err := json.Unmarshal(text, &made); err != nil {
			return errs.As(errs.Invalid, err, "enclave release: approval %s", given)
		}
		if made.Measure != measure {
			return errs.New(errs.Invalid, "enclave release: approval %s is of %s, not of %s", given,
				made.Measure, measure)
		}
	} else {
		p, err := onePolicy(ctx, a, place)
		if err != nil {
			return err
		}
		if made, err = approve(&p, measure, key); err != nil {
			return err
		}
	}
	return a.Approve(ctx, tenant, pattern, measure, made.Owner, made.Signature)
}

func approve(p *enclave.Policy, measure enclave.Digest, path string) (approval, error) {
	key, err := pack.LoadKey(path)
	if err != nil {
		return approval{}, err
	}
	defer clear(key)
	statement, err := p.Approval(measure)
	if err != nil {
		return approval{}, err
	}
	owner := bytes.Clone(key.Public().(ed25519.PublicKey))
	return approval{measure, owner, ed25519.Sign(key, statement)}, nil
}

func releasePublish(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "publish TENANT ENCLAVE",
		Short: "Put a build's measurement into the evidence log",
		Long: `Policies with "logged" release to published builds alone, so that no build gets a secret
that nobody can see. Publishing says nothing of whether a build is any good. With -o json the
broker's record.`,
		Example: `  surety enclave release publish lending credit --dir bank`,
		Args:    exactArgs("TENANT", "ENCLAVE"),
	}
	var at brokerAt
	at.describe(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		signed, err := signedOf(args[1])
		if err != nil {
			return err
		}
		return at.with(ctx, func(a broker.Admin) error {
			o, err := a.Publish(ctx, args[0], broker.Publication{Measure: signed.Measure,
				Signer: signed.Signer, Product: signed.Manifest.Product, SVN: signed.Manifest.SVN})
			if err != nil {
				return err
			}
			return env.show(o, func(w io.Writer) error {
				return writePairs(w, pair{"measurement", o.Measure}, pair{"record", o.ID})
			})
		})
	})
}
