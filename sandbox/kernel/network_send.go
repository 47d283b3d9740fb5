//go:build amd64

package kernel

import (
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/ktime"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/socket/control"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix"
	slinux "gvisor.dev/gvisor/pkg/sentry/syscalls/linux"
	"gvisor.dev/gvisor/pkg/syserr"
	"gvisor.dev/gvisor/pkg/usermem"
	"gvisor.dev/gvisor/pkg/waiter"

	"surety/sandbox"
)

// message is one message of a program's, its header and address copied.
type message struct {
	to       []byte
	data     usermem.IOSequence
	control  socket.ControlMessages
	flags    int32
	deadline ktime.Time
	timed    bool // deadline counts
}

// sendto judges a message with an address of its own; what is sent along a connection was judged
// with it.
func sendto(c *call) (uintptr, *kernel.SyscallControl, error) {
	if c.args[4].Pointer() == 0 {
		return c.forward()
	}
	size := int(c.args[2].Uint64())
	if size < 0 {
		return 0, nil, linuxerr.EINVAL
	}
	p, err := c.socketOf(c.args[0].Int())
	if err != nil {
		return 0, nil, err
	}
	defer p.done(c.t)
	m := message{flags: c.args[3].Int()}
	if m.to, err = slinux.CaptureAddress(c.t, c.args[4].Pointer(), c.args[5].Uint()); err != nil {
		return 0, nil, err
	}
	if m.data, err = c.t.SingleIOSequence(c.args[1].Pointer(), size, usermem.IOOpts{}); err != nil {
		return 0, nil, err
	}
	if err := c.judgeSend(&p, m.to); err != nil {
		return 0, nil, err
	}
	m.control = socket.ControlMessages{Unix: control.New(c.t, p.Socket)}
	n, e := c.send(&p, &m)
	err = slinux.HandleIOError(c.t, n != 0, e, linuxerr.ERESTARTSYS, "sendto", p.file)
	return uintptr(n), nil, err
}

// sendFlags are those gVisor takes in sendmsg.
const sendFlags = linux.MSG_DONTWAIT | linux.MSG_EOR | linux.MSG_MORE | linux.MSG_NOSIGNAL

func sendmsg(c *call) (uintptr, *kernel.SyscallControl, error) {
	p, err := c.socketOf(c.args[0].Int())
	if err != nil {
		return 0, nil, err
	}
	defer p.done(c.t)
	flags := c.args[2].Int()
	if flags&^sendFlags != 0 {
		return 0, nil, linuxerr.EINVAL
	}
	n, err := c.sendOne(&p, c.args[1].Pointer(), flags)
	return n, nil, err
}

// The layout of struct mmsghdr: a message header, the length sent, and a gap.
const (
	headerBytes   = 56
	mmsghdrStride = 64
)

func sendmmsg(c *call) (uintptr, *kernel.SyscallControl, error) {
	p, err := c.socketOf(c.args[0].Int())
	if err != nil {
		return 0, nil, err
	}
	defer p.done(c.t)
	flags := c.args[3].Int()
	if flags&^sendFlags != 0 {
		return 0, nil, linuxerr.EINVAL
	}
	sent := uintptr(0)
	for range min(c.args[2].Uint(), maxVector) {
		at, ok := c.args[1].Pointer().AddLength(uint64(sent) * mmsghdrStride)
		if !ok {
			return 0, nil, linuxerr.EFAULT
		}
		var n uintptr
		if n, err = c.sendOne(&p, at, flags); err != nil {
			break
		}
		length, ok := at.AddLength(headerBytes)
		if !ok {
			return 0, nil, linuxerr.EFAULT
		}
		if _, err = primitive.CopyUint32Out(c.t, length, uint32(n)); err != nil {
			break
		}
		sent++
	}
	if sent == 0 {
		return 0, nil, err
	}
	return sent, nil, nil
}

