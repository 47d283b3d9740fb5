package server

import (
	"context"

	"surety/base/errs"
	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/client"
	"surety/ledger/wire"
	"surety/sys/access"
)

// handler carries out one operation.
type handler struct {
	role access.Role // the caller needs it
	// answer bounds the bytes of the answer to a body of the size.
	answer func(size int) int
	call   func(ctx context.Context, l client.Ledger, body []byte) ([]byte, error)
}

// handlers returns the handler of an operation and whether there is one: the table of all that can
// be asked.
func handlers(op wire.Op) (handler, bool) {
	switch op {
	case wire.OpCreateAccounts:
		return handler{access.Operator, results, createAccounts}, true
	case wire.OpCreateTransfers:
		return handler{access.Operator, results, createTransfers}, true
	case wire.OpFreezes:
		return handler{access.Risk, results, applyFreezes}, true
	case wire.OpSetNames:
		return handler{access.Operator, little, setNames}, true
	case wire.OpLookupAccounts:
		return handler{access.Viewer, records, lookupAccounts}, true
	case wire.OpLookupTransfers:
		return handler{access.Viewer, records, lookupTransfers}, true
	case wire.OpPendingStatuses:
		return handler{access.Viewer, results, pendingStatuses}, true
	case wire.OpAccountTransfers:
		return handler{access.Viewer, page, accountTransfers}, true
	case wire.OpAccountBalances:
		return handler{access.Viewer, page, accountBalances}, true
	case wire.OpQueryTransfers:
		return handler{access.Viewer, page, queryTransfers}, true
	case wire.OpListAccounts:
		return handler{access.Viewer, page, listAccounts}, true
	case wire.OpClassTotals:
		return handler{access.Viewer, page, classTotals}, true
	case wire.OpOpenFreezes:
		return handler{access.Viewer, page, openFreezes}, true
	case wire.OpResolveName:
		return handler{access.Viewer, little, resolveName}, true
	case wire.OpNameOf:
		return handler{access.Viewer, names, nameOf}, true
	case wire.OpListNames:
		return handler{access.Viewer, page, listNames}, true
	case wire.OpEvents:
		return handler{access.Viewer, page, events}, true
	case wire.OpWaitEvents:
		return handler{access.Viewer, little, waitEvents}, true
	case wire.OpBatches:
		return handler{access.Viewer, page, batches}, true
	case wire.OpStatus:
		return handler{access.Viewer, little, status}, true
	}
	return handler{}, false
}

// The bounds of answers.
func little(int) int       { return 4 << 10 }
func names(int) int        { return 48 << 10 } // one name with all its metadata
func page(int) int         { return wire.BodyMax }
func records(size int) int { return size / 16 * ledger.RecordSize }
func results(size int) int { return size/16 + 64 }

func createAccounts(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	batch, err := ledger.DecodeAccounts(nil, body)
	if err != nil {
		return nil, err
	}
	results, err := l.CreateAccounts(ctx, batch)
	return wire.AppendResults(nil, results), err
}

func createTransfers(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	batch, err := ledger.DecodeTransfers(make([]ledger.Transfer, 0, len(body)/ledger.RecordSize), body)
	if err != nil {
		return nil, err
	}
	results, err := l.CreateTransfers(ctx, batch)
	return wire.AppendResults(nil, results), err
}

func applyFreezes(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	batch, err := ledger.DecodeFreezes(nil, body)
	if err != nil {
		return nil, err
	}
	results, err := l.ApplyFreezes(ctx, batch)
	return wire.AppendResults(nil, results), err
}

func setNames(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	entries, err := wire.DecodeNames(body)
	if err != nil {
		return nil, err
	}
	return nil, l.SetNames(ctx, entries)
}

func lookupAccounts(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	ids, err := wire.DecodeIDs(body)
	if err != nil {
		return nil, err
	}
	found, err := l.LookupAccounts(ctx, ids)
	return ledger.EncodeAccounts(nil, found), err
}

func lookupTransfers(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	ids, err := wire.DecodeIDs(body)
	if err != nil {
		return nil, err
	}
	found, err := l.LookupTransfers(ctx, ids)
	return ledger.EncodeTransfers(nil, found), err
}

