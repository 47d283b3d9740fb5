package broker_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/broker"
	"surety/enclave/client"
)

// TestRelease takes a secret through the whole exchange and finds its record.
func TestRelease(t *testing.T) {
	w := newWorld(t)
	w.put("bank", "key", "model", "the secret", w.machine.policy())
	b := newBuild(t, w.machine, signerKey, nil)
	for _, fips := range []bool{false, true} {
		c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Attester: b,
			Clock: w.clock, FIPS: fips, Trace: ident.Derive("run")})
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Attest(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		secret, err := s.Release(context.Background(), "bank/key/model")
		if err != nil || string(secret) != "the secret" {
			t.Fatalf("got %q, %v", secret, err)
		}
		o := w.newest()
		if o.Act != "released" || o.Tenant != "bank" || o.Resource != "bank/key/model" ||
			o.Measure != b.Measure() || o.Guarantee != enclave.Simulated || o.TEE != enclave.Sim ||
			o.Signer != id(signerKey) || o.Product != "credit" || o.SVN != 4 || o.Reason != "" ||
			o.Policy != "bank/key/model" || len(o.Checks) == 0 || o.Trace != ident.Derive("run") {
			t.Errorf("the record is %+v", o)
		}
		if got := s.Releases(); len(got) != 1 || got[0].Record != o.ID {
			t.Errorf("the session says %v, the record is %s", got, o.ID)
		}
		_, err = s.Release(context.Background(), "bank/key")
		refused(t, err, errs.Invalid, "is not REPOSITORY/TYPE/TAG")
	}
}

// TestReleaseRefused makes one thing wrong a row: what the guest hears names it, and the record has
// it.
func TestReleaseRefused(t *testing.T) {
	w := newWorld(t)
	rows := []struct {
		name   string
		says   string
		key    ed25519.PrivateKey
		build  func(*enclave.Manifest)
		policy func(*enclave.Policy)
	}{
		{name: "simulated under a hardware policy", says: "admits no such machine",
			policy: func(p *enclave.Policy) {
				p.Machines = []enclave.MachineRule{{TEE: enclave.SNP, Platforms: [][]byte{w.machine.platform}}}
			}},
		{name: "another simulation's root", says: "does not end in a root",
			policy: func(p *enclave.Policy) { p.Machines[0].Roots = []enclave.KeyID{{1}} }},
		{name: "another machine", says: "not one of the machines",
			policy: func(p *enclave.Policy) { p.Machines[0].Chips = [][]byte{{1}} }},
		{name: "another platform", says: "booted something",
			policy: func(p *enclave.Policy) { p.Machines[0].Platforms = [][]byte{{1}} }},
		{name: "debug", says: "allows debugging", build: func(m *enclave.Manifest) { m.Debug = true }},
		{name: "signer", says: "neither the measurement nor its signer", key: otherKey},
		{name: "product", says: "neither the measurement nor its signer",
			build: func(m *enclave.Manifest) { m.Product = "debit" }},
		{name: "measurement", says: "neither the measurement nor its signer",
			policy: func(p *enclave.Policy) { p.Signers, p.Measures = nil, []enclave.Digest{{1}} }},
		{name: "version", says: "security version", build: func(m *enclave.Manifest) { m.SVN = 3 }},
		{name: "contract", says: "another contract",
			policy: func(p *enclave.Policy) { p.Contract = enclave.Digest{1} }},
		{name: "changed contract", says: "another contract",
			build:  func(m *enclave.Manifest) { m.Contract = enclave.Digest{2} },
			policy: func(p *enclave.Policy) { p.Contract = enclave.Digest{1} }},
		{name: "not logged", says: "not published", policy: func(p *enclave.Policy) { p.Logged = true }},
		{name: "nobody approved", says: "approvals of this measurement are missing",
			policy: func(p *enclave.Policy) { p.Owners, p.Quorum = []enclave.KeyID{id(ownerKey)}, 1 }},
		{name: "expired", says: "no longer in force",
			policy: func(p *enclave.Policy) { p.Expires = w.clock.Now() }},
	}
	for i, row := range rows {
		tag := "s" + string(rune('a'+i))
		p := w.machine.policy()
		if row.policy != nil {
			row.policy(&p)
		}
		w.put("bank", "key", tag, "never", p)
		key := row.key
		if key == nil {
			key = signerKey
		}
		s := w.attest(newBuild(t, w.machine, key, row.build))
		_, err := s.Release(context.Background(), "bank/key/"+tag)
		if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), row.says) ||
			!strings.Contains(err.Error(), w.server.URL) {
			t.Errorf("%s: got %v", row.name, err)
		}
		if o := w.newest(); o.Act != "refused" || !strings.Contains(o.Reason, row.says) {
			t.Errorf("%s: the record is %+v", row.name, o)
		}
	}
}

