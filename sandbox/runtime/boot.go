package runtime

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/flag"

	"surety/base/errs"
)

// defaultPath is what a program finds its commands by when its environment does not say.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// compose turns the spec into what gVisor boots from, its OCI form. image is the path under which the
// kernel process opens the measured image.
func (c *cell) compose(image string) error {
	spec := c.spec
	var out *specs.Spec
	if spec.OCI != nil {
		out = new(specs.Spec)
		if err := json.Unmarshal(spec.OCI, out); err != nil {
			return errs.As(errs.Invalid, err, "oci")
		}
	} else {
		out = generate(spec)
	}
	dir := c.file(bundleDir)
	root := spec.Root.Dir
	if spec.Root.Image != "" {
		root = filepath.Join(dir, "rootfs") // stays empty: the kernel maps the image itself
	}
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		return errs.Wrap(err, "sandbox %s: bundle", c.id)
	}
	out.Root = &specs.Root{Path: root, Readonly: spec.Overlay == "none"}
	if out.Linux == nil {
		out.Linux = new(specs.Linux)
	}
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	if image != "" {
		out.Annotations["dev.gvisor.spec.rootfs.type"] = "erofs"
		out.Annotations["dev.gvisor.spec.rootfs.source"] = image
		if spec.Overlay != "none" {
			out.Annotations["dev.gvisor.spec.rootfs.overlay"] = c.overlay()
		}
	}
	showSealed(out, spec)
	for i, l := range spec.Layers {
		out.Mounts = append(out.Mounts, specs.Mount{Destination: l.Target, Type: "erofs",
			Source: c.layers[i], Options: []string{"ro", "nosuid"}})
	}
	c.oci, c.image = out, image
	if err := c.checkPlaces(); err != nil {
		return err
	}
	if err := c.checkTargets(); err != nil {
		return err
	}
	if image != "" && spec.Overlay == "disk" {
		return c.showHostname()
	}
	return nil
}

// checkTargets refuses volumes that a directory of the host has no place for: the file server would
// make the place, in the host's directory. Bundles are the caller's, who expects just that.
func (c *cell) checkTargets() error {
	has, err := c.rootHas()
	if err != nil || c.spec.OCI != nil {
		return err
	}
	for i, v := range c.spec.Volumes {
		if !has(v.Target) {
			return errs.New(errs.Invalid, "volumes[%d].target: %s is not in %s, which is not changed to "+
				"make room", i, v.Target, c.spec.Root.Dir)
		}
	}
	return nil
}

// rootHas returns what says whether a path is there to mount on: always in an image that is written
// over, whose places are made outside of it.
func (c *cell) rootHas() (func(path string) bool, error) {
	if c.spec.Root.Dir == "" && c.spec.Overlay == "none" {
		return imageHas(c.image)
	}
	if c.spec.Root.Dir == "" {
		return func(string) bool { return true }, nil
	}
	root, err := os.OpenRoot(c.spec.Root.Dir)
	if err != nil {
		return nil, errs.As(errs.Invalid, err, "root.dir")
	}
	return func(path string) bool {
		_, err := root.Stat(strings.TrimPrefix(path, "/"))
		return err == nil
	}, nil
}

// showHostname shows a file of the host inside: with one, the sandbox has a file server, which a root
// of an image does without and the store of a disk overlay comes through.
func (c *cell) showHostname() error {
	path := c.file("hostname")
	if err := os.WriteFile(path, []byte(c.spec.Hostname+"\n"), 0o644); err != nil {
		return errs.Wrap(err, "sandbox %s", c.id)
	}
	c.oci.Mounts = append(c.oci.Mounts, specs.Mount{Destination: "/etc/hostname", Type: "bind",
		Source: path, Options: []string{"bind", "ro"}})
	return nil
}

// writeBundle writes the OCI form to where the kernel process reads it.
func (c *cell) writeBundle() error {
	content, err := json.Marshal(c.oci)
	if err != nil {
		return errs.Wrap(err, "sandbox %s: encode bundle", c.id)
	}
	name := filepath.Join(c.file(bundleDir), "config.json")
	return errs.Wrap(os.WriteFile(name, content, 0o600), "sandbox %s: bundle", c.id)
}

// overlay says where what the program writes to its root goes, in gVisor's words.
func (c *cell) overlay() string {
	switch c.spec.Overlay {
	case "disk":
		return "dir=" + c.dir
	case "none", "self":
		return c.spec.Overlay
	}
	return "memory"
}

