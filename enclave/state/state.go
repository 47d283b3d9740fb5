// Package state keeps a writable file system sealed on an untrusted disk.
package state

import (
	"context"

	"surety/enclave"
	"surety/enclave/client"
)

// Anchor remembers, outside the disk, how far a state has come. *client.Lease is one; so is a TPM's
// counter.
type Anchor interface {
	Last() (epoch uint64, root enclave.Digest)
	Commit(ctx context.Context, epoch uint64, root enclave.Digest) error
}

// Config says which state.
type Config struct {
	Dir    string            // on the host, untrusted; made where absent, mode 0700
	Keys   []client.StateKey // the newest first; new data is sealed under the first
	Anchor Anchor            // nil: no protection against rollback, which Open's caller has to say aloud
	Bytes  uint64            // limit of contents
}

// Volume is an open state.
type Volume struct{}

// Open reads the state and checks it against the anchor: kind Refused where it is older than the
// anchor (a rollback), or has more than one commit that the anchor does not know; Corrupt where it was
// changed; Unauthorized where none of the keys opens it (written by a newer build).
func Open(ctx context.Context, c Config) (*Volume, error) { panic("unimplemented") }

// Close commits what is not yet, and closes.
func (v *Volume) Close(ctx context.Context) error { panic("unimplemented") }
