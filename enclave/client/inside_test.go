package client_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"surety/enclave/client"
)

// TestInside puts a request to a handler of this process and finds it as sent, and the answer as
// given.
func TestInside(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "7"})
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery+" "+string(body))
	})
	c := http.Client{Transport: client.Inside(handler)}
	response, err := c.Post("http://inside/a/b?x=1", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != "POST /a/b?x=1 hello" {
		t.Errorf("got %q, %v", body, err)
	}
	if response.StatusCode != http.StatusTeapot || len(response.Cookies()) != 1 {
		t.Errorf("got %s with %d cookies", response.Status, len(response.Cookies()))
	}
	if response, err = c.Get("http://inside/"); err != nil || response.StatusCode != 418 {
		t.Errorf("got %v, %v", response, err)
	}
}
