package enclave

import "surety/base/clock"

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
