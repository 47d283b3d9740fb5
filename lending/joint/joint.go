// Package joint fits and applies one credit model to columns that two parties hold and neither shows.
//
// Think of two ledgers about the same people, each in its own strongroom, and a clerk who may enter
// both but carries out nothing except what both owners wrote on his pass. The pass is the contract
// (package enclave). The owners first find the people they share, by a protocol that shows neither
// the others (Match), so that each ends with a token for each shared row. Each then writes its
// columns under those tokens (Prepare) and seals them under a key of its own. The clerk is this
// program under another name (IsProgram, Main): run as an enclave that both owners' brokers admit,
// it checks the pass, joins the rows by token, fits the model, and seals to each owner what the
// contract tells it, and nothing else (Compute).
//
// # Invariants
//
//   - The program never sees an id: it joins by tokens, which are noise outside of one matching.
//   - What leaves is what Contract.Outputs names, as coarse as Contract.Rule says, for at most
//     Contract.Budget.Scores rows, sealed to the party it is for. Where any of it cannot be had, none
//     of it leaves.
//   - Data that was sealed under another contract, or matched in another session, is refused.
//   - The same contract, program and data give the same model, byte for byte, inside an enclave and
//     outside.
//
// # Boundaries
//
// Whether the program may run at all is decided by the parties' brokers before it has any data:
// contract, program, expiry and the number of runs are theirs to keep (enclave.Policy). What the
// program checks again is what it can see. Nothing here opens layers, speaks with brokers or writes
// evidence. The files shares_*.go fit a model without any enclave.
//
// # Concurrency
//
// Nothing here starts a goroutine but training and matching, which end with their call.
//
// # Sources
//
// Decision 0041; docs/reference/enclave-joint.md.
package joint
