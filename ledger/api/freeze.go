package api

import (
	"context"
	"hash/crc32"
	"time"

	"connectrpc.com/connect"

	ledgerv1 "surety/api/ledger/v1"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/client"
	"surety/sys/access"
)

// The keys under which a freeze's words stand in the ledger's metadata: the core keeps numbers.
const (
	metaReason = "reason"
	metaBy     = "by"
)

// reasonMax bounds a reason in bytes.
const reasonMax = 400

// guardActor is in whose name the guard freezes; it keeps its words with the breach.
var guardActor = ident.Derive("actor", "guard")

// Freeze stops money in a scope, in the name of the caller.
func (s *Service) Freeze(ctx context.Context,
	request *connect.Request[ledgerv1.FreezeRequest],
) (*connect.Response[ledgerv1.FreezeState], error) {
	by := access.From(ctx)
	freeze, err := s.freezeFrom(ctx, request.Msg)
	if err != nil {
		return nil, errs.Wrap(err, "ledger.freeze")
	}
	freeze.ID, freeze.Actor = s.idents.New(), by.ID()
	// The words first: a freeze without them would be in force and unexplained.
	err = s.ledger.SetNames(ctx, []client.Name{{AccountID: freeze.ID,
		Metadata: map[string]string{metaReason: request.Msg.Reason, metaBy: by.Name}}})
	if err != nil {
		return nil, err
	}
	if err := s.apply(ctx, freeze, "ledger.freeze"); err != nil {
		return nil, err
	}
	freeze.Timestamp = s.clock.Now()
	state, err := s.state(ctx, &freeze, ledger.FreezeOpen)
	return connect.NewResponse(state), err
}

func (s *Service) apply(ctx context.Context, freeze ledger.Freeze, op string) error {
	results, err := s.ledger.ApplyFreezes(ctx, []ledger.Freeze{freeze})
	if err != nil {
		return err
	}
	if results[0] != ledger.FreezeOK {
		return errs.New(errs.Refused, "%s: %s", op, results[0])
	}
	return nil
}

func (s *Service) freezeFrom(ctx context.Context, m *ledgerv1.FreezeRequest) (ledger.Freeze,
	error) {
	var z ledger.Freeze
	if m.Reason == "" || len(m.Reason) > reasonMax {
		return z, errs.New(errs.Invalid, "reason: has %d bytes, must have 1 to %d",
			len(m.Reason), reasonMax)
	}
	z.Reason = max(1, crc32.ChecksumIEEE([]byte(m.Reason)))
	var err error
	if z.UserData128, err = optionalID(m.Breach); err != nil {
		return z, errs.Wrap(err, "breach")
	}
	if m.ExpiresIn != "" {
		d, err := time.ParseDuration(m.ExpiresIn)
		if err != nil || d <= 0 {
			return z, errs.New(errs.Invalid, "expires_in: %.40q is not a duration such as 24h",
				m.ExpiresIn)
		}
		z.ExpiresAt = s.clock.Now().Add(clock.Duration(d))
	}
	return z, s.scope(ctx, m, &z)
}

// scope fills in what is to be stopped.
func (s *Service) scope(ctx context.Context, m *ledgerv1.FreezeRequest,
	z *ledger.Freeze) (err error) {
	switch m.Scope {
	case "account":
		z.Scope = ledger.FreezeAccount
		if z.Sides, err = sides(m.Sides); err != nil {
			return err
		}
		z.AccountID, err = s.account(ctx, m.Account)
		return err
	case "code":
		z.Scope, z.Ledger = ledger.FreezeCode, m.Ledger
		z.Code, err = code(m.Code)
		return err
	case "ledger":
		z.Scope, z.Ledger = ledger.FreezeLedger, m.Ledger
		return nil
	}
	return errs.New(errs.Invalid, "scope: %.40q must be account, code or ledger", m.Scope)
}

func sides(text string) (ledger.FreezeSides, error) {
	switch text {
	case "debits":
		return ledger.FreezeDebits, nil
	case "credits":
		return ledger.FreezeCredits, nil
	case "both", "":
		return ledger.FreezeBoth, nil
	}
	return 0, errs.New(errs.Invalid, "sides: %.40q must be debits, credits or both", text)
}

// RequestRelease proposes to end a freeze; a second person ends it with Release.
func (s *Service) RequestRelease(ctx context.Context,
	request *connect.Request[ledgerv1.RequestReleaseRequest],
) (*connect.Response[ledgerv1.FreezeState], error) {
	if n := len(request.Msg.Reason); n == 0 || n > reasonMax {
		return nil, errs.New(errs.Invalid,
			"ledger.request_release: reason: has %d bytes, must have 1 to %d", n, reasonMax)
	}
	freeze, err := s.open(ctx, request.Msg.Id)
	if err != nil {
		return nil, err
	}
	by := access.From(ctx)
	s.mu.Lock()
	if len(s.proposals) >= proposalsMax {
		clear(s.proposals)
	}
	s.proposals[freeze.ID] = proposal{by: by.Name, actor: by.ID(), reason: request.Msg.Reason}
	s.mu.Unlock()
	state, err := s.state(ctx, &freeze, ledger.FreezeOpen)
	return connect.NewResponse(state), err
}

