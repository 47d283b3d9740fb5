package launch

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/sandbox/policyfile"
	"surety/sandbox/runtime"
)

// Labels that a running enclave has, for whoever lists it.
const (
	labelPrefix = "enclave."

	LabelName      = labelPrefix + "name"
	LabelMeasure   = labelPrefix + "measure"
	LabelGuarantee = labelPrefix + "guarantee"
	LabelTEE       = labelPrefix + "tee"
	LabelSigner    = labelPrefix + "signer"
	LabelProduct   = labelPrefix + "product"
	LabelSVN       = labelPrefix + "svn"
	LabelDebug     = labelPrefix + "debug"
)

// compose turns the manifest, and what it leaves open, into what the sandbox runs.
func (o *Opened) compose(context.Context) error {
	m := o.manifest
	o.Spec = runtime.Spec{
		ID: o.order.Instance, Class: runtime.Sentry,
		Args: slices.Concat(m.Command, o.order.Args), Env: o.environment(), Cwd: m.Cwd,
		User: runtime.User{UID: m.UID, GID: m.GID}, Hostname: m.Name, Terminal: o.order.Terminal,
		Overlay: "none", Volumes: o.volumes(),
		Network: runtime.Network{Mode: m.Network, Ports: o.order.Ports},
		Limits: runtime.Limits{MemoryBytes: int64(m.Limits.Memory), CPUMillis: int64(m.Limits.CPU),
			Processes: int64(m.Limits.Processes)},
		Labels: o.labels(), Trace: o.order.Trace,
	}
	if m.Overlay {
		o.Spec.Overlay = "memory"
	}
	if !m.Debug {
		o.Spec.Closed = &runtime.Closed{Entries: m.Entries}
	}
	if len(m.Policy) > 0 {
		p, _, err := policyfile.Compile(m.Policy)
		if err != nil {
			return errs.Wrap(err, "policy of %s", m.Name)
		}
		o.Spec.Policy = &p
	}
	if err := o.layers(); err != nil {
		return err
	}
	o.mountStates()
	return o.Spec.Check()
}

// environment is the manifest's, with what whoever starts the enclave sets or replaces of it.
func (o *Opened) environment() []string {
	env := slices.DeleteFunc(slices.Clone(o.manifest.Env), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.ContainsFunc(o.order.Env, func(own string) bool {
			return strings.HasPrefix(own, name+"=")
		})
	})
	return append(env, o.order.Env...)
}

func (o *Opened) volumes() []runtime.Volume {
	var all []runtime.Volume
	for _, s := range o.manifest.Shown {
		all = append(all, runtime.Volume{Source: o.order.Shown[s.Target], Target: s.Target,
			ReadOnly: s.ReadOnly})
	}
	return all
}

// layers sets the root and what is mounted beside it. The birth record names a secret layer by its
// ciphertext: the digest of the plaintext would let anybody confirm a guess.
func (o *Opened) layers() error {
	for i := range o.manifest.Layers {
		l := &o.manifest.Layers[i]
		if l.Kind == enclave.Secret {
			o.Spec.Layers = append(o.Spec.Layers, runtime.Layer{Memory: o.memories[i],
				Digest: l.Root.String(), Target: l.Target})
			continue
		}
		path, err := o.layerFile(i, int64(l.Bytes))
		if err != nil {
			return err
		}
		if i == 0 {
			o.Spec.Root = runtime.Root{Image: path, Digest: publicDigest(l)}
			continue
		}
		o.Spec.Layers = append(o.Spec.Layers, runtime.Layer{Path: path, Digest: publicDigest(l),
			Target: l.Target})
	}
	return nil
}

// labels are the caller's and ours.
func (o *Opened) labels() map[string]string {
	m, tee := o.manifest, o.order.Device.TEE()
	all := map[string]string{
		LabelName: m.Name, LabelMeasure: o.measure.String(), LabelGuarantee: string(tee.Guarantee()),
		LabelTEE: string(tee), LabelSigner: o.signer.String(), LabelProduct: m.Product,
		LabelSVN: strconv.FormatUint(m.SVN, 10), LabelDebug: strconv.FormatBool(m.Debug),
	}
	maps.Copy(all, o.order.Labels)
	return all
}
