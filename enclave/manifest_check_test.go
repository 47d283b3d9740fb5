package enclave

import (
	"math"
	"strings"
	"testing"

	"surety/base/errs"
)

// refused is one way for a manifest to be wrong: what to change, and what the error has to name.
type refused struct {
	field  string
	change func(*Manifest)
}

// inOrder are the refusals in the order in which Check looks.
var inOrder = []refused{
	{"format: 2", func(m *Manifest) { m.Format = 2 }},
	{"name: ", func(m *Manifest) { m.Name = "Credit" }},
	{"product: ", func(m *Manifest) { m.Product = "-x" }},
	{"brokers[0].key: it is missing", func(m *Manifest) { m.Brokers[0].Key = KeyID{} }},
	{"layers[0].name: ", func(m *Manifest) { m.Layers[0].Name = "a/b" }},
	{"command[0]: ", func(m *Manifest) { m.Command[0] = "score" }},
	{"entries: ", func(m *Manifest) { m.Entries = []string{"/b", "/a"} }},
	{"env[0]: ", func(m *Manifest) { m.Env[0] = "PATH" }},
	{"env_names[0]: ", func(m *Manifest) { m.EnvNames[0] = "A=B" }},
	{"cwd: ", func(m *Manifest) { m.Cwd = "tmp" }},
	{"uid: ", func(m *Manifest) { m.UID = math.MaxUint32 }},
	{"gid: ", func(m *Manifest) { m.GID = math.MaxUint32 }},
	{"policy: ", func(m *Manifest) { m.Policy = []byte{0xff} }},
	{"network: ", func(m *Manifest) { m.Network = "host" }},
	{"shown[0]: ", func(m *Manifest) { m.Shown[0].Target = "host" }},
	{"state[0].bytes: ", func(m *Manifest) { m.State[0].Bytes = 0 }},
}

// TestCheckGoesInOrder starts with every defect and mends one a row.
func TestCheckGoesInOrder(t *testing.T) {
	for first := range inOrder {
		m := sample()
		for _, r := range inOrder[first:] {
			r.change(m)
		}
		checkRefusal(t, m, inOrder[first].field, errs.Invalid)
	}
	if err := sample().Check(); err != nil {
		t.Errorf("the sample: %v", err)
	}
}

// TestCheckRefuses gives each rule something to refuse.
func TestCheckRefuses(t *testing.T) {
	for _, r := range []refused{
		{"name: ", func(m *Manifest) { m.Name = "" }},
		{"name: ", func(m *Manifest) { m.Name = ".a" }},
		{"brokers[1].name: \"bank\" is there twice", func(m *Manifest) { m.Brokers[1] = m.Brokers[0] }},
		{"layers: there are none", func(m *Manifest) { m.Layers = nil }},
		{"layers[0].kind: ", func(m *Manifest) { m.Layers[0].Kind = Secret }},
		{"layers[0].target: ", func(m *Manifest) { m.Layers[0].Target = "/a" }},
		{"layers[0].bytes: ", func(m *Manifest) { m.Layers[0].Bytes = 0 }},
		{"layers[0].bytes: ", func(m *Manifest) { m.Layers[0].Bytes = 4097 }},
		{"layers[0].bytes: ", func(m *Manifest) { m.Layers[0].Bytes = MaxLayerBytes + LayerBlock }},
		{"layers[0].digest: it is missing", func(m *Manifest) { m.Layers[0].Digest = [32]byte{} }},
		{"layers[0].verity: it is missing", func(m *Manifest) { m.Layers[0].Verity = [32]byte{} }},
		{"layers[0].salt: ", func(m *Manifest) { m.Layers[0].Salt[0]++ }},
		{"layers[0].id: ", func(m *Manifest) { m.Layers[0].ID[0]++ }},
		{"layers[0].root: ", func(m *Manifest) { m.Layers[0].Root[0]++ }},
		{"layers[0].key: ", func(m *Manifest) { m.Layers[0].Key = "bank/a/b/c" }},
		{"layers[1].name: \"root\" is there twice", func(m *Manifest) { m.Layers[1].Name = "root" }},
		{"layers[1].target: only the first", func(m *Manifest) { m.Layers[1].Target = "/" }},
		{"layers[1].target: ", func(m *Manifest) { m.Layers[1].Target = "/a/../b" }},
		{"layers[1].target: ", func(m *Manifest) { m.Layers[1].Target = "/a/" }},
		{"layers[1].target: \"/proc/self\" is the kernel's", func(m *Manifest) { m.Layers[1].Target = "/proc/self" }},
		{"layers[1].kind: ", func(m *Manifest) { m.Layers[1].Kind = "hidden" }},
		{"layers[1].digest: ", func(m *Manifest) { m.Layers[1].Digest[0]++ }},
		{"layers[1].verity: ", func(m *Manifest) { m.Layers[1].Verity[0]++ }},
		{"layers[1].salt: ", func(m *Manifest) { m.Layers[1].Salt[0]++ }},
		{"layers[1].id: it is missing", func(m *Manifest) { m.Layers[1].ID = [16]byte{} }},
		{"layers[1].root: it is missing", func(m *Manifest) { m.Layers[1].Root = Digest{} }},
		{"layers[1].key: ", func(m *Manifest) { m.Layers[1].Key = "bank/a/b" }},
		{"layers[1].key: ", func(m *Manifest) { m.Layers[1].Key = "bank/a//c" }},
		{"layers[1].key: ", func(m *Manifest) { m.Layers[1].Key = "bank/a/b/.." }},
		{"layers[1].key: ", func(m *Manifest) { m.Layers[1].Key = "bank/a/b/c?d" }},
		{"layers[1].key: ", func(m *Manifest) { m.Layers[1].Key = "shop/a/b/c" }},
		{"command: it is missing", func(m *Manifest) { m.Command = nil }},
		{"command[1]: ", func(m *Manifest) { m.Command[1] = "a\x00b" }},
		{"command[1]: ", func(m *Manifest) { m.Command[1] = "\xff" }},
		{"entries: ", func(m *Manifest) { m.Entries = []string{"/a", "/a"} }},
		{"env[1]: \"PATH\" is set twice", func(m *Manifest) { m.Env[1] = "PATH=/x" }},
		{"env[0]: ", func(m *Manifest) { m.Env[0] = "=x" }},
		{"env[0]: ", func(m *Manifest) { m.Env[0] = "1A=x" }},
		{"env_names: ", func(m *Manifest) { m.EnvNames = []string{"B", "A"} }},
		{"shown[0]: \"/models/x\" and layers[1].target", func(m *Manifest) { m.Shown[0].Target = "/models/x" }},
		{"state[0].target: \"/models\" and layers[1].target", func(m *Manifest) { m.State[0].Target = "/models" }},
		{"state[0].name: ", func(m *Manifest) { m.State[0].Name = "_" }},
		{"state[0].broker: ", func(m *Manifest) { m.State[0].Broker = "shop" }},
		{"state[1].name: \"books\" is there twice", func(m *Manifest) {
			m.State = append(m.State, m.State[0])
			m.State[1].Target = "/elsewhere"
		}},
	} {
		m := sample()
		r.change(m)
		checkRefusal(t, m, r.field, errs.Invalid)
	}
}

