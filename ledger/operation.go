package ledger

import "surety/base/clock"

// Operation says what the records of a batch are. It is stored in the journal with every batch.
type Operation uint8

// The operations. The numbers are stored: never renumber.
const (
	OperationCreateAccounts  Operation = 1 // []Account
	OperationCreateTransfers Operation = 2 // []Transfer
	OperationFreezes         Operation = 3 // []Freeze
	OperationNames           Operation = 4 // names and metadata: opaque here, kept by the replica
	OperationPulse           Operation = 5 // no records: expire what is due
)

// String returns the operation's name in snake case, as it stands in logs and results.
func (o Operation) String() string {
	switch o {
	case OperationCreateAccounts:
		return "create_accounts"
	case OperationCreateTransfers:
		return "create_transfers"
	case OperationFreezes:
		return "freezes"
	case OperationNames:
		return "names"
	case OperationPulse:
		return "pulse"
	}
	return "unknown"
}

// NextTimestamp returns the timestamp for a batch of n records when the clock on the wall reads
// wall: wall itself, or the least later instant that keeps the timestamp of every record above all
// that went before. n of zero (a pulse) counts as one. The result never goes beyond TimestampMax
// as long as wall does not.
func (s *State) NextTimestamp(wall clock.Instant, n int) clock.Instant {
	least := s.now + clock.Instant(max(n, 1))
	return max(wall, least)
}

// Now returns the timestamp of the last batch, zero where there was none.
func (s *State) Now() clock.Instant { return s.now }
