package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/sys/wallclock"
)

// verification is what verify was asked.
type verification struct {
	nonce, policy      string
	simRoots, tpmRoots []string
	collateral         string
}

func enclaveVerifyCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "verify EVIDENCE",
		Short: "Verify evidence offline, and show each check",
		Long: `Follows the signatures of evidence up to a root, sees that it was made for the nonce and for its
manifest, and decides by a policy where one is given. Every check is shown, with what was seen and
what is wanted; the first that does not pass is the reason. Exits with status 1 where the evidence
is refused. EVIDENCE is a file, or - for standard input. The network is not asked.

The roots of AMD and Intel are built in. A simulation's (root.pem, see "surety enclave doctor") has
to be named by --sim-root, and that of who enrolled TPMs by --tpm-root. What vendors say about
firmware is read from --collateral, a directory with a file index.json, {URL: file}; without it the
status of the firmware is unknown.

With -o json {accepted, reason, tee, guarantee, simulated, checks: [{name, passed, saw, wants,
result}], claims}.`,
		Example: `  surety enclave verify credit.evidence --nonce 8f1c...e2
  surety enclave verify credit.evidence --nonce 8f1c...e2 --policy hardware.json
  surety enclave verify credit.evidence --nonce 8f1c...e2 --sim-root root.pem`,
		Args: exactArgs("EVIDENCE"),
	}
	var v verification
	flags := c.Flags()
	flags.StringVar(&v.nonce, "nonce", "", "the challenge that it was made for, in hexadecimal (required)")
	flags.StringVar(&v.policy, "policy", "", "file with a policy, as JSON (default: no decision)")
	flags.StringArrayVar(&v.simRoots, "sim-root", nil, "root of a simulation to take; may be repeated")
	flags.StringArrayVar(&v.tpmRoots, "tpm-root", nil, "certificate of who enrolled TPMs; may be repeated")
	flags.StringVar(&v.collateral, "collateral", "", "directory with what vendors say about firmware")
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		if v.nonce == "" {
			return usage(c, "--nonce is missing: evidence is verified for a challenge")
		}
		nonce, err := parseNonce(v.nonce)
		if err != nil {
			return usage(c, "--nonce: %v", err)
		}
		return v.run(env, args[0], nonce, wallclock.System().Now())
	})
}

// verified is what verify says with -o json.
type verified struct {
	Accepted  bool              `json:"accepted"`
	Reason    string            `json:"reason"` // of a refusal
	TEE       enclave.TEE       `json:"tee"`
	Guarantee enclave.Guarantee `json:"guarantee"`
	Simulated bool              `json:"simulated"`
	Checks    []enclave.Check   `json:"checks"`
	Claims    *shownClaims      `json:"claims"` // null where nothing was shown
}

// shownClaims are claims for people and scripts: bytes in hexadecimal.
type shownClaims struct {
	Root          enclave.KeyID  `json:"root"`
	RootName      string         `json:"root_name"`
	Chip          string         `json:"chip"`
	Platform      string         `json:"platform"`
	PlatformDebug bool           `json:"platform_debug"`
	HostData      string         `json:"host_data"`
	Firmware      string         `json:"firmware"`
	FirmwareState string         `json:"firmware_state"`
	Measure       enclave.Digest `json:"measure"`
	Signer        enclave.KeyID  `json:"signer"`
	Name          string         `json:"name"`
	Product       string         `json:"product"`
	SVN           uint64         `json:"svn"`
	Debug         bool           `json:"debug"`
}

func showClaims(c *enclave.Claims) *shownClaims {
	s := &shownClaims{Root: c.Root, RootName: c.RootName, Chip: hex.EncodeToString(c.Chip),
		Platform: hex.EncodeToString(c.Platform), PlatformDebug: c.PlatformDebug,
		HostData: hex.EncodeToString(c.HostData), Firmware: fmt.Sprintf("%016x", c.TCB.Version),
		FirmwareState: c.TCB.Status.String(), Measure: c.Measure, Signer: c.Signer, Debug: c.Debug()}
	if m := c.Manifest; m != nil {
		s.Name, s.Product, s.SVN = m.Name, m.Product, m.SVN
	}
	return s
}

func (v *verification) run(env *Env, path string, nonce []byte, now clock.Instant) error {
	verifier, err := v.verifier()
	if err != nil {
		return err
	}
	var policy *enclave.Policy
	if v.policy != "" {
		read, err := readAcceptance(v.policy)
		if err != nil {
			return err
		}
		policy = &read
	}
	encoded, err := readEvidence(env, path)
	if err != nil {
		return err
	}
	answer := judgeEvidence(encoded, verifier, policy, nonce, now)
	if err := env.show(answer, answer.write); err != nil {
		return err
	}
	if !answer.Accepted {
		return errs.New(errs.Refused, "enclave.verify: %s", answer.Reason)
	}
	return nil
}

