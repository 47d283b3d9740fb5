package cli

import (
	"os"
	"path/filepath"
	"strings"

	"surety/base/errs"
	"surety/sandbox/runtime"
)

// sourceKinds are the words that may stand before a source, with a colon.
var sourceKinds = [...]string{"dir", "binary", "layout", "tar", "bundle", "image"}

// fillSource sets the root of spec, and what the source itself says of how to run it. The command,
// where there is one, replaces what an image runs and are the arguments of a binary.
func fillSource(h *hosted, spec *runtime.Spec, source string, command []string) error {
	kind, rest := splitSource(source)
	if kind == "" {
		kind = detectSource(rest)
	}
	switch kind {
	case "dir":
		return fromDirectory(spec, rest, command)
	}
	return errs.New(errs.Invalid, "source %q: kind %q", source, kind)
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

// detectSource says what a source without a word is.
func detectSource(source string) string {
	info, err := os.Stat(source)
	switch {
	case err != nil:
		return "image"
	case !info.IsDir():
		return "binary"
	case exists(filepath.Join(source, "config.json")):
		return "bundle"
	case exists(filepath.Join(source, "oci-layout")):
		return "layout"
	}
	return "dir"
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
