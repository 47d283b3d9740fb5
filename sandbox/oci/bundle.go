package oci

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"surety/base/errs"
	"surety/sandbox/policyfile"
	"surety/sandbox/runtime"
)

// maxBundle bounds config.json: containerd's own are some 20 KiB.
const maxBundle = 4 << 20

// Annotations of a bundle that speak to this runtime.
const (
	annotationPolicy  = "surety.dev/policy"  // path of a policy file on the host
	annotationLearn   = "surety.dev/learn"   // "true": refuse nothing, record what a policy needs
	annotationNetwork = "surety.dev/network" // none | stack | host, within the bundle's namespace
	annotationOverlay = "surety.dev/overlay" // memory | self: where writes to the root go
)

// ReadBundle turns a bundle into a spec. Errors are Invalid and name the field.
func ReadBundle(dir, id string) (*runtime.Spec, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, errs.Wrap(err, "bundle")
	}
	name := filepath.Join(dir, "config.json")
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, errs.As(errs.NotFound, err, "bundle")
	}
	if len(content) > maxBundle {
		return nil, errs.New(errs.TooLarge, "%s: %d bytes, at most %d", name, len(content), maxBundle)
	}
	var oci specs.Spec
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&oci); err != nil {
		return nil, errs.As(errs.Invalid, err, "%s", name)
	}
	if err := checkBundle(&oci); err != nil {
		return nil, errs.Wrap(err, "%s", name)
	}
	return translate(dir, id, content, &oci)
}

// translate fills a spec with what the sandbox's own machinery has to know of the bundle.
func translate(dir, id string, content []byte, oci *specs.Spec) (*runtime.Spec, error) {
	root := oci.Root.Path
	if !filepath.IsAbs(root) {
		root = filepath.Join(dir, root)
	}
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "root.path")
	}
	spec := &runtime.Spec{
		ID: id, Class: runtime.Sentry, Root: runtime.Root{Dir: root}, Args: oci.Process.Args,
		Env: oci.Process.Env, Cwd: oci.Process.Cwd, Hostname: oci.Hostname,
		Terminal: oci.Process.Terminal, Overlay: "self", OCI: content, Bundle: dir, Labels: oci.Annotations,
		Network: runtime.Network{Mode: networkOf(oci)},
		User: runtime.User{UID: oci.Process.User.UID, GID: oci.Process.User.GID,
			Groups: oci.Process.User.AdditionalGids},
	}
	if oci.Process.Capabilities != nil {
		spec.Caps = oci.Process.Capabilities.Bounding
	}
	if oci.Root.Readonly {
		spec.Overlay = "none"
	}
	return spec, annotate(spec, oci.Annotations)
}

// annotate carries out the annotations that speak to this runtime.
func annotate(spec *runtime.Spec, annotations map[string]string) error {
	for name, value := range annotations {
		switch name {
		case annotationPolicy:
			content, err := os.ReadFile(value)
			if err != nil {
				return errs.As(errs.Invalid, err, "annotations[%s]", name)
			}
			p, err := policyfile.Parse(content)
			if err != nil {
				return errs.Wrap(err, "annotations[%s]: %s", name, value)
			}
			spec.Policy = &p
		case annotationLearn:
			spec.Learn = value == "true"
		case annotationNetwork:
			if !slices.Contains([]string{"none", "stack", "host"}, value) {
				return errs.New(errs.Invalid, "annotations[%s]: %q is none of none, stack, host", name,
					value)
			}
			spec.Network.Mode = value
		case annotationOverlay:
			if value != "memory" && value != "self" {
				return errs.New(errs.Invalid, "annotations[%s]: %q is neither memory nor self", name, value)
			}
			if spec.Overlay != "none" {
				spec.Overlay = value
			}
		default:
			if strings.HasPrefix(name, "surety.dev/") {
				return errs.New(errs.Invalid, "annotations[%s]: no such annotation", name)
			}
			if strings.HasPrefix(name, "dev.gvisor.") {
				return errs.New(errs.Invalid, "annotations[%s]: would change the kernel inside behind "+
					"the policy's back", name)
			}
		}
	}
	return nil
}

// networkOf is host where the bundle brings a network namespace that somebody has set up (a pod's),
// and none where it asks for a new, empty one.
func networkOf(oci *specs.Spec) string {
	for _, ns := range oci.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace {
			if ns.Path == "" {
				return "none"
			}
			return "host"
		}
	}
	return "host"
}
