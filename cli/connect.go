package cli

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spf13/pflag"

	"surety/base/errs"
	"surety/sys/access"
	"surety/sys/presence"
)

// target is the node a command talks to, as its flags and the environment say.
type target struct {
	env     *Env
	address string
	token   string
	dataDir string
}

// targetFlags adds the flags that say which node to talk to, and returns where they will stand.
func targetFlags(env *Env, flags *pflag.FlagSet) *target {
	t := &target{env: env}
	flags.StringVar(&t.address, "address", "",
		"host:port or URL of the node (SURETY_ADDRESS; default: the node of --data-dir)")
	flags.StringVar(&t.token, "token", "",
		"bearer token (SURETY_TOKEN; needed unless the node is on this machine)")
	dataDirFlag(env, flags, &t.dataDir)
	return t
}

// dataDirFlag adds --data-dir.
func dataDirFlag(env *Env, flags *pflag.FlagSet, into *string) {
	fallback := env.Getenv("SURETY_DATA_DIR")
	if fallback == "" {
		fallback = defaultDataDir
	}
	flags.StringVar(into, "data-dir", fallback, "directory a node keeps its data in (SURETY_DATA_DIR)")
}

// defaultDataDir is where `surety up` keeps its data, below the working directory.
const defaultDataDir = "surety-data"

// listener returns host:port of the node's listener of the name ("http", "ledger"): what --address
// says, or SURETY_ADDRESS, or what the node of the data directory wrote. The error is of kind
// Unavailable where there is none.
func (t *target) listener(name string) (string, error) {
	address := t.address
	if address == "" {
		address = t.env.Getenv("SURETY_ADDRESS")
	}
	if address != "" {
		return address, nil
	}
	record, err := presence.Find(t.dataDir)
	if err != nil {
		return "", err
	}
	address = record.Addresses[name]
	if address == "" {
		return "", errs.New(errs.Unavailable, "the node of %s has no %s listener", t.dataDir, name)
	}
	return address, nil
}

// secret returns the token as text, empty where none was given.
func (t *target) secret() string {
	if t.token != "" {
		return t.token
	}
	return t.env.Getenv("SURETY_TOKEN")
}

// http returns a client that carries the token, and the base URL of the node's HTTP listener
// without a slash at its end. The token goes to that host alone, and in clear text only to this
// machine: for another it must be https, kind Invalid otherwise.
func (t *target) http() (*http.Client, string, error) {
	address, err := t.listener("http")
	if err != nil {
		return nil, "", err
	}
	base := strings.TrimRight(address, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	secret := t.secret()
	if secret != "" {
		if _, err := access.ParseSecret(secret); err != nil {
			return nil, "", err
		}
	}
	if secret != "" && strings.HasPrefix(base, "http://") && !loopbackURL(base) {
		return nil, "", errs.New(errs.Invalid,
			"%s would send the token in clear text: use https, or an ssh tunnel", base)
	}
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answerTimeout,
		ForceAttemptHTTP2:     true,
	}
	client := &http.Client{
		Transport: bearer{secret: secret, next: transport},
		// A redirect could carry the token elsewhere; our API has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client, base, nil
}

// loopbackURL reports whether a plain http URL names this machine.
func loopbackURL(base string) bool {
	parsed, err := url.Parse(base)
	if err != nil {
		return false
	}
	host := parsed.Hostname()
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// bearer adds the token to every request.
type bearer struct {
	secret string
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.secret != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.secret)
	}
	return b.next.RoundTrip(r)
}
