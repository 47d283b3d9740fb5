package vm

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// portsDir is where the guest's kernel lists the virtio-serial ports.
const portsDir = "/sys/class/virtio-ports"

// openPort opens the guest's end of a port and says hello on it. It returns once the host has its
// end open: a read before that would look like the end of everything.
func openPort(name string) (*port, error) {
	path, err := findPort(name)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errs.Wrap(err, "vm: port %s", name)
	}
	if _, err := unix.Write(fd, appendMessage(nil, message{kind: hello})); err != nil {
		_ = unix.Close(fd)
		return nil, errs.Wrap(err, "vm: port %s", name)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, errs.Wrap(err, "vm: port %s", name)
	}
	return &port{name: name, file: os.NewFile(uintptr(fd), path)}, nil
}

// findPort returns the device of a port, waiting for the kernel to find it.
func findPort(name string) (string, error) {
	events, err := watchDevices()
	if err != nil {
		return "", err
	}
	defer unix.Close(events)
	for {
		devices, err := filepath.Glob(portsDir + "/*/name")
		if err != nil {
			return "", errs.Wrap(err, "vm: port %s", name)
		}
		for _, device := range devices {
			content, err := os.ReadFile(device)
			if err == nil && strings.TrimSpace(string(content)) == portPrefix+name {
				return "/dev/" + filepath.Base(filepath.Dir(device)), nil
			}
		}
		if err := awaitDevice(events); err != nil {
			return "", errs.Wrap(err, "vm: port %s", name)
		}
	}
}

// watchDevices opens the kernel's messages on devices that come and go.
func watchDevices() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC,
		unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return 0, errs.Wrap(err, "vm: watch devices")
	}
	wait := unix.NsecToTimeval(deviceWait.Nanoseconds())
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}))
	if err != nil {
		_ = unix.Close(fd)
		return 0, errs.Wrap(err, "vm: watch devices")
	}
	return fd, nil
}

// awaitDevice returns at the next message, or after deviceWait: a port's name is given to it without
// one. Errors after none has come for long are the caller's, who looks again.
func awaitDevice(events int) error {
	var buf [4096]byte
	_, _, err := unix.Recvfrom(events, buf[:], 0)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) {
		return nil
	}
	return err
}

// giveDevice moves a network device into the network namespace of a process.
func giveDevice(name string, pid int) error {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return errs.Wrap(err, "vm: network device")
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return errs.Wrap(err, "vm: network device %s", name)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	if err := unix.Sendto(fd, moveLink(device.Index, pid), 0, to); err != nil {
		return errs.Wrap(err, "vm: network device %s", name)
	}
	var said [256]byte
	n, _, err := unix.Recvfrom(fd, said[:], 0)
	if err != nil {
		return errs.Wrap(err, "vm: network device %s", name)
	}
	return errs.Wrap(netlinkError(said[:n]), "vm: network device %s: move it", name)
}

// moveLink is the netlink request that moves the device with the index to a process's namespace.
func moveLink(index, pid int) []byte {
	const length = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg + unix.SizeofRtAttr + 4
	var out [length]byte
	ne := binary.NativeEndian
	ne.PutUint32(out[0:], length)
	ne.PutUint16(out[4:], unix.RTM_NEWLINK)
	ne.PutUint16(out[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	ne.PutUint32(out[8:], 1) // sequence
	ne.PutUint32(out[20:], uint32(index))
	ne.PutUint16(out[32:], unix.SizeofRtAttr+4)
	ne.PutUint16(out[34:], unix.IFLA_NET_NS_PID)
	ne.PutUint32(out[36:], uint32(pid))
	return out[:]
}

// netlinkError is what an acknowledgement says: nil for done.
func netlinkError(said []byte) error {
	const at = unix.SizeofNlMsghdr
	if len(said) < at+4 || binary.NativeEndian.Uint16(said[4:]) != unix.NLMSG_ERROR {
		return errs.New(errs.Internal, "an answer of %d bytes that is no acknowledgement", len(said))
	}
	if number := -int32(binary.NativeEndian.Uint32(said[at:])); number != 0 {
		return unix.Errno(number)
	}
	return nil
}