// TestCheckHasLimits goes one past each limit.
func TestCheckHasLimits(t *testing.T) {
	long := strings.Repeat("a", MaxString+1)
	many := make([]string, MaxStrings+1)
	for _, r := range []refused{
		{"name: 65", func(m *Manifest) { m.Name = strings.Repeat("a", MaxName+1) }},
		{"brokers: 17", func(m *Manifest) { m.Brokers = make([]Broker, MaxBrokers+1) }},
		{"layers: 17", func(m *Manifest) { m.Layers = make([]Layer, MaxLayers+1) }},
		{"layers[1].key: 65", func(m *Manifest) { m.Layers[1].Key = "bank/" + long[:65] + "/b/c" }},
		{"command: 257", func(m *Manifest) { m.Command = many }},
		{"command[1]: 4097", func(m *Manifest) { m.Command[1] = long }},
		{"cwd: 4096", func(m *Manifest) { m.Cwd = "/" + long[:MaxPath] }},
		{"entries: 257", func(m *Manifest) { m.Entries = many }},
		{"env: 257", func(m *Manifest) { m.Env = many }},
		{"env_names: 257", func(m *Manifest) { m.EnvNames = many }},
		{"policy: 196609", func(m *Manifest) { m.Policy = make([]byte, MaxPolicy+1) }},
		{"shown: 257", func(m *Manifest) { m.Shown = make([]Shown, MaxStrings+1) }},
		{"state: 5", func(m *Manifest) { m.State = make([]State, MaxStates+1) }},
	} {
		m := sample()
		r.change(m)
		checkRefusal(t, m, r.field, errs.TooLarge)
	}
	m := sample() // each part within its limit, and all together too much
	m.Command = append(m.Command, many[:100]...)
	for i := range m.Command[1:] {
		m.Command[1+i] = long[:MaxString]
	}
	if _, err := m.Encode(); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a large manifest: %v", err)
	}
}

func checkRefusal(t *testing.T, m *Manifest, text string, kind errs.Kind) {
	t.Helper()
	err := m.Check()
	if !errs.Is(err, kind) || !strings.Contains(err.Error(), "enclave.manifest: "+text) {
		t.Errorf("%v, want %v with %q", err, kind, text)
	}
	if _, encoded := m.Encode(); encoded == nil || encoded.Error() != err.Error() {
		t.Errorf("Encode: %v, Check: %v", encoded, err)
	}
	if _, signed := Sign(m, testKey("signer")); signed == nil || signed.Error() != err.Error() {
		t.Errorf("Sign: %v, Check: %v", signed, err)
	}
}

// TestUnpinnedBrokersAreNamed finds the broker that anybody may be.
func TestUnpinnedBrokersAreNamed(t *testing.T) {
	if got := sample().Unpinned(); len(got) != 1 || got[0] != LocalBroker {
		t.Errorf("unpinned are %q", got)
	}
}
