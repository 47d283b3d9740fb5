package sandbox

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"surety/base/errs"
)

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
	Version string     `json:"policy,omitempty"` // "v1"
	Name    string     `json:"name,omitempty"`
	Mode    string     `json:"mode,omitempty"`    // observe | enforce
	Default string     `json:"default,omitempty"` // allow | deny: what no rule names
	Audit   string     `json:"audit,omitempty"`   // core | full
	Exec    []ExecRule `json:"exec,omitempty"`
	Files   []FileRule `json:"files,omitempty"`
	Network []NetRule  `json:"network,omitempty"`
	Ptrace  string     `json:"ptrace,omitempty"` // allow | deny; empty: the default
	SetID   string     `json:"setid,omitempty"`
	Mount   string     `json:"mount,omitempty"`
	// ExecMemory is mprotect or mmap of PROT_EXEC that no file backs.
	ExecMemory string `json:"exec-memory,omitempty"`
	// Capabilities are the only ones that may be used, where set; or "all" or "none" alone.
	Capabilities []string `json:"capabilities,omitempty"`
	// Processes is how many may run at once; 0: the limit of the sandbox.
	Processes int `json:"processes,omitempty"`
}

// ExecRule: exactly one of Allow and Deny: a digest "sha256:<64 hex>", or an absolute path pattern.
// Note is for people, such as the path behind a digest; it is no part of the canonical form.
type ExecRule struct {
	Allow string `json:"allow,omitempty"`
	Deny  string `json:"deny,omitempty"`
	Note  string `json:"note,omitempty"`
}

// FileRule: exactly one of Allow and Deny, an absolute path pattern: * is any run of characters
// without a slash, ** any run at all, ? one character; "/x/**" is /x itself and all below it.
// Access lists read write create unlink rename link attr exec (map as code); empty means
// all of them.
type FileRule struct {
	Allow  string   `json:"allow,omitempty"`
	Deny   string   `json:"deny,omitempty"`
	Access []string `json:"access,omitempty"`
}

// NetRule: exactly one of Allow and Deny: a CIDR, an address, a DNS name (may begin with "*."), or
// "unix:" and a path pattern ("unix:@..." for an abstract one). Ports like "443" or "8000-8100",
// Protocol tcp | udp | raw, Act connect | bind | send | lookup (of a name); empty means any.
type NetRule struct {
	Allow    string   `json:"allow,omitempty"`
	Deny     string   `json:"deny,omitempty"`
	Ports    []string `json:"ports,omitempty"`
	Protocol string   `json:"protocol,omitempty"`
	Act      []string `json:"act,omitempty"`
}

// NetAct is what a network rule speaks of: one bit or more.
type NetAct uint8

const (
	Connect NetAct = 1
	Bind    NetAct = 2
	Send    NetAct = 4 // a datagram to an address
	Lookup  NetAct = 8 // of a DNS name
)

// Mode, Level, Name and Processes are as the file said, or the defaults.
func (c *Compiled) Mode() Mode     { return c.mode }
func (c *Compiled) Level() Level   { return c.level }
func (c *Compiled) Name() string   { return c.policy.Name }
func (c *Compiled) Processes() int { return c.policy.Processes }

// NeedsDigest reports whether some exec rule speaks of digests.
func (c *Compiled) NeedsDigest() bool { return len(c.execDigests) > 0 }

// Policy returns the policy in its one form: defaults filled in, words in their order, names and
// addresses as they are compared. Compiling it gives the same again.
func (c *Compiled) Policy() Policy { return c.policy.clone() }

// Rules returns how many rules there are: those of exec, files and network in their order, then
// ptrace, setid, mount, exec-memory, capabilities and processes where the file sets them.
func (c *Compiled) Rules() int { return len(c.words) }

// Rule describes rule i in the words of its file: "files[3]: deny /etc/shadow". NoRule gives
// "default: deny"; a number that is no rule, "rule 7".
func (c *Compiled) Rule(i uint16) string {
	switch {
	case i == NoRule:
		return "default: " + c.policy.Default
	case int(i) >= len(c.words):
		return "rule " + strconv.Itoa(int(i))
	}
	return c.words[i].field + ": " + c.words[i].says
}

// Digest is the SHA-256 of Canonical.
func (c *Compiled) Digest() Digest { return c.canonicalDigest }

// Canonical is the policy in the one form that is hashed and sent: equal policies give equal bytes.
// It is a JSON object with the keys of the file, in the order of Policy's fields, without those
// that are empty. DecodePolicy is its inverse.
func (c *Compiled) Canonical() []byte { return bytes.Clone(c.canonical) }

// DecodePolicy reads what Canonical gave. A key it does not know is an error, as a policy half
// understood is none; no bytes at all are the zero policy. It checks no values: Compile does.
// Errors: Invalid.
func DecodePolicy(data []byte) (Policy, error) {
	var p Policy
	if len(data) == 0 {
		return p, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return Policy{}, errs.As(errs.Invalid, err, "sandbox.policy")
	}
	if decoder.More() {
		return Policy{}, errs.New(errs.Invalid, "sandbox.policy: more than one value")
	}
	return p, nil
}

// clone copies the policy and all its lists.
func (p *Policy) clone() Policy {
	q := *p
	q.Exec, q.Files = slices.Clone(p.Exec), slices.Clone(p.Files)
	q.Network, q.Capabilities = slices.Clone(p.Network), slices.Clone(p.Capabilities)
	for i := range q.Files {
		q.Files[i].Access = slices.Clone(q.Files[i].Access)
	}
	for i := range q.Network {
		q.Network[i].Ports = slices.Clone(q.Network[i].Ports)
		q.Network[i].Act = slices.Clone(q.Network[i].Act)
	}
	return q
}
