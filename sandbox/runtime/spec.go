package runtime

import (
	"encoding/json"
	"slices"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sandbox"
	"surety/sandbox/image"
)

// Class says what stands between the program and the host.
type Class string

const (
	Sentry Class = "sentry" // our kernel, as a process of the host
	VM     Class = "vm"     // the same kernel, inside a virtual machine
)

// Spec says what to run: all that decides how a sandbox behaves, and nothing that changes while it
// runs. Its JSON form is hashed into the first audit record.
type Spec struct {
	ID       string            `json:"id"` // [a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}
	Class    Class             `json:"class"`
	Root     Root              `json:"root"`
	Args     []string          `json:"args"`
	Env      []string          `json:"env"`
	Cwd      string            `json:"cwd"`
	User     User              `json:"user"`
	Hostname string            `json:"hostname,omitempty"`
	Terminal bool              `json:"terminal,omitempty"`
	Overlay  string            `json:"overlay"` // memory | disk | none (read-only root) | self (a directory: a file in it)
	Volumes  []Volume          `json:"volumes,omitempty"`
	Sealed   []Sealed          `json:"sealed,omitempty"`
	Layers   []Layer           `json:"layers,omitempty"` // read-only file systems beside the root
	Network  Network           `json:"network"`
	Limits   Limits            `json:"limits"`
	Caps     []string          `json:"capabilities,omitempty"` // CAP_...; empty: none
	Policy   *sandbox.Policy   `json:"policy,omitempty"`       // nil: allow all, core audit
	Learn    bool              `json:"learn,omitempty"`        // observe and record what a policy needs
	Closed   *Closed           `json:"closed,omitempty"`       // nil: its operator may look inside
	Labels   map[string]string `json:"labels,omitempty"`
	Trace    ident.ID          `json:"trace"`
	Snapshot string            `json:"snapshot,omitempty"` // directory of a checkpoint to start from
	OCI      json.RawMessage   `json:"oci,omitempty"`      // a bundle's config.json, taken as it is
	Bundle   string            `json:"bundle,omitempty"`   // directory that OCI came from, as a label

	// What only matters outside: not part of what is measured.
	Emulation bool `json:"emulation,omitempty"` // class vm: software emulation is good enough
}

// Root is the root file system: exactly one of Image and Dir is set.
type Root struct {
	Image  string `json:"image,omitempty"`  // path of an EROFS file
	Digest string `json:"digest,omitempty"` // sha256:hex its bytes must have
	Dir    string `json:"dir,omitempty"`    // a directory of the host, served as it is
}

// Layer is a read-only EROFS file system mounted beside the root, from exactly one of Path and Memory.
// Its digest stands in the birth record.
type Layer struct {
	Path string `json:"path,omitempty"` // of an EROFS file, which is measured as the root's is

	// Memory is sealed memory of this process that holds an EROFS image whose bytes were checked by
	// whoever filled it: secrets, that stand in no file. The supervisor is sent the descriptor, and
	// has it locked into memory until the sandbox ends. Others cannot have it, no snapshot is taken
	// of what runs with it, and no core is dumped.
	Memory *image.Memory `json:"-"`

	Digest string `json:"digest"` // sha256:hex of Path's bytes; of Memory, what the birth record says
	Target string `json:"target"` // a directory that the root has, where that takes no writes
}

// Closed says that whoever runs a sandbox may not look into it: no snapshot is taken, and exec runs
// nothing but Entries, as the program's own user and with the program's own environment. It binds the
// supervisor, whoever asks it; it cannot bind who may read a supervisor's memory.
type Closed struct {
	Entries []string `json:"entries,omitempty"` // absolute paths
}

// mayRun refuses what Closed does not let exec run.
func (c *Closed) mayRun(p *Process) error {
	switch {
	case c == nil:
		return nil
	case !slices.Contains(c.Entries, p.Args[0]):
		return errs.New(errs.Refused, "nobody may look inside: %s is not one of the programs that exec "+
			"may run (%v)", p.Args[0], c.Entries)
	case len(p.Env) > 0 || p.User != nil:
		return errs.New(errs.Refused, "nobody may look inside: %s runs with the program's own user and "+
			"environment", p.Args[0])
	}
	return nil
}

// Secret reports whether a layer is in memory alone, or a volume is sealed.
func (s *Spec) Secret() bool {
	return len(s.Sealed) > 0 || slices.ContainsFunc(s.Layers, func(l Layer) bool { return l.Path == "" })
}

// User is whom the program runs as, inside.
type User struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Volume is a directory or file of the host shown inside.
type Volume struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Network says how far the program's packets get.
type Network struct {
	Mode  string `json:"mode"` // none | stack (own network stack, egress by policy) | host
	Ports []Port `json:"ports,omitempty"`
}

// Port publishes a port of the sandbox on the host.
type Port struct {
	Host     string `json:"host"` // address:port to listen on
	Inside   uint16 `json:"inside"`
	Protocol string `json:"protocol"` // tcp | udp
}

// Limits are enforced by the host's cgroups where they can be; zero means none.
type Limits struct {
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	CPUMillis   int64 `json:"cpu_millis,omitempty"` // 1000 is one core
	Processes   int64 `json:"processes,omitempty"`
}
