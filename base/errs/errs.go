// Package errs gives an error the one property that callers branch on: its kind.
//
// An error from the world (a full disk, a missing record, a caller without authority) is wrapped
// once per boundary as "op: what, with values: cause". The kind travels beside the text, and the
// edge maps it to HTTP, gRPC and exit status in one table each. Text is for people and is never
// matched.
//
// # Boundaries
//
// Refusals of the ledger and of the credit policy are not errors: they are numbered results.
package errs

import (
	"errors"
	"fmt"
)

// Kind says what a caller can do about an error. The numbers are sent and stored: never renumber.
type Kind uint8

// The kinds, from the caller's fault to ours.
const (
	Internal     Kind = 0  // a defect or an unexpected failure: report it
	Invalid      Kind = 1  // the request can never succeed as it is: mend it
	NotFound     Kind = 2  // the thing named does not exist
	Exists       Kind = 3  // the thing exists already and differs from what was sent
	Refused      Kind = 4  // a rule of the business says no; the reason is in the text
	Unauthorized Kind = 5  // who you are is not known
	Forbidden    Kind = 6  // who you are is known and may not
	TooLarge     Kind = 7  // a limit on size or count; the text gives the limit and the amount
	Busy         Kind = 8  // a queue or rate limit: try again later
	Unavailable  Kind = 9  // a part is not running or not reachable: try again later
	Corrupt      Kind = 10 // stored bytes are not what was written: stop and repair
	NoSpace      Kind = 11 // the disk or quota is full
	Locked       Kind = 12 // another process holds the resource
	Canceled     Kind = 13 // the caller went away or its deadline passed
)

// String returns the kind's name as it stands in API errors and logs.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// KindNamed returns the kind of a name that String gave.
func KindNamed(name string) (Kind, bool) {
	for kind := Internal; kind <= Canceled; kind++ {
		if kind.String() == name {
			return kind, true
		}
	}
	return Internal, false
}

var names = [...]string{
	"internal", "invalid", "not_found", "exists", "refused", "unauthorized", "forbidden",
	"too_large", "busy", "unavailable", "corrupt", "no_space", "locked", "canceled",
}

// Error is a message with a kind and, where there is one, a cause.
type Error struct {
	Kind  Kind
	Text  string
	Cause error
}

// Error returns "text: cause", or the text alone.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Text
	}
	return e.Text + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New returns an error of the kind with a formatted text.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of cause's kind with a formatted text before it; nil stays nil.
func Wrap(cause error, format string, args ...any) error {
	if cause == nil {
		return nil
	}
	return &Error{Kind: KindOf(cause), Text: fmt.Sprintf(format, args...), Cause: cause}
}

// As returns an error of the given kind around cause; nil stays nil. Use it at the boundary where
// a foreign error first gets its kind.
func As(kind Kind, cause error, format string, args ...any) error {
	if cause == nil {
		return nil
	}
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...), Cause: cause}
}

// KindOf returns the kind of the outermost Error in err's chain; Internal where there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
