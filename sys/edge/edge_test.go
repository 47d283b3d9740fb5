package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/invariant"
)

func TestTableIsInOrder(t *testing.T) {
	for i, r := range table {
		if int(r.kind) != i {
			t.Errorf("row %d is of kind %s", i, r.kind)
		}
		if strings.HasPrefix(r.kind.String(), "kind(") {
			t.Errorf("row %d has no name", i)
		}
		if got, known := errs.KindNamed(r.kind.String()); !known || got != r.kind {
			t.Errorf("%s is read back as %s", r.kind, got)
		}
	}
	if next := errs.Kind(len(table)); !strings.HasPrefix(next.String(), "kind(") {
		t.Errorf("kind %s has no row", next)
	}
	if got := HTTPStatus(200); got != http.StatusInternalServerError {
		t.Errorf("an unknown kind gives %d", got)
	}
}

// TestKindsCross sends an error of every kind through a Connect server and client.
func TestKindsCross(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	const secret = "/var/lib/surety/segment-12"
	var failure error
	handler := connect.NewUnaryHandler("/test.v1.Test/Do",
		func(context.Context, *connect.Request[empty]) (*connect.Response[empty], error) {
			return nil, failure
		}, connect.WithCodec(codec{}), connect.WithInterceptors(Interceptor(log)))
	server := httptest.NewServer(Handler(options(log), handler))
	defer server.Close()
	client := connect.NewClient[empty, empty](server.Client(), server.URL+"/test.v1.Test/Do",
		connect.WithCodec(codec{}))
	for _, r := range table {
		failure = errs.New(r.kind, "test.do: %s", secret)
		_, err := client.CallUnary(t.Context(), connect.NewRequest(&empty{}))
		back := FromConnect(err, "client")
		if errs.KindOf(back) != r.kind {
			t.Errorf("%s came back as %s: %v", r.kind, errs.KindOf(back), back)
		}
		if shown := strings.Contains(back.Error(), secret); shown != r.open {
			t.Errorf("%s: text shown %t, want %t: %v", r.kind, shown, r.open, back)
		}
		if !r.open && !strings.Contains(logged.String(), secret) {
			t.Errorf("%s: the text was not logged", r.kind)
		}
		logged.Reset()
	}
}

func TestFromConnectWithoutOurHeader(t *testing.T) {
	for code, want := range map[connect.Code]errs.Kind{
		connect.CodeUnavailable:       errs.Unavailable,
		connect.CodeDeadlineExceeded:  errs.Canceled,
		connect.CodeResourceExhausted: errs.Busy,
		connect.CodeUnauthenticated:   errs.Unauthorized,
		connect.CodeUnimplemented:     errs.NotFound,
		connect.CodeUnknown:           errs.Internal,
	} {
		if got := errs.KindOf(FromConnect(connect.NewError(code, errors.New("x")), "t")); got != want {
			t.Errorf("%s gives %s, want %s", code, got, want)
		}
	}
	if FromConnect(nil, "t") != nil || Connect(t.Context(), slog.Default(), "p", nil) != nil {
		t.Error("nil did not stay nil")
	}
}

func TestHandler(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	halted := false
	opts := options(log)
	opts.BodyMax = 8
	opts.Halt = func(invariant.Violation) { halted = true }
	handler := Handler(opts, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic("a defect")
		case "/violation":
			invariant.Check(false, "test: debits differ from credits")
		case "/read":
			if _, err := io.ReadAll(r.Body); err != nil {
				WriteError(w, r, log, err)
			}
		case "/id":
			_, _ = io.WriteString(w, RequestID(r.Context()))
		}
	}))
	for _, row := range []struct {
		name, path, body, id string
		chunked              bool
		status               int
		kind                 string
	}{
		{name: "own id", path: "/id", id: "abc-1.2_3", status: 200},
		{name: "hostile id", path: "/id", id: "a\"b c", status: 200},
		{name: "long id", path: "/id", id: strings.Repeat("a", 65), status: 200},
		{name: "body fits", path: "/read", body: "12345678", status: 200},
		{name: "body told too large", path: "/read", body: "123456789", status: 413,
			kind: "too_large"},
		{name: "body found too large", path: "/read", body: "123456789", chunked: true,
			status: 413, kind: "too_large"},
		{name: "panic", path: "/panic", status: 500, kind: "internal"},
		{name: "violation", path: "/violation", status: 500, kind: "internal"},
	} {
		t.Run(row.name, func(t *testing.T) {
			request := httptest.NewRequest("POST", row.path, strings.NewReader(row.body))
			if row.chunked {
				request.ContentLength = -1
			}
			request.Header.Set(RequestHeader, row.id)
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			if answer.Code != row.status {
				t.Fatalf("status %d, want %d: %s", answer.Code, row.status, answer.Body)
			}
			id := answer.Header().Get(RequestHeader)
			if kept := id == row.id; kept != (row.name == "own id") || id == "" {
				t.Errorf("request id is %q, sent %q", id, row.id)
			}
			if row.kind == "" {
				return
			}
			var failure Failure
			if err := json.Unmarshal(answer.Body.Bytes(), &failure); err != nil {
				t.Fatal(err)
			}
			if failure.Kind != row.kind || failure.RequestID != id {
				t.Errorf("answer %+v, want kind %s and id %s", failure, row.kind, id)
			}
		})
	}
	if !halted {
		t.Error("a violated invariant did not halt the process")
	}
}

func TestHandlerLetsAbortThrough(t *testing.T) {
	handler := Handler(options(slog.New(slog.DiscardHandler)),
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("http.ErrAbortHandler did not reach net/http")
		}
	}()
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

func options(log *slog.Logger) Options {
	return Options{Log: log, NewID: func() ident.ID { return ident.ID{Lo: 42} }}
}

func TestServerLimitsHeaders(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), log)
	server.Start()
	defer server.Close()
	for size, want := range map[int]int{HeaderMax / 2: 200, 2 * HeaderMax: 431} {
		request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Padding", strings.Repeat("x", size))
		answer, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("headers of %d bytes gave %d, want %d", size, answer.StatusCode, want)
		}
	}
}

func TestServerSpeaksHTTP2WithoutTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	}), slog.New(slog.DiscardHandler))
	server.Start()
	defer server.Close()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	answer, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "HTTP/2.0" {
		t.Errorf("spoke %q, %v", body, err)
	}
}

// empty and codec are a message that needs no generated code.
type empty struct{}

type codec struct{}

func (codec) Name() string                { return "proto" }
func (codec) Marshal(any) ([]byte, error) { return nil, nil }
func (codec) Unmarshal([]byte, any) error { return nil }
