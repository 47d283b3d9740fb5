package runtime

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"surety/base/errs"
	"surety/sandbox"
)

// Sealed is a volume that is not the host's files: the sandbox's file server opens it in a directory
// of the host, with the help of a keeper that listens there (sandbox/volume, enclave/state). The
// keeper has to listen when the sandbox is made, for as long as the sandbox lives.
//
// Such a volume is reached by the file server's protocol alone: the kernel inside has no directory of
// the host for it, and stays as confined as one without volumes.
type Sealed struct {
	Sort   string `json:"sort"`   // of the provider: state
	Dir    string `json:"dir"`    // on the host: the provider's
	Target string `json:"target"` // where the program sees it
}

const (
	// maxSealed is what a manifest may have; each has a keeper.
	maxSealed = 16
	// maxSealedTarget keeps the keeper's address within a socket's 107 bytes.
	maxSealedTarget = 80
)

func (s *Spec) checkSealed() error {
	if len(s.Sealed) > maxSealed {
		return errs.New(errs.TooLarge, "sealed: %d of them, at most %d", len(s.Sealed), maxSealed)
	}
	seen := map[string]bool{}
	for _, v := range s.Volumes {
		seen[v.Target] = true
	}
	for _, l := range s.Layers {
		seen[l.Target] = true
	}
	for i, v := range s.Sealed {
		switch {
		case v.Sort == "" || strings.ContainsAny(v.Sort, " \n"):
			return errs.New(errs.Invalid, "sealed[%d].sort: %q is no name", i, v.Sort)
		case !cleanAbsolute(v.Dir):
			return errs.New(errs.Invalid, "sealed[%d].dir: %q is not a clean absolute path", i, v.Dir)
		case !cleanAbsolute(v.Target) || v.Target == "/" || strings.ContainsAny(v.Target, "\n"):
			return errs.New(errs.Invalid, "sealed[%d].target: %q is not a clean absolute path below /", i,
				v.Target)
		case len(v.Target) > maxSealedTarget:
			return errs.New(errs.TooLarge, "sealed[%d].target: %d bytes, at most %d", i, len(v.Target),
				maxSealedTarget)
		case seen[v.Target]:
			return errs.New(errs.Invalid, "sealed[%d].target: %s is there twice", i, v.Target)
		case s.Class == VM || s.Root.Image == "" || s.Snapshot != "":
			return errs.New(errs.Invalid, "sealed[%d]: takes class sentry, a root that is an image, and "+
				"no snapshot", i)
		}
		seen[v.Target] = true
	}
	return nil
}

// showSealed adds the mounts of sealed volumes, marked for the file server: it asks their provider
// instead of the directory, and the kernel inside does not ask for the directory itself.
func showSealed(out *specs.Spec, sealed []Sealed) {
	var lines []string
	for i, v := range sealed {
		out.Mounts = append(out.Mounts, specs.Mount{Destination: v.Target, Type: "bind", Source: v.Dir,
			Options: []string{"rbind", "rw"}})
		hint := fmt.Sprintf("dev.gvisor.spec.mount.sealed%d.", i)
		out.Annotations[hint+"source"] = v.Dir
		out.Annotations[hint+"type"] = "bind"
		out.Annotations[hint+"share"] = "container" // nobody else changes it: it may be cached
		out.Annotations[hint+"directfs"] = "off"
		lines = append(lines, v.Sort+" "+v.Target)
	}
	if len(lines) > 0 {
		out.Annotations[sandbox.VolumeAnnotation] = strings.Join(lines, "\n")
	}
}