// generate writes the OCI form of a spec that did not come as a bundle.
func generate(spec *Spec) *specs.Spec {
	env := slices.Clone(spec.Env)
	if !slices.ContainsFunc(env, func(e string) bool { return len(e) > 5 && e[:5] == "PATH=" }) {
		env = append(env, defaultPath)
	}
	out := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Terminal:        spec.Terminal,
			Args:            spec.Args,
			Env:             env,
			Cwd:             spec.Cwd,
			User:            specs.User{UID: spec.User.UID, GID: spec.User.GID, AdditionalGids: spec.User.Groups},
			NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{
				Bounding: spec.Caps, Effective: spec.Caps, Permitted: spec.Caps, Inheritable: spec.Caps,
			},
		},
		Hostname: spec.Hostname,
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
			},
			Resources: resources(spec.Limits),
		},
	}
	for _, v := range spec.Volumes {
		access := "rw"
		if v.ReadOnly {
			access = "ro"
		}
		out.Mounts = append(out.Mounts, specs.Mount{
			Destination: v.Target, Type: "bind", Source: v.Source, Options: []string{"rbind", access},
		})
	}
	return out
}

// resources states the limits as the host's cgroups take them; nil where there are none.
func resources(l Limits) *specs.LinuxResources {
	if l == (Limits{}) {
		return nil
	}
	out := new(specs.LinuxResources)
	if l.MemoryBytes > 0 {
		out.Memory = &specs.LinuxMemory{Limit: &l.MemoryBytes}
	}
	if l.CPUMillis > 0 {
		period := uint64(cpuPeriod)
		quota := l.CPUMillis * cpuPeriod / 1000
		out.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	return out
}

// settings are gVisor's own, for this sandbox.
func (c *cell) settings(audit string) (*config.Config, error) {
	network := map[string]string{"none": "none", "stack": "sandbox", "host": "host"}[c.spec.Network.Mode]
	limited := c.oci.Linux != nil && c.oci.Linux.Resources != nil ||
		c.oci.Linux != nil && c.oci.Linux.CgroupsPath != ""
	words := map[string]string{
		"root":                     c.file(gvisorDir),
		"platform":                 "systrap",
		"network":                  network,
		"ignore-cgroups":           strconv.FormatBool(!limited),
		"overlay2":                 c.flagOverlay(),
		"pod-init-config":          audit,
		"sidecar-usage-policy":     "LEGACY_DEPRECATED_SLOW_EMBEDDED_FALLBACK",
		"host-settings":            "ignore",
		"log":                      c.file(errorLog),
		"panic-log":                c.file("kernel-panic.log"),
		"net-raw":                  strconv.FormatBool(slices.Contains(c.spec.Caps, "CAP_NET_RAW")),
		"allow-suid":               "true", // no-new-privileges of the program still forbids it
		"directfs":                 strconv.FormatBool(c.spec.direct()),
		"file-access-mounts":       c.spec.cached(),
		"rootless":                 strconv.FormatBool(c.rootless),
		"gvisor-marker-file":       "true",
		"restore-spec-validation":  "ignore", // our manifest holds the spec; paths differ by design
		"gofer-network-namespace":  "new",    // a shared one is a mount that stays on the host
		"control-rpc-stop-timeout": "1s",
	}
	if c.debug != "" {
		words["debug"], words["debug-log"] = "true", filepath.Clean(c.debug)+"/"
	}
	set := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	config.RegisterFlags(set)
	var args []string
	for name, value := range words {
		args = append(args, fmt.Sprintf("--%s=%s", name, value))
	}
	slices.Sort(args)
	if err := set.Parse(args); err != nil {
		return nil, errs.Wrap(err, "sandbox %s: gVisor's settings", c.id)
	}
	conf, err := config.NewFromFlags(set)
	if err != nil {
		return nil, errs.Wrap(err, "sandbox %s: gVisor's settings", c.id)
	}
	return conf, nil
}

// flagOverlay is the overlay of a root that is a directory of the host: what the program writes
// never reaches it.
func (c *cell) flagOverlay() string {
	if c.spec.Overlay == "none" || c.spec.Root.Dir == "" && c.spec.Overlay != "disk" {
		return "none"
	}
	return "root:" + c.overlay()
}

// platformName is what runs the program's instructions.
const platformName = "systrap"
