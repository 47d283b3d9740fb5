package edge

import (
	"net/http"

	"connectrpc.com/connect"

	"surety/base/errs"
)

// row says how one kind of error leaves the process.
type row struct {
	kind   errs.Kind
	status int          // HTTP status
	code   connect.Code // Connect and gRPC
	exit   int          // exit status of a command
	open   bool         // the text may be shown to the caller; otherwise it is only logged
}

// table is the one mapping of kinds, in the order of their numbers. Texts that may name files,
// peers or stored bytes stay inside: the caller gets a safe sentence and the request's id.
var table = [...]row{
	{errs.Internal, http.StatusInternalServerError, connect.CodeInternal, 1, false},
	{errs.Invalid, http.StatusBadRequest, connect.CodeInvalidArgument, 2, true},
	{errs.NotFound, http.StatusNotFound, connect.CodeNotFound, 1, true},
	{errs.Exists, http.StatusConflict, connect.CodeAlreadyExists, 1, true},
	{errs.Refused, http.StatusUnprocessableEntity, connect.CodeFailedPrecondition, 1, true},
	{errs.Unauthorized, http.StatusUnauthorized, connect.CodeUnauthenticated, 1, true},
	{errs.Forbidden, http.StatusForbidden, connect.CodePermissionDenied, 1, true},
	{errs.TooLarge, http.StatusRequestEntityTooLarge, connect.CodeResourceExhausted, 1, true},
	{errs.Busy, http.StatusTooManyRequests, connect.CodeResourceExhausted, 1, true},
	{errs.Unavailable, http.StatusServiceUnavailable, connect.CodeUnavailable, 1, false},
	{errs.Corrupt, http.StatusInternalServerError, connect.CodeDataLoss, 1, false},
	{errs.NoSpace, http.StatusInsufficientStorage, connect.CodeResourceExhausted, 1, false},
	{errs.Locked, http.StatusConflict, connect.CodeAborted, 1, false},
	{errs.Canceled, StatusClientClosedRequest, connect.CodeCanceled, 1, true},
}

// StatusClientClosedRequest is what is logged for a caller that went away; nobody reads it.
const StatusClientClosedRequest = 499

// HTTPStatus returns the HTTP status of a kind.
func HTTPStatus(kind errs.Kind) int { return rowOf(kind).status }

// Code returns the Connect code of a kind.
func Code(kind errs.Kind) connect.Code { return rowOf(kind).code }

// ExitStatus returns the exit status of a command that failed with a kind.
func ExitStatus(kind errs.Kind) int { return rowOf(kind).exit }

// rowOf returns the kind's row; a kind from a newer peer counts as Internal.
func rowOf(kind errs.Kind) row {
	if int(kind) < len(table) {
		return table[kind]
	}
	return table[errs.Internal]
}

// kindOfCode returns the most likely kind behind a code that came without our header, as from a
// proxy.
func kindOfCode(code connect.Code) errs.Kind {
	switch code {
	case connect.CodeDeadlineExceeded:
		return errs.Canceled
	case connect.CodeResourceExhausted:
		return errs.Busy
	case connect.CodeUnimplemented:
		return errs.NotFound
	}
	for _, r := range table {
		if r.code == code {
			return r.kind
		}
	}
	return errs.Internal
}
