package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/broker"
	"surety/enclave/pack"
	"surety/lending/joint"
	"surety/sandbox/image/erofs"
)

// administer calls do with the party's own broker, whether it runs or not.
func (p *jointParty) administer(ctx context.Context, do func(broker.Admin) error) error {
	return (&brokerAt{dir: p.path(jointBrokerDir)}).with(ctx, do)
}

// admission is what a party takes a machine by.
type admission struct {
	simRoots, tpmRoots, platforms []string
	chips                         []string
	tcb                           int
}

func jointAdmit(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "admit DIR CONTRACT BUNDLE",
		Short: "Let this party's broker release its key to one enclave, under the contract",
		Long: `Checks the bundle: that every file is what its manifest measures, that the program, the
brokers and the layers are those of the contract, that the contract in it is this one, and that
the party's own columns are those that it sealed. Then the party's broker gets the key of the
columns, with a policy: this measurement and no other, under this contract, on the contract's
kinds of machine, until the contract ends, and as often as its budget says. A simulation's root
has to be named, and of hardware what it boots. With -o json the policy.`,
		Example: `  surety enclave joint admit bank contract.cbor joint.bundle --sim-root root.pem
  surety enclave joint admit bank contract.cbor joint.bundle --platform 8f1c...e2`,
		Args: exactArgs("DIR", "CONTRACT", "BUNDLE"),
	}
	var a admission
	flags := c.Flags()
	flags.StringArrayVar(&a.simRoots, "sim-root", nil, "root of a simulation to take; may be repeated")
	flags.StringArrayVar(&a.tpmRoots, "tpm-root", nil, "id of the root of who enrolled TPMs, "+
		"in hexadecimal; may be repeated")
	flags.StringArrayVar(&a.platforms, "platform", nil, "launch measurement of hardware to "+
		"take, in hexadecimal; may be repeated")
	flags.StringArrayVar(&a.chips, "chip", nil, "machine to take, in hexadecimal; may be "+
		"repeated (default: any)")
	flags.IntVar(&a.tcb, "tcb", int(enclave.TCBUpToDate), "worst state of hardware's firmware to "+
		"take: 1 up to date, 2 out of date, 3 unknown")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		p, s, err := jointRole(args[0], args[1])
		if err != nil {
			return err
		}
		measure, err := checkJointBundle(ctx, p, s, args[2])
		if err != nil {
			return err
		}
		policy, err := a.policy(s, measure)
		if err != nil {
			return err
		}
		if err := admitJoint(ctx, p, &policy); err != nil {
			return err
		}
		return env.show(policy, func(w io.Writer) error {
			return writePairs(w, pair{"admits", measure}, pair{"contract", s.Digest},
				pair{"uses", fmt.Sprintf("%d ever, %d a day", policy.Uses, policy.Daily)},
				pair{"until", fmt.Sprintf("%d s since 1970", int64(policy.Expires)/int64(clock.Second))})
		})
	})
}

// admitJoint gives the broker the key and the policy. What was released under the contract before, to
// another build or before a withdrawal, counts: nobody gets a new budget by building again. It is kind
// Refused where nothing is left. No policy stands while it is counted.
func admitJoint(ctx context.Context, p *jointParty, policy *enclave.Policy) error {
	key, err := layerKeyOf(p)
	if err != nil {
		return err
	}
	defer clear(key[:])
	return p.administer(ctx, func(a broker.Admin) error {
		err := a.RemovePolicy(ctx, p.name, jointKind+"/"+jointTag)
		if err != nil && !errs.Is(err, errs.NotFound) {
			return err
		}
		used, err := releasedUnder(ctx, a, p.name, policy.Name)
		if err != nil {
			return err
		}
		if policy.Uses <= used {
			return errs.New(errs.Refused, "the budget of %d runs is used up: the key was released %d times "+
				"under %s", policy.Uses, used, policy.Name)
		}
		policy.Uses -= used
		policy.Daily = min(policy.Daily, policy.Uses)
		if err := a.PutSecret(ctx, p.name, jointKind, jointTag, key[:], true); err != nil {
			return err
		}
		return a.SetPolicy(ctx, p.name, jointKind+"/"+jointTag, *policy)
	})
}

// releasedUnder counts a party's releases under policies of a name, which is the contract's own.
func releasedUnder(ctx context.Context, a broker.Admin, party, policy string) (used int64, err error) {
	records, err := a.Outcomes(ctx, party, brokerRecords)
	if err != nil {
		return 0, err
	}
	if len(records) >= brokerRecords {
		return 0, errs.New(errs.TooLarge, "the broker of %s has %d records or more: how often the key was "+
			"released cannot be told", party, brokerRecords)
	}
	for i := range records {
		if records[i].Act == broker.ActReleased && records[i].Policy == policy {
			used++
		}
	}
	return used, nil
}

