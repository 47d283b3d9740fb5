package client_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
	"surety/sys/wallclock"
)

// nobody makes no evidence.
type nobody struct{}

func (nobody) TEE() enclave.TEE        { return enclave.Sim }
func (nobody) Measure() enclave.Digest { return enclave.Digest{1} }
func (nobody) Evidence(context.Context, enclave.Binding) (*enclave.Evidence, error) {
	return nil, errs.New(errs.Unavailable, "no device")
}

// TestNew refuses what could not be trusted, before anything is sent.
func TestNew(t *testing.T) {
	good := client.Config{URL: "https://broker:7443", Key: enclave.KeyID{1}, Attester: nobody{},
		Clock: wallclock.System()}
	rows := []struct {
		says   string
		change func(*client.Config)
	}{
		{"is not http(s)://HOST", func(c *client.Config) { c.URL = "" }},
		{"is not http(s)://HOST", func(c *client.Config) { c.URL = "https://broker/?x=1" }},
		{"is not http(s)://HOST", func(c *client.Config) { c.URL = "https://user:pw@broker" }},
		{"want https, or http on loopback", func(c *client.Config) { c.URL = "http://broker:7443" }},
		{"want https, or http on loopback", func(c *client.Config) { c.URL = "http://127.0.0.1.example" }},
		{"want https, or http on loopback", func(c *client.Config) { c.URL = "ftp://broker" }},
		{"no key is pinned", func(c *client.Config) { c.Key = enclave.KeyID{} }},
		{"no attester", func(c *client.Config) { c.Attester = nil }},
		{"no clock", func(c *client.Config) { c.Clock = nil }},
	}
	for _, row := range rows {
		c := good
		row.change(&c)
		if _, err := client.New(c); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
	for _, url := range []string{good.URL, "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"} {
		c := good
		c.URL = url
		if _, err := client.New(c); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	inside := good
	inside.URL, inside.Transport = "http://inside", client.Inside(http.NotFoundHandler())
	if _, err := client.New(inside); err != nil {
		t.Error(err)
	}
}

// answering answers every request alike, and counts them.
type answering struct {
	status int
	body   string
	err    error
	asked  chan struct{}
}

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	a.asked <- struct{}{}
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.status, Body: io.NopCloser(strings.NewReader(a.body))}, nil
}

// TestAgainWhereNobodyWasThere asks again for kind Unavailable alone, with growing pauses, and says
// which broker it was and why.
func TestAgainWhereNobodyWasThere(t *testing.T) {
	rows := []struct {
		name   string
		answer answering
		kind   errs.Kind
		times  int
		says   string
	}{
		{"nobody listens", answering{err: io.ErrUnexpectedEOF}, errs.Unavailable, 4, "unexpected EOF"},
		{"a proxy", answering{status: 502, body: "<html>"}, errs.Unavailable, 4, "HTTP status 502"},
		{"the broker", answering{status: 503, body: `{"detail":"later","kind":"unavailable"}`},
			errs.Unavailable, 4, "later"},
		{"busy", answering{status: 429, body: `{"detail":"too many","kind":"busy"}`}, errs.Busy, 1,
			"too many"},
		{"a foreign broker's refusal", answering{status: 401, body: `{"detail":"no","type":"x"}`},
			errs.Unauthorized, 1, "no"},
		{"forbidden", answering{status: 403}, errs.Forbidden, 1, "HTTP status 403"},
		{"nonsense", answering{status: 200, body: "hello"}, errs.Invalid, 1, "its answer"},
		{"no cookie", answering{status: 200, body: `{"nonce":""}`}, errs.Invalid, 1, "no cookie"},
		{"a redirect", answering{status: 307}, errs.Internal, 1, "HTTP status 307"},
		{"too much", answering{status: 200, body: strings.Repeat(" ", client.MaxMessage+1)},
			errs.TooLarge, 1, "more than"},
	}
	for _, row := range rows {
		row.answer.asked = make(chan struct{}, 16)
		manual := wallclock.NewManual(1)
		c, err := client.New(client.Config{URL: "https://broker:7443", Key: enclave.KeyID{1},
			Attester: nobody{}, Clock: manual, Transport: row.answer})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := c.Attest(t.Context())
			ended <- err
		}()
		for pause := 100 * clock.Millisecond; err == nil; {
			select {
			case err = <-ended:
			default:
				if manual.Waiting() > 0 {
					manual.Advance(pause)
					pause *= 4
				}
				runtime.Gosched()
			}
		}
		if !errs.Is(err, row.kind) || len(row.answer.asked) != row.times ||
			!strings.Contains(err.Error(), row.says) || !strings.Contains(err.Error(), "https://broker:7443") {
			t.Errorf("%s: asked %d times, got %v (%s)", row.name, len(row.answer.asked), err, errs.KindOf(err))
		}
	}
}

// TestWire sees that everything a context has changes what is sealed and signed.
func TestWire(t *testing.T) {
	base := client.Context{Token: "a", Nonce: []byte("b"), Request: "c", Resource: "d"}
	seen := map[string]bool{string(base.Info()): true}
	for i, c := range []client.Context{{"ab", nil, "c", "d"}, {"a", []byte("bc"), "", "d"},
		{"a", []byte("b"), "cd", ""}, {"", []byte("ab"), "c", "d"}, {"a", []byte("b"), "c", ""}} {
		if text := string(c.Info()); seen[text] {
			t.Errorf("context %d is sealed as another", i)
		} else {
			seen[text] = true
		}
	}
	one := client.Sealed{Record: "r", Sealed: []byte("s")}
	other := client.Sealed{Record: "rs"}
	if string(base.Statement(&one)) == string(base.Statement(&other)) {
		t.Error("two answers are signed alike")
	}
	if string(client.BindingNonce(enclave.KeyID{1}, make([]byte, 32))) ==
		string(client.BindingNonce(enclave.KeyID{2}, make([]byte, 32))) {
		t.Error("two brokers' challenges are bound alike")
	}
	m := client.LeaseMessage{Lease: "l", Fence: 1, Count: 2, Root: enclave.Digest{3}}
	key := []byte("key")
	m.Authenticate(key, client.ActCommit)
	if !m.Authentic(key, client.ActCommit) || m.Authentic(key, client.ActDone+client.ActCommit) ||
		m.Authentic([]byte("other"), client.ActCommit) || m.Authentic(key, client.ActRenew) {
		t.Error("a message is authentic for another key or act")
	}
	for name, change := range map[string]func(*client.LeaseMessage){
		"lease": func(m *client.LeaseMessage) { m.Lease = "x" },
		"fence": func(m *client.LeaseMessage) { m.Fence++ },
		"count": func(m *client.LeaseMessage) { m.Count++ },
		"root":  func(m *client.LeaseMessage) { m.Root[0]++ },
	} {
		changed := m
		change(&changed)
		if changed.Authentic(key, client.ActCommit) {
			t.Errorf("%s can be changed", name)
		}
	}
}