// TestNoPolicyBeforeNoSecret sees that a refusal does not tell which secrets there are.
func TestNoPolicyBeforeNoSecret(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if err := w.broker.PutSecret(ctx, "bank", "key", "there", []byte("x"), false); err != nil {
		t.Fatal(err)
	}
	s := w.attest(newBuild(t, w.machine, signerKey, nil))
	for _, name := range []string{"bank/key/there", "bank/key/absent", "nobody/key/there"} {
		_, err := s.Release(ctx, name)
		refused(t, err, errs.Forbidden, name+": no policy says to whom it is released")
	}
	if err := w.broker.SetPolicy(ctx, "bank", "key/*", w.machine.policy()); err != nil {
		t.Fatal(err)
	}
	_, err := s.Release(ctx, "bank/key/absent")
	refused(t, err, errs.NotFound, "there is no such secret")
	if _, err := s.Release(ctx, "bank/key/there"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"Bank/key/x", "bank/key/.x", "bank/a b/x"} {
		_, err := s.Release(ctx, bad)
		refused(t, err, errs.Invalid, "want 1 to 64")
	}
}

// TestMostExactPatternCounts denies by the more exact pattern what a wider one admits.
func TestMostExactPatternCounts(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if err := w.broker.PutSecret(ctx, "bank", "key", "model", []byte("x"), false); err != nil {
		t.Fatal(err)
	}
	s := w.attest(newBuild(t, w.machine, signerKey, nil))
	admit := w.machine.policy()
	for _, pattern := range []string{"*/*", "*/model", "key/*", "key/model"} {
		_, err := s.Release(ctx, "bank/key/model")
		refused(t, err, errs.Forbidden, "")
		if err := w.broker.SetPolicy(ctx, "bank", pattern, admit); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Release(ctx, "bank/key/model"); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
		if err := w.broker.SetPolicy(ctx, "bank", pattern, enclave.Policy{Name: "none"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.broker.RemovePolicy(ctx, "bank", "key/model"); err != nil {
		t.Fatal(err)
	}
	refused(t, w.broker.RemovePolicy(ctx, "bank", "key/model"), errs.NotFound, "no policy key/model")
}

// TestApprovals releases once the owners approved, and not after the policy changed.
func TestApprovals(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.machine.policy()
	p.Owners, p.Quorum = []enclave.KeyID{id(ownerKey), id(otherKey)}, 2
	w.put("bank", "key", "model", "x", p)
	b := newBuild(t, w.machine, signerKey, nil)
	s := w.attest(b)
	stored, err := w.broker.Policy(ctx, "bank", "key/model")
	if err != nil {
		t.Fatal(err)
	}
	approve := func(key ed25519.PrivateKey, measure enclave.Digest) error {
		statement, err := stored.Approval(b.Measure())
		if err != nil {
			t.Fatal(err)
		}
		return w.broker.Approve(ctx, "bank", "key/model", measure, key.Public().(ed25519.PublicKey),
			ed25519.Sign(key, statement))
	}
	refused(t, approve(signerKey, b.Measure()), errs.Forbidden, "none of the policy's owners")
	refused(t, approve(ownerKey, enclave.Digest{1}), errs.Forbidden, "not over this policy")
	refused(t, w.broker.Approve(ctx, "bank", "key/other", b.Measure(),
		ownerKey.Public().(ed25519.PublicKey), nil), errs.NotFound, "no such policy")
	refused(t, w.broker.Approve(ctx, "bank", "key/model", b.Measure(), nil, nil), errs.Invalid, "0 bytes")
	for _, key := range []ed25519.PrivateKey{ownerKey, ownerKey, otherKey} {
		_, err := s.Release(ctx, "bank/key/model")
		refused(t, err, errs.Forbidden, "approvals")
		if err := approve(key, b.Measure()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Release(ctx, "bank/key/model"); err != nil {
		t.Fatal(err)
	}
	p.Signers[0].MinSVN = 3
	if err := w.broker.SetPolicy(ctx, "bank", "key/model", p); err != nil {
		t.Fatal(err)
	}
	_, err = s.Release(ctx, "bank/key/model")
	refused(t, err, errs.Forbidden, "approvals")
	p.Name = "another place"
	refused(t, w.broker.SetPolicy(ctx, "bank", "key/model", p), errs.Invalid, "owners approve it as")
}

// TestUses counts releases for good, also over a restart, and by the day.
func TestUses(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.machine.policy()
	p.Uses, p.Daily = 3, 2
	w.put("bank", "key", "model", "x", p)
	s := w.attest(newBuild(t, w.machine, signerKey, nil))
	take := func(want bool) {
		t.Helper()
		_, err := s.Release(ctx, "bank/key/model")
		if want && err != nil {
			t.Error(err)
		}
		if !want {
			refused(t, err, errs.Forbidden, "as often as the policy allows")
		}
	}
	take(true)
	w.restart()
	take(true)
	take(false)
	w.clock.Advance(clock.Day)
	s = w.attest(newBuild(t, w.machine, signerKey, nil))
	take(true)
	take(false)
}

// TestLogged releases once the measurement is in the log.
func TestLogged(t *testing.T) {
	w := newWorld(t)
	p := w.machine.policy()
	p.Logged = true
	w.put("bank", "key", "model", "x", p)
	b := newBuild(t, w.machine, signerKey, nil)
	s := w.attest(b)
	_, err := s.Release(context.Background(), "bank/key/model")
	refused(t, err, errs.Forbidden, "not published")
	w.logged[b.Measure()] = true
	if _, err := s.Release(context.Background(), "bank/key/model"); err != nil {
		t.Error(err)
	}
}

// TestSessionEnds attests anew, unseen by the caller, where a session lapsed or the broker restarted,
// and refuses cookies and tokens of old.
func TestSessionEnds(t *testing.T) {
	w := newWorld(t)
	w.put("bank", "key", "model", "x", w.machine.policy())
	s := w.attest(newBuild(t, w.machine, signerKey, nil))
	first := s.Token()
	w.restart()
	if _, err := s.Release(context.Background(), "bank/key/model"); err != nil {
		t.Error(err)
	}
	if s.Token() == first {
		t.Error("the session has not attested anew")
	}
	get := func(token string) (int, string) {
		r, err := http.NewRequest(http.MethodGet, w.server.URL+client.PathResource+"bank/key/model", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		return w.send(r)
	}
	if status, body := get(first); status != http.StatusUnauthorized {
		t.Errorf("the old token: %d %s", status, body)
	}
	if status, body := get(s.Token()); status != http.StatusOK {
		t.Errorf("the token: %d %s", status, body)
	}
	w.clock.Advance(15 * clock.Minute)
	if status, body := get(s.Token()); status != http.StatusUnauthorized ||
		!strings.Contains(body, `"kind":"unauthorized"`) || !strings.Contains(body, "TokenNotFound") {
		t.Errorf("the expired token: %d %s", status, body)
	}
}

// send makes a request and returns status and body.
func (w *world) send(r *http.Request) (int, string) {
	w.t.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// TestFlood asks for challenges until there is no room: the rest is Busy, of one address first, and
// room comes back.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	handler := w.broker.Handler()
	ask := func(address string) int {
		r := httptest.NewRequest(http.MethodPost, client.PathAuth,
			strings.NewReader(`{"version":"0.1.1","tee":"snp"}`))
		r.RemoteAddr = address + ":1"
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		return recorder.Code
	}
	for n := range 600 {
		if status := ask("192.0.2.1"); (status == http.StatusOK) != (n < 512) {
			t.Fatalf("request %d: %d", n, status)
		}
	}
	for host := 2; host < 9; host++ {
		for range 512 {
			if status := ask("192.0.2." + string(rune('0'+host))); status != http.StatusOK {
				t.Fatalf("host %d: %d", host, status)
			}
		}
	}
	if status := ask("192.0.2.99"); status != http.StatusTooManyRequests {
		t.Errorf("with no room left: %d", status)
	}
	w.clock.Advance(30 * second)
	if status := ask("192.0.2.1"); status != http.StatusOK {
		t.Errorf("after they expired: %d", status)
	}
}

// TestStrangersDoNotFillTheDisk sends evidence of nothing: a minute has a bounded number of records,
// and the next one says how many were left out.
func TestStrangersDoNotFillTheDisk(t *testing.T) {
	w := newWorld(t)
	try := func() {
		r := httptest.NewRequest(http.MethodPost, client.PathAttest, strings.NewReader(`{"runtime-data":{}}`))
		r.AddCookie(&http.Cookie{Name: client.Cookie, Value: w.challenge(t)})
		recorder := httptest.NewRecorder()
		w.broker.Handler().ServeHTTP(recorder, r)
		if recorder.Code == http.StatusOK {
			t.Fatal("admitted")
		}
	}
	for range 100 {
		try()
	}
	count := func() int {
		list, err := w.broker.Outcomes(context.Background(), "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n := count(); n != 60 {
		t.Errorf("%d records", n)
	}
	w.clock.Advance(clock.Minute)
	try()
	if o := w.newest(); count() != 61 || !strings.Contains(o.Reason, "40 more like this") {
		t.Errorf("the record is %+v", o)
	}
}

// TestRecordsReachTheLog finds each record once in the evidence log, in order, also those that were
// made while the log could not take any, and those of an earlier process.
func TestRecordsReachTheLog(t *testing.T) {
	w := newWorld(t)
	w.put("bank", "key", "model", "x", w.machine.policy())
	b := newBuild(t, w.machine, signerKey, nil)
	s := w.attest(b)
	ctx := context.Background()
	if _, err := s.Release(ctx, "bank/key/model"); err != nil {
		t.Fatal(err)
	}
	entries := w.log.await(2)
	if entries[0].Kind != "enclave.appraised" || entries[1].Kind != "enclave.released" ||
		entries[1].Source != "enclave.broker" || entries[1].SourceSeq != 2 ||
		len(entries[1].Subjects) != 2 || entries[1].Subjects[0].String() != w.newest().ID ||
		entries[1].Subjects[1] != broker.Subject(b.Measure()) {
		t.Errorf("the log has %d records, the second %s %v", len(entries), entries[1].Kind,
			entries[1].Subjects)
	}
	var o broker.Outcome
	if err := json.Unmarshal(entries[1].Payload, &o); err != nil || o.ID != w.newest().ID {
		t.Errorf("the payload is %s, %v", entries[1].Payload, err)
	}
	w.log.mu.Lock()
	w.log.fail = errs.New(errs.Unavailable, "the log is away")
	w.log.mu.Unlock()
	if _, err := s.Release(ctx, "bank/key/model"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.broker.Publish(ctx, "bank", broker.Publication{Measure: b.Measure()}); err != nil {
		t.Fatal(err)
	}
	w.restartWithLog()
	entries = w.log.await(4)
	if len(entries) != 4 || entries[3].Kind != broker.KindPublished {
		t.Errorf("the log has %d entries, %+v", len(entries), entries)
	}
}

func (w *world) restartWithLog() {
	w.t.Helper()
	if err := w.broker.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.log.mu.Lock()
	w.log.fail = nil
	w.log.mu.Unlock()
	w.open()
}

// TestAtRest searches the broker's directory for what it keeps: nothing is found, and without the
// right keys nothing opens.
func TestAtRest(t *testing.T) {
	w := newWorld(t)
	planted := base64.RawURLEncoding.EncodeToString(random(24))
	w.put("bank", "key", "model", planted, w.machine.policy())
	token, err := w.broker.CreateTenant(context.Background(), "bank")
	if err != nil {
		t.Fatal(err)
	}
	s := w.attest(newBuild(t, w.machine, signerKey, nil))
	if _, err := s.Release(context.Background(), "bank/key/model"); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(w.dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(planted)) || bytes.Contains(content, []byte(token)) {
			t.Errorf("%s shows a secret", f.Name())
		}
		info, err := f.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if err := w.broker.Close(); err != nil {
		t.Fatal(err)
	}
	open := func() error {
		b, err := broker.Open(context.Background(), broker.Config{Dir: w.dir, Name: "bank"},
			broker.Deps{Verifier: w.machine.verifier, Clock: w.clock, Log: discard()})
		if err == nil {
			_ = b.Close()
		}
		return err
	}
	for _, name := range []string{"master.key", "token.pem"} {
		path := filepath.Join(w.dir, name)
		kept, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		refused(t, open(), errs.NotFound, name)
		other := newWorld(t)
		foreign, err := os.ReadFile(filepath.Join(other.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, foreign, 0o600)
		refused(t, open(), errs.Corrupt, name+" is not the key")
		write(t, path, kept[:len(kept)/2], 0o600)
		refused(t, open(), errs.Corrupt, "")
		write(t, path, kept, 0o644)
		refused(t, open(), errs.Forbidden, "")
		write(t, path, kept, 0o600)
	}
	w.open()
}

func write(t testing.TB, path string, content []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestNotTheirBroker refuses a broker whose key is not the pinned one.
func TestNotTheirBroker(t *testing.T) {
	w := newWorld(t)
	c, err := client.New(client.Config{URL: w.server.URL, Key: id(otherKey), Clock: w.clock,
		Attester: newBuild(t, w.machine, signerKey, nil)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Attest(context.Background())
	// The evidence was made for the pinned broker: the one that got it cannot use it.
	refused(t, err, errs.Forbidden, "another challenge")
}

// TestOtherMachines refuses evidence under a simulation's root that the broker was not given.
func TestOtherMachines(t *testing.T) {
	w := newWorld(t)
	_, err := w.client(newBuild(t, newMachine(t), signerKey, nil)).Attest(context.Background())
	refused(t, err, errs.Forbidden, "")
	if o := w.newest(); o.Act != "refused" || o.Reason == "" || !o.Measure.IsZero() {
		t.Errorf("the record is %+v", o)
	}
}

// TestCollateralExpires refuses what was current a month ago.
func TestCollateralExpires(t *testing.T) {
	w := newWorld(t)
	p := w.machine.policy()
	p.TCB = enclave.TCBUpToDate
	w.put("bank", "key", "model", "x", p)
	release := func() error {
		s, err := w.client(newBuild(t, w.machine, signerKey, nil)).Attest(context.Background())
		if err != nil {
			return err
		}
		_, err = s.Release(context.Background(), "bank/key/model")
		return err
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(31 * clock.Day)
	refused(t, release(), errs.Forbidden, "")
}

// TestSessionAsksSoOften goes on beyond what one session may ask: its guest attests anew.
func TestSessionAsksSoOften(t *testing.T) {
	w := newWorld(t)
	s := w.attest(newBuild(t, w.machine, signerKey, nil))
	first := s.Token()
	for range 1024 {
		_, err := s.Release(context.Background(), "bank/Bad name/x")
		refused(t, err, errs.Invalid, "type is")
	}
	if s.Token() != first {
		t.Error("the session attested anew too early")
	}
	_, err := s.Release(context.Background(), "bank/Bad name/x")
	refused(t, err, errs.Invalid, "type is")
	if s.Token() == first {
		t.Error("the session was not ended")
	}
}
