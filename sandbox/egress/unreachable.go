package egress

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// reason is why a packet did not get where it was sent, as ICMP can say it.
type reason uint8

const (
	reasonPort       reason = 1 // nothing listens there: ECONNREFUSED inside
	reasonHost       reason = 2 // the address cannot be reached: EHOSTUNREACH
	reasonNet        reason = 3 // there is no way to it: ENETUNREACH
	reasonProhibited reason = 4 // it may not be reached: EHOSTUNREACH
)

// codes4 and codes6 return the ICMP code of a reason, in a destination unreachable message.
func (r reason) codes4() header.ICMPv4Code {
	switch r {
	case reasonPort:
		return header.ICMPv4PortUnreachable
	case reasonNet:
		return header.ICMPv4NetUnreachable
	case reasonProhibited:
		return header.ICMPv4AdminProhibited
	}
	return header.ICMPv4HostUnreachable
}

func (r reason) codes6() header.ICMPv6Code {
	switch r {
	case reasonPort:
		return header.ICMPv6PortUnreachable
	case reasonNet:
		return header.ICMPv6NetworkUnreachable
	case reasonProhibited:
		return header.ICMPv6Prohibited
	}
	return header.ICMPv6AddressUnreachable
}

// quoteBytes is how much of the packet an ICMP error repeats beyond its IP header: the ports.
const quoteBytes = 8

// unreachable tells the sandbox that packet, which begins with an IP header and came from it, did
// not get to its destination. The error comes from the gateway.
func (d *device) unreachable(packet []byte, why reason) {
	if packet[0]>>4 == 6 {
		d.unreachable6(packet, why)
		return
	}
	ip := header.IPv4(packet)
	quoted := packet[:min(len(packet), int(ip.HeaderLength())+quoteBytes)]
	if !d.own.Gateway4.IsValid() {
		return
	}
	frame := make([]byte, ethernetBytes+header.IPv4MinimumSize+header.ICMPv4MinimumSize+len(quoted))
	d.address(frame, header.IPv4ProtocolNumber)
	out := header.IPv4(frame[ethernetBytes:])
	out.Encode(&header.IPv4Fields{TotalLength: uint16(len(out)), TTL: 64,
		Protocol: uint8(header.ICMPv4ProtocolNumber), SrcAddr: stackAddr(d.own.Gateway4),
		DstAddr: ip.SourceAddress()})
	out.SetChecksum(^out.CalculateChecksum())
	icmp := header.ICMPv4(out[header.IPv4MinimumSize:])
	icmp.SetType(header.ICMPv4DstUnreachable)
	icmp.SetCode(why.codes4())
	copy(icmp[header.ICMPv4MinimumSize:], quoted)
	icmp.SetChecksum(^checksum.Checksum(icmp, 0))
	d.send(frame)
}

func (d *device) unreachable6(packet []byte, why reason) {
	if !d.own.Gateway6.IsValid() {
		return
	}
	ip := header.IPv6(packet)
	quoted := packet[:min(len(packet), header.IPv6MinimumSize+quoteBytes)]
	frame := make([]byte, ethernetBytes+header.IPv6MinimumSize+header.ICMPv6MinimumSize+len(quoted))
	d.address(frame, header.IPv6ProtocolNumber)
	out := header.IPv6(frame[ethernetBytes:])
	icmp := header.ICMPv6(out[header.IPv6MinimumSize:])
	out.Encode(&header.IPv6Fields{PayloadLength: uint16(len(icmp)), HopLimit: 64,
		TransportProtocol: header.ICMPv6ProtocolNumber, SrcAddr: stackAddr(d.own.Gateway6),
		DstAddr: ip.SourceAddress()})
	icmp.SetType(header.ICMPv6DstUnreachable)
	icmp.SetCode(why.codes6())
	copy(icmp[header.ICMPv6MinimumSize:], quoted)
	icmp.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: icmp,
		Src: stackAddr(d.own.Gateway6), Dst: ip.SourceAddress()}))
	d.send(frame)
}

// address writes the Ethernet header of a frame to the sandbox.
func (d *device) address(frame []byte, protocol tcpip.NetworkProtocolNumber) {
	header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: d.LinkAddress(),
		DstAddr: *d.peer.Load(), Type: protocol})
}

func (d *device) send(frame []byte) {
	if err := d.link.WriteFrame(Segments{}, [][]byte{frame}); err != nil {
		d.counts.dropped.Add(1)
		return
	}
	d.counts.out.Add(1)
}

// quote makes the start of the packet that from sent to to, enough for an ICMP error to be matched
// to its socket.
func quote(protocol tcpip.TransportProtocolNumber, from, to netip.AddrPort) []byte {
	var packet []byte
	if from.Addr().Is4() {
		packet = make([]byte, header.IPv4MinimumSize+quoteBytes)
		header.IPv4(packet).Encode(&header.IPv4Fields{TotalLength: uint16(len(packet)), TTL: 64,
			Protocol: uint8(protocol), SrcAddr: stackAddr(from.Addr()), DstAddr: stackAddr(to.Addr())})
		ip := header.IPv4(packet)
		ip.SetChecksum(^ip.CalculateChecksum())
	} else {
		packet = make([]byte, header.IPv6MinimumSize+quoteBytes)
		header.IPv6(packet).Encode(&header.IPv6Fields{PayloadLength: quoteBytes, HopLimit: 64,
			TransportProtocol: protocol, SrcAddr: stackAddr(from.Addr()), DstAddr: stackAddr(to.Addr())})
	}
	ports := packet[len(packet)-quoteBytes:]
	ports[0], ports[1] = byte(from.Port()>>8), byte(from.Port())
	ports[2], ports[3] = byte(to.Port()>>8), byte(to.Port())
	ports[5] = quoteBytes // the length of a datagram; the low half of a sequence number otherwise
	return packet
}
