// Package shares fits and applies a logistic regression over columns that two parties hold and
// neither shows: every number is in two shares, each of which alone is noise.
package shares
