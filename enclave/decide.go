package enclave

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"surety/base/clock"
	"surety/base/errs"
)

// Decide returns what the policy says to claims. The first check that does not pass, in the order
// of Results, is the result; the others are looked at all the same, so that Checks shows all that is
// wrong. It is one straight column: nothing behind a refusal can take it back.
func (p *Policy) Decide(c *Claims, f Facts) Decision {
	v := verdict{policy: p, claims: c, facts: f}
	v.inForce()
	v.machine()
	v.root()
	v.chip()
	v.platform()
	v.debug()
	v.tcb()
	v.collateral()
	v.manifest()
	v.hostData()
	v.measure()
	v.svn()
	v.contract()
	v.logged()
	v.quorum()
	v.uses()
	return v.decision
}

// verdict is a decision on its way. rules are the machine rules that every check so far has left;
// where a check leaves none, the next one looks at those before it, to say what else is wrong.
type verdict struct {
	policy   *Policy
	claims   *Claims
	facts    Facts
	rules    []MachineRule
	decision Decision
}

func (v *verdict) add(name string, r Result, passed bool, saw, wants string) {
	if !passed && v.decision.Result == Released {
		v.decision.Result = r
	}
	v.decision.Checks = append(v.decision.Checks, Check{Name: name, Passed: passed,
		Saw: cmp.Or(saw, "none"), Wants: cmp.Or(wants, "none"), Result: r})
}

func (v *verdict) inForce() {
	at := v.policy.Expires
	wants := "any time"
	if at != 0 {
		wants = "before " + moment(at)
	}
	v.add("expiry", PolicyExpired, at == 0 || v.facts.Now < at, moment(v.facts.Now), wants)
}

func (v *verdict) machine() {
	var kinds []string
	for _, rule := range v.policy.Machines {
		if rule.TEE == v.claims.TEE && rule.TEE.Known() {
			v.rules = append(v.rules, rule)
		}
		if !slices.Contains(kinds, string(rule.TEE)) {
			kinds = append(kinds, string(rule.TEE))
		}
	}
	v.add("machine", MachineRefused, len(v.rules) > 0, string(v.claims.TEE), oneOf(kinds))
}

// narrow keeps the rules that fit and reports whether there are any.
func (v *verdict) narrow(fits func(*MachineRule) bool) bool {
	var left []MachineRule
	for i := range v.rules {
		if fits(&v.rules[i]) {
			left = append(left, v.rules[i])
		}
	}
	if len(left) == 0 {
		return false
	}
	v.rules = left
	return true
}

func (v *verdict) root() {
	var wants []string
	passed := v.narrow(func(rule *MachineRule) bool {
		roots := rule.Roots
		if len(roots) == 0 && rule.TEE != Sim && rule.TEE != TPM {
			roots = v.facts.VendorRoots[rule.TEE]
		}
		for _, root := range roots {
			wants = append(wants, root.String())
		}
		return !v.claims.Root.IsZero() && slices.Contains(roots, v.claims.Root)
	})
	saw := v.claims.Root.String()
	if v.claims.RootName != "" {
		saw += fmt.Sprintf(" (%.80q)", v.claims.RootName)
	}
	v.add("root", RootRefused, passed, saw, oneOf(wants))
}

func (v *verdict) chip() {
	wants, passed := v.named(v.claims.Chip, func(rule *MachineRule) [][]byte { return rule.Chips })
	v.add("chip", ChipRefused, passed, hex.EncodeToString(v.claims.Chip), wants)
}

// platform lets a rule without platforms pass for simulations alone: any hardware boots anything.
func (v *verdict) platform() {
	wants, passed := v.named(v.claims.Platform, func(rule *MachineRule) [][]byte {
		if len(rule.Platforms) == 0 && rule.TEE != Sim {
			return [][]byte{nil}
		}
		return rule.Platforms
	})
	v.add("platform", PlatformRefused, passed, hex.EncodeToString(v.claims.Platform), wants)
}

// named keeps the rules whose list is empty or has the value; an empty value is on no list.
func (v *verdict) named(value []byte, list func(*MachineRule) [][]byte) (wants string, ok bool) {
	var all []string
	any := false
	ok = v.narrow(func(rule *MachineRule) bool {
		names := list(rule)
		any = any || len(names) == 0
		for _, name := range names {
			all = append(all, hex.EncodeToString(name))
		}
		return len(names) == 0 || len(value) > 0 && slices.ContainsFunc(names, func(name []byte) bool {
			return bytes.Equal(name, value)
		})
	})
	if any {
		return "any", ok
	}
	return oneOf(all), ok
}

func (v *verdict) debug() {
	wants := "no debugging"
	if v.policy.Debug {
		wants = "any"
	}
	saw := "no debugging"
	if v.claims.Debug() {
		saw = "debugging allowed"
	}
	v.add("debug", DebugRefused, v.policy.Debug || !v.claims.Debug(), saw, wants)
}

func (v *verdict) tcb() {
	worst := max(v.policy.TCB, TCBUpToDate)
	status := v.claims.TCB.Status
	v.add("tcb", TCBRefused, status >= TCBUpToDate && status <= worst && status < TCBRevoked,
		status.String(), worst.String()+" or better")
}

