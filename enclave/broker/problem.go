package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"surety/base/errs"
	"surety/enclave/client"
	"surety/sys/edge"
)

// problemType is what Trustee's errors begin with; guests look at what is behind it.
const problemType = "https://github.com/confidential-containers/kbs/errors/"

// answer makes a handler of an act: its value as JSON, or its error as a problem.
func (b *Broker) answer(act func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, client.MaxMessage)
		value, err := act(r)
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
	body, err := readBody(r)
	if err != nil {
		return err
	}
	return decodeJSON(body, into)
}

// decodeStrict is decodeBody for administrators: what is not understood is not passed over.
func decodeStrict(r *http.Request, into any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	defer clear(body)
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	return decodeOne(decoder, into)
}

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, errs.New(errs.TooLarge, "the request has more than %d bytes", large.Limit)
	}
	return body, errs.As(errs.Canceled, err, "the request broke off")
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
