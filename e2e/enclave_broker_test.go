//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"surety/base/clock"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/broker"
	"surety/enclave/client"
	"surety/enclave/pack"
	"surety/sys/wallclock"
)

// owner is somebody who has data, with a broker of its own, in a process of its own, that keeps the
// key to it. It is managed by the socket that only the directory's owner can open.
type owner struct {
	*broker.Remote
	t       *testing.T
	k       *keep
	dir     string
	key     enclave.KeyID // of the broker
	sim     enclave.KeyID // root of the simulation on the machine that its enclaves run on
	process *exec.Cmd
	log     bytes.Buffer

	mu  sync.Mutex
	url string // another one after each start
}

// address is where it listens now.
func (o *owner) address() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.url
}

// ownerTenant is the owner's tenant, and ownerPattern what its policies are for.
const (
	ownerTenant  = "bank"
	ownerPattern = "layer-key/*"
)

// newOwner starts a broker that takes evidence of a keep's machine, as far as its policies do.
func newOwner(t *testing.T, k *keep) *owner {
	t.Helper()
	root, err := attest.SimRoot(attest.Options{SimDir: filepath.Join(k.root, "simulated")})
	if err != nil {
		t.Fatal(err)
	}
	sim, err := attest.SimRootID(root)
	if err != nil {
		t.Fatal(err)
	}
	o := &owner{t: t, k: k, dir: filepath.Join(k.dir, "owner"), sim: sim}
	o.start()
	t.Cleanup(func() {
		o.kill()
		if t.Failed() {
			t.Logf("the broker said: %.4000s", &o.log)
		}
	})
	socket := filepath.Join(o.dir, "admin.sock")
	o.Remote = &broker.Remote{URL: "http://owner", HTTP: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}}
	return o
}

