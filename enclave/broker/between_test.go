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
	"strings"
	"testing"

	"surety/base/errs"
	"surety/enclave/client"
)

// between is who stands between guest and broker, and changes what he likes.
type between struct {
	next   http.RoundTripper
	ask    func(path string, body []byte) []byte
	answer func(path string, body []byte) []byte
	seen   map[string][]byte // last answer by path
}

func (b *between) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if b.ask != nil {
			body = b.ask(r.URL.Path, body)
		}
		r = r.Clone(r.Context())
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if b.answer != nil {
		body = b.answer(r.URL.Path, body)
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return answer, nil
}

// TestManBetween changes what travels: each change is refused, and nothing of the secret is seen.
func TestManBetween(t *testing.T) {
	w := newWorld(t)
	const secret = "the secret that nobody between shall see"
	w.put("bank", "key", "model", secret, w.machine.policy())
	b := newBuild(t, w.machine, signerKey, nil)
	foreign, err := client.Hybrid().KEM.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	edit := func(body []byte, change func(m map[string]any)) []byte {
		var m map[string]any
		if json.Unmarshal(body, &m) != nil {
			return body
		}
		change(m)
		out, err := json.Marshal(m)
		if err != nil {
			t.Error(err)
		}
		return out
	}
	resourcePath := client.PathResource + "bank/key/model"
	rows := []struct {
		name   string
		says   string
		middle between
	}{
		{"a key of his own", "another challenge, key, purpose or manifest",
			between{ask: func(path string, body []byte) []byte {
				return edit(body, func(m map[string]any) {
					if runtime, ok := m["runtime-data"].(map[string]any); ok {
						runtime["tee-pubkey"].(map[string]any)["pub"] =
							base64.RawURLEncoding.EncodeToString(foreign.PublicKey().Bytes())
					}
				})
			}}},
		{"another nonce in the challenge", "the nonce is not that of this session's challenge",
			between{answer: func(path string, body []byte) []byte {
				return edit(body, func(m map[string]any) {
					if path == client.PathAuth {
						m["nonce"] = base64.StdEncoding.EncodeToString(make([]byte, 32))
					}
				})
			}}},
		{"a sealed answer of his own", "signature of its answer is wrong",
			between{answer: func(path string, body []byte) []byte {
				return edit(body, func(m map[string]any) {
					if path == resourcePath {
						m["sealed"] = base64.StdEncoding.EncodeToString([]byte("mine"))
					}
				})
			}}},
		{"a signature of his own", "signed by another key than the pinned",
			between{answer: func(path string, body []byte) []byte {
				return edit(body, func(m map[string]any) {
					if path == resourcePath {
						m["key"] = base64.StdEncoding.EncodeToString(otherKey.Public().(ed25519.PublicKey))
					}
				})
			}}},
		{"another record", "signature of its answer is wrong",
			between{answer: func(path string, body []byte) []byte {
				return edit(body, func(m map[string]any) {
					if path == resourcePath {
						m["record"] = "00"
					}
				})
			}}},
		{"a cut token", "its token",
			between{answer: func(path string, body []byte) []byte {
				return edit(body, func(m map[string]any) {
					if path == client.PathAttest {
						m["token"] = m["token"].(string)[1:]
					}
				})
			}}},
	}
	for _, row := range rows {
		row.middle.next = http.DefaultTransport
		c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Attester: b,
			Clock: w.clock, Transport: &row.middle})
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Attest(context.Background())
		if err == nil {
			_, err = s.Release(context.Background(), "bank/key/model")
		}
		if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: got %v", row.name, err)
		}
	}
	// An answer to an earlier request is none to a later one, and he reads none of them.
	middle := &between{next: http.DefaultTransport, seen: map[string][]byte{}}
	middle.answer = func(path string, body []byte) []byte {
		if bytes.Contains(body, []byte(secret)) {
			t.Errorf("%s shows the secret", path)
		}
		if old := middle.seen[path]; old != nil && path == resourcePath {
			return old
		}
		middle.seen[path] = body
		return body
	}
	c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Attester: b,
		Clock: w.clock, Transport: middle})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Attest(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Release(context.Background(), "bank/key/model"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Release(context.Background(), "bank/key/model")
	refused(t, err, errs.Forbidden, "for another request")
}

// TestChallengeServesOnce replays a whole attestation: the same again, in a session of its own, and
// late.
func TestChallengeServesOnce(t *testing.T) {
	w := newWorld(t)
	var message []byte
	var cookie string
	middle := &between{next: http.DefaultTransport}
	middle.ask = func(path string, body []byte) []byte {
		if path == client.PathAttest {
			message = body
		}
		return body
	}
	jar := recordCookie{middle, &cookie}
	b := newBuild(t, w.machine, signerKey, nil)
	c, err := client.New(client.Config{URL: w.server.URL, Key: w.broker.Key(), Attester: b,
		Clock: w.clock, Transport: jar})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Attest(context.Background()); err != nil {
		t.Fatal(err)
	}
	again := func(cookie string) (int, string) {
		r, err := http.NewRequest(http.MethodPost, w.server.URL+client.PathAttest,
			bytes.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		if cookie != "" {
			r.AddCookie(&http.Cookie{Name: client.Cookie, Value: cookie})
		}
		return w.send(r)
	}
	if status, body := again(cookie); status != http.StatusUnauthorized ||
		!strings.Contains(body, "no challenge waits") || !strings.Contains(body, "AttestationError") {
		t.Errorf("the same again: %d %s", status, body)
	}
	if status, body := again(""); status != http.StatusUnauthorized {
		t.Errorf("without a cookie: %d %s", status, body)
	}
	if status, body := again(w.challenge(t)); status != http.StatusForbidden ||
		!strings.Contains(body, "not that of this session's challenge") {
		t.Errorf("in another session: %d %s", status, body)
	}
	late := w.challenge(t)
	w.clock.Advance(30 * second)
	if status, body := again(late); status != http.StatusUnauthorized {
		t.Errorf("late: %d %s", status, body)
	}
}

// recordCookie keeps the session's cookie.
type recordCookie struct {
	next   http.RoundTripper
	cookie *string
}

func (r recordCookie) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := r.next.RoundTrip(request)
	if err == nil {
		for _, c := range answer.Cookies() {
			*r.cookie = c.Value
		}
	}
	return answer, err
}

// challenge asks for one and returns its cookie.
func (w *world) challenge(t testing.TB) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	w.broker.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, client.PathAuth,
		strings.NewReader(`{"version":"0.1.1","tee":"sim","extra-params":""}`)))
	if recorder.Code != http.StatusOK {
		t.Fatalf("%d %s", recorder.Code, recorder.Body)
	}
	for _, c := range recorder.Result().Cookies() {
		return c.Value
	}
	t.Fatal("no cookie")
	return ""
}
