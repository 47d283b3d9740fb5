package egress

import (
	"encoding/binary"
)

// Link carries Ethernet frames to and from one sandbox.
type Link interface {
	// ReadFrame fills bufs, one after another, with the next frame and returns its length. What
	// does not fit is cut. It blocks; after Close it returns net.ErrClosed.
	ReadFrame(bufs [][]byte) (int, error)
	// WriteFrame sends the frame whose bytes are bufs, one after another; it keeps none of them. It
	// never blocks: a frame that does not fit is dropped, as on any wire, and the error says so.
	// One goroutine's frames keep their order.
	WriteFrame(segments Segments, bufs [][]byte) error
	// MTU is the longest IP packet in a frame, in bytes.
	MTU() int
	// Offloads reports whether frames may carry a run of TCP segments and unfinished checksums.
	Offloads() bool
	// Close ends ReadFrame and WriteFrame. It may be called more than once.
	Close() error
}

// Segments says how a frame that is longer than the link's MTU is cut, and where a checksum is
// still to be finished. The zero value is a whole, finished frame.
type Segments struct {
	Unfinished     bool   // the checksum at ChecksumStart+ChecksumOffset covers the pseudo header only
	Cut            bool   // into segments of Size bytes
	IPv6           bool   // with Cut: TCP over IPv6
	Size           uint16 // payload of each segment
	HeaderBytes    uint16 // Ethernet, IP and TCP headers together
	ChecksumStart  uint16 // from the start of the frame
	ChecksumOffset uint16
}

// offloadBytes is the size of Linux's struct virtio_net_hdr, which stands before each frame on a tap
// device opened with IFF_VNET_HDR.
const offloadBytes = 10

const (
	virtioNeedsChecksum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	virtioTCP4          = 1 // VIRTIO_NET_HDR_GSO_TCPV4
	virtioTCP6          = 4 // VIRTIO_NET_HDR_GSO_TCPV6
)

// encode writes the offload header; the order of bytes is the machine's, as Linux has it for taps.
func (s Segments) encode(into *[offloadBytes]byte) {
	*into = [offloadBytes]byte{}
	if s.Unfinished {
		into[0] = virtioNeedsChecksum
	}
	if s.Cut {
		into[1] = virtioTCP4
		if s.IPv6 {
			into[1] = virtioTCP6
		}
	}
	binary.NativeEndian.PutUint16(into[2:], s.HeaderBytes)
	binary.NativeEndian.PutUint16(into[4:], s.Size)
	binary.NativeEndian.PutUint16(into[6:], s.ChecksumStart)
	binary.NativeEndian.PutUint16(into[8:], s.ChecksumOffset)
}
