// Package wire is what travels between the ledger's server and its clients: frames, their bodies,
// and the types that are not records of the core.
package wire
