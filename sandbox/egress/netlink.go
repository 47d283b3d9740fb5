package egress

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// netlink is a routing socket of the network namespace in which it was opened: the handful of
// requests that set up a wire, each answered before the next is sent.
type netlink struct {
	fd  int
	seq uint32
}

func openNetlink() (*netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errs.As(kindOfErrno(err), err, "egress: open a routing socket")
	}
	return &netlink{fd: fd}, nil
}

func (n *netlink) close() { unix.Close(n.fd) }

// setLink gives a device its MTU and Ethernet address, where set, and brings it up. The kernel makes
// it no link-local address: the wire needs none, and one would be announced to nobody.
func (n *netlink) setLink(index uint32, mtu int, mac MAC) error {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], index)
	binary.NativeEndian.PutUint32(body[8:], unix.IFF_UP)
	binary.NativeEndian.PutUint32(body[12:], unix.IFF_UP)
	if mtu > 0 {
		body = attribute(body, unix.IFLA_MTU, word(uint32(mtu)))
		body = attribute(body, unix.IFLA_ADDRESS, mac[:])
	}
	return errs.Wrap(n.request(unix.RTM_NEWLINK, 0, body), "egress: set up device %d", index)
}

// noLinkLocal keeps the kernel from making a link-local IPv6 address on the device.
func (n *netlink) noLinkLocal(index uint32) error {
	const addrGenModeNone = 1 // IN6_ADDR_GEN_MODE_NONE
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], index)
	mode := attribute(nil, unix.IFLA_INET6_ADDR_GEN_MODE, []byte{addrGenModeNone})
	body = attribute(body, unix.IFLA_AF_SPEC, attribute(nil, unix.AF_INET6, mode))
	return errs.Wrap(n.request(unix.RTM_NEWLINK, 0, body), "egress: IPv6 of device %d", index)
}

// addAddress puts an address on a device, for use at once (no search for duplicates: there is one
// neighbour, and it is ours).
func (n *netlink) addAddress(index uint32, prefix netip.Prefix) error {
	body := make([]byte, unix.SizeofIfAddrmsg)
	body[0], body[1], body[2] = family(prefix.Addr()), byte(prefix.Bits()), unix.IFA_F_NODAD
	binary.NativeEndian.PutUint32(body[4:], index)
	body = attribute(body, unix.IFA_LOCAL, prefix.Addr().AsSlice())
	body = attribute(body, unix.IFA_ADDRESS, prefix.Addr().AsSlice())
	return errs.Wrap(n.request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body),
		"egress: address %s", prefix)
}

// addNeighbour says once and for all which Ethernet address a neighbour has.
func (n *netlink) addNeighbour(index uint32, addr netip.Addr, mac MAC) error {
	body := make([]byte, unix.SizeofNdMsg)
	body[0] = family(addr)
	binary.NativeEndian.PutUint32(body[4:], index)
	binary.NativeEndian.PutUint16(body[8:], unix.NUD_PERMANENT)
	body = attribute(body, unix.NDA_DST, addr.AsSlice())
	body = attribute(body, unix.NDA_LLADDR, mac[:])
	return errs.Wrap(n.request(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, body),
		"egress: neighbour %s", addr)
}

// addDefaultRoute sends what has no other route to the gateway.
func (n *netlink) addDefaultRoute(index uint32, gateway netip.Addr) error {
	body := make([]byte, unix.SizeofRtMsg)
	body[0], body[4], body[5] = family(gateway), unix.RT_TABLE_MAIN, unix.RTPROT_BOOT
	body[6], body[7] = unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	body = attribute(body, unix.RTA_GATEWAY, gateway.AsSlice())
	body = attribute(body, unix.RTA_OIF, word(index))
	return errs.Wrap(n.request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body),
		"egress: route by %s", gateway)
}

// request sends one message and waits for the kernel's answer to it.
func (n *netlink) request(kind, flags uint16, body []byte) error {
	n.seq++
	message := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(message[0:], uint32(unix.SizeofNlMsghdr+len(body)))
	binary.NativeEndian.PutUint16(message[4:], kind)
	binary.NativeEndian.PutUint16(message[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(message[8:], n.seq)
	message = append(message, body...)
	if err := unix.Sendto(n.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return errs.As(kindOfErrno(err), err, "send")
	}
	return n.answer()
}

func (n *netlink) answer() error {
	buf := make([]byte, 4096)
	for {
		got, _, err := unix.Recvfrom(n.fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return errs.As(kindOfErrno(err), err, "receive")
		}
		if got < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint32(buf[8:]) != n.seq {
			continue // not ours
		}
		if binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
			return errs.New(errs.Internal, "netlink answered with a message of type %d",
				binary.NativeEndian.Uint16(buf[4:]))
		}
		if code := int32(binary.NativeEndian.Uint32(buf[unix.SizeofNlMsghdr:])); code != 0 {
			return errs.As(kindOfErrno(unix.Errno(-code)), unix.Errno(-code), "netlink")
		}
		return nil
	}
}

// attribute appends one attribute, padded as the kernel wants the next.
func attribute(into []byte, kind uint16, value []byte) []byte {
	into = binary.NativeEndian.AppendUint16(into, uint16(4+len(value)))
	into = binary.NativeEndian.AppendUint16(into, kind)
	into = append(into, value...)
	for len(into)%4 != 0 {
		into = append(into, 0)
	}
	return into
}

func word(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func family(addr netip.Addr) byte {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
