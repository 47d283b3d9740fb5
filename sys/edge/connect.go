package edge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"connectrpc.com/connect"

	"surety/base/errs"
)

// Connect returns err as a Connect error that carries its kind, for a handler to return. The
// caller reads a safe text; the rest is logged. Nil stays nil, and a *connect.Error is kept.
func Connect(ctx context.Context, log *slog.Logger, procedure string, err error) error {
	if err == nil {
		return nil
	}
	var already *connect.Error
	if errors.As(err, &already) {
		return already
	}
	kind := kindOf(err)
	id := RequestID(ctx)
	record(log, procedure, id, kind, err)
	out := connect.NewError(Code(kind), errors.New(safeText(kind, err, id)))
	out.Meta().Set(kindHeader, kind.String())
	return out
}

// FromConnect is the inverse of Connect in a client: it returns an error of the kind the server
// had, with text before the server's. What never reached a server is Unavailable. Nil stays nil.
func FromConnect(err error, text string) error {
	if err == nil {
		return nil
	}
	var remote *connect.Error
	if !errors.As(err, &remote) {
		return errs.As(kindOf(err), err, "%s", text)
	}
	kind, known := errs.KindNamed(remote.Meta().Get(kindHeader))
	if !known {
		kind = kindOfCode(remote.Code())
	}
	return errs.As(kind, errors.New(remote.Message()), "%s", text)
}

// kindOf is errs.KindOf that also knows the errors of contexts and of http.MaxBytesReader.
func kindOf(err error) errs.Kind {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errs.Canceled
	case errors.As(err, &tooLarge):
		return errs.TooLarge
	}
	return errs.KindOf(err)
}

// Interceptor returns what a Connect handler needs: errors of handlers leave by Connect.
func Interceptor(log *slog.Logger) connect.Interceptor { return interceptor{log} }

type interceptor struct{ log *slog.Logger }

// WrapUnary gives an error its code on the way out.
func (i interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		response, err := next(ctx, request)
		if err != nil {
			return nil, Connect(ctx, i.log, request.Spec().Procedure, err)
		}
		return response, nil
	}
}

// WrapStreamingClient leaves clients as they are.
func (i interceptor) WrapStreamingClient(
	next connect.StreamingClientFunc,
) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler gives an error its code on the way out.
func (i interceptor) WrapStreamingHandler(
	next connect.StreamingHandlerFunc,
) connect.StreamingHandlerFunc {
	return func(ctx context.Context, stream connect.StreamingHandlerConn) error {
		return Connect(ctx, i.log, stream.Spec().Procedure, next(ctx, stream))
	}
}
