package escape

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"surety/sys/wallclock"
)

// raceAttempts change what a call is about between the policy's look at it and the act. Each would
// be won at once where the two looks differ: thousands of rounds are made.
func raceAttempts() []Attempt {
	refused := []unix.Errno{unix.EACCES, unix.EPERM}
	return []Attempt{
		{Name: "swap-link", Policy: "policy", Refused: refused, Marks: path(""),
			What: "open a symbolic link that is swapped between an allowed and the denied file",
			try:  swapLink},
		{Name: "swap-folder", Policy: "policy", Refused: refused, Marks: path(""),
			What: "open through a folder that is exchanged with a link to the denied one",
			try:  swapFolder},
		{Name: "swap-rename", Policy: "policy", Refused: refused, Marks: path(""),
			What: "open a name over which two links are renamed in turn", try: swapRename},
		{Name: "flip-path", Policy: "policy", Refused: refused, Marks: path(""),
			What: "open a path whose bytes change while the call reads them", try: func(s *Scene) error {
				return flipPath(s, unix.SYS_OPENAT)
			}},
		{Name: "flip-path-openat2", Policy: "policy", Refused: noCall(), Marks: path(""),
			What: "the same by openat2", try: func(s *Scene) error {
				return flipPath(s, unix.SYS_OPENAT2)
			}},
		{Name: "flip-link-path", Policy: "policy", Refused: noFile(unix.EXDEV), Marks: path(""),
			What: "hard-link a path whose bytes change", try: flipLink},
		{Name: "flip-address", Policy: "policy", Refused: refused, Marks: call(unix.SYS_CONNECT),
			What: "connect to an address whose bytes change", try: func(s *Scene) error {
				return flipAddress(s, unix.SYS_CONNECT)
			}},
		{Name: "flip-send-address", Policy: "policy", Refused: refused, Marks: call(unix.SYS_SENDTO),
			What: "send a datagram to an address whose bytes change", try: func(s *Scene) error {
				return flipAddress(s, unix.SYS_SENDTO)
			}},
		{Name: "flip-message", Policy: "policy", Refused: refused, Marks: call(unix.SYS_SENDMSG),
			What: "sendmsg with a header whose pointer changes", try: func(s *Scene) error {
				return flipAddress(s, unix.SYS_SENDMSG)
			}},
		{Name: "swap-descriptor", Policy: "policy", Refused: refused, Marks: path(""),
			What: "openat below a descriptor that dup2 swaps between two folders", try: swapDescriptor},
		{Name: "flip-program", Policy: "strict", Refused: refused, Marks: call(-1),
			What: "run a path whose bytes change to a program that is denied", try: flipProgram},
	}
}

// race runs flip in a thread of its own while it calls act over and over, for raceTime. It returns
// the first proof of a breach, or else the last error of act, EACCES where all went well.
func race(flip func(round int), act func() error) error {
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			flip(i)
		}
	}()
	defer func() { stop.Store(true); <-done }()
	clock, rounds := wallclock.System(), 0
	began, refused := clock.Now(), 0
	for ; clock.Now().Sub(began) < raceTime; rounds++ {
		err := act()
		if _, found := err.(reached); found {
			return err
		}
		if err != nil {
			refused++
		}
	}
	return fmt.Errorf("%d rounds, %d refused: %w", rounds, refused, unix.EACCES)
}

// allowed makes a file of the sandbox's own and returns its path.
func allowed() (dir, file string, err error) {
	if dir, err = fresh(); err != nil {
		return "", "", err
	}
	file = dir + "/word"
	return dir, file, os.WriteFile(file, []byte("allowed"), 0o644)
}

func swapLink(s *Scene) error {
	dir, file, err := allowed()
	if err != nil {
		return err
	}
	targets := [2]string{file, s.Secret}
	return race(func(i int) {
		os.Remove(dir + "/link")
		os.Symlink(targets[i%2], dir+"/link")
	}, func() error { return s.peek(dir + "/link") })
}

