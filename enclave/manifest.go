package enclave

// Manifest is everything that decides how an enclave's program behaves. Its encoding is CBOR in the
// deterministic form, with text keys in the order of RFC 8949 section 4.2.1; Format is 1.
type Manifest struct {
	Format  uint64 `cbor:"format" json:"format"`
	Name    string `cbor:"name" json:"name"`       // [a-z0-9][a-z0-9.-]{0,63}
	Product string `cbor:"product" json:"product"` // of the signer's; the same alphabet; state belongs to it
	SVN     uint64 `cbor:"svn" json:"svn"`         // security version: rises when an older build must not be trusted
	Debug   bool   `cbor:"debug" json:"debug"`     // its operator may look inside: exec of any program, core dumps

	Layers []Layer `cbor:"layers" json:"layers"` // the first is the root file system, public

	Command  []string `cbor:"command" json:"command"`     // argv of the program
	Entries  []string `cbor:"entries" json:"entries"`     // absolute paths that exec may run besides, sorted
	Env      []string `cbor:"env" json:"env"`             // NAME=value, as given to the program
	EnvNames []string `cbor:"env_names" json:"env_names"` // names that whoever starts it may set, sorted: untrusted input
	Cwd      string   `cbor:"cwd" json:"cwd"`
	UID      uint32   `cbor:"uid" json:"uid"`
	GID      uint32   `cbor:"gid" json:"gid"`
	Args     bool     `cbor:"args" json:"args"` // whoever starts it may append arguments: untrusted input

	Policy  []byte   `cbor:"policy" json:"policy"`   // the sandbox policy, as YAML; empty: its default
	Network string   `cbor:"network" json:"network"` // none or stack
	Shown   []Shown  `cbor:"shown" json:"shown"`     // directories of the host shown inside: unprotected
	Overlay bool     `cbor:"overlay" json:"overlay"` // the root may be written to, in memory, until it ends
	Limits  Limits   `cbor:"limits" json:"limits"`
	State   []State  `cbor:"state" json:"state"`     // writable and sealed
	Brokers []Broker `cbor:"brokers" json:"brokers"` // whose keys are trusted to hold this enclave's secrets

	Contract Digest `cbor:"contract" json:"contract"` // of the joint contract it works under; zero for none
}

// Layer is one read-only file system of an enclave. A public one is measured in plaintext: anyone
// may build it again and compare. A secret one is measured by its ciphertext, so that nobody can
// confirm a guess of what is in it.
type Layer struct {
	Name   string    `cbor:"name" json:"name"` // [a-z0-9][a-z0-9.-]{0,63}, once in a manifest
	Kind   LayerKind `cbor:"kind" json:"kind"`
	Target string    `cbor:"target" json:"target"` // absolute path it is mounted at: "/" for the first
	Bytes  uint64    `cbor:"bytes" json:"bytes"`   // of the EROFS image, in plaintext

	// Of a public layer.
	Digest [32]byte `cbor:"digest" json:"digest"` // SHA-256 of the image
	Verity [32]byte `cbor:"verity" json:"verity"` // root of its dm-verity tree: SHA-256, blocks of 4096
	Salt   [32]byte `cbor:"salt" json:"salt"`     // of that tree: SHA-256 of the layer's name

	// Of a secret layer.
	ID   [16]byte `cbor:"id" json:"id"`     // random: a key is used with an id once
	Root Digest   `cbor:"root" json:"root"` // over id, size, and the tags of all blocks
	Key  string   `cbor:"key" json:"key"`   // where its key is asked for: BROKER/REPOSITORY/TYPE/TAG
}

// LayerKind says how a layer is stored and measured.
type LayerKind string

// The kinds.
const (
	Public LayerKind = "public"
	Secret LayerKind = "secret"
)

// Shown is a directory of the host that the program sees. What is in it is not measured, not
// encrypted and not to be trusted.
type Shown struct {
	Target   string `cbor:"target" json:"target"`
	ReadOnly bool   `cbor:"read_only" json:"read_only"`
}

// State is a writable file system that is sealed to signer, product and SVN.
type State struct {
	Name   string `cbor:"name" json:"name"`
	Target string `cbor:"target" json:"target"`
	Bytes  uint64 `cbor:"bytes" json:"bytes"`   // limit of what it holds, in plaintext
	Broker string `cbor:"broker" json:"broker"` // name of the broker that keeps its key, epoch and lease
}

// Limits bound what the program may use; zero is none.
type Limits struct {
	Memory    uint64 `cbor:"memory" json:"memory"` // bytes
	CPU       uint64 `cbor:"cpu" json:"cpu"`       // thousandths of a core
	Processes uint64 `cbor:"processes" json:"processes"`
}

// Broker is a key broker by the name that layers and states use for it. Where it listens is said
// when the enclave is started; who it is, here.
type Broker struct {
	Name string `cbor:"name" json:"name"`
	Key  KeyID  `cbor:"key" json:"key"` // of the key that signs its tokens
}
