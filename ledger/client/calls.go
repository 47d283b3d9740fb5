package client

import (
	"context"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/wire"
)

// CreateAccounts implements Writer.
func (c *Client) CreateAccounts(ctx context.Context, batch []ledger.Account) (
	[]ledger.AccountResult, error) {
	return c.accounts.send(ctx, batch)
}

// CreateTransfers implements Writer.
func (c *Client) CreateTransfers(ctx context.Context, batch []ledger.Transfer) (
	[]ledger.TransferResult, error) {
	return c.transfers.send(ctx, batch)
}

// ApplyFreezes implements Writer.
func (c *Client) ApplyFreezes(ctx context.Context, batch []ledger.Freeze) (
	[]ledger.FreezeResult, error) {
	if err := checkCount(len(batch)); err != nil {
		return nil, err
	}
	answer, err := c.call(ctx, wire.OpFreezes, ledger.EncodeFreezes(nil, batch))
	if err != nil {
		return nil, err
	}
	return wire.DecodeResults[ledger.FreezeResult](answer, len(batch))
}

func checkCount(n int) error {
	if n > ledger.BatchMax {
		return errs.New(errs.TooLarge, "ledger: %d of them, the limit is %d", n, ledger.BatchMax)
	}
	return nil
}

// SetNames implements Namer.
func (c *Client) SetNames(ctx context.Context, names []Name) error {
	for i := range names {
		if err := names[i].Check(); err != nil {
			return errs.Wrap(err, "names[%d]", i)
		}
	}
	body := wire.AppendNames(nil, names)
	if len(body) > wire.NamesBytesMax {
		return errs.New(errs.TooLarge, "ledger: names of %d bytes, the limit is %d",
			len(body), wire.NamesBytesMax)
	}
	_, err := c.call(ctx, wire.OpSetNames, body)
	return err
}

// ResolveName implements Namer.
func (c *Client) ResolveName(ctx context.Context, name string) (ident.ID, error) {
	if len(name) > wire.NameMax {
		return ident.ID{}, errs.New(errs.NotFound, "ledger: nothing is named %.128q", name)
	}
	answer, err := c.call(ctx, wire.OpResolveName, []byte(name))
	if err != nil {
		return ident.ID{}, err
	}
	ids, err := wire.DecodeIDs(answer)
	if err == nil && len(ids) != 1 {
		err = errs.New(errs.Invalid, "wire: %d ids for a name", len(ids))
	}
	if err != nil {
		return ident.ID{}, err
	}
	return ids[0], nil
}

// NameOf implements Namer.
func (c *Client) NameOf(ctx context.Context, id ident.ID) (Name, error) {
	answer, err := c.call(ctx, wire.OpNameOf, wire.AppendIDs(nil, []ident.ID{id}))
	if err != nil {
		return Name{}, err
	}
	name, _, err := wire.CutName(answer)
	return name, err
}

// ListNames implements Namer.
func (c *Client) ListNames(ctx context.Context, cursor uint64, limit int) ([]Name, uint64, error) {
	answer, err := c.call(ctx, wire.OpListNames, stretch(cursor, limit))
	if err != nil {
		return nil, 0, err
	}
	return wire.DecodeNamePage(answer)
}

// LookupAccounts implements Reader.
func (c *Client) LookupAccounts(ctx context.Context, ids []ident.ID) ([]ledger.Account, error) {
	if err := checkCount(len(ids)); err != nil {
		return nil, err
	}
	answer, err := c.call(ctx, wire.OpLookupAccounts, wire.AppendIDs(nil, ids))
	if err != nil {
		return nil, err
	}
	return ledger.DecodeAccounts(nil, answer)
}

// LookupTransfers implements Reader.
func (c *Client) LookupTransfers(ctx context.Context, ids []ident.ID) ([]ledger.Transfer, error) {
	if err := checkCount(len(ids)); err != nil {
		return nil, err
	}
	answer, err := c.call(ctx, wire.OpLookupTransfers, wire.AppendIDs(nil, ids))
	if err != nil {
		return nil, err
	}
	return ledger.DecodeTransfers(nil, answer)
}

