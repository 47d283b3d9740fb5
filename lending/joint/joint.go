// Package joint trains and applies a credit model over the columns of two parties, inside an
// enclave or by shares.
package joint
