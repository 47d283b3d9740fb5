package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"surety/base/errs"
)

// shelf is where the parts of an image are found by their digest. What comes from it is not
// believed: callers check it.
type shelf interface {
	open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
}

// blob is a layer that can be fetched.
type blob struct {
	digest string // as stored; empty where the source does not say
	size   int64  // as stored; negative where the source does not say
	diffID string
	open   func(ctx context.Context) (io.ReadCloser, error)
}

// fetch returns a small part whole, checked against its descriptor.
func fetch(ctx context.Context, s shelf, d v1.Descriptor, what string) ([]byte, error) {
	if d.Size > maxManifest {
		return nil, errs.New(errs.TooLarge, "%s %s has %d bytes, the limit is %d", what, d.Digest, d.Size,
			maxManifest)
	}
	r, err := s.open(ctx, d)
	if err != nil {
		return nil, errs.Wrap(err, "%s %s", what, d.Digest)
	}
	content, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, errs.As(errs.Unavailable, err, "%s %s", what, d.Digest)
	}
	if int64(len(content)) != d.Size {
		return nil, errs.New(errs.Invalid, "%s %s has %d bytes, its descriptor says %d", what, d.Digest,
			len(content), d.Size)
	}
	if got := digestBytes(content); got != d.Digest.String() {
		return nil, errs.New(errs.Invalid, "%s %s has digest %s", what, d.Digest, got)
	}
	return content, nil
}

// resolve follows a descriptor, through indexes, to the image for this platform.
func resolve(ctx context.Context, s shelf, d v1.Descriptor, depth int) (*material, error) {
	if depth > maxIndexes {
		return nil, errs.New(errs.Invalid, "index %s: more than %d indexes in each other", d.Digest,
			maxIndexes)
	}
	content, err := fetch(ctx, s, d, "manifest")
	if err != nil {
		return nil, err
	}
	switch {
	case d.MediaType.IsIndex():
		chosen, err := choose(content, "", "index "+d.Digest.String())
		if err != nil {
			return nil, err
		}
		return resolve(ctx, s, chosen, depth+1)
	case d.MediaType.IsImage():
		return readManifest(ctx, s, d, content)
	}
	return nil, errs.New(errs.Invalid, "manifest %s is of type %q, which is not an image's", d.Digest,
		d.MediaType)
}

// choose returns the one image of an index that is for this platform, and has the tag where one is
// asked for.
func choose(index []byte, tag, what string) (v1.Descriptor, error) {
	parsed, err := v1.ParseIndexManifest(bytes.NewReader(index))
	if err != nil {
		return v1.Descriptor{}, errs.As(errs.Invalid, err, "%s", what)
	}
	if len(parsed.Manifests) > maxReferences {
		return v1.Descriptor{}, errs.New(errs.TooLarge, "%s lists %d images, the limit is %d", what,
			len(parsed.Manifests), maxReferences)
	}
	var chosen []v1.Descriptor
	var seen []string
	for _, d := range parsed.Manifests {
		seen = append(seen, strings.TrimSpace(platformOf(d)+" "+tagOf(d)))
		if runsHere(d) && (tag == "" || hasTag(d, tag)) {
			chosen = append(chosen, d)
		}
	}
	chosen = slices.CompactFunc(chosen, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest })
	switch {
	case len(chosen) == 1:
		return chosen[0], nil
	case len(chosen) > 1:
		return v1.Descriptor{}, errs.New(errs.Invalid, "%s has several images, name one by its tag: %s",
			what, strings.Join(seen, ", "))
	case tag != "":
		return v1.Descriptor{}, errs.New(errs.NotFound, "%s has no image %q for linux/amd64, it has: %s",
			what, tag, strings.Join(seen, ", "))
	}
	return v1.Descriptor{}, errs.New(errs.NotFound, "%s has no image for linux/amd64, it has: %s", what,
		strings.Join(seen, ", "))
}

// runsHere reports whether a descriptor may lead to an image for this platform. One that does not
// say is followed: the image's config will.
func runsHere(d v1.Descriptor) bool {
	if d.Annotations["vnd.docker.reference.type"] != "" {
		return false // about another image
	}
	if !d.MediaType.IsIndex() && !d.MediaType.IsImage() {
		return false
	}
	return d.Platform == nil || d.Platform.OS == "linux" && d.Platform.Architecture == "amd64"
}

