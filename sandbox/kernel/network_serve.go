//go:build amd64

package kernel

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/marshal"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix/transport"
	slinux "gvisor.dev/gvisor/pkg/sentry/syscalls/linux"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"surety/sandbox"
)

// lowPorts are those that take a capability to bind.
const lowPorts = 1024

// newSocket judges the sockets that see more than their own packets or speak to the kernel; those
// of streams, datagrams and the unix family are judged by what they are connected to.
func newSocket(c *call) (uintptr, *kernel.SyscallControl, error) {
	domain, kind := c.args[0].Int(), c.args[1].Int()&0xf
	inet := domain == linux.AF_INET || domain == linux.AF_INET6
	plain := kind == int32(linux.SOCK_STREAM) || kind == int32(linux.SOCK_DGRAM)
	if domain == linux.AF_UNIX || inet && plain {
		return c.forward()
	}
	rec := c.record(sandbox.KindSocket)
	rec.Flags = uint32(domain)<<16 | uint32(kind)&0xffff
	decision := unjudged()
	if domain == linux.AF_PACKET || inet {
		rec.Proto = sandbox.RawIP
		decision = c.policy.Capability(int(linux.CAP_NET_RAW))
	}
	return c.whole(&rec, decision)
}

func bind(c *call) (uintptr, *kernel.SyscallControl, error) {
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
		return 0, nil, c.bindLocal(&p, local, raw)
	}
	if at, ok := inetOf(raw); ok {
		if err := c.inet(sandbox.KindBind, sandbox.Bind, &p, at); err != nil {
			return 0, nil, err
		}
		if at.Port() != 0 && at.Port() < lowPorts {
			if err := c.uses(linux.CAP_NET_BIND_SERVICE); err != nil {
				return 0, nil, err
			}
		}
	}
	return 0, nil, p.Bind(c.t, raw).ToError()
}

// bindLocal binds a unix socket: to an abstract name, or to a file it makes.
func (c *call) bindLocal(p *plug, s *unix.Socket, raw []byte) error {
	name, ok := localName(raw)
	if !ok {
		return s.Bind(c.t, raw).ToError()
	}
	if name == "" || name[0] == 0 {
		rec := c.record(sandbox.KindBind)
		rec.Path = abstract(name)
		if err := c.decide(&rec, c.policy.Unix(sandbox.Bind, rec.Path)); err != nil {
			return err
		}
		return s.Bind(c.t, raw).ToError()
	}
	w, err := startWalk(c.t, linux.AT_FDCWD, name, refuseEmpty, 0)
	if err != nil {
		return err
	}
	defer w.done()
	at, err := w.pinName()
	if err != nil {
		return err
	}
	defer at.done()
	return c.bindFile(p, s, &at, name)
}

// bindFile does what gVisor's Bind does for a path, on the directory held.
func (c *call) bindFile(p *plug, s *unix.Socket, at *pinned, name string) error {
	end, ok := s.Endpoint().(transport.BoundEndpoint)
	if !ok {
		return linuxerr.EINVAL
	}
	if err := at.vacant(); err != nil {
		if linuxerr.Equals(linuxerr.EEXIST, err) {
			return linuxerr.EADDRINUSE
		}
		return err
	}
	stat, err := p.file.Stat(c.t, vfs.StatOptions{Mask: linux.STATX_MODE})
	if err != nil {
		return err
	}
	mode := linux.FileMode(linux.S_IFSOCK | uint(stat.Mode)&^c.t.FSContext().Umask())
	rec := c.record(sandbox.KindBind)
	rec.Path = at.path
	if err := c.decide(&rec, c.local(sandbox.Bind, at.path)); err != nil {
		return err
	}
	if err := c.on(sandbox.KindMake, at, sandbox.Create, uint32(mode)); err != nil {
		return err
	}
	pop := at.operation()
	files := c.t.Kernel().VFS()
	err = files.MknodAt(c.t, c.t.Credentials(), &pop, &vfs.MknodOptions{Mode: mode, Endpoint: end})
	if linuxerr.Equals(linuxerr.EEXIST, err) {
		return linuxerr.EADDRINUSE
	}
	if err != nil {
		return err
	}
	if e := s.Endpoint().Bind(transport.Address{Addr: name}); e != nil {
		if err := files.UnlinkAt(c.t, c.t.Credentials(), &pop); err != nil {
			log.Warningf("surety: bind: the file of a socket that could not be bound stays: %v", err)
		}
		return e.ToError()
	}
	return nil
}

