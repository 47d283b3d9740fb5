package sandbox

import (
	"net/netip"

	"surety/base/clock"
	"surety/base/ident"
)

// Record is one line of the trail. Which fields a kind sets stands beside the kind; the others are
// zero. Strings are at most MaxText bytes each; a longer one is cut and Cut is set.
type Record struct {
	Seq     uint64 // from 1, no gap
	At      clock.Instant
	Kind    Kind
	Verdict Verdict
	Rule    uint16 // that decided; NoRule for the default
	Errno   uint16 // of a refusal; or the call's own error, when Done
	Done    bool   // written after the call: Errno and Result are its outcome
	Session bool   // by a process an operator started inside
	Outside bool   // written by the host: KindFinal, KindName, KindCheckpoint ...
	Cut     bool   // a field was longer than its limit
	Sysno   uint16 // the system call; 0xffff when none
	Process uint32 // thread group id, in the sandbox's root namespace
	Thread  uint32
	Parent  uint32   // thread group id of the parent
	User    uint32   // effective uid
	Trace   ident.ID // of the request being served, zero when unknown
	Access  Access
	Flags   uint32
	Mode    uint32
	Result  int64
	Words   [6]uint64 // raw arguments, KindSyscall alone
	Addr    netip.AddrPort
	Proto   Proto
	Digest  Digest
	Comm    string // command name, at most 15 bytes
	Path    string
	Path2   string
	Args    []string // at most MaxArgs
	Text    string
}

// Birth is what the first record holds, as JSON with fixed field order in Record.Text.
type Birth struct {
	Sandbox  string `json:"sandbox"`            // its id
	Image    string `json:"image"`              // digest of the root file system's bytes, sha256:hex
	Policy   string `json:"policy"`             // digest of the policy's canonical form
	Binary   string `json:"binary"`             // digest of the surety binary
	Config   string `json:"config"`             // digest of the sandbox's configuration
	Class    string `json:"class"`              // "sentry" or "vm"
	Mode     string `json:"mode"`               // observe, enforce, learn
	Audit    string `json:"audit"`              // core or full
	Key      string `json:"key"`                // public key of the seals, ed25519:hex
	Host     string `json:"host"`               // name of the machine
	Platform string `json:"platform"`           // systrap, kvm, ptrace
	Earlier  string `json:"earlier,omitempty"`  // head of the chain a restore goes on from
	Snapshot string `json:"snapshot,omitempty"` // digest of the snapshot restored

	Layers []BirthLayer `json:"layers,omitempty"` // mounted beside the root
}

// BirthLayer is a read-only file system beside the root.
type BirthLayer struct {
	Target string `json:"target"`
	Digest string `json:"digest"` // as Birth's Image; of a secret layer, its ciphertext's
}
