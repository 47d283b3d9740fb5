package oci

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"surety/base/errs"
)

// mountTypes are what the kernel inside mounts. It would skip any other without a word, and the
// program would write where nobody looks.
var mountTypes = [...]string{"bind", "proc", "sysfs", "tmpfs", "devpts", "devtmpfs", "mqueue",
	"cgroup", "cgroup2", "shm"}

// devices are what the kernel inside has of its own; a bundle may name them.
var devices = [...]string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
	"/dev/tty", "/dev/console", "/dev/ptmx", "/dev/pts/ptmx", "/dev/fuse", "/dev/net/tun"}

// harmlessSysctls are set by Kubernetes for every pod and already so inside: any user may bind low
// ports and send pings as far as the policy lets him.
var harmlessSysctls = [...]string{"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range"}

// checkBundle refuses what a bundle asks for and would not get. Taken although they have no effect,
// because they protect the host's kernel from the program and the program never meets it:
// process.apparmorProfile, process.selinuxLabel, linux.mountLabel, linux.maskedPaths,
// linux.readonlyPaths (the /proc and /sys inside are the sandbox's own), linux.rootfsPropagation,
// linux.cgroupsPath's devices (the kernel inside has its own devices), process.oomScoreAdj,
// linux.seccomp (what it keeps from the program is the host's kernel, of which it meets nothing; the
// policy decides about the calls of the one it does meet).
func checkBundle(s *specs.Spec) error {
	switch {
	case s.Version != "" && !strings.HasPrefix(s.Version, "1."):
		return errs.New(errs.Invalid, "ociVersion: %q is not of version 1", s.Version)
	case s.Process == nil:
		return missing("process")
	case len(s.Process.Args) == 0:
		return missing("process.args")
	case s.Root == nil || s.Root.Path == "":
		return missing("root.path")
	case s.Linux == nil:
		return missing("linux")
	case !filepath.IsAbs(s.Process.Cwd):
		return errs.New(errs.Invalid, "process.cwd: %q is not absolute", s.Process.Cwd)
	case s.Solaris != nil:
		return unsupported("solaris")
	case s.Windows != nil:
		return unsupported("windows")
	case s.VM != nil:
		return unsupported("vm")
	case s.ZOS != nil:
		return unsupported("zos")
	}
	for _, check := range [...]func(*specs.Spec) error{checkProcess, checkMounts, checkLinux,
		checkNamespaces} {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

func checkProcess(s *specs.Spec) error {
	p := s.Process
	switch {
	case p.CommandLine != "":
		return unsupported("process.commandLine")
	case p.IOPriority != nil:
		return unsupported("process.ioPriority")
	case p.Scheduler != nil:
		return unsupported("process.scheduler")
	case p.ExecCPUAffinity != nil:
		return unsupported("process.execCPUAffinity")
	}
	return nil
}

func checkMounts(s *specs.Spec) error {
	for i, m := range s.Mounts {
		switch {
		case !filepath.IsAbs(m.Destination):
			return errs.New(errs.Invalid, "mounts[%d].destination: %q is not absolute", i, m.Destination)
		case !slices.Contains(mountTypes[:], m.Type) && !isBind(m):
			return errs.New(errs.Invalid, "mounts[%d].type: %q cannot be mounted inside; it can be one "+
				"of %s", i, m.Type, strings.Join(mountTypes[:], " "))
		case len(m.UIDMappings)+len(m.GIDMappings) > 0:
			return errs.New(errs.Invalid, "mounts[%d].uidMappings: not supported", i)
		}
		if (m.Type == "bind" || isBind(m)) && filepath.IsAbs(m.Source) {
			if _, err := os.Stat(m.Source); err != nil {
				return errs.As(errs.Invalid, err, "mounts[%d].source", i)
			}
		}
	}
	return nil
}

// isBind reports whether a mount without a type, or with type none, is a bind mount by its options.
func isBind(m specs.Mount) bool {
	return (m.Type == "" || m.Type == "none") &&
		(slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind"))
}

func checkLinux(s *specs.Spec) error {
	l := s.Linux
	switch {
	case l.IntelRdt != nil:
		return unsupported("linux.intelRdt")
	case l.Personality != nil && l.Personality.Domain != specs.PerLinux:
		return unsupported("linux.personality")
	case len(l.TimeOffsets) > 0:
		return unsupported("linux.timeOffsets")
	}
	for i, d := range l.Devices {
		if !slices.Contains(devices[:], d.Path) {
			return errs.New(errs.Invalid, "linux.devices[%d].path: %s is a device of the host; inside "+
				"there are %s", i, d.Path, strings.Join(devices[:], " "))
		}
	}
	for name := range l.Sysctl {
		if !slices.Contains(harmlessSysctls[:], name) {
			return unsupported("linux.sysctl[" + name + "]")
		}
	}
	if r := l.Resources; r != nil {
		switch {
		case len(r.HugepageLimits) > 0:
			return unsupported("linux.resources.hugepageLimits")
		case len(r.Rdma) > 0:
			return unsupported("linux.resources.rdma")
		case len(r.Unified) > 0:
			return unsupported("linux.resources.unified")
		}
	}
	return nil
}

// checkNamespaces refuses to join what a kernel of our own cannot share with another's.
func checkNamespaces(s *specs.Spec) error {
	for i, ns := range s.Linux.Namespaces {
		shared := ns.Type == specs.NetworkNamespace || ns.Type == specs.UserNamespace ||
			ns.Type == specs.CgroupNamespace
		// A pod's IPC and UTS namespaces are named and hold nothing that the kernel inside has not
		// of its own.
		harmless := ns.Type == specs.IPCNamespace || ns.Type == specs.UTSNamespace
		if ns.Path != "" && !shared && !harmless {
			return errs.New(errs.Invalid, "linux.namespaces[%d].path: a %s namespace cannot be shared "+
				"with a kernel of its own", i, ns.Type)
		}
	}
	return nil
}

func missing(field string) error { return errs.New(errs.Invalid, "%s: missing", field) }

func unsupported(field string) error { return errs.New(errs.Invalid, "%s: not supported", field) }
