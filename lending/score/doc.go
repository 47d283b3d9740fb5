// Package score turns the facts about an applicant, as integers, into a credit score, a probability
// of default and the reasons for both, as integers.
//
// A Model is one of two kinds: a scorecard, which adds a whole number of points for the bin each
// feature falls in, or a forest of boosted trees, which adds a whole number of millionths of a unit
// of log-odds for the leaf each tree leads to. Both are sums, so both can say what every feature
// contributed; and because the terms are integers, the contributions add up to the score exactly,
// not nearly. Higher is always safer. Both are also told as points on one scale: 600 points are
// odds of 50 good to 1 bad, and 20 points more double the odds.
//
// A model is a file: a canonical text of integers whose SHA-256 digest names it. A decision stores
// the feature values and that digest, and from those two the result comes out again bit for bit,
// on any machine, at any time.
//
// The packages below this one make models: frame reads data sets, train fits models, evaluate
// measures them, merchant is the synthetic population and the models that ship with the platform.
//
// # Invariants
//
//   - Result.Score = Result.Base + the sum of Result.Contributions, for every row of either kind.
//   - The reasons of a row are groups of those same contributions: nothing is rounded in between.
//   - Load(m.Bytes()) is a model that scores every row as m does, and has the same digest.
//   - A file whose bytes are not exactly what this package would write is refused.
//   - Floats stay below this folder. What is stored and what leaves the package is integers; the
//     float arithmetic in between is that of package portable, equal on every machine.
//
// # Boundaries
//
// This package reads no files and knows no clock; callers bring bytes. It does not decide: cut-offs
// and policy belong to package lending. Which columns may be features is decided by a mapping
// (package frame), where protected attributes are kept aside.
//
// # Concurrency
//
// A Model never changes after Load or New and may be used by any number of goroutines; a Result
// belongs to one at a time.
//
// # Sources
//
// Scorecards: weight of evidence and points to double the odds as in Siddiqi, "Credit Risk
// Scorecards" (2006). Attribution: Shapley values of the path-dependent tree game of Lundberg et
// al., "From local explanations to global understanding with explainable AI for trees" (2020).
// Formats and methods in full: docs/reference/models.md.
package score
