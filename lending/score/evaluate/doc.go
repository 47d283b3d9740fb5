// Package evaluate measures how well a model tells good loans from bad, how far its probabilities
// can be believed, and whom it turns away.
//
// A Sample is what a model said about rows whose end is known. Metrics are functions of a Sample;
// CrossValidate makes Samples of rows that the model scoring them has not seen. The fairness report
// takes the protected attributes, which were kept out of the model, and compares the groups.
//
// # Invariants
//
// Every figure is an integer count of millionths, the type Micro, and the same on every machine.
// AUC, KS, Brier score and calibration error are computed in integers throughout.
//
// # Sources
//
// Adverse impact is judged by the four-fifths rule of 29 CFR 1607.4(D): a group whose approval rate
// is below 80% of the highest is reported.
package evaluate