func swapFolder(s *Scene) error {
	dir, _, err := allowed()
	if err != nil {
		return err
	}
	folder, name := splitPath(s.Secret)
	for _, made := range []error{os.Mkdir(dir+"/real", 0o755), os.Symlink(folder, dir+"/link"),
		os.WriteFile(dir+"/real/"+name, []byte("allowed"), 0o644)} {
		if made != nil {
			return made
		}
	}
	return race(func(int) {
		if unix.Renameat2(unix.AT_FDCWD, dir+"/real", unix.AT_FDCWD, dir+"/link",
			unix.RENAME_EXCHANGE) != nil {
			os.Rename(dir+"/real", dir+"/spare")
			os.Rename(dir+"/link", dir+"/real")
			os.Rename(dir+"/real", dir+"/link")
			os.Rename(dir+"/spare", dir+"/real")
		}
	}, func() error { return s.peek(dir + "/real/" + name) })
}

func swapRename(s *Scene) error {
	dir, file, err := allowed()
	if err != nil {
		return err
	}
	targets := [2]string{file, s.Secret}
	return race(func(i int) {
		os.Symlink(targets[i%2], dir+"/next")
		os.Rename(dir+"/next", dir+"/now")
	}, func() error { return s.peek(dir + "/now") })
}

// flipPath opens a path in memory that another thread turns between two names of equal length.
func flipPath(s *Scene, number uintptr) error {
	allowed, err := equalLength(s.Secret)
	if err != nil {
		return err
	}
	texts := [2][]byte{[]byte(allowed + "\x00"), []byte(s.Secret + "\x00")}
	shared := append(make([]byte, 0, 8192), texts[0]...)
	how := unix.OpenHow{Flags: unix.O_RDONLY}
	return race(func(i int) { copy(shared, texts[i%2]) }, func() error {
		args := [2]uintptr{unix.O_RDONLY, 0}
		if number == unix.SYS_OPENAT2 {
			args = [2]uintptr{uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how)}
		}
		fd, _, e := unix.Syscall6(number, here, uintptr(unsafe.Pointer(&shared[0])), args[0], args[1],
			0, 0)
		runtime.KeepAlive(&how)
		if e != 0 {
			return e
		}
		defer unix.Close(int(fd))
		page := make([]byte, 4096)
		n, err := unix.Read(int(fd), page)
		if err != nil {
			return err
		}
		return s.canary("a path that changed", page[:n])
	})
}

// equalLength makes an allowed file whose path is as long as name.
func equalLength(name string) (string, error) {
	if len(name) < len("/tmp/x") {
		return "", fmt.Errorf("%s is too short: %w", name, unix.EINVAL)
	}
	path := []byte("/tmp/")
	for len(path) < len(name) {
		path = append(path, 'w')
	}
	return string(path), os.WriteFile(string(path), []byte("allowed"), 0o644)
}

func flipLink(s *Scene) error {
	allowed, err := equalLength(s.Secret)
	if err != nil {
		return err
	}
	texts := [2][]byte{[]byte(allowed + "\x00"), []byte(s.Secret + "\x00")}
	shared := append(make([]byte, 0, 8192), texts[0]...)
	to := []byte("/tmp/escape-linked\x00")
	return race(func(i int) { copy(shared, texts[i%2]) }, func() error {
		err := sys(unix.SYS_LINKAT, here, uintptr(unsafe.Pointer(&shared[0])), here,
			uintptr(unsafe.Pointer(&to[0])), 0)
		if err != nil {
			return err
		}
		defer os.Remove("/tmp/escape-linked")
		return notThere(s.peek("/tmp/escape-linked"))
	})
}

// flipAddress turns an address in memory between the loopback inside, which may be spoken to, and a
// listener of the host.
func flipAddress(s *Scene, number uintptr) error {
	if len(s.Hosts) == 0 {
		return fmt.Errorf("no address to try: %w", unix.EACCES)
	}
	host, err := netip.ParseAddrPort(s.Hosts[0])
	if err != nil || !host.Addr().Is4() {
		return fmt.Errorf("%s is no address: %w", s.Hosts[0], unix.EINVAL)
	}
	own := &unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, 1}}
	other := &unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: host.Addr().As4()}
	setPort(own, 9)
	setPort(other, host.Port())
	shared, pair := new(unix.RawSockaddrInet4), [2]*unix.RawSockaddrInet4{own, other}
	payload := []byte("escape")
	vector := unix.Iovec{Base: &payload[0], Len: uint64(len(payload))}
	header := &unix.Msghdr{Name: (*byte)(unsafe.Pointer(shared)), Namelen: 16, Iov: &vector, Iovlen: 1}
	return race(func(i int) {
		*shared = *pair[i%2]
		header.Name = (*byte)(unsafe.Pointer(pair[i/2%2]))
	}, func() error { return speak(number, shared, header, payload, host) })
}

