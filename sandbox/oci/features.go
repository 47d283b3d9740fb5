package oci

import (
	"context"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"surety/sandbox/runtime"
)

// features says what this runtime can do.
func (c *call) features(context.Context, []string) (int, error) { return 0, c.show(capabilities()) }

// capabilities are what this runtime can do, as features.md of the specification has them.
func capabilities() *features.Features {
	yes, no := true, false
	mounts := slices.Clone(mountOptions[:])
	return &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specVersion,
		Hooks: []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart",
			"poststop"},
		MountOptions: mounts,
		Linux: &features.Linux{
			Namespaces: []string{string(specs.NetworkNamespace), string(specs.PIDNamespace),
				string(specs.MountNamespace), string(specs.IPCNamespace), string(specs.UTSNamespace),
				string(specs.UserNamespace), string(specs.CgroupNamespace)},
			Capabilities:    runtime.CapabilityNames(),
			Cgroup:          &features.Cgroup{V1: &yes, V2: &yes, Systemd: &no, SystemdUser: &no, Rdma: &no},
			Seccomp:         &features.Seccomp{Enabled: &no},
			Apparmor:        &features.Apparmor{Enabled: &no},
			Selinux:         &features.Selinux{Enabled: &no},
			IntelRdt:        &features.IntelRdt{Enabled: &no},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &no}},
		},
		Annotations: map[string]string{"surety.dev/audit": "core,full",
			"surety.dev/policy": "v1"},
	}
}

// mountOptions are those the kernel inside knows.
var mountOptions = [...]string{"ro", "rw", "bind", "rbind", "nosuid", "nodev", "noexec", "noatime",
	"strictatime", "relatime", "size", "mode", "uid", "gid"}
