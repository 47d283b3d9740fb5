package cli

import (
	"os"
	"path/filepath"
	"strings"

	"surety/base/errs"
	"surety/sandbox/image"
	"surety/sandbox/oci"
	"surety/sandbox/runtime"
)

// sourceKinds are the words that may stand before a source, with a colon.
var sourceKinds = [...]string{"dir", "binary", "layout", "tar", "bundle", "image"}

// fillSource sets the root of spec, and what the source itself says of how to run it. The command,
// where there is one, replaces what an image runs and is the arguments of a binary.
func fillSource(h *hosted, spec *runtime.Spec, source string, command []string) error {
	kind, rest := splitSource(source)
	if kind == "" {
		var err error
		if kind, err = detectSource(rest); err != nil {
			return err
		}
	}
	switch kind {
	case "dir":
		return fromDirectory(spec, rest, command)
	case "bundle":
		return fromBundle(spec, rest, command)
	}
	return fromImage(h, spec, kind, rest, command)
}

// splitSource takes a known word off the front.
func splitSource(source string) (kind, rest string) {
	for _, k := range sourceKinds {
		if rest, found := strings.CutPrefix(source, k+":"); found {
			return k, rest
		}
	}
	return "", source
}

// detectSource says what a source without a word is. What is no file is the name of an image, unless
// it is written as only paths are.
func detectSource(source string) (string, error) {
	info, err := os.Stat(source)
	switch {
	case err != nil && (filepath.IsAbs(source) || strings.HasPrefix(source, ".")):
		return "", fileError(err, "source")
	case err != nil:
		return "image", nil
	case !info.IsDir():
		return "file", nil
	case exists(filepath.Join(source, "oci-layout")):
		return "layout", nil
	case exists(filepath.Join(source, "config.json")):
		return "bundle", nil
	}
	return "dir", nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// fromDirectory serves a directory of the host as it is; what is written stays in the sandbox.
func fromDirectory(spec *runtime.Spec, source string, command []string) error {
	dir, err := absolute(source)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		return errs.New(errs.Invalid, "directory %s does not say what to run: add -- COMMAND", source)
	}
	spec.Root.Dir, spec.Args = dir, command
	return nil
}

// fromBundle takes what an OCI bundle says; flags of run that say more are added to it.
func fromBundle(spec *runtime.Spec, source string, command []string) error {
	if len(command) > 0 {
		return errs.New(errs.Invalid, "bundle %s says itself what to run", source)
	}
	bundle, err := oci.ReadBundle(source, spec.ID)
	if err != nil {
		return err
	}
	bundle.Learn, bundle.Class = spec.Learn, spec.Class
	*spec = *bundle
	return nil
}

// fromImage takes an image of the store, adding it first where it is not one yet.
func fromImage(h *hosted, spec *runtime.Spec, kind, source string, command []string) error {
	store, err := image.Open(h.host.Root())
	if err != nil {
		return err
	}
	found, err := findImage(h, store, kind, source)
	if err != nil {
		return err
	}
	spec.Root = runtime.Root{Image: found.Path, Digest: found.Digest}
	c := &found.Config
	spec.Args = append(append([]string{}, c.Entrypoint...), c.Cmd...)
	if len(command) > 0 {
		spec.Args = append(append([]string{}, c.Entrypoint...), command...)
	}
	if len(spec.Args) == 0 {
		return errs.New(errs.Invalid, "image %s does not say what to run: add -- COMMAND", source)
	}
	spec.Env, spec.Cwd = c.Env, c.WorkDir
	if c.User == "" {
		return nil
	}
	contents, err := image.Read(found)
	if err != nil {
		return err
	}
	defer contents.Close() // nothing was written
	user, err := contents.User(c.User)
	spec.User = runtime.User{UID: user.UID, GID: user.GID, Groups: user.Groups}
	return err
}

// findImage is the image that a source names, made now where the store has none.
func findImage(h *hosted, store *image.Store, kind, source string) (image.Image, error) {
	from := image.Source{Where: source}
	switch kind {
	case "image":
		found, err := store.Find(source)
		if err == nil || !errs.Is(err, errs.NotFound) {
			return found, err
		}
		from.Kind = image.Registry
	case "layout":
		from.Kind = image.Layout
	case "tar":
		from.Kind = image.Archive
	case "binary":
		from.Kind = image.Program
	default:
		detected, err := image.Detect(source)
		if err != nil {
			return image.Image{}, err
		}
		from = detected
	}
	name := source
	if from.Kind != image.Registry {
		if whole, err := absolute(source); err == nil {
			name = whole
		}
	}
	return store.Add(h.Context(), from, name)
}

// absolute is a path from the root, without links on the way.
func absolute(path string) (string, error) {
	whole, err := filepath.Abs(path)
	if err == nil {
		whole, err = filepath.EvalSymlinks(whole)
	}
	if err != nil {
		return "", fileError(err, "path")
	}
	return whole, nil
}
