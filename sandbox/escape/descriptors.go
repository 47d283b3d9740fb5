package escape

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func descriptorAttempts() []Attempt {
	refused := noFile(unix.EINVAL, unix.EBADF, unix.ENOTDIR, unix.ENXIO)
	own := "the descriptor is of the sandbox's kernel"
	return []Attempt{
		{Name: "leaked", What: "CVE-2024-21626: find descriptors that the sandbox was not given",
			Refused: refused, Marks: path("/"), try: leaked},
		{Name: "chroot-twice", What: "chroot below, then climb by fchdir and dots",
			Refused: refused, Contained: "the root above is the sandbox's own",
			Marks: call(unix.SYS_CHROOT), try: chrootTwice},
		{Name: "chroot-passed", What: "pass a folder by SCM_RIGHTS over a chroot and climb from it",
			Refused: refused, Contained: "the root above is the sandbox's own",
			Marks: call(unix.SYS_SENDMSG), try: passFolder},
		{Name: "path-descriptor-up", What: "openat .. from an O_PATH descriptor of the root",
			Refused: refused, Marks: path("/"), try: func(s *Scene) error {
				fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY, 0)
				if err != nil {
					return err
				}
				return above(s, fd)
			}},
		{Name: "stdio-up", What: "openat .. from standard input, output and error",
			Refused: refused, Marks: call(unix.SYS_OPENAT), try: func(s *Scene) error {
				var last error
				for fd := range 3 {
					if last = above(s, fd); last != nil {
						if _, found := last.(reached); found {
							return last
						}
					}
				}
				return last
			}},
		{Name: "stdio-reopen", What: "reopen standard input for writing by /proc/self/fd",
			Refused: refused, Marks: path("/"),
			Contained: "a stream that was given may be written to", try: func(*Scene) error {
				fd, err := unix.Open("/proc/self/fd/0", unix.O_RDWR|unix.O_NONBLOCK, 0)
				if err == nil {
					err = unix.Close(fd)
				}
				return err
			}},
		{Name: "stdio-insert", What: "TIOCSTI: type into the terminal of whoever started us",
			Refused: append(refused, unix.ENOTTY, unix.EIO), Marks: call(unix.SYS_IOCTL),
			try: func(*Scene) error { return insertKey() }},
		{Name: "stdio-linux", What: "TIOCLINUX: paste into the console", Contained: own,
			Refused: append(refused, unix.ENOTTY), Marks: call(unix.SYS_IOCTL),
			try: func(*Scene) error {
				argument := []byte{3}
				return sys(unix.SYS_IOCTL, 0, unix.TIOCLINUX, uintptr(unsafe.Pointer(&argument[0])))
			}},
		{Name: "stdio-owner", What: "have signals sent to the first process when input comes",
			Refused: append(refused, unix.ESRCH), Contained: own, Marks: call(unix.SYS_FCNTL),
			try: func(*Scene) error {
				_, err := unix.FcntlInt(0, unix.F_SETOWN, 1)
				return err
			}},
		{Name: "cwd-above", What: "start from a working directory that is not below the root",
			Refused: refused, Marks: call(unix.SYS_GETCWD), try: func(s *Scene) error {
				dir, err := unix.Getwd()
				if err != nil {
					return err
				}
				if strings.HasPrefix(dir, "(unreachable)") {
					return reached{"the working directory is " + dir}
				}
				return s.peek("../../../../../../../.." + s.Canary)
			}},
		{Name: "many-dots", What: "climb a thousand levels above the root", Refused: refused,
			Marks: path("/"), try: func(s *Scene) error {
				return s.peek(strings.Repeat("../", 1000) + s.Canary[1:])
			}},
		{Name: "resolve-flags", What: "openat2 above a root of its own (RESOLVE_IN_ROOT off)",
			Refused: append(refused, unix.ENOSYS, unix.EXDEV), Marks: call(unix.SYS_OPENAT2),
			try: func(s *Scene) error {
				fd, err := unix.Openat2(unix.AT_FDCWD, "/.."+s.Canary,
					&unix.OpenHow{Flags: unix.O_RDONLY})
				if err != nil {
					return err
				}
				return unix.Close(fd)
			}},
		{Name: "close-audit", What: "close every descriptor there could be, and act on",
			Contained: "the trail does not pass through the program's descriptors",
			Refused:   noFile(), Marks: path("/proc"), try: closeAll},
	}
}

// leaked looks at every descriptor but the three streams, its own of proc and those that this
// program opens by itself: an event poll, its event, a pipe, and the files of CPU limits. What came
// from the host is called by a path, or "host:".
func leaked(*Scene) error {
	for _, number := range entries("/proc/self/fd") {
		target, err := os.Readlink("/proc/self/fd/" + number)
		if err != nil || len(number) == 1 && number <= "2" {
			continue
		}
		if !slices.ContainsFunc([]string{"anon_inode:", "pipe:", "/proc/", "/sys/fs/cgroup/"},
			func(own string) bool { return strings.HasPrefix(target, own) }) {
			return reached{"descriptor " + number + " is " + target}
		}
	}
	return fmt.Errorf("nothing is open but what is ours: %w", unix.EBADF)
}

// above opens the canary by its path above the root, from a descriptor.
func above(s *Scene, fd int) error {
	for _, up := range []string{"..", "../../..", "../../../../../../../.."} {
		opened, err := unix.Openat(fd, up+s.Canary, unix.O_RDONLY, 0)
		if err != nil {
			if up == "../../../../../../../.." {
				return err
			}
			continue
		}
		return s.peek(fmt.Sprintf("/proc/self/fd/%d", opened))
	}
	return unix.ENOENT
}

// chrootTwice is the oldest trick: a root below, while the working directory stays above it.
func chrootTwice(s *Scene) error {
	dir, err := fresh()
	if err != nil {
		return err
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	if err := unix.Chroot(dir); err != nil {
		return err
	}
	if err := unix.Fchdir(root); err != nil {
		return err
	}
	for range 64 {
		if err := unix.Chdir(".."); err != nil {
			return err
		}
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return notThere(s.peek(s.Canary))
}

func passFolder(s *Scene) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	root, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(root), nil, 0); err != nil {
		return err
	}
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), control, 0)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) == 0 {
		return unix.EBADF
	}
	passed, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	dir, err := fresh()
	if err != nil {
		return err
	}
	if err := unix.Chroot(dir); err != nil {
		return err
	}
	return notThere(above(s, passed[0]))
}

// insertKey types a newline where standard input is a terminal.
func insertKey() error {
	key := []byte{'\n'}
	return sys(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&key[0])))
}

// closeAll closes all but the streams and what the Go run time waits on, and then opens a file:
// that open must be in the trail.
func closeAll(*Scene) error {
	for fd := 3; fd < 1024; fd++ {
		target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil || !strings.HasPrefix(target, "anon_inode:") {
			unix.Close(fd)
		}
	}
	_, err := unix.Open("/proc/self/status", unix.O_RDONLY, 0)
	return err
}
