// Package client is the ledger as everyone else sees it: an interface, and its implementation over
// a network connection. The other implementation is ledger/replica, in this process.
//
// A call that returns results has made them durable; a call that returns an error has done nothing,
// or it is not known whether it did (kinds Unavailable and Canceled). Either way the same call may
// be made again: ids make it happen once.
//
// # Invariants
//
// What a read shows is durable: a crash does not take it back.
//
// # Boundaries
//
// Refusals are results, one for each record, and never errors.
package client

import (
	"context"

	"surety/base/ident"
	"surety/ledger"
	"surety/ledger/wire"
)

// Name is what people call an account, and what else they know about it.
type Name = wire.Name

// BatchInfo is one record of the journal as evidence needs it.
type BatchInfo = wire.BatchInfo

// Status is how a ledger is doing.
type Status = wire.Status

// Ledger is a ledger, here or elsewhere. Its methods may be called by many goroutines.
//
// Errors are of kind Canceled where the context ended, Busy where too much is waiting (try again
// later), TooLarge for more than ledger.BatchMax records, NoSpace where the disk or a limit is full
// (reads go on), Unavailable where the ledger is closed or cannot be reached, and whatever stopped
// a ledger that lost its disk, for ever.
type Ledger interface {
	Writer
	Reader
	Namer
	Feed
	// Status returns how the ledger is doing; it answers even where the rest is stopped.
	Status(ctx context.Context) (Status, error)
}

// Writer takes batches. Each returns one result for each record, in order, when all are durable.
// The records must not be changed before the call returns. An empty batch does nothing.
type Writer interface {
	CreateAccounts(ctx context.Context, batch []ledger.Account) ([]ledger.AccountResult, error)
	CreateTransfers(ctx context.Context, batch []ledger.Transfer) ([]ledger.TransferResult, error)
	ApplyFreezes(ctx context.Context, batch []ledger.Freeze) ([]ledger.FreezeResult, error)
}

// Reader answers questions from durable state. Pages, filters and cursors are those of the core.
type Reader interface {
	// LookupAccounts returns the accounts with the ids, in the order asked; missing ones are left
	// out.
	LookupAccounts(ctx context.Context, ids []ident.ID) ([]ledger.Account, error)
	// LookupTransfers returns the transfers with the ids, in the order asked; missing ones are left
	// out.
	LookupTransfers(ctx context.Context, ids []ident.ID) ([]ledger.Transfer, error)
	// PendingStatuses returns what became of the pending transfers with the ids, one for each.
	PendingStatuses(ctx context.Context, ids []ident.ID) ([]ledger.PendingStatus, error)
	// AccountTransfers returns transfers that touch the account; kind NotFound without one.
	AccountTransfers(ctx context.Context, id ident.ID, filter ledger.AccountFilter) (
		ledger.TransferPage, error)
	// AccountBalances returns what an account with history held; kind NotFound without one.
	AccountBalances(ctx context.Context, id ident.ID, filter ledger.AccountFilter) (
		ledger.BalancePage, error)
	// QueryTransfers returns the transfers that the filter chooses.
	QueryTransfers(ctx context.Context, filter ledger.TransferFilter) (ledger.TransferPage, error)
	// ListAccounts returns accounts in the order in which they were created, after the first skip
	// ones. It is short only at the end; a limit of zero is ledger.PageMax.
	ListAccounts(ctx context.Context, skip, limit int) ([]ledger.Account, error)
	// ClassTotals returns the trial balance, by ledger and code.
	ClassTotals(ctx context.Context) ([]ledger.ClassTotal, error)
	// Freezes returns the freezes in force, in the order in which they were applied.
	Freezes(ctx context.Context) ([]ledger.Freeze, error)
}

// Namer keeps names and metadata beside the core, as durable as the rest.
type Namer interface {
	// SetNames sets the names and metadata, all or none: what an id had before is replaced, and an
	// entry with neither removes it. Kind Exists where a name belongs to another id, Invalid where
	// an entry breaks a limit of package wire.
	SetNames(ctx context.Context, names []Name) error
	// ResolveName returns the id that bears the name; kind NotFound where none does.
	ResolveName(ctx context.Context, name string) (ident.ID, error)
	// NameOf returns what SetNames set for the id; kind NotFound where there is nothing.
	NameOf(ctx context.Context, id ident.ID) (Name, error)
	// ListNames returns up to limit entries, in the order in which they were last set, and the
	// cursor to go on from; zero begins, and is returned at the end.
	ListNames(ctx context.Context, cursor uint64, limit int) ([]Name, uint64, error)
}

// Feed hands out what happened, exactly once to whoever keeps a cursor: the Seq to go on from.
type Feed interface {
	// Events returns up to limit durable events from the one numbered from on; none where there
	// are none yet. A limit of zero is ledger.PageMax. Events are numbered from 0.
	Events(ctx context.Context, from uint64, limit int) ([]ledger.Event, error)
	// WaitEvents returns when the event numbered next is durable: when Events from it on would
	// return something.
	WaitEvents(ctx context.Context, next uint64) error
	// Batches returns up to limit durable batches from the one numbered from on. Batches are
	// numbered from 1. Kind NotFound where the journal has let go of it.
	Batches(ctx context.Context, from uint64, limit int) ([]BatchInfo, error)
}
