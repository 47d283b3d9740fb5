// Package api serves the ledger over Connect: JSON and gRPC for people and for services with few
// calls.
//
// It turns texts into records and records into texts, and adds who is calling. What a record may
// be is the ledger's to say: refusals come back as the names of its results, never as errors.
//
// # Invariants
//
// A freeze is released only by a person other than the one who proposed the release, and the
// ledger's core checks the two names again.
//
// # Boundaries
//
// The batch path is ledger/server. Proposals to release are kept in memory: one that a restart
// forgets has to be made again, and nothing is released meanwhile.
package api

import (
	"context"
	"sync"

	"connectrpc.com/connect"

	ledgerv1 "surety/api/ledger/v1"
	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/client"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// Limits of one call.
const (
	// RecordsMax bounds the records of one call: JSON of this many stays below a megabyte.
	RecordsMax = 1_000
	// proposalsMax bounds the releases that wait for a second person.
	proposalsMax = 10_000
)

// Service serves one ledger.
type Service struct {
	ledger client.Ledger
	clock  wallclock.Clock
	idents *entropy.Idents

	mu        sync.Mutex
	proposals map[ident.ID]proposal // by freeze
}

// proposal is a release that waits for a second person.
type proposal struct {
	by     string
	actor  ident.ID
	reason string
}

// New returns a service over the ledger.
func New(of client.Ledger, clock wallclock.Clock, idents *entropy.Idents) *Service {
	return &Service{ledger: of, clock: clock, idents: idents,
		proposals: make(map[ident.ID]proposal)}
}

// CreateAccounts creates accounts and gives those with a name that name.
func (s *Service) CreateAccounts(ctx context.Context,
	request *connect.Request[ledgerv1.CreateAccountsRequest],
) (*connect.Response[ledgerv1.CreateAccountsResponse], error) {
	list := request.Msg.Accounts
	if err := bounded(len(list)); err != nil {
		return nil, err
	}
	accounts := make([]ledger.Account, len(list))
	for i, a := range list {
		account, err := accountFrom(a)
		if err != nil {
			return nil, errs.Wrap(err, "ledger.create_accounts: accounts[%d]", i)
		}
		accounts[i] = account
	}
	results, err := s.ledger.CreateAccounts(ctx, accounts)
	if err != nil {
		return nil, err
	}
	response := &ledgerv1.CreateAccountsResponse{}
	var names []client.Name
	for i, result := range results {
		response.Results = append(response.Results, result.String())
		created := result == ledger.AccountOK || result == ledger.AccountExists
		if created && (list[i].Name != "" || len(list[i].Metadata) > 0) {
			names = append(names, client.Name{AccountID: accounts[i].ID, Name: list[i].Name,
				Metadata: list[i].Metadata})
		}
	}
	if len(names) > 0 {
		if err := s.ledger.SetNames(ctx, names); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(response), nil
}

// CreateTransfers creates transfers; accounts are given by id or by name.
func (s *Service) CreateTransfers(ctx context.Context,
	request *connect.Request[ledgerv1.CreateTransfersRequest],
) (*connect.Response[ledgerv1.CreateTransfersResponse], error) {
	list := request.Msg.Transfers
	if err := bounded(len(list)); err != nil {
		return nil, err
	}
	transfers := make([]ledger.Transfer, len(list))
	for i, t := range list {
		transfer, err := s.transferFrom(ctx, t)
		if err != nil {
			return nil, errs.Wrap(err, "ledger.create_transfers: transfers[%d]", i)
		}
		transfers[i] = transfer
	}
	results, err := s.ledger.CreateTransfers(ctx, transfers)
	if err != nil {
		return nil, err
	}
	response := &ledgerv1.CreateTransfersResponse{}
	for _, result := range results {
		response.Results = append(response.Results, result.String())
	}
	return connect.NewResponse(response), nil
}

// LookupAccounts returns the accounts that exist of those named.
func (s *Service) LookupAccounts(ctx context.Context,
	request *connect.Request[ledgerv1.LookupAccountsRequest],
) (*connect.Response[ledgerv1.LookupAccountsResponse], error) {
	if err := bounded(len(request.Msg.Accounts)); err != nil {
		return nil, err
	}
	ids := make([]ident.ID, len(request.Msg.Accounts))
	for i, text := range request.Msg.Accounts {
		id, err := s.account(ctx, text)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	accounts, err := s.ledger.LookupAccounts(ctx, ids)
	if err != nil {
		return nil, err
	}
	response := &ledgerv1.LookupAccountsResponse{}
	response.Accounts, err = s.accountTexts(ctx, accounts)
	return connect.NewResponse(response), err
}

// LookupTransfers returns the transfers with the ids, or those of one business event.
func (s *Service) LookupTransfers(ctx context.Context,
	request *connect.Request[ledgerv1.LookupTransfersRequest],
) (*connect.Response[ledgerv1.LookupTransfersResponse], error) {
	if err := bounded(len(request.Msg.Ids)); err != nil {
		return nil, err
	}
	var transfers []ledger.Transfer
	if request.Msg.UserData_128 != "" {
		event, err := ident.Parse(request.Msg.UserData_128)
		if err != nil {
			return nil, err
		}
		page, err := s.ledger.QueryTransfers(ctx, ledger.TransferFilter{UserData128: event,
			Limit: RecordsMax})
		if err != nil {
			return nil, err
		}
		transfers = page.Transfers
	}
	ids, err := parseIDs(request.Msg.Ids)
	if err != nil {
		return nil, err
	}
	if len(ids) > 0 {
		found, err := s.ledger.LookupTransfers(ctx, ids)
		if err != nil {
			return nil, err
		}
		transfers = append(transfers, found...)
	}
	return connect.NewResponse(&ledgerv1.LookupTransfersResponse{
		Transfers: transferTexts(transfers)}), nil
}

// ListAccounts returns accounts in the order in which they were created.
func (s *Service) ListAccounts(ctx context.Context,
	request *connect.Request[ledgerv1.ListAccountsRequest],
) (*connect.Response[ledgerv1.ListAccountsResponse], error) {
	after, err := parseCursor(request.Msg.After)
	if err != nil {
		return nil, err
	}
	limit := limitOf(request.Msg.Limit)
	accounts, err := s.ledger.ListAccounts(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	response := &ledgerv1.ListAccountsResponse{}
	if len(accounts) == limit {
		response.Next = formatCursor(after + limit)
	}
	response.Accounts, err = s.accountTexts(ctx, accounts)
	return connect.NewResponse(response), err
}

// AccountTransfers returns the transfers of an account, newest first unless asked otherwise.
func (s *Service) AccountTransfers(ctx context.Context,
	request *connect.Request[ledgerv1.AccountTransfersRequest],
) (*connect.Response[ledgerv1.AccountTransfersResponse], error) {
	id, err := s.account(ctx, request.Msg.Account)
	if err != nil {
		return nil, err
	}
	page, err := s.ledger.AccountTransfers(ctx, id, filterOf(request.Msg))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&ledgerv1.AccountTransfersResponse{
		Transfers: transferTexts(page.Transfers)}), nil
}

// AccountBalances returns what an account with history held after each of its changes.
func (s *Service) AccountBalances(ctx context.Context,
	request *connect.Request[ledgerv1.AccountTransfersRequest],
) (*connect.Response[ledgerv1.AccountBalancesResponse], error) {
	id, err := s.account(ctx, request.Msg.Account)
	if err != nil {
		return nil, err
	}
	page, err := s.ledger.AccountBalances(ctx, id, filterOf(request.Msg))
	if err != nil {
		return nil, err
	}
	response := &ledgerv1.AccountBalancesResponse{}
	for _, b := range page.Balances {
		response.Balances = append(response.Balances, &ledgerv1.Balance{
			Timestamp:     formatInstant(b.Timestamp),
			DebitsPending: b.DebitsPending.String(), DebitsPosted: b.DebitsPosted.String(),
			CreditsPending: b.CreditsPending.String(), CreditsPosted: b.CreditsPosted.String(),
		})
	}
	return connect.NewResponse(response), nil
}

// ClassTotals returns the trial balance: the sums of all accounts by ledger and code.
func (s *Service) ClassTotals(ctx context.Context,
	_ *connect.Request[ledgerv1.ClassTotalsRequest],
) (*connect.Response[ledgerv1.ClassTotalsResponse], error) {
	totals, err := s.ledger.ClassTotals(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&ledgerv1.ClassTotalsResponse{Totals: Totals(totals)}), nil
}

// SetName names an account and sets its metadata.
func (s *Service) SetName(ctx context.Context,
	request *connect.Request[ledgerv1.SetNameRequest],
) (*connect.Response[ledgerv1.SetNameResponse], error) {
	id, err := s.account(ctx, request.Msg.Account)
	if err != nil {
		return nil, err
	}
	err = s.ledger.SetNames(ctx, []client.Name{{AccountID: id, Name: request.Msg.Name,
		Metadata: request.Msg.Metadata}})
	return connect.NewResponse(&ledgerv1.SetNameResponse{}), err
}

func filterOf(request *ledgerv1.AccountTransfersRequest) ledger.AccountFilter {
	return ledger.AccountFilter{Reversed: !request.OldestFirst, Limit: limitOf(request.Limit)}
}

func bounded(n int) error {
	if n > RecordsMax {
		return errs.New(errs.TooLarge, "ledger: %d records in one call, the limit is %d", n,
			RecordsMax)
	}
	return nil
}

func limitOf(limit int32) int {
	if limit <= 0 {
		return 100
	}
	return min(int(limit), RecordsMax)
}
