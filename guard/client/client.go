// Package client is the guard as the rest of the platform sees it: what the board shows, the
// breaches, and the two-person release of stops.
//
// # Boundaries
//
// Types and an interface, no behaviour. The implementation in this process is guard/engine.
package client

import (
	"context"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// Guard is a running guard. Its methods may be called by many goroutines. Errors are of kind
// NotFound, Invalid, Refused and Unavailable, as each says.
type Guard interface {
	// Status returns what the board shows; it answers even where the guard itself is red.
	Status(ctx context.Context) (Status, error)
	// Breaches returns breaches, newest first, at most 200.
	Breaches(ctx context.Context, filter Filter) ([]Breach, error)
	// Breach returns one with its stops; kind NotFound.
	Breach(ctx context.Context, id ident.ID) (Breach, error)
	// Resolve marks a breach confirmed, false or drilled, with a note. Kind Invalid for another
	// state or an empty note.
	Resolve(ctx context.Context, r Resolution) (Breach, error)
	// RequestRelease asks that a stop be lifted; kind Refused where that was asked already or the
	// stop is not in force.
	RequestRelease(ctx context.Context, freeze, actor ident.ID, reason string) error
	// ApproveRelease lifts a stop whose release another person has asked for; kind Refused for the
	// same person or without a request, and where the ledger says no.
	ApproveRelease(ctx context.Context, freeze, actor ident.ID) error
	// Verdicts returns durable batches of verdicts after the one numbered after, at most limit.
	Verdicts(ctx context.Context, after uint64, limit int) ([]Batch, error)
	// MoneyOutAllowed returns nil where money may leave, and otherwise an error of kind Unavailable
	// that says why not. It does not block.
	MoneyOutAllowed() error
}

// The states of the guard as a whole and of an invariant on the board.
const (
	Green = "green" // everything holds and was looked at in time
	Red   = "red"   // something is broken, or the guard cannot be trusted
	Grey  = "grey"  // nobody knows: too long since the last look

	Holds    = "holds"
	Broken   = "broken"
	Stale    = "stale"
	Starting = "starting"
)

// The states of a breach.
const (
	Open      = "open"
	Confirmed = "confirmed"
	False     = "false"
	Drilled   = "drilled"
)

// Status is what the board shows.
type Status struct {
	State            string // Green, Red, Grey
	Mode             string // enforce, dry_run
	Invariants       []Invariant
	EventsChecked    uint64
	PostingsChecked  uint64
	OpenExpectations int
	BreachesOpen     int
	BreachesTotal    int
	Lag              clock.Duration // since both streams were last read to their ends
	CanaryAt         clock.Instant  // of the last canary that was found
	CanaryAge        clock.Duration
	MoneyOut         bool
	MoneyOutReason   string // why money may not leave, empty where it may
	Unexplained      money.Amount
}

// Invariant is a tile of the board.
type Invariant struct {
	Name       string
	Title      string
	State      string // Holds, Broken, Stale, Starting
	CheckedAt  clock.Instant
	Age        clock.Duration
	StaleAfter clock.Duration
	Checked    uint64       // comparisons since the guard began
	Money      money.Amount // minor units that they covered
	CanaryAt   clock.Instant
	Breaches   int // open
	Detail     string
}

// Filter chooses breaches. Zero fields choose all.
type Filter struct {
	State   string
	Subject ident.ID // application, loan, customer or event
	Limit   int      // zero means 50, at most 200
}

// Breach is a breach as it is stored.
type Breach struct {
	ID          ident.ID
	Class       string // "3.1"
	Title       string
	Severity    string
	Rule        string
	Text        string // what is wrong
	Currency    string
	AtRisk      money.Amount
	Event       ident.ID
	EventKind   string
	EventBody   string // the event as the outbox has it, as JSON; empty where there is none
	Application ident.ID
	Loan        ident.ID
	Customer    ident.ID
	Trace       ident.ID
	Product     string
	Transfer    ident.ID
	Expected    string // a record, as JSON
	Found       string
	Differing   []string
	FirstSeen   clock.Instant
	DecidableAt clock.Instant
	DetectedAt  clock.Instant
	ResolvedAt  clock.Instant // when what was missing came; zero where it has not
	State       string
	Note        string
	By          ident.ID // who set the state
	Stops       []Stop
}

// Stop is what a breach stopped, or would have.
type Stop struct {
	Freeze      ident.ID
	Breach      ident.ID
	Text        string // what is stopped, in words
	Outcome     string // planned, in_force, dry_run, withheld, refused, failed, released, expired
	Detail      string // of refused and failed: why
	TakenAt     clock.Instant
	ExpiresAt   clock.Instant
	RequestedBy ident.ID // who asked for its release
	RequestedAt clock.Instant
	Reason      string
	ApprovedBy  ident.ID
	EndedAt     clock.Instant
}

// The outcomes of a stop.
const (
	StopPlanned  = "planned"  // decided, and not yet taken
	StopInForce  = "in_force" // the ledger refuses what it covers
	StopDryRun   = "dry_run"  // would have been taken
	StopWithheld = "withheld" // too many at once: see the limits on stops
	StopRefused  = "refused"  // the ledger would not
	StopReleased = "released" // by two people
	StopExpired  = "expired"
)

// Resolution is what a person makes of a breach.
type Resolution struct {
	Breach ident.ID
	State  string // Confirmed, False, Drilled
	Note   string
	By     ident.ID
}

// Batch is a durable batch of verdicts, for the evidence log.
type Batch struct {
	Seq      uint64 // from 1, without gaps
	At       clock.Instant
	Subjects []ident.ID // applications and loans it speaks of, each once
	Body     []byte     // JSON: see docs/reference/guard.md
}