// judgeEvidence does every check that can be done: each needs those before it, up to the policy's,
// which are done all.
func judgeEvidence(encoded []byte, verifier *attest.Verifier, policy *enclave.Policy, nonce []byte,
	now clock.Instant) *verified {
	a := &verified{}
	evidence, err := enclave.DecodeEvidence(encoded)
	if !a.step("encoding", fmt.Sprintf("%d bytes", len(encoded)), "evidence in its one form", err) {
		return a
	}
	a.TEE, a.Guarantee = evidence.TEE, evidence.TEE.Guarantee()
	a.Simulated = evidence.TEE == enclave.Sim
	signed, err := enclave.OpenSigned(evidence.Signed)
	if len(evidence.Signed) == 0 {
		err = nil
	}
	if !a.step("manifest", orDash(signed.Measure.String()), "signed by its signer", err) {
		return a
	}
	claims, err := verifier.Verify(evidence, enclave.Binding{Purpose: enclave.ForAudit, Nonce: nonce}, now)
	saw := string(evidence.TEE)
	if err == nil {
		saw += ", up to " + claims.RootName
	}
	if !a.step("evidence", saw, "signatures up to a root, for this nonce", err) {
		return a
	}
	a.Claims, a.Accepted = showClaims(claims), true
	if policy == nil {
		return a
	}
	decision := policy.Decide(claims, enclave.Facts{Now: now, VendorRoots: verifier.VendorRoots()})
	a.Checks = append(a.Checks, decision.Checks...)
	if decision.Result != enclave.Released {
		a.Accepted, a.Reason = false, decision.Result.String()
	}
	return a
}

// step records a check and reports whether it passed.
func (a *verified) step(name, saw, wants string, err error) bool {
	check := enclave.Check{Name: name, Passed: err == nil, Saw: saw, Wants: wants}
	if err != nil {
		check.Saw, a.Reason = err.Error(), err.Error()
	}
	a.Checks = append(a.Checks, check)
	return err == nil
}

func (a *verified) write(w io.Writer) error {
	if a.Simulated {
		if _, err := fmt.Fprintln(w, "SIMULATED: self-reported measurement. The operator of that machine "+
			"can read everything the program reads, and can sign whatever this says."); err != nil {
			return err
		}
	}
	g := newGrid(left("passed"), left("check"), left("saw"))
	for _, c := range a.Checks {
		if c.Passed {
			g.row("yes", c.Name, c.Saw)
		} else {
			g.row("NO", c.Name, c.Saw+"; wanted: "+c.Wants)
		}
	}
	if err := g.write(w); err != nil || a.Claims == nil {
		return err
	}
	c := a.Claims
	facts := newGrid(left("shown"), left("value"))
	facts.row("guarantee", a.Guarantee)
	facts.row("root", c.Root)
	facts.row("machine", orDash(c.Chip))
	facts.row("launch measurement", orDash(c.Platform))
	facts.row("host data", orDash(c.HostData))
	facts.row("firmware", c.Firmware+", "+c.FirmwareState)
	facts.row("may be looked into", c.Debug)
	facts.row("measurement", orDash(c.Measure.String()))
	facts.row("signer", orDash(c.Signer.String()))
	facts.row("product, svn", fmt.Sprintf("%s, %d", orDash(c.Product), c.SVN))
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return facts.write(w)
}

// readEvidence reads a file, or standard input, up to the limit of evidence.
func readEvidence(env *Env, path string) ([]byte, error) {
	from := env.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fileError(err, "evidence")
		}
		defer func() { _ = f.Close() }() // it was only read
		from = f
	}
	encoded, err := io.ReadAll(io.LimitReader(from, enclave.MaxEvidence+1))
	if err != nil {
		return nil, fileError(err, "evidence")
	}
	return encoded, nil
}

func (v *verification) verifier() (*attest.Verifier, error) {
	var roots attest.Roots
	var err error
	if roots.Sim, err = readRoots(v.simRoots); err != nil {
		return nil, err
	}
	if roots.TPM, err = readRoots(v.tpmRoots); err != nil {
		return nil, err
	}
	if v.collateral != "" {
		if roots.Collateral, err = readCollateral(v.collateral); err != nil {
			return nil, err
		}
	}
	return attest.NewVerifier(roots)
}

// readCollateral reads what index.json of a directory names. Files are named without directories.
func readCollateral(dir string) (map[string][]byte, error) {
	content, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, fileError(err, "collateral")
	}
	var index map[string]string
	if err := json.Unmarshal(content, &index); err != nil {
		return nil, errs.As(errs.Invalid, err, "collateral: index.json")
	}
	collateral := make(map[string][]byte, len(index))
	for url, name := range index {
		if filepath.Base(name) != name {
			return nil, errs.New(errs.Invalid, "collateral: %q is not a file's name", name)
		}
		if collateral[url], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, fileError(err, "collateral")
		}
	}
	return collateral, nil
}
