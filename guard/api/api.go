// Package api serves the guard over Connect: what the board shows, and the breaches.
//
// # Boundaries
//
// Freezes and their release by two people are the ledger's to serve (ledger/api): a stop that the
// guard took is released there like any other.
package api

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"

	guardv1 "surety/api/guard/v1"
	"surety/base/clock"
	"surety/base/ident"
	"surety/guard/client"
	"surety/sys/access"
)

// Service serves one guard.
type Service struct{ guard client.Guard }

// New returns a service over the guard.
func New(of client.Guard) *Service { return &Service{guard: of} }

// Status returns what the board shows.
func (s *Service) Status(ctx context.Context, _ *connect.Request[guardv1.StatusRequest],
) (*connect.Response[guardv1.StatusResponse], error) {
	status, err := s.guard.Status(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(StatusText(&status)), nil
}

// ListBreaches returns breaches, newest first.
func (s *Service) ListBreaches(ctx context.Context,
	request *connect.Request[guardv1.ListBreachesRequest],
) (*connect.Response[guardv1.ListBreachesResponse], error) {
	breaches, err := s.guard.Breaches(ctx, client.Filter{State: request.Msg.State,
		Limit: int(request.Msg.Limit)})
	if err != nil {
		return nil, err
	}
	response := &guardv1.ListBreachesResponse{}
	for i := range breaches {
		response.Breaches = append(response.Breaches, BreachText(&breaches[i]))
	}
	return connect.NewResponse(response), nil
}

// GetBreach returns one breach with both records.
func (s *Service) GetBreach(ctx context.Context, request *connect.Request[guardv1.GetBreachRequest],
) (*connect.Response[guardv1.Breach], error) {
	id, err := ident.Parse(request.Msg.Id)
	if err != nil {
		return nil, err
	}
	breach, err := s.guard.Breach(ctx, id)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(BreachText(&breach)), nil
}

// Resolve marks a breach confirmed, false or drilled, in the name of the caller.
func (s *Service) Resolve(ctx context.Context, request *connect.Request[guardv1.ResolveRequest],
) (*connect.Response[guardv1.Breach], error) {
	id, err := ident.Parse(request.Msg.Id)
	if err != nil {
		return nil, err
	}
	breach, err := s.guard.Resolve(ctx, client.Resolution{Breach: id, State: request.Msg.State,
		Note: request.Msg.Note, By: access.From(ctx).ID()})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(BreachText(&breach)), nil
}

// StatusText returns a status as texts.
func StatusText(s *client.Status) *guardv1.StatusResponse {
	text := &guardv1.StatusResponse{
		State: s.State, Mode: s.Mode, EventsChecked: s.EventsChecked,
		PostingsChecked: s.PostingsChecked, OpenExpectations: uint64(max(s.OpenExpectations, 0)),
		BreachesOpen: uint64(max(s.BreachesOpen, 0)), BreachesTotal: uint64(max(s.BreachesTotal,
			0)),
		LagMillis: millis(s.Lag), CanaryAt: instant(s.CanaryAt), CanaryAgeMillis: millis(s.CanaryAge),
		MoneyOutAllowed: s.MoneyOut, MoneyOutReason: s.MoneyOutReason,
	}
	for i := range s.Invariants {
		v := &s.Invariants[i]
		text.Invariants = append(text.Invariants, &guardv1.Invariant{Name: v.Name, Title: v.Title,
			State: v.State, CheckedAt: instant(v.CheckedAt), AgeMillis: millis(v.Age),
			StaleAfterMillis: millis(v.StaleAfter), Checked: v.Checked, Money: v.Money.String(),
			Detail: v.Detail})
	}
	return text
}

// BreachText returns a breach as texts.
func BreachText(b *client.Breach) *guardv1.Breach {
	text := &guardv1.Breach{
		Id: b.ID.String(), Class: b.Class, Title: b.Title, Severity: b.Severity, Rule: b.Rule,
		Currency: b.Currency, MoneyAtRisk: b.AtRisk.String(), Expected: b.Expected, Found: b.Found,
		FirstSeen: instant(b.FirstSeen), DecidableAt: instant(b.DecidableAt),
		DetectedAt: instant(b.DetectedAt), State: b.State, Note: b.Note, Differing: b.Differing,
	}
	if text.Expected == "" {
		text.Expected = b.EventBody // what was meant, where no posting was derived from it
	}
	if !b.Event.IsZero() {
		text.Event = b.Event.String()
	}
	if !b.Loan.IsZero() {
		text.Loan = b.Loan.String()
	}
	var stops []string
	for _, stop := range b.Stops {
		stops = append(stops, stop.Text+": "+strings.ReplaceAll(stop.Outcome, "_", " "))
		if stop.Outcome == client.StopInForce {
			text.Freeze = stop.Freeze.String()
		}
	}
	text.Stop = strings.Join(stops, "; ")
	return text
}

func millis(d clock.Duration) int64 { return int64(d / clock.Millisecond) }

func instant(t clock.Instant) string {
	if t == 0 {
		return ""
	}
	return time.Unix(0, int64(t)).UTC().Format(time.RFC3339Nano)
}
