package ledger

// chain is the run of linked records being applied, and how the state was before its first one.
//
// There is no undo log: every slab grows at its end alone and the effect of a transfer can be read
// from its record and those it refers to, so the tail of the slabs is the log, undone backwards.
type chain struct {
	open      bool
	broken    bool   // a record was refused and what came before it has been undone
	first     int    // its first record in the batch
	accounts  uint32 // lengths before the first record
	transfers uint32
	history   uint32
	events    uint32
	classes   int
	sheets    int
	prints    fingerprint
}

// startChain opens a chain at record i of the batch.
func (s *State) startChain(i int) chain {
	return chain{
		open:      true,
		first:     i,
		accounts:  s.accounts.length,
		transfers: s.transfers.length,
		history:   s.history.length,
		events:    s.events.length,
		classes:   len(s.book.classes),
		sheets:    len(s.book.sheets),
		prints:    s.prints,
	}
}
