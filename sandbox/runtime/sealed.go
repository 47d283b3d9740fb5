package runtime

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

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
	// settleMillis is how long what a program wrote and did not sync may take to reach a sealed
	// volume after the program's end: a machine's memory at the speed of a slow disk takes longer,
	// and is then lost as in a crash.
	settleMillis = 60_000
)

func (s *Spec) checkSealed() error {
	if len(s.Sealed) > maxSealed {
		return errs.New(errs.TooLarge, "sealed: %d of them, at most %d", len(s.Sealed), maxSealed)
	}
	seen := map[string]bool{}
	shown := map[string]bool{}
	for _, v := range s.Volumes {
		seen[v.Target], shown[v.Source] = true, true
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
		case shown[v.Dir]:
			return errs.New(errs.Invalid, "sealed[%d].dir: %s is shown as a volume", i, v.Dir)
		case s.Class == VM || s.Root.Image == "" || s.Snapshot != "":
			return errs.New(errs.Invalid, "sealed[%d]: takes class sentry, a root that is an image, and "+
				"no snapshot", i)
		}
		seen[v.Target] = true
	}
	return nil
}

// showSealed adds the mounts of sealed volumes, marked for the file server, which then asks their
// provider instead of the directory.
//
// What a program writes to them is kept by the kernel inside until the program syncs it, so that files
// can be mapped: gVisor decides that by a setting for all mounts (cached), from which the hints here
// except the directories of the host, that somebody else may change.
func showSealed(out *specs.Spec, spec *Spec) {
	if len(spec.Sealed) == 0 {
		return
	}
	var lines []string
	for _, v := range spec.Sealed {
		out.Mounts = append(out.Mounts, specs.Mount{Destination: v.Target, Type: "bind", Source: v.Dir,
			Options: []string{"rbind", "rw"}})
		lines = append(lines, v.Sort+" "+v.Target)
	}
	out.Annotations[sandbox.VolumeAnnotation] = strings.Join(lines, "\n")
	hinted := map[string]bool{}
	for i, v := range spec.Volumes {
		if hinted[v.Source] {
			continue // gVisor takes one for each source
		}
		hinted[v.Source] = true
		hint := fmt.Sprintf("dev.gvisor.spec.mount.shown%d.", i)
		out.Annotations[hint+"source"] = v.Source
		out.Annotations[hint+"type"] = "bind"
		out.Annotations[hint+"share"] = "shared"
	}
}

// cached is gVisor's word for whether what is mounted changes behind the kernel's back.
func (s *Spec) cached() string {
	if len(s.Sealed) > 0 {
		return "exclusive"
	}
	return "shared"
}

// direct reports whether the kernel inside opens the host's directories itself. With a sealed volume it
// does not: everything goes through the file server.
func (s *Spec) direct() bool {
	return len(s.Sealed) == 0 && (s.Root.Dir != "" || len(s.Volumes) > 0)
}

// settle waits until the file server has ended by itself, once the program has: the kernel inside hands
// over what it had kept, and the server closes its sealed volumes. Otherwise it would be killed.
func (c *cell) settle() {
	server := c.container.GoferPid.Load()
	if len(c.spec.Sealed) == 0 || server == 0 {
		return
	}
	fd, err := unix.PidfdOpen(server, 0)
	if err != nil {
		return // it has ended
	}
	defer unix.Close(fd)
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, settleMillis)
		if err != unix.EINTR {
			return
		}
	}
}