func platformOf(d v1.Descriptor) string {
	if d.Platform == nil {
		return string(d.MediaType)
	}
	return d.Platform.String()
}

func tagOf(d v1.Descriptor) string {
	if name := d.Annotations["io.containerd.image.name"]; name != "" {
		return name
	}
	return d.Annotations["org.opencontainers.image.ref.name"]
}

func hasTag(d v1.Descriptor, tag string) bool {
	full := d.Annotations["io.containerd.image.name"]
	return tag == full || strings.HasSuffix(full, ":"+tag) || strings.HasSuffix(full, "/"+tag) ||
		tag == d.Annotations["org.opencontainers.image.ref.name"]
}

// readManifest reads an image's manifest and config, and pairs its layers with their DiffIDs.
func readManifest(ctx context.Context, s shelf, d v1.Descriptor, content []byte) (*material, error) {
	what := "manifest " + d.Digest.String()
	manifest, err := v1.ParseManifest(bytes.NewReader(content))
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "%s", what)
	}
	config, err := fetch(ctx, s, manifest.Config, "config")
	if err != nil {
		return nil, errs.Wrap(err, "%s", what)
	}
	m, diffIDs, err := readConfig(config)
	if err != nil {
		return nil, errs.Wrap(err, "config %s", manifest.Config.Digest)
	}
	m.manifest = d.Digest.String()
	if len(diffIDs) != len(manifest.Layers) {
		return nil, errs.New(errs.Invalid, "%s has %d layers, its config has %d", what,
			len(manifest.Layers), len(diffIDs))
	}
	for i, l := range manifest.Layers {
		if !layerType(l.MediaType) {
			return nil, errs.New(errs.Invalid, "layer %s is of type %q, which is not read", l.Digest,
				l.MediaType)
		}
		m.blobs = append(m.blobs, blob{digest: l.Digest.String(), size: l.Size, diffID: diffIDs[i],
			open: func(ctx context.Context) (io.ReadCloser, error) { return s.open(ctx, l) }})
	}
	m.key = layersKey(diffIDs)
	return m, nil
}

// layerType reports whether a layer is a tar archive that may be had from where the image is.
func layerType(t types.MediaType) bool {
	switch t {
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer,
		types.DockerUncompressedLayer:
		return true
	}
	return false
}

// readConfig reads what an image says of itself, and the DiffIDs of its layers.
func readConfig(content []byte) (*material, []string, error) {
	var file v1.ConfigFile
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, nil, errs.As(errs.Invalid, err, "parse")
	}
	if wrong(file.OS, "linux") || wrong(file.Architecture, "amd64") {
		return nil, nil, errs.New(errs.Invalid, "the image is for %s/%s, want linux/amd64", file.OS,
			file.Architecture)
	}
	if n := len(file.RootFS.DiffIDs); n == 0 || n > maxLayers {
		return nil, nil, errs.New(errs.Invalid, "rootfs.diff_ids has %d layers, want 1 to %d", n, maxLayers)
	}
	diffIDs := make([]string, len(file.RootFS.DiffIDs))
	for i, id := range file.RootFS.DiffIDs {
		if diffIDs[i] = id.String(); id.Algorithm != "sha256" {
			return nil, nil, errs.New(errs.Invalid, "rootfs.diff_ids[%d] is %q, want a sha256", i, id)
		}
	}
	c := file.Config
	return &material{config: Config{Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, User: c.User,
		WorkDir: c.WorkingDir, Ports: keysOf(c.ExposedPorts), Volumes: keysOf(c.Volumes),
		StopSignal: c.StopSignal, Labels: c.Labels}}, diffIDs, nil
}

// wrong reports whether a config says another platform; some builders say none.
func wrong(said, want string) bool { return said != "" && said != want }

func keysOf(set map[string]struct{}) []string {
	keys := make([]string, 0, len(set))
	for key := range set {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// layersKey names what a list of layers makes: their bytes decide it, however they are stored.
func layersKey(diffIDs []string) string { return "layers " + strings.Join(diffIDs, " ") }
