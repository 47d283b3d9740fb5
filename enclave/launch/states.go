package launch

import (
	"context"

	"surety/base/errs"
)

// openStates leases the enclave's sealed states.
func (o *Opened) openStates(context.Context) error {
	if len(o.manifest.State) > 0 {
		return errs.New(errs.Unavailable, "this build serves no sealed states, and %s has %d", o.manifest.Name,
			len(o.manifest.State))
	}
	return nil
}

func (o *Opened) mountStates() error { return nil }

func (o *Opened) closeStates(context.Context) error { return nil }
