package broker_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
	"surety/sys/wallclock"
)

// withStates lets a tenant's policy admit builds to its states.
func (w *world) withStates(tenant string, p enclave.Policy) {
	w.t.Helper()
	if err := w.broker.SetPolicy(context.Background(), tenant, "state/*", p); err != nil {
		w.t.Fatal(err)
	}
}

var books = client.StateRequest{Instance: "one", Name: "books"}

func version(svn uint64) func(*enclave.Manifest) {
	return func(m *enclave.Manifest) { m.SVN = svn }
}

// TestStateLife opens, commits, closes and opens again: epoch and root are there, and the key is the
// same.
func TestStateLife(t *testing.T) {
	w := newWorld(t)
	w.withStates("bank", w.machine.policy())
	s := w.attest(newBuild(t, w.machine, signerKey, nil))
	ctx := context.Background()
	l, err := s.OpenState(ctx, books)
	if err != nil {
		t.Fatal(err)
	}
	if epoch, root := l.Last(); epoch != 0 || !root.IsZero() || len(l.Keys()) != 1 || l.Keys()[0].SVN != 4 {
		t.Errorf("a new state is at %d %s with %d keys", epoch, root, len(l.Keys()))
	}
	refused(t, l.Commit(ctx, 2, enclave.Digest{2}), errs.Invalid, "epoch 2 after 0")
	for epoch := uint64(1); epoch <= 3; epoch++ {
		if err := l.Commit(ctx, epoch, enclave.Digest{byte(epoch)}); err != nil {
			t.Fatal(err)
		}
	}
	key := l.Keys()[0]
	for range 2 {
		if err := l.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, l.Commit(ctx, 4, enclave.Digest{4}), errs.Locked, "closed")
	w.restart()
	if l, err = s.OpenState(ctx, books); err != nil {
		t.Fatal(err)
	}
	if epoch, root := l.Last(); epoch != 3 || root != (enclave.Digest{3}) || l.Keys()[0] != key {
		t.Errorf("it is at %d %s", epoch, root)
	}
	other, err := s.OpenState(ctx, client.StateRequest{Instance: "two", Name: "books"})
	if err != nil {
		t.Fatal(err)
	}
	if other.Keys()[0] == key {
		t.Error("another instance has the same key")
	}
	for _, lease := range []*client.Lease{l, other} {
		if err := lease.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	acts := ""
	list, err := w.broker.Outcomes(ctx, "bank", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		acts = o.Act + " " + acts
	}
	if acts != "state.opened state.closed state.opened state.opened state.closed state.closed " {
		t.Errorf("the records are %s", acts)
	}
}

// TestStateVersions gives a newer build the older's keys, and an older one none of a newer's.
func TestStateVersions(t *testing.T) {
	w := newWorld(t)
	p := w.machine.policy()
	p.Signers[0].MinSVN = 0
	w.withStates("bank", p)
	ctx := context.Background()
	open := func(svn uint64) (*client.Lease, error) {
		return w.attest(newBuild(t, w.machine, signerKey, version(svn))).OpenState(ctx, books)
	}
	close := func(l *client.Lease) {
		t.Helper()
		if err := l.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	four, err := open(4)
	if err != nil {
		t.Fatal(err)
	}
	if err := four.Commit(ctx, 1, enclave.Digest{1}); err != nil {
		t.Fatal(err)
	}
	close(four)
	six, err := open(6)
	if err != nil {
		t.Fatal(err)
	}
	if keys := six.Keys(); len(keys) != 2 || keys[0].SVN != 6 || keys[1] != four.Keys()[0] ||
		keys[0].Key == keys[1].Key {
		t.Errorf("version 6 has %d keys", len(keys))
	}
	close(six)
	// It wrote nothing: the older one goes on, without its key.
	again, err := open(5)
	if err != nil {
		t.Fatal(err)
	}
	if keys := again.Keys(); len(keys) != 2 || keys[0].SVN != 5 || keys[1] != four.Keys()[0] {
		t.Errorf("version 5 has %d keys", len(keys))
	}
	close(again)
	if six, err = open(6); err != nil {
		t.Fatal(err)
	}
	if err := six.Commit(ctx, 2, enclave.Digest{2}); err != nil {
		t.Fatal(err)
	}
	close(six)
	_, err = open(5)
	refused(t, err, errs.Forbidden, "last written by security version 6, and this build has 5")
}

// TestStateApart sees that signer, product, debug and tenant each have states of their own.
func TestStateApart(t *testing.T) {
	w := newWorld(t)
	p := w.machine.policy()
	p.Debug = true
	p.Signers = append(p.Signers, enclave.SignerRule{Signer: id(otherKey), Product: "credit"},
		enclave.SignerRule{Signer: id(signerKey), Product: "debit"})
	w.withStates("bank", p)
	ctx := context.Background()
	builds := []*build{
		newBuild(t, w.machine, signerKey, nil),
		newBuild(t, w.machine, otherKey, nil),
		newBuild(t, w.machine, signerKey, func(m *enclave.Manifest) { m.Product = "debit" }),
		newBuild(t, w.machine, signerKey, func(m *enclave.Manifest) { m.Debug = true }),
	}
	seen := map[[32]byte]bool{}
	for i, b := range builds {
		l, err := w.attest(b).OpenState(ctx, books)
		if err != nil {
			t.Fatal(err)
		}
		if seen[l.Keys()[0].Key] {
			t.Errorf("build %d has another's key", i)
		}
		seen[l.Keys()[0].Key] = true
		if err := l.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	w.withStates("fund", p)
	s := w.attest(builds[0])
	l, err := s.OpenState(ctx, client.StateRequest{Tenant: "fund", Instance: "one", Name: "books"})
	if err != nil {
		t.Fatal(err)
	}
	if seen[l.Keys()[0].Key] {
		t.Error("another tenant has the same key")
	}
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = s.OpenState(ctx, books)
	refused(t, err, errs.Refused, "2 tenants admit it: name one")
}

// TestStateRefused opens what it may not.
func TestStateRefused(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	s := w.attest(newBuild(t, w.machine, signerKey, nil))
	_, err := s.OpenState(ctx, books)
	refused(t, err, errs.Forbidden, "no policy says who may open it")
	w.withStates("bank", enclave.Policy{})
	_, err = s.OpenState(ctx, books)
	refused(t, err, errs.Forbidden, "admits no such machine")
	if o := w.newest(); o.Act != "state.refused" || o.Tenant != "bank" {
		t.Errorf("the record is %+v", o)
	}
	_, err = s.OpenState(ctx, client.StateRequest{Instance: "one", Name: "other"})
	refused(t, err, errs.Forbidden, "the manifest has no state other")
	_, err = s.OpenState(ctx, client.StateRequest{Instance: "../x", Name: "books"})
	refused(t, err, errs.Invalid, "instance is")
}

// TestLeaseIsExclusive refuses a second opener until the lease lapses, and its holder afterwards.
func TestLeaseIsExclusive(t *testing.T) {
	w := newWorld(t)
	w.withStates("bank", w.machine.policy())
	ctx := context.Background()
	b := newBuild(t, w.machine, signerKey, nil)
	// The first holder's renewals do not arrive.
	cut := &cutTransport{next: http.DefaultTransport}
	c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Attester: b,
		Clock: w.clock, Transport: cut})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Attest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.OpenState(ctx, books)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Commit(ctx, 1, enclave.Digest{1}); err != nil {
		t.Fatal(err)
	}
	cut.off("renew")
	second := w.attest(b)
	_, err = second.OpenState(ctx, books)
	refused(t, err, errs.Locked, "in use by another enclave for at most 3")
	w.clock.Advance(30 * 1e9)
	taken, err := second.OpenState(ctx, books)
	if err != nil {
		t.Fatal(err)
	}
	if epoch, _ := taken.Last(); epoch != 1 {
		t.Errorf("it is at epoch %d", epoch)
	}
	refused(t, first.Commit(ctx, 2, enclave.Digest{2}), errs.Locked, "lapsed")
	if first.Lost() == nil {
		t.Error("the first does not know that it lost the lease")
	}
	if err := taken.Commit(ctx, 2, enclave.Digest{3}); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := taken.Close(ctx); err != nil {
		t.Error(err)
	}
}

// cutTransport loses requests whose path ends in a word.
type cutTransport struct {
	next http.RoundTripper
	word chan string // holds the word; nil: none
}

func (c *cutTransport) off(word string) {
	c.word = make(chan string, 1)
	c.word <- word
}

func (c *cutTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.word != nil {
		word := <-c.word
		c.word <- word
		if strings.HasSuffix(r.URL.Path, word) {
			return nil, errs.New(errs.Unavailable, "cut")
		}
	}
	return c.next.RoundTrip(r)
}

// TestLeaseSurvivesRestart keeps a lease over the broker's restart.
func TestLeaseSurvivesRestart(t *testing.T) {
	w := newWorld(t)
	w.withStates("bank", w.machine.policy())
	ctx := context.Background()
	s := w.attest(newBuild(t, w.machine, signerKey, nil))
	l, err := s.OpenState(ctx, books)
	if err != nil {
		t.Fatal(err)
	}
	w.restart()
	if err := l.Commit(ctx, 1, enclave.Digest{1}); err != nil {
		t.Error(err)
	}
	_, err = s.OpenState(ctx, books)
	refused(t, err, errs.Locked, "in use")
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestLeaseOfTheDead lets a lease lapse although the store is opened again and again, as guests of a
// store without a process of its own do.
func TestLeaseOfTheDead(t *testing.T) {
	w := newWorld(t)
	w.direct = true
	w.withStates("bank", w.machine.policy())
	ctx := context.Background()
	b := newBuild(t, w.machine, signerKey, nil)
	cut := &cutTransport{next: http.DefaultTransport}
	c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Attester: b,
		Clock: w.clock, Transport: cut})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Attest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := s.OpenState(ctx, books)
	if err != nil {
		t.Fatal(err)
	}
	cut.off("renew")
	for range 3 {
		w.restart()
		_, err := w.attest(b).OpenState(ctx, books)
		refused(t, err, errs.Locked, "in use")
		w.clock.Advance(10 * second)
	}
	w.restart()
	l, err := w.attest(b).OpenState(ctx, books)
	if err != nil {
		t.Fatal(err)
	}
	for _, lease := range []*client.Lease{dead, l} {
		if err := lease.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}

// TestLeaseRenews lets time pass: the holder's goroutine keeps the lease.
func TestLeaseRenews(t *testing.T) {
	w := newWorld(t)
	w.withStates("bank", w.machine.policy())
	ctx := context.Background()
	renewed := make(chan struct{}, 64)
	middle := &between{next: http.DefaultTransport, answer: func(path string, body []byte) []byte {
		if strings.HasSuffix(path, "/renew") {
			renewed <- struct{}{}
		}
		return body
	}}
	c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Clock: w.clock,
		Attester: newBuild(t, w.machine, signerKey, nil), Transport: middle})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Attest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.OpenState(ctx, books)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // 80 s in all
		for w.clock.Waiting() == 0 { // the goroutine is about to set its timer
			runtime.Gosched()
		}
		w.clock.Advance(8 * second)
		<-renewed
	}
	if err := l.Commit(ctx, 1, enclave.Digest{1}); err != nil {
		t.Error(err)
	}
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestLeaseMessages changes what is said about a lease, and what is answered.
func TestLeaseMessages(t *testing.T) {
	w := newWorld(t)
	w.withStates("bank", w.machine.policy())
	ctx := context.Background()
	var change func(path string, body []byte) []byte
	var answer func(path string, body []byte) []byte
	middle := &between{next: http.DefaultTransport,
		ask: func(path string, body []byte) []byte {
			if change != nil {
				return change(path, body)
			}
			return body
		},
		answer: func(path string, body []byte) []byte {
			if answer != nil {
				return answer(path, body)
			}
			return body
		}}
	c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Clock: w.clock,
		Attester: newBuild(t, w.machine, signerKey, nil), Transport: middle})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Attest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.OpenState(ctx, books)
	if err != nil {
		t.Fatal(err)
	}
	swap := func(old, to string) func(string, []byte) []byte {
		return func(_ string, body []byte) []byte {
			return []byte(strings.Replace(string(body), old, to, 1))
		}
	}
	for _, edit := range []func(string, []byte) []byte{swap(`"count":1`, `"count":2`),
		swap(`sha384:01`, `sha384:02`), swap(`"fence":1`, `"fence":2`)} {
		change = edit
		refused(t, l.Commit(ctx, 1, enclave.Digest{1}), errs.Forbidden, "its holder has not sent it")
	}
	change = nil
	for _, edit := range []func(string, []byte) []byte{swap(`sha384:01`, `sha384:02`),
		swap(`"count":1`, `"count":7`)} {
		answer = edit
		refused(t, l.Commit(ctx, 1, enclave.Digest{1}), errs.Forbidden, "is not authentic")
	}
	answer = nil
	// The broker had it: the same again is answered, another in its place is not taken.
	if err := l.Commit(ctx, 1, enclave.Digest{1}); err != nil {
		t.Error(err)
	}
	change = func(path string, body []byte) []byte {
		if strings.HasSuffix(path, "commit") {
			return swap(`"lease":"`, `"lease":"zz`)(path, body)
		}
		return body
	}
	refused(t, l.Commit(ctx, 2, enclave.Digest{2}), errs.Invalid, "32 hexadecimal digits")
	change = nil
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestLeaseByTheBrokersClock has a holder whose clock stands still: it is the broker who refuses what
// lapsed, or was taken by another.
func TestLeaseByTheBrokersClock(t *testing.T) {
	w := newWorld(t)
	w.withStates("bank", w.machine.policy())
	ctx := context.Background()
	b := newBuild(t, w.machine, signerKey, nil)
	c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Attester: b,
		Clock: wallclock.NewManual(w.clock.Now())})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Attest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	lapsed, err := s.OpenState(ctx, books)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := s.OpenState(ctx, client.StateRequest{Instance: "two", Name: "books"})
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(30 * second)
	refused(t, lapsed.Commit(ctx, 1, enclave.Digest{1}), errs.Locked, "the lease lapsed 0 s ago")
	other, err := w.attest(b).OpenState(ctx, client.StateRequest{Instance: "two", Name: "books"})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, taken.Commit(ctx, 1, enclave.Digest{1}), errs.Locked, "another has the state")
	for _, l := range []*client.Lease{lapsed, taken, other} {
		if err := l.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}
