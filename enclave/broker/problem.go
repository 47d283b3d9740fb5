package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave/client"
	"surety/sys/edge"
	"surety/sys/wallclock"
)

// problemType is what Trustee's errors begin with; guests look at what is behind it.
const problemType = "https://github.com/confidential-containers/kbs/errors/"

// answer makes a handler of an act: its value as JSON, or its error as a problem.
func (b *Broker) answer(at gate, act func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		value, err := b.admitted(at, w, r, act)
		if err != nil {
			b.refuse(w, r, err)
			return
		}
		if with, ok := value.(withCookie); ok {
			http.SetCookie(w, with.cookie(r.TLS != nil))
			value = with.body
		}
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", "no-store")
		// The caller may be gone: there is nobody left to tell.
		_ = json.NewEncoder(w).Encode(value)
	})
}

// admitted runs the act once there is room for it, on a body that was read whole.
func (b *Broker) admitted(at gate, w http.ResponseWriter, r *http.Request,
	act func(*http.Request) (any, error)) (any, error) {
	leave, err := at.enter(r.Context(), b.deps.Clock)
	if err != nil {
		return nil, err
	}
	defer leave()
	body, err := readBody(w, r, at.body)
	if err != nil {
		return nil, err
	}
	defer clear(body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return act(r)
}

// gate bounds what is served at once, and so the memory that requests take.
type gate struct {
	body    int64         // limit of a request's body, in bytes
	inside  chan struct{} // one for each request being served
	waiting chan struct{} // one for each that waits for that
}

func newGate(body int64, inside int) gate {
	return gate{body, make(chan struct{}, inside), make(chan struct{}, maxWaiting)}
}

// enter waits for room, for a while. Kind Busy where there is none, or too many wait already.
func (g gate) enter(ctx context.Context, of wallclock.Clock) (leave func(), err error) {
	leave = func() { <-g.inside }
	select {
	case g.inside <- struct{}{}:
		return leave, nil
	default:
	}
	select {
	case g.waiting <- struct{}{}:
		defer func() { <-g.waiting }()
	default:
		return nil, errs.New(errs.Busy, "%d requests are served and %d wait, the limit", cap(g.inside),
			cap(g.waiting))
	}
	timer := of.NewTimer(maxPatience)
	defer timer.Stop()
	select {
	case g.inside <- struct{}{}:
		return leave, nil
	case <-timer.C():
		return nil, errs.New(errs.Busy, "%d requests were being served for %d s, the limit",
			cap(g.inside), maxPatience/clock.Second)
	case <-ctx.Done():
		return nil, errs.As(errs.Canceled, ctx.Err(), "the request waited for others")
	}
}

// readBody reads a request's body, which has to come within a while: whoever sends it slowly takes
// the place of others.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errs.New(errs.TooLarge, "the request has %d bytes, the limit is %d", r.ContentLength,
			limit)
	}
	// Not every connection has deadlines: one within this process has none, and needs none.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = control.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, errs.New(errs.TooLarge, "the request has more than %d bytes", large.Limit)
	}
	return body, errs.As(errs.Canceled, err, "the request broke off, or took more than %s", bodyTimeout)
}

// withCookie is an answer that names the session.
type withCookie struct {
	session string
	body    any
}

func (c withCookie) cookie(secure bool) *http.Cookie {
	return &http.Cookie{Name: client.Cookie, Value: c.session, Path: "/kbs", HttpOnly: true,
		Secure: secure, SameSite: http.SameSiteStrictMode}
}

// refuse answers with a problem. What is our fault is logged, and the caller gets a safe sentence.
func (b *Broker) refuse(w http.ResponseWriter, r *http.Request, err error) {
	kind := errs.KindOf(err)
	detail := err.Error()
	switch kind {
	case errs.Internal, errs.Corrupt, errs.NoSpace, errs.Unavailable:
		b.deps.Log.Error("the key broker cannot answer", "path", r.URL.Path, "error", err)
		detail = "the broker cannot do this now, its operator has to look: " + kind.String()
	}
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	if kind == errs.Busy {
		header.Set("Retry-After", "1")
	}
	w.WriteHeader(edge.HTTPStatus(kind))
	// The caller may be gone: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(client.Problem{Type: problemType + problemOf(kind, r.URL.Path),
		Detail: detail, Kind: kind.String()})
}

// problemOf names a refusal as Trustee does.
func problemOf(kind errs.Kind, path string) string {
	attesting := path == client.PathAuth || path == client.PathAttest
	switch kind {
	case errs.Invalid, errs.TooLarge:
		if attesting {
			return "AttestationError"
		}
		return "SerdeError"
	case errs.NotFound:
		return "InvalidRequestPath"
	case errs.Forbidden:
		if attesting {
			return "AttestationError"
		}
		return "PolicyDeny"
	case errs.Unauthorized:
		if attesting {
			return "AttestationError"
		}
		return "TokenNotFound"
	}
	return "PluginInternalError"
}

// decodeBody reads one JSON object and nothing behind it. Members that are not known are passed
// over: guests of newer protocols send some.
func decodeBody(r *http.Request, into any) error {
	return decodeOne(json.NewDecoder(r.Body), into)
}

// decodeStrict is decodeBody for administrators: what is not understood is not passed over.
func decodeStrict(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	return decodeOne(decoder, into)
}

func decodeJSON(body []byte, into any) error {
	return decodeOne(json.NewDecoder(bytes.NewReader(body)), into)
}

func decodeOne(decoder *json.Decoder, into any) error {
	if err := decoder.Decode(into); err != nil {
		return errs.As(errs.Invalid, err, "the request is not what is asked for")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errs.New(errs.Invalid, "the request has something behind its object")
	}
	return nil
}
