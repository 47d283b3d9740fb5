package access

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"surety/base/errs"
	"surety/sys/edge"
	"surety/sys/wallclock"
)

// Doorkeeper finds out who is calling.
type Doorkeeper struct {
	store    *Store
	clock    wallclock.Clock
	log      *slog.Logger
	failures failures
}

// NewDoorkeeper returns a doorkeeper who knows the store's tokens.
func NewDoorkeeper(store *Store, clock wallclock.Clock, log *slog.Logger) *Doorkeeper {
	return &Doorkeeper{store: store, clock: clock, log: log}
}

// Door is one listener.
type Door struct {
	// Open lets requests without a token in as "local". It may be set only for a listener that
	// is Loopback.
	Open bool
	// Hosts are host names, besides loopback ones, by which an open door may be called.
	Hosts []string
	// Public reports whether a path needs no caller at all: the console's own files, and health.
	// Nil: none.
	Public func(path string) bool
}

// Loopback reports whether only this machine can reach a listener at the address.
func Loopback(address net.Addr) bool {
	endpoint, err := netip.ParseAddrPort(address.String())
	return err == nil && endpoint.Addr().Unmap().IsLoopback()
}

// Handler lets requests through to next with their Principal in the context, and answers the
// others: 401 without a valid token, 403 for a page of another origin, 429 for too many failures.
func (k *Doorkeeper) Handler(door Door, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		principal, err := k.admit(door, r)
		if err != nil {
			if errs.Is(err, errs.Unauthorized) {
				header.Set("WWW-Authenticate", `Bearer realm="surety"`)
			}
			edge.WriteError(w, r, k.log, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(With(r.Context(), principal)))
	})
}

// admit returns the caller of r; the zero Principal on a public path.
func (k *Doorkeeper) admit(door Door, r *http.Request) (Principal, error) {
	if text, given := bearer(r); given {
		return k.Token(r.RemoteAddr, text)
	}
	public := door.Public != nil && door.Public(r.URL.Path)
	if door.Open {
		if err := checkOpen(door, r); err != nil {
			return Principal{}, err
		}
		return local(), nil
	}
	if public {
		return Principal{}, nil
	}
	return Principal{}, errs.New(errs.Unauthorized, "access: this door needs a token")
}

// Token returns the principal of a token that came from the remote host:port. Binary protocols
// call it with the token of their first frame. The error is of kind Unauthorized, or Busy for an
// address that failed too often.
func (k *Doorkeeper) Token(remote, text string) (Principal, error) {
	secret, err := ParseSecret(text)
	var principal Principal
	if err == nil {
		principal, err = k.store.Check(secret)
	}
	if !errs.Is(err, errs.Unauthorized) {
		return principal, err
	}
	if k.failures.exceeded(addressOf(remote), k.clock.Now()) {
		return Principal{}, errs.New(errs.Busy, "access: too many failed attempts, wait %d seconds",
			failureInterval/1e9)
	}
	k.log.Warn("token refused", "remote", remote)
	return Principal{}, err
}

// Local returns the caller of an open door that speaks a binary protocol.
func (k *Doorkeeper) Local() Principal { return local() }

// bearer returns the text of an Authorization header. Another scheme is given, and is no token.
func bearer(r *http.Request) (text string, given bool) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", false
	}
	scheme, text, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", true
	}
	return strings.TrimSpace(text), true
}

// checkOpen tells why a request without a token may not pass an open door: kind Unauthorized where
// a token would help, Forbidden where a web page is behind it.
func checkOpen(door Door, r *http.Request) error {
	endpoint, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !endpoint.Addr().Unmap().IsLoopback() {
		return errs.New(errs.Unauthorized, "access: from outside this machine a token is needed")
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "Via"} {
		if r.Header.Get(name) != "" {
			return errs.New(errs.Unauthorized, "access: through a proxy a token is needed")
		}
	}
	if !knownHost(r.Host, door.Hosts) {
		return errs.New(errs.Forbidden, "access: host %q is not a name of this machine",
			clip(r.Host))
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return errs.As(errs.Forbidden, err, "access")
	}
	return nil
}

// knownHost reports whether a Host header names this machine's loopback or one of the names.
func knownHost(header string, names []string) bool {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" {
		return true
	}
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().IsLoopback()
	}
	for _, name := range names {
		if strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}
