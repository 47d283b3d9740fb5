package tpm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"

	"surety/base/errs"
	"surety/enclave"
)

// Keeper remembers how far a sealed state has come: a broker's lease is one, and an Anchor.
type Keeper interface {
	Last() (epoch uint64, root enclave.Digest)
	Commit(ctx context.Context, epoch uint64, root enclave.Digest) error
}

// beside keeps what a lease keeps in the TPM too.
type beside struct {
	lease  Keeper
	anchor *Anchor
}

// Beside returns a keeper that tells the broker first and then the TPM, and is refused where the TPM
// has seen more than the broker knows: then the broker itself was set back, with its database. A TPM
// that knows less is no contradiction: the state was on another machine, or the power went between
// the two. Kind Refused.
func Beside(lease Keeper, a *Anchor) (Keeper, error) {
	epoch, root := lease.Last()
	seen, last := a.Last()
	switch {
	case seen > epoch:
		return nil, errs.New(errs.Refused, "tpm.anchor: the broker knows epoch %d, and this TPM has seen "+
			"%d: the broker was set back", epoch, seen)
	case seen == epoch && last != root:
		return nil, errs.New(errs.Refused, "tpm.anchor: the broker and this TPM know epoch %d by two "+
			"roots", epoch)
	}
	return &beside{lease, a}, nil
}

// Last is the broker's word, which the TPM did not contradict.
func (b *beside) Last() (epoch uint64, root enclave.Digest) { return b.lease.Last() }

// Commit tells the broker and then the TPM.
func (b *beside) Commit(ctx context.Context, epoch uint64, root enclave.Digest) error {
	if err := b.lease.Commit(ctx, epoch, root); err != nil {
		return err
	}
	return b.anchor.Advance(ctx, epoch, root)
}

// IndexOf is where the anchor of a state by that name is. Two names may share one by chance, of
// 65,536: the second is then refused, since the first one's record is not under its key.
func IndexOf(instance, state string) uint32 {
	sum := sha256.Sum256([]byte(anchorDomain + instance + "\n" + state))
	return firstIndex + 2*(binary.BigEndian.Uint32(sum[:])%indexPairs)
}
