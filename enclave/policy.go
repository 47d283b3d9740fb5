package enclave

import (
	"slices"

	"surety/base/clock"
	"surety/base/errs"
)

// Policy says to whom a secret is released. The zero Policy releases to nobody.
type Policy struct {
	Name    string        `json:"name"`
	Expires clock.Instant `json:"expires,omitempty"` // from then on it releases to nobody; zero: never

	Machines []MachineRule `json:"machines"` // one must match; none: refused

	// What runs: by measurement, or by who signed it. One of both must match, unless Bare.
	Measures []Digest     `json:"measures,omitempty"`
	Signers  []SignerRule `json:"signers,omitempty"`
	// Bare takes machines without a manifest: what runs is their launch measurement alone, which a
	// machine rule must then name.
	Bare bool `json:"bare,omitempty"`

	Debug    bool      `json:"debug,omitempty"`    // debug builds and machines that may be looked into
	TCB      TCBStatus `json:"tcb,omitempty"`      // worst status taken; zero: up to date only
	MaxAge   int64     `json:"max_age,omitempty"`  // of collateral, in seconds; zero: MaxCollateralAge
	Logged   bool      `json:"logged,omitempty"`   // the measurement must be in the evidence log
	Contract Digest    `json:"contract,omitempty"` // must be the manifest's; zero: any

	Owners []KeyID `json:"owners,omitempty"` // of Ed25519 keys whose approval counts
	Quorum int     `json:"quorum,omitempty"` // how many of them must have approved this measurement

	// Uses bounds how often each secret is released under this policy, ever, and Daily how often
	// within one day of UTC; zero: no bound. It is how a contract's budget is kept where no program
	// can be restarted around it: a broker counts a release for good before it makes it.
	Uses  int64 `json:"uses,omitempty"`
	Daily int64 `json:"daily,omitempty"`
}

// MachineRule admits machines of one kind.
type MachineRule struct {
	TEE       TEE      `json:"tee"`
	Roots     []KeyID  `json:"roots,omitempty"`     // none: the vendor's own; of Sim and TPM one must be named
	Platforms [][]byte `json:"platforms,omitempty"` // launch measurements; none: any, which hardware may not have
	Chips     [][]byte `json:"chips,omitempty"`     // which machines; none: any
	HostData  bool     `json:"host_data,omitempty"` // HOST_DATA must be the SHA-256 of the manifest
}

// SignerRule admits what somebody signed.
type SignerRule struct {
	Signer  KeyID  `json:"signer"`
	Product string `json:"product"`
	MinSVN  uint64 `json:"min_svn"`
}

// Facts are what a decision needs beside claims and policy.
type Facts struct {
	Now       clock.Instant
	Logged    bool    // the measurement is in the evidence log, with a proof that was checked
	Approvals []KeyID // owners whose signature over Approval was verified; repeats do not count
	// VendorRoots are the roots that are the vendors' own, by kind of machine.
	VendorRoots map[TEE][]KeyID
	// Used and UsedToday are the releases of this secret under this policy that were counted before
	// this one: ever, and since midnight UTC.
	Used      int64
	UsedToday int64
}

// Result is what a decision comes to: Released, or the first rule that refuses. The order of the
// numbers is the order of precedence.
type Result uint8

// The results.
const (
	Released          Result = 0
	PolicyExpired     Result = 1  // the policy is no longer in force
	MachineRefused    Result = 2  // no rule admits such a machine at all: simulated under a hardware policy
	RootRefused       Result = 3  // its word does not end in a root that is trusted
	ChipRefused       Result = 4  // not one of the machines named
	PlatformRefused   Result = 5  // it booted something else
	DebugRefused      Result = 6  // somebody may look inside
	TCBRefused        Result = 7  // its firmware is known to be weak, or not known at all
	CollateralExpired Result = 8  // what is known of its firmware is too old
	ManifestMissing   Result = 9  // nothing says what runs in it
	HostDataRefused   Result = 10 // it was launched for another manifest
	MeasureRefused    Result = 11 // another program, signer or product than those named
	SVNRefused        Result = 12 // the right signer and product, and a build that is too old
	ContractRefused   Result = 13 // it works under another contract
	NotLogged         Result = 14 // its measurement was not published
	QuorumMissing     Result = 15 // owners' approvals are missing
	UsesExhausted     Result = 16 // it was released as often as the policy allows
)

// Check is one line of what a decision looked at, for whoever has to understand a refusal.
type Check struct {
	Name   string `json:"name"` // such as "machine" or "svn"
	Passed bool   `json:"passed"`
	Saw    string `json:"saw"`    // the claim
	Wants  string `json:"wants"`  // the policy
	Result Result `json:"result"` // what it refuses with where it did not pass
}

// Decision is a result and every check on the way: all of them, also those behind the first that
// refused, so that one look shows all that is wrong.
type Decision struct {
	Result Result  `json:"result"`
	Checks []Check `json:"checks"`
}

