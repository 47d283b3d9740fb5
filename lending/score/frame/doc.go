// Package frame reads data sets of past loans into columns of integers, through a mapping that says
// which column means what.
//
// A Mapping is a short YAML text: where the target stands and what a bad loan is called there,
// which columns are features and of what kind, which are protected attributes, and what applicants
// are told when a feature counts against them. The mappings of three public data sets and of the
// platform's own synthetic merchants ship with the program; the data sets do not.
//
// A Frame is what training and evaluation work on: for each feature a column of int64, for each row
// whether it went bad, and, kept apart, the protected attributes, which no model ever sees and
// which the fairness report needs. A Reader gives the same rows one at a time, for loan
// applications from a file, and knows nothing of a target.
//
// # Invariants
//
//   - A protected column is never a feature: a mapping that names one twice is refused.
//   - A row is whole or absent: what cannot be read in full is reported with its row number, column
//     and reason, and the rows after it are read as if it were not there.
//   - The same bytes and mapping give the same Frame and the same Digest.
//
// # Boundaries
//
// Values are integers from here on: a decimal is scaled by the power of ten its feature declares, a
// category is an index into the levels found, in ascending order. The package opens no files.
package frame
