// Package lending is what a loan is: a product, an application, a decision, a contract with its
// schedule and its annual percentage rate, and the life of the loan from disbursement to close.
//
// Everything here is a function of its arguments. A Product is data. Decide turns a policy and the
// stored facts about one applicant into a Decision, and gives the same bytes for the same bytes
// for ever. NewContract turns an offer into terms, a schedule and the disclosed rates. A Loan is a
// state, and each transition (Disburse, Accrue, ChargePenalty, Repay, WriteOff, Recover, Refund,
// Close) returns the next state together with the postings of the accounting table, so that the
// state and the ledger cannot drift apart without one of them being wrong. The caller gives every
// transition the id of its business event; the same event twice changes nothing.
//
// # How to read it
//
// rate, fraction, rounding, daycount: numbers. annuity, schedule, apr: the arithmetic of a
// contract. product, contract: terms. account, posting: the accounting table. loan and the files
// of its transitions: the state machine. application, policy, decide, reason: the decision.
// DESIGN.md says why; docs/reference/products.md and accounting.md are for those who use it.
//
// # Invariants
//
// No float touches money. A rate meets an amount in 128 or 192-bit integers and is rounded once
// per posting, by the product's rule. The rows of a schedule sum to the principal. The balances of
// a Loan equal the sums of the postings its transitions returned. A schedule, an annual rate and a
// decision are functions of their inputs alone: no map order, clock or platform shows in them.
//
// # Boundaries
//
// No clock, disk, socket, goroutine or randomness. Scores come from lending/score as integers;
// storage, HTTP and the ledger belong to the other adapters. One product is whole: equal
// instalments, monthly, at a fixed rate. Equal principal, interest-only with bullet, revolving
// lines, tranches, holidays, rate changes, reversal of a bounced payment and back-dated value
// dates are absent.
//
// # Concurrency
//
// Values are not shared and not locked. A Loan that a transition returned shares no memory that is
// ever written with the one it came from.
//
// # Sources
//
// 12 CFR 1026 Appendix J; Directive 2008/48/EC and 2014/17/EU Annex I; ISDA 2006 section 4.16;
// IFRS 9 section 5.4.1 (effective interest); 12 CFR 1002.9 (reasons).
package lending
