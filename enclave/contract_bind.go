package enclave

import (
	"slices"
	"strings"

	"surety/base/errs"
)

// Where the files of a joint enclave are inside.
const (
	ContractTarget = "/contract" // public layer: the contract's file, as contract.cbor
	DataTarget     = "/data/"    // and a party's name: that party's secret layer
)

// ProgramDigest names a program without the data it works on: the digest of the manifest in which
// Contract is zero, the public layer at ContractTarget has no content, and no secret layer has an
// id, a size or a root. So a contract can name its program although the program's measurement holds
// the contract: everything else that decides how the program behaves is in this digest.
func ProgramDigest(m *Manifest) (Digest, error) {
	if err := m.Check(); err != nil {
		return Digest{}, err
	}
	bare := m.Clone()
	bare.Contract = Digest{}
	for i := range bare.Layers {
		l := &bare.Layers[i]
		if l.Kind == Secret || l.Target == ContractTarget {
			l.Bytes, l.Digest, l.Verity = 0, [32]byte{}, [32]byte{}
			l.ID, l.Root = [16]byte{}, Digest{}
		}
	}
	data, err := encode(bare)
	if err != nil {
		return Digest{}, err
	}
	return DigestOf(data), nil
}

// Binds checks that a manifest is one that the contract means: its program, this contract, one
// sealed layer of each party under a key that only that party's broker has, and no way in or out
// beside them. Kind Refused with the first thing that does not hold.
func (s *SignedContract) Binds(m *Manifest) error {
	c := s.Contract
	program, err := ProgramDigest(m)
	if err != nil {
		return err
	}
	switch {
	case m.Contract != s.Digest:
		return unbound("the manifest is bound to %s, the contract is %s", m.Contract, s.Digest)
	case program != c.Program:
		return unbound("the program is %s, the contract means %s", program, c.Program)
	case m.Debug:
		return unbound("it is a debug build: its operator may look inside")
	case m.Network != NetworkNone || len(m.Shown) > 0 || len(m.State) > 0:
		return unbound("the program may reach a network, a directory of the host, or a state")
	case m.Args || len(m.EnvNames) > 0 || len(m.Entries) > 0:
		return unbound("whoever starts the program may say what it does")
	}
	return c.bindsData(m)
}

// bindsData checks layers and brokers: those of the parties, and no others.
func (c *Contract) bindsData(m *Manifest) error {
	secret, contracts := 0, 0
	for i := range m.Layers {
		if m.Layers[i].Kind == Secret {
			secret++
		} else if m.Layers[i].Target == ContractTarget {
			contracts++
		}
	}
	if secret != len(c.Parties) || contracts != 1 {
		return unbound("%d secret layers and %d of contracts, want %d and 1", secret, contracts,
			len(c.Parties))
	}
	for _, p := range c.Parties {
		if !slices.Contains(m.Brokers, Broker{Name: p.Broker, Key: p.BrokerKey}) {
			return unbound("the manifest does not pin the broker %q of %q", p.Broker, p.Name)
		}
		own := func(l Layer) bool {
			return l.Kind == Secret && l.Target == DataTarget+p.Name && strings.HasPrefix(l.Key, p.Broker+"/")
		}
		if !slices.ContainsFunc(m.Layers, own) {
			return unbound("%q has no secret layer at %s with a key at its broker %q", p.Name,
				DataTarget+p.Name, p.Broker)
		}
	}
	return nil
}

func unbound(format string, args ...any) error {
	return errs.New(errs.Refused, "enclave.contract: "+format, args...)
}
