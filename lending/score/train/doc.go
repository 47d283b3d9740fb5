// Package train fits scorecards and forests of boosted trees to frames of past loans.
//
// Both trainers first cut each feature into bins by quantiles and forget the values. The scorecard
// then joins bins until the share of bad loans moves one way only, gives each its weight of
// evidence and fits a logistic regression to those; the forest adds small trees, each fitted to
// what those before it left unexplained, from histograms of gradients over the bins.
//
// # Invariants
//
//   - The same frame, parameters and seed give the same model file, byte for byte, on any machine
//     and with any number of workers. Gradients are summed as integers, whose sum has no order; all
//     else runs in a fixed order in portable floats.
//   - A feature with a trend moves the score that way or not at all, in every model.
//   - Every number that is written into a model is rounded to an integer first, and training goes
//     on from the rounded number: the model in the file is the one that was fitted.
//
// # Boundaries
//
// Which columns may be features is the mapping's decision. Rejected applicants are not inferred:
// models speak of those who were granted a loan.
//
// # Concurrency
//
// Fit runs up to Params.Workers goroutines, each on features of its own, and waits for them.
//
// # Sources
//
// Weight of evidence and information value as in Siddiqi, "Credit Risk Scorecards" (2006); optimal
// monotone binning by dynamic programming after Navas-Palencia, "Optimal binning" (2020); Newton
// boosting, its gain and its monotone bounds after Chen and Guestrin, "XGBoost" (2016).
package train
