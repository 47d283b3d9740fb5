//go:build amd64

package kernel_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probe is the program inside: each argument is an act, as "name argument argument", and prints one
// line, "ok", the name of the error, or what it read.
func probe(acts []string) int {
	for _, act := range acts {
		if strings.HasPrefix(act, "/") {
			continue // the name of a script we interpret
		}
		words := strings.Fields(act)
		fn, ok := probes[words[0]]
		if !ok {
			fmt.Println("unknown act", act)
			return 2
		}
		fmt.Println(fn(words[1:]))
	}
	return 0
}

// said is how an outcome is printed.
func said(err error) string {
	if err == nil {
		return "ok"
	}
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok {
			break
		}
		err = inner.Unwrap()
	}
	if errno, ok := err.(syscall.Errno); ok {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// raw makes a system call with numbers.
func raw(no uintptr, args ...uintptr) error {
	var six [6]uintptr
	copy(six[:], args)
	if _, _, errno := unix.Syscall6(no, six[0], six[1], six[2], six[3], six[4], six[5]); errno != 0 {
		return errno
	}
	return nil
}

func number(text string) int {
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		panic(err)
	}
	return int(n)
}

// opened opens, reads and closes.
func opened(path string, flags int) string {
	fd, err := unix.Open(path, flags, 0o644)
	if err != nil {
		return said(err)
	}
	defer unix.Close(fd)
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		return "ok"
	}
	data := make([]byte, 64)
	n, err := unix.Read(fd, data)
	if err != nil {
		return "ok " + said(err)
	}
	return strings.TrimSpace("ok " + string(data[:n]))
}

var openFlags = map[string]int{"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR,
	"c": unix.O_WRONLY | unix.O_CREAT, "x": unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL,
	"t": unix.O_WRONLY | unix.O_TRUNC, "ct": unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC,
	"d": unix.O_RDONLY | unix.O_DIRECTORY, "p": unix.O_PATH, "n": unix.O_RDONLY | unix.O_NOFOLLOW,
	"dn": unix.O_DIRECTORY | unix.O_NOFOLLOW, "tmp": unix.O_TMPFILE | unix.O_RDWR,
	"cr": unix.O_RDONLY | unix.O_CREAT}