// sendOne copies one message header, once, judges its address and sends.
func (c *call) sendOne(p *plug, at hostarch.Addr, flags int32) (uintptr, error) {
	var header slinux.MessageHeader64
	if _, err := header.CopyIn(c.t, at); err != nil {
		return 0, err
	}
	m := message{flags: flags}
	var extra []byte
	if header.ControlLen > maxControl {
		return 0, linuxerr.ENOBUFS
	}
	if header.ControlLen > 0 {
		extra = make([]byte, header.ControlLen)
		if _, err := c.t.CopyInBytes(hostarch.Addr(header.Control), extra); err != nil {
			return 0, err
		}
	}
	var err error
	if header.NameLen != 0 {
		m.to, err = slinux.CaptureAddress(c.t, hostarch.Addr(header.Name), header.NameLen)
		if err != nil {
			return 0, err
		}
	}
	if header.IovLen > maxVector {
		return 0, linuxerr.EMSGSIZE
	}
	m.data, err = c.t.IovecsIOSequence(hostarch.Addr(header.Iov), int(header.IovLen),
		usermem.IOOpts{})
	if err != nil {
		return 0, err
	}
	if err := c.judgeSend(p, m.to); err != nil {
		return 0, err
	}
	if m.control, err = control.Parse(c.t, p.Socket, extra, c.t.Arch().Width()); err != nil {
		return 0, err
	}
	n, e := c.send(p, &m)
	err = slinux.HandleIOError(c.t, n != 0, e, linuxerr.ERESTARTSYS, "sendmsg", p.file)
	if n == 0 || err != nil {
		m.control.Release(c.t)
	}
	return uintptr(n), err
}

// judgeSend judges the address of a message. That of a unix socket with a path is judged where the
// path is walked, in sendLocal.
func (c *call) judgeSend(p *plug, to []byte) error {
	if len(to) == 0 {
		return nil
	}
	if _, local := p.Socket.(*unix.Socket); local {
		name, ok := localName(to)
		if !ok || name == "" || name[0] != 0 {
			return nil
		}
		rec := c.record(sandbox.KindSend)
		rec.Path = abstract(name)
		return c.decide(&rec, c.policy.Unix(sandbox.Send, rec.Path))
	}
	at, ok := inetOf(to)
	if !ok {
		return nil
	}
	return c.inet(sandbox.KindSend, sandbox.Send, p, reached(at))
}

// send gives the message to the socket.
func (c *call) send(p *plug, m *message) (int, error) {
	if !p.blocking() {
		m.flags |= linux.MSG_DONTWAIT
	}
	if wait := p.SendTimeout(); wait > 0 {
		now := c.t.Kernel().MonotonicClock().Now()
		m.deadline, m.timed = now.Add(time.Duration(wait)), true
	} else if wait < 0 {
		m.flags |= linux.MSG_DONTWAIT
	}
	if local, ok := p.Socket.(*unix.Socket); ok {
		name, named := localName(m.to)
		_, kind, _ := local.Type()
		if named && name != "" && name[0] != 0 && kind == linux.SOCK_DGRAM {
			return c.sendLocal(local, m, name)
		}
	}
	n, e := p.SendMsg(c.t, m.data, m.to, int(m.flags), m.timed, m.deadline, m.control)
	return n, e.ToError()
}

// sendLocal sends a datagram to the unix socket at a path: gVisor's SendMsg, but that the path is
// walked once and what it leads to is judged.
func (c *call) sendLocal(s *unix.Socket, m *message, name string) (int, error) {
	end, err := c.boundAt(sandbox.KindSend, sandbox.Send, name)
	if err != nil {
		return 0, err
	}
	defer end.Release(c.t)
	w := unix.EndpointWriter{Ctx: c.t, Endpoint: s.Endpoint(), Control: m.control.Unix, To: end}
	if end.Passcred() && w.Control.Credentials == nil {
		w.Control.Credentials = control.MakeCreds(c.t)
	}
	n, err := writeTo(&w, c.t, m.data)
	if err != linuxerr.ErrWouldBlock || m.flags&linux.MSG_DONTWAIT != 0 {
		return int(n), syserr.FromError(err).ToError()
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents)
	if err := s.EventRegister(&entry); err != nil {
		return 0, err
	}
	defer s.EventUnregister(&entry)
	for {
		if n, err = writeTo(&w, c.t, m.data); err != linuxerr.ErrWouldBlock {
			return int(n), syserr.FromError(err).ToError()
		}
		if err := c.t.BlockWithDeadline(ready, m.timed, m.deadline); err != nil {
			if linuxerr.Equals(linuxerr.ETIMEDOUT, err) {
				err = linuxerr.ErrWouldBlock
			}
			return 0, syserr.FromError(err).ToError()
		}
	}
}

// writeTo sends a whole datagram, or nothing of it.
func writeTo(w *unix.EndpointWriter, t *kernel.Task, data usermem.IOSequence) (int64, error) {
	n, err := data.CopyInTo(t, w)
	if w.Notify != nil {
		w.Notify()
	}
	return n, err
}