// PendingStatuses implements Reader.
func (c *Client) PendingStatuses(ctx context.Context, ids []ident.ID) (
	[]ledger.PendingStatus, error) {
	if err := checkCount(len(ids)); err != nil {
		return nil, err
	}
	answer, err := c.call(ctx, wire.OpPendingStatuses, wire.AppendIDs(nil, ids))
	if err == nil && len(answer) != len(ids) {
		err = errs.New(errs.Invalid, "wire: %d statuses for %d ids", len(answer), len(ids))
	}
	if err != nil {
		return nil, err
	}
	statuses := make([]ledger.PendingStatus, len(ids))
	for i := range statuses {
		statuses[i] = ledger.PendingStatus(answer[i])
	}
	return statuses, nil
}

// AccountTransfers implements Reader.
func (c *Client) AccountTransfers(ctx context.Context, id ident.ID, filter ledger.AccountFilter) (
	ledger.TransferPage, error) {
	q := wire.AccountQuery{ID: id, Filter: filter}
	answer, err := c.call(ctx, wire.OpAccountTransfers, q.Append(nil))
	if err != nil {
		return ledger.TransferPage{}, err
	}
	return wire.DecodeTransferPage(answer)
}

// AccountBalances implements Reader.
func (c *Client) AccountBalances(ctx context.Context, id ident.ID, filter ledger.AccountFilter) (
	ledger.BalancePage, error) {
	q := wire.AccountQuery{ID: id, Filter: filter}
	answer, err := c.call(ctx, wire.OpAccountBalances, q.Append(nil))
	if err != nil {
		return ledger.BalancePage{}, err
	}
	return wire.DecodeBalancePage(answer)
}

// QueryTransfers implements Reader.
func (c *Client) QueryTransfers(ctx context.Context, filter ledger.TransferFilter) (
	ledger.TransferPage, error) {
	answer, err := c.call(ctx, wire.OpQueryTransfers, wire.AppendTransferFilter(nil, &filter))
	if err != nil {
		return ledger.TransferPage{}, err
	}
	return wire.DecodeTransferPage(answer)
}

// ListAccounts implements Reader.
func (c *Client) ListAccounts(ctx context.Context, skip, limit int) ([]ledger.Account, error) {
	answer, err := c.call(ctx, wire.OpListAccounts, stretch(uint64(max(skip, 0)), limit))
	if err != nil {
		return nil, err
	}
	return ledger.DecodeAccounts(nil, answer)
}

// stretch encodes a range; a limit of zero is the other side's.
func stretch(from uint64, limit int) []byte {
	return wire.Range{From: from, Limit: uint32(min(max(limit, 0), ledger.PageMax))}.Append(nil)
}

// ClassTotals implements Reader.
func (c *Client) ClassTotals(ctx context.Context) ([]ledger.ClassTotal, error) {
	answer, err := c.call(ctx, wire.OpClassTotals, nil)
	if err != nil {
		return nil, err
	}
	return wire.DecodeClassTotals(answer)
}

// Freezes implements Reader.
func (c *Client) Freezes(ctx context.Context) ([]ledger.Freeze, error) {
	var all []ledger.Freeze
	for {
		answer, err := c.call(ctx, wire.OpOpenFreezes, stretch(uint64(len(all)), 0))
		if err != nil {
			return nil, err
		}
		some, err := ledger.DecodeFreezes(nil, answer)
		if err != nil {
			return nil, err
		}
		if all = append(all, some...); len(some) < ledger.BatchMax {
			return all, nil
		}
	}
}

// Events implements Feed. An answer may hold fewer than asked for and yet not be the last.
func (c *Client) Events(ctx context.Context, from uint64, limit int) ([]ledger.Event, error) {
	answer, err := c.call(ctx, wire.OpEvents, stretch(from, limit))
	if err != nil {
		return nil, err
	}
	return wire.DecodeEvents(answer)
}

// WaitEvents implements Feed.
func (c *Client) WaitEvents(ctx context.Context, next uint64) error {
	_, err := c.call(ctx, wire.OpWaitEvents, stretch(next, 0))
	return err
}

// Batches implements Feed.
func (c *Client) Batches(ctx context.Context, from uint64, limit int) ([]BatchInfo, error) {
	answer, err := c.call(ctx, wire.OpBatches, stretch(from, limit))
	if err != nil {
		return nil, err
	}
	return wire.DecodeBatches(answer)
}

// Status implements Ledger.
func (c *Client) Status(ctx context.Context) (Status, error) {
	answer, err := c.call(ctx, wire.OpStatus, nil)
	if err != nil {
		return Status{}, err
	}
	return wire.DecodeStatus(answer)
}
