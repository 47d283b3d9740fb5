package edge

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"

	"surety/base/errs"
	"surety/base/ident"
	"surety/base/invariant"
)

// RequestHeader carries the request's id in both directions.
const RequestHeader = "X-Request-Id"

// Options are what Handler needs.
type Options struct {
	Log *slog.Logger
	// NewID makes the id of a request that came without one.
	NewID func() ident.ID
	// BodyMax bounds a request's body in bytes; zero means the package's BodyMax.
	BodyMax int64
	// Halt ends the process after an invariant was violated; nil means Exit.
	Halt func(invariant.Violation)
}

// Handler puts the line in front of next: an id, a bound on the body, and a recover.
func Handler(options Options, next http.Handler) http.Handler {
	if options.BodyMax == 0 {
		options.BodyMax = BodyMax
	}
	if options.Halt == nil {
		options.Halt = Exit
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(RequestHeader)
		if !plainID(id) {
			id = options.NewID().String()
		}
		w.Header().Set(RequestHeader, id)
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, id))
		defer recovered(w, r, options)
		if r.ContentLength > options.BodyMax {
			WriteError(w, r, options.Log, errs.New(errs.TooLarge,
				"body of %d bytes, the limit is %d", r.ContentLength, options.BodyMax))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, options.BodyMax)
		next.ServeHTTP(w, r)
	})
}

// Exit ends the process. The violation and its stack have been logged before.
func Exit(invariant.Violation) { os.Exit(1) }

// recovered answers a panic. http.ErrAbortHandler is how a handler drops a connection, and goes on
// to net/http.
func recovered(w http.ResponseWriter, r *http.Request, options Options) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler {
		panic(cause)
	}
	options.Log.Error("handler panicked", "where", r.URL.Path, "request_id", RequestID(r.Context()),
		"panic", cause, "stack", string(debug.Stack()))
	if violation, ok := cause.(invariant.Violation); ok {
		options.Halt(violation)
	}
	WriteError(w, r, options.Log, errs.New(errs.Internal, "handler panicked"))
}

// requestKey is the context key of a request's id.
type requestKey struct{}

// RequestID returns the id of the request that ctx belongs to, empty outside of one.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// plainID reports whether a caller's id is safe to repeat in headers and logs.
func plainID(id string) bool {
	if id == "" || len(id) > requestIDMax {
		return false
	}
	for i := 0; i < len(id); i++ {
		c := id[i]
		plain := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
			c == '-' || c == '_' || c == '.'
		if !plain {
			return false
		}
	}
	return true
}
