package egress

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const ethernetBytes = header.EthernetMinimumSize

// device joins a Link to the stack: gVisor's stack.LinkEndpoint. gVisor's own (link/fdbased) ends
// its loop at the first frame that is too short or for another Ethernet address, which the sandbox
// could send on purpose.
type device struct {
	link Link
	own  Addresses

	dispatcher atomic.Pointer[stack.NetworkDispatcher]
	peer       atomic.Pointer[tcpip.LinkAddress] // the sandbox's Ethernet address, as last seen
	counts     frameCounts

	mu   sync.Mutex
	mtu  uint32
	addr tcpip.LinkAddress
}

// frameCounts are totals of the wire.
type frameCounts struct {
	in, out       atomic.Uint64 // frames
	refused       atomic.Uint64 // from the sandbox: malformed, or not from its own address
	dropped       atomic.Uint64 // to the sandbox: the link was full or gone
	echoesRefused atomic.Uint64 // ICMP echo to others than the gateway
}

func newDevice(link Link, own Addresses) *device {
	mac := gatewayMAC()
	d := &device{link: link, own: own, mtu: uint32(link.MTU()), addr: tcpip.LinkAddress(mac[:])}
	peer := sandboxMAC()
	first := tcpip.LinkAddress(peer[:])
	d.peer.Store(&first)
	return d
}

// viewSizes are the buffers a frame is read into: most frames fill one, the longest all.
var viewSizes = [...]int{2048, 2048, 4096, 8192, 16384, 32768, 2048}

// read takes frames from the link and hands them to the stack until the link ends. It returns nil
// when the link was closed from this side.
func (d *device) read() error {
	var views [len(viewSizes)]*buffer.View
	var bufs [len(viewSizes)][]byte
	defer func() {
		for _, v := range views {
			if v != nil {
				v.Release()
			}
		}
	}()
	for {
		for i, size := range viewSizes {
			if views[i] == nil {
				views[i] = buffer.NewViewSize(size)
				bufs[i] = views[i].AsSlice()
			}
		}
		n, err := d.link.ReadFrame(bufs[:])
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		d.counts.in.Add(1)
		if !d.admits(bufs[0][:min(n, len(bufs[0]))]) {
			d.counts.refused.Add(1)
			continue
		}
		var payload buffer.Buffer
		for i := 0; n > 0; i++ {
			if n < viewSizes[i] {
				views[i].CapLength(n)
			}
			n -= min(n, viewSizes[i])
			payload.Append(views[i])
			views[i] = nil
		}
		d.deliver(payload)
	}
}

func (d *device) deliver(payload buffer.Buffer) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: payload})
	defer pkt.DecRef()
	dispatcher := d.dispatcher.Load()
	if dispatcher == nil || *dispatcher == nil || !d.ParseHeader(pkt) {
		return
	}
	(*dispatcher).DeliverNetworkPacket(pkt.NetworkProtocolNumber, pkt)
}

// admits looks at the start of a frame before the stack does: only ARP, and IP from the sandbox's
// own addresses. Echo requests to others than the gateway are answered here: the stack takes every
// address for its own and would say that all the world is up.
func (d *device) admits(frame []byte) bool {
	if len(frame) < ethernetBytes {
		return false
	}
	eth := header.Ethernet(frame)
	source := eth.SourceAddress()
	if header.IsMulticastEthernetAddress(source) {
		return false
	}
	if *d.peer.Load() != source {
		d.peer.Store(&source)
	}
	packet := frame[ethernetBytes:]
	switch eth.Type() {
	case header.ARPProtocolNumber:
		return len(packet) >= header.ARPSize
	case header.IPv4ProtocolNumber:
		return d.admits4(packet)
	case header.IPv6ProtocolNumber:
		return d.admits6(packet)
	}
	return false
}

func (d *device) admits4(packet []byte) bool {
	if len(packet) < header.IPv4MinimumSize {
		return false
	}
	ip := header.IPv4(packet)
	length := int(ip.HeaderLength())
	if packet[0]>>4 != 4 || length < header.IPv4MinimumSize || length > len(packet) ||
		addrOf(ip.SourceAddress()) != d.own.Sandbox4 {
		return false
	}
	if ip.TransportProtocol() != header.ICMPv4ProtocolNumber || ip.FragmentOffset() != 0 {
		return true
	}
	icmp := header.ICMPv4(packet[length:])
	if len(icmp) < header.ICMPv4MinimumSize {
		return false
	}
	switch icmp.Type() {
	case header.ICMPv4Echo:
		return d.echo(packet, addrOf(ip.DestinationAddress()) == d.own.Gateway4)
	case header.ICMPv4DstUnreachable:
		return true
	}
	return false
}

