package runtime

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"

	"surety/base/errs"
)

var idForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)

// Check returns the first field that is wrong, by its JSON name: kind Invalid or TooLarge.
func (s *Spec) Check() error {
	for _, check := range [...]func() error{
		s.checkID, s.checkRoot, s.checkProgram, s.checkVolumes, s.checkLayers, s.checkSealed,
		s.checkNetwork, s.checkLimits, s.checkPolicy,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spec) checkID() error {
	if !idForm.MatchString(s.ID) {
		return errs.New(errs.Invalid, "id: %q is not of the form %s", s.ID, idForm)
	}
	switch {
	case s.Class != Sentry && s.Class != VM:
		return errs.New(errs.Invalid, "class: %q is neither sentry nor vm", s.Class)
	case s.Class == Sentry && s.Emulation:
		return errs.New(errs.Invalid, "emulation: class sentry emulates nothing")
	case s.Class == VM && (s.Terminal || s.Snapshot != "" || s.Network.Mode == "host"):
		return errs.New(errs.Invalid, "class: vm has no terminal, no snapshots and no host network")
	}
	return nil
}

func (s *Spec) checkRoot() error {
	if (s.Root.Image == "") == (s.Root.Dir == "") {
		return errs.New(errs.Invalid, "root: exactly one of image and dir has to be set")
	}
	for name, path := range map[string]string{"root.image": s.Root.Image, "root.dir": s.Root.Dir} {
		if path != "" && !cleanAbsolute(path) {
			return errs.New(errs.Invalid, "%s: %q is not a clean absolute path", name, path)
		}
	}
	if s.Root.Dir != "" && s.Class == VM {
		return errs.New(errs.Invalid, "root.dir: class vm takes an image")
	}
	switch s.Overlay {
	case "memory", "disk", "none":
		return nil
	case "self":
		if s.Root.Dir != "" {
			return nil
		}
	}
	return errs.New(errs.Invalid, "overlay: %q is none of memory, disk and none", s.Overlay)
}

func (s *Spec) checkProgram() error {
	switch {
	case s.OCI != nil:
		return nil // the bundle's process says it
	case len(s.Args) == 0:
		return errs.New(errs.Invalid, "args: nothing to run")
	case len(s.Args) > maxArgs:
		return errs.New(errs.TooLarge, "args: %d of them, at most %d", len(s.Args), maxArgs)
	case len(s.Env) > maxEnv:
		return errs.New(errs.TooLarge, "env: %d of them, at most %d", len(s.Env), maxEnv)
	case !cleanAbsolute(s.Cwd):
		return errs.New(errs.Invalid, "cwd: %q is not a clean absolute path", s.Cwd)
	}
	for i, e := range s.Env {
		if name, _, found := strings.Cut(e, "="); !found || name == "" {
			return errs.New(errs.Invalid, "env[%d]: %q is not of the form NAME=VALUE", i, e)
		}
	}
	for i, c := range s.Caps {
		if _, known := capabilities[c]; !known {
			return errs.New(errs.Invalid, "capabilities[%d]: %q is no capability", i, c)
		}
	}
	return nil
}

func (s *Spec) checkVolumes() error {
	if len(s.Volumes) > maxVolumes {
		return errs.New(errs.TooLarge, "volumes: %d of them, at most %d", len(s.Volumes), maxVolumes)
	}
	seen := map[string]bool{}
	for i, v := range s.Volumes {
		switch {
		case !cleanAbsolute(v.Source):
			return errs.New(errs.Invalid, "volumes[%d].source: %q is not a clean absolute path", i,
				v.Source)
		case !cleanAbsolute(v.Target) || v.Target == "/":
			return errs.New(errs.Invalid, "volumes[%d].target: %q is not a clean absolute path below /",
				i, v.Target)
		case seen[v.Target]:
			return errs.New(errs.Invalid, "volumes[%d].target: %s is there twice", i, v.Target)
		case s.Class == VM:
			return errs.New(errs.Invalid, "volumes[%d]: class vm shows no files of the host", i)
		}
		seen[v.Target] = true
	}
	return nil
}

func (s *Spec) checkLayers() error {
	if len(s.Layers) > maxLayers {
		return errs.New(errs.TooLarge, "layers: %d of them, at most %d", len(s.Layers), maxLayers)
	}
	seen := map[string]bool{}
	for _, v := range s.Volumes {
		seen[v.Target] = true
	}
	for i, l := range s.Layers {
		switch {
		case (l.Path == "") == (l.Memory == nil):
			return errs.New(errs.Invalid, "layers[%d]: exactly one of path and memory has to be set", i)
		case l.Path != "" && !cleanAbsolute(l.Path):
			return errs.New(errs.Invalid, "layers[%d].path: %q is not a clean absolute path", i, l.Path)
		case l.Memory != nil && !l.Memory.Sealed():
			return errs.New(errs.Invalid, "layers[%d].memory: it may yet be changed", i)
		case !digestForm.MatchString(l.Digest):
			return errs.New(errs.Invalid, "layers[%d].digest: %.120q is not a digest", i, l.Digest)
		case !cleanAbsolute(l.Target) || l.Target == "/":
			return errs.New(errs.Invalid, "layers[%d].target: %q is not a clean absolute path below /", i,
				l.Target)
		case seen[l.Target]:
			return errs.New(errs.Invalid, "layers[%d].target: %s is there twice", i, l.Target)
		case s.Class == VM || s.OCI != nil:
			return errs.New(errs.Invalid, "layers[%d]: class vm and bundles take none", i)
		case s.Snapshot != "":
			return errs.New(errs.Invalid, "layers[%d]: a snapshot is taken of no such sandbox", i)
		}
		seen[l.Target] = true
	}
	return nil
}

// digestForm is what the birth record says of a layer.
var digestForm = regexp.MustCompile(`^(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96})$`)

func (s *Spec) checkNetwork() error {
	switch s.Network.Mode {
	case "none", "stack", "host":
	default:
		return errs.New(errs.Invalid, "network.mode: %q is none of none, stack and host",
			s.Network.Mode)
	}
	if len(s.Network.Ports) > 0 && s.Network.Mode != "stack" {
		return errs.New(errs.Invalid, "network.ports: network %q publishes none, stack does",
			s.Network.Mode)
	}
	if len(s.Network.Ports) > maxPorts {
		return errs.New(errs.TooLarge, "network.ports: %d of them, at most %d", len(s.Network.Ports),
			maxPorts)
	}
	for i, p := range s.Network.Ports {
		if _, err := netip.ParseAddrPort(p.Host); err != nil {
			return errs.New(errs.Invalid, "network.ports[%d].host: %q is not address:port", i, p.Host)
		}
		if p.Inside == 0 {
			return errs.New(errs.Invalid, "network.ports[%d].inside: 0 is no port", i)
		}
		if p.Protocol != "tcp" && p.Protocol != "udp" {
			return errs.New(errs.Invalid, "network.ports[%d].protocol: %q is neither tcp nor udp", i,
				p.Protocol)
		}
	}
	return nil
}

func (s *Spec) checkLimits() error {
	const leastMemory = 16 << 20 // below this the kernel inside cannot boot
	switch l := s.Limits; {
	case l.MemoryBytes != 0 && l.MemoryBytes < leastMemory:
		return errs.New(errs.Invalid, "limits.memory_bytes: %d, at least %d", l.MemoryBytes,
			leastMemory)
	case l.CPUMillis < 0 || l.CPUMillis != 0 && l.CPUMillis < 10:
		return errs.New(errs.Invalid, "limits.cpu_millis: %d, at least 10", l.CPUMillis)
	case l.Processes < 0:
		return errs.New(errs.Invalid, "limits.processes: %d", l.Processes)
	}
	return nil
}

func (s *Spec) checkPolicy() error {
	if s.Policy == nil {
		return nil
	}
	_, err := compilePolicy(s)
	return err
}

func cleanAbsolute(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path
}
