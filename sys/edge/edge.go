// Package edge is the line that requests and errors cross between the process and its callers.
//
// Inside, an error is an errs.Kind and a text. Here, and nowhere else, the kind becomes an HTTP
// status, a Connect code or an exit status, by one table. Every request gets an id, a bound on its
// body, and a recover; every error that leaves carries its kind by name, so that our own client
// gives back the same kind the server had.
//
// # Invariants
//
// An error of a kind that is our fault never shows its text to the caller: it is logged with the
// request's id, and the caller gets that id. A panic in a handler is logged and answered, except
// an invariant.Violation, which halts the process: net/http would otherwise recover it and go on.
//
// # Boundaries
//
// Who the caller is and what he may do is decided in sys/access.
package edge

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"surety/base/errs"
)

// Failure is the JSON body of every error of a plain HTTP handler.
type Failure struct {
	Kind      string `json:"kind"`       // as errs.Kind.String
	Message   string `json:"message"`    // safe to show
	RequestID string `json:"request_id"` // what to quote in a report
}

// WriteError answers a plain HTTP request with err and logs what the caller does not get to see.
func WriteError(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	kind := kindOf(err)
	id := RequestID(r.Context())
	record(log, r.URL.Path, id, kind, err)
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set(kindHeader, kind.String())
	if kind == errs.Busy {
		header.Set("Retry-After", "1")
	}
	w.WriteHeader(HTTPStatus(kind))
	// The caller may be gone: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(Failure{
		Kind: kind.String(), Message: safeText(kind, err, id), RequestID: id,
	})
}

// kindHeader carries errs.Kind.String beside an error, in HTTP headers and gRPC trailers.
const kindHeader = "Surety-Error-Kind"

// safeText is what the caller may read of err.
func safeText(kind errs.Kind, err error, requestID string) string {
	if rowOf(kind).open {
		return clip(err.Error())
	}
	return safeSentence(kind) + "; request " + requestID
}

func safeSentence(kind errs.Kind) string {
	switch kind {
	case errs.Unavailable:
		return "a part that this needs is not available, try again later"
	case errs.NoSpace:
		return "the server has no space left to record this, nothing was done"
	case errs.Locked:
		return "what this needs is held by another process"
	case errs.Corrupt:
		return "stored data failed its check, an operator has to look at it"
	}
	return "the server failed and has logged why"
}

// record logs what went wrong on our side of the line.
func record(log *slog.Logger, where, id string, kind errs.Kind, err error) {
	if rowOf(kind).open {
		log.Debug("request refused", "where", where, "request_id", id, "kind", kind.String(),
			"error", err)
		return
	}
	log.Error("request failed", "where", where, "request_id", id, "kind", kind.String(),
		"error", err)
}

func clip(text string) string {
	if len(text) > textMax {
		return text[:textMax] + "..."
	}
	return text
}
