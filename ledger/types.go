package ledger

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// RecordSize is the size in bytes of every record: an account, a transfer or a freeze.
const RecordSize = 128

// Account is one side of the book: four running totals and the rules that bound them.
//
// The caller sets ID, the user data, Ledger, Code and Flags; the ledger sets the rest. Totals only
// grow, except that pending ones shrink when a pending transfer is posted, voided or expires.
type Account struct {
	ID             ident.ID     // never zero nor the maximum
	DebitsPending  money.Amount // reserved by pending transfers that debit this account
	DebitsPosted   money.Amount
	CreditsPending money.Amount // reserved by pending transfers that credit this account
	CreditsPosted  money.Amount
	UserData128    ident.ID // free: here the owner
	UserData64     uint64
	UserData32     uint32
	Reserved       uint32 // zero
	Ledger         uint32 // never zero: here the ISO 4217 number of the currency
	Code           uint16 // never zero: the class of account
	Flags          AccountFlags
	Timestamp      clock.Instant // set by the ledger, strictly increasing, unique
}

// AccountFlags are properties of an account, fixed when it is created except Closed.
type AccountFlags uint16

// The account flags. The numbers are stored: never renumber.
const (
	AccountLinked                     AccountFlags = 1 << 0 // succeeds or fails with the next record
	AccountDebitsMustNotExceedCredits AccountFlags = 1 << 1 // a deposit: never overdrawn
	AccountCreditsMustNotExceedDebits AccountFlags = 1 << 2 // a receivable: never overpaid
	AccountHistory                    AccountFlags = 1 << 3 // balances are kept after each transfer
	AccountImported                   AccountFlags = 1 << 4 // carries its own past timestamp
	AccountClosed                     AccountFlags = 1 << 5 // refuses all but the voiding of its closing
)

// Transfer moves one amount from the debit account to the credit account, or reserves it, or
// settles a reservation.
type Transfer struct {
	ID              ident.ID // never zero nor the maximum; unique for ever
	DebitAccountID  ident.ID // zero in a post or void: taken from the pending transfer
	CreditAccountID ident.ID
	Amount          money.Amount // money.Max in a post means all that was reserved
	PendingID       ident.ID     // the reservation that a post or void settles
	UserData128     ident.ID     // free: here the business event
	UserData64      uint64       // free: here the leg of the event, from 1
	UserData32      uint32       // free: here the business date
	Timeout         uint32       // seconds until a pending transfer expires; zero means never
	Ledger          uint32       // zero in a post or void
	Code            uint16       // never zero: the kind of posting; zero in a post or void
	Flags           TransferFlags
	Timestamp       clock.Instant // set by the ledger, strictly increasing, unique
}

// TransferFlags say what a transfer does.
type TransferFlags uint16

// The transfer flags. The numbers are stored: never renumber.
const (
	TransferLinked          TransferFlags = 1 << 0 // succeeds or fails with the next record
	TransferPending         TransferFlags = 1 << 1 // reserves the amount
	TransferPostPending     TransferFlags = 1 << 2 // posts a reservation, in full or in part
	TransferVoidPending     TransferFlags = 1 << 3 // releases a reservation
	TransferBalancingDebit  TransferFlags = 1 << 4 // at most what the debit account has
	TransferBalancingCredit TransferFlags = 1 << 5 // at most what the credit account owes
	TransferClosingDebit    TransferFlags = 1 << 6 // closes the debit account; must be pending
	TransferClosingCredit   TransferFlags = 1 << 7 // closes the credit account; must be pending
	TransferImported        TransferFlags = 1 << 8 // carries its own past timestamp
)

// PendingStatus is what became of a pending transfer.
type PendingStatus uint8

// The pending statuses. The numbers are stored: never renumber.
const (
	PendingNone    PendingStatus = 0 // not a pending transfer
	PendingOpen    PendingStatus = 1
	PendingPosted  PendingStatus = 2
	PendingVoided  PendingStatus = 3
	PendingExpired PendingStatus = 4
)

// Freeze stops money in one scope, or releases an earlier stop, by decision of the core itself: once
// it is applied, no later transfer in that scope succeeds.
type Freeze struct {
	ID          ident.ID      // never zero nor the maximum; unique for ever
	FreezeID    ident.ID      // in a release: the freeze that ends; otherwise zero
	AccountID   ident.ID      // for FreezeAccount; otherwise zero
	Actor       ident.ID      // who asked: a person, a service or the guard
	SecondActor ident.ID      // in a release: the second person, who must not be Actor
	UserData128 ident.ID      // free: here the breach that asks for the stop
	ExpiresAt   clock.Instant // when the freeze ends by itself; zero means never
	Ledger      uint32        // the ledger, for every scope but FreezeAccount
	Reason      uint32        // numbered reason, never zero
	Code        uint16        // the transfer code, for FreezeCode; otherwise zero
	Scope       FreezeScope
	Sides       FreezeSides // for FreezeAccount; otherwise zero
	Flags       FreezeFlags
	Reserved    uint16        // zero
	Timestamp   clock.Instant // set by the ledger
}

// FreezeScope is what a freeze stops, from the smallest. The numbers are stored: never renumber.
type FreezeScope uint8

// The scopes.
const (
	FreezeAccount FreezeScope = 1 // one account
	FreezeCode    FreezeScope = 2 // every transfer of one code in a ledger
	FreezeLedger  FreezeScope = 3 // every transfer in a ledger
)

// FreezeSides says which direction of money a freeze of an account stops.
type FreezeSides uint8

// The sides.
const (
	FreezeDebits  FreezeSides = 1 << 0 // money out
	FreezeCredits FreezeSides = 1 << 1 // money in
	FreezeBoth    FreezeSides = FreezeDebits | FreezeCredits
)

// FreezeFlags say what a freeze record does.
type FreezeFlags uint16

// The freeze flags. The numbers are stored: never renumber.
const (
	FreezeRelease FreezeFlags = 1 << 0 // ends the freeze FreezeID
)
