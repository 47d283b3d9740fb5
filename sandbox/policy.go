package sandbox

import "net/netip"

// Mode is what becomes of an act the policy refuses.
type Mode uint8

const (
	Observe Mode = iota // it happens, and is recorded as would-refuse
	Enforce             // it does not happen
)

// Level is how much is recorded.
type Level uint8

const (
	CoreAudit Level = iota // acts of kinds that are Core
	FullAudit              // every system call
)

// Policy is a policy as its file states it; field names are the file's keys. The zero Policy
// allows everything and records core acts.
type Policy struct {
	Version      string     `yaml:"policy"` // "v1"
	Name         string     `yaml:"name"`
	Mode         string     `yaml:"mode"`    // observe | enforce
	Default      string     `yaml:"default"` // allow | deny: what no rule names
	Audit        string     `yaml:"audit"`   // core | full
	Exec         []ExecRule `yaml:"exec"`
	Files        []FileRule `yaml:"files"`
	Network      []NetRule  `yaml:"network"`
	Ptrace       string     `yaml:"ptrace"` // allow | deny; empty: the default
	SetID        string     `yaml:"setid"`
	Mount        string     `yaml:"mount"`
	ExecMemory   string     `yaml:"exec-memory"`  // mprotect or mmap of PROT_EXEC that no file backs
	Capabilities []string   `yaml:"capabilities"` // the only ones that may be used, where set
	Processes    int        `yaml:"processes"`    // at most so many at once; 0: the limit of the sandbox
}

// ExecRule: exactly one of Allow and Deny: a digest "sha256:<64 hex>", or an absolute path pattern.
type ExecRule struct {
	Allow string `yaml:"allow"`
	Deny  string `yaml:"deny"`
}

// FileRule: exactly one of Allow and Deny, an absolute path pattern: * is any run of characters
// without a slash, ** any run at all, ? one character; "/x/**" is /x itself and all below it.
// Access lists read write create unlink rename link attr; empty means all of them.
type FileRule struct {
	Allow  string   `yaml:"allow"`
	Deny   string   `yaml:"deny"`
	Access []string `yaml:"access"`
}

// NetRule: exactly one of Allow and Deny: a CIDR, an address, a DNS name (may begin with "*."), or
// "unix:" and a path pattern ("unix:@..." for an abstract one). Ports like "443" or "8000-8100",
// Protocol tcp | udp | raw, Act connect | bind | send; empty means any.
type NetRule struct {
	Allow    string   `yaml:"allow"`
	Deny     string   `yaml:"deny"`
	Ports    []string `yaml:"ports"`
	Protocol string   `yaml:"protocol"`
	Act      []string `yaml:"act"`
}

// NetAct is what a network rule speaks of: one bit or more.
type NetAct uint8

const (
	Connect NetAct = 1 << iota
	Bind
	Send
)

// Compiled is a policy made ready to decide. It is immutable and safe to share.
type Compiled struct {
	// unexported: filled by Compile
	_ struct{}
}

// Compile checks a policy and makes it ready. Errors: Invalid naming the field, as in
// "files[3].access[1]: ...", for whatever could not mean what it says: a rule with both or neither
// of allow and deny, a pattern that is not absolute or not clean, an unknown capability, a port
// over 65535, a policy of mode enforce and default deny that allows nothing to exec, a rule that
// another hides whole.
func Compile(p Policy) (*Compiled, error) { panic("unimplemented") }

// Canonical is the policy in the one form that is hashed: equal policies give equal bytes.
func (c *Compiled) Canonical() []byte { panic("unimplemented") }

// Digest is the SHA-256 of Canonical.
func (c *Compiled) Digest() Digest { panic("unimplemented") }

// Mode, Level, Name and Processes are as the file said, or the defaults.
func (c *Compiled) Mode() Mode     { panic("unimplemented") }
func (c *Compiled) Level() Level   { panic("unimplemented") }
func (c *Compiled) Name() string   { panic("unimplemented") }
func (c *Compiled) Processes() int { panic("unimplemented") }

// Rule describes rule i in the words of its file: "files[3]: deny /etc/shadow".
func (c *Compiled) Rule(i uint16) string { panic("unimplemented") }

// NeedsDigest reports whether some exec rule speaks of digests.
func (c *Compiled) NeedsDigest() bool { panic("unimplemented") }

// Exec decides on running the file at path, whose SHA-256 is digest (zero when not computed).
func (c *Compiled) Exec(path string, digest Digest) Decision { panic("unimplemented") }

// File decides on an act on path that needs all of access.
func (c *Compiled) File(path string, access Access) Decision { panic("unimplemented") }

// Net decides on an internet address. name is the DNS name that the sandbox's resolver gave the
// address for, "" when there is none.
func (c *Compiled) Net(act NetAct, proto Proto, to netip.AddrPort, name string) Decision {
	panic("unimplemented")
}

// Unix decides on a unix socket at path, which begins with @ when abstract.
func (c *Compiled) Unix(act NetAct, path string) Decision { panic("unimplemented") }

// Name decides on resolving a DNS name: allowed where some rule could allow an address of it.
func (c *Compiled) NameLookup(name string) Decision { panic("unimplemented") }

// Ptrace, SetID, Mount and ExecMemory decide on acts that are allowed or not as a whole.
func (c *Compiled) Ptrace() Decision     { panic("unimplemented") }
func (c *Compiled) SetID() Decision      { panic("unimplemented") }
func (c *Compiled) Mount() Decision      { panic("unimplemented") }
func (c *Compiled) ExecMemory() Decision { panic("unimplemented") }

// Capability decides on using capability number n (CAP_CHOWN is 0).
func (c *Compiled) Capability(n int) Decision { panic("unimplemented") }

// Clone decides on one more process where running are there already (EAGAIN when refused).
func (c *Compiled) Clone(running int) Decision { panic("unimplemented") }
