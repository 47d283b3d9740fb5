package ledger

import (
	"surety/base/clock"
	"surety/base/errs"
)

// The limits that are part of what the ledger means: the same on every replica and for ever, since
// a replay under another value would give other results.
const (
	// BatchMax is the most records in a batch: what fits in one mebibyte with room for a header.
	BatchMax = 8190

	// ExpireMax bounds how many pending transfers and freezes one batch expires before it does its
	// own work, so that no batch takes much more than twice the time of a full one. What is left
	// over expires with the next batch or pulse.
	ExpireMax = 8190

	// TimestampMax is the greatest timestamp, the year 2262: the top bit is kept free.
	TimestampMax clock.Instant = 1<<63 - 1

	// OpenFreezesMax bounds the freezes that stop one account, code or ledger at the same time; it
	// is what their 16-bit counters hold.
	OpenFreezesMax = 1<<16 - 1
)

// The limits of this implementation, which do not change any result.
const (
	// RecordsMax is the most transfers, accounts or freezes a State can number: the top bit of a
	// 32-bit reference tells a transfer from a failed id.
	RecordsMax = 1<<31 - 2

	// PageMax bounds the records in the answer to one query, and is also the default.
	PageMax = 8190

	// ScanMax bounds the records one query looks at, about ten milliseconds with a cold cache: the
	// writer waits that long at most. A query that reaches it hands back a cursor to go on from.
	ScanMax = 1 << 17
)

// Limits are the sizes one State may reach on one machine. They decide what Room admits and nothing
// else: replicas may differ in them. A zero field means the most there can be.
type Limits struct {
	Accounts  int // most accounts; each takes about 0.2 kB
	Transfers int // most transfers; each takes about 0.2 kB
	FailedIDs int // most ids spent by transient refusals; each takes about 32 bytes
	Freezes   int // most freezes and releases

	// ReserveAccounts and ReserveTransfers are made room for at once, so that nothing is allocated
	// later until that many exist. Zero reserves nothing.
	ReserveAccounts, ReserveTransfers int

	// Seed keys the hash of the id indexes, so that nobody who does not know it can choose ids that
	// collide. Any value gives the same results; a server takes a random one at each start.
	Seed uint64
}

func (l Limits) filled() Limits {
	for _, field := range []*int{&l.Accounts, &l.Transfers, &l.FailedIDs, &l.Freezes} {
		if *field <= 0 || *field > RecordsMax {
			*field = RecordsMax
		}
	}
	l.ReserveAccounts = max(0, min(l.ReserveAccounts, l.Accounts))
	l.ReserveTransfers = max(0, min(l.ReserveTransfers, l.Transfers))
	return l
}

// Room returns nil where a batch of n records fits into the limits, whatever its results turn out
// to be, and otherwise an error of kind NoSpace. It is asked before a batch enters the journal;
// applying a batch for which there is no room is a contradiction that stops the process. A batch of
// more than BatchMax records is of kind TooLarge.
func (s *State) Room(operation Operation, n int) error {
	if n > BatchMax {
		return errs.New(errs.TooLarge, "ledger: a batch of %d records, the limit is %d", n, BatchMax)
	}
	switch operation {
	case OperationCreateAccounts:
		return room("accounts", s.accounts.count(), n, s.limits.Accounts)
	case OperationCreateTransfers:
		if err := room("failed ids", s.failed.count(), n, s.limits.FailedIDs); err != nil {
			return err
		}
		return room("transfers", s.transfers.count(), n, s.limits.Transfers)
	case OperationFreezes:
		return room("freezes", s.freezes.count(), n, s.limits.Freezes)
	}
	return nil
}

func room(what string, have, more, limit int) error {
	if have+more <= limit {
		return nil
	}
	return errs.New(errs.NoSpace, "ledger: %d %s and %d more, the limit is %d", have, what, more, limit)
}