func pendingStatuses(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	ids, err := wire.DecodeIDs(body)
	if err != nil {
		return nil, err
	}
	statuses, err := l.PendingStatuses(ctx, ids)
	answer := make([]byte, len(statuses))
	for i, s := range statuses {
		answer[i] = byte(s)
	}
	return answer, err
}

func accountTransfers(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	q, err := wire.DecodeAccountQuery(body)
	if err != nil {
		return nil, err
	}
	page, err := l.AccountTransfers(ctx, q.ID, q.Filter)
	return wire.AppendTransferPage(nil, &page), err
}

func accountBalances(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	q, err := wire.DecodeAccountQuery(body)
	if err != nil {
		return nil, err
	}
	page, err := l.AccountBalances(ctx, q.ID, q.Filter)
	return wire.AppendBalancePage(nil, &page), err
}

func queryTransfers(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	filter, err := wire.DecodeTransferFilter(body)
	if err != nil {
		return nil, err
	}
	page, err := l.QueryTransfers(ctx, filter)
	return wire.AppendTransferPage(nil, &page), err
}

func listAccounts(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	r, err := wire.DecodeRange(body)
	if err != nil {
		return nil, err
	}
	found, err := l.ListAccounts(ctx, int(min(r.From, ledger.RecordsMax)), int(r.Limit))
	return ledger.EncodeAccounts(nil, found), err
}

func classTotals(ctx context.Context, l client.Ledger, _ []byte) ([]byte, error) {
	totals, err := l.ClassTotals(ctx)
	if len(totals) > wire.ClassTotalsMax {
		return nil, errs.New(errs.TooLarge, "%d class totals, an answer holds %d",
			len(totals), wire.ClassTotalsMax)
	}
	return wire.AppendClassTotals(nil, totals), err
}

// openFreezes answers with a stretch of the freezes in force; the client asks until one is short.
func openFreezes(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	r, err := wire.DecodeRange(body)
	if err != nil {
		return nil, err
	}
	open, err := l.Freezes(ctx)
	open = open[min(r.From, uint64(len(open))):]
	return ledger.EncodeFreezes(nil, open[:min(len(open), ledger.BatchMax)]), err
}

func resolveName(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	if len(body) > wire.NameMax {
		return nil, errs.New(errs.Invalid, "a name of %d bytes, the limit is %d", len(body), wire.NameMax)
	}
	id, err := l.ResolveName(ctx, string(body))
	return wire.AppendIDs(nil, []ident.ID{id}), err
}

func nameOf(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	ids, err := wire.DecodeIDs(body)
	if err != nil {
		return nil, err
	}
	if len(ids) != 1 {
		return nil, errs.New(errs.Invalid, "%d ids, want one", len(ids))
	}
	name, err := l.NameOf(ctx, ids[0])
	if err != nil {
		return nil, err
	}
	return wire.AppendName(nil, &name), nil
}

func listNames(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	r, err := wire.DecodeRange(body)
	if err != nil {
		return nil, err
	}
	found, next, err := l.ListNames(ctx, r.From, limited(r.Limit, wire.NamesPageMax))
	return wire.AppendNamePage(nil, found, next), err
}

func events(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	r, err := wire.DecodeRange(body)
	if err != nil {
		return nil, err
	}
	found, err := l.Events(ctx, r.From, limited(r.Limit, wire.EventsMax))
	return wire.AppendEvents(nil, found), err
}

func limited(limit, most uint32) int {
	if limit == 0 || limit > most {
		limit = most
	}
	return int(limit)
}

func waitEvents(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	r, err := wire.DecodeRange(body)
	if err != nil {
		return nil, err
	}
	return nil, l.WaitEvents(ctx, r.From)
}

func batches(ctx context.Context, l client.Ledger, body []byte) ([]byte, error) {
	r, err := wire.DecodeRange(body)
	if err != nil {
		return nil, err
	}
	found, err := l.Batches(ctx, r.From, limited(r.Limit, wire.BatchesMax))
	return wire.AppendBatches(nil, found), err
}

func status(ctx context.Context, l client.Ledger, _ []byte) ([]byte, error) {
	s, err := l.Status(ctx)
	return s.Append(nil), err
}
