package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// listenerFD is where a shim that serves finds its listening socket.
const listenerFD = 3

// socketPath is where the shim of a pod listens. The kernel's limit is 107 bytes.
func (c *shimCall) socketPath(pod string) (string, error) {
	whole := sha256.Sum256([]byte(c.address + "\x00" + c.namespace + "\x00" + pod))
	path := filepath.Join(c.root(), "s", hex.EncodeToString(whole[:16]))
	const longest = 107
	if len(path) > longest {
		return "", errs.New(errs.TooLarge, "socket %s: %d bytes, at most %d", path, len(path), longest)
	}
	return path, nil
}

// answers reports whether somebody listens at a socket.
func answers(path string) bool {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// spawn starts this program again as the one that serves. It listens already when spawn returns.
func (c *shimCall) spawn(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return errs.Wrap(err, "shim")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errs.Wrap(err, "shim") // of a shim that died
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return errs.Wrap(err, "shim")
	}
	listener.SetUnlinkOnClose(false)
	defer listener.Close()
	file, err := listener.File()
	if err != nil {
		_ = os.Remove(path)
		return errs.Wrap(err, "shim")
	}
	defer file.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{ShimName, "-namespace", c.namespace, "-address", c.address, "-id", c.id}
	cmd.Dir = c.bundle
	cmd.ExtraFiles = []*os.File{file}
	if log := shimLog(c.bundle); log != nil {
		cmd.Stderr = log // where a crash is seen
		defer log.Close()
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = os.Remove(path)
		return errs.Wrap(err, "shim")
	}
	return nil
}

// adopt takes the listening socket that spawn made.
func adopt(fd uintptr) (*net.UnixListener, string, error) {
	unix.CloseOnExec(int(fd))
	file := os.NewFile(fd, "listener")
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, "", errs.As(errs.Invalid, err, "descriptor %d is no listening socket: a shim is "+
			"started by containerd", fd)
	}
	listener, unixSocket := l.(*net.UnixListener)
	if !unixSocket {
		_ = l.Close()
		return nil, "", errs.New(errs.Invalid, "descriptor %d is no unix socket", fd)
	}
	return listener, listener.Addr().String(), nil
}