var probes = map[string]func([]string) string{
	"say":  func(a []string) string { return strings.Join(a, " ") },
	"open": func(a []string) string { return opened(a[0], openFlags[a[1]]) },
	"creat": func(a []string) string {
		path, _ := unix.BytePtrFromString(a[0])
		return said(raw(unix.SYS_CREAT, uintptr(unsafe.Pointer(path)), 0o644))
	},
	"openat2": func(a []string) string {
		fd, err := unix.Openat2(unix.AT_FDCWD, a[0], &unix.OpenHow{Flags: uint64(number(a[1])),
			Resolve: uint64(number(a[2]))})
		if err == nil {
			unix.Close(fd)
		}
		return said(err)
	},
	"unlink":   func(a []string) string { return said(unix.Unlink(a[0])) },
	"rmdir":    func(a []string) string { return said(unix.Rmdir(a[0])) },
	"mkdir":    func(a []string) string { return said(unix.Mkdir(a[0], 0o755)) },
	"mknod":    func(a []string) string { return said(unix.Mknod(a[0], unix.S_IFIFO|0o644, 0)) },
	"mkdev":    func(a []string) string { return said(unix.Mknod(a[0], unix.S_IFCHR|0o644, 0x103)) },
	"rename":   func(a []string) string { return said(unix.Rename(a[0], a[1])) },
	"link":     func(a []string) string { return said(unix.Link(a[0], a[1])) },
	"symlink":  func(a []string) string { return said(unix.Symlink(a[0], a[1])) },
	"chmod":    func(a []string) string { return said(unix.Chmod(a[0], 0o600)) },
	"chown":    func(a []string) string { return said(unix.Chown(a[0], number(a[1]), -1)) },
	"truncate": func(a []string) string { return said(unix.Truncate(a[0], 1)) },
	"utime":    func(a []string) string { return said(unix.Utimes(a[0], make([]unix.Timeval, 2))) },
	"setxattr": func(a []string) string { return said(unix.Setxattr(a[0], "user.a", []byte("b"), 0)) },
	"fchmod": func(a []string) string {
		return byDescriptor(a[0], func(fd int) error { return unix.Fchmod(fd, 0o600) })
	},
	"stat": func(a []string) string {
		var st unix.Stat_t
		if err := unix.Lstat(a[0], &st); err != nil {
			return said(err)
		}
		return fmt.Sprintf("%o %d", st.Mode, st.Size)
	},
	"chdir":  func(a []string) string { return said(unix.Chdir(a[0])) },
	"chroot": func(a []string) string { return said(unix.Chroot(a[0])) },
	"again":  reopened,
	"gone":   gone,
	"grid":   grid,
	"mapmem": memoryMapped,
	"run":    ran,
	"copy": func(a []string) string {
		data, err := os.ReadFile(a[0])
		if err == nil {
			err = os.WriteFile(a[1], data, 0o755)
		}
		return said(err)
	},
	"memfd": ranMemory,
	"threads": func(a []string) string {
		var st syscall.WaitStatus
		pid, err := syscall.ForkExec("/probe", []string{probeName, "say", "child"},
			&syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
		if err == nil {
			_, err = syscall.Wait4(pid, &st, 0, nil)
		}
		return said(err)
	},
	"kill": func(a []string) string {
		return said(unix.Kill(number(a[0]), unix.Signal(number(a[1]))))
	},
	"ptrace": func(a []string) string { return said(raw(unix.SYS_PTRACE, 0)) },
	"call": func(a []string) string {
		return said(raw(uintptr(number(a[0])), numbers(a[1:])...))
	},
	"setuid":    func(a []string) string { return said(raw(unix.SYS_SETUID, uintptr(number(a[0])))) },
	"mount":     func(a []string) string { return said(unix.Mount("none", a[0], "tmpfs", 0, "")) },
	"mmapanon":  func(a []string) string { return mapped(-1, unix.MAP_ANON|unix.MAP_PRIVATE) },
	"mmapfile":  mapFile,
	"mprotect":  protected,
	"connect":   func(a []string) string { return connected(a[0]) },
	"sendto":    func(a []string) string { return sent(a[0], false) },
	"sendmsg":   func(a []string) string { return sent(a[0], true) },
	"bind":      func(a []string) string { return bound(a[0]) },
	"serve":     served,
	"unixserve": unixServed,
	"unixdgram": unixDatagram,
	"unixdial":  func(a []string) string { return unixDialled(a[0]) },
	"socket": func(a []string) string {
		return said(raw(unix.SYS_SOCKET, numbers(a)...))
	},
	"race":      raced,
	"raceWrite": racedWrite,
	"wait":      func(a []string) string { return said(unix.Pause()) },
	"getpid":    func(a []string) string { return timed(number(a[0]), func() { unix.Getpid() }) },
	"openclose": func(a []string) string {
		return timed(number(a[1]), func() { opened(a[0], unix.O_WRONLY) })
	},
	"sleepy": sleepy,
}

func numbers(texts []string) []uintptr {
	var out []uintptr
	for _, t := range texts {
		out = append(out, uintptr(number(t)))
	}
	return out
}

func byDescriptor(path string, act func(int) error) string {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return "open " + said(err)
	}
	defer unix.Close(fd)
	return said(act(fd))
}

// reopened opens a path for reading, removes its name if asked, and opens the descriptor's name.
func reopened(a []string) string {
	fd, err := unix.Open(a[0], openFlags[a[1]], 0)
	if err != nil {
		return "open " + said(err)
	}
	defer unix.Close(fd)
	return opened(fmt.Sprintf("/proc/self/fd/%d", fd), openFlags[a[2]])
}

// gone opens a file, removes its name and opens it again by its descriptor.
func gone(a []string) string {
	fd, err := unix.Open(a[0], openFlags[a[1]], 0)
	if err != nil {
		return "open " + said(err)
	}
	defer unix.Close(fd)
	if err := unix.Unlink(a[0]); err != nil {
		return "unlink " + said(err)
	}
	return opened(fmt.Sprintf("/proc/self/fd/%d", fd), openFlags[a[2]])
}

// memoryMapped maps a file of memory as code.
func memoryMapped([]string) string {
	fd, err := unix.MemfdCreate("code", 0)
	if err != nil {
		return said(err)
	}
	if err := unix.Ftruncate(fd, 4096); err != nil {
		return said(err)
	}
	return mapped(fd, unix.MAP_PRIVATE)
}

func ran(a []string) string {
	for i := range a {
		a[i] = strings.ReplaceAll(a[i], ";", " ")
	}
	out, err := exec.Command(a[0], a[1:]...).CombinedOutput()
	if err != nil {
		return said(err) + string(out)
	}
	return strings.TrimSpace(string(out))
}

// ranMemory runs the probe from a file of memory, by its descriptor.
func ranMemory([]string) string {
	data, err := os.ReadFile("/probe")
	if err != nil {
		return said(err)
	}
	fd, err := unix.MemfdCreate("code", 0)
	if err != nil {
		return said(err)
	}
	if _, err := unix.Write(fd, data); err != nil {
		return said(err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	cmd := exec.Cmd{Path: path, Args: []string{probeName, "say memory"}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return said(err)
	}
	return strings.TrimSpace(string(out))
}
