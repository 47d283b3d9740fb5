// Package ledger is a double-entry book of accounts as a deterministic state machine.
//
// A ledger is a list of accounts and a list of transfers. A transfer debits one account and credits
// another one in the same ledger (currency) by the same amount, so that the two sides of the book
// always add up to the same. Nothing is ever changed or deleted; a mistake is mended by another
// transfer. An account keeps four totals: what has been posted on each side, and what is pending,
// that is, reserved by transfers that will later be posted in full or in part, voided, or expire.
//
// Think of State as a function: batches of records with a timestamp go in, one numbered result for
// each record comes out. Every rule is checked in one order of precedence that is part of the
// contract, so the same batches give the same results, the same balances and the same bytes of
// snapshot on every machine for ever. Time enters as the batch's timestamp and in no other way.
//
//	s := ledger.NewState(ledger.Limits{})
//	at := s.NextTimestamp(wallclock, len(batch))
//	results := s.CreateTransfers(batch, at, nil)
//
// Sending the same record again is always safe: the answer says whether it exists, or exists with
// another content. A refusal that depends on the state (no such account, too little money, closed,
// frozen: TransferResult.Transient) spends the transfer's id, so that a repeat of an uncertain
// request can never make it happen late.
//
// Linked records succeed or fail together. A freeze stops money by account and side, by transfer
// code or for a whole ledger, decided here and not beside: once it is applied, no later transfer in
// its scope succeeds, whoever sends it; what is pending can be voided and can expire but not be
// posted. It ends by its expiry or by a release that bears two different actors.
//
// # Invariants
//
//   - In every ledger debits equal credits, posted and pending apart. Checked after every batch for
//     the ledgers it touched, from what is seen to have changed in the accounts.
//   - An account with a limit keeps it at every moment, pending amounts counted against it. Checked
//     after every movement.
//   - No total overflows or falls below zero; a pending transfer is settled at most once.
//   - Timestamps of accounts, and of transfers, strictly increase in order of creation.
//   - The events, in order, and the failed ids are everything there is to know: a snapshot holds
//     nothing else.
//
// A violation panics through base/invariant before anything derived from it can leave the process.
//
// # Boundaries
//
// There is no disk, clock, network, lock or goroutine here, and no name, currency table or
// authority. Package ledger/journal makes batches durable, ledger/replica gives them their order
// and time, ledger/client is for everyone else. A batch must have been admitted by Room and stamped
// by NextTimestamp: a caller that does otherwise is a contradiction and stops the process.
//
// # Concurrency
//
// One goroutine at a time owns a State, for writing and for reading. A Snapshot may be written by
// another one while batches go on.
//
// # Sources
//
// The data model, the results and their order follow the public documentation of TigerBeetle, so
// that what is known about it holds here; freezes, the change feed and the fingerprint are our own.
// DESIGN.md says why the structures are what they are. docs/reference/results.md lists the results.
package ledger
