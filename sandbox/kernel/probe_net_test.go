//go:build amd64

package kernel_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func mapped(fd, flags int) string {
	_, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, flags)
	return said(err)
}

func mapFile(a []string) string {
	fd, err := unix.Open(a[0], unix.O_RDONLY, 0)
	if err != nil {
		return "open " + said(err)
	}
	defer unix.Close(fd)
	return mapped(fd, unix.MAP_PRIVATE)
}

func protected([]string) string {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return said(err)
	}
	return said(unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC))
}

func sockaddr(text string) (unix.Sockaddr, int) {
	at := netip.MustParseAddrPort(text)
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}, unix.AF_INET6
}

func connected(text string) string {
	to, family := sockaddr(text)
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return said(err)
	}
	defer unix.Close(fd)
	return said(unix.Connect(fd, to))
}

func sent(text string, header bool) string {
	to, family := sockaddr(text)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return said(err)
	}
	defer unix.Close(fd)
	if header {
		return said(unix.Sendmsg(fd, []byte("x"), nil, to, 0))
	}
	return said(unix.Sendto(fd, []byte("x"), 0, to))
}

func bound(text string) string {
	at, family := sockaddr(text)
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return said(err)
	}
	defer unix.Close(fd)
	return said(unix.Bind(fd, at))
}

// served listens, connects to itself and takes the connection.
func served(a []string) string {
	at, family := sockaddr(a[0])
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return said(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, at); err != nil {
		return "bind " + said(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		return "listen " + said(err)
	}
	client, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return said(err)
	}
	defer unix.Close(client)
	if err := unix.Connect(client, at); err != nil {
		return "connect " + said(err)
	}
	end, peer, err := unix.Accept(fd)
	if err != nil {
		return "accept " + said(err)
	}
	defer unix.Close(end)
	if in, ok := peer.(*unix.SockaddrInet4); ok {
		return fmt.Sprint("ok from ", netip.AddrFrom4(in.Addr))
	}
	return "ok"
}

func unixServed(a []string) string {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return said(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: a[0]}); err != nil {
		return "bind " + said(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		return "listen " + said(err)
	}
	return unixDialled(a[0])
}

func unixDialled(name string) string {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return said(err)
	}
	defer unix.Close(fd)
	return said(unix.Connect(fd, &unix.SockaddrUnix{Name: name}))
}

func unixDatagram(a []string) string {
	to, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return said(err)
	}
	if err := unix.Bind(to, &unix.SockaddrUnix{Name: a[0]}); err != nil {
		return "bind " + said(err)
	}
	from, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return said(err)
	}
	if err := unix.Sendto(from, []byte("hello"), 0, &unix.SockaddrUnix{Name: a[0]}); err != nil {
		return "send " + said(err)
	}
	data := make([]byte, 16)
	n, _, err := unix.Recvfrom(to, data, unix.MSG_DONTWAIT)
	if err != nil {
		return "receive " + said(err)
	}
	return "ok " + string(data[:n])
}

// raced opens a link, and a path in its own memory, that another thread keeps changing between an
// allowed and a denied file. It prints how often each was read.
func raced(a []string) string {
	rounds := number(a[0])
	var stop atomic.Bool
	done := make(chan struct{})
	path := []byte("/open/aaaa\x00")
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			target := []string{"/open/file", "/shut/file"}[i%2]
			_ = unix.Symlink(target, "/open/new")
			_ = unix.Rename("/open/new", "/open/link")
			copy(path[6:], []string{"file", "evil"}[i%2])
		}
	}()
	allowed, denied, refused := 0, 0, 0
	for i := range rounds {
		var out string
		if i%2 == 0 {
			out = opened("/open/link", unix.O_RDONLY)
		} else {
			fd, _, errno := unix.Syscall6(unix.SYS_OPEN, uintptr(unsafe.Pointer(&path[0])), 0, 0, 0, 0, 0)
			if errno == 0 {
				data := make([]byte, 16)
				n, _ := unix.Read(int(fd), data)
				out = "ok " + string(data[:n])
				unix.Close(int(fd))
			}
		}
		switch out {
		case "ok public":
			allowed++
		case "ok secret":
			denied++
		default:
			refused++
		}
	}
	stop.Store(true)
	<-done
	return fmt.Sprintf("allowed %v denied %d refused %v", allowed > 0, denied, refused > 0)
}

// racedWrite truncates, creates and renames through a link that changes under it.
func racedWrite(a []string) string {
	rounds := number(a[0])
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			_ = unix.Symlink([]string{"/open", "/shut"}[i%2], "/open/newdir")
			_ = unix.Rename("/open/newdir", "/open/dir")
			target := []string{"/open/made", "/shut/made"}[i%2]
			_ = unix.Symlink(target, "/open/newmade")
			_ = unix.Rename("/open/newmade", "/open/tomake")
		}
	}()
	for range rounds {
		opened("/open/dir/file", unix.O_WRONLY|unix.O_TRUNC)
		opened("/open/dir/created", unix.O_WRONLY|unix.O_CREAT)
		opened("/open/tomake", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
		_ = unix.Unlink("/open/made")
		_ = unix.Mkdir("/open/dir/sub", 0o755)
		_ = unix.Truncate("/open/dir/file", 1)
		_ = unix.Unlink("/open/dir/created")
		_ = unix.Rmdir("/open/dir/sub")
	}
	stop.Store(true)
	<-done
	return "ok"
}

// timed returns the nanoseconds an act takes: the least and the median of n batches of fifty.
func timed(n int, act func()) string {
	const batch = 50
	all := make([]int64, 0, n)
	for range n {
		start := time.Now()
		for range batch {
			act()
		}
		all = append(all, time.Since(start).Nanoseconds()/batch)
	}
	slices.Sort(all)
	return fmt.Sprint(all[0], " ", all[len(all)/2])
}

// sleepy waits until /tmp/go is there, and says so.
func sleepy([]string) string {
	for {
		var st unix.Stat_t
		if unix.Stat("/tmp/go", &st) == nil {
			return "went"
		}
		_, _ = unix.Poll(nil, 10)
	}
}
