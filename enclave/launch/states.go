package launch

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/client"
	"surety/enclave/state"
	"surety/sandbox/runtime"
)

// sealedState is a state that is leased and kept for the sandbox.
type sealedState struct {
	lease  *client.Lease
	served *state.Served // nil: it could not be
	target string
}

// openStates leases the enclave's sealed states and listens for the file server that will open them.
// A state that refuses, as an old copy does, says so when the sandbox is made.
func (o *Opened) openStates(ctx context.Context) error {
	if len(o.manifest.State) > 0 && o.order.StateDir == "" {
		return errs.New(errs.Invalid, "%s has sealed states: say in which directory they are", o.manifest.Name)
	}
	for i := range o.manifest.State {
		if err := o.openState(ctx, &o.manifest.State[i]); err != nil {
			return errs.Wrap(err, "state %s", o.manifest.State[i].Name)
		}
	}
	return nil
}

func (o *Opened) openState(ctx context.Context, s *enclave.State) error {
	dir, err := filepath.Abs(filepath.Join(o.order.StateDir, o.manifest.Product, o.order.Instance, s.Name))
	if err != nil {
		return errs.Wrap(err, "directory")
	}
	lease, err := o.sessions[s.Broker].OpenState(ctx, client.StateRequest{Instance: o.order.Instance,
		Name: s.Name})
	if err != nil {
		return errs.Wrap(err, "broker %s", s.Broker)
	}
	held := &sealedState{lease: lease, target: s.Target}
	o.states = append(o.states, held)
	keys := lease.Keys()
	kept := attest.Kept{Instance: o.order.Instance, Name: s.Name}
	for _, key := range keys {
		kept.Keys = append(kept.Keys, key.Key)
	}
	anchor, err := attest.Anchor(ctx, o.order.Device, lease, kept)
	if err != nil {
		return err
	}
	held.served, err = state.Serve(state.ServeConfig{
		Config: state.Config{Dir: dir, Keys: keys, Anchor: anchor, Bytes: s.Bytes, Clock: o.deps.Clock},
		Log:    func(text string) { o.note(s.Name, text) }})
	return err
}

// note passes on what is said of a state: its opening and closing are the usual, a refusal to open is
// returned, and all else a warning.
func (o *Opened) note(name, text string) {
	level := slog.LevelWarn
	for _, usual := range [...]string{"open at ", "closed at ", "state.open: "} {
		if strings.HasPrefix(text, usual) {
			level = slog.LevelInfo
		}
	}
	o.deps.Log.Log(context.Background(), level, "sealed state", "state", name, "note", text)
}

// mountStates shows the states inside.
func (o *Opened) mountStates() {
	for _, s := range o.states {
		o.Spec.Sealed = append(o.Spec.Sealed, runtime.Sealed{Sort: state.Guest{}.Sort(), Dir: s.served.Dir(),
			Target: s.target})
	}
}

// refusal is why a state was not opened, where a sandbox could not be made.
func (o *Opened) refusal(err error) error {
	if err == nil {
		return nil
	}
	for i, s := range o.states {
		if refused := s.served.Refusal(); refused != nil {
			return errs.Wrap(refused, "state %s", o.manifest.State[i].Name)
		}
	}
	return err
}

// closeStates waits for the file server's last commit and gives the leases back.
func (o *Opened) closeStates(ctx context.Context) error {
	var failed []error
	for _, s := range o.states {
		if s.served != nil {
			failed = append(failed, s.served.Close(ctx))
		}
		failed = append(failed, s.lease.Close(ctx))
	}
	o.states = nil
	return errors.Join(failed...)
}
