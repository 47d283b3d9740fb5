package egress

import (
	"bytes"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// writePacket gives one datagram to an endpoint of the stack. Where the stack has no room, or is
// still asking for the sandbox's Ethernet address, the datagram is lost, as datagrams are.
func writePacket(ep tcpip.Endpoint, data []byte, options tcpip.WriteOptions) {
	var payload bytes.Reader
	payload.Reset(data)
	ep.Write(&payload, options)
}

// takeDatagram and giveDatagram lend out buffers for one datagram of any size.
func (g *Gateway) takeDatagram() *[]byte {
	if buf, ok := g.datagrams.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, datagramBytes)
	return &buf
}

func (g *Gateway) giveDatagram(buf *[]byte) { g.datagrams.Put(buf) }
