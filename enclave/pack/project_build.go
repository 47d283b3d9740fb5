package pack

import (
	"context"
	"errors"
	"os"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/sys/entropy"
)

// BuildOrder says how to build a project.
type BuildOrder struct {
	SignKey   string            // file of the signing key; empty: the project's own
	LayerKeys map[string]string // files of keys of secret layers, by name; the others are the project's own
	Random    entropy.Source    // nil: the system's
	Advanced  func(Progress)
}

// Build builds the project's bundle, in the place of the one that is there. Keys of secret layers that
// are not there yet are made in keys/. Secret layers that have not changed since the last build keep
// their ids and so their measurement.
func (p *Project) Build(ctx context.Context, o BuildOrder) (*Bundle, error) {
	held, err := p.hold()
	if err != nil {
		return nil, err
	}
	defer held.Close() // the lock goes with it
	m, err := p.Manifest()
	if err != nil {
		return nil, err
	}
	b := &Builder{Random: o.Random, Advanced: o.Advanced}
	if o.Random == nil {
		b.Random = entropy.System()
	}
	if o.SignKey == "" {
		o.SignKey = p.SignerPath()
	}
	if b.Signer, err = LoadKey(o.SignKey); err != nil {
		return nil, err
	}
	parts := p.parts()
	if err := p.keys(parts, o, b.Random); err != nil {
		return nil, err
	}
	if old, err := Open(p.BundlePath()); err == nil {
		defer old.Close() // a directory: nothing to let go of
		b.Reuse = old
	}
	fresh, err := os.MkdirTemp(p.Dir, tmpPrefix)
	if err != nil {
		return nil, fileError(err, "pack.build")
	}
	defer os.RemoveAll(fresh)
	made, err := b.Build(ctx, fresh+"/new", m, parts)
	if err != nil {
		return nil, p.located(err)
	}
	if err := made.Close(); err != nil {
		return nil, err
	}
	if err := p.replace(fresh); err != nil {
		return nil, fileError(err, "pack.build")
	}
	return Open(p.BundlePath())
}

// replace puts the new bundle into the place of the old one, which goes with the directory of both.
func (p *Project) replace(fresh string) error {
	err := os.Rename(p.BundlePath(), fresh+"/old")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(fresh+"/new", p.BundlePath())
}

// keys fills in the keys of secret layers.
func (p *Project) keys(parts []Part, o BuildOrder, random entropy.Source) error {
	known := map[string]bool{}
	for i := range parts {
		part := &parts[i]
		if part.Kind != enclave.Secret {
			continue
		}
		known[part.Name] = true
		var err error
		if path := o.LayerKeys[part.Name]; path != "" {
			part.Key, err = LoadLayerKey(path)
		} else {
			part.Key, err = p.LayerKey(part.Name)
		}
		if errs.Is(err, errs.NotFound) && o.LayerKeys[part.Name] == "" {
			part.Key, err = NewLayerKey(p.LayerKeyPath(part.Name), func(b []byte) error {
				random.Fill(b)
				return nil
			})
		}
		if err != nil {
			return errs.Wrap(err, "layer %s", part.Name)
		}
	}
	for name := range o.LayerKeys {
		if !known[name] {
			return errs.New(errs.Invalid, "pack.build: a key is given for the layer %q, and the project has no "+
				"secret layer of that name", name)
		}
	}
	return nil
}

// LayerKey reads the key of a secret layer. Kind NotFound where it was not built yet.
func (p *Project) LayerKey(name string) (layer.Key, error) { return LoadLayerKey(p.LayerKeyPath(name)) }

// LayerKeys returns the keys of the project's secret layers that are there, by name.
func (p *Project) LayerKeys() (map[string]layer.Key, error) {
	keys := map[string]layer.Key{}
	for _, l := range p.Layers {
		if l.Kind != enclave.Secret {
			continue
		}
		key, err := p.LayerKey(l.Name)
		if errs.Is(err, errs.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		keys[l.Name] = key
	}
	return keys, nil
}