// collateral asks nothing of a machine whose status is unknown: the check before it has decided
// whether that is good enough.
func (v *verdict) collateral() {
	t := &v.claims.TCB
	age := v.policy.MaxAge
	if age == 0 {
		age = MaxCollateralAge
	}
	now := int64(v.facts.Now / clock.Instant(clock.Second))
	inForce := t.CollateralAt > 0 && t.CollateralAt <= now && now < t.CollateralEnds &&
		now-t.CollateralAt <= age
	saw := "none"
	if t.CollateralEnds != 0 {
		saw = "from " + momentOf(t.CollateralAt) + " to " + momentOf(t.CollateralEnds)
	}
	v.add("collateral", CollateralExpired, inForce || t.Status == TCBUnknown, saw,
		fmt.Sprintf("in force at %s, at most %d s old", moment(v.facts.Now), age))
}

func (v *verdict) manifest() {
	saw, wants := "none", "a signed manifest"
	if v.claims.Manifest != nil {
		saw = "of " + v.claims.Measure.String()
	}
	if v.policy.Bare {
		wants = "a signed manifest, or none"
	}
	v.add("manifest", ManifestMissing, v.claims.Manifest != nil || v.policy.Bare, saw, wants)
}

func (v *verdict) hostData() {
	want, err := v.launchedFor()
	passed := v.narrow(func(rule *MachineRule) bool {
		return !rule.HostData || err == nil && startsWithRestZero(v.claims.HostData, want)
	})
	wants := "any"
	if slices.ContainsFunc(v.rules, func(rule MachineRule) bool { return rule.HostData }) {
		wants = hex.EncodeToString(want)
	}
	// Without a rule for the machine nothing was asked; that refusal stands above.
	v.add("host_data", HostDataRefused, passed || len(v.rules) == 0,
		hex.EncodeToString(v.claims.HostData), wants)
}

// launchedFor returns what a launcher that means this manifest has set.
func (v *verdict) launchedFor() ([]byte, error) {
	if v.claims.Manifest == nil {
		return nil, errs.New(errs.NotFound, "enclave.decide: no manifest")
	}
	encoded, err := v.claims.Manifest.Encode()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(encoded)
	return sum[:], nil
}

// startsWithRestZero compares with a register that may be longer than the digest.
func startsWithRestZero(register, digest []byte) bool {
	rest, found := bytes.CutPrefix(register, digest)
	return found && len(bytes.Trim(rest, "\x00")) == 0
}

func (v *verdict) measure() {
	wants := make([]string, 0, len(v.policy.Measures)+len(v.policy.Signers))
	for _, m := range v.policy.Measures {
		wants = append(wants, m.String())
	}
	for _, s := range v.policy.Signers {
		wants = append(wants, "product "+s.Product+" of "+s.Signer.String())
	}
	if v.claims.Manifest == nil {
		v.add("measure", MeasureRefused, v.policy.Bare, "no manifest", oneOf(wants))
		return
	}
	saw := v.claims.Measure.String() + ", product " + v.claims.Manifest.Product + " of " +
		v.claims.Signer.String()
	v.add("measure", MeasureRefused, v.listed() || len(v.signed()) > 0, saw, oneOf(wants))
}

// listed reports whether the measurement itself is named.
func (v *verdict) listed() bool {
	return !v.claims.Measure.IsZero() && slices.Contains(v.policy.Measures, v.claims.Measure)
}

// signed returns the rules for the manifest's signer and product.
func (v *verdict) signed() (rules []SignerRule) {
	for _, s := range v.policy.Signers {
		if !s.Signer.IsZero() && s.Signer == v.claims.Signer && s.Product == v.claims.Manifest.Product {
			rules = append(rules, s)
		}
	}
	return rules
}

// svn passes where the measurement is named: whoever lists a build has judged its version.
func (v *verdict) svn() {
	if v.claims.Manifest == nil {
		v.add("svn", SVNRefused, v.policy.Bare, "no manifest", "any")
		return
	}
	saw := strconv.FormatUint(v.claims.Manifest.SVN, 10)
	rules := v.signed()
	if v.listed() || len(rules) == 0 {
		v.add("svn", SVNRefused, true, saw, "any")
		return
	}
	least := rules[0].MinSVN
	for _, rule := range rules {
		least = min(least, rule.MinSVN)
	}
	v.add("svn", SVNRefused, v.claims.Manifest.SVN >= least, saw,
		"at least "+strconv.FormatUint(least, 10))
}

func (v *verdict) contract() {
	if v.policy.Contract.IsZero() {
		v.add("contract", ContractRefused, true, v.contractSeen(), "any")
		return
	}
	passed := v.claims.Manifest != nil && v.claims.Manifest.Contract == v.policy.Contract
	v.add("contract", ContractRefused, passed, v.contractSeen(), v.policy.Contract.String())
}

func (v *verdict) contractSeen() string {
	if v.claims.Manifest == nil || v.claims.Manifest.Contract.IsZero() {
		return "none"
	}
	return v.claims.Manifest.Contract.String()
}

