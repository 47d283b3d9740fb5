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

// takeCopy and giveCopy lend out the buffers that bytes are copied through.
func (g *Gateway) takeCopy() *[]byte {
	if buf, ok := g.copies.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, copyBytes)
	return &buf
}

func (g *Gateway) giveCopy(buf *[]byte) {
	if buf != nil {
		g.copies.Put(buf)
	}
}