// Release ends a freeze whose release another person proposed.
func (s *Service) Release(ctx context.Context,
	request *connect.Request[ledgerv1.ReleaseRequest],
) (*connect.Response[ledgerv1.FreezeState], error) {
	freeze, err := s.open(ctx, request.Msg.Id)
	if err != nil {
		return nil, err
	}
	by := access.From(ctx)
	s.mu.Lock()
	proposed, found := s.proposals[freeze.ID]
	s.mu.Unlock()
	if !found {
		return nil, errs.New(errs.Refused,
			"ledger.release: nobody has proposed to release freeze %s: request the release first", freeze.ID)
	}
	if proposed.actor == by.ID() {
		return nil, errs.New(errs.Refused,
			"ledger.release: %s proposed this release; a second person must confirm it", by.Name)
	}
	release := ledger.Freeze{ID: s.idents.New(), FreezeID: freeze.ID, Actor: proposed.actor,
		SecondActor: by.ID(), Reason: max(1, crc32.ChecksumIEEE([]byte(proposed.reason))),
		Flags: ledger.FreezeRelease}
	err = s.ledger.SetNames(ctx, []client.Name{{AccountID: release.ID,
		Metadata: map[string]string{metaReason: proposed.reason,
			metaBy: proposed.by + ", " + by.Name}}})
	if err != nil {
		return nil, err
	}
	if err := s.apply(ctx, release, "ledger.release"); err != nil {
		return nil, err
	}
	state, err := s.state(ctx, &freeze, ledger.FreezeReleased)
	if err != nil {
		return nil, err
	}
	state.ReleasedBy = by.Name
	s.mu.Lock()
	delete(s.proposals, freeze.ID)
	s.mu.Unlock()
	return connect.NewResponse(state), nil
}

// ListFreezes returns the freezes in force.
func (s *Service) ListFreezes(ctx context.Context,
	_ *connect.Request[ledgerv1.ListFreezesRequest],
) (*connect.Response[ledgerv1.ListFreezesResponse], error) {
	freezes, err := s.ledger.Freezes(ctx)
	if err != nil {
		return nil, err
	}
	response := &ledgerv1.ListFreezesResponse{}
	for i := range freezes {
		state, err := s.state(ctx, &freezes[i], ledger.FreezeOpen)
		if err != nil {
			return nil, err
		}
		response.Freezes = append(response.Freezes, state)
	}
	return connect.NewResponse(response), nil
}

// open returns the freeze in force with the id.
func (s *Service) open(ctx context.Context, text string) (ledger.Freeze, error) {
	id, err := ident.Parse(text)
	if err != nil {
		return ledger.Freeze{}, err
	}
	freezes, err := s.ledger.Freezes(ctx)
	if err != nil {
		return ledger.Freeze{}, err
	}
	for _, freeze := range freezes {
		if freeze.ID == id {
			return freeze, nil
		}
	}
	return ledger.Freeze{}, errs.New(errs.NotFound, "ledger.freeze: no freeze %s is in force", id)
}

func (s *Service) state(ctx context.Context, z *ledger.Freeze, status ledger.FreezeStatus,
) (*ledgerv1.FreezeState, error) {
	words, err := s.ledger.NameOf(ctx, z.ID)
	if err != nil && !errs.Is(err, errs.NotFound) {
		return nil, err
	}
	state := &ledgerv1.FreezeState{
		Id: z.ID.String(), Account: formatID(z.AccountID), Ledger: z.Ledger, Code: uint32(z.Code),
		Reason: words.Metadata[metaReason], By: words.Metadata[metaBy],
		At: formatInstant(z.Timestamp), ExpiresAt: formatInstant(z.ExpiresAt),
		Breach: formatID(z.UserData128), State: "in_force",
	}
	if state.By == "" && z.Actor == guardActor {
		state.By, state.Reason = "guard", "breach "+state.Breach
	}
	switch z.Scope {
	case ledger.FreezeAccount:
		state.Scope = "account"
		state.Sides = [...]string{"", "debits", "credits", "both"}[z.Sides&ledger.FreezeBoth]
	case ledger.FreezeCode:
		state.Scope = "code"
	case ledger.FreezeLedger:
		state.Scope = "ledger"
	}
	s.mu.Lock()
	proposed, found := s.proposals[z.ID]
	s.mu.Unlock()
	switch {
	case status == ledger.FreezeReleased:
		state.State = "released"
	case found:
		state.State, state.ReleaseRequestedBy = "release_requested", proposed.by
	}
	return state, nil
}
