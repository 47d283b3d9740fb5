// Package guard finds a loss of money as it begins: it holds what the services said they would do
// against what the ledger did, and says which stop would hold the loss.
//
// Think of two streams that were written by different code for different ends. The outbox says in
// business terms what is meant ("loan L is repaid with 100.00, of which 2.00 is interest"); the
// ledger's feed says what moved ("account A debited, account B credited, 9,800"). A Checker reads
// both. From each event it derives, by its own table and its own arithmetic, the exact postings
// that must exist, and waits for them; each posting must belong to an event, or the money moved for
// no reason. What both streams agree on may still be wrong, so the Checker computes interest,
// allocation, schedules and annual rates a second time, keeps its own books from the postings
// alone, and compares them with the ledger's.
//
// A Checker is a state machine: Step takes one input (an event, a feed entry, the news that a stream
// was read to its end, the time) and returns verdicts. It decides by what it has been given and by
// Input.Now, and the same inputs give the same verdicts for ever.
//
// # How to read it
//
// class, rule: what can be lost, and what is checked. chart, table, event: the public contract,
// read a second time. checker, sequence, expect, match: the two streams and how they meet. loan and
// the files rule_*: what is computed again. books, sweep: the postings' own sums. breach, stop:
// what is said and done. canary: how the checker itself is checked.
//
// # Invariants
//
// Both streams are numbered without gaps, so order is restored before anything is decided:
// delivery may repeat, and may be reordered, without changing a verdict. Nothing is decided from
// silence: a record is missing only once its stream was read past the deadline. A breach's id is
// derived from the rule and the records, so that the same fault is one breach however often it is
// found. After a breach the checker's state follows what was stated and posted, so that one fault
// does not make every later event of the loan a breach.
//
// # Boundaries
//
// The package never imports lending: what it checks and what checks share the schema of events and
// the ledger's record types, and no rule. It keeps amounts of business events in 63 bits and calls a
// greater one a breach. It does no I/O; adapters below it read, store, and freeze.
//
// # Concurrency
//
// A Checker belongs to one goroutine.
package guard
