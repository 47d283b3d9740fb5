package attest

import (
	"context"

	"surety/base/errs"
	"surety/enclave/attest/tpm"
)

// Keeper remembers how far a sealed state has come; a broker's lease is one.
type Keeper = tpm.Keeper

// Kept says which state, and its keys, the newest first.
type Kept struct {
	Instance, Name string
	Keys           [][32]byte
}

// Anchor returns what keeps a state's epoch and root: the lease, and where the device is a TPM, its
// memory besides. Kind Refused where the TPM has seen more than the lease's broker knows.
func Anchor(ctx context.Context, d Device, lease Keeper, k Kept) (Keeper, error) {
	t, is := d.(*tpm.Device)
	if !is {
		return lease, nil
	}
	a, err := tpm.OpenAnchor(ctx, t, tpm.AnchorConfig{Index: tpm.IndexOf(k.Instance, k.Name), Keys: k.Keys})
	if err != nil {
		return nil, errs.Wrap(err, "attest.anchor: state %s", k.Name)
	}
	return tpm.Beside(lease, a)
}