func (v *verdict) logged() {
	saw, wants := "not in the log", "any"
	if v.facts.Logged {
		saw = "in the log"
	}
	if v.policy.Logged {
		wants = "in the log"
	}
	v.add("log", NotLogged, !v.policy.Logged || v.facts.Logged, saw, wants)
}

func (v *verdict) quorum() {
	approved := 0
	for i, owner := range v.policy.Owners {
		if !slices.Contains(v.policy.Owners[:i], owner) && slices.Contains(v.facts.Approvals, owner) {
			approved++
		}
	}
	// A quorum below zero is a policy that Check refuses: it admits nobody.
	v.add("quorum", QuorumMissing, v.policy.Quorum >= 0 && approved >= v.policy.Quorum,
		fmt.Sprintf("%d approved", approved),
		fmt.Sprintf("%d of %d owners", v.policy.Quorum, len(v.policy.Owners)))
}

// uses takes a negative count for one that Check refuses: it admits nobody.
func (v *verdict) uses() {
	saw := fmt.Sprintf("%d ever, %d today", v.facts.Used, v.facts.UsedToday)
	ever, daily := v.policy.Uses, v.policy.Daily
	passed := (ever == 0 || v.facts.Used < ever) && (daily == 0 || v.facts.UsedToday < daily)
	wants := "any number"
	if ever != 0 || daily != 0 {
		wants = fmt.Sprintf("fewer than %d ever and %d a day, where 0 is any number", ever, daily)
	}
	v.add("uses", UsesExhausted, passed, saw, wants)
}

// shownNames bounds the names a check lists: it is read by people and stored with every decision.
const shownNames = 8

func oneOf(names []string) string {
	switch {
	case len(names) == 0:
		return "none is named"
	case len(names) > shownNames:
		return strings.Join(names[:shownNames], " or ") +
			fmt.Sprintf(" or %d more", len(names)-shownNames)
	}
	return strings.Join(names, " or ")
}

// moment shows an instant to the second, in UTC.
func moment(at clock.Instant) string {
	second := uint64(at) / uint64(clock.Second) % (24 * 3600)
	return fmt.Sprintf("%sT%02d:%02d:%02dZ", at.Date(), second/3600, second/60%60, second%60)
}

// momentOf is moment of seconds since 1970, as collateral has them.
func momentOf(seconds int64) string {
	return moment(clock.Instant(max(seconds, 0)) * clock.Instant(clock.Second))
}

// String returns the status in a word or two.
func (s TCBStatus) String() string {
	switch s {
	case TCBUpToDate:
		return "up to date"
	case TCBOutOfDate:
		return "out of date"
	case TCBUnknown:
		return "unknown"
	case TCBRevoked:
		return "revoked"
	}
	return "no status"
}

// approvalDomain keeps an owner's signature from meaning anything else.
const approvalDomain = "surety enclave approval v1\n"

// Approval returns what an owner signs to approve that resources under this policy are released to
// a measurement. It covers the whole policy: a changed one has to be approved again. The order of
// lists counts; an empty list is as none. Kinds as of Check.
func (p *Policy) Approval(measure Digest) ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(struct {
		Measure Digest `json:"measure"`
		Policy  Policy `json:"policy"`
	}{measure, p.plain()})
	if err != nil {
		return nil, errs.As(errs.Internal, err, "enclave.approval")
	}
	return append([]byte(approvalDomain), encoded...), nil
}

// plain returns the policy without lists that are there and empty, which would encode differently
// from absent ones.
func (p *Policy) plain() Policy {
	q := *p
	q.Machines = slices.Clone(q.Machines)
	if len(q.Machines) == 0 {
		q.Machines = nil
	}
	return q
}

var sentences = [...]string{
	Released:          "released",
	PolicyExpired:     "the policy is no longer in force",
	MachineRefused:    "the policy admits no such machine",
	RootRefused:       "the evidence does not end in a root that the policy trusts",
	ChipRefused:       "it is not one of the machines that the policy names",
	PlatformRefused:   "the machine booted something that the policy does not name",
	DebugRefused:      "somebody may look inside: the build or the machine allows debugging",
	TCBRefused:        "the status of the machine's firmware is worse than the policy takes",
	CollateralExpired: "what the vendor says of the machine's firmware is not in force, or too old",
	ManifestMissing:   "nothing says what runs in the machine: the evidence has no manifest",
	HostDataRefused:   "the machine was launched for another manifest",
	MeasureRefused:    "the policy names neither the measurement nor its signer and product",
	SVNRefused:        "the build's security version is lower than the policy takes",
	ContractRefused:   "the program works under another contract than the policy's",
	NotLogged:         "the measurement is not published in the evidence log",
	QuorumMissing:     "owners' approvals of this measurement are missing",
	UsesExhausted:     "it was released as often as the policy allows",
}

// String returns the result as a sentence without its end.
func (r Result) String() string {
	if int(r) < len(sentences) {
		return sentences[r]
	}
	return fmt.Sprintf("result(%d)", uint8(r))
}
