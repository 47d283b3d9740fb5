package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"surety/enclave"
	"surety/enclave/pack"
)

func enclaveBuildCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "build DIR",
		Short: "Build, measure, encrypt and sign a project's enclave",
		Long: `Makes DIR/build: a file system of root/ that is measured as it is, one for each secret layer that
is encrypted and measured by its ciphertext, and the signed manifest. The same files and
enclave.yaml give the same measurement, on every machine: modes of files count, times and owners do
not. A secret layer that has not changed since the last build stays as it is.

The keys of secret layers are made in DIR/keys when they are first needed; --layer-key takes
another.

With -o json, one object {bundle, measure, signer, product, svn, debug, layers}; layers are of
{name, kind, target, bytes, digest, root, key}.`,
		Example: `  surety enclave build credit
  surety enclave build credit --sign-key release.pem --layer-key models=models.key`,
		Args: exactArgs("DIR"),
	}
	var o pack.BuildOrder
	var keys []string
	c.Flags().StringVar(&o.SignKey, "sign-key", "", "signing key, PKCS #8 in PEM (default: "+
		"DIR/keys/signer.pem)")
	c.Flags().StringArrayVar(&keys, "layer-key", nil, "NAME=FILE of a secret layer's key (repeatable)")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		p, err := pack.LoadProject(args[0])
		if err != nil {
			return err
		}
		if o.LayerKeys, err = parseLayerKeys(c, keys); err != nil {
			return err
		}
		bar := &packBar{env: env}
		o.Advanced = bar.advance
		b, err := p.Build(ctx, o)
		bar.finish()
		if err != nil {
			return err
		}
		defer b.Close() // a directory: nothing to let go of
		view := viewBuilt(b)
		if b.Signed().Manifest.Debug {
			env.note("DEBUG BUILD: whoever runs it may look inside")
		}
		err = env.show(view, func(w io.Writer) error { return view.write(w) })
		env.note("next: surety enclave run %s", args[0])
		return err
	})
}

// parseLayerKeys reads NAME=FILE.
func parseLayerKeys(c *cobra.Command, texts []string) (map[string]string, error) {
	files := map[string]string{}
	for _, text := range texts {
		name, file, found := strings.Cut(text, "=")
		if !found || name == "" || file == "" {
			return nil, usage(c, "--layer-key %q is not NAME=FILE", text)
		}
		if files[name] != "" {
			return nil, usage(c, "--layer-key gives the layer %s two keys", name)
		}
		files[name] = file
	}
	return files, nil
}

// packBar shows how far the making of a bundle is.
type packBar struct {
	env   *Env
	stage string
	done  int64
	bar   *progress
}

func (b *packBar) advance(p pack.Progress) {
	if p.Stage != b.stage {
		b.finish()
		b.stage, b.done, b.bar = p.Stage, 0, b.env.newProgress(p.Total, p.Stage+" bytes")
	}
	b.bar.add(p.Done - b.done)
	b.done = p.Done
}

func (b *packBar) finish() {
	if b.bar != nil {
		b.bar.finish()
	}
}

// builtView is what build and inspect show of a bundle.
type builtView struct {
	Bundle  string         `json:"bundle"`
	Measure enclave.Digest `json:"measure"`
	Signer  enclave.KeyID  `json:"signer"`
	Product string         `json:"product"`
	SVN     uint64         `json:"svn"`
	Debug   bool           `json:"debug"`
	Layers  []builtLayer   `json:"layers"`
}

// builtLayer is a layer as people compare it.
type builtLayer struct {
	Name   string            `json:"name"`
	Kind   enclave.LayerKind `json:"kind"`
	Target string            `json:"target"`
	Bytes  uint64            `json:"bytes"`            // of the file system, in plaintext
	Digest string            `json:"digest,omitempty"` // of a public one: SHA-256 of its image
	Verity string            `json:"verity,omitempty"` // of a public one: dm-verity root
	Root   string            `json:"root,omitempty"`   // of a secret one: over its ciphertext's tags
	Key    string            `json:"key,omitempty"`    // of a secret one: where its key is asked for
}

func viewBuilt(b *pack.Bundle) builtView {
	s := b.Signed()
	v := builtView{Bundle: b.Path(), Measure: s.Measure, Signer: s.Signer, Product: s.Manifest.Product,
		SVN: s.Manifest.SVN, Debug: s.Manifest.Debug}
	for _, l := range s.Manifest.Layers {
		view := builtLayer{Name: l.Name, Kind: l.Kind, Target: l.Target, Bytes: l.Bytes, Key: l.Key,
			Root: l.Root.String()}
		if l.Kind == enclave.Public {
			view.Digest, view.Verity = hexOf(l.Digest[:]), hexOf(l.Verity[:])
		}
		v.Layers = append(v.Layers, view)
	}
	return v
}

func (v *builtView) write(w io.Writer) error {
	err := writePairs(w, pair{"bundle", v.Bundle}, pair{"measurement", v.Measure}, pair{"signer", v.Signer},
		pair{"product", v.Product}, pair{"svn", v.SVN}, pair{"debug", yesNo(v.Debug)})
	if err != nil {
		return err
	}
	g := newGrid(left("layer"), left("kind"), left("at"), right("bytes"), left("measured as"))
	for _, l := range v.Layers {
		measured := l.Root
		if l.Kind == enclave.Public {
			measured = "sha256:" + l.Digest
		}
		g.row(l.Name, l.Kind, l.Target, l.Bytes, measured)
	}
	return g.write(w)
}
