package access

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/entropy"
)

// TestOpenDoor walks the refusals of an open door in their order.
func TestOpenDoor(t *testing.T) {
	p := newPlace(t)
	_, secret, err := p.store.Issue(Grant{Principal: "ann", Roles: []Role{Risk}})
	if err != nil {
		t.Fatal(err)
	}
	keeper := NewDoorkeeper(p.store, p.clock, slog.New(slog.DiscardHandler))
	handler := keeper.Handler(Door{Open: true, Hosts: []string{"desk.example"}}, whoAmI())
	post := func(headers ...string) *http.Request {
		r := httptest.NewRequest("POST", "http://127.0.0.1:7310/x", nil)
		r.RemoteAddr = "127.0.0.1:9999"
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return r
	}
	with := func(r *http.Request, change func(*http.Request)) *http.Request {
		change(r)
		return r
	}
	for _, row := range []struct {
		name    string
		request *http.Request
		status  int
		who     string
	}{
		{"no token", post(), 200, "local"},
		{"token", post("Authorization", "bearer "+secret.Reveal()), 200, "ann"},
		{"bad token", post("Authorization", "Bearer surety_x"), 401, ""},
		{"other scheme", post("Authorization", "Basic YTpi"), 401, ""},
		{"from outside", with(post(), func(r *http.Request) { r.RemoteAddr = "10.0.0.9:1" }), 401, ""},
		{"from outside, token", with(post("Authorization", "Bearer "+secret.Reveal()),
			func(r *http.Request) { r.RemoteAddr = "10.0.0.9:1" }), 200, "ann"},
		{"unknown remote", with(post(), func(r *http.Request) { r.RemoteAddr = "@" }), 401, ""},
		{"through a proxy", post("X-Forwarded-For", "10.0.0.9"), 401, ""},
		{"rebound name", with(post(), func(r *http.Request) { r.Host = "evil.example:7310" }), 403, ""},
		{"no host", with(post(), func(r *http.Request) { r.Host = "" }), 403, ""},
		{"allowed name", with(post(), func(r *http.Request) { r.Host = "Desk.example:7310" }), 200,
			"local"},
		{"localhost", with(post(), func(r *http.Request) { r.Host = "localhost:1" }), 200, "local"},
		{"IPv6", with(post(), func(r *http.Request) {
			r.Host, r.RemoteAddr = "[::1]:7310", "[::1]:5"
		}), 200, "local"},
		{"cross-site page", post("Sec-Fetch-Site", "cross-site"), 403, ""},
		{"same-site page", post("Sec-Fetch-Site", "same-site"), 403, ""},
		{"own page", post("Sec-Fetch-Site", "same-origin"), 200, "local"},
		{"old browser, other origin", post("Origin", "http://evil.example"), 403, ""},
		{"old browser, other port", post("Origin", "http://127.0.0.1:8080"), 403, ""},
		{"old browser, own origin", post("Origin", "http://127.0.0.1:7310"), 200, "local"},
		{"cross-site page with token", post("Sec-Fetch-Site", "cross-site", "Authorization",
			"Bearer "+secret.Reveal()), 200, "ann"},
		{"cross-site link", with(post("Sec-Fetch-Site", "cross-site"),
			func(r *http.Request) { r.Method = "GET" }), 200, "local"},
	} {
		t.Run(row.name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, row.request)
			if answer.Code != row.status {
				t.Fatalf("status %d, want %d: %s", answer.Code, row.status, answer.Body)
			}
			if row.status == 200 && answer.Body.String() != row.who {
				t.Errorf("it was %q, want %q", answer.Body, row.who)
			}
		})
	}
}

