package escape

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// family is a kind of socket that speaks to the host's kernel or hardware.
type family struct {
	name                   string
	domain, kind, protocol int
}

func families() []family {
	const raw, datagram, stream = unix.SOCK_RAW, unix.SOCK_DGRAM, unix.SOCK_STREAM
	return []family{
		{"raw-icmp", unix.AF_INET, raw, unix.IPPROTO_ICMP},
		{"raw-ip", unix.AF_INET, raw, unix.IPPROTO_RAW},
		{"raw-ip6", unix.AF_INET6, raw, unix.IPPROTO_RAW},
		{"packet", unix.AF_PACKET, raw, 0x0300},
		{"packet-cooked", unix.AF_PACKET, datagram, 0x0300},
		{"netlink-route", unix.AF_NETLINK, raw, unix.NETLINK_ROUTE},
		{"netlink-audit", unix.AF_NETLINK, raw, unix.NETLINK_AUDIT},
		{"netlink-uevent", unix.AF_NETLINK, raw, unix.NETLINK_KOBJECT_UEVENT},
		{"netlink-filter", unix.AF_NETLINK, raw, unix.NETLINK_NETFILTER},
		{"netlink-connector", unix.AF_NETLINK, raw, unix.NETLINK_CONNECTOR},
		{"netlink-xfrm", unix.AF_NETLINK, raw, unix.NETLINK_XFRM},
		{"netlink-diag", unix.AF_NETLINK, raw, unix.NETLINK_SOCK_DIAG},
		{"netlink-generic", unix.AF_NETLINK, raw, unix.NETLINK_GENERIC},
		{"crypto", unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
		{"bluetooth", unix.AF_BLUETOOTH, raw, 1},
		{"can", unix.AF_CAN, raw, 1},
		{"tipc", unix.AF_TIPC, datagram, 0},
		{"rds", unix.AF_RDS, unix.SOCK_SEQPACKET, 0},
		{"key", unix.AF_KEY, raw, 2},
		{"xdp", unix.AF_XDP, raw, 0},
		{"smc", unix.AF_SMC, stream, 0},
		{"kcm", unix.AF_KCM, datagram, 0},
		{"qrtr", unix.AF_QIPCRTR, datagram, 0},
		{"x25", unix.AF_X25, unix.SOCK_SEQPACKET, 0},
		{"appletalk", unix.AF_APPLETALK, datagram, 0},
		{"ipx", unix.AF_IPX, datagram, 0},
		{"nfc", unix.AF_NFC, raw, 0},
		{"pppox", unix.AF_PPPOX, datagram, 0},
		{"vsock", unix.AF_VSOCK, stream, 0},
		{"sctp", unix.AF_INET, stream, unix.IPPROTO_SCTP},
		{"dccp", unix.AF_INET, unix.SOCK_DCCP, 33},
		{"mptcp", unix.AF_INET, stream, 262},
		{"udplite", unix.AF_INET, datagram, unix.IPPROTO_UDPLITE},
	}
}

func socketAttempts() []Attempt {
	refused := noCall(unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.ESOCKTNOSUPPORT, unix.EINVAL,
		unix.ENOPROTOOPT)
	var list []Attempt
	for _, f := range families() {
		list = append(list, Attempt{Name: "socket-" + f.name,
			What: fmt.Sprintf("make a socket of family %d, type %d, protocol %d", f.domain, f.kind,
				f.protocol),
			Refused: refused, Marks: call(unix.SYS_SOCKET),
			Contained: "the socket is one of the sandbox's own network stack",
			try: func(*Scene) error {
				fd, err := unix.Socket(f.domain, f.kind, f.protocol)
				if err != nil {
					return err
				}
				return unix.Close(fd)
			}})
	}
	return append(list, hostSocketAttempts(refused)...)
}

// hostSocketAttempts speak to servers of the host that would do anything for a caller.
func hostSocketAttempts(refused []unix.Errno) []Attempt {
	var list []Attempt
	for _, name := range []string{"/run/containerd/containerd.sock", "/var/run/docker.sock",
		"/run/dbus/system_bus_socket", "/run/systemd/private", "/run/udev/control",
		"/dev/log", "@/org/kernel/udev/monitor", "@/containerd-shim/moby/x/shim.sock",
		"@/tmp/.X11-unix/X0", "@surety"} {
		list = append(list, Attempt{Name: "server-" + flat(name[1:]), What: "connect to " + name,
			Refused: append(noFile(unix.ECONNREFUSED, unix.ENOTDIR, unix.ENOTSOCK), unix.EINVAL),
			Marks:   call(unix.SYS_CONNECT), try: func(*Scene) error {
				c, err := net.Dial("unix", name)
				if err == nil {
					err = c.Close()
				}
				return err
			}})
	}
	return append(list,
		Attempt{Name: "vsock-host", What: "connect to the host of a virtual machine (CID 2) and of ours",
			Refused: append(refused, unix.ENODEV, unix.ECONNRESET, unix.ETIMEDOUT, unix.EHOSTUNREACH),
			Marks:   call(unix.SYS_SOCKET), try: func(*Scene) error {
				fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
				if err != nil {
					return err
				}
				return unix.Connect(fd, &unix.SockaddrVM{CID: 2, Port: 1024})
			}},
		Attempt{Name: "bind-control", What: "bind a socket at a path of the host's",
			Refused: noFile(unix.EADDRINUSE, unix.ENOTDIR), Marks: path("escape.sock"),
			Contained: "the path is the sandbox's own", try: func(*Scene) error {
				l, err := net.Listen("unix", "/run/surety-escape.sock")
				if err == nil {
					err = l.Close()
					os.Remove("/run/surety-escape.sock")
				}
				return err
			}},
		Attempt{Name: "netlink-link", What: "add a network device by netlink", Refused: append(refused,
			unix.ENOTSUP, unix.EBUSY, unix.ENODEV), Marks: call(unix.SYS_SOCKET),
			Contained: "the device is one of the sandbox's own network stack", try: addLink})
}

// addLink sends RTM_NEWLINK for a dummy device and returns what the answer says.
func addLink(*Scene) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	message := []byte{32 + 16, 0, 0, 0, unix.RTM_NEWLINK, 0, 5, 6, 1, 0, 0, 0, 0, 0, 0, 0, // header
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // link
		16, 0, unix.IFLA_LINKINFO, 0, 10, 0, 1, 0, 'd', 'u', 'm', 'm', 'y', 0, 0, 0}
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, err := unix.Read(fd, answer)
	if err != nil || n < 20 {
		return err
	}
	number := int32(uint32(answer[16]) | uint32(answer[17])<<8 | uint32(answer[18])<<16 |
		uint32(answer[19])<<24)
	if number < 0 {
		return unix.Errno(-number)
	}
	return nil
}