// listen records a socket that takes connections. One that was not bound takes a port of the
// kernel's choosing, which is judged as binding to port 0.
func listen(c *call) (uintptr, *kernel.SyscallControl, error) {
	p, err := c.socketOf(c.args[0].Int())
	if err != nil {
		return 0, nil, err
	}
	defer p.done(c.t)
	at, path := c.nameOf(&p)
	if at.IsValid() && at.Port() == 0 {
		if err := c.inet(sandbox.KindBind, sandbox.Bind, &p, at); err != nil {
			return 0, nil, err
		}
	}
	rec := c.record(sandbox.KindListen)
	rec.Addr, rec.Path, rec.Proto = at, path, p.proto()
	if path != "" {
		rec.Proto = sandbox.AnyProto
	}
	if err := c.decide(&rec, unjudged()); err != nil {
		return 0, nil, err
	}
	backlog := min(c.args[1].Uint(), maxBacklog)
	return 0, nil, p.Listen(c.t, int(backlog)+1).ToError()
}

// nameOf is what a socket is bound to.
func (c *call) nameOf(p *plug) (netip.AddrPort, string) {
	name, _, err := p.GetSockName(c.t)
	if err != nil {
		return netip.AddrPort{}, ""
	}
	return readable(name)
}

// readable is an address gVisor gives, as records have it.
func readable(address linux.SockAddr) (netip.AddrPort, string) {
	if address == nil {
		return netip.AddrPort{}, ""
	}
	raw := marshal.Marshal(address)
	if at, ok := inetOf(raw); ok {
		return at, ""
	}
	name, ok := localName(raw)
	if !ok || name == "" {
		return netip.AddrPort{}, ""
	}
	if name[0] == 0 {
		return netip.AddrPort{}, abstract(name)
	}
	return netip.AddrPort{}, name
}

func accept(c *call) (uintptr, *kernel.SyscallControl, error) { return c.accept(0) }

func accept4(c *call) (uintptr, *kernel.SyscallControl, error) {
	return c.accept(int(c.args[3].Int()))
}

// accept records a connection with its peer, once it is there and before the program knows.
func (c *call) accept(flags int) (uintptr, *kernel.SyscallControl, error) {
	if flags&^(linux.SOCK_NONBLOCK|linux.SOCK_CLOEXEC) != 0 {
		return 0, nil, linuxerr.EINVAL
	}
	p, err := c.socketOf(c.args[0].Int())
	if err != nil {
		return 0, nil, err
	}
	defer p.done(c.t)
	fd, peer, size, e := p.Accept(c.t, true, flags, p.blocking())
	if e != nil {
		return 0, nil, linuxerr.ConvertIntr(e.ToError(), linuxerr.ERESTARTSYS)
	}
	rec := c.record(sandbox.KindAccept)
	rec.Addr, rec.Path = readable(peer)
	rec.Done, rec.Result = true, int64(fd)
	if rec.Addr.IsValid() {
		rec.Proto = p.proto()
	}
	c.write(&rec)
	if length := c.args[2].Pointer(); length != 0 {
		err := c.giveAddress(peer, size, c.args[1].Pointer(), length)
		if linuxerr.Equals(linuxerr.EINVAL, err) {
			return 0, nil, err
		}
	}
	return uintptr(fd), nil, nil
}

// giveAddress copies an address out to the program, as much as it has room for, and its length.
func (c *call) giveAddress(address linux.SockAddr, size uint32, at, length hostarch.Addr) error {
	var room uint32
	if _, err := primitive.CopyUint32In(c.t, length, &room); err != nil {
		return err
	}
	if int32(room) < 0 {
		return linuxerr.EINVAL
	}
	if _, err := primitive.CopyUint32Out(c.t, length, size); err != nil || address == nil {
		return err
	}
	raw := marshal.Marshal(address)
	_, err := c.t.CopyOutBytes(at, raw[:min(room, size, uint32(len(raw)))])
	return err
}
