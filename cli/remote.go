package cli

import (
	"context"
	"maps"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"surety/base/ident"
	"surety/base/money"
	"surety/sys/edge"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// answer is a message from a node as -o json shows it: with every field, by its name in the schema.
type answer struct{ message proto.Message }

// MarshalJSON implements json.Marshaler.
func (a answer) MarshalJSON() ([]byte, error) {
	return protojson.MarshalOptions{EmitDefaultValues: true, UseProtoNames: true}.Marshal(a.message)
}

// call makes one call of a node and gives its error the kind the node said.
func call[Request, Response any](ctx context.Context,
	method func(context.Context, *connect.Request[Request]) (*connect.Response[Response], error),
	request *Request, what string,
) (*Response, error) {
	response, err := method(ctx, connect.NewRequest(request))
	if err != nil {
		return nil, edge.FromConnect(err, what)
	}
	return response.Msg, nil
}

// majorUnits shows an amount of minor units in a currency, as it came where either is not known.
func majorUnits(minor, currency string) string {
	c, err := money.CurrencyOf(currency)
	if err != nil {
		return minor
	}
	amount, err := money.ParseMinor(minor)
	if err != nil {
		return minor
	}
	return c.Format(amount)
}

// minorUnits reads an amount in major units of a currency, for the wire.
func minorUnits(text, currency string) (string, error) {
	c, err := money.CurrencyOf(currency)
	if err != nil {
		return "", err
	}
	amount, err := c.Parse(text)
	if err != nil {
		return "", err
	}
	return amount.String(), nil
}

// sortedKeys returns the keys of a map in order, so that output is the same each time.
func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// newID returns a new time-ordered id.
func (e *Env) newID() ident.ID {
	return entropy.NewIdents(entropy.System(), wallclock.System().Now).New()
}
