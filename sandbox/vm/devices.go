package vm

import (
	"errors"
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