func setPort(a *unix.RawSockaddrInet4, port uint16) {
	*(*[2]byte)(unsafe.Pointer(&a.Port)) = [2]byte{byte(port >> 8), byte(port)}
}

// speak makes one call and looks whom it reached. A datagram cannot be asked: the host's listener
// tells of it.
func speak(number uintptr, to *unix.RawSockaddrInet4, header *unix.Msghdr, payload []byte,
	host netip.AddrPort) error {
	kind := unix.SOCK_DGRAM
	if number == unix.SYS_CONNECT {
		kind = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	switch number {
	case unix.SYS_CONNECT:
		err = sys(number, uintptr(fd), uintptr(unsafe.Pointer(to)), 16)
	case unix.SYS_SENDTO:
		err = sys(number, uintptr(fd), uintptr(unsafe.Pointer(&payload[0])), uintptr(len(payload)), 0,
			uintptr(unsafe.Pointer(to)), 16)
	default:
		err = sys(number, uintptr(fd), uintptr(unsafe.Pointer(header)), 0)
	}
	if peer, asked := unix.Getpeername(fd); asked == nil {
		if p, ok := peer.(*unix.SockaddrInet4); ok && p.Addr == host.Addr().As4() &&
			p.Port == int(host.Port()) {
			return reached{"a connection to " + host.String()}
		}
	}
	return err
}

// swapDescriptor opens the same name below a descriptor that is now one folder, now the other.
func swapDescriptor(s *Scene) error {
	dir, _, err := allowed()
	if err != nil {
		return err
	}
	folder, name := splitPath(s.Secret)
	if err := os.WriteFile(dir+"/"+name, []byte("allowed"), 0o644); err != nil {
		return err
	}
	var open [2]int
	for i, d := range []string{dir, folder} {
		if open[i], err = unix.Open(d, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
			return fmt.Errorf("open %s: %w", d, err)
		}
	}
	const moving = 100
	if err := unix.Dup3(open[0], moving, 0); err != nil {
		return err
	}
	return race(func(i int) { unix.Dup3(open[i%2], moving, 0) }, func() error {
		fd, err := unix.Openat(moving, name, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		page := make([]byte, 4096)
		n, err := unix.Read(fd, page)
		if err != nil {
			return err
		}
		return s.canary("a descriptor that changed", page[:n])
	})
}

// flipProgram runs a path that is now the allowed program, now a copy of it that is denied.
func flipProgram(s *Scene) error {
	name := "/" + Name
	denied := "/tmp/" + "escape-program-of-a-longer-name"[:len(name)-len("/tmp/")]
	if err := copyOf(denied); err != nil {
		return err
	}
	shared, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return err
	}
	texts := [2][]byte{[]byte(name + "\x00"), []byte(denied + "\x00")}
	copy(shared, texts[0])
	return race(func(i int) { copy(shared, texts[i%2]) }, func() error {
		return execFlipping(&shared[0])
	})
}

// notAllowed is the status of a program that finds itself to be another file than it should be.
const notAllowed = 42

// execFlipping runs the program whose path lies at the address, in a process that shares the page
// with the thread that changes it.
func execFlipping(program *byte) error {
	name, verb := []byte("/"+Name+"\x00"), []byte("self\x00")
	arguments := [3]*byte{&name[0], &verb[0], nil}
	environment := [1]*byte{nil}
	runtime.LockOSThread()
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(program)),
			uintptr(unsafe.Pointer(&arguments)), uintptr(unsafe.Pointer(&environment)))
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(int(pid), &status, 0, nil); err != nil {
		return err
	}
	switch status.ExitStatus() {
	case notAllowed:
		return reached{"a program that the policy denies ran"}
	case 0:
		return nil
	}
	return unix.EACCES
}

func splitPath(name string) (folder, file string) {
	for i := len(name) - 1; i > 0; i-- {
		if name[i] == '/' {
			return name[:i], name[i+1:]
		}
	}
	return "/", name
}