// Check returns the first rule that makes no sense, by its JSON name: kind Invalid or TooLarge. A
// policy that admits nobody makes sense. What is only dangerous by oversight is refused as well:
// hardware that may boot anything, a simulation whose root is not named, owners who are not asked.
func (p *Policy) Check() error {
	if err := checkText("name", p.Name, MaxPolicyName); err != nil {
		return err
	}
	for _, list := range [...]struct {
		name  string
		count int
	}{
		{"machines", len(p.Machines)}, {"measures", len(p.Measures)}, {"signers", len(p.Signers)},
		{"owners", len(p.Owners)},
	} {
		if list.count > MaxRules {
			return errs.New(errs.TooLarge, "enclave.policy: %s has %d entries, the limit is %d",
				list.name, list.count, MaxRules)
		}
	}
	for i := range p.Machines {
		if err := p.Machines[i].check(i, p.Bare); err != nil {
			return err
		}
	}
	return p.checkPrograms()
}

func (r *MachineRule) check(index int, bare bool) error {
	refuse := func(format string, args ...any) error {
		return errs.New(errs.Invalid, "enclave.policy: machines[%d].%s",
			index, errs.New(errs.Invalid, format, args...))
	}
	switch {
	case !r.TEE.Known():
		return refuse("tee is %.20q, want sim, snp, tdx or tpm", r.TEE)
	case len(r.Roots) == 0 && (r.TEE == Sim || r.TEE == TPM):
		return refuse("roots names none: whose word of a machine of kind %s counts has to be said", r.TEE)
	case slices.Contains(r.Roots, KeyID{}):
		return refuse("roots has an empty entry")
	case len(r.Platforms) == 0 && r.TEE != Sim:
		return refuse("platforms names none: hardware vouches for whatever it booted")
	case len(r.Platforms) == 0 && bare:
		return refuse("platforms names none, and bare says that only they tell what runs")
	case r.HostData && bare:
		return refuse("host_data asks for a manifest, and bare takes machines without one")
	case len(r.Roots) > MaxRules || len(r.Platforms) > MaxRules || len(r.Chips) > MaxRules:
		return errs.New(errs.TooLarge, "enclave.policy: machines[%d] has a list of more than %d entries",
			index, MaxRules)
	}
	if i := slices.IndexFunc(r.Platforms, notARegister); i >= 0 {
		return refuse("platforms[%d] has %d bytes, want 1 to %d", i, len(r.Platforms[i]), maxRegister)
	}
	if i := slices.IndexFunc(r.Chips, notARegister); i >= 0 {
		return refuse("chips[%d] has %d bytes, want 1 to %d", i, len(r.Chips[i]), maxRegister)
	}
	return nil
}

// maxRegister is the longest value that machines report of themselves, in bytes: a chip id of AMD's,
// or a SHA-512.
const maxRegister = 64

func notARegister(value []byte) bool { return len(value) == 0 || len(value) > maxRegister }

func (p *Policy) checkPrograms() error {
	if slices.Contains(p.Measures, Digest{}) {
		return errs.New(errs.Invalid, "enclave.policy: measures has an empty entry")
	}
	for i := range p.Signers {
		if p.Signers[i].Signer.IsZero() {
			return errs.New(errs.Invalid, "enclave.policy: signers[%d].signer is empty", i)
		}
		if p.Signers[i].Product == "" {
			return errs.New(errs.Invalid, "enclave.policy: signers[%d].product is empty", i)
		}
		if err := checkText("product", p.Signers[i].Product, MaxName); err != nil {
			return err
		}
	}
	switch {
	case p.TCB > TCBUnknown:
		return errs.New(errs.Invalid, "enclave.policy: tcb is %d (%s), the worst that can be taken is %d",
			p.TCB, p.TCB, TCBUnknown)
	case p.MaxAge < 0:
		return errs.New(errs.Invalid, "enclave.policy: max_age is %d seconds", p.MaxAge)
	case p.Uses < 0:
		return errs.New(errs.Invalid, "enclave.policy: uses is %d", p.Uses)
	case p.Daily < 0:
		return errs.New(errs.Invalid, "enclave.policy: daily is %d", p.Daily)
	case slices.Contains(p.Owners, KeyID{}):
		return errs.New(errs.Invalid, "enclave.policy: owners has an empty entry")
	case p.Quorum < 0 || p.Quorum > len(p.Owners):
		return errs.New(errs.Invalid, "enclave.policy: quorum is %d of %d owners", p.Quorum, len(p.Owners))
	case p.Quorum == 0 && len(p.Owners) > 0:
		return errs.New(errs.Invalid, "enclave.policy: quorum is 0, so that the %d owners are never asked",
			len(p.Owners))
	}
	for i, owner := range p.Owners {
		if slices.Contains(p.Owners[:i], owner) {
			return errs.New(errs.Invalid, "enclave.policy: owners[%d] is there twice", i)
		}
	}
	return nil
}

// checkText refuses what would not show as it is.
func checkText(name, text string, limit int) error {
	if len(text) > limit {
		return errs.New(errs.TooLarge, "enclave.policy: %s has %d bytes, the limit is %d",
			name, len(text), limit)
	}
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return errs.New(errs.Invalid, "enclave.policy: %s has %q at position %d", name, text[i], i+1)
		}
	}
	return nil
}
