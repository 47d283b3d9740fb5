package replica

import (
	"context"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/wire"
)

// view lets look read the state and the names, and returns when what it saw is durable. Where the
// error is not nil, nothing that look found may be used.
func (r *Replica) view(ctx context.Context, look func()) error {
	if err := r.stopped(); err != nil {
		return err
	}
	r.mu.RLock()
	look()
	seen := r.applied
	r.mu.RUnlock()
	return r.durable.waitSeq(ctx, seen)
}

// stopped returns what ended the ledger, nil while it runs.
func (r *Replica) stopped() error {
	_, _, _, err := r.durable.get()
	return err
}

func checkLookup(n int) error {
	if n > LookupMax {
		return errs.New(errs.TooLarge, "%d ids, the limit is %d", n, LookupMax)
	}
	return nil
}

// LookupAccounts implements client.Reader.
func (r *Replica) LookupAccounts(ctx context.Context, ids []ident.ID) ([]ledger.Account, error) {
	if err := checkLookup(len(ids)); err != nil {
		return nil, errs.Wrap(err, "ledger.lookup_accounts")
	}
	found := make([]ledger.Account, 0, len(ids))
	err := r.view(ctx, func() {
		for _, id := range ids {
			if a, ok := r.state.Account(id); ok {
				found = append(found, a)
			}
		}
	})
	if err != nil {
		return nil, errs.Wrap(err, "ledger.lookup_accounts")
	}
	return found, nil
}

// LookupTransfers implements client.Reader.
func (r *Replica) LookupTransfers(ctx context.Context, ids []ident.ID) ([]ledger.Transfer, error) {
	if err := checkLookup(len(ids)); err != nil {
		return nil, errs.Wrap(err, "ledger.lookup_transfers")
	}
	found := make([]ledger.Transfer, 0, len(ids))
	err := r.view(ctx, func() {
		for _, id := range ids {
			if t, ok := r.state.Transfer(id); ok {
				found = append(found, t)
			}
		}
	})
	if err != nil {
		return nil, errs.Wrap(err, "ledger.lookup_transfers")
	}
	return found, nil
}

// PendingStatuses implements client.Reader.
func (r *Replica) PendingStatuses(ctx context.Context, ids []ident.ID) (
	[]ledger.PendingStatus, error) {
	if err := checkLookup(len(ids)); err != nil {
		return nil, errs.Wrap(err, "ledger.pending_statuses")
	}
	found := make([]ledger.PendingStatus, len(ids))
	err := r.view(ctx, func() {
		for i, id := range ids {
			found[i] = r.state.PendingStatus(id)
		}
	})
	if err != nil {
		return nil, errs.Wrap(err, "ledger.pending_statuses")
	}
	return found, nil
}

// AccountTransfers implements client.Reader.
func (r *Replica) AccountTransfers(ctx context.Context, id ident.ID, filter ledger.AccountFilter) (
	page ledger.TransferPage, err error) {
	var refused error
	err = r.view(ctx, func() { page, refused = r.state.AccountTransfers(id, filter) })
	if err == nil {
		err = refused
	}
	if err != nil {
		return ledger.TransferPage{}, errs.Wrap(err, "ledger.account_transfers")
	}
	return page, nil
}

// AccountBalances implements client.Reader.
func (r *Replica) AccountBalances(ctx context.Context, id ident.ID, filter ledger.AccountFilter) (
	page ledger.BalancePage, err error) {
	var refused error
	err = r.view(ctx, func() { page, refused = r.state.AccountBalances(id, filter) })
	if err == nil {
		err = refused
	}
	if err != nil {
		return ledger.BalancePage{}, errs.Wrap(err, "ledger.account_balances")
	}
	return page, nil
}

// QueryTransfers implements client.Reader.
func (r *Replica) QueryTransfers(ctx context.Context, filter ledger.TransferFilter) (
	page ledger.TransferPage, err error) {
	var refused error
	err = r.view(ctx, func() { page, refused = r.state.QueryTransfers(filter) })
	if err == nil {
		err = refused
	}
	if err != nil {
		return ledger.TransferPage{}, errs.Wrap(err, "ledger.query_transfers")
	}
	return page, nil
}

// ListAccounts implements client.Reader.
func (r *Replica) ListAccounts(ctx context.Context, skip, limit int) (
	page []ledger.Account, err error) {
	err = r.view(ctx, func() { page = r.state.Accounts(nil, max(skip, 0), limit) })
	if err != nil {
		return nil, errs.Wrap(err, "ledger.list_accounts")
	}
	return page, nil
}

// ClassTotals implements client.Reader.
func (r *Replica) ClassTotals(ctx context.Context) (totals []ledger.ClassTotal, err error) {
	err = r.view(ctx, func() { totals = r.state.ClassTotals() })
	if err != nil {
		return nil, errs.Wrap(err, "ledger.class_totals")
	}
	return totals, nil
}

// Freezes implements client.Reader.
func (r *Replica) Freezes(ctx context.Context) (open []ledger.Freeze, err error) {
	err = r.view(ctx, func() { open = r.state.OpenFreezes(nil) })
	if err != nil {
		return nil, errs.Wrap(err, "ledger.freezes")
	}
	return open, nil
}

// ResolveName implements client.Namer.
func (r *Replica) ResolveName(ctx context.Context, name string) (id ident.ID, err error) {
	var found bool
	err = r.view(ctx, func() { id, found = r.names.resolve(name) })
	if err == nil && !found {
		err = errs.New(errs.NotFound, "nothing is named %.128q", name)
	}
	if err != nil {
		return ident.ID{}, errs.Wrap(err, "ledger.resolve_name")
	}
	return id, nil
}

// NameOf implements client.Namer.
func (r *Replica) NameOf(ctx context.Context, id ident.ID) (name client.Name, err error) {
	var found bool
	err = r.view(ctx, func() { name, found = r.names.of(id) })
	if err == nil && !found {
		err = errs.New(errs.NotFound, "%s has no name", id)
	}
	if err != nil {
		return client.Name{}, errs.Wrap(err, "ledger.name_of")
	}
	return name, nil
}

// ListNames implements client.Namer.
func (r *Replica) ListNames(ctx context.Context, cursor uint64, limit int) (
	page []client.Name, next uint64, err error) {
	if limit <= 0 || limit > wire.NamesPageMax {
		limit = wire.NamesPageMax
	}
	err = r.view(ctx, func() { page, next = r.names.list(cursor, limit) })
	if err != nil {
		return nil, 0, errs.Wrap(err, "ledger.list_names")
	}
	return page, next, nil
}
