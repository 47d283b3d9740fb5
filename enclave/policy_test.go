package enclave_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
)

const now = 1_700_000_000 * clock.Instant(clock.Second)

func key(n byte) enclave.KeyID     { return enclave.KeyID{31: n} }
func digest(n byte) enclave.Digest { return enclave.Digest{47: n} }

// strict is a policy with a rule of every sort.
func strict() enclave.Policy {
	return enclave.Policy{
		Name: "bank/model/credit", Expires: now + 1,
		Machines: []enclave.MachineRule{{TEE: enclave.SNP, Roots: []enclave.KeyID{key(1)},
			Platforms: [][]byte{{1}}, Chips: [][]byte{{2}}, HostData: true}},
		Signers:  []enclave.SignerRule{{Signer: key(3), Product: "credit", MinSVN: 4}},
		Logged:   true,
		Contract: digest(5),
		Owners:   []enclave.KeyID{key(6), key(7), key(8)}, Quorum: 2,
		Uses: 3, Daily: 2,
	}
}

// manifest is one that strict admits.
func manifest() *enclave.Manifest {
	return &enclave.Manifest{Format: 1, Name: "credit", Product: "credit", SVN: 4,
		Contract: digest(5), Command: []string{"/score"}, Cwd: "/", Network: "none",
		Layers: []enclave.Layer{{Name: "root", Kind: enclave.Public, Target: "/", Bytes: 4096,
			Digest: [32]byte{1}, Verity: [32]byte{2}, Salt: sha256.Sum256([]byte("root"))}}}
}

// good are claims and facts that strict admits.
func good(t *testing.T) (enclave.Claims, enclave.Facts) {
	t.Helper()
	m := manifest()
	encoded, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(encoded)
	at := int64(now / clock.Instant(clock.Second))
	return enclave.Claims{
			TEE: enclave.SNP, Root: key(1), RootName: "ARK-Milan", Platform: []byte{1}, Chip: []byte{2},
			HostData: sum[:], Manifest: m, Measure: digest(9), Signer: key(3),
			TCB: enclave.TCB{Status: enclave.TCBUpToDate, CollateralAt: at - 5, CollateralEnds: at + 1},
		}, enclave.Facts{Now: now, Logged: true, Used: 2, UsedToday: 1,
			Approvals: []enclave.KeyID{key(6), key(8)}}
}

// defect is one thing that is wrong, how to make it, and what refuses it.
type defect struct {
	name   string
	result enclave.Result
	spoil  func(*enclave.Policy, *enclave.Claims, *enclave.Facts)
}

// defects stand in the order of precedence.
var defects = []defect{
	{"expired", enclave.PolicyExpired, func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) {
		p.Expires = now
	}},
	{"machine", enclave.MachineRefused, func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
		c.TEE = enclave.Sim
	}},
	{"root", enclave.RootRefused, func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
		c.Root = key(99)
	}},
	{"chip", enclave.ChipRefused, func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
		c.Chip = []byte{99}
	}},
	{"platform", enclave.PlatformRefused, func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
		c.Platform = []byte{99}
	}},
	{"debug", enclave.DebugRefused, func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
		c.PlatformDebug = true
	}},
	{"tcb", enclave.TCBRefused, func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
		c.TCB.Status = enclave.TCBOutOfDate
	}},
	{"collateral", enclave.CollateralExpired,
		func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) { c.TCB.CollateralEnds-- }},
	{"manifest", enclave.ManifestMissing, func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
		c.Manifest, c.Measure, c.Signer = nil, enclave.Digest{}, enclave.KeyID{}
	}},
	{"host data", enclave.HostDataRefused, func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
		c.HostData = bytes.Repeat([]byte{7}, 32)
	}},
	{"measure", enclave.MeasureRefused, func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
		c.Signer = key(98)
	}},
	{"svn", enclave.SVNRefused, func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) {
		p.Signers[0].MinSVN = 5
	}},
	{"contract", enclave.ContractRefused, func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) {
		p.Contract = digest(97)
	}},
	{"log", enclave.NotLogged, func(_ *enclave.Policy, _ *enclave.Claims, f *enclave.Facts) {
		f.Logged = false
	}},
	{"quorum", enclave.QuorumMissing, func(_ *enclave.Policy, _ *enclave.Claims, f *enclave.Facts) {
		f.Approvals = []enclave.KeyID{key(6), key(6), key(96)}
	}},
	{"uses", enclave.UsesExhausted, func(_ *enclave.Policy, _ *enclave.Claims, f *enclave.Facts) {
		f.Used = 3
	}},
}

