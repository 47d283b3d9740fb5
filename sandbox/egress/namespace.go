package egress

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// deviceName is what the sandbox's network device is called inside.
const deviceName = "eth0"

// Wire says what a Namespace is made with. The zero value is the usual wire.
type Wire struct {
	Addresses Addresses // zero: DefaultAddresses
	MTU       int       // 1280 to 65521; zero: 1500
}

// Namespace is a network namespace with one tap device in it, whose far end is Link. Nothing of it
// has a name in the file system: it lives as long as a file descriptor of this process or a process
// inside it, so a killed supervisor leaves nothing behind.
type Namespace struct {
	file *os.File
	link *tap
	own  Addresses

	mu     sync.Mutex
	closed bool
}

// NewNamespace makes a network namespace: loopback up, the device with the sandbox's addresses, and
// default routes by the gateway. IPv6 is left out where the host has none. It needs CAP_SYS_ADMIN
// and CAP_NET_ADMIN in the user namespace of the calling process: root, or anybody in a user
// namespace of their own. Errors: Invalid for a wire that cannot be, Forbidden without the
// capabilities, Unavailable without /dev/net/tun. Nothing is left after an error.
func NewNamespace(w Wire) (*Namespace, error) {
	if w.Addresses == (Addresses{}) {
		w.Addresses = DefaultAddresses()
	}
	if w.MTU == 0 {
		w.MTU = defaultMTU
	}
	if w.MTU < minMTU || w.MTU > maxMTU {
		return nil, errs.New(errs.Invalid, "egress: mtu %d is not within %d to %d", w.MTU, minMTU,
			maxMTU)
	}
	if !ipv6Available() {
		w.Addresses.Gateway6, w.Addresses.Sandbox6, w.Addresses.Host6 = netip.Addr{}, netip.Addr{},
			netip.Addr{}
	}
	type made struct {
		n   *Namespace
		err error
	}
	result := make(chan made, 1)
	go onSpareThread(func() {
		n, err := buildNamespace(w)
		result <- made{n, err}
	})
	m := <-result
	return m.n, m.err
}

// onSpareThread runs f on a thread that ends with it, so that whatever f does to the thread's
// namespaces goes with the thread. There is no way back for a process in a user namespace: the
// first network namespace belongs to another. The first thread cannot end and lends its namespaces
// to /proc/self, so it is never used.
func onSpareThread(f func()) {
	runtime.LockOSThread() // never unlocked: the runtime ends the thread with its goroutine
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() { // holding the first thread, so this one gets another
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
	runtime.UnlockOSThread() // untouched: it goes on as before
}

// buildNamespace makes the namespace on the calling thread, which stays in it.
func buildNamespace(w Wire) (*Namespace, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, errs.As(kindOfErrno(err), err, "egress: make a network namespace (needs "+
			"CAP_SYS_ADMIN: run as root, or in a user namespace where the kernel allows one)")
	}
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, errs.As(kindOfErrno(err), err, "egress: hold the network namespace")
	}
	link, err := openTap(deviceName, w.MTU)
	if err != nil {
		own.Close()
		return nil, err
	}
	if err := configure(w); err != nil {
		own.Close()
		link.Close()
		return nil, err
	}
	return &Namespace{file: own, link: link, own: w.Addresses}, nil
}

// SetUp gives the device eth0 of this process's own network namespace what NewNamespace gives a
// tap: it is for the guest of a virtual machine, which is alone in its network. mtu is the wire's.
func SetUp(mtu int) error {
	w := Wire{Addresses: DefaultAddresses(), MTU: mtu}
	if !ipv6Available() {
		w.Addresses.Gateway6 = netip.Addr{}
	}
	return configure(w)
}

// configure brings the devices of the calling thread's network namespace up.
func configure(w Wire) error {
	n, err := openNetlink()
	if err != nil {
		return err
	}
	defer n.close()
	device, err := indexOf(deviceName)
	if err != nil {
		return err
	}
	if err := n.setLink(1, 0, MAC{}); err != nil { // loopback is the first device of any namespace
		return err
	}
	a := w.Addresses
	if a.Gateway6.IsValid() {
		if err := n.noLinkLocal(device); err != nil {
			return err
		}
	}
	if err := n.setLink(device, w.MTU, sandboxMAC()); err != nil {
		return err
	}
	if err := n.reach(device, netip.PrefixFrom(a.Sandbox4, 30), a.Gateway4); err != nil {
		return err
	}
	return n.reach(device, netip.PrefixFrom(a.Sandbox6, 126), a.Gateway6)
}

// reach gives the device one address and a way to everywhere by the gateway; nothing where the
// gateway is invalid.
func (n *netlink) reach(device uint32, own netip.Prefix, gateway netip.Addr) error {
	if !gateway.IsValid() {
		return nil
	}
	if err := n.addAddress(device, own); err != nil {
		return err
	}
	if err := n.addNeighbour(device, gateway, gatewayMAC()); err != nil {
		return err
	}
	return n.addDefaultRoute(device, gateway)
}

func indexOf(name string) (uint32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, errs.As(kindOfErrno(err), err, "egress: look up device %s", name)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request)
	}
	if err != nil {
		return 0, errs.As(kindOfErrno(err), err, "egress: look up device %s", name)
	}
	return request.Uint32(), nil
}

func ipv6Available() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// Path names the namespace for setns, a bind mount or an OCI bundle. It holds while this process
// lives and the namespace is not closed.
func (n *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
}

// ID is the namespace's number, as in net:[4026532008].
func (n *Namespace) ID() (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(n.file.Fd()), &stat); err != nil {
		return 0, errs.As(errs.Internal, err, "egress: network namespace")
	}
	return stat.Ino, nil
}

// Link is the far end of the namespace's device. It belongs to the namespace and ends with it.
func (n *Namespace) Link() Link { return n.link }

// Addresses are the wire's: those it was made with, without IPv6 where the host has none.
func (n *Namespace) Addresses() Addresses { return n.own }

// Do runs f on a thread inside the namespace: sockets it opens and processes it starts are there.
// The thread ends with f, so f must not start goroutines that count on it, nor processes that are to
// die with their parent thread (PR_SET_PDEATHSIG).
func (n *Namespace) Do(f func() error) error {
	result := make(chan error, 1)
	go onSpareThread(func() {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- errs.As(kindOfErrno(err), err, "egress: enter network namespace %s",
				strconv.Itoa(int(n.file.Fd())))
			return
		}
		result <- f()
	})
	return <-result
}

// Close takes the device away and lets the namespace go; processes inside keep it, without a wire,
// until they end. Closing again does nothing.
func (n *Namespace) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	err := n.link.Close()
	if closed := n.file.Close(); closed != nil && err == nil {
		err = errs.As(errs.Internal, closed, "egress: let go of the network namespace")
	}
	return err
}
