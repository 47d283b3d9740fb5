package client

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// Inside returns a transport to a broker of this process: requests go to its handler as they would
// come from a socket, without one. Answers are held in memory; a broker's have a limit.
func Inside(handler http.Handler) http.RoundTripper { return inside{handler} }

type inside struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (t inside) RoundTrip(r *http.Request) (*http.Response, error) {
	served := r.Clone(r.Context())
	served.RequestURI = r.URL.RequestURI()
	served.RemoteAddr = "127.0.0.1:0"
	if served.Host == "" {
		served.Host = r.URL.Host
	}
	if served.Body == nil {
		served.Body = http.NoBody
	}
	answer := &answer{header: make(http.Header)}
	t.handler.ServeHTTP(answer, served)
	answer.WriteHeader(http.StatusOK)
	return &http.Response{Status: strconv.Itoa(answer.status) + " " + http.StatusText(answer.status),
		StatusCode: answer.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.header, Body: io.NopCloser(&answer.body),
		ContentLength: int64(answer.body.Len()), Request: r}, nil
}

// answer takes what a handler writes. It is an http.ResponseWriter.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

// WriteHeader keeps the first status.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