// TestDecideInOrder begins with every defect and mends one a row: the result is always the first
// that is left.
func TestDecideInOrder(t *testing.T) {
	for from := 0; from <= len(defects); from++ {
		p := strict()
		c, f := good(t)
		for _, d := range defects[from:] {
			d.spoil(&p, &c, &f)
		}
		want := enclave.Released
		name := "none left"
		if from < len(defects) {
			want, name = defects[from].result, defects[from].name
		}
		got := p.Decide(&c, f)
		if got.Result != want {
			t.Errorf("%s: got %d (%s), want %d", name, got.Result, got.Result, want)
		}
		checkList(t, got)
	}
}

// checkList sees that every check was made, once, and that the result is the first that failed.
func checkList(t *testing.T, d enclave.Decision) {
	t.Helper()
	if len(d.Checks) != int(enclave.UsesExhausted) {
		t.Fatalf("%d checks, want %d", len(d.Checks), enclave.UsesExhausted)
	}
	first := enclave.Released
	for i, check := range d.Checks {
		if check.Result != enclave.Result(i+1) {
			t.Errorf("check %d (%s) refuses with %d", i, check.Name, check.Result)
		}
		if check.Name == "" || check.Wants == "" {
			t.Errorf("check %d says nothing: %+v", i, check)
		}
		if !check.Passed && first == enclave.Released {
			first = check.Result
		}
	}
	if first != d.Result {
		t.Errorf("the first failed check is %d, the result %d", first, d.Result)
	}
}

// TestDecideEachAlone makes each defect by itself: it alone is refused, with its own result.
func TestDecideEachAlone(t *testing.T) {
	for _, d := range defects {
		p := strict()
		c, f := good(t)
		d.spoil(&p, &c, &f)
		if got := p.Decide(&c, f); got.Result != d.result {
			t.Errorf("%s: got %d (%s), want %d", d.name, got.Result, got.Result, d.result)
		}
	}
}

