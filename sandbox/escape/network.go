package escape

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// networkAttempts reach for the host and its surroundings. Listeners on the host tell the drill of
// anything that got through, whatever the program inside saw of it.
func networkAttempts() []Attempt {
	refused := noCall(unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ECONNREFUSED, unix.ETIMEDOUT,
		unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT, unix.EINVAL, unix.ENODEV, unix.EOPNOTSUPP,
		unix.ENOPROTOOPT, unix.EDESTADDRREQ, unix.EINPROGRESS, unix.EAGAIN, unix.EPROTONOSUPPORT)
	reach := func(name, what string, number int, try func(*Scene) error) Attempt {
		return Attempt{Name: name, What: what, Refused: refused, Marks: call(number), try: try}
	}
	list := []Attempt{
		reach("metadata", "connect to the cloud's metadata address", unix.SYS_CONNECT,
			func(*Scene) error { return dial("tcp", "169.254.169.254:80") }),
		reach("metadata-six", "the same, by IPv6", unix.SYS_CONNECT,
			func(*Scene) error { return dial("tcp", "[fd00:ec2::254]:80") }),
		reach("metadata-mapped", "the same, by an IPv4 address in IPv6", unix.SYS_CONNECT,
			func(*Scene) error { return dialSix("169.254.169.254", 80) }),
		reach("host", "connect to listeners of the host", unix.SYS_CONNECT, func(s *Scene) error {
			return s.each(func(to netip.AddrPort) error { return dial("tcp", to.String()) })
		}),
		reach("host-loopback", "connect to the host's port on our loopback", unix.SYS_CONNECT,
			func(s *Scene) error {
				return s.each(func(to netip.AddrPort) error {
					return dial("tcp", fmt.Sprintf("127.0.0.1:%d", to.Port()))
				})
			}),
		reach("host-zero", "the same, to the address of all zeros", unix.SYS_CONNECT,
			func(s *Scene) error {
				return s.each(func(to netip.AddrPort) error {
					return dial("tcp", fmt.Sprintf("0.0.0.0:%d", to.Port()))
				})
			}),
		reach("host-mapped", "the same, by an IPv4 address in IPv6", unix.SYS_CONNECT,
			func(s *Scene) error {
				return s.each(func(to netip.AddrPort) error {
					return dialSix(to.Addr().String(), int(to.Port()))
				})
			}),
		reach("gateway", "connect to the host's port on every gateway there may be", unix.SYS_CONNECT,
			gateways),
		reach("fast-open", "connect by the first bytes: sendto with MSG_FASTOPEN", unix.SYS_SENDTO,
			func(s *Scene) error { return s.each(fastOpen) }),
		reach("datagrams", "send datagrams by sendto, sendmsg, sendmmsg and a connected socket",
			unix.SYS_SENDMSG, func(s *Scene) error { return s.each(datagrams) }),
		reach("broadcast", "send to the whole network", unix.SYS_SENDTO, func(*Scene) error {
			return send(netip.MustParseAddrPort("255.255.255.255:67"))
		}),
		reach("multicast", "send to a group", unix.SYS_SENDTO, func(*Scene) error {
			return send(netip.MustParseAddrPort("224.0.0.251:5353"))
		}),
		reach("resolver", "ask a resolver of the internet", unix.SYS_CONNECT, func(*Scene) error {
			return ask("8.8.8.8:53", "example.com")
		}),
		{Name: "echo", What: "send an echo request by an unprivileged socket", Refused: refused,
			Marks: call(unix.SYS_SOCKET), try: func(*Scene) error {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
				if err != nil {
					return err
				}
				return unix.Sendto(fd, []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}, 0,
					&unix.SockaddrInet4{Addr: [4]byte{8, 8, 8, 8}})
			}},
		{Name: "bind-device", What: "bind a socket to a device of the host", Refused: refused,
			Contained: "the device is the sandbox's own", Marks: call(unix.SYS_SETSOCKOPT),
			try: func(*Scene) error {
				return onSocket(unix.SOCK_DGRAM, func(fd int) error {
					return unix.BindToDevice(fd, "eth0")
				})
			}},
		{Name: "bind-host", What: "bind to the host's own address", Refused: append(refused,
			unix.EADDRINUSE), Marks: call(unix.SYS_BIND), Contained: "the address is the sandbox's",
			try: func(s *Scene) error {
				return s.each(func(to netip.AddrPort) error {
					return onSocket(unix.SOCK_STREAM, func(fd int) error {
						return unix.Bind(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
					})
				})
			}},
		{Name: "source-route", What: "set a source route", Refused: refused,
			Marks: call(unix.SYS_SETSOCKOPT), Contained: "the stack is the sandbox's own",
			try: func(*Scene) error {
				return onSocket(unix.SOCK_STREAM, func(fd int) error {
					return unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS,
						"\x83\x07\x04\x7f\x00\x00\x01\x00")
				})
			}},
		{Name: "transparent", What: "speak for addresses that are not ours", Refused: refused,
			Marks: call(unix.SYS_SETSOCKOPT), Contained: "the stack is the sandbox's own",
			try: func(*Scene) error {
				return onSocket(unix.SOCK_STREAM, func(fd int) error {
					return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1)
				})
			}},
	}
	return append(list, Attempt{Name: "names", What: "resolve names that the policy denies",
		Policy: "strict", Refused: append(refused, unix.ENOENT), Marks: call(-1), try: forbiddenNames})
}

