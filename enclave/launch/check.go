package launch

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"surety/base/errs"
	"surety/enclave"
)

// check refuses what the manifest does not leave to whoever starts the enclave.
func (o *Opened) check(context.Context) error {
	switch {
	case o.order.Bundle == nil:
		return errs.New(errs.Invalid, "no bundle")
	case o.order.Device == nil:
		return errs.New(errs.Invalid, "no device to make evidence with")
	case o.deps.Host == nil:
		return errs.New(errs.Invalid, "no host to run on")
	}
	signed := o.order.Bundle.Signed()
	o.manifest, o.measure, o.signer = signed.Manifest, signed.Measure, signed.Signer
	for _, check := range [...]func() error{
		o.checkArgs, o.checkEnv, o.checkShown, o.checkNetwork, o.checkBrokers, o.checkLabels,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (o *Opened) checkArgs() error {
	n := len(o.order.Args)
	if n > 0 && !o.manifest.Args {
		return errs.New(errs.Refused, "the manifest of %s leaves no arguments to whoever starts it "+
			"(args: true would): it runs %q", o.manifest.Name, o.manifest.Command)
	}
	if n > maxArgs {
		return errs.New(errs.TooLarge, "%d arguments, at most %d", n, maxArgs)
	}
	return nil
}

func (o *Opened) checkEnv() error {
	if n := len(o.order.Env); n > maxEnv {
		return errs.New(errs.TooLarge, "%d variables, at most %d", n, maxEnv)
	}
	seen := map[string]bool{}
	for _, e := range o.order.Env {
		name, _, found := strings.Cut(e, "=")
		switch {
		case !found || strings.Contains(e, "\x00"):
			return errs.New(errs.Invalid, "%.80q is not of the form NAME=value", e)
		case !slices.Contains(o.manifest.EnvNames, name):
			return errs.New(errs.Refused, "the manifest of %s does not leave the variable %.80s to whoever "+
				"starts it, only %q", o.manifest.Name, name, o.manifest.EnvNames)
		case seen[name]:
			return errs.New(errs.Invalid, "the variable %.80s is set twice", name)
		}
		seen[name] = true
	}
	return nil
}

// checkShown wants a directory of the host for each that the manifest shows, and no other.
func (o *Opened) checkShown() error {
	wanted := map[string]bool{}
	for _, s := range o.manifest.Shown {
		wanted[s.Target] = true
		dir, given := o.order.Shown[s.Target]
		if !given {
			return errs.New(errs.Invalid, "%s shows a directory of the host at %s: say which", o.manifest.Name,
				s.Target)
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || !filepath.IsAbs(dir) {
			return errs.New(errs.Invalid, "%s, to be shown at %s, is no directory of this host by an absolute "+
				"path", dir, s.Target)
		}
	}
	for _, target := range sortedKeys(o.order.Shown) {
		if !wanted[target] {
			return errs.New(errs.Refused, "the manifest of %s shows nothing of the host at %s", o.manifest.Name,
				target)
		}
	}
	return nil
}

func (o *Opened) checkNetwork() error {
	if o.manifest.Network != enclave.NetworkStack && len(o.order.Ports) > 0 {
		return errs.New(errs.Refused, "the manifest of %s gives it network %q: no port can be published",
			o.manifest.Name, o.manifest.Network)
	}
	return nil
}

// checkBrokers wants an address for each broker that a layer or a state names, and a key to know it by.
func (o *Opened) checkBrokers() error {
	needed := o.needed()
	for _, b := range o.manifest.Brokers {
		at, given := o.order.Brokers[b.Name]
		switch {
		case !given && slices.Contains(needed, b.Name):
			return errs.New(errs.Invalid, "%s has secrets with the broker %q: say where it is", o.manifest.Name,
				b.Name)
		case given && b.Key.IsZero() && at.Key.IsZero():
			return errs.New(errs.Invalid, "the manifest does not pin the key of the broker %q: say which it is",
				b.Name)
		case given && !b.Key.IsZero() && !at.Key.IsZero() && b.Key != at.Key:
			return errs.New(errs.Refused, "the manifest trusts the broker %q with the key %s, and the one given "+
				"has %s", b.Name, b.Key, at.Key)
		}
	}
	for _, name := range sortedKeys(o.order.Brokers) {
		if !slices.ContainsFunc(o.manifest.Brokers, func(b enclave.Broker) bool { return b.Name == name }) {
			return errs.New(errs.Refused, "the manifest of %s names no broker %q", o.manifest.Name, name)
		}
	}
	return nil
}

func (o *Opened) checkLabels() error {
	if n := len(o.order.Labels); n > maxLabels {
		return errs.New(errs.TooLarge, "%d labels, at most %d", n, maxLabels)
	}
	for _, name := range sortedKeys(o.order.Labels) {
		if strings.HasPrefix(name, labelPrefix) {
			return errs.New(errs.Invalid, "the label %s is not the caller's to give", name)
		}
	}
	return nil
}

// needed are the brokers that layers and states name, each once, in the manifest's order.
func (o *Opened) needed() []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for i := range o.manifest.Layers {
		if l := &o.manifest.Layers[i]; l.Kind == enclave.Secret {
			broker, _, _ := strings.Cut(l.Key, "/")
			add(broker)
		}
	}
	for _, s := range o.manifest.State {
		add(s.Broker)
	}
	return names
}

// sortedKeys are a map's keys in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