func TestClosedDoor(t *testing.T) {
	p := newPlace(t)
	keeper := NewDoorkeeper(p.store, p.clock, slog.New(slog.DiscardHandler))
	handler := keeper.Handler(Door{Public: func(path string) bool { return path == "/health" }},
		whoAmI())
	for path, want := range map[string]int{"/health": 200, "/x": 401} {
		r := httptest.NewRequest("GET", path, nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Host = "127.0.0.1"
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		if answer.Code != want {
			t.Errorf("%s gave %d, want %d", path, answer.Code, want)
		}
		if answer.Code == 401 && answer.Header().Get("WWW-Authenticate") == "" {
			t.Error("401 does not say what it wants")
		}
	}
}

func TestFailuresAreBounded(t *testing.T) {
	p := newPlace(t)
	_, secret, err := p.store.Issue(Grant{Principal: "ann", Roles: []Role{Risk}})
	if err != nil {
		t.Fatal(err)
	}
	keeper := NewDoorkeeper(p.store, p.clock, slog.New(slog.DiscardHandler))
	wrong := newSecret(entropy.Seeded(77)).Reveal()
	for i := range failureBurst + 3 {
		_, err := keeper.Token("192.0.2.1:5", wrong)
		want := errs.Unauthorized
		if i >= failureBurst {
			want = errs.Busy
		}
		if !errs.Is(err, want) {
			t.Fatalf("attempt %d gave %v, want %s", i+1, err, want)
		}
	}
	if _, err := keeper.Token("192.0.2.1:6", secret.Reveal()); err != nil {
		t.Errorf("a good token from that address gave %v", err)
	}
	if _, err := keeper.Token("192.0.2.2:5", wrong); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("another address gave %v", err)
	}
	p.clock.Advance(failureInterval)
	if _, err := keeper.Token("192.0.2.1:5", wrong); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("after an interval it gave %v", err)
	}
}

func TestFailuresForget(t *testing.T) {
	var f failures
	now := start
	for i := range failureAddresses {
		address := net.IPv4(10, 0, byte(i>>8), byte(i)).String() + ":1"
		f.exceeded(addressOf(address), now)
	}
	for range failureBurst {
		f.exceeded(addressOf("192.0.2.1:1"), now)
	}
	if !f.exceeded(addressOf("192.0.2.9:1"), now) {
		t.Error("strangers do not share a budget")
	}
	if len(f.budgets) > failureAddresses+1 {
		t.Errorf("%d addresses are remembered", len(f.budgets))
	}
	now = now.Add(clock.Hour)
	if f.exceeded(addressOf("192.0.2.9:1"), now) || len(f.budgets) != 1 {
		t.Errorf("%d addresses are remembered after an hour", len(f.budgets))
	}
}

func TestAddressOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80":          "192.0.2.1/32",
		"[::ffff:192.0.2.1]:80": "192.0.2.1/32",
		"[2001:db8::1:2:3]:80":  "2001:db8::/64",
		"@":                     "invalid Prefix",
	} {
		if got := addressOf(remote).String(); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}

func TestLoopback(t *testing.T) {
	for text, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "0.0.0.0:1": false,
		"[::]:1": false, "192.0.2.1:1": false,
	} {
		address, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		if Loopback(address) != want {
			t.Errorf("%s: %t", text, !want)
		}
	}
}

func TestRulesAndRequire(t *testing.T) {
	rules := Rules{"/a.v1.A/Read": {Viewer}, "/a.v1.A/Stop": {Risk}}
	for _, row := range []struct {
		who       Principal
		procedure string
		want      errs.Kind
		ok        bool
	}{
		{Principal{}, "/a.v1.A/Read", errs.Unauthorized, false},
		{Principal{}, "/a.v1.A/Other", errs.Forbidden, false},
		{Principal{Name: "x", Roles: []Role{Admin}}, "/a.v1.A/Other", errs.Forbidden, false},
		{Principal{Name: "x"}, "/a.v1.A/Read", errs.Forbidden, false},
		{Principal{Name: "x", Roles: []Role{Operator}}, "/a.v1.A/Read", 0, true},
		{Principal{Name: "x", Roles: []Role{Operator}}, "/a.v1.A/Stop", errs.Forbidden, false},
		{Principal{Name: "x", Roles: []Role{Risk}}, "/a.v1.A/Stop", 0, true},
		{Principal{Name: "x", Roles: []Role{Admin}}, "/a.v1.A/Stop", 0, true},
		{local(), "/a.v1.A/Read", 0, true},
		{local(), "/a.v1.A/Stop", errs.Forbidden, false},
	} {
		err := rules.check(With(t.Context(), row.who), row.procedure)
		if (err == nil) != row.ok || err != nil && errs.KindOf(err) != row.want {
			t.Errorf("%+v on %s: %v", row.who, row.procedure, err)
		}
	}
}

// whoAmI answers with the caller's name.
func whoAmI() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, From(r.Context()).Name)
	})
}