// dialTime is how long a packet that is dropped is waited for.
const dialTime = 1500 * time.Millisecond

func dial(network, address string) error {
	c, err := net.DialTimeout(network, address, dialTime)
	if err == nil {
		c.Close()
		return reached{"connected to " + address}
	}
	var dropped net.Error
	if errors.As(err, &dropped) && dropped.Timeout() {
		return fmt.Errorf("%s: %w", address, unix.ETIMEDOUT)
	}
	return err
}

func dialSix(four string, port int) error {
	address, err := netip.ParseAddr(four)
	if err != nil {
		return err
	}
	mapped := netip.AddrFrom16(address.As16())
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrInet6{Port: port, Addr: mapped.As16()})
	if err == unix.EINPROGRESS {
		return settled(fd, mapped.String())
	}
	return err
}

// settled waits for a connection under way.
func settled(fd int, address string) error {
	list := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(list, int(dialTime/time.Millisecond)); err != nil || n == 0 {
		return unix.ETIMEDOUT
	}
	number, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if number != 0 {
		return unix.Errno(number)
	}
	return reached{"connected to " + address}
}

// each tries every listener of the host: the first that is reached, or else the last error.
func (s *Scene) each(try func(netip.AddrPort) error) error {
	last := error(unix.ECONNREFUSED)
	for _, text := range s.Hosts {
		to, err := netip.ParseAddrPort(text)
		if err != nil {
			return err
		}
		if last = try(to); last == nil {
			return nil
		}
		if _, found := last.(reached); found {
			return last
		}
	}
	return last
}

// gateways tries the first addresses of the networks that a sandbox may be in.
func gateways(s *Scene) error {
	return s.each(func(to netip.AddrPort) error {
		var last error = unix.ENETUNREACH
		addresses, _ := net.InterfaceAddrs()
		for _, a := range addresses {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil || !prefix.Addr().Is4() || prefix.Addr().IsLoopback() {
				continue
			}
			gateway := prefix.Masked().Addr().Next()
			for range 3 {
				last = dial("tcp", netip.AddrPortFrom(gateway, to.Port()).String())
				if _, found := last.(reached); found {
					return last
				}
				gateway = gateway.Next()
			}
		}
		return last
	})
}

func onSocket(kind int, act func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return act(fd)
}

func inet(to netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
}

func fastOpen(to netip.AddrPort) error {
	if !to.Addr().Is4() {
		return unix.EAFNOSUPPORT
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Sendto(fd, []byte("escape"), unix.MSG_FASTOPEN, inet(to))
	if err == unix.EPIPE || err == unix.ENOTCONN {
		return unix.EOPNOTSUPP
	}
	return err
}

// send sends one datagram with sendto.
func send(to netip.AddrPort) error {
	return onSocket(unix.SOCK_DGRAM, func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
			return err
		}
		return unix.Sendto(fd, []byte("escape"), 0, inet(to))
	})
}

// datagrams sends in every way there is. A datagram that leaves is no proof that it arrived, so
// success of the call alone is an error here too: the policy should have refused it.
func datagrams(to netip.AddrPort) error {
	if !to.Addr().Is4() || to.Addr().IsLoopback() {
		return unix.EAFNOSUPPORT
	}
	return onSocket(unix.SOCK_DGRAM, func(fd int) error {
		if err := unix.Sendmsg(fd, []byte("escape"), nil, inet(to), 0); err == nil {
			return nil
		}
		if err := send(to); err == nil {
			return nil
		}
		if err := sendMany(fd, to); err == nil {
			return nil
		}
		if err := unix.Connect(fd, inet(to)); err != nil {
			return err
		}
		_, err := unix.Write(fd, []byte("escape"))
		return err
	})
}

// sendMany is sendmmsg of one message.
func sendMany(fd int, to netip.AddrPort) error {
	payload := []byte("escape")
	name := &unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
	setPort(name, to.Port())
	vector := &unix.Iovec{Base: &payload[0], Len: uint64(len(payload))}
	message := &struct {
		header unix.Msghdr
		sent   uint32
		_      uint32
	}{header: unix.Msghdr{Name: (*byte)(unsafe.Pointer(name)), Namelen: 16, Iov: vector, Iovlen: 1}}
	return sys(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(message)), 1, 0)
}

// ask resolves a name at a server over UDP.
func ask(server, name string) error {
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		return new(net.Dialer).DialContext(ctx, "udp", server)
	}}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	found, err := resolver.LookupHost(ctx, name+".")
	if err == nil {
		return reached{fmt.Sprintf("%s said that %s is %v", server, name, found)}
	}
	var dropped net.Error
	if errors.As(err, &dropped) && dropped.Timeout() {
		return unix.ETIMEDOUT
	}
	return fmt.Errorf("%v: %w", err, unix.ECONNREFUSED)
}

func forbiddenNames(s *Scene) error {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	for _, name := range append([]string{"metadata.google.internal"}, s.Forbidden...) {
		found, err := new(net.Resolver).LookupHost(ctx, name+".")
		if err == nil {
			return reached{fmt.Sprintf("%s is %v", name, found)}
		}
	}
	return fmt.Errorf("no name was resolved: %w", unix.ENOENT)
}