// checkJointBundle sees that a bundle is one that the party has agreed to, and returns its measurement.
func checkJointBundle(ctx context.Context, p *jointParty, s enclave.SignedContract, path string,
) (enclave.Digest, error) {
	var measure enclave.Digest
	b, err := pack.Open(path)
	if err != nil {
		return measure, err
	}
	defer func() { _ = b.Close() }() // it was only read
	signed := b.Signed()
	if err := s.Binds(signed.Manifest); err != nil {
		return measure, err
	}
	if err := b.Verify(ctx); err != nil {
		return measure, err
	}
	if err := checkContractLayer(b, s); err != nil {
		return measure, err
	}
	var own jointLayer
	if err := readJSON(p.path(jointLayerFile), &own); err != nil {
		return measure, err
	}
	for _, l := range signed.Manifest.Layers {
		if l.Target == enclave.DataTarget+p.name && l.Root == own.Root && l.ID == own.ID {
			return signed.Measure, nil
		}
	}
	return measure, errs.New(errs.Refused, "%s does not hold the columns that %q sealed", path, p.name)
}

// checkContractLayer reads the contract that the program will find.
func checkContractLayer(b *pack.Bundle, s enclave.SignedContract) error {
	for i, l := range b.Signed().Manifest.Layers {
		if l.Target != enclave.ContractTarget {
			continue
		}
		path, err := b.LayerPath(i)
		if err != nil {
			return err
		}
		file, err := contractIn(path, int64(l.Bytes))
		if err != nil {
			return err
		}
		inside, missing, err := enclave.ReadContract(file)
		if err != nil {
			return err
		}
		if inside.Digest != s.Digest || len(missing) > 0 {
			return errs.New(errs.Refused, "the bundle holds contract %s, not signed by %v, and not %s",
				inside.Digest, missing, s.Digest)
		}
		return nil
	}
	return errs.New(errs.Refused, "the bundle holds no contract")
}

// contractIn reads the contract's file out of a layer's image.
func contractIn(path string, size int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(err, "layer")
	}
	defer func() { _ = f.Close() }() // it was only read
	r, err := erofs.Open(f, size)
	if err != nil {
		return nil, err
	}
	return r.ReadFile(joint.ContractFile, enclave.MaxSignedContract)
}

// policy is what the party's broker releases by.
func (a *admission) policy(s enclave.SignedContract, measure enclave.Digest) (p enclave.Policy,
	err error) {
	c := s.Contract
	p = enclave.Policy{Name: c.Name + "-" + s.Digest.Short(), Expires: c.Expires,
		Measures: []enclave.Digest{measure}, Contract: s.Digest,
		TCB: enclave.TCBStatus(a.tcb), Uses: int64(c.Budget.Runs), Daily: int64(c.Budget.Daily)}
	for _, tee := range c.Machines {
		rule, named, err := a.machine(tee)
		if err != nil {
			return p, err
		}
		if named {
			p.Machines = append(p.Machines, rule)
		}
	}
	if slices.ContainsFunc(p.Machines, func(r enclave.MachineRule) bool { return r.TEE == enclave.Sim }) {
		if len(p.Machines) > 1 {
			return p, errs.New(errs.Invalid, "simulations and hardware are not admitted together: what is "+
				"simulated has no firmware that could be judged")
		}
		p.TCB = enclave.TCBUnknown // no vendor speaks of a simulation's firmware
	}
	if len(p.Machines) == 0 {
		return p, errs.New(errs.Invalid, "no machine would be admitted: the contract takes %v; name "+
			"--sim-root, --platform or --tpm-root", c.Machines)
	}
	return p, p.Check()
}

// machine is the rule for one kind of machine, and whether the party has named any of it.
func (a *admission) machine(tee enclave.TEE) (rule enclave.MachineRule, named bool, err error) {
	rule.TEE = tee
	for _, text := range a.chips {
		chip, err := hex.DecodeString(text)
		if err != nil {
			return rule, false, errs.New(errs.Invalid, "--chip %.80q: it is not hexadecimal", text)
		}
		rule.Chips = append(rule.Chips, chip)
	}
	if tee == enclave.Sim {
		roots, err := readRoots(a.simRoots)
		if err != nil {
			return rule, false, err
		}
		for _, root := range roots {
			id, err := attest.SimRootID(root)
			if err != nil {
				return rule, false, err
			}
			rule.Roots = append(rule.Roots, id)
		}
		return rule, len(roots) > 0, nil
	}
	for _, text := range a.platforms {
		platform, err := hex.DecodeString(text)
		if err != nil {
			return rule, false, errs.New(errs.Invalid, "--platform %.80q: it is not hexadecimal", text)
		}
		rule.Platforms = append(rule.Platforms, platform)
	}
	if tee == enclave.TPM {
		for _, text := range a.tpmRoots {
			var id enclave.KeyID
			if err := id.UnmarshalText([]byte(text)); err != nil {
				return rule, false, err
			}
			rule.Roots = append(rule.Roots, id)
		}
		return rule, len(rule.Roots) > 0 && len(rule.Platforms) > 0, nil
	}
	return rule, len(rule.Platforms) > 0, nil
}

func jointWithdraw(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "withdraw DIR",
		Short: "Let this party's broker release its key to nobody any more",
		Long: `Takes the policy and the key of the party's columns away. What was released before
cannot be taken back; no run begins from then on.`,
		Example: `  surety enclave joint withdraw bank`,
		Args:    exactArgs("DIR"),
	}
	return verb(env, c, func(ctx context.Context, _ *Env, args []string) error {
		p, err := openParty(args[0])
		if err != nil {
			return err
		}
		return p.administer(ctx, func(a broker.Admin) error {
			return errors.Join(a.RemovePolicy(ctx, p.name, jointKind+"/"+jointTag),
				a.RemoveSecret(ctx, p.name, jointKind, jointTag))
		})
	})
}