// TestDecideEdges are rows that differ from what is admitted, or refused, in one detail.
func TestDecideEdges(t *testing.T) {
	type change = func(*enclave.Policy, *enclave.Claims, *enclave.Facts)
	rows := []struct {
		name string
		want enclave.Result
		make change
	}{
		{"the zero policy", enclave.MachineRefused,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) { *p = enclave.Policy{} }},
		{"a policy that never expires", enclave.Released,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) { p.Expires = 0 }},
		{"the vendor's own root", enclave.Released,
			func(p *enclave.Policy, _ *enclave.Claims, f *enclave.Facts) {
				p.Machines[0].Roots = nil
				f.VendorRoots = map[enclave.TEE][]enclave.KeyID{enclave.SNP: {key(1)}}
			}},
		{"another vendor's root", enclave.RootRefused,
			func(p *enclave.Policy, _ *enclave.Claims, f *enclave.Facts) {
				p.Machines[0].Roots = nil
				f.VendorRoots = map[enclave.TEE][]enclave.KeyID{enclave.TDX: {key(1)}}
			}},
		{"no root at all", enclave.RootRefused,
			func(p *enclave.Policy, c *enclave.Claims, f *enclave.Facts) {
				p.Machines[0].Roots, c.Root = []enclave.KeyID{{}}, enclave.KeyID{}
			}},
		{"a simulation with a rule that names no root", enclave.RootRefused,
			func(p *enclave.Policy, c *enclave.Claims, f *enclave.Facts) {
				c.TEE, p.Machines[0].TEE, p.Machines[0].Roots = enclave.Sim, enclave.Sim, nil
				f.VendorRoots = map[enclave.TEE][]enclave.KeyID{enclave.Sim: {key(1)}}
			}},
		{"a simulation whose root is named", enclave.Released,
			func(p *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
				c.TEE, p.Machines[0].TEE = enclave.Sim, enclave.Sim
			}},
		{"hardware without platforms, past Check", enclave.PlatformRefused,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) { p.Machines[0].Platforms = nil }},
		{"a machine without a chip id", enclave.ChipRefused,
			func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) { c.Chip = nil }},
		{"any chip", enclave.Released,
			func(p *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
				p.Machines[0].Chips, c.Chip = nil, []byte{99}
			}},
		{"the second rule for the machine", enclave.Released,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) {
				other := p.Machines[0]
				other.Chips = [][]byte{{77}}
				p.Machines = []enclave.MachineRule{other, p.Machines[0]}
			}},
		{"one rule has the chip and another the platform", enclave.PlatformRefused,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) {
				other := p.Machines[0]
				other.Chips = [][]byte{{77}}
				p.Machines[0].Platforms = [][]byte{{77}}
				p.Machines = append(p.Machines, other)
			}},
		{"a debug build", enclave.DebugRefused,
			func(p *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
				c.Manifest.Debug, p.Machines[0].HostData = true, false
			}},
		{"a debug build where the policy takes them", enclave.Released,
			func(p *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
				c.PlatformDebug, p.Debug = true, true
			}},
		{"no status", enclave.TCBRefused,
			func(p *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
				c.TCB.Status, p.TCB = 0, enclave.TCBUnknown
			}},
		{"revoked firmware, past Check", enclave.TCBRefused,
			func(p *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
				c.TCB.Status, p.TCB = enclave.TCBRevoked, enclave.TCBRevoked
			}},
		{"unknown firmware, taken", enclave.Released,
			func(p *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
				c.TCB, p.TCB = enclave.TCB{Status: enclave.TCBUnknown}, enclave.TCBUnknown
			}},
		{"up to date by nobody's word", enclave.CollateralExpired,
			func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
				c.TCB = enclave.TCB{Status: enclave.TCBUpToDate}
			}},
		{"collateral of tomorrow", enclave.CollateralExpired,
			func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) { c.TCB.CollateralAt += 6 }},
		{"collateral older than the policy takes", enclave.CollateralExpired,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) { p.MaxAge = 4 }},
		{"collateral as old as the policy takes", enclave.Released,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) { p.MaxAge = 5 }},
		{"host data in a longer register", enclave.Released,
			func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
				c.HostData = append(c.HostData[:32:32], make([]byte, 16)...)
			}},
		{"host data with something behind it", enclave.HostDataRefused,
			func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
				c.HostData = append(c.HostData[:32:32], 1)
			}},
		{"no host data", enclave.HostDataRefused,
			func(_ *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) { c.HostData = nil }},
		{"another product of the signer", enclave.MeasureRefused,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) { p.Signers[0].Product = "x" }},
		{"the measurement itself, with an old version", enclave.Released,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) {
				p.Signers[0].MinSVN, p.Measures = 5, []enclave.Digest{digest(9)}
			}},
		{"a newer version", enclave.Released,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) { p.Signers[0].MinSVN = 3 }},
		{"no program named", enclave.MeasureRefused,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) { p.Signers = nil }},
		{"a machine without a manifest", enclave.Released, bareMachine},
		{"bare, with a manifest that is not named", enclave.MeasureRefused,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) { p.Bare, p.Signers = true, nil }},
		{"bare, under a contract", enclave.ContractRefused,
			func(p *enclave.Policy, c *enclave.Claims, f *enclave.Facts) {
				bareMachine(p, c, f)
				p.Contract = digest(5)
			}},
		{"a quorum below zero, past Check", enclave.QuorumMissing,
			func(p *enclave.Policy, _ *enclave.Claims, _ *enclave.Facts) { p.Quorum = -1 }},
		{"an owner who is listed twice, past Check", enclave.QuorumMissing,
			func(p *enclave.Policy, _ *enclave.Claims, f *enclave.Facts) {
				p.Owners, f.Approvals = []enclave.KeyID{key(6), key(6)}, []enclave.KeyID{key(6)}
			}},
		{"often enough today", enclave.UsesExhausted,
			func(_ *enclave.Policy, _ *enclave.Claims, f *enclave.Facts) { f.UsedToday = 2 }},
		{"without a bound", enclave.Released,
			func(p *enclave.Policy, _ *enclave.Claims, f *enclave.Facts) {
				p.Uses, p.Daily, f.Used, f.UsedToday = 0, 0, 1<<40, 1<<40
			}},
		{"a bound below zero, past Check", enclave.UsesExhausted,
			func(p *enclave.Policy, _ *enclave.Claims, f *enclave.Facts) { p.Uses, f.Used = -1, 0 }},
	}
	for _, row := range rows {
		p := strict()
		c, f := good(t)
		row.make(&p, &c, &f)
		got := p.Decide(&c, f)
		if got.Result != row.want {
			t.Errorf("%s: got %d (%s), want %d (%s)", row.name, got.Result, got.Result, row.want, row.want)
		}
		checkList(t, got)
	}
}

