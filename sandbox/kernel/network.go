//go:build amd64

package kernel

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/socket/control"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix/transport"
	slinux "gvisor.dev/gvisor/pkg/sentry/syscalls/linux"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"surety/sandbox"
)

// plug is a socket of the program, held by its file.
type plug struct {
	socket.Socket
	file *vfs.FileDescription
}

// socketOf holds the socket of a descriptor.
func (c *call) socketOf(fd int32) (plug, error) {
	file := c.t.GetFile(fd)
	if file == nil {
		return plug{}, linuxerr.EBADF
	}
	s, ok := file.Impl().(socket.Socket)
	if !ok {
		file.DecRef(c.t)
		return plug{}, linuxerr.ENOTSOCK
	}
	return plug{Socket: s, file: file}, nil
}

func (p *plug) done(t *kernel.Task) { p.file.DecRef(t) }

func (p *plug) blocking() bool { return p.file.StatusFlags()&linux.SOCK_NONBLOCK == 0 }

// proto is the protocol a rule would name for the socket.
func (p *plug) proto() sandbox.Proto {
	family, kind, _ := p.Type()
	switch {
	case family != linux.AF_INET && family != linux.AF_INET6:
		return sandbox.RawIP
	case kind == linux.SOCK_STREAM:
		return sandbox.TCP
	case kind == linux.SOCK_DGRAM:
		return sandbox.UDP
	}
	return sandbox.RawIP
}

// isInet reports whether raw is an internet address, whatever else it holds.
func familyOf(raw []byte) uint16 {
	if len(raw) < 2 {
		return linux.AF_UNSPEC
	}
	return binary.NativeEndian.Uint16(raw)
}

// inetOf reads an internet address. One that says "any host" means this one where it is connected
// or sent to.
func inetOf(raw []byte) (netip.AddrPort, bool) {
	switch familyOf(raw) {
	case linux.AF_INET:
		if len(raw) < 8 {
			return netip.AddrPort{}, false
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])),
			binary.BigEndian.Uint16(raw[2:])), true
	case linux.AF_INET6:
		if len(raw) < 24 {
			return netip.AddrPort{}, false
		}
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])).Unmap(),
			binary.BigEndian.Uint16(raw[2:])), true
	}
	return netip.AddrPort{}, false
}

// reached is where a packet to the address arrives: "any host" is the machine itself.
func reached(to netip.AddrPort) netip.AddrPort {
	if !to.Addr().IsUnspecified() {
		return to
	}
	if to.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), to.Port())
}

// inet judges and records an act on an internet address.
func (c *call) inet(kind sandbox.Kind, act sandbox.NetAct, p *plug, at netip.AddrPort) error {
	rec := c.record(kind)
	rec.Addr, rec.Proto = at, p.proto()
	if act != sandbox.Bind {
		rec.Text = c.ring.NameOf(at.Addr(), c.clock.Now())
	}
	return c.decide(&rec, c.policy.Net(act, rec.Proto, at, rec.Text))
}

func connect(c *call) (uintptr, *kernel.SyscallControl, error) {
	p, err := c.socketOf(c.args[0].Int())
	if err != nil {
		return 0, nil, err
	}
	defer p.done(c.t)
	raw, err := slinux.CaptureAddress(c.t, c.args[1].Pointer(), c.args[2].Uint())
	if err != nil {
		return 0, nil, err
	}
	if local, ok := p.Socket.(*unix.Socket); ok {
		return 0, nil, c.connectLocal(local, raw)
	}
	if to, ok := inetOf(raw); ok {
		if err := c.inet(sandbox.KindConnect, sandbox.Connect, &p, reached(to)); err != nil {
			return 0, nil, err
		}
	}
	err = p.Connect(c.t, raw, p.blocking()).ToError()
	return 0, nil, linuxerr.ConvertIntr(err, linuxerr.ERESTARTSYS)
}

// connectLocal connects a unix socket.
func (c *call) connectLocal(s *unix.Socket, raw []byte) error {
	name, ok := localName(raw)
	if !ok {
		return s.Connect(c.t, raw, true).ToError()
	}
	if name == "" {
		return s.Connect(c.t, raw, true).ToError()
	}
	if name[0] == 0 {
		rec := c.record(sandbox.KindConnect)
		rec.Path = abstract(name)
		if err := c.decide(&rec, c.policy.Unix(sandbox.Connect, rec.Path)); err != nil {
			return err
		}
		return s.Connect(c.t, raw, true).ToError()
	}
	end, err := c.boundAt(sandbox.KindConnect, sandbox.Connect, name)
	if err != nil {
		return err
	}
	defer end.Release(c.t)
	s.Endpoint().SetPeerCreds(control.MakeCreds(c.t))
	return s.Endpoint().Connect(c.t, end).ToError()
}

// boundAt finds the unix socket a path leads to, judges the act on it and returns its other end.
func (c *call) boundAt(kind sandbox.Kind, act sandbox.NetAct, name string) (
	transport.BoundEndpoint, error) {
	w, err := startWalk(c.t, linux.AT_FDCWD, name, refuseEmpty, 0)
	if err != nil {
		return nil, err
	}
	defer w.done()
	p, err := w.pin(true)
	if err != nil {
		return nil, err
	}
	defer p.done()
	rec := c.record(kind)
	rec.Path = p.path
	if err := c.decide(&rec, c.local(act, p.path)); err != nil {
		return nil, err
	}
	pop := p.operation()
	return c.t.Kernel().VFS().BoundEndpointAt(c.t, c.t.Credentials(), &pop,
		&vfs.BoundEndpointOptions{Addr: name})
}

// local decides on a unix socket that has a path.
func (s *sink) local(act sandbox.NetAct, path string) sandbox.Decision {
	if !inTree(path) {
		return unjudged()
	}
	return s.policy.Unix(act, path)
}

// localName returns the path in a unix address: beginning with a zero byte when abstract, empty
// when it is autobound. Addresses gVisor would refuse are left to it.
func localName(raw []byte) (string, bool) {
	address, family, err := unix.AddressAndFamily(raw)
	if err != nil || family != linux.AF_UNIX {
		return "", false
	}
	name := address.Addr
	if name != "" && name[0] != 0 && name[len(name)-1] == '/' {
		return "", false
	}
	return name, true
}

// abstract is how rules and records write an abstract name.
func abstract(name string) string {
	if name == "" {
		return "@"
	}
	return "@" + name[1:]
}