// start starts the broker's process and waits until it listens.
func (o *owner) start() {
	o.t.Helper()
	o.process = o.k.command(context.Background(), "broker", "run", "--dir", o.dir, "-o", "json",
		"--sim-root", filepath.Join(o.k.root, "simulated", "root.pem"))
	out, err := o.process.StdoutPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	o.process.Stderr = &o.log
	if err := o.process.Start(); err != nil {
		o.t.Fatal(err)
	}
	var said struct {
		URL string
		Key enclave.KeyID
	}
	if err := json.NewDecoder(out).Decode(&said); err != nil {
		o.t.Fatalf("the broker's first line: %v", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.url, o.key = said.URL, said.Key
}

// kill ends the broker as a power cut does.
func (o *owner) kill() {
	o.process.Process.Kill()
	o.process.Wait()
}

// entrusted is a design whose secret's key the owner keeps.
func (o *owner) entrusted(d design) design {
	d.layers = strings.ReplaceAll(d.layers, "target:", "key: owner/"+ownerTenant+"/layer-key/word, target:")
	d.more += fmt.Sprintf("\nbrokers: [{name: owner, key: %s}]\n", o.key)
	return d
}

// keeps puts the key of a built project into the broker.
func (o *owner) keeps(project string) {
	o.t.Helper()
	key, err := pack.LoadLayerKey(filepath.Join(project, "keys", "word.key"))
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.PutSecret(context.Background(), ownerTenant, "layer-key", "word", key[:], true); err != nil {
		o.t.Fatal(err)
	}
}

// allows sets the policy.
func (o *owner) allows(p enclave.Policy) {
	o.t.Helper()
	if err := o.SetPolicy(context.Background(), ownerTenant, ownerPattern, p); err != nil {
		o.t.Fatal(err)
	}
}

// signed is a project's signed manifest.
func signed(t *testing.T, project string) enclave.Signed {
	t.Helper()
	b, err := pack.Open(filepath.Join(project, "build"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	return b.Signed()
}

// policy is what lets a project's product have its secret, on this machine.
func (o *owner) policy(project string) enclave.Policy {
	s := signed(o.t, project)
	return enclave.Policy{Name: ownerTenant + "/" + ownerPattern,
		Machines: []enclave.MachineRule{{TEE: enclave.Sim, Roots: []enclave.KeyID{o.sim}}},
		Signers: []enclave.SignerRule{{Signer: s.Signer, Product: s.Manifest.Product,
			MinSVN: s.Manifest.SVN}}}
}

// besieged is a keep with one enclave whose secret an owner elsewhere keeps, and who stands between.
type besieged struct {
	*keep
	owner   *owner
	between *meddler
	project string
	says    string // what the program says of its secret
}

func besiege(t *testing.T, more string) *besieged {
	t.Helper()
	k := newKeep(t)
	o := newOwner(t, k)
	word, says := secretWord(t)
	d := oneSecret("besieged", word)
	d.more = more
	b := &besieged{k, o, meddle(t, o), k.project(o.entrusted(d)), says}
	o.keeps(b.project)
	o.allows(o.policy(b.project))
	return b
}

func (b *besieged) words() []string {
	return []string{"run", "--broker", "owner=" + b.between.url, b.project}
}

// runs sees that the enclave gets its secret: the control of each refusal.
func (b *besieged) runs(when string) {
	b.t.Helper()
	if r := b.surety(b.words()...); r.code != 0 || r.out != b.says {
		b.t.Fatalf("%s: %+v", when, r)
	}
}

// TestEnclavePolicy asks for a secret under policies that each have one thing against it, and under the
// same without.
func TestEnclavePolicy(t *testing.T) {
	t.Parallel()
	b := besiege(t, "")
	s := signed(t, b.project)
	b.runs("under the right policy")
	other := enclave.KeyID{1, 2, 3}
	for _, row := range []struct {
		name  string
		want  enclave.Result
		spoil func(*enclave.Policy)
	}{
		{"expired", enclave.PolicyExpired, func(p *enclave.Policy) {
			p.Expires = wallclock.System().Now().Add(-clock.Second)
		}},
		{"for hardware alone", enclave.MachineRefused, func(p *enclave.Policy) {
			p.Machines = []enclave.MachineRule{{TEE: enclave.SNP, Platforms: [][]byte{make([]byte, 48)}},
				{TEE: enclave.TDX, Platforms: [][]byte{make([]byte, 48)}}}
		}},
		{"for another simulation", enclave.RootRefused, func(p *enclave.Policy) {
			p.Machines[0].Roots = []enclave.KeyID{other}
		}},
		{"for another machine", enclave.ChipRefused, func(p *enclave.Policy) {
			p.Machines[0].Chips = [][]byte{make([]byte, 64)}
		}},
		{"for another runtime", enclave.PlatformRefused, func(p *enclave.Policy) {
			p.Machines[0].Platforms = [][]byte{make([]byte, 48)}
		}},
		{"for another measurement", enclave.MeasureRefused, func(p *enclave.Policy) {
			p.Signers, p.Measures = nil, []enclave.Digest{{1}}
		}},
		{"for another signer", enclave.MeasureRefused, func(p *enclave.Policy) {
			p.Signers[0].Signer = other
		}},
		{"for another product", enclave.MeasureRefused, func(p *enclave.Policy) {
			p.Signers[0].Product = "another"
		}},
		{"for newer builds", enclave.SVNRefused, func(p *enclave.Policy) { p.Signers[0].MinSVN++ }},
		{"under a contract", enclave.ContractRefused, func(p *enclave.Policy) {
			p.Contract = enclave.Digest{1}
		}},
		{"for published builds", enclave.NotLogged, func(p *enclave.Policy) { p.Logged = true }},
		{"with an owner's approval", enclave.QuorumMissing, func(p *enclave.Policy) {
			p.Owners, p.Quorum = []enclave.KeyID{other}, 1
		}},
	} {
		p := b.owner.policy(b.project)
		row.spoil(&p)
		b.owner.allows(p)
		b.refused([]string{row.want.String()}, b.words()...)
		b.owner.allows(b.owner.policy(b.project))
		b.runs("after the policy " + row.name)
	}
	p := b.owner.policy(b.project)
	p.Signers, p.Measures = nil, []enclave.Digest{s.Measure}
	b.owner.allows(p)
	b.runs("by its measurement")

	p.Uses = 2
	b.owner.allows(p)
	b.runs("once")
	b.runs("twice")
	b.refused([]string{enclave.UsesExhausted.String()}, b.words()...)
	b.recordedRefusals()
}

// recordedRefusals sees that each refusal and each release has its record, with a reason and the word
// of what the evidence rests on.
func (b *besieged) recordedRefusals() {
	b.t.Helper()
	list, err := b.owner.Outcomes(context.Background(), ownerTenant, 500)
	if err != nil {
		b.t.Fatal(err)
	}
	released, refused := 0, 0
	for _, o := range list {
		switch {
		case o.Act == "released":
			released++
		case o.Reason != "":
			refused++
		}
		if o.Resource != "" && o.Guarantee != enclave.Simulated {
			b.t.Errorf("a record of simulated evidence has the guarantee %q: %+v", o.Guarantee, o)
		}
	}
	if released < 16 || refused < 13 {
		b.t.Errorf("%d releases and %d refusals are recorded, of 16 and 13", released, refused)
	}
}

// TestEnclaveQuorum waits for the approval of whoever has a say.
func TestEnclaveQuorum(t *testing.T) {
	t.Parallel()
	b := besiege(t, "")
	measure := signed(t, b.project).Measure
	p := b.owner.policy(b.project)
	var keys []ed25519.PrivateKey
	for range 3 {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, private)
		p.Owners = append(p.Owners, enclave.KeyIDOf(public))
	}
	p.Quorum = 2
	b.owner.allows(p)
	missing := []string{enclave.QuorumMissing.String()}
	approve := func(key ed25519.PrivateKey, p enclave.Policy, m enclave.Digest) error {
		what, err := p.Approval(m)
		if err != nil {
			t.Fatal(err)
		}
		return b.owner.Approve(context.Background(), ownerTenant, ownerPattern, m,
			key.Public().(ed25519.PublicKey), ed25519.Sign(key, what))
	}
	b.refused(missing, b.words()...)
	if err := approve(keys[0], p, measure); err != nil {
		t.Fatal(err)
	}
	b.refused(missing, b.words()...)
	if err := approve(keys[0], p, measure); err != nil { // twice the same is one
		t.Fatal(err)
	}
	b.refused(missing, b.words()...)
	if err := approve(keys[1], p, enclave.Digest{1}); err != nil { // of another build
		t.Fatal(err)
	}
	b.refused(missing, b.words()...)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := approve(stranger, p, measure); err == nil {
		b.refused(missing, b.words()...)
	}
	if err := approve(keys[1], p, measure); err != nil {
		t.Fatal(err)
	}
	b.runs("with two approvals of three")

	p.Quorum, p.Uses = 1, 100 // another policy: nobody approved that
	b.owner.allows(p)
	b.refused(missing, b.words()...)
}

// TestEnclaveBuilds asks with builds that the policy was not made for.
func TestEnclaveBuilds(t *testing.T) {
	t.Parallel()
	b := besiege(t, "svn: 3")
	word := readBytes(t, filepath.Join(b.project, "secrets", "word", "word"))
	p := b.owner.policy(b.project)
	rebuild := func(more string) {
		t.Helper()
		d := oneSecret("besieged", word)
		d.more = more
		b.design(b.project, b.owner.entrusted(d))
		b.must("build", b.project)
	}
	contract, another := enclave.Digest{7}, enclave.Digest{8}
	for _, row := range []struct {
		name, more string
		want       enclave.Result
	}{
		{"debug", "svn: 3\ndebug: true", enclave.DebugRefused},
		{"older", "svn: 2", enclave.SVNRefused},
		{"another product", "svn: 3\nproduct: another", enclave.MeasureRefused},
		{"newer", "svn: 4", enclave.Released},
		{"the same", "svn: 3", enclave.Released},
	} {
		rebuild(row.more)
		if row.want == enclave.Released {
			b.runs(row.name)
			continue
		}
		b.refused([]string{row.want.String()}, b.words()...)
	}
	rebuild("svn: 3\ndebug: true")
	p.Debug = true
	b.owner.allows(p)
	b.runs("a debug build, where the policy says so")

	p.Debug, p.Contract = false, contract
	b.owner.allows(p)
	rebuild("svn: 3\ncontract: " + contract.String())
	b.runs("under the contract")
	rebuild("svn: 3\ncontract: " + another.String())
	b.refused([]string{enclave.ContractRefused.String()}, b.words()...)
	rebuild("svn: 3\ncontract: " + contract.String() + "\nenv: [MORE=1]")
	b.runs("under the contract again")
}

// TestEnclaveBetween changes what passes between an enclave and its broker.
func TestEnclaveBetween(t *testing.T) {
	t.Parallel()
	b := besiege(t, "")
	m := b.between

	var attestation, release []byte // of an earlier session
	keepThem := func(into *[]byte) func([]byte) []byte {
		return func(body []byte) []byte { *into = body; return body }
	}
	m.set(at(client.PathAttest, keepThem(&attestation)), at(client.PathResource, keepThem(&release)))
	b.runs("overheard")
	if len(attestation) == 0 || len(release) == 0 {
		t.Fatal("nothing was overheard")
	}
	old := func(was []byte) func([]byte) []byte { return func([]byte) []byte { return was } }
	_, forger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	in := func(change func(*enclave.Evidence)) func(string, []byte) []byte {
		return at(client.PathAttest, inEvidence(t, change))
	}
	report := func(share float64) func(*enclave.Evidence) {
		return func(e *enclave.Evidence) { e.Report = flipped(e.Report, share) }
	}
	for _, row := range []struct {
		name        string
		ask, answer func(string, []byte) []byte
		path        string // that must have been asked for, so that the row is no empty one
	}{
		{"an old attestation again", at(client.PathAttest, old(attestation)), nil, client.PathAttest},
		{"an old challenge", nil, at(client.PathAuth, edit(t, func(c *client.Challenge) {
			var a client.Attestation
			var r client.RuntimeData
			decodeJSON(t, attestation, &a)
			decodeJSON(t, a.RuntimeData, &r)
			c.Nonce = r.Nonce
		})), client.PathAttest},
		{"another nonce beside the evidence", at(client.PathAttest, inRuntime(t, func(r *client.RuntimeData) {
			r.Nonce = strings.Repeat("A", 43) + "="
		})), nil, client.PathAttest},
		{"a key of ours beside the evidence", at(client.PathAttest, inRuntime(t, func(r *client.RuntimeData) {
			r.Key = ourKey(t)
		})), nil, client.PathAttest},
		{"a report with its first byte changed", in(report(0)), nil, client.PathAttest},
		{"a report with its data changed", in(report(0.08)), nil, client.PathAttest},
		{"a report with its measurement changed", in(report(0.13)), nil, client.PathAttest},
		{"a report with its signature changed", in(report(0.6)), nil, client.PathAttest},
		{"a report cut off", in(func(e *enclave.Evidence) { e.Report = e.Report[:len(e.Report)-1] }), nil,
			client.PathAttest},
		{"a manifest with a byte changed", in(func(e *enclave.Evidence) { e.Signed = flipped(e.Signed, 0.5) }), nil,
			client.PathAttest},
		{"a manifest with its signature changed", in(func(e *enclave.Evidence) { e.Signed = flipped(e.Signed, 1) }), nil,
			client.PathAttest},
		{"the machine's certificate changed", in(func(e *enclave.Evidence) { e.Support = flipped(e.Support, 0.2) }), nil,
			client.PathAttest},
		{"evidence that says hardware", in(func(e *enclave.Evidence) { e.TEE = enclave.SNP }), nil,
			client.PathAttest},
		{"evidence for another purpose", in(func(e *enclave.Evidence) { e.Purpose = enclave.ForAudit }), nil,
			client.PathAttest},
		{"a token that somebody else signed", nil, at(client.PathAttest, edit(t, func(a *client.TokenAnswer) {
			a.Token = forgedToken(t, forger)
		})), client.PathAttest},
		{"a token with a byte changed", nil, at(client.PathAttest, edit(t, func(a *client.TokenAnswer) {
			a.Token = string(flipped([]byte(a.Token), 0.4))
		})), client.PathAttest},
		{"an old answer again", nil, at(client.PathResource, old(release)), client.PathResource},
		{"an answer with a sealed byte changed", nil, at(client.PathResource, edit(t, func(s *client.Sealed) {
			s.Sealed = flipped(s.Sealed, 0.9)
		})), client.PathResource},
		{"an answer of somebody else", nil, at(client.PathResource, edit(t, func(s *client.Sealed) {
			s.Key = forger.Public().(ed25519.PublicKey)
			s.Signature = ed25519.Sign(forger, s.Sealed)
		})), client.PathResource},
		{"an answer under another record", nil, at(client.PathResource, edit(t, func(s *client.Sealed) {
			s.Record = string(flipped([]byte(s.Record), 0.5))
		})), client.PathResource},
	} {
		m.set(row.ask, row.answer)
		r := b.surety(b.words()...)
		if r.code == 0 || r.out != "" || r.errors == "" {
			t.Errorf("%s: not refused: %+v", row.name, r)
		}
		if m.count(row.path) == 0 {
			t.Errorf("%s: %s was never asked for: %+v", row.name, row.path, r)
		}
		m.set(nil, nil)
		b.runs("after " + row.name)
	}

	t.Run("another broker", func(t *testing.T) {
		k := newKeep(t)
		stranger := newOwner(t, k)
		stranger.keeps(b.project)
		stranger.allows(b.owner.policy(b.project))
		b.refused(nil, "run", "--broker", "owner="+stranger.address(), b.project)
	})
}
