// Package merchant is a synthetic population of micro-merchants, and the models trained on it that
// ship with the platform.
//
// The platform must lend out of the box, with no data set at hand. So there is a population: the
// merchant with a given seed and index is a pure function of the two, with a business, a history, a
// request, and a probability of default that a lender cannot see. Training data, the applications
// that feed a demonstration and the borrowers who later repay or do not are all drawn from it, so
// that the models meet the people they were made for. All of it is labelled synthetic wherever it
// shows, and says nothing about real merchants.
//
// The risk is not linear: a falling turnover is worse for who asks for much, late payments stop
// mattering past the fifth, a young business is risky in its first year above all, and two parts of
// it, how well the owner manages and plain luck, show only faintly in the facts or not at all.
//
// # Invariants
//
//   - At(seed, index) is the same for ever and on every machine: the shipped models are checked
//     against it byte for byte.
//   - Every value of a profile is one that a real merchant could have: a business is not younger
//     than its account on the platform, days late mean late payments.
//   - The hidden probability and the outcome never enter Values.
//
// # Boundaries
//
// Names, phone numbers and documents are not generated here. Regenerate the shipped models with
// go generate, or with "surety lend train --mapping merchant --synthetic".
package merchant

//go:generate go test -run TestShippedModelsAreReproduced -update .
