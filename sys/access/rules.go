package access

import (
	"context"

	"connectrpc.com/connect"

	"surety/base/errs"
)

// Rules name the roles of which each procedure needs one, by its full name
// ("/ledger.v1.Ledger/Lookup").
type Rules map[string][]Role

// Interceptor returns what a Connect handler needs to keep the rules. It stands inside
// edge.Interceptor, which gives its errors their codes.
func (rules Rules) Interceptor() connect.Interceptor { return ruled{rules} }

// check tells whether the caller of ctx may call the procedure.
func (rules Rules) check(ctx context.Context, procedure string) error {
	need, named := rules[procedure]
	if !named {
		return errs.New(errs.Forbidden, "access: no rule opens %s", procedure)
	}
	return Require(ctx, need...)
}

type ruled struct{ rules Rules }

// WrapUnary checks before the call.
func (r ruled) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		if err := r.rules.check(ctx, request.Spec().Procedure); err != nil {
			return nil, err
		}
		return next(ctx, request)
	}
}

// WrapStreamingClient leaves clients as they are.
func (r ruled) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler checks before the stream.
func (r ruled) WrapStreamingHandler(
	next connect.StreamingHandlerFunc,
) connect.StreamingHandlerFunc {
	return func(ctx context.Context, stream connect.StreamingHandlerConn) error {
		if err := r.rules.check(ctx, stream.Spec().Procedure); err != nil {
			return err
		}
		return next(ctx, stream)
	}
}
