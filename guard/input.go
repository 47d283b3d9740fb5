package guard

import (
	"surety/base/clock"
	"surety/base/ident"
	"surety/ledger"
)

// InputKind says which fields of an Input are used.
type InputKind uint8

// The kinds of input.
const (
	InputEvent    InputKind = 1 // Event, at its place in the outbox
	InputEntry    InputKind = 2 // Entry, at its place in the feed
	InputRead     InputKind = 3 // a read of Stream, begun at Began, found Last to be its last position
	InputTick     InputKind = 4 // nothing but the time
	InputTotals   InputKind = 5 // the ledger's class totals, read after the feed's processed position
	InputBalances InputKind = 6 // some of the ledger's accounts, read likewise
	InputCanary   InputKind = 7 // time to plant faults: see SelfTest
)

// Input is one thing that the checker learns. The checker keeps nothing of what it points to.
type Input struct {
	Kind     InputKind
	Now      clock.Instant
	Event    *Event
	Entry    *ledger.Event // positions in the feed count from 1: Seq + 1
	Stream   Stream
	Last     uint64
	Began    clock.Instant
	Totals   []ledger.ClassTotal
	Accounts []ledger.Account
}

// VerdictKind is a kind of verdict. The numbers are stored: never renumber.
type VerdictKind uint8

// The kinds of verdict.
const (
	Checked  VerdictKind = 1 // the event and all its postings agree, and every rule holds
	Failed   VerdictKind = 2 // the event is complete, but at least one rule was broken
	Breached VerdictKind = 3 // a rule is broken: Breach says which
	Resolved VerdictKind = 4 // what the breach BreachID missed has come
)

// Verdict is one thing the checker found out.
type Verdict struct {
	Kind      VerdictKind
	EventKind Kind
	Event     ident.ID
	Subject   ident.ID
	Seq       uint64 // the event's place in the outbox
	Posted    uint64 // the place in the feed of the event's last posting, zero where it has none
	At        clock.Instant
	Breach    *Breach
	BreachID  ident.ID
}