func (d *device) admits6(packet []byte) bool {
	if len(packet) < header.IPv6MinimumSize || packet[0]>>4 != 6 {
		return false
	}
	ip := header.IPv6(packet)
	source := addrOf(ip.SourceAddress())
	if source == d.own.Sandbox6 {
		icmp := packet[header.IPv6MinimumSize:]
		if ip.NextHeader() == uint8(header.ICMPv6ProtocolNumber) && len(icmp) > 0 &&
			header.ICMPv6Type(icmp[0]) == header.ICMPv6EchoRequest {
			return d.echo(packet, addrOf(ip.DestinationAddress()) == d.own.Gateway6)
		}
		return true
	}
	// Looking for the gateway may come from an address the sandbox has not been given yet.
	if !source.IsLinkLocalUnicast() && !source.IsUnspecified() || !d.own.Gateway6.IsValid() ||
		ip.NextHeader() != uint8(header.ICMPv6ProtocolNumber) ||
		len(packet) < header.IPv6MinimumSize+header.ICMPv6MinimumSize {
		return false
	}
	kind := header.ICMPv6Type(packet[header.IPv6MinimumSize])
	return kind == header.ICMPv6NeighborSolicit || kind == header.ICMPv6NeighborAdvert
}

// echo lets an echo request to the gateway pass and answers any other with an error.
func (d *device) echo(packet []byte, toGateway bool) bool {
	if toGateway {
		return true
	}
	d.counts.echoesRefused.Add(1)
	d.unreachable(packet, reasonProhibited)
	return false
}

// Attach and the methods below are stack.LinkEndpoint's.

func (d *device) Attach(dispatcher stack.NetworkDispatcher) { d.dispatcher.Store(&dispatcher) }

func (d *device) IsAttached() bool {
	dispatcher := d.dispatcher.Load()
	return dispatcher != nil && *dispatcher != nil
}

func (d *device) MTU() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mtu
}

func (d *device) SetMTU(mtu uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mtu = mtu
}

func (d *device) LinkAddress() tcpip.LinkAddress {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addr
}

func (d *device) SetLinkAddress(addr tcpip.LinkAddress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addr = addr
}

func (d *device) MaxHeaderLength() uint16 { return ethernetBytes }

// Capabilities: what comes over the wire never left this machine, so its checksums are not looked at
// (an offloading sender has not even finished them).
func (d *device) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload | stack.CapabilityResolutionRequired
}

func (d *device) GSOMaxSize() uint32 { return stack.GVisorGSOMaxSize }

func (d *device) SupportedGSO() stack.SupportedGSO {
	if d.link.Offloads() {
		return stack.HostGSOSupported
	}
	return stack.GVisorGSOSupported
}

func (d *device) Wait()                                   {}
func (d *device) Close()                                  {}
func (d *device) SetOnCloseAction(func())                 {}
func (d *device) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

func (d *device) AddHeader(pkt *stack.PacketBuffer) {
	eth := header.Ethernet(pkt.LinkHeader().Push(ethernetBytes))
	eth.Encode(&header.EthernetFields{SrcAddr: pkt.EgressRoute.LocalLinkAddress,
		DstAddr: pkt.EgressRoute.RemoteLinkAddress, Type: pkt.NetworkProtocolNumber})
}

func (d *device) ParseHeader(pkt *stack.PacketBuffer) bool {
	eth, ok := pkt.LinkHeader().Consume(ethernetBytes)
	if ok {
		pkt.NetworkProtocolNumber = header.Ethernet(eth).Type()
	}
	return ok
}

// WritePackets sends packets to the sandbox. What the link does not take is dropped and counted; the
// stack is told nothing, for TCP sends again what is not acknowledged.
func (d *device) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range pkts.AsSlice() {
		if err := d.link.WriteFrame(segmentsOf(pkt), pkt.AsSlices()); err != nil {
			d.counts.dropped.Add(1)
			continue
		}
		d.counts.out.Add(1)
	}
	return pkts.Len(), nil
}

// segmentsOf puts the stack's offload options in the wire's terms.
func segmentsOf(pkt *stack.PacketBuffer) Segments {
	gso := pkt.GSOOptions
	if gso.Type == stack.GSONone || gso.Type == stack.GSOGvisor {
		return Segments{}
	}
	s := Segments{HeaderBytes: uint16(pkt.HeaderSize()), Unfinished: gso.NeedsCsum}
	if s.Unfinished {
		s.ChecksumStart, s.ChecksumOffset = ethernetBytes+gso.L3HdrLen, gso.CsumOffset
	}
	if pkt.Data().Size() > int(gso.MSS) {
		s.Cut, s.IPv6, s.Size = true, gso.Type == stack.GSOTCPv6, gso.MSS
	}
	return s
}

// addrOf converts an address of the stack.
func addrOf(a tcpip.Address) netip.Addr {
	addr, _ := netip.AddrFromSlice(a.AsSlice())
	return addr
}

// stackAddr is the inverse of addrOf.
func stackAddr(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }
