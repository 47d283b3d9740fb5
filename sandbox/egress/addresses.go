package egress

import "net/netip"

// HostName is the name under which a program inside reaches the loopback of the host, where a rule
// of the policy names it or its address.
const HostName = "host.surety.internal"

// Addresses are those of the sandbox's wire. Each sandbox has a wire of its own, so all of them
// may have the same. An invalid IPv6 address means that the wire has none.
type Addresses struct {
	Gateway4, Sandbox4 netip.Addr // on one /30
	Gateway6, Sandbox6 netip.Addr // on one /126
	Host4, Host6       netip.Addr // stand for the host's 127.0.0.1 and ::1
}

// DefaultAddresses are 10.90.0.1, .2 and .254, and the like below fd5e:7e7e:90::.
func DefaultAddresses() Addresses {
	return Addresses{
		Gateway4: netip.AddrFrom4([4]byte{10, 90, 0, 1}),
		Sandbox4: netip.AddrFrom4([4]byte{10, 90, 0, 2}),
		Host4:    netip.AddrFrom4([4]byte{10, 90, 0, 254}),
		Gateway6: unique6(1),
		Sandbox6: unique6(2),
		Host6:    unique6(0xfe),
	}
}

func unique6(last byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfd, 0x5e, 0x7e, 0x7e, 0, 0x90, 15: last})
}

// MAC is an Ethernet address.
type MAC [6]byte

// The two ends' Ethernet addresses: locally administered, the same on every wire.
func gatewayMAC() MAC { return MAC{0x02, 0x5e, 0x7e, 0, 0, 1} }
func sandboxMAC() MAC { return MAC{0x02, 0x5e, 0x7e, 0, 0, 2} }

// block says what kind of destination an address is.
type block uint8

const (
	blockOpen      block = 1 // an ordinary address
	blockHost      block = 2 // the alias of the host's loopback
	blockLinkLocal block = 3 // 169.254.0.0/16 and fe80::/10: metadata services live there
	blockNever     block = 4 // leads nowhere, or back
)

// blockOf tells the kind of addr, which is not IPv4-mapped.
func (a Addresses) blockOf(addr netip.Addr) block {
	switch {
	case addr == a.Host4 || addr == a.Host6:
		return blockHost
	case addr.IsLinkLocalUnicast():
		return blockLinkLocal
	case !addr.IsGlobalUnicast(), // unspecified, loopback, multicast, broadcast
		addr.Is4() && (addr.As4()[0] == 0 || addr.As4()[0] >= 240),
		a.onWire(addr):
		return blockNever
	}
	return blockOpen
}

// onWire reports whether addr is one of the wire's own, the host's alias apart.
func (a Addresses) onWire(addr netip.Addr) bool {
	return a.Gateway4.IsValid() && netip.PrefixFrom(a.Gateway4, 30).Masked().Contains(addr) ||
		a.Gateway6.IsValid() && netip.PrefixFrom(a.Gateway6, 126).Masked().Contains(addr)
}

// loopback is what the host's alias stands for.
func loopback(alias netip.Addr) netip.Addr {
	if alias.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}
