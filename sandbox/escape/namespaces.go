package escape

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spaces are the kinds of namespaces, by their name under /proc/N/ns.
func spaces() []struct {
	name string
	flag int
} {
	return []struct {
		name string
		flag int
	}{{"user", unix.CLONE_NEWUSER}, {"mnt", unix.CLONE_NEWNS}, {"net", unix.CLONE_NEWNET},
		{"pid", unix.CLONE_NEWPID}, {"uts", unix.CLONE_NEWUTS}, {"ipc", unix.CLONE_NEWIPC},
		{"cgroup", unix.CLONE_NEWCGROUP}, {"time", unix.CLONE_NEWTIME}}
}

func namespaceAttempts() []Attempt {
	own := "the namespace is one of the sandbox's kernel"
	refused := noCall(unix.EINVAL, unix.ENOENT, unix.EUSERS, unix.ENOSPC)
	var list []Attempt
	for _, n := range spaces() {
		list = append(list,
			Attempt{Name: "unshare-" + n.name, What: "leave the " + n.name + " namespace",
				Refused: refused, Contained: own, Marks: call(unix.SYS_UNSHARE),
				try: func(*Scene) error {
					runtime.LockOSThread()
					return unix.Unshare(n.flag)
				}},
			Attempt{Name: "join-" + n.name, What: "join the first process's " + n.name + " namespace",
				Refused: append(refused, unix.EBADF), Contained: own,
				Marks: append(call(unix.SYS_SETNS), path("/ns/")...),
				try:   func(s *Scene) error { return joinSpace(s, n.name, n.flag) }})
	}
	all := unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID |
		unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	return append(list,
		Attempt{Name: "user-root-mounts", Refused: append(refused, unix.ENODEV),
			Contained: own, Marks: call(-1),
			What: "become root of a new user namespace and mount proc, cgroup and overlay there",
			try: func(*Scene) error {
				return again("user-root-mounts", "/proc/self/exe", &syscall.SysProcAttr{
					Cloneflags:  uintptr(all),
					UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
					GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}})
			}, again: spaceMounts},
		Attempt{Name: "user-map-all", Refused: refused, Contained: own, Marks: call(-1),
			What: "map all users of the outer namespace into one of our own",
			try: func(*Scene) error {
				return again("user-map-all", "/proc/self/exe", &syscall.SysProcAttr{
					Cloneflags:  unix.CLONE_NEWUSER,
					UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1 << 31}}})
			}, again: func(s *Scene) error { return notThere(s.peek("/proc/1/root" + s.Canary)) }},
		Attempt{Name: "clone-parent", Refused: refused, Marks: call(unix.SYS_CLONE),
			Contained: "the parent is the sandbox's own first process",
			What:      "clone with CLONE_PARENT, into the parent's family", try: func(*Scene) error {
				return cloneAndExit(unix.CLONE_PARENT | uintptr(unix.SIGCHLD))
			}},
		Attempt{Name: "clone-into-group", Refused: append(refused, unix.EBADF),
			What:      "clone3 into a control group by its descriptor",
			Contained: "control groups inside are the sandbox's own", Marks: call(unix.SYS_CLONE3),
			try: cloneIntoGroup},
		Attempt{Name: "join-by-process", Refused: append(refused, unix.EBADF), Contained: own,
			What:  "join every namespace of the first process by a pidfd",
			Marks: call(unix.SYS_PIDFD_OPEN), try: func(*Scene) error {
				fd, err := unix.PidfdOpen(1, 0)
				if err != nil {
					return err
				}
				runtime.LockOSThread()
				return unix.Setns(fd, unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWPID)
			}})
}

func joinSpace(s *Scene, name string, flag int) error {
	fd, err := unix.Open("/proc/1/ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	runtime.LockOSThread()
	if err := unix.Setns(fd, flag); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return notThere(s.peek(s.Canary))
}

// spaceMounts runs as root of a user namespace.
func spaceMounts(s *Scene) error {
	var last error
	for _, m := range mountSorts()[:7] {
		if last = mountAndLook(s, m); last != nil {
			if _, found := last.(reached); found {
				return last
			}
		}
	}
	return last
}

// cloneAndExit makes a process by a bare clone, which leaves at once.
func cloneAndExit(flags uintptr) error {
	runtime.LockOSThread()
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	unix.Wait4(int(pid), nil, unix.WNOHANG, nil)
	return nil
}

func cloneIntoGroup(*Scene) error {
	fd, err := unix.Open("/sys/fs/cgroup", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = 0
	}
	const intoGroup = 0x200000000 // CLONE_INTO_CGROUP
	arguments := [11]uint64{0: intoGroup, 4: uint64(unix.SIGCHLD), 10: uint64(fd)}
	runtime.LockOSThread()
	pid, _, e := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&arguments)), 88, 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	unix.Wait4(int(pid), nil, 0, nil)
	return nil
}
