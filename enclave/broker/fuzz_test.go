package broker_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"surety/enclave/broker"
	"surety/enclave/client"
)

// FuzzRequests sends bytes to every path that reads some: whatever they are, the broker answers, and
// admits nobody.
func FuzzRequests(f *testing.F) {
	paths := []string{client.PathAuth, client.PathAttest, client.PathState + "open",
		client.PathState + "commit", client.PathState + "renew", client.PathState + "close"}
	for i := range paths {
		f.Add(i, []byte(`{"version":"0.1.1","tee":"sim","extra-params":{"trace":"01"}}`))
		f.Add(i, []byte(`{"runtime-data":{"nonce":"AAAA","tee-pubkey":{"kty":"AKP",`+
			`"alg":"HPKE-P384-SHA384-A256GCM","pub":"BA"}},"tee-evidence":{"primary_evidence":`+
			`{"surety":"oA=="},"additional_evidence":""}}`))
		f.Add(i, []byte(`{"runtime-data":{"nonce":"AAAA","tee-pubkey":{"kty":"RSA","n":"AQ","e":"AQAB"}},`+
			`"tee-evidence":{"primary_evidence":{"quote":"AA=="}}}`))
		f.Add(i, []byte(`{"tenant":"a","instance":"b","name":"c"}`))
		f.Add(i, []byte(`{"lease":"00000000000000000000000000000000","fence":1,"count":1,"mac":"AA=="}`))
	}
	w := newWorld(f)
	handler := w.broker.Handler()
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		path := paths[uint(which)%uint(len(paths))]
		w.clock.Advance(second) // old challenges make room
		r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		if path == client.PathAttest {
			r.AddCookie(&http.Cookie{Name: client.Cookie, Value: w.challenge(t)})
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		status := recorder.Code
		if status == http.StatusOK && path != client.PathAuth || status >= 500 {
			t.Errorf("%s: %d %s", path, status, recorder.Body)
		}
		if status != http.StatusOK && !strings.Contains(recorder.Body.String(), `"detail":"`) {
			t.Errorf("%s: %d without a reason", path, status)
		}
	})
}

// FuzzOrders sends bytes to every order of an administrator: whatever they are, it answers.
func FuzzOrders(f *testing.F) {
	orders := []string{"put", "remove", "secrets", "set-policy", "remove-policy", "policies", "approve",
		"publish", "outcomes", "tenant"}
	for i := range orders {
		f.Add(i, []byte(`{"tenant":"bank","kind":"key","tag":"x","secret":"AA==","replace":true}`))
		f.Add(i, []byte(`{"tenant":"bank","pattern":"*/*","policy":{"machines":[{"tee":"sim",`+
			`"roots":["`+strings.Repeat("01", 32)+`"]}],"uses":1}}`))
		f.Add(i, []byte(`{"tenant":"bank","pattern":"*/*","measure":"sha384:00","owner":"AA=="}`))
	}
	w := newWorld(f)
	handler := w.broker.OwnerHandler()
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		path := broker.PathAdmin + orders[uint(which)%uint(len(orders))]
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
		if recorder.Code >= 500 {
			t.Errorf("%s: %d %s", path, recorder.Code, recorder.Body)
		}
	})
}
