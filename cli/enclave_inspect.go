package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/enclave/pack"
	"surety/sandbox/image/erofs"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func enclaveInspectCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "inspect ENCLAVE",
		Short: "Show what an enclave is, and what of it is not measured",
		Long: `ENCLAVE is a project that is built, a bundle's directory, or a bundle in one file. Its signature is
checked; whether the signer is one to trust is yours to say.

--check reads every layer and compares it with the manifest: public ones by digest and dm-verity
root, secret ones by the root of their tags and, where their keys are here, by decrypting every
block. --files lists the files of the public layers.

With -o json, one object {bundle, measure, signer, product, svn, debug, layers, manifest,
untrusted, unpinned, checked, files}.`,
		Example: `  surety enclave inspect credit
  surety enclave inspect credit.enclave --check`,
		Args: exactArgs("ENCLAVE"),
	}
	var check, files bool
	c.Flags().BoolVar(&check, "check", false, "read every layer and compare it with the manifest")
	c.Flags().BoolVar(&files, "files", false, "list the files of the public layers")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		b, keys, err := openEnclave(args[0])
		if err != nil {
			return err
		}
		defer b.Close() // nothing was written
		m := b.Signed().Manifest
		view := inspectView{builtView: viewBuilt(b), Manifest: m, Untrusted: untrusted(m),
			Unpinned: m.Unpinned()}
		if check {
			if err := b.VerifyWith(ctx, keys); err != nil {
				return err
			}
			view.Checked = checkedLayers(m, keys)
		}
		if files {
			if view.Files, err = listFiles(b); err != nil {
				return err
			}
		}
		return env.show(view, view.write)
	})
}

// openEnclave opens a bundle, and reads the keys of its secret layers that are beside it.
func openEnclave(path string) (*pack.Bundle, map[string]layer.Key, error) {
	at, err := locateEnclave(path)
	if err != nil {
		return nil, nil, err
	}
	b, err := pack.Open(at.bundle)
	if err != nil {
		return nil, nil, err
	}
	keys := map[string]layer.Key{}
	for _, l := range b.Signed().Manifest.Layers {
		if l.Kind != enclave.Secret {
			continue
		}
		key, err := at.layerKey(l.Name)
		if err == nil {
			keys[l.Name] = key
		} else if !errs.Is(err, errs.NotFound) {
			_ = b.Close() // nothing was written
			return nil, nil, err
		}
	}
	return b, keys, nil
}

// inspectView is what inspect shows.
type inspectView struct {
	builtView
	Manifest  *enclave.Manifest `json:"manifest"`
	Untrusted []string          `json:"untrusted"` // input that the measurement does not cover
	Unpinned  []string          `json:"unpinned"`  // brokers that whoever starts it chooses
	Checked   []string          `json:"checked,omitempty"`
	Files     []fileView        `json:"files,omitempty"`
}

// fileView is one file of a public layer.
type fileView struct {
	Layer string `json:"layer"`
	Path  string `json:"path"`
	Mode  string `json:"mode"`
	UID   uint32 `json:"uid"`
	GID   uint32 `json:"gid"`
	Bytes uint64 `json:"bytes"`
}

// untrusted lists what reaches the program without being measured.
func untrusted(m *enclave.Manifest) []string {
	var all []string
	for _, s := range m.Shown {
		how := "read and written"
		if s.ReadOnly {
			how = "read"
		}
		all = append(all, fmt.Sprintf("%s is a directory of the host, %s unprotected", s.Target, how))
	}
	if m.Args {
		all = append(all, "whoever starts it may append arguments")
	}
	for _, name := range m.EnvNames {
		all = append(all, "whoever starts it sets "+name)
	}
	if m.Network != enclave.NetworkNone {
		all = append(all, "everything that comes over the network")
	}
	return all
}

// checkedLayers says how far each layer was checked.
func checkedLayers(m *enclave.Manifest, keys map[string]layer.Key) []string {
	var all []string
	for _, l := range m.Layers {
		_, has := keys[l.Name]
		switch {
		case l.Kind == enclave.Public:
			all = append(all, l.Name+": every byte")
		case has:
			all = append(all, l.Name+": every block, with its key")
		default:
			all = append(all, l.Name+": header and tags; blocks only with its key")
		}
	}
	return all
}

func listFiles(b *pack.Bundle) ([]fileView, error) {
	var all []fileView
	for i, l := range b.Signed().Manifest.Layers {
		if l.Kind != enclave.Public {
			continue
		}
		files, err := pack.OpenLayer(b, i, layer.Key{})
		if err != nil {
			return nil, err
		}
		err = files.Walk(func(path string, n erofs.Inode) error {
			v := fileView{Layer: l.Name, Path: strings.TrimSuffix(l.Target, "/") + "/" + path,
				Mode: fmt.Sprintf("%06o", n.Mode), UID: n.UID, GID: n.GID}
			if n.Is(erofs.Regular) {
				v.Bytes = n.Size
			}
			all = append(all, v)
			return nil
		})
		_ = files.Close() // nothing was written
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (v *inspectView) write(w io.Writer) error {
	if err := v.builtView.write(w); err != nil {
		return err
	}
	m := v.Manifest
	pairs := []pair{{"name", m.Name}, {"command", strings.Join(m.Command, " ")},
		{"runs as", fmt.Sprintf("%d:%d in %s", m.UID, m.GID, m.Cwd)}, {"network", m.Network}}
	for _, list := range []struct {
		name  string
		texts []string
	}{{"env", m.Env}, {"exec may run", m.Entries}, {"UNTRUSTED", v.Untrusted}, {"checked", v.Checked}} {
		for _, text := range list.texts {
			pairs = append(pairs, pair{list.name, text})
		}
	}
	for _, s := range m.State {
		text := fmt.Sprintf("%s at %s, up to %d bytes, by broker %s", s.Name, s.Target, s.Bytes, s.Broker)
		pairs = append(pairs, pair{"state", text})
	}
	for _, b := range m.Brokers {
		key := b.Key.String()
		if b.Key.IsZero() {
			key = "NOT PINNED: whoever starts it chooses"
		}
		pairs = append(pairs, pair{"broker", b.Name + " " + key})
	}
	if !m.Contract.IsZero() {
		pairs = append(pairs, pair{"contract", m.Contract})
	}
	if len(m.Policy) > 0 {
		pairs = append(pairs, pair{"policy", fmt.Sprintf("%d bytes", len(m.Policy))})
	}
	if err := writePairs(w, pairs...); err != nil || len(v.Files) == 0 {
		return err
	}
	g := newGrid(left("layer"), left("mode"), right("uid"), right("gid"), right("bytes"), left("path"))
	for _, f := range v.Files {
		g.row(f.Layer, f.Mode, f.UID, f.GID, f.Bytes, f.Path)
	}
	return g.write(w)
}