// bareMachine makes the claims those of a machine without a manifest, and the policy take it.
func bareMachine(p *enclave.Policy, c *enclave.Claims, _ *enclave.Facts) {
	p.Bare, p.Contract, p.Signers, p.Machines[0].HostData = true, enclave.Digest{}, nil, false
	c.Manifest, c.Measure, c.Signer = nil, enclave.Digest{}, enclave.KeyID{}
}

// TestPolicyCheck refuses what makes no sense, and what is dangerous by oversight.
func TestPolicyCheck(t *testing.T) {
	rows := []struct {
		names string // in the error
		spoil func(*enclave.Policy)
	}{
		{"name has", func(p *enclave.Policy) { p.Name = "a\nb" }},
		{"name has", func(p *enclave.Policy) { p.Name = strings.Repeat("x", enclave.MaxPolicyName+1) }},
		{"machines has 257", func(p *enclave.Policy) { p.Machines = make([]enclave.MachineRule, 257) }},
		{"measures has 257", func(p *enclave.Policy) { p.Measures = make([]enclave.Digest, 257) }},
		{"signers has 257", func(p *enclave.Policy) { p.Signers = make([]enclave.SignerRule, 257) }},
		{"owners has 257", func(p *enclave.Policy) { p.Owners = make([]enclave.KeyID, 257) }},
		{"machines[0].tee", func(p *enclave.Policy) { p.Machines[0].TEE = "sgx" }},
		{"machines[0].roots names none", func(p *enclave.Policy) {
			p.Machines[0].TEE, p.Machines[0].Roots = enclave.Sim, nil
		}},
		{"machines[0].roots names none", func(p *enclave.Policy) {
			p.Machines[0].TEE, p.Machines[0].Roots = enclave.TPM, nil
		}},
		{"machines[0].roots has an empty", func(p *enclave.Policy) {
			p.Machines[0].Roots = []enclave.KeyID{{}}
		}},
		{"machines[0].platforms names none: hardware", func(p *enclave.Policy) {
			p.Machines[0].Platforms = nil
		}},
		{"machines[0].platforms names none, and bare", func(p *enclave.Policy) {
			p.Bare = true
			p.Machines[0].TEE, p.Machines[0].Platforms = enclave.Sim, nil
		}},
		{"machines[0].host_data", func(p *enclave.Policy) { p.Bare = true }},
		{"machines[0] has a list", func(p *enclave.Policy) { p.Machines[0].Chips = make([][]byte, 257) }},
		{"machines[0].platforms[1]", func(p *enclave.Policy) {
			p.Machines[0].Platforms = [][]byte{{1}, {}}
		}},
		{"machines[0].chips[0]", func(p *enclave.Policy) {
			p.Machines[0].Chips = [][]byte{make([]byte, 65)}
		}},
		{"measures has an empty", func(p *enclave.Policy) { p.Measures = make([]enclave.Digest, 1) }},
		{"signers[0].signer", func(p *enclave.Policy) { p.Signers[0].Signer = enclave.KeyID{} }},
		{"signers[0].product", func(p *enclave.Policy) { p.Signers[0].Product = "" }},
		{"product has", func(p *enclave.Policy) { p.Signers[0].Product = "a\x00" }},
		{"tcb is 4", func(p *enclave.Policy) { p.TCB = enclave.TCBRevoked }},
		{"max_age", func(p *enclave.Policy) { p.MaxAge = -1 }},
		{"uses", func(p *enclave.Policy) { p.Uses = -1 }},
		{"daily", func(p *enclave.Policy) { p.Daily = -1 }},
		{"owners has an empty", func(p *enclave.Policy) { p.Owners[0] = enclave.KeyID{} }},
		{"quorum is 4 of 3", func(p *enclave.Policy) { p.Quorum = 4 }},
		{"quorum is -1", func(p *enclave.Policy) { p.Quorum = -1 }},
		{"quorum is 0", func(p *enclave.Policy) { p.Quorum = 0 }},
		{"owners[1] is there twice", func(p *enclave.Policy) { p.Owners[1] = p.Owners[0] }},
	}
	for _, row := range rows {
		p := strict()
		row.spoil(&p)
		err := p.Check()
		if !errs.Is(err, errs.Invalid) && !errs.Is(err, errs.TooLarge) ||
			!strings.Contains(err.Error(), row.names) {
			t.Errorf("want an error with %q, got %v", row.names, err)
		}
		if _, err := p.Approval(digest(1)); err == nil {
			t.Errorf("%s: a policy that makes no sense can be approved", row.names)
		}
	}
	p := strict()
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	if err := new(enclave.Policy).Check(); err != nil {
		t.Errorf("the zero policy: %v", err)
	}
}

