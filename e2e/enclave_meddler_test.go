//go:build e2e

package e2e

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"surety/base/clock"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/client"
	"surety/sys/wallclock"
)

// meddler stands between enclaves and a broker, as whoever ends the TLS in between may, and changes
// what passes.
type meddler struct {
	url string

	mu     sync.Mutex
	ask    func(path string, body []byte) []byte // what the broker gets instead; nil: the same
	answer func(path string, body []byte) []byte // what the enclave gets instead; nil: the same
	passed map[string]int                        // requests, by path
}

func meddle(t *testing.T, o *owner) *meddler {
	t.Helper()
	m := &meddler{passed: map[string]int{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.passed[r.URL.Path]++
		ask, answer := m.ask, m.answer
		m.mu.Unlock()
		if ask != nil {
			body = ask(r.URL.Path, body)
		}
		on, err := http.NewRequestWithContext(r.Context(), r.Method, o.address()+r.URL.RequestURI(),
			bytes.NewReader(body))
		if err != nil {
			t.Errorf("meddler: %v", err)
			return
		}
		on.Header = r.Header.Clone()
		got, err := http.DefaultTransport.RoundTrip(on)
		if err != nil {
			panic(http.ErrAbortHandler) // the broker is gone: the enclave sees the same
		}
		defer got.Body.Close()
		body, err = io.ReadAll(got.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if answer != nil {
			body = answer(r.URL.Path, body)
		}
		maps.Copy(w.Header(), got.Header)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(got.StatusCode)
		w.Write(body)
	}))
	t.Cleanup(s.Close)
	m.url = s.URL
	return m
}

// set says what is changed from now on.
func (m *meddler) set(ask, answer func(path string, body []byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ask, m.answer, m.passed = ask, answer, map[string]int{}
}

// count is how many requests to a path passed since it was set.
func (m *meddler) count(prefix string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for path, times := range m.passed {
		if strings.HasPrefix(path, prefix) {
			n += times
		}
	}
	return n
}

// at changes the bodies of one path alone, and those below it where it ends in a slash.
func at(prefix string, change func(body []byte) []byte) func(path string, body []byte) []byte {
	return func(path string, body []byte) []byte {
		if path == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(path, prefix) {
			return change(body)
		}
		return body
	}
}

// edit decodes a body as a T, changes it, and encodes it again.
func edit[T any](t *testing.T, change func(*T)) func([]byte) []byte {
	return func(body []byte) []byte {
		var v T
		if err := json.Unmarshal(body, &v); err != nil {
			t.Errorf("meddler: %v: %.200q", err, body)
			return body
		}
		change(&v)
		changed, err := json.Marshal(v)
		if err != nil {
			t.Errorf("meddler: %v", err)
		}
		return changed
	}
}

// flipped returns a copy with one bit of the byte at a share of the length changed.
func flipped(data []byte, share float64) []byte {
	data = bytes.Clone(data)
	data[min(int(share*float64(len(data))), len(data)-1)] ^= 0x10
	return data
}

// inEvidence changes our guests' form of evidence in an attestation.
func inEvidence(t *testing.T, change func(*enclave.Evidence)) func([]byte) []byte {
	return edit(t, func(a *client.Attestation) {
		var p client.PrimaryEvidence
		if err := json.Unmarshal(a.Evidence.Primary, &p); err != nil || len(p.Surety) == 0 {
			t.Errorf("meddler: evidence %.200q: %v", a.Evidence.Primary, err)
			return
		}
		e, err := enclave.DecodeEvidence(p.Surety)
		if err != nil {
			t.Errorf("meddler: %v", err)
			return
		}
		change(e)
		if p.Surety, err = e.Encode(); err != nil {
			t.Errorf("meddler: %v", err)
		}
		primary, err := json.Marshal(p)
		if err != nil {
			t.Errorf("meddler: %v", err)
		}
		a.Evidence.Primary = primary
	})
}

// inRuntime changes what an attestation says its evidence is bound to.
func inRuntime(t *testing.T, change func(*client.RuntimeData)) func([]byte) []byte {
	return edit(t, func(a *client.Attestation) {
		a.RuntimeData = edit(t, change)(a.RuntimeData)
	})
}

func decodeJSON(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Errorf("meddler: %v: %.200q", err, data)
	}
}

// ourKey is a public key whose private half the meddler has, in the form that guests send theirs.
func ourKey(t *testing.T) json.RawMessage {
	t.Helper()
	suite := client.Hybrid()
	private, err := suite.KEM.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := json.Marshal(client.Key{Type: client.KeyType, Algorithm: suite.Name,
		Public: base64.RawURLEncoding.EncodeToString(private.PublicKey().Bytes())})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// forgedToken is a token in the right form, signed by a key of the meddler's.
func forgedToken(t *testing.T, key ed25519.PrivateKey) string {
	t.Helper()
	token, err := attest.Issuer{Name: "owner", Key: key}.Issue(&enclave.Claims{TEE: enclave.SNP}, "test",
		enclave.Decision{}, nil, wallclock.System().Now(), clock.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