// TestApprovalCoversAll changes each field of a policy: what owners sign is another every time, and
// the same for the same policy after a journey as JSON.
func TestApprovalCoversAll(t *testing.T) {
	approve := func(p enclave.Policy, measure enclave.Digest) string {
		t.Helper()
		b, err := p.Approval(measure)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	seen := map[string]string{approve(strict(), digest(1)): "as it was"}
	changes := map[string]func(*enclave.Policy){
		"name":      func(p *enclave.Policy) { p.Name = "x" },
		"expires":   func(p *enclave.Policy) { p.Expires++ },
		"tee":       func(p *enclave.Policy) { p.Machines[0].TEE = enclave.TDX },
		"roots":     func(p *enclave.Policy) { p.Machines[0].Roots = nil },
		"platforms": func(p *enclave.Policy) { p.Machines[0].Platforms = [][]byte{{1, 0}} },
		"chips":     func(p *enclave.Policy) { p.Machines[0].Chips = nil },
		"host data": func(p *enclave.Policy) { p.Machines[0].HostData = false },
		"machines":  func(p *enclave.Policy) { p.Machines = append(p.Machines, p.Machines[0]) },
		"measures":  func(p *enclave.Policy) { p.Measures = []enclave.Digest{digest(1)} },
		"signer":    func(p *enclave.Policy) { p.Signers[0].Signer = key(4) },
		"product":   func(p *enclave.Policy) { p.Signers[0].Product = "y" },
		"svn":       func(p *enclave.Policy) { p.Signers[0].MinSVN = 0 },
		"bare":      func(p *enclave.Policy) { p.Bare, p.Machines[0].HostData = true, false },
		"debug":     func(p *enclave.Policy) { p.Debug = true },
		"tcb":       func(p *enclave.Policy) { p.TCB = enclave.TCBUnknown },
		"max age":   func(p *enclave.Policy) { p.MaxAge = 1 },
		"logged":    func(p *enclave.Policy) { p.Logged = false },
		"contract":  func(p *enclave.Policy) { p.Contract = enclave.Digest{} },
		"owners":    func(p *enclave.Policy) { p.Owners = p.Owners[:2] },
		"quorum":    func(p *enclave.Policy) { p.Quorum = 1 },
		"uses":      func(p *enclave.Policy) { p.Uses = 4 },
		"daily":     func(p *enclave.Policy) { p.Daily = 0 },
	}
	for name, change := range changes {
		p := strict()
		change(&p)
		text := approve(p, digest(1))
		if other, found := seen[text]; found {
			t.Errorf("%s: the same approval as %s", name, other)
		}
		seen[text] = name
	}
	if approve(strict(), digest(2)) == approve(strict(), digest(1)) {
		t.Error("another measurement has the same approval")
	}
	p := strict()
	stored, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back enclave.Policy
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	if approve(back, digest(1)) != approve(p, digest(1)) {
		t.Error("the approval does not survive storing the policy")
	}
}

// TestResultSentences sees that each result says something of its own.
func TestResultSentences(t *testing.T) {
	seen := map[string]bool{}
	for r := enclave.Released; r <= enclave.UsesExhausted; r++ {
		if s := r.String(); s == "" || seen[s] || strings.HasSuffix(s, ".") {
			t.Errorf("result %d says %q", r, s)
		} else {
			seen[s] = true
		}
	}
	if got := enclave.Result(99).String(); got != "result(99)" {
		t.Errorf("got %q", got)
	}
}
